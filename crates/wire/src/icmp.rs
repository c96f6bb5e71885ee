//! ICMP (RFC 792).
use std::net::Ipv4Addr;

use crate::{Headers, ParseError};

/// The IP protocol number.
pub const PROTOCOL: u8 = 1;
/// Bytes of the header; what an error quotes begins behind it.
pub const HEADER_BYTES: usize = 8;

/// What an ICMP or ICMPv6 message is to a director.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An error that quotes the packet it is about, and is translated with that packet's flow.
    Error,
    /// Anything else.
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

/// Reads a message that reaches to the end of the IP packet.
pub fn parse(message: &[u8]) -> Result<Message, ParseError> {
    let header: &[u8; HEADER_BYTES] = message.first_chunk().ok_or(ParseError::IcmpMalformed)?;
    match header[0] {
        3 | 4 | 11 | 12 => Ok(Message::Error),
        _ => Ok(Message::Other),
    }
}

/// Whether the checksum of a whole message is right.
pub fn checksum_is_right(message: &[u8]) -> bool {
    crate::checksum::sum(message) == 0xffff
}

/// Writes the checksum of a whole message afresh.
pub fn fill_checksum(_message: &mut [u8]) {}

/// Turns a frame with an echo request into its reply, to be sent back where it came from; false, and the frame
/// as it was, when it is none that may be answered.
pub fn echo_reply_in_place(_frame: &mut [u8], _headers: &Headers) -> bool {
    false
}

/// A whole frame that answers `original_frame` with an ICMP error from `source`; `None` where none may be sent.
pub fn error(
    _original_frame: &[u8],
    _headers: &Headers,
    _source: Ipv4Addr,
    _kind: ErrorKind,
) -> Option<Vec<u8>> {
    None
}
