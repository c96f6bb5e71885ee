//! IPv6 (RFC 8200): header, extension headers and edits.
//!
//! Promises: a header that parses lies inside the frame with all its extension headers, and so does the whole
//! packet. Does not know: what the addresses stand for, nor what extension headers ask for beyond their length.

use std::net::Ipv6Addr;

use crate::ParseError;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;
/// Bytes of an IP packet that every link takes (RFC 8200 §5).
pub const MIN_MTU: u16 = 1280;
/// More extension headers than this no honest packet has.
const MAX_EXTENSIONS: usize = 8;

/// Next header: hop-by-hop options.
pub(crate) const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

/// What the parse of a header learned. Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Source address as it lies in the header, read as native integers.
    pub source: [u64; 2],
    /// Destination address, likewise.
    pub destination: [u64; 2],
    /// Start of what the packet carries, behind all extension headers.
    pub l4: usize,
    /// End of the packet.
    pub end: usize,
    /// Number of the protocol above.
    pub protocol: u8,
    /// Hop limit.
    pub hop_limit: u8,
}

/// Parses the header at `l3` of a packet that must be whole and no fragment.
pub fn parse(frame: &[u8], l3: usize) -> Result<Header, ParseError> {
    let header = parse_fixed(frame, l3)?;
    skip_extensions(&frame[..header.end], header, WHOLE)
}

/// Parses the fixed header at `l3` of a packet that must be whole; extension headers count as what it carries.
#[inline]
pub(crate) fn parse_fixed(frame: &[u8], l3: usize) -> Result<Header, ParseError> {
    let header = parse_any(frame, l3).ok_or(ParseError::Ipv6Malformed)?;
    if header.end > frame.len() {
        return Err(ParseError::Ipv6Truncated);
    }
    Ok(header)
}

/// Parses the header at `l3` of a packet quoted in an ICMPv6 error, of which only the beginning need be there. A
/// first fragment will do, a later one does not tell its L4 ports.
pub fn parse_quoted(message: &[u8], l3: usize) -> Result<Header, ParseError> {
    let header = parse_any(message, l3).ok_or(ParseError::IcmpMalformed)?;
    skip_extensions(message, header, FIRST).map_err(|_| ParseError::IcmpMalformed)
}

#[inline]
fn parse_any(frame: &[u8], l3: usize) -> Option<Header> {
    let fixed: &[u8; HEADER_BYTES] = frame.get(l3..)?.first_chunk()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let payload_bytes = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let (words, _) = fixed.last_chunk::<32>()?.as_chunks::<8>();
    Some(Header {
        source: [u64::from_ne_bytes(words[0]), u64::from_ne_bytes(words[1])],
        destination: [u64::from_ne_bytes(words[2]), u64::from_ne_bytes(words[3])],
        l4: l3 + HEADER_BYTES,
        end: l3 + HEADER_BYTES + payload_bytes,
        protocol: fixed[6],
        hop_limit: fixed[7],
    })
}

fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
    )
}

/// Bytes of a fragment header.
pub(crate) const FRAGMENT_HEADER_BYTES: usize = 8;
/// The bits of its third and fourth byte that tell where in its datagram the fragment begins, in bytes.
pub(crate) const OFFSET: u16 = 0xfff8;
/// The one that says that more of the datagram follows.
pub(crate) const MORE_FRAGMENTS: u16 = 1;

/// A fragment header (RFC 8200 §4.5).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FragmentHeader {
    /// Where it begins, in bytes from the start of the frame.
    pub(crate) at: usize,
    /// Its third and fourth byte.
    pub(crate) bits: u16,
    /// As it lies there.
    pub(crate) identification: u32,
    /// Number of what follows it in the first fragment.
    pub(crate) next_header: u8,
}

impl FragmentHeader {
    /// The IP header, as far as it goes behind this one.
    pub(crate) fn next(&self, common: &Header) -> Header {
        Header {
            l4: self.at + FRAGMENT_HEADER_BYTES,
            protocol: self.next_header,
            ..*common
        }
    }
}

/// Parses the header at `l3` of a packet that must be whole and have a fragment header: up to that one, which comes
/// behind at most the extension headers that every fragment has.
pub(crate) fn parse_part(frame: &[u8], l3: usize) -> Result<(Header, FragmentHeader), ParseError> {
    let mut header = parse_fixed(frame, l3)?;
    let packet = &frame[..header.end];
    for _ in 0..MAX_EXTENSIONS {
        if header.protocol == FRAGMENT {
            let [next_header, _, a, b, c, d, e, f] = *extension(packet, &header)?;
            let fragment = FragmentHeader {
                at: header.l4,
                bits: u16::from_be_bytes([a, b]),
                identification: u32::from_ne_bytes([c, d, e, f]),
                next_header,
            };
            return Ok((header, fragment));
        }
        if !is_extension(header.protocol) {
            break;
        }
        header = skip_one(packet, header)?;
    }
    Err(ParseError::Ipv6ExtensionMalformed)
}

/// Walks over the extension headers behind a fragment header, of which there is no second one.
pub(crate) fn skip_to_l4(packet: &[u8], mut header: Header) -> Result<Header, ParseError> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(header.protocol) {
            return Ok(header);
        }
        if header.protocol == FRAGMENT {
            break;
        }
        header = skip_one(packet, header)?;
    }
    Err(ParseError::Ipv6ExtensionMalformed)
}

