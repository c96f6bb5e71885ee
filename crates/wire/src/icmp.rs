//! ICMP (RFC 792): which messages are errors about a flow, and the errors and echo replies that weir itself sends.
//!
//! Promises: no answer is made where RFC 1122 §3.2.2 forbids one; every message made has its checksum.
//! Does not know: how often answers may be sent, which addresses are ours, how an error is translated.

use std::net::Ipv4Addr;

use crate::checksum::{self, Delta};
use crate::ethernet::{self, EtherType};
use crate::{Content, Headers, ParseError, ipv4};

/// The IP protocol number.
pub const PROTOCOL: u8 = 1;
/// Bytes of the header; what an error quotes begins behind it.
pub const HEADER_BYTES: usize = 8;
/// Where the checksum stands in the header, of ICMPv6 too.
pub const CHECKSUM: usize = 2;

const ECHO_REPLY: u8 = 0;
pub(crate) const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const REDIRECT: u8 = 5;
const ECHO_REQUEST: u8 = 8;
pub(crate) const TIME_EXCEEDED: u8 = 11;
pub(crate) const PARAMETER_PROBLEM: u8 = 12;

/// TTL of what weir itself sends (RFC 1700).
const TTL: u8 = 64;
/// Bytes of the largest IP packet with an error (RFC 1812 §4.3.2.3).
const MAX_ERROR_BYTES: usize = 576;

/// What an ICMP or ICMPv6 message is to a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An error that quotes the packet it is about, and is translated with that packet's flow.
    Error,
    /// Anything else. Redirects too: they are advice to a host on the link, not to the end of a flow.
    Other,
}

/// An ICMP error to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Type 3 code 3.
    PortUnreachable,
    /// Type 3 code 1.
    HostUnreachable,
    /// Type 11 code 0: the TTL ran out.
    TimeExceeded,
    /// Type 3 code 4.
    FragmentationNeeded {
        /// Bytes of the largest IP packet that fits (RFC 1191).
        mtu: u16,
    },
}

/// Reads a message that reaches to the end of the IP packet. Its checksum is not verified.
pub fn parse(message: &[u8]) -> Result<Message, ParseError> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk().ok_or(ParseError::IcmpMalformed)?;
    match header[0] {
        UNREACHABLE | SOURCE_QUENCH | TIME_EXCEEDED | PARAMETER_PROBLEM => Ok(Message::Error),
        _ => Ok(Message::Other),
    }
}

/// The header of "host unreachable", its checksum 0.
pub(crate) const HOST_UNREACHABLE: [u8; HEADER_BYTES] = [UNREACHABLE, 1, 0, 0, 0, 0, 0, 0];

/// The header of "fragmentation needed" with an MTU (RFC 1191), its checksum 0.
pub(crate) fn too_big(mtu: u16) -> [u8; HEADER_BYTES] {
    let [high, low] = mtu.to_be_bytes();
    [UNREACHABLE, 4, 0, 0, 0, 0, high, low]
}

/// The MTU of a "fragmentation needed"; 0: its sender does not tell.
pub(crate) fn mtu(header: &[u8; HEADER_BYTES]) -> Option<u16> {
    let mtu = u16::from_be_bytes([header[6], header[7]]);
    header.starts_with(&[UNREACHABLE, 4]).then_some(mtu)
}

/// Lowers the MTU that a "fragmentation needed" carries (RFC 1191), not below what every host takes; any other
/// message is left alone. Voids the message's checksum.
pub fn lower_mtu(message: &mut [u8], by: u16) {
    const FRAGMENTATION_NEEDED: u8 = 4;
    const MIN_MTU: u16 = 68;
    if let Some(header) = message.first_chunk_mut::<HEADER_BYTES>()
        && (header[0], header[1]) == (UNREACHABLE, FRAGMENTATION_NEEDED)
    {
        let mtu = u16::from_be_bytes([header[6], header[7]]);
        // 0: a router from before RFC 1191; its sender guesses.
        if mtu != 0 {
            let lowered = mtu.saturating_sub(by).max(MIN_MTU).min(mtu);
            header[6..].copy_from_slice(&lowered.to_be_bytes());
        }
    }
}

/// Whether the checksum of a whole message is right.
pub fn checksum_is_right(message: &[u8]) -> bool {
    checksum::sum(message) == 0xffff
}

