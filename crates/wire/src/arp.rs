//! ARP (RFC 826), for IPv4 over Ethernet only.
//!
//! Promises: a packet that parses was whole and about IPv4 over Ethernet. Does not know: which addresses are ours,
//! nor whether an answer was asked for.

use std::net::Ipv4Addr;

use crate::ParseError;
use crate::ethernet::{self, EtherType, Mac};

/// Bytes of an ARP packet about IPv4 over Ethernet.
pub const PACKET_BYTES: usize = 28;

/// Bytes of the shortest Ethernet frame, its check sequence not counted.
const MIN_FRAME_BYTES: usize = 60;

/// Hardware Ethernet (1), protocol IPv4 (0x0800), addresses of 6 and 4 bytes.
const IPV4_OVER_ETHERNET: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// Whether a packet asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Whether it asks or answers.
    pub operation: Operation,
    /// MAC address of who sent it.
    pub sender_mac: Mac,
    /// IPv4 address of who sent it; unspecified in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// MAC address of who is meant; zero in a request.
    pub target_mac: Mac,
    /// IPv4 address of who is meant.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the packet that begins `l3` bytes into the frame.
    ///
    /// One that is cut off, not about IPv4 over Ethernet, neither request nor reply, or sent by a group address
    /// is [`ParseError::ArpMalformed`].
    pub fn parse(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let packet: &[u8; PACKET_BYTES] = frame
            .get(l3..)
            .and_then(|rest| rest.first_chunk())
            .ok_or(ParseError::ArpMalformed)?;
        let [h0, h1, h2, h3, h4, h5, o0, o1, rest @ ..] = *packet;
        if [h0, h1, h2, h3, h4, h5] != IPV4_OVER_ETHERNET {
            return Err(ParseError::ArpMalformed);
        }
        let operation = match [o0, o1] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return Err(ParseError::ArpMalformed),
        };
        let [
            a,
            b,
            c,
            d,
            e,
            f,
            s0,
            s1,
            s2,
            s3,
            g,
            h,
            i,
            j,
            k,
            l,
            t0,
            t1,
            t2,
            t3,
        ] = rest;
        let sender_mac = Mac([a, b, c, d, e, f]);
        if sender_mac.is_group() {
            return Err(ParseError::ArpMalformed);
        }
        Ok(Self {
            operation,
            sender_mac,
            sender: Ipv4Addr::new(s0, s1, s2, s3),
            target_mac: Mac([g, h, i, j, k, l]),
            target: Ipv4Addr::new(t0, t1, t2, t3),
        })
    }

    /// A whole frame with this packet, from the sender's MAC address to `destination`, padded to 60 bytes.
    pub fn write(&self, destination: Mac) -> Vec<u8> {
        let mut frame = vec![0; ethernet::HEADER_BYTES];
        ethernet::write(&mut frame, destination, self.sender_mac, EtherType::Arp);
        frame.extend(IPV4_OVER_ETHERNET);
        frame.extend(match self.operation {
            Operation::Request => [0, 1],
            Operation::Reply => [0, 2],
        });
        frame.extend(self.sender_mac.0);
        frame.extend(self.sender.octets());
        frame.extend(self.target_mac.0);
        frame.extend(self.target.octets());
        frame.resize(MIN_FRAME_BYTES, 0);
        frame
    }
}
