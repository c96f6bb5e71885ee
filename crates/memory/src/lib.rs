//! What the fast path needs of memory, behind safe functions: prefetch, the 16-bit tag match, mapped slices,
//! the cycle counter.
//!
//! Promises: nothing here can be misused into undefined behaviour from safe code.
//! Does not know: packets, connections, or what a tag is made of.

mod cycles;
mod mapped;
mod prefetch;
mod tags;

pub use cycles::cycles;
pub use mapped::{MapError, MappedSlice, Pages};
pub use prefetch::prefetch;
pub use tags::{TagMatches, Tags, match_tags};
