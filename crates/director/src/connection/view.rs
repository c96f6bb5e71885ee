//! A connection as it is listed.
//!
//! Promises: a copy; looking at it disturbs nothing. Does not know: how it is printed.

use weir_wire::{Endpoint, Protocol};

use super::State;
use crate::DestinationId;

/// A connection as it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionView {
    /// The transport protocol.
    pub protocol: Protocol,
    /// CIP and cport.
    pub client: Endpoint,
    /// VIP and vport.
    pub virtual_endpoint: Endpoint,
    /// LIP and lport.
    pub local: Endpoint,
    /// RIP and rport.
    pub real: Endpoint,
    /// Its state.
    pub state: State,
    /// Ticks until it expires if no packet comes.
    pub expires_ticks: u32,
    /// The destination it counts for.
    pub destination: DestinationId,
    /// Bytes of IP packets from the client.
    pub inbound_bytes: u64,
    /// Bytes of IP packets to the client.
    pub outbound_bytes: u64,
}
