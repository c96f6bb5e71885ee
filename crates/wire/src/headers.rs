//! What one parse learned of a frame: offsets, flow key, TCP flags. `Copy`, at most one cache line.
//!
//! Promises: the offsets lie inside the frame, the IP packet they describe is whole, and what is not understood
//! has a name ([`ParseError`]). After this no function reads an EtherType again.
//! Does not know: whether a packet is wanted.

use std::net::IpAddr;

use crate::ethernet::{self, EtherType};
use crate::{FlowKey, FlowKeyV4, FlowKeyV6, Protocol, icmp, icmpv6, ipv4, ipv6, sctp, tcp, udp};

/// What a frame carries, as far as its way through the director depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An SCTP packet.
    Sctp,
    /// An ICMP or ICMPv6 error about a TCP, UDP or SCTP packet that is quoted in it. Its checksum is not verified yet.
    IcmpError,
    /// Any other ICMP or ICMPv6 message: echo, neighbour discovery, multicast listener discovery.
    Icmp,
    /// An ARP packet.
    Arp,
}

/// Why a frame was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParseError {
    /// Shorter than an Ethernet header and its tag.
    EthernetTruncated,
    /// A VLAN tag with a number: no port of ours belongs to a VLAN.
    VlanNotOurs,
    /// Neither IPv4, IPv6 nor ARP.
    EtherTypeUnknown,
    /// An ARP packet that is cut off, or not about IPv4 over Ethernet.
    ArpMalformed,
    /// An IPv4 header that is cut off, of another version, or whose lengths contradict each other.
    Ipv4Malformed,
    /// Fewer bytes arrived than the IPv4 header announces.
    Ipv4Truncated,
    /// An IPv6 header that is cut off or of another version.
    Ipv6Malformed,
    /// Fewer bytes arrived than the IPv6 header announces.
    Ipv6Truncated,
    /// Extension headers that are cut off, too many, or out of place.
    Ipv6ExtensionMalformed,
    /// A part of a fragmented datagram, which [`Fragment::parse`](crate::Fragment::parse) reads; from there: of a datagram
    /// of a protocol that is not forwarded.
    Fragment,
    /// A fragment without data, of a length that none but the last may have, or that ends beyond the largest datagram.
    FragmentMalformed,
    /// A first fragment that does not hold the whole TCP or UDP header.
    FragmentTooShort,
    /// A later fragment that begins inside the TCP header.
    FragmentOverlaps,
    /// A protocol above IP that is not forwarded, or an error about a packet of such a protocol.
    ProtocolUnknown,
    /// A TCP header that is cut off or whose data offset is impossible.
    TcpMalformed,
    /// A UDP header that is cut off or whose length is impossible.
    UdpMalformed,
    /// An SCTP header that is cut off, or no chunk behind it.
    SctpMalformed,
    /// An ICMP or ICMPv6 message that is cut off, or an error whose quotation cannot be read.
    IcmpMalformed,
}

/// What one parse learned. All offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    /// The flow. Of an ICMP error: the quoted packet's flow turned round, which is the key under which packets
    /// from the error's sender's side are found. Of other contents: addresses where there are any, no L4 ports.
    pub key: FlowKey,
    /// Start of the IP (or ARP) header.
    pub l3: u16,
    /// Start of the TCP, UDP, SCTP or ICMP header.
    pub l4: u16,
    /// End of the IP packet; what follows in the frame is Ethernet padding.
    pub end: u16,
    /// Bytes of the TCP header with its options; of other contents the fixed header's.
    pub l4_header_bytes: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What the frame carries.
    pub content: Content,
    /// Flags of a TCP segment, else none.
    pub tcp_flags: tcp::Flags,
    /// Options of a TCP segment, else none.
    pub tcp_options: tcp::Options,
    /// The acknowledgement number of a TCP segment that has one ([`tcp::Flags::ACK`]).
    pub tcp_acknowledgement: u32,
    /// Of an ICMP error: start of the quoted packet's TCP, UDP or SCTP header. Otherwise 0.
    pub quoted_l4: u16,
}

const _: () = assert!(size_of::<Headers>() <= 64, "at most one cache line");

