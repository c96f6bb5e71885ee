//! SCTP (RFC 9260): the common header, what the first chunk asks for, and the CRC32c over all of it.
//!
//! Promises: a packet that parses has a common header and the header of a chunk. A checksum that was right is right
//! after an edit, and one that was wrong is wrong.
//! Does not know: associations, verification tags, what stands in a chunk.
//!
//! How it works: a CRC is linear, so what a change of some bits does to it depends on those bits and on how many bytes
//! follow them, and on nothing else: two multiplications in the field of the polynomial, whatever the packet's length.
//! No address is in the sum.

use crate::{Headers, ParseError};

/// The IP protocol number.
pub const PROTOCOL: u8 = 132;
/// Bytes of the common header (RFC 9260 §3.1).
pub const HEADER_BYTES: usize = 12;
/// Where the checksum stands in it.
pub const CHECKSUM: usize = 8;

/// Bytes of a chunk's header: type, flags, length (RFC 9260 §3.2).
const CHUNK_HEADER_BYTES: usize = 4;

/// What a packet's chunks ask for, by the first of them. An ABORT behind COOKIE ECHO or COOKIE ACK is an ABORT, as in
/// IPVS (`set_sctp_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Chunk {
    /// DATA, SACK, HEARTBEAT and its acknowledgement, ECNE, CWR, and every type that is not named here.
    Data,
    /// INIT: opens an association.
    Init,
    /// INIT ACK, with the state cookie.
    InitAck,
    /// COOKIE ECHO.
    CookieEcho,
    /// COOKIE ACK: the association stands.
    CookieAck,
    /// SHUTDOWN.
    Shutdown,
    /// SHUTDOWN ACK.
    ShutdownAck,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete,
    /// ERROR.
    Error,
    /// ABORT.
    Abort,
}

impl Chunk {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Data,
        Self::Init,
        Self::InitAck,
        Self::CookieEcho,
        Self::CookieAck,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::ShutdownComplete,
        Self::Error,
        Self::Abort,
    ];

    /// Of a chunk's type (RFC 9260 §3.2).
    fn of_type(number: u8) -> Self {
        match number {
            1 => Self::Init,
            2 => Self::InitAck,
            6 => Self::Abort,
            7 => Self::Shutdown,
            8 => Self::ShutdownAck,
            9 => Self::Error,
            10 => Self::CookieEcho,
            11 => Self::CookieAck,
            14 => Self::ShutdownComplete,
            _ => Self::Data,
        }
    }
}

/// Reads a packet that reaches to the end of the IP packet: its L4 ports as they lie there. Its checksum is not verified.
pub fn parse(packet: &[u8]) -> Result<u32, ParseError> {
    let header: &[u8; HEADER_BYTES + CHUNK_HEADER_BYTES] =
        packet.first_chunk().ok_or(ParseError::SctpMalformed)?;
    Ok(u32::from_ne_bytes([
        header[0], header[1], header[2], header[3],
    ]))
}

/// What an SCTP packet asks for. Read where it is needed: kept for every packet, it would cost those of TCP and UDP.
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn chunk(frame: &[u8], headers: &Headers) -> Chunk {
    let chunks = usize::from(headers.l4) + HEADER_BYTES..usize::from(headers.end);
    let chunks = frame.get(chunks).unwrap_or_default();
    let Some(first) = chunks.first_chunk::<CHUNK_HEADER_BYTES>() else {
        return Chunk::Data;
    };
    match Chunk::of_type(first[0]) {
        cookie @ (Chunk::CookieEcho | Chunk::CookieAck) => second(first, chunks)
            .filter(|chunk| *chunk == Chunk::Abort)
            .unwrap_or(cookie),
        other => other,
    }
}

/// The chunk behind the first, if both are there.
fn second(first: &[u8; CHUNK_HEADER_BYTES], chunks: &[u8]) -> Option<Chunk> {
    let len_bytes = usize::from(u16::from_be_bytes([first[2], first[3]]));
    if len_bytes < CHUNK_HEADER_BYTES {
        return None;
    }
    let header: &[u8; CHUNK_HEADER_BYTES] =
        chunks.get(len_bytes.next_multiple_of(4)..)?.first_chunk()?;
    Some(Chunk::of_type(header[0]))
}

