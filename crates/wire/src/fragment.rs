//! Fragments: parts of an IP datagram that was too big for some link (RFC 791 §3.2, RFC 8200 §4.5).
//!
//! Promises: a fragment that parses lies inside the frame, ends inside the largest datagram there can be, and only the
//! last of a datagram has a length that is no multiple of 8. The first holds the whole L4 header, and no other reaches
//! into the fixed part of it (RFC 1858, RFC 3128).
//! Does not know: the other fragments.

use crate::ethernet::{self, EtherType};
use crate::headers::Place;
use crate::{
    Content, FlowKey, FlowKeyV4, FlowKeyV6, Headers, ParseError, Protocol, icmpv6, ipv4, ipv6,
    sctp, tcp, udp,
};

/// More than the largest datagram has (RFC 791).
const MAX_DATAGRAM_BYTES: usize = 1 << 16;

/// What the parse of a fragment learned.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// Of the first fragment all that a whole packet's headers tell. Of a later one: the addresses, no L4 ports;
    /// `l4` is where its part begins, and `content`, where IPv6 does not tell, UDP.
    pub headers: Headers,
    /// What all fragments of a datagram have in common and no other datagram has: source, destination, identification
    /// and, with IPv4, protocol. As a flow key, in which the identification, as it lies in the packet, stands for L4 ports.
    pub datagram: FlowKey,
    /// Where in the datagram it begins, in bytes behind the header that all fragments have.
    pub offset: u16,
    /// Bytes that it carries of the datagram.
    pub part_bytes: u16,
    /// Whether it is not the last of its datagram.
    pub more_follow: bool,
    /// Where in the frame the identification stands: two bytes with IPv4, four with IPv6.
    identification_at: u16,
}

impl Fragment {
    /// Parses a frame of which [`Headers::parse`] has said [`ParseError::Fragment`]. Again that, if the datagram is of a
    /// protocol that is not forwarded.
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let frame = &frame[..frame.len().min(usize::from(u16::MAX))];
        let (ether_type, l3) = ethernet::parse(frame)?;
        match ether_type {
            EtherType::Ipv4 => Self::parse_ipv4(frame, l3),
            EtherType::Ipv6 => Self::parse_ipv6(frame, l3),
            EtherType::Arp => Err(ParseError::Fragment),
        }
    }

    fn parse_ipv4(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let (header, bits) = ipv4::parse_part(frame, l3)?;
        let protocol = protocol(header.protocol)?;
        let part = Part {
            offset: (bits & ipv4::OFFSET) << 3,
            begin: header.l4,
            end: header.end,
            more_follow: bits & ipv4::MORE_FRAGMENTS != 0,
        };
        let addresses = header.addresses;
        let key = |l4_ports, protocol| {
            FlowKey::V4(FlowKeyV4 {
                addresses,
                l4_ports,
                protocol,
            })
        };
        part.check(protocol)?;
        let place = Place {
            l3,
            l4: header.l4,
            end: header.end,
            ttl: header.ttl,
        };
        let headers = if part.offset == 0 {
            place.parse_first(frame, key(0, protocol))?
        } else {
            place.headers(key(0, protocol))
        };
        let identification_at = l3 + 4;
        let [a, b] = [frame[identification_at], frame[identification_at + 1]];
        let datagram = key(u32::from_ne_bytes([a, b, 0, 0]), protocol);
        Ok(part.of(headers, datagram, identification_at))
    }

    fn parse_ipv6(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let (common, found) = ipv6::parse_part(frame, l3)?;
        let (source, destination) = (common.source, common.destination);
        let key = |l4_ports, protocol| {
            FlowKey::V6(FlowKeyV6 {
                source,
                destination,
                l4_ports,
                protocol,
            })
        };
        let part = Part {
            offset: found.bits & ipv6::OFFSET,
            begin: found.at + ipv6::FRAGMENT_HEADER_BYTES,
            end: common.end,
            more_follow: found.bits & ipv6::MORE_FRAGMENTS != 0,
        };
        let place = |l4| Place {
            l3,
            l4,
            end: common.end,
            ttl: common.hop_limit,
        };
        let headers = if part.offset == 0 {
            part.check(Protocol::Udp)?;
            // What carries the L4 header is behind the fragment header, and all in this one (RFC 7112).
            let above = ipv6::skip_to_l4(&frame[..common.end], found.next(&common))?;
            let protocol = protocol(above.protocol)?;
            place(above.l4).parse_first(frame, key(0, protocol))?
        } else {
            // Only the first fragment's next header counts (RFC 8200 §4.5), but no honest sender has two.
            if [icmpv6::PROTOCOL, sctp::PROTOCOL].contains(&found.next_header) {
                return Err(ParseError::Fragment);
            }
            let protocol = Protocol::from_number(found.next_header).unwrap_or(Protocol::Udp);
            part.check(protocol)?;
            place(part.begin).headers(key(0, protocol))
        };
        let identification_at = found.at + 4;
        // The protocol has no part in it (RFC 8200 §4.5).
        let datagram = key(found.identification, Protocol::Udp);
        Ok(part.of(headers, datagram, identification_at))
    }

    /// Whether it is the first of its datagram, which alone has L4 ports.
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }

    /// Gives it another identification: of IPv4 the low 16 bits of `identification`. `frame` is the one it was parsed
    /// from, with headers as long as they were.
    pub fn renumber(&self, frame: &mut [u8], identification: u32) {
        let at = usize::from(self.identification_at);
        if self.headers.is_ipv6() {
            if let Some(field) = frame.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *field = identification.to_be_bytes();
            }
        } else if let Some(header) = frame
            .get_mut(usize::from(self.headers.l3)..)
            .and_then(|rest| rest.first_chunk_mut())
        {
            ipv4::set_identification(header, identification as u16);
        }
    }
}

