//! Fragmenting: an IPv4 packet that is larger than its link takes becomes several that are not (RFC 791 §3.2).
//!
//! Promises: the packet's bytes, all of them and once; every fragment fits, is a valid packet, and has the options that the
//! standard has copied. A fragment is cut like any packet: its offset and whether more follow are kept.
//! Does not know: buffers; whether the packet may be cut, or has a number of its own.

use crate::checksum;
use crate::ethernet::{self, EtherType};
use crate::ipv4;

/// Bytes of the longest header.
const MAX_HEADER_BYTES: usize = 60;
/// The bit of an option's kind that has it copied into every fragment.
const COPIED: u8 = 0x80;
/// Options of one byte: the end of all, and no operation.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// What is left to be cut of a packet.
#[derive(Clone, Debug)]
pub struct Fragmenter<'a> {
    /// The frame up to the IP packet.
    ethernet: &'a [u8],
    /// The next fragment's header, of which length, offset and checksum are still to be written.
    header: [u8; MAX_HEADER_BYTES],
    header_bytes: usize,
    /// What is not sent yet.
    data: &'a [u8],
    /// Where in the datagram that begins, in bytes.
    offset: usize,
    /// Whether more follows behind the packet, it being a fragment.
    more_follow: bool,
    mtu: usize,
}

impl<'a> Fragmenter<'a> {
    /// Cuts the IPv4 packet of a frame into packets of `mtu` bytes at most. `None`: it is none, or there is no room for
    /// eight bytes of data.
    pub fn new(frame: &'a [u8], mtu: u16) -> Option<Self> {
        let (ether_type, l3) = ethernet::parse(frame).ok()?;
        if ether_type != EtherType::Ipv4 {
            return None;
        }
        let (parsed, bits) = ipv4::parse_part(frame, l3).ok()?;
        let header_bytes = parsed.l4 - l3;
        let mtu = usize::from(mtu);
        if mtu < header_bytes + 8 {
            return None;
        }
        let mut header = [0; MAX_HEADER_BYTES];
        header[..header_bytes].copy_from_slice(&frame[l3..parsed.l4]);
        Some(Self {
            ethernet: &frame[..l3],
            header,
            header_bytes,
            data: &frame[parsed.l4..parsed.end],
            offset: usize::from(bits & ipv4::OFFSET) * 8,
            more_follow: bits & ipv4::MORE_FRAGMENTS != 0,
            mtu,
        })
    }

    /// Writes the next fragment's frame in place of what is in `room`; `false`: there is none left. Takes no memory if
    /// there is room for a frame of the largest packet.
    pub fn next_into(&mut self, room: &mut Vec<u8>) -> bool {
        if self.data.is_empty() {
            return false;
        }
        let most = self.mtu - self.header_bytes;
        let n_bytes = if self.data.len() <= most {
            self.data.len()
        } else {
            most & !7
        };
        let (part, rest) = self.data.split_at(n_bytes);
        self.write_header(n_bytes, self.more_follow || !rest.is_empty());
        room.clear();
        room.extend_from_slice(self.ethernet);
        room.extend_from_slice(&self.header[..self.header_bytes]);
        room.extend_from_slice(part);
        self.data = rest;
        self.offset += n_bytes;
        self.leave_out_options();
        true
    }

    fn write_header(&mut self, n_bytes: usize, more_follow: bool) {
        let total_bytes = (self.header_bytes + n_bytes) as u16;
        let mut bits = (self.offset / 8) as u16;
        if more_follow {
            bits |= ipv4::MORE_FRAGMENTS;
        }
        // Don't Fragment is not set, or the packet would not be cut.
        let header = &mut self.header[..self.header_bytes];
        header[2..4].copy_from_slice(&total_bytes.to_be_bytes());
        header[6..8].copy_from_slice(&bits.to_be_bytes());
        header[10..12].fill(0);
        let checksum = checksum::of(&[header]);
        header[10..12].copy_from_slice(&checksum);
    }

    /// Leaves those options in the header that every fragment has, padded to a multiple of four bytes.
    fn leave_out_options(&mut self) {
        if self.header_bytes == ipv4::HEADER_BYTES {
            return;
        }
        let options = self.header;
        let mut options = &options[ipv4::HEADER_BYTES..self.header_bytes];
        let mut end = ipv4::HEADER_BYTES;
        while let Some((option, rest)) = split_option(options) {
            if option[0] & COPIED != 0 {
                self.header[end..end + option.len()].copy_from_slice(option);
                end += option.len();
            }
            options = rest;
        }
        self.header_bytes = end.next_multiple_of(4);
        self.header[end..self.header_bytes].fill(END_OF_OPTIONS);
        self.header[0] = 0x40 | (self.header_bytes / 4) as u8;
    }
}

/// The first option and what is behind it; `None` at the end, or where no option can be.
fn split_option(options: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = match *options.first()? {
        END_OF_OPTIONS => return None,
        NO_OPERATION => 1,
        _ => usize::from(*options.get(1)?).max(2),
    };
    options.split_at_checked(len)
}
