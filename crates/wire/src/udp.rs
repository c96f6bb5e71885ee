//! UDP (RFC 768).
//!
//! Promises: a header that parses lies inside the packet. Does not know: what the datagram carries.

use crate::checksum::Delta;
use crate::{ParseError, tcp};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;
/// Where the checksum stands in the header.
pub const CHECKSUM: usize = 6;

/// Reads a datagram that reaches to the end of the IP packet: its L4 ports as they lie there, the header's bytes,
/// no flags.
#[inline]
pub fn parse(datagram: &[u8]) -> Result<(u32, u8, tcp::Flags), ParseError> {
    let header: &[u8; HEADER_BYTES] = datagram.first_chunk().ok_or(ParseError::UdpMalformed)?;
    let len_bytes = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if len_bytes < HEADER_BYTES || len_bytes > datagram.len() {
        return Err(ParseError::UdpMalformed);
    }
    let l4_ports = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    Ok((l4_ports, HEADER_BYTES as u8, tcp::Flags::default()))
}

/// Replaces both L4 ports (4 bytes as they lie in the header) and lets `delta` mend the checksum, if there is one.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], l4_ports: [u8; 4], delta: Delta) {
    header[..4].copy_from_slice(&l4_ports);
    let mut checksum = [header[CHECKSUM], header[CHECKSUM + 1]];
    delta.apply_to_udp(&mut checksum);
    header[CHECKSUM..].copy_from_slice(&checksum);
}
