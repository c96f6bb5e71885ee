//! IPv6 (RFC 8200): header, extension headers and edits.
//!
//! Promises: a header that parses lies inside the frame with all its extension headers, and so does the whole
//! packet. Does not know: what the addresses stand for, nor what extension headers ask for beyond their length.

use crate::ParseError;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;
/// More extension headers than this no honest packet has.
const MAX_EXTENSIONS: usize = 8;

const HOP_BY_HOP: u8 = 0;
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
#[inline]
pub fn parse(frame: &[u8], l3: usize) -> Result<Header, ParseError> {
    let mut header = parse_fixed(frame, l3).ok_or(ParseError::Ipv6Malformed)?;
    if header.end > frame.len() {
        return Err(ParseError::Ipv6Truncated);
    }
    if is_extension(header.protocol) {
        skip_extensions(&frame[..header.end], &mut header)?;
    }
    Ok(header)
}

/// Parses the header at `l3` of a packet quoted in an ICMPv6 error, of which only the beginning need be there.
pub fn parse_quoted(message: &[u8], l3: usize) -> Result<Header, ParseError> {
    let mut header = parse_fixed(message, l3).ok_or(ParseError::IcmpMalformed)?;
    skip_extensions(message, &mut header).map_err(|_| ParseError::IcmpMalformed)?;
    Ok(header)
}

#[inline]
fn parse_fixed(frame: &[u8], l3: usize) -> Option<Header> {
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

#[inline]
fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS
    )
}

/// Walks over extension headers up to what the packet carries. Each one but the fragment header tells its length
/// in units of 8 bytes, the first not counted.
#[cold]
fn skip_extensions(packet: &[u8], header: &mut Header) -> Result<(), ParseError> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(header.protocol) {
            return Ok(());
        }
        let extension: &[u8; 8] = packet
            .get(header.l4..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(ParseError::Ipv6ExtensionMalformed)?;
        let len_bytes = match header.protocol {
            // An atomic fragment (offset 0, no more to come) is a whole packet (RFC 6946).
            FRAGMENT if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 == 0 => 8,
            FRAGMENT => return Err(ParseError::Fragment),
            _ => (usize::from(extension[1]) + 1) * 8,
        };
        header.protocol = extension[0];
        header.l4 += len_bytes;
        if header.l4 > packet.len() {
            return Err(ParseError::Ipv6ExtensionMalformed);
        }
    }
    Err(ParseError::Ipv6ExtensionMalformed)
}

/// Replaces both addresses and takes one from the hop limit. There is no header checksum.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], source: [u64; 2], destination: [u64; 2]) {
    header[7] = header[7].wrapping_sub(1);
    for (bytes, word) in header[8..]
        .as_chunks_mut::<8>()
        .0
        .iter_mut()
        .zip(source.into_iter().chain(destination))
    {
        *bytes = word.to_ne_bytes();
    }
}

/// Writes a payload length.
pub fn set_payload_bytes(header: &mut [u8; HEADER_BYTES], payload_bytes: u16) {
    header[4..6].copy_from_slice(&payload_bytes.to_be_bytes());
}
