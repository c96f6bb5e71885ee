//! IPv4 (RFC 791): header and its edits.
//!
//! Promises: a header that parses lies inside the frame with its options, and so does the whole packet.
//! Does not know: what the addresses stand for.

use crate::ParseError;
use crate::checksum::{self, Delta};

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// What the parse of a header learned. Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Source and destination address as they lie in the header, read as one native integer.
    pub addresses: u64,
    /// Start of what the packet carries.
    pub l4: usize,
    /// End of the packet.
    pub end: usize,
    /// Number of the protocol above.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
}

/// Parses the header at `l3` of a packet that must be whole and no fragment.
#[inline]
pub fn parse(frame: &[u8], l3: usize) -> Result<Header, ParseError> {
    let (header, total_bytes) = parse_any(frame, l3).ok_or(ParseError::Ipv4Malformed)?;
    let fixed: &[u8; HEADER_BYTES] = frame[l3..].first_chunk().ok_or(ParseError::Ipv4Malformed)?;
    if header.l4 - l3 > total_bytes {
        return Err(ParseError::Ipv4Malformed);
    }
    if header.end > frame.len() {
        return Err(ParseError::Ipv4Truncated);
    }
    // More Fragments, or an offset; Don't Fragment and the reserved bit say nothing.
    if u16::from_be_bytes([fixed[6], fixed[7]]) & 0x3fff != 0 {
        return Err(ParseError::Fragment);
    }
    Ok(header)
}

/// Parses the header at `l3` of a packet quoted in an ICMP error, of which only the beginning need be there. A
/// first fragment will do, a later one does not tell its L4 ports.
pub fn parse_quoted(message: &[u8], l3: usize) -> Result<Header, ParseError> {
    let (header, _) = parse_any(message, l3).ok_or(ParseError::IcmpMalformed)?;
    if u16::from_be_bytes([message[l3 + 6], message[l3 + 7]]) & 0x1fff != 0 {
        return Err(ParseError::IcmpMalformed);
    }
    Ok(header)
}

/// Reads a header whose fixed part and options are there; also gives the total length it announces.
#[inline]
fn parse_any(frame: &[u8], l3: usize) -> Option<(Header, usize)> {
    let fixed: &[u8; HEADER_BYTES] = frame.get(l3..)?.first_chunk()?;
    let header_bytes = usize::from(fixed[0] & 0x0f) * 4;
    if fixed[0] >> 4 != 4 || header_bytes < HEADER_BYTES || l3 + header_bytes > frame.len() {
        return None;
    }
    let total_bytes = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let addresses = fixed
        .last_chunk::<8>()
        .map(|bytes| u64::from_ne_bytes(*bytes))?;
    let header = Header {
        addresses,
        l4: l3 + header_bytes,
        end: l3 + total_bytes,
        protocol: fixed[9],
        ttl: fixed[8],
    };
    Some((header, total_bytes))
}

/// Whether the header checksum of the packet at `l3..l4` is right.
pub fn checksum_is_right(frame: &[u8], l3: usize, l4: usize) -> bool {
    frame
        .get(l3..l4)
        .is_some_and(|header| checksum::sum(header) == 0xffff)
}

/// Whether the packet whose header is at `l3` forbids fragmentation (DF).
pub fn forbids_fragmentation(frame: &[u8], l3: usize) -> bool {
    frame.get(l3 + 6).is_some_and(|flags| flags & 0x40 != 0)
}

/// Replaces both addresses, takes one from the TTL, and lets `delta` (of the addresses alone) and the TTL's own
/// edit mend the checksum.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], addresses: u64, delta: Delta) {
    header[12..].copy_from_slice(&addresses.to_ne_bytes());
    header[8] = header[8].wrapping_sub(1);
    let checksum = u16::from_ne_bytes([header[10], header[11]]);
    let checksum = (delta + Delta::TTL_DECREMENT).apply(checksum);
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
}

/// Writes a total length and mends the header checksum.
pub fn set_total_bytes(header: &mut [u8; HEADER_BYTES], total_bytes: u16) {
    let new = total_bytes.to_be_bytes();
    let delta = Delta::replacing(&header[2..4], &new);
    header[2..4].copy_from_slice(&new);
    let checksum = delta.apply(u16::from_ne_bytes([header[10], header[11]]));
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
}
