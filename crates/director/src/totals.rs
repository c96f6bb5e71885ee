//! What a worker counts for each destination.
//!
//! Promises: plain records, one cache line each, written by one worker only; found by a dense id that outlives
//! snapshots.
//! Does not know: how totals of several workers are added up.

use std::iter::Sum;

use bytemuck::{Pod, Zeroable};

/// Connections of a destination, as schedulers weigh them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Load {
    /// In SYN_RECV or ESTABLISHED.
    pub active: u32,
    /// In any other state, and all of UDP.
    pub inactive: u32,
}

impl Load {
    /// Active and inactive ones together.
    #[inline]
    pub fn n_connections(self) -> u64 {
        u64::from(self.active) + u64::from(self.inactive)
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::default(), |sum, load| Self {
            active: sum.active.saturating_add(load.active),
            inactive: sum.inactive.saturating_add(load.inactive),
        })
    }
}

/// What one worker counts for a destination.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct DestinationTotals {
    /// Connections opened.
    pub connections: u64,
    /// Packets from clients.
    pub inbound_packets: u64,
    /// Packets from the real server.
    pub outbound_packets: u64,
    /// Bytes of IP packets from clients.
    pub inbound_bytes: u64,
    /// Bytes of IP packets from the real server.
    pub outbound_bytes: u64,
    /// This worker's living connections.
    pub load: Load,
    /// Packets dropped because no local port was free for this destination.
    pub local_ports_exhausted: u32,
    /// Where the search for a local port goes on.
    pub(crate) local_port_cursor: u32,
    /// This worker's templates (persistence) that lead here.
    pub templates: u32,
    /// Fills the line up.
    pub(crate) reserved: u32,
}
