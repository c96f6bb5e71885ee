//! The lab: real clients and real servers in network namespaces around the real binary.
//!
//! What it is: topologies ([`Topology`]) of namespaces joined by veth pairs and a bridge; curl, iperf3 and UDP clients
//! ([`client`]); nginx, iperf3 and small servers of our own ([`server`], [`peer`]); the director as a process
//! ([`Director`]), or in a virtual machine with PCI NICs ([`vm`]); captures of every hop ([`Capture`]) read back by an independent
//! decoder ([`hop`]), and put together to the way of one request ([`path`]).
//!
//! Promises: whatever way the process that made a [`Lab`] ends (return, panic, Ctrl-C, SIGKILL), its namespaces,
//! interfaces, processes and files go with it; traffic never leaves the namespaces of the run.
//!
//! Does not know: weir's own crates, DPDK or its headers. It reads and writes only what `weir`'s users see, and so
//! it builds before any of that is installed.

pub mod address;
pub mod capture;
pub mod checksum;
pub mod client;
pub mod command;
pub mod config;
mod course;
pub mod director;
pub mod encapsulation;
pub mod hop;
pub mod inject;
pub mod ipvsadm;
pub mod lab;
pub mod method;
pub mod namespace;
pub mod path;
pub mod peer;
pub mod process;
mod real_server;
pub mod rig;
pub mod server;
pub mod toa;
pub mod topology;
pub mod vm;
pub mod wait;
mod wiring;

pub use capture::Capture;
pub use director::Director;
pub use lab::Lab;
pub use method::Method;
pub use namespace::Namespace;
pub use rig::Rig;
pub use topology::Topology;
