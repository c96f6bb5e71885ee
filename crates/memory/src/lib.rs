//! What the fast path needs of memory, behind safe functions: prefetch, the 16-bit tag match, mapped slices.
//!
//! Promises: nothing here can be misused into undefined behaviour from safe code.
//! Does not know: packets, connections, or what a tag is made of.

mod mapped;
mod prefetch;
mod tags;

pub use mapped::{MapError, MappedSlice, Pages};
pub use prefetch::prefetch;
pub use tags::{TagMatches, Tags, match_tags};
