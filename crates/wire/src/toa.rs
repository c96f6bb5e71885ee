//! TOA: the TCP option that carries the client's address and L4 port to the real server.
//!
//! ```text
//!   kind | 8  | L4 port, network order | IPv4 address          8 bytes
//!   kind | 20 | L4 port, network order | IPv6 address         20 bytes
//! ```
//!
//! Promises: it stands right after the fixed TCP header, where readers find it first, or in place of a client's own
//! option of that kind; no other option of that kind is left; lengths and checksums are right afterwards.
//! Does not know: which segments are to carry it, nor whether the longer packet still fits its way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::{self, Delta};
use crate::{Content, Endpoint, FlowKey, Headers, Packet, ethernet, ipv4, ipv6, tcp};

/// Bytes of the option for an IPv4 client.
pub const IPV4_BYTES: usize = 8;
/// Bytes of the option for an IPv6 client.
pub const IPV6_BYTES: usize = 20;

/// What became of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toa {
    /// The packet grew by so many bytes at its front.
    Inserted(u16),
    /// A client's own option of that kind was overwritten; the packet has the same length.
    Overwritten,
    /// No room in the TCP header or before the frame: left out. A client's own option of that kind is blanked all
    /// the same.
    NoSpace,
}

/// Bytes of the option for a client whose packet this is: 8 for IPv4, 20 for IPv6.
#[inline]
pub fn len_bytes(headers: &Headers) -> u16 {
    if headers.is_ipv6() {
        IPV6_BYTES as u16
    } else {
        IPV4_BYTES as u16
    }
}

/// Puts the option `kind` with the client's endpoint, the source of the packet, into a TCP segment. `kind` is one that
/// has a length (not 0 or 1).
///
/// `headers` is what [`Headers::parse`] learned of this packet. Afterwards it still says where each header begins; the
/// packet's end and the length of its TCP header are greater by what was inserted.
#[inline]
pub fn insert(packet: &mut Packet<'_>, headers: &Headers, kind: u8) -> Toa {
    match headers.key {
        FlowKey::V4(key) => {
            let address = u64::from_le(key.addresses) << 32;
            let option = u64::from(beginning::<IPV4_BYTES>(kind, key.l4_ports)) | address;
            insert_option(packet, headers, &option.to_le_bytes())
        }
        FlowKey::V6(key) => {
            let mut option = [0; IPV6_BYTES];
            let beginning = beginning::<IPV6_BYTES>(kind, key.l4_ports);
            option[..4].copy_from_slice(&beginning.to_le_bytes());
            option[4..].copy_from_slice(key.source.map(u64::to_ne_bytes).as_flattened());
            insert_option(packet, headers, &option)
        }
    }
}

/// Kind, length and the source's L4 port, first byte lowest: made as one number, because what is put together byte by
/// byte in memory cannot be read as a whole at once.
#[inline]
fn beginning<const LEN: usize>(kind: u8, l4_ports: u32) -> u32 {
    u32::from(kind) | (LEN as u32) << 8 | u32::from_le(l4_ports) << 16
}

/// Three phases, so that nothing is half done: (1) a client's own options go, whatever happens; (2) all there is to
/// refuse is refused; (3) the frame grows at its front, everything up to the fixed TCP header moves there, the
/// option fills the gap. Data and options stay where they are, hence the even offset and the small copy.
#[inline]
fn insert_option<const N: usize>(
    packet: &mut Packet<'_>,
    headers: &Headers,
    option: &[u8; N],
) -> Toa {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let header_bytes = usize::from(headers.l4_header_bytes);
    let Some(header) = packet.frame_mut().get_mut(l4..l4 + header_bytes) else {
        return Toa::NoSpace;
    };

    // (1)
    if headers.tcp_options == tcp::Options::Any
        && let Some(own) = tcp::find_option(header, option[0])
        && replace_own(header, own.start, option)
    {
        return Toa::Overwritten;
    }

    // (2)
    let has_room = headers.content == Content::Tcp
        && header_bytes + N <= tcp::MAX_HEADER_BYTES
        && headers.end.checked_add(N as u16).is_some();
    if !has_room {
        return Toa::NoSpace;
    }
    let Ok(frame) = packet.grow_front(N as u16) else {
        return Toa::NoSpace;
    };

    // (3)
    // With enough options an IPv4 header is as long as an IPv6 one, so the place alone does not tell.
    match (l4 + tcp::HEADER_BYTES, headers.is_ipv6()) {
        (IPV4_FIXED_END, false) if l3 == L3 => put_plain::<IPV4_FIXED_END, N>(frame, option),
        (IPV6_FIXED_END, true) if l3 == L3 => put_plain::<IPV6_FIXED_END, N>(frame, option),
        _ => put(frame, headers, option),
    }
    Toa::Inserted(N as u16)
}