/// Replaces both L4 ports (4 bytes as they lie in the header) of a packet of `len_bytes`, and mends its checksum.
pub fn rewrite(header: &mut [u8; HEADER_BYTES], l4_ports: [u8; 4], len_bytes: u16) {
    let [a, b, c, d, _, _, _, _, checksum @ ..] = header;
    let before = u32::from_le_bytes([*a, *b, *c, *d]);
    let changed = before ^ u32::from_le_bytes(l4_ports);
    [*a, *b, *c, *d] = l4_ports;
    *checksum = (u32::from_le_bytes(*checksum) ^ difference(changed, len_bytes)).to_le_bytes();
}

/// Hides the addresses that a packet with INIT or INIT ACK names beside its own (RFC 9260 §3.3.2.1, §3.3.3.1), and mends its
/// checksum: whoever reads it skips them. Behind a translation of addresses they lead past it, or nowhere.
///
/// How: the two highest bits of a parameter's type say what becomes of one that is not known; 10 is to skip it without a
/// word (§3.2.1).
pub fn hide_addresses(packet: &mut [u8]) {
    const PARAMETERS: usize = HEADER_BYTES + 20;
    const SKIPPED: u8 = 0x80;
    let len_bytes = packet.len();
    let mut at = PARAMETERS;
    while let Some([type_high, type_low, length @ ..]) =
        packet.get(at..).and_then(|rest| rest.first_chunk::<4>())
    {
        let length = usize::from(u16::from_be_bytes(*length));
        // IPv4 address, IPv6 address, host name.
        if let (0, 5 | 6 | 11) = (*type_high, *type_low) {
            packet[at] |= SKIPPED;
            let changed = u32::from_le_bytes([SKIPPED, 0, 0, 0]);
            let difference = difference(changed, (len_bytes - at) as u16);
            for (byte, change) in packet[CHECKSUM..HEADER_BYTES]
                .iter_mut()
                .zip(difference.to_le_bytes())
            {
                *byte ^= change;
            }
        }
        at += length.max(4).next_multiple_of(4);
    }
}

/// What changing four bytes does to the checksum, `n_bytes` before the packet's end.
fn difference(changed: u32, n_bytes: u16) -> u32 {
    let [of_low, of_high] = [n_bytes & 0xff, n_bytes >> 8].map(usize::from);
    times(times(changed, BYTES[of_low]), PAGES[of_high])
}

/// Whether the checksum of a whole packet is right.
pub fn checksum_is_right(packet: &[u8]) -> bool {
    checksum(packet).is_some_and(|right| packet[CHECKSUM..HEADER_BYTES] == right)
}

/// Writes the checksum of a whole packet afresh; one without a header is left alone.
pub fn fill_checksum(packet: &mut [u8]) {
    if let Some(right) = checksum(packet) {
        packet[CHECKSUM..HEADER_BYTES].copy_from_slice(&right);
    }
}

/// The checksum field that a packet should have, which counts as zero in the sum (RFC 9260 §6.8).
fn checksum(packet: &[u8]) -> Option<[u8; 4]> {
    let (header, chunks) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let before = header[..CHECKSUM].iter().chain(&[0; 4]);
    let remainder = before.chain(chunks).fold(!0, |remainder: u32, byte| {
        let [low, ..] = remainder.to_le_bytes();
        (remainder >> 8) ^ times(u32::from(low ^ byte), X_8)
    });
    Some((!remainder).to_le_bytes())
}

/// The CRC32c polynomial (Castagnoli) without its x³², as all remainders here: the highest bit is x⁰ (RFC 9260
/// appendix A).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// 1.
const ONE: u32 = 1 << 31;
/// `x`⁸.
const X_8: u32 = 1 << 23;

/// `x`⁸ⁿ for n from 0: what n bytes that follow do to a remainder.
static BYTES: [u32; 256] = powers(X_8);

/// Likewise for 256 bytes each.
static PAGES: [u32; 256] = powers(times(powers(X_8)[255], X_8));

const fn powers(base: u32) -> [u32; 256] {
    let mut powers = [ONE; 256];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = times(powers[n - 1], base);
        n += 1;
    }
    powers
}

/// The product of two remainders. Without a branch: the bits are those of L4 ports.
const fn times(a: u32, b: u32) -> u32 {
    let mut shifted = a;
    let mut product = 0;
    let mut n = 0;
    while n < 32 {
        product ^= shifted & 0u32.wrapping_sub(b >> (31 - n) & 1);
        shifted = (shifted >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(shifted & 1));
        n += 1;
    }
    product
}
