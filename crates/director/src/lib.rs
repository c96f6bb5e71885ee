//! The decisions of a load balancer: what happens to a packet, and why.
//!
//! Promises: a pure state machine. What goes in are packets, a [`Snapshot`] and the time as a [`Tick`]; what comes
//! out is a [`Verdict`] for each packet. Nothing here allocates, locks or formats for a packet.
//! Does not know: clocks, threads, sockets, logs, DPDK.
//!
//! How it works: a hit reads `director.rs`, `connection/table.rs`, `forward/<method>.rs`; a miss adds `open.rs`,
//! `service.rs`, `scheduler/…`, `local_port.rs`.

mod address;
mod connection;
mod director;
mod drop_reason;
mod fate;
mod forward;
mod fragments;
mod hash;
mod identification;
mod ids;
mod ledger;
mod local_port;
mod next_hop;
mod open;
mod persistence;
mod route;
mod scheduler;
mod server_side;
mod service;
mod snapshot;
mod steering;
mod threshold;
mod tick;
mod totals;
mod tunnel_error;
mod tunnels;
mod verdict;

pub use address::{AddressUse, LocalAddresses};
pub use connection::{ConnectionView, Direction, Note, Sponsor, State, TableUsage, bytes_needed};
pub use director::{Arrival, BURST, Director, Sizes};
pub use drop_reason::DropReason;
pub use fragments::{HELD, HoldPlace, Settled};
pub use hash::Seed;
pub use ids::{DestinationId, Generation, NextHopId, PortId, ServiceId, TunnelId, WorkerId};
pub use local_port::{L4PortRange, LocalPool};
pub use next_hop::{NextHop, NextHops};
pub use persistence::{Choice, Persistence};
pub use route::{Route, RouteTarget, Routes};
pub use scheduler::{HashOptions, Schedule, Scheduler};
pub use service::{ClientAddress, Destination, Method, Service, ServiceKey, Services};
pub use snapshot::{IpvsSettings, RemovedDestination, Reuse, Settings, Snapshot, Timeouts};
pub use steering::{Hashed, HashedFields, Link, Rss, Steering};
pub use threshold::Thresholds;
pub use tick::Tick;
pub use totals::{DestinationTotals, Load};
pub use tunnels::{PathMtus, Tunnels};
pub use verdict::{PuntReason, Verdict};
pub use weir_wire::tunnel::{Encapsulation, Tunnel};
pub use weir_wire::{Endpoint, L4Port, Protocol};
