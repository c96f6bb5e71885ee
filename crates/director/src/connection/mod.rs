//! The connection table of one worker: no lock, no pointer, no allocation after start.
//!
//! Promises: both keys of a living connection are in the index (of one that is seen one way only, or for one packet, its one key), or
//! neither; a connection that receives packets
//! does not expire; time and memory per operation are bounded.
//! Does not know: services, schedulers, how packets are rewritten.
//!
//! How it works: [`index`](self) buckets of one cache line lead from a 16-bit tag to an entry number; the slab
//! holds the entries, one line for IPv4, two for IPv6; a wheel of lazy timers ends them. See
//! `docs/architecture.md`.

mod eviction;
mod index;
mod links;
mod record;
mod sctp;
mod slab;
mod state;
mod table;
mod templates;
mod timers;
mod view;

#[cfg(test)]
mod index_tests;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod timers_tests;

pub(crate) use eviction::Room;
pub use record::Direction;
pub(crate) use record::{Connection, EntryId, Flags, Keys};
pub use state::State;
pub(crate) use state::{Sight, TcpEvent};
pub(crate) use table::{Candidate, Found, NewConnection, Table, TableFull};
pub use table::{TableUsage, bytes_needed};
pub(crate) use templates::NewTemplate;
pub use templates::{Note, Sponsor};
pub use view::ConnectionView;
