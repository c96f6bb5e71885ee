//! UDP (RFC 768).
//!
//! Promises: a header that parses lies inside the packet. Does not know: what the datagram carries.

use crate::ParseError;
use crate::checksum::Delta;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;
/// Where the checksum stands in the header.
pub const CHECKSUM: usize = 6;

/// Reads a datagram that reaches to the end of the IP packet: its L4 ports as they lie there.
#[inline]
pub fn parse(datagram: &[u8]) -> Result<u32, ParseError> {
    let header: &[u8; HEADER_BYTES] = datagram.first_chunk().ok_or(ParseError::UdpMalformed)?;
    if !(HEADER_BYTES..=datagram.len()).contains(&len_bytes(header)) {
        return Err(ParseError::UdpMalformed);
    }
    Ok(u32::from_ne_bytes([
        header[0], header[1], header[2], header[3],
    ]))
}

/// Bytes of the datagram, its header among them, as it says; not checked.
#[inline]
pub(crate) fn len_bytes(header: &[u8; HEADER_BYTES]) -> usize {
    usize::from(u16::from_be_bytes([header[4], header[5]]))
}

/// Replaces both L4 ports (4 bytes as they lie in the header) and lets `delta` mend the checksum, if there is one.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], l4_ports: [u8; 4], delta: Delta) {
    header[..4].copy_from_slice(&l4_ports);
    let mut checksum = [header[CHECKSUM], header[CHECKSUM + 1]];
    delta.apply_to_udp(&mut checksum);
    header[CHECKSUM..].copy_from_slice(&checksum);
}

/// Adds `n_bytes` to the length, which does not overflow, and lets `delta` mend the checksum, if there is one.
pub(crate) fn grow(header: &mut [u8; HEADER_BYTES], n_bytes: u16, delta: Delta) {
    let len_bytes = u16::from_be_bytes([header[4], header[5]]).wrapping_add(n_bytes);
    header[4..6].copy_from_slice(&len_bytes.to_be_bytes());
    let mut checksum = [header[CHECKSUM], header[CHECKSUM + 1]];
    delta.apply_to_udp(&mut checksum);
    header[CHECKSUM..].copy_from_slice(&checksum);
}
