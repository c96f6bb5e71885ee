//! Frames read back by etherparse, with every checksum in them verified.
//!
//! Promises: a frame that decodes has right checksums all over: IPv4, TCP, UDP, SCTP, ICMP, ICMPv6, and the header of the
//! packet that an ICMP error quotes. Displayed, it is one line, such as
//! `tcp S 198.51.100.7:40000>192.0.2.100:80 ttl64 [mss1460]`.
//! Does not know: `weir_wire`'s parser and checksums.

use std::fmt;
use std::net::IpAddr;

use etherparse::{
    IpNumber, Ipv4Header, Ipv6Header, LinkHeader, NetHeaders, PacketHeaders, PayloadSlice,
    TransportHeader,
};
use weir_wire::Endpoint;
use weir_wire::ethernet::Mac;

use crate::option::TcpOption;
use crate::sctp::SctpPacket;

/// A frame, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Source MAC address.
    pub source_mac: Mac,
    /// Destination MAC address.
    pub destination_mac: Mac,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Source; its L4 port is 0 above ICMP.
    pub source: Endpoint,
    /// Destination, likewise.
    pub destination: Endpoint,
    /// Bytes of the IP packet.
    pub ip_bytes: usize,
    /// What it carries.
    pub payload: Payload,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A TCP segment.
    Tcp(Segment),
    /// A UDP datagram's data.
    Udp(Vec<u8>),
    /// An SCTP packet.
    Sctp(SctpPacket),
    /// An ICMP or ICMPv6 message.
    Icmp(Icmp),
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Flags in letters: S F R P A.
    pub flags: String,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number, whether ACK is set or not.
    pub acknowledgement: u32,
    /// All options, padding included.
    pub options: Vec<TcpOption>,
    /// The urgent pointer, if it is valid.
    pub urgent: Option<u16>,
    /// Bytes of the header.
    pub header_bytes: usize,
    /// The data.
    pub data: Vec<u8>,
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The second half of the header.
    pub rest: [u8; 4],
    /// The packet that an error quotes.
    pub quoted: Option<Quoted>,
}

/// A packet as an ICMP error quotes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The protocol above IP.
    pub protocol: u8,
    /// Source.
    pub source: Endpoint,
    /// Destination.
    pub destination: Endpoint,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The 4 bytes behind the L4 ports: of TCP the sequence number.
    pub sequence: Option<u32>,
    /// The 4 bytes behind those: of TCP the acknowledgement number.
    pub acknowledgement: Option<u32>,
}

/// Reads a frame; panics with the reason when it cannot be read or one of its checksums is wrong.
#[track_caller]
pub fn decode(frame: &[u8]) -> Decoded {
    match try_decode(frame) {
        Ok(decoded) => decoded,
        Err(reason) => panic!("{reason}: {frame:02x?}"),
    }
}

/// Reads a frame; `Err` says why it cannot be read, or which checksum is wrong.
pub fn try_decode(frame: &[u8]) -> Result<Decoded, String> {
    let headers = PacketHeaders::from_ethernet_slice(frame).map_err(|error| error.to_string())?;
    let Some(LinkHeader::Ethernet2(ethernet)) = &headers.link else {
        return Err("no Ethernet header".into());
    };
    let data = headers.payload.slice();
    let (payload, [source_port, destination_port]) = match &headers.transport {
        None if is_sctp(&headers) => {
            let packet = SctpPacket::read(data)?;
            let l4_ports = packet.l4_ports;
            (Payload::Sctp(packet), l4_ports)
        }
        None => return Err("nothing known above IP".into()),
        Some(transport) => {
            verify(headers.net.as_ref(), transport, data)?;
            let l4_ports = match transport {
                TransportHeader::Tcp(header) => [header.source_port, header.destination_port],
                TransportHeader::Udp(header) => [header.source_port, header.destination_port],
                _ => [0, 0],
            };
            (payload(transport.clone(), data)?, l4_ports)
        }
    };
    let (source, destination, ttl, ip_bytes) = match &headers.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            if ip.header_checksum != ip.calc_header_checksum() {
                return Err("the IPv4 header checksum is wrong".into());
            }
            let ends = (IpAddr::from(ip.source), IpAddr::from(ip.destination));
            (ends.0, ends.1, ip.time_to_live, usize::from(ip.total_len))
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            let ends = (IpAddr::from(ip.source), IpAddr::from(ip.destination));
            let ip_bytes = Ipv6Header::LEN + usize::from(ip.payload_length);
            (ends.0, ends.1, ip.hop_limit, ip_bytes)
        }
        Some(NetHeaders::Arp(_)) | None => return Err("no IP header".into()),
    };
    Ok(Decoded {
        source_mac: Mac(ethernet.source),
        destination_mac: Mac(ethernet.destination),
        ttl,
        source: Endpoint::new(source, source_port),
        destination: Endpoint::new(destination, destination_port),
        ip_bytes,
        payload,
    })
}

