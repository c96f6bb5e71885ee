//! ICMPv6 (RFC 4443): which messages are errors about a flow, and the errors and echo replies that weir itself sends.
//!
//! Promises: no answer is made where RFC 4443 §2.4 (e) forbids one; every message made has its checksum.
//! Does not know: how often answers may be sent, which addresses are ours, how an error is translated.

pub mod listener;
pub mod neighbour;

use std::net::Ipv6Addr;

use crate::checksum::{self, Delta};
use crate::ethernet::{self, EtherType, Mac};
use crate::icmp::{self, Message};
use crate::{Content, Headers, ParseError, ipv6};

/// The IP protocol number.
pub const PROTOCOL: u8 = 58;
/// Bytes of the header; what an error quotes begins behind it.
pub const HEADER_BYTES: usize = 8;

pub(crate) const UNREACHABLE: u8 = 1;
pub(crate) const PACKET_TOO_BIG: u8 = 2;
pub(crate) const TIME_EXCEEDED: u8 = 3;
pub(crate) const PARAMETER_PROBLEM: u8 = 4;
const LAST_ERROR: u8 = 127;
const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;
const REDIRECT: u8 = 137;

/// Hop limit of what weir itself sends beyond the link.
const HOP_LIMIT: u8 = 64;
/// Bytes of the largest IP packet with an error: the least MTU of IPv6 (RFC 4443 §2.4 (c)).
const MAX_ERROR_BYTES: usize = 1280;

/// An ICMPv6 error to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Type 1 code 4.
    PortUnreachable,
    /// Type 1 code 3.
    AddressUnreachable,
    /// Type 3 code 0: the hop limit ran out.
    TimeExceeded,
    /// Type 2.
    PacketTooBig {
        /// Bytes of the largest IP packet that fits.
        mtu: u32,
    },
}

/// Reads a message that reaches to the end of the IP packet. Its checksum is not verified.
pub fn parse(message: &[u8]) -> Result<Message, ParseError> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk().ok_or(ParseError::IcmpMalformed)?;
    match header[0] {
        UNREACHABLE | PACKET_TOO_BIG | TIME_EXCEEDED | PARAMETER_PROBLEM => Ok(Message::Error),
        _ => Ok(Message::Other),
    }
}

/// The header of "address unreachable", its checksum 0.
pub(crate) const ADDRESS_UNREACHABLE: [u8; HEADER_BYTES] = [UNREACHABLE, 3, 0, 0, 0, 0, 0, 0];

/// The header of "packet too big" with an MTU, its checksum 0.
pub(crate) fn too_big(mtu: u16) -> [u8; HEADER_BYTES] {
    let [high, low] = mtu.to_be_bytes();
    [PACKET_TOO_BIG, 0, 0, 0, 0, 0, high, low]
}

/// The MTU of a "packet too big", at most 65,535.
pub(crate) fn mtu(header: &[u8; HEADER_BYTES]) -> Option<u16> {
    let mtu = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    (header[0] == PACKET_TOO_BIG).then_some(mtu)
}

/// Lowers the MTU that a "packet too big" carries, not below IPv6's minimum; any other message is left alone. Voids
/// the message's checksum.
pub fn lower_mtu(message: &mut [u8], by: u16) {
    const MIN_MTU: u32 = 1280;
    if let Some(header) = message.first_chunk_mut::<HEADER_BYTES>()
        && header[0] == PACKET_TOO_BIG
    {
        let mtu = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let lowered = mtu.saturating_sub(u32::from(by)).max(MIN_MTU).min(mtu);
        header[4..].copy_from_slice(&lowered.to_be_bytes());
    }
}