/// Where the IP header begins in an untagged frame.
const L3: usize = ethernet::HEADER_BYTES;
/// Where the fixed TCP header ends in an untagged frame without IP options.
const IPV4_FIXED_END: usize = L3 + ipv4::HEADER_BYTES + tcp::HEADER_BYTES;
/// Likewise, over IPv6.
const IPV6_FIXED_END: usize = L3 + ipv6::HEADER_BYTES + tcp::HEADER_BYTES;

/// As [`put`] in the common case, for whose constants the copy is a few vector moves and one look at the frame's length
/// is enough.
#[inline]
fn put_plain<const FIXED_END: usize, const N: usize>(frame: &mut [u8], option: &[u8; N]) {
    let Some(frame) = frame.get_mut(..FIXED_END + N) else {
        return;
    };
    let moved = frame[N..].first_chunk::<FIXED_END>().copied();
    let (front, gap) = frame.split_at_mut(FIXED_END);
    front.copy_from_slice(&moved.unwrap_or([0; FIXED_END]));
    gap.copy_from_slice(option);
    let (ip, tcp) = front[L3..].split_at_mut(FIXED_END - L3 - tcp::HEADER_BYTES);
    match ip.first_chunk_mut() {
        Some(header) if FIXED_END == IPV4_FIXED_END => ipv4::grow(header, N as u16),
        _ => {
            if let Some(header) = ip.first_chunk_mut() {
                ipv6::grow(header, N as u16);
            }
        }
    }
    mend_tcp(tcp, option);
}

/// Moves everything up to the fixed TCP header to the start of a frame that has grown by `N` bytes at its front, and
/// writes the option behind it.
#[cold]
fn put<const N: usize>(frame: &mut [u8], headers: &Headers, option: &[u8; N]) {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let fixed_end = l4 + tcp::HEADER_BYTES;
    frame.copy_within(N..N + fixed_end, 0);
    frame[fixed_end..fixed_end + N].copy_from_slice(option);
    if headers.is_ipv6() {
        if let Some(header) = frame[l3..].first_chunk_mut() {
            ipv6::grow(header, N as u16);
        }
    } else if let Some(header) = frame[l3..].first_chunk_mut() {
        ipv4::grow(header, N as u16);
    }
    mend_tcp(&mut frame[l4..], option);
}

/// Writes the new data offset. The checksum counts it, the option, and the length in the pseudo-header.
#[inline]
fn mend_tcp<const N: usize>(segment: &mut [u8], option: &[u8; N]) {
    let offset_change = (N as u8 / 4) << 4;
    segment[12] += offset_change;
    let fixed = Delta(u16::from_ne_bytes([offset_change, 0])) + Delta::growing(N as u16);
    let (words, rest) = option.as_chunks::<8>();
    let delta = words
        .iter()
        .fold(Delta(checksum::sum(rest)) + fixed, |delta, word| {
            delta + Delta::of_word(u64::from_ne_bytes(*word))
        });
    tcp::mend(segment, delta);
}

/// Overwrites the first option that is of the kind and the length of `option`, and blanks all others of its kind,
/// from the one at `start` on. Returns whether one was overwritten.
#[cold]
fn replace_own(header: &mut [u8], start: usize, option: &[u8]) -> bool {
    let kind = option[0];
    let mut at = start;
    let mut is_overwritten = false;
    while let Some(own) = tcp::find_option_from(header, at, kind) {
        at = own.end;
        if own.len() == option.len() && !is_overwritten {
            tcp::replace(header, own.start, option);
            is_overwritten = true;
        } else {
            tcp::blank(header, own);
        }
    }
    is_overwritten
}

/// Reads the first option `kind` of a TCP header with its options, as a real server does; `None` when there is none
/// or its length is neither 8 nor 20.
pub fn read(header: &[u8], kind: u8) -> Option<Endpoint> {
    let option = &header[tcp::find_option(header, kind)?];
    let (&[_, _, port_high, port_low], address) = option.split_first_chunk()?;
    let address = match *address {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
    };
    Some(Endpoint::new(
        address,
        u16::from_be_bytes([port_high, port_low]),
    ))
}
