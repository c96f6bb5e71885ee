//! Bytes to values and back: one parse at the door, edits in place, checksums kept right incrementally.
//!
//! Promises: every length is checked before a byte is read; hostile bytes give a [`ParseError`], never a panic.
//! After a successful [`Headers::parse`] the offsets it holds lie inside the frame it was made from, so the
//! editing functions of this crate may be called on that frame; they void the promise only where they say so.
//! Does not know: connections, services, ports of the machine, time.
//!
//! How it works: [`Packet`] is a frame with free room before it, [`Headers`] is what one parse learned of it.
//! Everything that leaves through this crate is in network order unless the type says otherwise.

pub mod arp;
pub mod checksum;
pub mod ethernet;
mod flow_key;
mod fragment;
mod fragmenter;
mod headers;
pub mod icmp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
mod packet;
pub mod payload;
pub mod proxy_protocol;
pub mod sctp;
pub mod tcp;
pub mod toa;
pub mod translation;
pub mod tunnel;
pub mod tunnel_error;
pub mod udp;
pub mod uoa;

pub use flow_key::{Endpoint, FlowKey, FlowKeyV4, FlowKeyV6, L4Port, Protocol};
pub use fragment::Fragment;
pub use fragmenter::Fragmenter;
pub use headers::{Content, Headers, ParseError};
pub use packet::{NoRoom, Packet, PacketBuffer};