/// Writes the checksum of a whole message afresh; one without a header is left alone.
pub fn fill_checksum(message: &mut [u8]) {
    if message.len() >= HEADER_BYTES {
        message[CHECKSUM..CHECKSUM + 2].fill(0);
        let checksum = checksum::of(&[message]);
        message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum);
    }
}

/// Turns a frame with an echo request into its reply, to be sent back where it came from; false, and the frame
/// as it was, when it is none, when its checksum is wrong, or when it was sent to or by a group.
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn echo_reply_in_place(frame: &mut [u8], headers: &Headers) -> bool {
    let (l3, l4, end) = offsets(headers);
    let is_request = headers.content == Content::Icmp
        && !headers.is_ipv6()
        && ethernet::answer(frame, EtherType::Ipv4).is_some()
        && ipv4::addresses(frame, l3).is_some_and(|(from, to)| ipv4::is_answerable(from, to))
        && frame.get(l4..end).is_some_and(|message| {
            message.starts_with(&[ECHO_REQUEST, 0]) && checksum_is_right(message)
        });
    if !is_request {
        return false;
    }
    ethernet::turn(frame);
    if let Some(header) = frame[l3..].first_chunk_mut() {
        ipv4::turn(header, TTL);
    }
    set_type(&mut frame[l4..], ECHO_REPLY);
    true
}

/// Writes another type into the header of a message, of ICMPv6 too, and mends its checksum.
pub(crate) fn set_type(message: &mut [u8], new: u8) {
    if let Some([old, _, checksum @ ..]) = message.first_chunk_mut::<4>() {
        Delta::replacing(&[*old], &[new]).apply_to(checksum);
        *old = new;
    }
}

/// A whole frame that answers `original_frame` with an ICMP error from `source`, quoting as much of it as fits.
/// It goes back to the MAC address it came from, untagged, with a TTL of 64.
///
/// `None` where RFC 1122 §3.2.2 forbids an error: about an ICMP error or redirect, about what was sent to or by a
/// group or by no host, about a fragment that is not the first; and for contents other than IPv4.
/// `headers` is what [`Headers::parse`] learned of `original_frame`.
pub fn error(
    original_frame: &[u8],
    headers: &Headers,
    source: Ipv4Addr,
    kind: ErrorKind,
) -> Option<Vec<u8>> {
    let (l3, l4, end) = offsets(headers);
    if headers.is_ipv6() || is_about_an_error(original_frame, headers) {
        return None;
    }
    let mut frame = Vec::from(ethernet::answer(original_frame, EtherType::Ipv4)?);
    let (sender, receiver) = ipv4::addresses(original_frame, l3)?;
    if !ipv4::is_answerable(sender, receiver) || ipv4::is_later_fragment(original_frame, l3) {
        return None;
    }
    let max_quoted = MAX_ERROR_BYTES - ipv4::HEADER_BYTES - HEADER_BYTES;
    let quoted = original_frame.get(l3..end.min(l3 + max_quoted))?;
    if l3 + quoted.len() < l4 {
        return None;
    }
    let message = error_message(kind, quoted);
    let header = ipv4::NewHeader {
        source,
        destination: sender,
        protocol: PROTOCOL,
        ttl: TTL,
        payload_bytes: message.len() as u16,
    };
    frame.extend(header.write());
    frame.extend(message);
    Some(frame)
}

/// Whether an ICMP error about this packet would be an error about an error.
fn is_about_an_error(frame: &[u8], headers: &Headers) -> bool {
    match headers.content {
        Content::Tcp | Content::Udp | Content::Sctp => false,
        Content::Icmp => frame.get(usize::from(headers.l4)) == Some(&REDIRECT),
        Content::IcmpError | Content::Arp => true,
    }
}

fn error_message(kind: ErrorKind, quoted: &[u8]) -> Vec<u8> {
    let (icmp_type, code, mtu) = match kind {
        ErrorKind::PortUnreachable => (UNREACHABLE, 3, 0),
        ErrorKind::HostUnreachable => (UNREACHABLE, 1, 0),
        ErrorKind::TimeExceeded => (TIME_EXCEEDED, 0, 0),
        ErrorKind::FragmentationNeeded { mtu } => (UNREACHABLE, 4, mtu),
    };
    let [mtu_high, mtu_low] = mtu.to_be_bytes();
    let mut message = vec![icmp_type, code, 0, 0, 0, 0, mtu_high, mtu_low];
    message.extend(quoted);
    fill_checksum(&mut message);
    message
}

fn offsets(headers: &Headers) -> (usize, usize, usize) {
    (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    )
}
