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
use crate::{Content, Endpoint, Headers, Packet, ipv4, ipv6, tcp};

/// Bytes of the option for an IPv4 client.
const IPV4_BYTES: usize = 8;
/// Bytes of the option for an IPv6 client.
const IPV6_BYTES: usize = 20;

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

/// Puts the option `kind` with `client` into a TCP segment. `kind` is one that has a length (not 0 or 1).
///
/// `headers` is what [`Headers::parse`] learned of this packet. Afterwards it still says where each header begins; the
/// packet's end and the length of its TCP header are greater by what was inserted.
#[inline]
pub fn insert(packet: &mut Packet<'_>, headers: &Headers, kind: u8, client: Endpoint) -> Toa {
    let [port_high, port_low] = client.port().to_be_bytes();
    match client.ip() {
        IpAddr::V4(address) => {
            let mut option = [kind, IPV4_BYTES as u8, port_high, port_low, 0, 0, 0, 0];
            option[4..].copy_from_slice(&address.octets());
            insert_option(packet, headers, &option)
        }
        IpAddr::V6(address) => {
            let mut option = [0; IPV6_BYTES];
            option[..4].copy_from_slice(&[kind, IPV6_BYTES as u8, port_high, port_low]);
            option[4..].copy_from_slice(&address.octets());
            insert_option(packet, headers, &option)
        }
    }
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
    if let Some(own) = tcp::find_option(header, option[0])
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
    let fixed_end = l4 + tcp::HEADER_BYTES;
    match fixed_end {
        IPV4_FIXED_END => move_front::<IPV4_FIXED_END, N>(frame),
        IPV6_FIXED_END => move_front::<IPV6_FIXED_END, N>(frame),
        _ => frame.copy_within(N..N + fixed_end, 0),
    }
    frame[fixed_end..fixed_end + N].copy_from_slice(option);
    set_ip_bytes(frame, headers, l3, headers.ip_bytes() + N as u16);
    mend_tcp(&mut frame[l4..], option);
    Toa::Inserted(N as u16)
}

/// Where the fixed TCP header ends in an untagged frame without IP options: Ethernet, IPv4, TCP.
const IPV4_FIXED_END: usize = 14 + 20 + 20;
/// Likewise: Ethernet, IPv6, TCP.
const IPV6_FIXED_END: usize = 14 + 40 + 20;

/// Moves `LEN` bytes to the frame's start from `N` bytes behind it. Both numbers are constants, so that the copy is
/// a few vector moves and no call.
#[inline]
fn move_front<const LEN: usize, const N: usize>(frame: &mut [u8]) {
    let Some(moved) = frame
        .get(N..)
        .and_then(|rest| rest.first_chunk::<LEN>())
        .copied()
    else {
        return;
    };
    if let Some(front) = frame.first_chunk_mut() {
        *front = moved;
    }
}

/// Writes the new length of the IP packet.
#[inline]
fn set_ip_bytes(frame: &mut [u8], headers: &Headers, l3: usize, ip_bytes: u16) {
    if headers.is_ipv6() {
        if let Some(header) = frame[l3..].first_chunk_mut() {
            ipv6::set_payload_bytes(header, ip_bytes - ipv6::HEADER_BYTES as u16);
        }
    } else if let Some(header) = frame[l3..].first_chunk_mut() {
        ipv4::set_total_bytes(header, ip_bytes);
    }
}

/// Writes the new data offset. The checksum counts it, the option, and the length in the pseudo-header.
#[inline]
fn mend_tcp<const N: usize>(segment: &mut [u8], option: &[u8; N]) {
    let offset_change = (N as u8 / 4) << 4;
    segment[12] += offset_change;
    let delta = Delta(checksum::sum(option))
        + Delta(u16::from_ne_bytes([offset_change, 0]))
        + Delta::growing(N as u16);
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