impl Headers {
    /// What no frame has: where [`Self::parse_into`] may write.
    pub const NONE: Self = Self {
        key: FlowKey::V4(FlowKeyV4 {
            addresses: 0,
            l4_ports: 0,
            protocol: Protocol::Udp,
        }),
        l3: 0,
        l4: 0,
        end: 0,
        l4_header_bytes: 0,
        ttl: 0,
        content: Content::Arp,
        tcp_flags: tcp::Flags(0),
        tcp_options: tcp::Options::None,
        tcp_acknowledgement: 0,
        quoted_l4: 0,
    };

    /// Parses a frame from its Ethernet header. No checksum is verified.
    pub fn parse(frame: &[u8]) -> Result<Self, ParseError> {
        let mut headers = Self::NONE;
        headers.parse_into(frame)?;
        Ok(headers)
    }

    /// As [`Self::parse`], in place; after an error what is there means nothing.
    ///
    /// For whoever keeps many: returned by value, headers are copied, and a copy waits for the small stores that
    /// made them, which costs half a parse more.
    #[inline]
    pub fn parse_into(&mut self, frame: &[u8]) -> Result<(), ParseError> {
        if self.parse_plain(frame) {
            return Ok(());
        }
        *self = Self::parse_any(frame)?;
        Ok(())
    }

    /// The common case: TCP or UDP in IPv4 or IPv6 without options, untagged and whole. Every offset is a constant, so
    /// that one look at the frame's length is enough. `false`: [`Self::parse_any`] has to decide.
    #[inline]
    fn parse_plain(&mut self, frame: &[u8]) -> bool {
        self.parse_plain_ipv4(frame) || self.parse_plain_ipv6(frame)
    }

    #[inline]
    fn parse_plain_ipv4(&mut self, frame: &[u8]) -> bool {
        const L3: usize = ethernet::HEADER_BYTES;
        const L4: usize = L3 + ipv4::HEADER_BYTES;
        let Some(start) = frame.first_chunk::<{ L4 + udp::HEADER_BYTES }>() else {
            return false;
        };
        // Version 4 and five words of header; neither More Fragments nor an offset.
        let is_plain = word(start, 12) == EtherType::Ipv4 as u16
            && start[L3] == 0x45
            && word(start, L3 + 6) & ipv4::FRAGMENT == 0;
        let end = L3 + usize::from(word(start, L3 + 2));
        if !is_plain {
            return false;
        }
        let Some(protocol) = self.parse_plain_l4::<L4>(frame, start[L3 + 9], end) else {
            return false;
        };
        self.key = FlowKey::V4(FlowKeyV4 {
            addresses: native(start, L3 + 12),
            l4_ports: native(start, L4) as u32,
            protocol,
        });
        self.l3 = L3 as u16;
        self.l4 = L4 as u16;
        self.ttl = start[L3 + 8];
        true
    }

    #[inline]
    fn parse_plain_ipv6(&mut self, frame: &[u8]) -> bool {
        const L3: usize = ethernet::HEADER_BYTES;
        const L4: usize = L3 + ipv6::HEADER_BYTES;
        let Some(start) = frame.first_chunk::<{ L4 + udp::HEADER_BYTES }>() else {
            return false;
        };
        let is_plain = word(start, 12) == EtherType::Ipv6 as u16 && start[L3] >> 4 == 6;
        let end = L4 + usize::from(word(start, L3 + 4));
        if !is_plain {
            return false;
        }
        let Some(protocol) = self.parse_plain_l4::<L4>(frame, start[L3 + 6], end) else {
            return false;
        };
        self.key = FlowKey::V6(FlowKeyV6 {
            source: [native(start, L3 + 8), native(start, L3 + 16)],
            destination: [native(start, L3 + 24), native(start, L3 + 32)],
            l4_ports: native(start, L4) as u32,
            protocol,
        });
        self.l3 = L3 as u16;
        self.l4 = L4 as u16;
        self.ttl = start[L3 + 7];
        true
    }

