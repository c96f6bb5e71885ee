//! IPv4 (RFC 791): header and its edits.
//!
//! Promises: a header that parses lies inside the frame with its options, and so does the whole packet.
//! Does not know: what the addresses stand for.

use std::net::Ipv4Addr;

use crate::ParseError;
use crate::checksum::{self, Delta};

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Bytes of an IP packet that every host takes, whole or in fragments (RFC 791).
pub const MIN_HOST_MTU: u16 = 576;

/// The bit of the header's byte 6 (RFC 791).
const DONT_FRAGMENT: u8 = 0x40;
/// The bits of the header's bytes 6 and 7 that make a packet a fragment: More Fragments, or an offset. Don't Fragment
/// and the reserved bit say nothing.
pub(crate) const FRAGMENT: u16 = MORE_FRAGMENTS | OFFSET;
/// Of those: more of the datagram follows behind this fragment.
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
/// Of those: where in its datagram a fragment begins, in units of 8 bytes.
pub(crate) const OFFSET: u16 = 0x1fff;

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
    let (header, bits) = parse_part(frame, l3)?;
    if bits & FRAGMENT != 0 {
        return Err(ParseError::Fragment);
    }
    Ok(header)
}

/// Parses the header at `l3` of a packet that must be whole, but may be a fragment; also gives the word with its flags
/// and offset.
#[inline]
pub(crate) fn parse_part(frame: &[u8], l3: usize) -> Result<(Header, u16), ParseError> {
    let (header, total_bytes) = parse_any(frame, l3).ok_or(ParseError::Ipv4Malformed)?;
    let fixed: &[u8; HEADER_BYTES] = frame[l3..].first_chunk().ok_or(ParseError::Ipv4Malformed)?;
    if header.l4 - l3 > total_bytes {
        return Err(ParseError::Ipv4Malformed);
    }
    if header.end > frame.len() {
        return Err(ParseError::Ipv4Truncated);
    }
    Ok((header, u16::from_be_bytes([fixed[6], fixed[7]])))
}

/// Parses the header at `l3` of a packet quoted in an ICMP error, of which only the beginning need be there. A
/// first fragment will do, a later one does not tell its L4 ports.
pub fn parse_quoted(message: &[u8], l3: usize) -> Result<Header, ParseError> {
    let (header, _) = parse_any(message, l3).ok_or(ParseError::IcmpMalformed)?;
    if u16::from_be_bytes([message[l3 + 6], message[l3 + 7]]) & OFFSET != 0 {
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
    frame
        .get(l3 + 6)
        .is_some_and(|flags| flags & DONT_FRAGMENT != 0)
}

/// Whether the packet whose header is at `l3` is a fragment other than the first.
pub fn is_later_fragment(frame: &[u8], l3: usize) -> bool {
    frame
        .get(l3 + 6..)
        .and_then(|bytes| bytes.first_chunk())
        .is_some_and(|bytes| u16::from_be_bytes(*bytes) & OFFSET != 0)
}

/// Whether options ask for a route through given routers of which some are still to be visited (RFC 791: loose and strict
/// source route). Options that cannot be read ask for nothing.
pub(crate) fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    const STRICT_SOURCE_ROUTE: u8 = 137;
    while let [kind, rest @ ..] = options {
        match *kind {
            END => return false,
            NO_OPERATION => options = rest,
            kind => {
                let Some(len_bytes) = rest.first().copied().filter(|len| *len >= 2) else {
                    return false;
                };
                let is_route = matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
                // The third byte points at the next router, behind the option's end when all were visited.
                if is_route && options.get(2).is_some_and(|pointer| *pointer <= len_bytes) {
                    return true;
                }
                options = options.get(usize::from(len_bytes)..).unwrap_or_default();
            }
        }
    }
    false
}

/// Source and destination address of the packet whose header is at `l3`.
pub fn addresses(frame: &[u8], l3: usize) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let [a, b, c, d, e, f, g, h] = *frame.get(l3 + 12..)?.first_chunk()?;
    Some((Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h)))
}

/// Whether a packet with these addresses may be answered at all (RFC 1122 §3.2.2): it comes from one host and was
/// sent to one host. Directed broadcasts are not told from other addresses; their frame is a broadcast.
pub fn is_answerable(source: Ipv4Addr, destination: Ipv4Addr) -> bool {
    let is_one_host = |address: Ipv4Addr| !matches!(address.octets()[0], 0 | 127 | 224..);
    is_one_host(source) && is_one_host(destination)
}

