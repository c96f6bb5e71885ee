//! Ethernet II with at most one VLAN tag (IEEE 802.3, 802.1Q).
//!
//! Promises: a header that parses lies inside the frame. Does not know: which MAC addresses are ours.

use std::fmt;

use crate::ParseError;

/// Bytes of an untagged header.
pub const HEADER_BYTES: usize = 14;
/// Bytes that one VLAN tag adds.
pub const VLAN_TAG_BYTES: usize = 4;

/// A MAC address, as it lies in a frame.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Broadcast or multicast: the group bit of the first byte.
    #[inline]
    pub fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The payload types that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum EtherType {
    /// RFC 894.
    Ipv4 = 0x0800,
    /// RFC 826.
    Arp = 0x0806,
    /// RFC 2464.
    Ipv6 = 0x86dd,
}

/// The MAC address the frame is sent to; `None` when it is shorter than a header.
#[inline]
pub fn destination(frame: &[u8]) -> Option<Mac> {
    frame.first_chunk().map(|bytes| Mac(*bytes))
}

/// The MAC address the frame comes from; `None` when it is shorter than a header.
#[inline]
pub fn source(frame: &[u8]) -> Option<Mac> {
    frame.get(6..)?.first_chunk().map(|bytes| Mac(*bytes))
}

/// Reads the header: the payload's type and where the payload begins, in bytes from the frame's start.
///
/// A priority tag (VLAN 0) is passed over; a tag with a VLAN number is refused, for no port belongs to a VLAN.
#[inline]
pub fn parse(frame: &[u8]) -> Result<(EtherType, usize), ParseError> {
    let header: &[u8; HEADER_BYTES] = frame.first_chunk().ok_or(ParseError::EthernetTruncated)?;
    match u16::from_be_bytes([header[12], header[13]]) {
        0x0800 => Ok((EtherType::Ipv4, HEADER_BYTES)),
        0x86dd => Ok((EtherType::Ipv6, HEADER_BYTES)),
        other => parse_unusual(frame, other),
    }
}

#[cold]
fn parse_unusual(frame: &[u8], ether_type: u16) -> Result<(EtherType, usize), ParseError> {
    let (ether_type, payload) = match ether_type {
        0x8100 => {
            let tag: &[u8; VLAN_TAG_BYTES] = frame[HEADER_BYTES..]
                .first_chunk()
                .ok_or(ParseError::EthernetTruncated)?;
            if u16::from_be_bytes([tag[0], tag[1]]) & 0x0fff != 0 {
                return Err(ParseError::VlanNotOurs);
            }
            (
                u16::from_be_bytes([tag[2], tag[3]]),
                HEADER_BYTES + VLAN_TAG_BYTES,
            )
        }
        untagged => (untagged, HEADER_BYTES),
    };
    match ether_type {
        0x0800 => Ok((EtherType::Ipv4, payload)),
        0x86dd => Ok((EtherType::Ipv6, payload)),
        0x0806 => Ok((EtherType::Arp, payload)),
        _ => Err(ParseError::EtherTypeUnknown),
    }
}

/// Writes an untagged header. `frame` must hold at least [`HEADER_BYTES`]; a shorter one is left alone.
pub fn write(frame: &mut [u8], destination: Mac, source: Mac, ether_type: EtherType) {
    let Some(header) = frame.first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    header[..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    header[12..].copy_from_slice(&(ether_type as u16).to_be_bytes());
}

/// Replaces both MAC addresses by `addresses`: destination, then source, 12 bytes, in one go.
#[inline]
pub fn rewrite(frame: &mut [u8], addresses: &[u8; 12]) {
    if let Some(header) = frame.first_chunk_mut() {
        *header = *addresses;
    }
}

/// Exchanges the two MAC addresses, so that the frame goes back where it came from.
pub fn turn(frame: &mut [u8]) {
    if let Some([a, b, c, d, e, f, g, h, i, j, k, l]) = frame.first_chunk().copied() {
        rewrite(frame, &[g, h, i, j, k, l, a, b, c, d, e, f]);
    }
}

/// The header of a frame that goes back where `frame` came from; `None` when that was sent to or by a group.
pub fn answer(frame: &[u8], ether_type: EtherType) -> Option<[u8; HEADER_BYTES]> {
    let (destination, source) = (destination(frame)?, source(frame)?);
    if destination.is_group() || source.is_group() {
        return None;
    }
    let mut header = [0; HEADER_BYTES];
    write(&mut header, source, destination, ether_type);
    Some(header)
}