    /// What the TCP or UDP header at `L4` tells, of a packet that ends at `end`. `None`: it is not plain.
    #[inline]
    fn parse_plain_l4<const L4: usize>(
        &mut self,
        frame: &[u8],
        protocol: u8,
        end: usize,
    ) -> Option<Protocol> {
        if end > frame.len().min(usize::from(u16::MAX)) {
            return None;
        }
        let l4 = frame.get(L4..)?;
        self.end = end as u16;
        self.quoted_l4 = 0;
        match protocol {
            6 => {
                let header: &[u8; tcp::HEADER_BYTES] = l4.first_chunk()?;
                let header_bytes = tcp::header_bytes(header);
                if usize::from(header_bytes) < header.len() || L4 + usize::from(header_bytes) > end
                {
                    return None;
                }
                self.content = Content::Tcp;
                self.l4_header_bytes = header_bytes;
                self.tcp_flags = tcp::flags(header);
                self.tcp_options = tcp::Options::of(header_bytes, &l4[header.len()..]);
                self.tcp_acknowledgement = tcp::acknowledgement(header);
                Some(Protocol::Tcp)
            }
            17 => {
                let header: &[u8; udp::HEADER_BYTES] = l4.first_chunk()?;
                let len_bytes = udp::len_bytes(header);
                if len_bytes < header.len() || L4 + len_bytes > end {
                    return None;
                }
                self.content = Content::Udp;
                self.l4_header_bytes = udp::HEADER_BYTES as u8;
                self.tcp_flags = tcp::Flags::default();
                self.tcp_options = tcp::Options::None;
                self.tcp_acknowledgement = 0;
                Some(Protocol::Udp)
            }
            _ => None,
        }
    }

    /// Any frame, step by step.
    #[inline(never)]
    fn parse_any(frame: &[u8]) -> Result<Self, ParseError> {
        // Offsets are kept in 16 bits: what lies behind is as good as not there.
        let frame = &frame[..frame.len().min(usize::from(u16::MAX))];
        let (ether_type, l3) = ethernet::parse(frame)?;
        match ether_type {
            EtherType::Ipv4 => Self::parse_ipv4(frame, l3),
            EtherType::Ipv6 => Self::parse_ipv6(frame, l3),
            EtherType::Arp => Self::parse_arp(frame, l3),
        }
    }

    /// As [`Self::parse`], also of a fragment: see [`Fragment::headers`](crate::Fragment). For whoever has no need of
    /// speed.
    pub fn parse_with_fragments(frame: &[u8]) -> Result<Self, ParseError> {
        match Self::parse(frame) {
            Err(ParseError::Fragment) => Ok(crate::Fragment::parse(frame)?.headers),
            other => other,
        }
    }

    /// Bytes of the IP packet.
    #[inline]
    pub fn ip_bytes(&self) -> u16 {
        self.end - self.l3
    }

    /// Whether the IP header is an IPv6 one.
    #[inline]
    pub fn is_ipv6(&self) -> bool {
        matches!(self.key, FlowKey::V6(_))
    }

    /// Source and destination in the packet's own IP header: an ICMP error's key has those of what it quotes. `None` for
    /// ARP.
    pub fn ip_addresses(&self, frame: &[u8]) -> Option<(IpAddr, IpAddr)> {
        let l3 = usize::from(self.l3);
        if self.content == Content::Arp {
            None
        } else if self.is_ipv6() {
            ipv6::addresses(frame, l3).map(|(from, to)| (IpAddr::V6(from), IpAddr::V6(to)))
        } else {
            ipv4::addresses(frame, l3).map(|(from, to)| (IpAddr::V4(from), IpAddr::V4(to)))
        }
    }

    #[cold]
    fn parse_ipv4(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let header = ipv4::parse(frame, l3)?;
        let addresses = header.addresses;
        if header.protocol == icmp::PROTOCOL {
            return parse_icmp(frame, l3);
        }
        let place = Place {
            l3,
            l4: header.l4,
            end: header.end,
            ttl: header.ttl,
        };
        place.parse_l4(frame, header.protocol, |l4_ports, protocol| {
            FlowKey::V4(FlowKeyV4 {
                addresses,
                l4_ports,
                protocol,
            })
        })
    }

    /// The common case is apart, so that what the walk over extension headers needs in memory stays out of it.
    #[inline]
    fn parse_ipv6(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let header = ipv6::parse_fixed(frame, l3)?;
        match header.protocol {
            6 | 17 => Self::above_ipv6(frame, l3, header),
            _ => Self::parse_ipv6_unusual(frame, l3),
        }
    }

    #[cold]
    fn parse_ipv6_unusual(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let header = ipv6::parse(frame, l3)?;
        match header.protocol {
            icmpv6::PROTOCOL => parse_icmpv6(frame, l3, header),
            _ => Self::above_ipv6(frame, l3, header),
        }
    }

