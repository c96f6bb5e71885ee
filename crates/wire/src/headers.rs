//! What one parse learned of a frame: offsets, flow key, TCP flags. `Copy`, at most one cache line.
//!
//! Promises: the offsets lie inside the frame, the IP packet they describe is whole, and what is not understood
//! has a name ([`ParseError`]). After this no function reads an EtherType again.
//! Does not know: whether a packet is wanted.

use crate::ethernet::{self, EtherType};
use crate::{FlowKey, FlowKeyV4, FlowKeyV6, Protocol, icmp, icmpv6, ipv4, ipv6, tcp, udp};

/// What a frame carries, as far as its way through the director depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Content {
    /// A TCP segment.
    Tcp,
    /// A UDP datagram.
    Udp,
    /// An ICMP or ICMPv6 error about a TCP or UDP packet that is quoted in it. Its checksum is not verified yet.
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
    /// A part of a fragmented datagram.
    Fragment,
    /// A protocol above IP that is not forwarded, or an error about a packet of such a protocol.
    ProtocolUnknown,
    /// A TCP header that is cut off or whose data offset is impossible.
    TcpMalformed,
    /// A UDP header that is cut off or whose length is impossible.
    UdpMalformed,
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
    /// Start of the TCP, UDP or ICMP header.
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
    /// Of an ICMP error: start of the quoted packet's TCP or UDP header. Otherwise 0.
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
        quoted_l4: 0,
    };

    /// Parses a frame from its Ethernet header. No checksum is verified.
    #[inline]
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

    /// The common case: TCP or UDP in IPv4 without options, untagged and whole. Every offset is a constant, so that
    /// one look at the frame's length is enough. `false`: [`Self::parse_any`] has to decide.
    #[inline]
    fn parse_plain(&mut self, frame: &[u8]) -> bool {
        const L3: usize = ethernet::HEADER_BYTES;
        const L4: usize = L3 + ipv4::HEADER_BYTES;
        let Some(start) = frame.first_chunk::<{ L4 + udp::HEADER_BYTES }>() else {
            return false;
        };
        let word = |at: usize| u16::from_be_bytes([start[at], start[at + 1]]);
        let end = L3 + usize::from(word(L3 + 2));
        // Version 4 and five words of header; neither More Fragments nor an offset.
        let is_plain = word(12) == EtherType::Ipv4 as u16
            && start[L3] == 0x45
            && word(L3 + 6) & ipv4::FRAGMENT == 0
            && end <= frame.len().min(usize::from(u16::MAX));
        if !is_plain {
            return false;
        }
        let (content, protocol, l4_header_bytes, tcp_flags) = match start[L3 + 9] {
            6 => {
                let Some(start) = frame.first_chunk::<{ L4 + tcp::HEADER_BYTES }>() else {
                    return false;
                };
                let header_bytes = start[L4 + 12] >> 4 << 2;
                let is_whole = usize::from(header_bytes) >= tcp::HEADER_BYTES
                    && L4 + usize::from(header_bytes) <= end;
                if !is_whole {
                    return false;
                }
                let flags = tcp::Flags(start[L4 + 13]);
                (Content::Tcp, Protocol::Tcp, header_bytes, flags)
            }
            17 => {
                let len_bytes = usize::from(word(L4 + 4));
                if len_bytes < udp::HEADER_BYTES || L4 + len_bytes > end {
                    return false;
                }
                let header_bytes = udp::HEADER_BYTES as u8;
                (
                    Content::Udp,
                    Protocol::Udp,
                    header_bytes,
                    tcp::Flags::default(),
                )
            }
            _ => return false,
        };
        let ([.., s0, s1, s2, s3, d0, d1, d2, d3], l4) = start.split_at(L4) else {
            return false;
        };
        self.key = FlowKey::V4(FlowKeyV4 {
            addresses: u64::from_ne_bytes([*s0, *s1, *s2, *s3, *d0, *d1, *d2, *d3]),
            l4_ports: u32::from_ne_bytes([l4[0], l4[1], l4[2], l4[3]]),
            protocol,
        });
        self.l3 = L3 as u16;
        self.l4 = L4 as u16;
        self.end = end as u16;
        self.l4_header_bytes = l4_header_bytes;
        self.ttl = start[L3 + 8];
        self.content = content;
        self.tcp_flags = tcp_flags;
        self.quoted_l4 = 0;
        true
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

    #[cold]
    fn parse_ipv4(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        let header = ipv4::parse(frame, l3)?;
        let addresses = header.addresses;
        let transport = &frame[header.l4..header.end];
        let (content, protocol, (l4_ports, l4_header_bytes, tcp_flags)) = match header.protocol {
            6 => (Content::Tcp, Protocol::Tcp, tcp::parse(transport)?),
            17 => (Content::Udp, Protocol::Udp, udp::parse(transport)?),
            icmp::PROTOCOL => return parse_icmp(frame, l3),
            _ => return Err(ParseError::ProtocolUnknown),
        };
        Ok(Self {
            key: FlowKey::V4(FlowKeyV4 {
                addresses,
                l4_ports,
                protocol,
            }),
            l3: l3 as u16,
            l4: header.l4 as u16,
            end: header.end as u16,
            l4_header_bytes,
            ttl: header.ttl,
            content,
            tcp_flags,
            quoted_l4: 0,
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
        let transport = &frame[header.l4..header.end];
        let (content, protocol, (l4_ports, l4_header_bytes, tcp_flags)) = match header.protocol {
            6 => (Content::Tcp, Protocol::Tcp, tcp::parse(transport)?),
            17 => (Content::Udp, Protocol::Udp, udp::parse(transport)?),
            _ => return Err(ParseError::ProtocolUnknown),
        };
        Ok(Self {
            key: FlowKey::V6(FlowKeyV6 {
                source: header.source,
                destination: header.destination,
                l4_ports,
                protocol,
            }),
            l3: l3 as u16,
            l4: header.l4 as u16,
            end: header.end as u16,
            l4_header_bytes,
            ttl: header.hop_limit,
            content,
            tcp_flags,
            quoted_l4: 0,
        })
    }

    #[cold]
    fn parse_arp(frame: &[u8], l3: usize) -> Result<Self, ParseError> {
        crate::arp::Arp::parse(frame, l3)?;
        Ok(Self {
            key: FlowKey::V4(FlowKeyV4 {
                addresses: 0,
                l4_ports: 0,
                protocol: Protocol::Udp,
            }),
            l3: l3 as u16,
            l4: l3 as u16,
            end: frame.len() as u16,
            l4_header_bytes: 0,
            ttl: 0,
            content: Content::Arp,
            tcp_flags: tcp::Flags::default(),
            quoted_l4: 0,
        })
    }
}

/// An ICMP message: an error is found by what it quotes, anything else by nobody.
///
/// It reads the IP header once more, so that the common case need not have it in memory for this.
#[cold]
fn parse_icmp(frame: &[u8], l3: usize) -> Result<Headers, ParseError> {
    let header = ipv4::parse(frame, l3)?;
    let message = Message {
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
    let message = Message {
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

/// Where an ICMP or ICMPv6 message is.
struct Message {
    l3: usize,
    l4: usize,
    end: usize,
    ttl: u8,
}

impl Message {
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
            tcp_flags: tcp::Flags::default(),
            quoted_l4: 0,
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
fn quoted_flow(message: &[u8], l4: usize, protocol: u8) -> Result<(u32, Protocol), ParseError> {
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

    /// Ethernet, IPv4, and TCP with a timestamp option or UDP with four bytes.
    fn frame(protocol: u8) -> Vec<u8> {
        let mut frame = vec![0u8; 14 + 20];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[14 + 8..14 + 10].copy_from_slice(&[64, protocol]);
        frame[14 + 12..].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 100]);
        frame.extend([0x9c, 0x40, 0, 80]);
        if protocol == 6 {
            frame.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x80, 0x10, 1, 0, 0, 0, 0, 0]);
            frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            frame.extend([0, 12, 0, 0, 1, 2, 3, 4]);
        }
        frame[17] = (frame.len() - 14) as u8;
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
        for protocol in [6, 17] {
            let whole = frame(protocol);
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
