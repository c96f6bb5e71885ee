//! Configuration: RON text, as written, to a [`Config`], as meant.
//!
//! Promises: what [`Config::parse`] returns has passed every check that needs no machine to look at; what it
//! refuses is refused with `FILE:LINE:COLUMN: what is wrong; what would be right`. No text makes it panic.
//! [`to_ron`] writes text that parses back to an equal `Config`.
//!
//! Does not know: whether a device exists, how much memory there is, or what the director does with any of it.
//!
//! [`ipvs::running`] changes a configuration in ipvsadm's words. [`compile::Numbers`] makes the parts of a snapshot of a `Config`; [`sizing::Sizing`] tells what it takes of memory.
//!
//! # How it works
//!
//! `spec` holds the types as written (every key optional), `locate` the position of every value, `check` turns
//! the one into [`Config`] with the help of the other and collects all errors of meaning. A syntax or type error
//! ends the reading at once, as the `ron` crate meets it; `syntax` words it. The extension `implicit_some` is
//! always on, so `#![enable(implicit_some)]` may be written or left out.
//!
//! # What may be left out
//!
//! | key | then |
//! |---|---|
//! | `runtime.workers` | every allowed CPU but the first; with only one CPU, that one |
//! | `runtime.memory` | `Anonymous(mib: 256)`: starts on any machine |
//! | `runtime.connections` | 100000 per worker: fits the default memory for many workers |
//! | `runtime.idle` | `Backoff` |
//! | `runtime.admin_socket` | `/run/weir/admin.sock` |
//! | `mtu` of a port | 1500 |
//! | `routes`, `local_pools`, `services`, `destinations` | none |
//! | `scheduler` | `Wlc`, as in IPVS |
//! | `method` | `FullNat(local_pool: "default", client_address: Toa)`; so is each of its keys |
//! | `weight` | 1 |
//! | `upper_threshold`, `lower_threshold` | 0: none |
//! | `one_packet` | `false` |
//! | each key of `ipvs` | that of IPVS |
//! | `removed_destination` | `Finish` |
//! | `timeouts` | `tcp_established: "900s"`, `tcp_fin: "120s"`, `udp: "300s"`, as in IPVS |
//!
//! `ports` with at least one port, its `device` and its `addresses`, the `vip` and `protocol` of a service and
//! the `address` of a destination may not be left out.
//!
//! # Three keys at top level beyond the example of the manual
//!
//! - `firewall_marks: []`: services of firewall marks that ipvsadm made; they match nothing.
//! - `local_ports: "1024-65535"`: the range of L4 ports that every local address lends (this is the default).
//! - `toa_option: 254`: the kind of the TCP option that carries the client's address (this is the default).

mod address;
mod check;
pub mod compile;
mod config;
mod diff;
mod dip;
mod duration;
mod error;
pub mod ipvs;
mod locate;
mod save;
pub mod sizing;
mod spec;
mod syntax;
mod tunnels;

pub use address::AddressRange;
pub use config::{
    ClientAddress, Config, Destination, Device, Encapsulation, FullNat, HashOptions, Idle,
    IpvsSettings, LocalPool, LocalPorts, Memory, Method, Port, Protocol, RemovedDestination, Reuse,
    Route, Runtime, Scheduler, Service, Timeouts, Tun, Vip,
};
pub use diff::{Change, Sign, diff, refusal};
pub use error::{Errors, Problem};
pub use locate::Position;
pub use save::to_ron;