fn is_sctp(headers: &PacketHeaders<'_>) -> bool {
    matches!(&headers.payload, PayloadSlice::Ip(ip) if ip.ip_number == IpNumber::SCTP)
}

/// Compares the checksum above IP with a fresh one.
fn verify(net: Option<&NetHeaders>, found: &TransportHeader, data: &[u8]) -> Result<(), String> {
    let mut right = found.clone();
    match net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            // RFC 768: zero says that there is none.
            if matches!(found, TransportHeader::Udp(header) if header.checksum == 0) {
                return Ok(());
            }
            right
                .update_checksum_ipv4(ip, data)
                .map_err(|error| error.to_string())?;
        }
        Some(NetHeaders::Ipv6(ip, _)) => right
            .update_checksum_ipv6(ip, data)
            .map_err(|error| error.to_string())?,
        Some(NetHeaders::Arp(_)) | None => {}
    }
    if *found == right {
        Ok(())
    } else {
        Err(format!(
            "a checksum above IP is wrong; right would be {right:?}"
        ))
    }
}

fn payload(transport: TransportHeader, data: &[u8]) -> Result<Payload, String> {
    match transport {
        TransportHeader::Tcp(header) => {
            let letters = [
                (header.syn, 'S'),
                (header.fin, 'F'),
                (header.rst, 'R'),
                (header.psh, 'P'),
                (header.ack, 'A'),
            ];
            Ok(Payload::Tcp(Segment {
                flags: letters
                    .iter()
                    .filter(|(is_set, _)| *is_set)
                    .map(|(_, letter)| *letter)
                    .collect(),
                sequence: header.sequence_number,
                acknowledgement: header.acknowledgment_number,
                options: TcpOption::read_all(header.options.as_slice())
                    .ok_or("the TCP options cannot be read")?,
                urgent: header.urg.then_some(header.urgent_pointer),
                header_bytes: header.header_len(),
                data: data.to_vec(),
            }))
        }
        TransportHeader::Udp(_) => Ok(Payload::Udp(data.to_vec())),
        TransportHeader::Icmpv4(header) => icmp(&header.to_bytes(), data, |kind| {
            matches!(kind, 3 | 4 | 11 | 12)
        }),
        TransportHeader::Icmpv6(header) => icmp(&header.to_bytes(), data, |kind| kind < 128),
        other => Err(format!("{other:?} is not read here")),
    }
}

fn icmp(header: &[u8], data: &[u8], is_error: fn(u8) -> bool) -> Result<Payload, String> {
    let [kind, code, _, _, rest @ ..] = *header.first_chunk::<8>().ok_or("no ICMP header")?;
    let quoted = if is_error(kind) {
        Some(quoted(data)?)
    } else {
        None
    };
    Ok(Payload::Icmp(Icmp {
        kind,
        code,
        rest,
        quoted,
    }))
}