    #[inline]
    fn above_ipv6(frame: &[u8], l3: usize, header: ipv6::Header) -> Result<Self, ParseError> {
        let place = Place {
            l3,
            l4: header.l4,
            end: header.end,
            ttl: header.hop_limit,
        };
        place.parse_l4(frame, header.protocol, |l4_ports, protocol| {
            FlowKey::V6(FlowKeyV6 {
                source: header.source,
                destination: header.destination,
                l4_ports,
                protocol,
            })
        })
    }

    #[cold]
    fn parse_arp(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        crate::arp::Arp::parse(frame, l3)?;
        Ok(Self {
            l3: l3 as u16,
            l4: l3 as u16,
            end: frame.len() as u16,
            ..Self::NONE
        })
    }
}

/// Two bytes in network order.
#[inline(always)]
fn word<const N: usize>(start: &[u8; N], at: usize) -> u16 {
    u16::from_be_bytes([start[at], start[at + 1]])
}

/// Eight bytes as they lie there.
#[inline(always)]
fn native<const N: usize>(start: &[u8; N], at: usize) -> u64 {
    u64::from_ne_bytes(std::array::from_fn(|n| start[at + n]))
}

/// An ICMP message: an error is found by what it quotes, anything else by nobody.
///
/// It reads the IP header once more, so that the common case need not have it in memory for this.
#[cold]
fn parse_icmp(frame: &[u8], l3: usize) -> Result<Headers, ParseError> {
    let header = ipv4::parse(frame, l3)?;
    let message = Place {
        l3,
        l4: header.l4,
        end: header.end,
        ttl: header.ttl,
    };
    let key = |addresses, l4_ports, protocol| {
        FlowKey::V4(FlowKeyV4 {
            addresses,
            l4_ports,
            protocol,
        })
    };
    match icmp::parse(&frame[header.l4..header.end])? {
        icmp::Message::Other => Ok(message.about_nothing(key(header.addresses, 0, Protocol::Udp))),
        icmp::Message::Error => {
            let quoted = ipv4::parse_quoted(&frame[..header.end], header.l4 + icmp::HEADER_BYTES)?;
            let (l4_ports, protocol) =
                quoted_flow(&frame[..header.end], quoted.l4, quoted.protocol)?;
            Ok(message.about(key(quoted.addresses, l4_ports, protocol), quoted.l4))
        }
    }
}

/// An ICMPv6 message, likewise.
#[cold]
fn parse_icmpv6(frame: &[u8], l3: usize, header: ipv6::Header) -> Result<Headers, ParseError> {
    let message = Place {
        l3,
        l4: header.l4,
        end: header.end,
        ttl: header.hop_limit,
    };
    let key = |ip: &ipv6::Header, l4_ports, protocol| {
        let (source, destination) = (ip.source, ip.destination);
        FlowKey::V6(FlowKeyV6 {
            source,
            destination,
            l4_ports,
            protocol,
        })
    };
    match icmpv6::parse(&frame[header.l4..header.end])? {
        icmp::Message::Other => Ok(message.about_nothing(key(&header, 0, Protocol::Udp))),
        icmp::Message::Error => {
            let quoted =
                ipv6::parse_quoted(&frame[..header.end], header.l4 + icmpv6::HEADER_BYTES)?;
            let (l4_ports, protocol) =
                quoted_flow(&frame[..header.end], quoted.l4, quoted.protocol)?;
            Ok(message.about(key(&quoted, l4_ports, protocol), quoted.l4))
        }
    }
}

/// Where an IP packet and what it carries are.
pub(crate) struct Place {
    pub(crate) l3: usize,
    pub(crate) l4: usize,
    pub(crate) end: usize,
    pub(crate) ttl: u8,
}

