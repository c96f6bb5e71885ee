//! The slow path: what the control thread decides about punted packets and about neighbours.
//!
//! Promises: [`SlowPath`] is a pure state machine. What goes in are punted frames, the configuration's addresses and
//! routes, and the time; what comes out are [`Action`]s, a table of next hops, counted [`weir_director::DropReason`]s
//! and [`Event`]s. Nothing that arrives from outside makes it panic or grow without bound.
//! Does not know: threads, sockets, clocks, logs, DPDK.
//!
//! How it works: `slow_path.rs` sends each packet to the file that knows it: `arp.rs`, `discovery.rs`, `echo.rs`,
//! `answer.rs`; `address.rs` reads addresses for them. `neighbours.rs` and `neighbour.rs` remember neighbours and know
//! when to ask, `announce.rs` knows when the link is to be told of our addresses, `solicit.rs` makes the frames for
//! both. `publication.rs` knows when the table of next hops is to be published, `limits.rs` how much is remembered.

mod address;
mod announce;
mod answer;
mod arp;
mod discovery;
mod echo;
mod limits;
mod neighbour;
mod neighbours;
mod outbox;
mod path_mtu;
mod port;
mod publication;
mod rate_limit;
mod runtime;
mod slow_path;
mod solicit;
mod view;

pub use limits::Limits;
pub use outbox::{Action, Event};
pub use port::PortFacts;
pub use runtime::Control;
pub use slow_path::SlowPath;
pub use view::{NeighbourView, RouteView};