fn quoted(packet: &[u8]) -> Result<Quoted, String> {
    let (source, destination, ttl, protocol, above) = if packet.first().is_some_and(|b| b >> 4 == 4)
    {
        let (ip, above) = Ipv4Header::from_slice(packet).map_err(|error| error.to_string())?;
        if ip.header_checksum != ip.calc_header_checksum() {
            return Err("the quoted IPv4 header checksum is wrong".into());
        }
        let ends = (IpAddr::from(ip.source), IpAddr::from(ip.destination));
        (ends.0, ends.1, ip.time_to_live, ip.protocol, above)
    } else {
        let (ip, above) = Ipv6Header::from_slice(packet).map_err(|error| error.to_string())?;
        let ends = (IpAddr::from(ip.source), IpAddr::from(ip.destination));
        (ends.0, ends.1, ip.hop_limit, ip.next_header, above)
    };
    let word = |at: usize| {
        let bytes = above.get(at..)?.first_chunk()?;
        Some(u32::from_be_bytes(*bytes))
    };
    let l4_ports = word(0).ok_or("no L4 ports are quoted")?;
    Ok(Quoted {
        protocol: protocol.0,
        source: Endpoint::new(source, (l4_ports >> 16) as u16),
        destination: Endpoint::new(destination, l4_ports as u16),
        ttl,
        sequence: word(4),
        acknowledgement: word(8),
    })
}

impl Decoded {
    /// The TCP segment; panics when it is none.
    #[track_caller]
    pub fn segment(&self) -> &Segment {
        match &self.payload {
            Payload::Tcp(segment) => segment,
            Payload::Udp(_) | Payload::Sctp(_) | Payload::Icmp(_) => {
                panic!("no TCP segment: {self}")
            }
        }
    }

    /// The ICMP message; panics when it is none.
    #[track_caller]
    pub fn icmp(&self) -> &Icmp {
        match &self.payload {
            Payload::Icmp(icmp) => icmp,
            Payload::Tcp(_) | Payload::Udp(_) | Payload::Sctp(_) => {
                panic!("no ICMP message: {self}")
            }
        }
    }

    /// What the TCP segment, UDP datagram or first SCTP chunk carries; nothing of an ICMP message.
    pub fn data(&self) -> &[u8] {
        match &self.payload {
            Payload::Tcp(segment) => &segment.data,
            Payload::Udp(data) => data,
            Payload::Sctp(packet) => packet.chunks.first().map_or(&[], |(_, value)| value),
            Payload::Icmp(_) => &[],
        }
    }
}

impl Segment {
    /// The clients' addresses that it carries, with the option kinds.
    pub fn client_addresses(&self) -> Vec<(u8, Endpoint)> {
        self.options
            .iter()
            .filter_map(|option| match option {
                TcpOption::ClientAddress(kind, client) => Some((*kind, *client)),
                TcpOption::End
                | TcpOption::Nop
                | TcpOption::Mss(_)
                | TcpOption::WindowScale(_)
                | TcpOption::SackPermitted
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(..)
                | TcpOption::Other(..) => None,
            })
            .collect()
    }
}

impl fmt::Display for Decoded {
    /// One line; sequence numbers and data are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            ttl,
            ..
        } = self;
        match &self.payload {
            Payload::Tcp(segment) => {
                let flags = &segment.flags;
                write!(f, "tcp {flags} {source}>{destination} ttl{ttl}")?;
                if segment.options.is_empty() {
                    return Ok(());
                }
                let options: Vec<String> =
                    segment.options.iter().map(TcpOption::to_string).collect();
                write!(f, " [{}]", options.join(" "))
            }
            Payload::Udp(data) => {
                write!(
                    f,
                    "udp {source}>{destination} ttl{ttl} {} bytes",
                    data.len()
                )
            }
            Payload::Sctp(packet) => write!(f, "sctp {packet} {source}>{destination} ttl{ttl}"),
            Payload::Icmp(icmp) => {
                let (from, to) = (source.ip(), destination.ip());
                write!(f, "icmp {}/{} {from}>{to} ttl{ttl}", icmp.kind, icmp.code)?;
                match &icmp.quoted {
                    Some(quoted) => write!(f, " {{{quoted}}}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            source,
            destination,
            ttl,
            ..
        } = self;
        let protocol = match IpNumber(self.protocol) {
            IpNumber::TCP => "tcp",
            IpNumber::UDP => "udp",
            IpNumber::SCTP => "sctp",
            _ => "?",
        };
        write!(f, "{protocol} {source}>{destination} ttl{ttl}")
    }
}
