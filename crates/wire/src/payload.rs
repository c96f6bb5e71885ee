//! What a TCP segment or UDP datagram carries: bytes put in front of it, or all of it cut off.
//!
//! Promises: lengths and checksums that were right are right afterwards, those that were wrong stay wrong. No header
//! moves within its frame.
//! Does not know: what the bytes mean, sequence numbers, nor whether the longer packet still fits its way.

use crate::checksum::{self, Delta};
use crate::{Content, Headers, NoRoom, Packet, ipv4, ipv6, tcp, udp};

/// Bytes of the shortest frame, without its check sequence (IEEE 802.3 §3.2.7).
const MIN_FRAME_BYTES: u16 = 60;

/// Where the data begins.
fn start(headers: &Headers) -> usize {
    usize::from(headers.l4) + usize::from(headers.l4_header_bytes)
}

/// Bytes of data that a TCP segment carries.
#[inline]
pub fn segment_bytes(headers: &Headers) -> u16 {
    headers
        .end
        .saturating_sub(headers.l4)
        .saturating_sub(u16::from(headers.l4_header_bytes))
}

/// Puts `bytes` in front of the data of a TCP segment or UDP datagram. `Err`: there is no room before the frame, or the
/// lengths would overflow; the packet is as it came in.
///
/// `headers` is what [`Headers::parse`] learned of this packet. Afterwards it still says where each header begins; the
/// packet's end is greater by the bytes.
pub fn insert(packet: &mut Packet<'_>, headers: &Headers, bytes: &[u8]) -> Result<(), NoRoom> {
    let n_bytes = u16::try_from(bytes.len()).map_err(|_| NoRoom)?;
    headers.end.checked_add(n_bytes).ok_or(NoRoom)?;
    let start = start(headers);
    // Data that begins at an odd place of the sum counts with its halves exchanged.
    let data = packet.frame().get(start..data_end(packet.frame(), headers));
    let data = Delta(checksum::sum(data.unwrap_or_default()));
    let moved = data.at(bytes.len()) + -data;
    let frame = packet.grow_front(n_bytes)?;
    let n = bytes.len();
    frame.copy_within(n..n + start, 0);
    if let Some(gap) = frame.get_mut(start..start + n) {
        gap.copy_from_slice(bytes);
    }
    grow_ip(frame, headers, n_bytes);
    let delta = Delta(checksum::sum(bytes)) + moved + Delta::growing(n_bytes);
    match headers.content {
        Content::Tcp => tcp::mend(&mut frame[usize::from(headers.l4)..], delta),
        // The length stands in the header and in the pseudo-header.
        Content::Udp => {
            if let Some(header) = frame[usize::from(headers.l4)..].first_chunk_mut() {
                udp::grow(header, n_bytes, delta + Delta::growing(n_bytes));
            }
        }
        Content::Sctp | Content::IcmpError | Content::Icmp | Content::Arp => {}
    }
    Ok(())
}

/// Cuts the data off a TCP segment, and returns what is then to be known of the packet.
///
/// `headers` is what [`Headers::parse`] learned of it.
#[cold]
pub fn cut(packet: &mut Packet<'_>, headers: &Headers) -> Headers {
    let n_bytes = segment_bytes(headers);
    let start = start(headers);
    let frame = packet.frame_mut();
    let data = frame.get(start..usize::from(headers.end));
    let data = Delta(checksum::sum(data.unwrap_or_default()));
    if headers.content != Content::Tcp || n_bytes == 0 {
        return *headers;
    }
    grow_ip(frame, headers, n_bytes.wrapping_neg());
    tcp::mend(
        &mut frame[usize::from(headers.l4)..],
        -(data + Delta::growing(n_bytes)),
    );
    packet.truncate((start as u16).max(MIN_FRAME_BYTES));
    Headers {
        end: start as u16,
        ..*headers
    }
}

/// Where the data ends of which the checksum knows: a datagram may be shorter than what IP carries.
fn data_end(frame: &[u8], headers: &Headers) -> usize {
    let l4 = usize::from(headers.l4);
    let udp = frame.get(l4..).and_then(|datagram| datagram.first_chunk());
    match (headers.content, udp) {
        (Content::Udp, Some(header)) => l4 + udp::len_bytes(header),
        _ => usize::from(headers.end),
    }
}

/// Adds `n_bytes`, modulo 2¹⁶, to the length in the IP header.
pub(crate) fn grow_ip(frame: &mut [u8], headers: &Headers, n_bytes: u16) {
    let l3 = usize::from(headers.l3);
    if headers.is_ipv6() {
        if let Some(header) = frame[l3..].first_chunk_mut() {
            ipv6::grow(header, n_bytes);
        }
    } else if let Some(header) = frame[l3..].first_chunk_mut() {
        ipv4::resize(header, n_bytes);
    }
}
