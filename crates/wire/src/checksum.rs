//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Promises: all values are 16-bit words *as they lie in the packet*, read as native integers; the one's
//! complement sum does not care about byte order (RFC 1071 §2 (B)), so nothing is ever swapped.
//! Does not know: where in a packet a checksum stands.
//!
//! How it works: a [`Delta`] is the one's complement sum of all new words and all complemented old words. It is
//! found once, when a connection opens, and then applied to any number of packets; turned round (`-delta`) it
//! serves the other direction.

use std::ops::{Add, Neg};

/// What an edit does to a checksum: sum of `new + !old` over the edited words, folded to 16 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(pub u16);

impl Delta {
    /// The edit that takes one from the TTL of an IPv4 header, whatever it was.
    pub const TTL_DECREMENT: Self = Self(!u16::from_ne_bytes([1, 0]));

    /// The edit that replaces `old` by `new`, of equal and even length, both starting on a word of the sum.
    pub fn replacing(old: &[u8], new: &[u8]) -> Self {
        Self(!sum(old)) + Self(sum(new))
    }

    /// The checksum field after the edit, as it lies in the packet (RFC 1624 equation 3).
    #[inline]
    pub fn apply(self, checksum: u16) -> u16 {
        !fold(u32::from(!checksum) + u32::from(self.0))
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

/// Folds carries back in until 16 bits are left.
#[inline]
pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
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
    last[..rest.len()].copy_from_slice(rest);
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
