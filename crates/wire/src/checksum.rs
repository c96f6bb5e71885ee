//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Promises: all values are 16-bit words *as they lie in the packet*, read as native integers; the one's
//! complement sum does not care about byte order (RFC 1071 §2 (B)), so nothing is ever swapped.
//! Does not know: where in a packet a checksum stands; only [`l4_is_right`] and [`fill_l4`], which walk over the
//! whole packet and are not for the fast path, ask `Headers` for it.
//!
//! How it works: a [`Delta`] is the one's complement sum of all new words and all complemented old words. It is
//! found once, when a connection opens, and then applied to any number of packets; turned round (`-delta`) it
//! serves the other direction.

use std::ops::{Add, Neg, Range};

use crate::icmp;
use crate::icmpv6;
use crate::{Content, Headers, Protocol, sctp, tcp, udp};

/// What an edit does to a checksum: sum of `new + !old` over the edited words, folded to 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub u16);

impl Delta {
    /// The edit that takes one from the TTL of an IPv4 header, whatever it was.
    pub const TTL_DECREMENT: Self = Self(!u16::from_ne_bytes([1, 0]));

    /// The edit that replaces `old` by `new`, of equal length, both starting on a word of the sum.
    #[inline]
    pub fn replacing(old: &[u8], new: &[u8]) -> Self {
        Self(!sum(old)) + Self(sum(new))
    }

    /// The edit that puts these 8 bytes, read as one native integer, where zeroes stood.
    #[inline]
    pub fn of_word(word: u64) -> Self {
        Self(fold((word.wrapping_add(word.rotate_left(32)) >> 32) as u32))
    }

    /// The edit that adds `n_bytes` to a length in network order, which does not overflow.
    #[inline]
    pub fn growing(n_bytes: u16) -> Self {
        Self(n_bytes.to_be())
    }

    /// The same edit where the edited bytes begin `offset` bytes into the sum: bytes that straddle its words count
    /// with their two halves exchanged (RFC 1071 §2 (B)).
    #[inline]
    pub fn at(self, offset: usize) -> Self {
        if offset.is_multiple_of(2) {
            self
        } else {
            Self(self.0.swap_bytes())
        }
    }

    /// The checksum field after the edit, as it lies in the packet (RFC 1624 equation 3).
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(u32::from(!checksum) + u32::from(self.0))
    }

    /// As [`Self::apply`], of two edits at once.
    #[inline]
    pub fn apply_both(self, other: Self, checksum: u16) -> u16 {
        !fold(u32::from(!checksum) + u32::from(self.0) + u32::from(other.0))
    }

    /// Edits the checksum field in place.
    #[inline]
    pub fn apply_to(self, field: &mut [u8; 2]) {
        *field = self.apply(u16::from_ne_bytes(*field)).to_ne_bytes();
    }

    /// As [`Self::apply_to`], for UDP, where a field of zero means "no checksum" (RFC 768).
    #[inline]
    pub fn apply_to_udp(self, field: &mut [u8; 2]) {
        if *field != [0, 0] {
            self.apply_to(field);
            if *field == [0, 0] {
                *field = [0xff, 0xff];
            }
        }
    }
}

impl Add for Delta {
    type Output = Self;

    /// Both edits.
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(fold(u32::from(self.0) + u32::from(other.0)))
    }
}

impl Neg for Delta {
    type Output = Self;

    /// The edit undone.
    #[inline]
    fn neg(self) -> Self {
        Self(!self.0)
    }
}

/// Folds carries back in until 16 bits are left: both halves are added in the upper one, to which the lower one's
/// carry comes by itself.
#[inline]
pub fn fold(sum: u32) -> u16 {
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// One's complement sum of `bytes` as native words; an odd last byte is padded with zero.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut total: u64 = 0;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        total += u64::from(u32::from_ne_bytes(*word));
    }
    let mut last = [0; 4];
    // No `copy_from_slice`: calling `memcpy` for three bytes at most would cost more than all else here.
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    let total = (total & 0xffff_ffff) + (total >> 32);
    let total = (total & 0xffff_ffff) + (total >> 32);
    fold(total as u32)
}