/// The protocol of datagrams whose fragments are forwarded. SCTP is none of them: what a changed L4 port does to its
/// checksum depends on how many bytes follow, which the first fragment does not tell; its senders heed the path's MTU.
fn protocol(number: u8) -> Result<Protocol, ParseError> {
    Protocol::from_number(number)
        .filter(|protocol| *protocol != Protocol::Sctp)
        .ok_or(ParseError::Fragment)
}

/// What a fragment has of its datagram.
struct Part {
    /// In bytes behind the header that all fragments have.
    offset: u16,
    /// In bytes from the start of the frame.
    begin: usize,
    end: usize,
    more_follow: bool,
}

impl Part {
    fn check(&self, protocol: Protocol) -> Result<(), ParseError> {
        let len_bytes = self.end.saturating_sub(self.begin);
        let is_uneven = self.more_follow && !len_bytes.is_multiple_of(8);
        let is_beyond = usize::from(self.offset) + len_bytes >= MAX_DATAGRAM_BYTES;
        if len_bytes == 0 || is_uneven || is_beyond {
            return Err(ParseError::FragmentMalformed);
        }
        let header_bytes = match protocol {
            Protocol::Tcp => tcp::HEADER_BYTES,
            Protocol::Udp | Protocol::Sctp => 0,
        };
        if self.offset != 0 && usize::from(self.offset) < header_bytes {
            return Err(ParseError::FragmentOverlaps);
        }
        Ok(())
    }

    fn of(&self, headers: Headers, datagram: FlowKey, identification_at: usize) -> Fragment {
        Fragment {
            headers,
            datagram,
            offset: self.offset,
            part_bytes: (self.end - self.begin) as u16,
            more_follow: self.more_follow,
            identification_at: identification_at as u16,
        }
    }
}

impl Place {
    /// Headers of a first fragment, whose key is `key` but for the L4 ports.
    fn parse_first(&self, frame: &[u8], key: FlowKey) -> Result<Headers, ParseError> {
        let l4 = &frame[self.l4..self.end];
        let of_ip = self.headers(key);
        match key.protocol() {
            Protocol::Tcp => {
                let is_there = l4.first_chunk().is_some_and(|fixed| {
                    let header_bytes = usize::from(tcp::header_bytes(fixed));
                    header_bytes < tcp::HEADER_BYTES || header_bytes <= l4.len()
                });
                if !is_there {
                    return Err(ParseError::FragmentTooShort);
                }
                let header = tcp::parse(l4)?;
                Ok(Headers {
                    key: with_l4_ports(key, header.l4_ports),
                    l4_header_bytes: header.header_bytes,
                    tcp_flags: header.flags,
                    tcp_options: header.options,
                    tcp_acknowledgement: header.acknowledgement,
                    ..of_ip
                })
            }
            Protocol::Udp => {
                let fixed = l4.first_chunk().ok_or(ParseError::FragmentTooShort)?;
                // Of a length that is too large there is more to come.
                if udp::len_bytes(fixed) < fixed.len() {
                    return Err(ParseError::UdpMalformed);
                }
                let [a, b, c, d, ..] = *fixed;
                Ok(Headers {
                    key: with_l4_ports(key, u32::from_ne_bytes([a, b, c, d])),
                    l4_header_bytes: fixed.len() as u8,
                    ..of_ip
                })
            }
            Protocol::Sctp => Err(ParseError::Fragment),
        }
    }

    /// Headers of a later fragment.
    fn headers(&self, key: FlowKey) -> Headers {
        Headers {
            key,
            l3: self.l3 as u16,
            l4: self.l4 as u16,
            end: self.end as u16,
            ttl: self.ttl,
            content: match key.protocol() {
                Protocol::Tcp => Content::Tcp,
                Protocol::Udp => Content::Udp,
                Protocol::Sctp => Content::Sctp,
            },
            ..Headers::NONE
        }
    }
}

fn with_l4_ports(mut key: FlowKey, l4_ports: u32) -> FlowKey {
    match &mut key {
        FlowKey::V4(key) => key.l4_ports = l4_ports,
        FlowKey::V6(key) => key.l4_ports = l4_ports,
    }
    key
}