impl Place {
    /// Headers of a TCP segment, UDP datagram or SCTP packet; `key` makes its key of L4 ports and protocol.
    #[inline]
    fn parse_l4(
        &self,
        frame: &[u8],
        protocol: u8,
        key: impl FnOnce(u32, Protocol) -> FlowKey,
    ) -> Result<Headers, ParseError> {
        let l4 = &frame[self.l4..self.end];
        let place = Headers {
            l3: self.l3 as u16,
            l4: self.l4 as u16,
            end: self.end as u16,
            ttl: self.ttl,
            ..Headers::NONE
        };
        match protocol {
            6 => {
                let header = tcp::parse(l4)?;
                Ok(Headers {
                    key: key(header.l4_ports, Protocol::Tcp),
                    content: Content::Tcp,
                    l4_header_bytes: header.header_bytes,
                    tcp_flags: header.flags,
                    tcp_options: header.options,
                    tcp_acknowledgement: header.acknowledgement,
                    ..place
                })
            }
            17 => Ok(Headers {
                key: key(udp::parse(l4)?, Protocol::Udp),
                content: Content::Udp,
                l4_header_bytes: udp::HEADER_BYTES as u8,
                ..place
            }),
            sctp::PROTOCOL => Ok(Headers {
                key: key(sctp::parse(l4)?, Protocol::Sctp),
                content: Content::Sctp,
                l4_header_bytes: sctp::HEADER_BYTES as u8,
                ..place
            }),
            _ => Err(ParseError::ProtocolUnknown),
        }
    }

    /// Headers of a message that is no error; `key` has its addresses.
    fn about_nothing(&self, key: FlowKey) -> Headers {
        Headers {
            key,
            l3: self.l3 as u16,
            l4: self.l4 as u16,
            end: self.end as u16,
            l4_header_bytes: icmp::HEADER_BYTES as u8,
            ttl: self.ttl,
            content: Content::Icmp,
            ..Headers::NONE
        }
    }

    /// Headers of an error about a packet of flow `quoted`.
    fn about(&self, quoted: FlowKey, quoted_l4: usize) -> Headers {
        Headers {
            content: Content::IcmpError,
            quoted_l4: quoted_l4 as u16,
            ..self.about_nothing(quoted.turned())
        }
    }
}

/// L4 ports and protocol of a quoted packet, of which only the first 8 bytes above IP need be there (RFC 792).
pub(crate) fn quoted_flow(
    message: &[u8],
    l4: usize,
    protocol: u8,
) -> Result<(u32, Protocol), ParseError> {
    let protocol = Protocol::from_number(protocol).ok_or(ParseError::ProtocolUnknown)?;
    let first: &[u8; 8] = message
        .get(l4..)
        .and_then(|quoted| quoted.first_chunk())
        .ok_or(ParseError::IcmpMalformed)?;
    Ok((
        u32::from_ne_bytes([first[0], first[1], first[2], first[3]]),
        protocol,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ethernet, IPv4 or IPv6, and TCP with a timestamp option or UDP with four bytes.
    fn frame(protocol: u8, ether_type: EtherType) -> Vec<u8> {
        let mut frame = vec![0u8; 12];
        frame.extend((ether_type as u16).to_be_bytes());
        let l4_bytes = if protocol == 6 { 32 } else { 12 };
        if ether_type == EtherType::Ipv4 {
            frame.extend([0x45, 0, 0, 20 + l4_bytes, 0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend([192, 0, 2, 1, 192, 0, 2, 100]);
        } else {
            frame.extend([0x60, 0, 0, 0, 0, l4_bytes, protocol, 64]);
            frame.extend(1..=32);
        }
        frame.extend([0x9c, 0x40, 0, 80]);
        if protocol == 6 {
            frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
            frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            frame.extend([0, 12, 0, 0, 1, 2, 3, 4]);
        }
        frame
    }

    #[test]
    fn the_short_way_learns_what_the_long_one_learns() {
        let mut n_plain = 0;
        let mut agree = |frame: &[u8]| {
            let mut headers = Headers::NONE;
            if headers.parse_plain(frame) {
                n_plain += 1;
                let other = Headers::parse_any(frame);
                assert_eq!(
                    format!("{:?}", Ok::<_, ParseError>(headers)),
                    format!("{other:?}"),
                    "{frame:02x?}"
                );
            }
        };
        let wholes = [EtherType::Ipv4, EtherType::Ipv6]
            .into_iter()
            .flat_map(|ether_type| [6, 17].map(|protocol| frame(protocol, ether_type)));
        for whole in wholes {
            assert!({ Headers::NONE }.parse_plain(&whole));
            for len in 0..whole.len() {
                agree(&whole[..len]);
            }
            // Every value of every byte of the headers, padding behind the packet or not.
            for at in 12..whole.len() {
                for value in 0..=255 {
                    for padding in [0, 20] {
                        let mut changed = whole.clone();
                        changed[at] = value;
                        changed.resize(whole.len() + padding, 0);
                        agree(&changed);
                    }
                }
            }
        }
        assert!(n_plain > 10_000, "{n_plain}");
    }
}