/// Whether the checksum of a whole message between these addresses is right.
pub fn checksum_is_right(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> bool {
    (pseudo_header(message, source, destination) + Delta(checksum::sum(message))).0 == 0xffff
}

/// Writes the checksum of a whole message between these addresses afresh; one without a header is left alone.
pub fn fill_checksum(message: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr) {
    if message.len() >= HEADER_BYTES {
        message[icmp::CHECKSUM..icmp::CHECKSUM + 2].fill(0);
        let sum = pseudo_header(message, source, destination) + Delta(checksum::sum(message));
        message[icmp::CHECKSUM..icmp::CHECKSUM + 2].copy_from_slice(&(!sum.0).to_ne_bytes());
    }
}

fn pseudo_header(message: &[u8], source: Ipv6Addr, destination: Ipv6Addr) -> Delta {
    checksum::pseudo_header(
        [source.octets(), destination.octets()].as_flattened(),
        PROTOCOL,
        message.len(),
    )
}

/// Turns a frame with an echo request into its reply, to be sent back where it came from; false, and the frame
/// as it was, when it is none, when its checksum is wrong, or when it was sent to or by a group.
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn echo_reply_in_place(frame: &mut [u8], headers: &Headers) -> bool {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    let is_request = headers.content == Content::Icmp
        && headers.is_ipv6()
        && ethernet::answer(frame, EtherType::Ipv6).is_some()
        && ipv6::addresses(frame, l3).is_some_and(|(from, to)| ipv6::is_answerable(from, to))
        && frame
            .get(l4..)
            .is_some_and(|message| message.starts_with(&[ECHO_REQUEST, 0]))
        && checksum::l4_is_right(frame, headers);
    if !is_request {
        return false;
    }
    ethernet::turn(frame);
    if let Some(header) = frame[l3..].first_chunk_mut() {
        ipv6::turn(header, HOP_LIMIT);
    }
    icmp::set_type(&mut frame[l4..], ECHO_REPLY);
    true
}

/// A whole frame that answers `original_frame` with an ICMPv6 error from `source`, quoting as much of it as fits.
/// It goes back to the MAC address it came from, untagged, with a hop limit of 64.
///
/// `None` where RFC 4443 §2.4 (e) forbids an error: about an ICMPv6 error or redirect, about what was sent to or by
/// a group or by no host; and for contents other than IPv6. (Its exception, packet too big about a multicast
/// packet, is of no use to who forwards none.) `headers` is what [`Headers::parse`] learned of `original_frame`.
pub fn error(
    original_frame: &[u8],
    headers: &Headers,
    source: Ipv6Addr,
    kind: ErrorKind,
) -> Option<Vec<u8>> {
    let (l3, end) = (usize::from(headers.l3), usize::from(headers.end));
    if !headers.is_ipv6() || is_about_an_error(original_frame, headers) {
        return None;
    }
    let mut frame = Vec::from(ethernet::answer(original_frame, EtherType::Ipv6)?);
    let (sender, receiver) = ipv6::addresses(original_frame, l3)?;
    if !ipv6::is_answerable(sender, receiver) {
        return None;
    }
    let max_quoted = MAX_ERROR_BYTES - ipv6::HEADER_BYTES - HEADER_BYTES;
    let quoted = original_frame.get(l3..end.min(l3 + max_quoted))?;
    let (icmp_type, code, mtu) = match kind {
        ErrorKind::PortUnreachable => (UNREACHABLE, 4, 0),
        ErrorKind::AddressUnreachable => (UNREACHABLE, 3, 0),
        ErrorKind::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        ErrorKind::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu),
    };
    let mut message = vec![icmp_type, code, 0, 0];
    message.extend(mtu.to_be_bytes());
    message.extend(quoted);
    fill_checksum(&mut message, source, sender);
    let header = ipv6::NewHeader {
        source,
        destination: sender,
        next_header: PROTOCOL,
        hop_limit: HOP_LIMIT,
        payload_bytes: message.len() as u16,
    };
    frame.extend(header.write());
    frame.extend(message);
    Some(frame)
}

/// Whether an ICMPv6 error about this packet would be an error about an error.
fn is_about_an_error(frame: &[u8], headers: &Headers) -> bool {
    match headers.content {
        Content::Tcp | Content::Udp | Content::Sctp => false,
        Content::Icmp => frame
            .get(usize::from(headers.l4))
            .is_none_or(|t| *t <= LAST_ERROR || *t == REDIRECT),
        Content::IcmpError | Content::Arp => true,
    }
}

/// The solicited-node multicast group of an address (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The MAC address of a multicast group (RFC 2464 §7).
pub fn multicast_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}