/// Bits of a fragment header's third and fourth byte that are zero in an atomic fragment, which is a whole packet
/// (RFC 6946): offset, and more to come.
const WHOLE: u16 = 0xfff9;
/// Those that are zero in a first fragment: the offset.
const FIRST: u16 = 0xfff8;

/// Walks over extension headers up to what the packet carries. Each one but the fragment header tells its length
/// in units of 8 bytes, the first not counted. A fragment is refused that has a bit of `zero_bits`.
#[cold]
fn skip_extensions(
    packet: &[u8],
    mut header: Header,
    zero_bits: u16,
) -> Result<Header, ParseError> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(header.protocol) {
            return Ok(header);
        }
        if header.protocol == FRAGMENT {
            let [_, _, a, b, ..] = *extension(packet, &header)?;
            if u16::from_be_bytes([a, b]) & zero_bits != 0 {
                return Err(ParseError::Fragment);
            }
        }
        header = skip_one(packet, header)?;
    }
    if is_extension(header.protocol) {
        Err(ParseError::Ipv6ExtensionMalformed)
    } else {
        Ok(header)
    }
}

/// The first 8 bytes of the extension header that `header` has come to.
fn extension<'a>(packet: &'a [u8], header: &Header) -> Result<&'a [u8; 8], ParseError> {
    packet
        .get(header.l4..)
        .and_then(|rest| rest.first_chunk())
        .ok_or(ParseError::Ipv6ExtensionMalformed)
}

/// The header, come to what follows that extension header.
fn skip_one(packet: &[u8], mut header: Header) -> Result<Header, ParseError> {
    let extension = extension(packet, &header)?;
    let len_bytes = match header.protocol {
        FRAGMENT => FRAGMENT_HEADER_BYTES,
        // Segments left: the destination address is not the one that the L4 checksum is about, and routing by packets is
        // deprecated (RFC 5095).
        ROUTING if extension[3] != 0 => return Err(ParseError::Ipv6ExtensionMalformed),
        _ => (usize::from(extension[1]) + 1) * 8,
    };
    header.protocol = extension[0];
    header.l4 += len_bytes;
    if header.l4 > packet.len() {
        return Err(ParseError::Ipv6ExtensionMalformed);
    }
    Ok(header)
}

/// Source and destination address of the packet whose header is at `l3`.
pub fn addresses(frame: &[u8], l3: usize) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let (addresses, _) = frame.get(l3 + 8..)?.as_chunks::<16>();
    match addresses {
        [source, destination, ..] => Some((Ipv6Addr::from(*source), Ipv6Addr::from(*destination))),
        _ => None,
    }
}

/// Whether a packet with these addresses may be answered at all (RFC 4443 §2.4 (e)): it comes from one host and was
/// sent to one host.
pub fn is_answerable(source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    let is_one_host = |address: Ipv6Addr| {
        !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
    };
    is_one_host(source) && is_one_host(destination)
}

/// The header of a packet that weir itself makes.
#[derive(Clone, Copy, Debug)]
pub struct NewHeader {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Number of the protocol above, or of the first extension header.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Bytes that the packet carries, extension headers among them.
    pub payload_bytes: u16,
}

impl NewHeader {
    /// The header's bytes.
    pub fn write(&self) -> [u8; HEADER_BYTES] {
        self.write_carrying(0)
    }

    /// As [`Self::write`], of a packet that carries another and has that one's traffic class.
    #[inline]
    pub fn write_carrying(&self, traffic_class: u8) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[0] = 0x60 | traffic_class >> 4;
        header[1] = traffic_class << 4;
        header[4..6].copy_from_slice(&self.payload_bytes.to_be_bytes());
        header[6] = self.next_header;
        header[7] = self.hop_limit;
        header[8..24].copy_from_slice(&self.source.octets());
        header[24..].copy_from_slice(&self.destination.octets());
        header
    }
}

/// Exchanges the two addresses and sets the hop limit.
pub fn turn(header: &mut [u8; HEADER_BYTES], hop_limit: u8) {
    header[7] = hop_limit;
    header[8..].rotate_left(16);
}

/// Replaces both addresses and takes one from the hop limit. There is no header checksum.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], source: [u64; 2], destination: [u64; 2]) {
    header[7] = header[7].wrapping_sub(1);
    set_addresses(header, source, destination);
}

/// Takes one from the hop limit, which must not be 0.
#[inline]
pub fn decrement_hop_limit(header: &mut [u8; HEADER_BYTES]) {
    header[7] = header[7].wrapping_sub(1);
}

/// Replaces both addresses.
#[inline]
pub fn set_addresses(header: &mut [u8; HEADER_BYTES], source: [u64; 2], destination: [u64; 2]) {
    let (words, _) = header[8..].as_chunks_mut::<8>();
    for (bytes, word) in words.iter_mut().zip(source.into_iter().chain(destination)) {
        *bytes = word.to_ne_bytes();
    }
}

/// Adds `n_bytes` to the payload length, which does not overflow.
#[inline]
pub fn grow(header: &mut [u8; HEADER_BYTES], n_bytes: u16) {
    let payload_bytes = u16::from_be_bytes([header[4], header[5]]).wrapping_add(n_bytes);
    header[4..6].copy_from_slice(&payload_bytes.to_be_bytes());
}