/// The header of a packet that weir itself makes: no options, no fragment and none to be made of it.
#[derive(Clone, Copy, Debug)]
pub struct NewHeader {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Number of the protocol above.
    pub protocol: u8,
    /// Time to live.
    pub ttl: u8,
    /// Bytes that the packet carries.
    pub payload_bytes: u16,
}

impl NewHeader {
    /// The header's bytes, with its checksum.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        self.write_carrying(0, true, 0)
    }

    /// As [`Self::write`], of a packet that carries another: it has that one's traffic class, and may be fragmented
    /// where that one may; then it has an identification of its own (RFC 6864).
    #[inline]
    pub fn write_carrying(
        &self,
        traffic_class: u8,
        forbids_fragmentation: bool,
        identification: u16,
    ) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = 0x45;
        header[1] = traffic_class;
        let total_bytes = self.payload_bytes.saturating_add(HEADER_BYTES as u16);
        header[2..4].copy_from_slice(&total_bytes.to_be_bytes());
        if forbids_fragmentation {
            header[6] = DONT_FRAGMENT;
        } else {
            header[4..6].copy_from_slice(&identification.to_be_bytes());
        }
        header[8] = self.ttl;
        header[9] = self.protocol;
        header[12..16].copy_from_slice(&self.source.octets());
        header[16..].copy_from_slice(&self.destination.octets());
        let checksum = !checksum::sum(&header);
        header[10..12].copy_from_slice(&checksum.to_ne_bytes());
        header
    }
}

/// Exchanges the two addresses and sets the TTL, mending the checksum.
pub fn turn(header: &mut [u8; HEADER_BYTES], ttl: u8) {
    let delta = Delta::replacing(&header[8..9], &[ttl]);
    header[8] = ttl;
    header[12..].rotate_left(4);
    mend(header, delta);
}

/// Replaces both addresses, takes one from the TTL, and lets `delta` (of the addresses alone) and the TTL's own
/// edit mend the checksum. The TTL must not be 0.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], addresses: u64, delta: Delta) {
    let checksum = delta.apply_both(
        Delta::TTL_DECREMENT,
        u16::from_ne_bytes([header[10], header[11]]),
    );
    header[8] = header[8].wrapping_sub(1);
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
    header[12..].copy_from_slice(&addresses.to_ne_bytes());
}

/// Takes one from the TTL, which must not be 0, and mends the header checksum.
#[inline]
pub fn decrement_ttl(header: &mut [u8; HEADER_BYTES]) {
    header[8] = header[8].wrapping_sub(1);
    mend(header, Delta::TTL_DECREMENT);
}

/// Replaces both addresses and mends the header checksum.
pub fn set_addresses(header: &mut [u8; HEADER_BYTES], addresses: u64) {
    let addresses = addresses.to_ne_bytes();
    let delta = Delta::replacing(&header[12..], &addresses);
    header[12..].copy_from_slice(&addresses);
    mend(header, delta);
}

/// Replaces the identification and mends the header checksum.
pub fn set_identification(header: &mut [u8; HEADER_BYTES], identification: u16) {
    let identification = identification.to_be_bytes();
    let delta = Delta::replacing(&header[4..6], &identification);
    header[4..6].copy_from_slice(&identification);
    mend(header, delta);
}

/// Clears Don't Fragment, for which a packet needs an identification of its own (RFC 6864), and mends the header checksum.
pub fn allow_fragmentation(header: &mut [u8; HEADER_BYTES], identification: u16) {
    let flags = [header[6] & !DONT_FRAGMENT, header[7]];
    let delta = Delta::replacing(&header[6..8], &flags);
    header[6..8].copy_from_slice(&flags);
    mend(header, delta);
    set_identification(header, identification);
}

/// Adds `n_bytes` to the total length, which does not overflow, and mends the header checksum.
#[inline]
pub fn grow(header: &mut [u8; HEADER_BYTES], n_bytes: u16) {
    let total_bytes = u16::from_be_bytes([header[2], header[3]]).wrapping_add(n_bytes);
    header[2..4].copy_from_slice(&total_bytes.to_be_bytes());
    mend(header, Delta::growing(n_bytes));
}

/// As [`grow`], modulo 2¹⁶: it may shrink too.
pub(crate) fn resize(header: &mut [u8; HEADER_BYTES], by: u16) {
    let before = [header[2], header[3]];
    let total_bytes = u16::from_be_bytes(before).wrapping_add(by).to_be_bytes();
    header[2..4].copy_from_slice(&total_bytes);
    mend(header, Delta::replacing(&before, &total_bytes));
}

#[inline]
pub(crate) fn mend(header: &mut [u8; HEADER_BYTES], delta: Delta) {
    let checksum = delta.apply(u16::from_ne_bytes([header[10], header[11]]));
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
}