/// The checksum field of `parts` laid one behind the other; every part but the last is of even length, and the
/// field itself is counted as zero by whoever calls.
pub fn of(parts: &[&[u8]]) -> [u8; 2] {
    let total = parts
        .iter()
        .fold(Delta(0), |total, part| total + Delta(sum(part)));
    (!total.0).to_ne_bytes()
}

/// Sum of the pseudo-header: both addresses as they lie in the IP header, protocol, length (RFC 9293 §3.1,
/// RFC 8200 §8.1; for lengths that IPv4 can have both forms have the same sum).
pub fn pseudo_header(addresses: &[u8], protocol: u8, len_bytes: usize) -> Delta {
    Delta(sum(addresses))
        + Delta(sum(&[0, protocol]))
        + Delta(sum(&(len_bytes as u32).to_be_bytes()))
}

/// Whether the checksum of the TCP segment, UDP datagram, SCTP packet or ICMP message in a frame is right, found by
/// summing all of it. UDP without a checksum is right over IPv4 and wrong over IPv6 (RFC 8200 §8.1). ARP has none.
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn l4_is_right(frame: &[u8], headers: &Headers) -> bool {
    if headers.content == Content::Sctp {
        return frame
            .get(usize::from(headers.l4)..usize::from(headers.end))
            .is_some_and(sctp::checksum_is_right);
    }
    let Some(covered) = L4::of(frame, headers) else {
        return headers.content == Content::Arp;
    };
    if headers.content == Content::Udp && frame[covered.field.clone()] == [0, 0] {
        return !headers.is_ipv6();
    }
    (covered.pseudo_header + Delta(sum(&frame[covered.bytes]))).0 == 0xffff
}

/// Writes the checksum of the TCP segment, UDP datagram, SCTP packet or ICMP message in a frame afresh. ARP has none.
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn fill_l4(frame: &mut [u8], headers: &Headers) {
    if headers.content == Content::Sctp {
        if let Some(packet) = frame.get_mut(usize::from(headers.l4)..usize::from(headers.end)) {
            sctp::fill_checksum(packet);
        }
        return;
    }
    let Some(covered) = L4::of(frame, headers) else {
        return;
    };
    frame[covered.field.clone()].fill(0);
    let mut checksum = !(covered.pseudo_header + Delta(sum(&frame[covered.bytes]))).0;
    if headers.content == Content::Udp && checksum == 0 {
        checksum = 0xffff;
    }
    frame[covered.field].copy_from_slice(&checksum.to_ne_bytes());
}

/// What an Internet checksum above IP covers, and where it stands.
///
/// Invariant: both ranges lie inside the frame, `field` inside `bytes`.
struct L4 {
    pseudo_header: Delta,
    bytes: Range<usize>,
    field: Range<usize>,
}

impl L4 {
    /// `None` for ARP and SCTP, and where `headers` are not those of `frame`.
    fn of(frame: &[u8], headers: &Headers) -> Option<Self> {
        let (l3, l4, mut end) = (
            usize::from(headers.l3),
            usize::from(headers.l4),
            usize::from(headers.end),
        );
        let (protocol, field) = match (headers.content, headers.is_ipv6()) {
            (Content::Tcp, _) => (Protocol::Tcp.number(), tcp::CHECKSUM),
            (Content::Udp, _) => (Protocol::Udp.number(), udp::CHECKSUM),
            (Content::Icmp | Content::IcmpError, false) => (icmp::PROTOCOL, icmp::CHECKSUM),
            (Content::Icmp | Content::IcmpError, true) => (icmpv6::PROTOCOL, icmp::CHECKSUM),
            (Content::Sctp | Content::Arp, _) => return None,
        };
        if protocol == Protocol::Udp.number() {
            // A datagram may be shorter than what IP carries.
            let len_bytes = frame.get(l4 + 4..)?.first_chunk()?;
            end = l4 + usize::from(u16::from_be_bytes(*len_bytes));
        }
        let addresses = if headers.is_ipv6() {
            l3 + 8..l3 + 40
        } else {
            l3 + 12..l3 + 20
        };
        let field = l4 + field..l4 + field + 2;
        if field.end > end || end > frame.len() {
            return None;
        }
        let pseudo_header = if protocol == icmp::PROTOCOL {
            Delta(0)
        } else {
            pseudo_header(frame.get(addresses)?, protocol, end - l4)
        };
        Some(Self {
            pseudo_header,
            bytes: l4..end,
            field,
        })
    }
}
