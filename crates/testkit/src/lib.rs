//! Scripted packets, and a scripted director for them to go through.
//!
//! Promises: packets are made and judged by etherparse, an encoder and decoder that knows nothing of weir, and SCTP by
//! the crate `crc`; a script
//! reads as one line. What cannot be built panics with the reason, for only tests use this crate.
//! Does not know: DPDK, threads, the wall clock.
//!
//! How it works: [`tcp`], [`udp`] and their like begin a [`FrameBuilder`]; a [`Site`] is a network of services, real
//! servers and routers that becomes a `Snapshot`; a [`Rig`] holds one director a worker, gives them frames, carries
//! their verdicts out, and [`decode`]s what they transmit.

mod buffer;
mod decode;
mod fragment;
mod frame;
mod option;
mod proxied;
mod random;
mod rig;
mod sctp;
mod site;

pub use buffer::TestBuffer;
pub use decode::{Decoded, Icmp, Payload, Quoted, Segment, decode, try_decode};
pub use fragment::{Part, cut, cut_at, reassemble};
pub use frame::{FrameBuilder, IntoEndpoint, echo_request, icmp, raw, sctp, tcp, udp};
pub use option::TcpOption;
pub use proxied::{Proxied, proxied};
pub use random::Random;
pub use rig::{Outcome, Rig};
pub use sctp::{SctpPacket, chunk};
pub use site::{
    By, FAMILIES, Family, IPV4, IPV6, LAN, LAN_MAC, NAT46, NAT64, ROUTER_MAC, SCHEDULERS, Site,
    WAN, WAN_MAC, real_server_mac,
};
