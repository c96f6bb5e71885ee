//! ICMPv6 (RFC 4443).
pub mod listener;
pub mod neighbour;

use std::net::Ipv6Addr;

use crate::ethernet::Mac;
use crate::icmp::Message;
use crate::{Headers, ParseError};

/// The IP protocol number.
pub const PROTOCOL: u8 = 58;
/// Bytes of the header; what an error quotes begins behind it.
pub const HEADER_BYTES: usize = 8;

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

/// Reads a message that reaches to the end of the IP packet.
pub fn parse(message: &[u8]) -> Result<Message, ParseError> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk().ok_or(ParseError::IcmpMalformed)?;
    match header[0] {
        1..=4 => Ok(Message::Error),
        _ => Ok(Message::Other),
    }
}

/// Whether the checksum of a whole message is right.
pub fn checksum_is_right(_message: &[u8], _source: Ipv6Addr, _destination: Ipv6Addr) -> bool {
    false
}

/// Writes the checksum of a whole message afresh.
pub fn fill_checksum(_message: &mut [u8], _source: Ipv6Addr, _destination: Ipv6Addr) {}

/// Turns a frame with an echo request into its reply, to be sent back where it came from; false, and the frame
/// as it was, when it is none that may be answered.
pub fn echo_reply_in_place(_frame: &mut [u8], _headers: &Headers) -> bool {
    false
}

/// A whole frame that answers `original_frame` with an ICMPv6 error from `source`; `None` where none may be sent.
pub fn error(
    _original_frame: &[u8],
    _headers: &Headers,
    _source: Ipv6Addr,
    _kind: ErrorKind,
) -> Option<Vec<u8>> {
    None
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
