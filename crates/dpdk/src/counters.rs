//! What a port has counted and how its link is.
//!
//! Promises: numbers as the driver gives them. Does not know: what they mean to an operator.

/// Counters of one port since it was opened, in frames unless named otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Received.
    pub received: u64,
    /// Received, in bytes.
    pub received_bytes: u64,
    /// Sent.
    pub transmitted: u64,
    /// Sent, in bytes.
    pub transmitted_bytes: u64,
    /// Lost because the receive queues were full.
    pub missed: u64,
    /// Arrived broken.
    pub receive_errors: u64,
    /// Not sent because of an error.
    pub transmit_errors: u64,
    /// Lost because the pool had no buffer.
    pub no_buffer: u64,
    /// Arrived in several buffers, which weir does not take.
    pub multi_segment: u64,
}

/// The state of a port's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// There is carrier.
    pub is_up: bool,
    /// Both directions at once.
    pub is_full_duplex: bool,
    /// `None` where the driver does not know it.
    pub mbit_per_s: Option<u32>,
}
