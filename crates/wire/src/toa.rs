//! TOA, the TCP option that carries the client's address.
use crate::{Endpoint, Headers, Packet};

/// What became of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toa {
    /// The packet grew by so many bytes at its front.
    Inserted(u16),
    /// The client's own option of that kind was overwritten; the packet has the same length.
    Overwritten,
    /// No room for it in the header or in the buffer; left out.
    NoSpace,
}

/// Bytes of the option for this client: 8 for IPv4, 20 for IPv6.
#[inline]
pub fn length_bytes(client: &Endpoint) -> u16 {
    if client.is_ipv4() { 8 } else { 20 }
}

/// Puts the option `kind` with `client` right after the fixed TCP header.
pub fn insert(
    _packet: &mut Packet<'_>,
    _headers: &mut Headers,
    _kind: u8,
    _client: Endpoint,
) -> Toa {
    Toa::NoSpace
}

/// Reads the option `kind` of a TCP header with its options.
pub fn read(_header: &[u8], _kind: u8) -> Option<Endpoint> {
    None
}
