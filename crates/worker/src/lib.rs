//! The run-to-completion loop: a worker receives a burst of packets, asks its director for a verdict on each, and
//! carries the verdicts out; nobody else touches a packet.
//!
//! Promises: after start nothing here allocates, waits for a lock or makes a system call for a packet (a punt may
//! ring the control thread's bell). Whatever is shared with other threads is shared through rings, mailboxes and
//! published counters, each written by one side.
//! Does not know: DPDK. Packets come and go through [`PacketIo`].

mod burst_times;
mod counters;
mod frame_ring;
mod hand_off;
mod idle;
mod listing;
mod mailbox;
mod packet_io;
mod worker;

pub use burst_times::{BurstSummary, BurstTimes};
pub use counters::{Counters, DestinationCounters, Published};
pub use frame_ring::{Bell, Frame, FrameReceiver, FrameSender, frame_ring};
pub use hand_off::{HandOffs, hand_off_rings};
pub use idle::Idle;
pub use listing::{ConnectionPage, Listing};
pub use mailbox::{Mailbox, Publisher};
pub use packet_io::{Burst, PacketIo};
pub use worker::{Links, Order, PortPlan, Punt, Worker};
