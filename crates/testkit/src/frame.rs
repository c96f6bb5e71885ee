//! Frames by script: each builder begins as a valid packet and is changed by a word at a time.
//!
//! Promises: lengths and checksums are etherparse's, right unless a word says otherwise.
//! Does not know: what a director does with them.

use std::net::IpAddr;

use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, PacketBuilder, TcpHeader, VlanId,
};
use weir_wire::Endpoint;
use weir_wire::ethernet::Mac;

use crate::option::TcpOption;
use crate::sctp::SctpPacket;
use crate::site::{ROUTER_MAC, WAN_MAC};

/// What can stand for an endpoint in a script.
pub trait IntoEndpoint {
    /// The endpoint.
    fn into_endpoint(self) -> Endpoint;
}

impl IntoEndpoint for Endpoint {
    fn into_endpoint(self) -> Endpoint {
        self
    }
}

impl IntoEndpoint for &str {
    /// From text such as `192.0.2.7:80`; an address alone has L4 port 0.
    fn into_endpoint(self) -> Endpoint {
        self.parse()
            .or_else(|_| {
                self.parse()
                    .map(|address: IpAddr| Endpoint::new(address, 0))
            })
            .unwrap_or_else(|_| panic!("{self} is no endpoint"))
    }
}

/// What a frame carries above IP.
#[derive(Clone, Debug)]
enum Carried {
    Tcp(Box<TcpHeader>),
    Udp { has_checksum: bool },
    Sctp { tag: u32, chunks: Vec<u8> },
    Icmp { kind: u8, code: u8, rest: [u8; 4] },
    Raw { protocol: u8 },
}

/// A frame to be. From the client side's router to the director's first port, TTL 64, not to be fragmented.
#[derive(Clone, Debug)]
pub struct FrameBuilder {
    source_mac: Mac,
    destination_mac: Mac,
    vlan: Option<u16>,
    source: Endpoint,
    destination: Endpoint,
    ttl: u8,
    forbids_fragmentation: bool,
    /// Offset in bytes, and whether more follow.
    fragment: Option<(u16, bool)>,
    ip_options: Vec<u8>,
    has_extensions: bool,
    carried: Carried,
    data: Vec<u8>,
}

/// A TCP segment; without a flag until one is set.
pub fn tcp(from: impl IntoEndpoint, to: impl IntoEndpoint) -> FrameBuilder {
    let (from, to) = (from.into_endpoint(), to.into_endpoint());
    let header = TcpHeader::new(from.port(), to.port(), 0, 64_000);
    FrameBuilder::new(from, to, Carried::Tcp(Box::new(header)))
}

/// A UDP datagram.
pub fn udp(from: impl IntoEndpoint, to: impl IntoEndpoint) -> FrameBuilder {
    let carried = Carried::Udp { has_checksum: true };
    FrameBuilder::new(from.into_endpoint(), to.into_endpoint(), carried)
}

/// An SCTP packet with a chunk of this type, whose value is the data; the verification tag is 7.
pub fn sctp(from: impl IntoEndpoint, to: impl IntoEndpoint, chunk: u8) -> FrameBuilder {
    let chunks = vec![chunk];
    let carried = Carried::Sctp { tag: 7, chunks };
    FrameBuilder::new(from.into_endpoint(), to.into_endpoint(), carried)
}

/// An ICMP or ICMPv6 message, by the addresses' family. `rest` is the second half of its header.
pub fn icmp(
    from: impl IntoEndpoint,
    to: impl IntoEndpoint,
    [kind, code]: [u8; 2],
    rest: [u8; 4],
) -> FrameBuilder {
    let carried = Carried::Icmp { kind, code, rest };
    FrameBuilder::new(from.into_endpoint(), to.into_endpoint(), carried)
}

/// An echo request of either family.
pub fn echo_request(from: impl IntoEndpoint, to: impl IntoEndpoint) -> FrameBuilder {
    let from = from.into_endpoint();
    let kind = if from.is_ipv4() { 8 } else { 128 };
    icmp(from, to, [kind, 0], [0, 7, 0, 1])
}

/// An IP packet with any protocol number above.
pub fn raw(from: impl IntoEndpoint, to: impl IntoEndpoint, protocol: u8) -> FrameBuilder {
    let carried = Carried::Raw { protocol };
    FrameBuilder::new(from.into_endpoint(), to.into_endpoint(), carried)
}

impl FrameBuilder {
    fn new(source: Endpoint, destination: Endpoint, carried: Carried) -> Self {
        Self {
            source_mac: ROUTER_MAC,
            destination_mac: WAN_MAC,
            vlan: None,
            source,
            destination,
            ttl: 64,
            forbids_fragmentation: true,
            fragment: None,
            ip_options: Vec::new(),
            has_extensions: false,
            carried,
            data: Vec::new(),
        }
    }

    fn header(&mut self) -> &mut TcpHeader {
        match &mut self.carried {
            Carried::Tcp(header) => header,
            other @ (Carried::Udp { .. }
            | Carried::Sctp { .. }
            | Carried::Icmp { .. }
            | Carried::Raw { .. }) => {
                panic!("{other:?} has no TCP header")
            }
        }
    }

    /// Sets SYN.
    pub fn syn(mut self) -> Self {
        self.header().syn = true;
        self
    }

    /// Sets FIN.
    pub fn fin(mut self) -> Self {
        self.header().fin = true;
        self
    }

    /// Sets RST.
    pub fn rst(mut self) -> Self {
        self.header().rst = true;
        self
    }

    /// Sets ACK with this number.
    pub fn ack(mut self, acknowledgement: u32) -> Self {
        self.header().ack = true;
        self.header().acknowledgment_number = acknowledgement;
        self
    }

    /// Sets the sequence number.
    pub fn seq(mut self, sequence: u32) -> Self {
        self.header().sequence_number = sequence;
        self
    }

    /// Sets URG with this pointer.
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.header().urg = true;
        self.header().urgent_pointer = pointer;
        self
    }

    /// Sets the TCP options, padded with end marks to a multiple of 4 bytes.
    pub fn options(mut self, options: &[TcpOption]) -> Self {
        let bytes: Vec<u8> = options.iter().flat_map(TcpOption::write).collect();
        self.header()
            .set_options_raw(&bytes)
            .expect("TCP options take 40 bytes at most");
        self
    }

    /// Adds an SCTP chunk of this type, without a value.
    pub fn chunk(mut self, kind: u8) -> Self {
        match &mut self.carried {
            Carried::Sctp { chunks, .. } => chunks.push(kind),
            other @ (Carried::Tcp(_)
            | Carried::Udp { .. }
            | Carried::Icmp { .. }
            | Carried::Raw { .. }) => panic!("{other:?} has no chunks"),
        }
        self
    }

    /// Sets what is carried above TCP, UDP or the ICMP header, or in the first SCTP chunk.
    pub fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Likewise, `n_bytes` of a pattern.
    pub fn data_bytes(mut self, n_bytes: usize) -> Self {
        self.data = (0..n_bytes).map(|n| n as u8).collect();
        self
    }

    /// Grows or shrinks the data until the IP packet has `n_bytes`.
    pub fn ip_bytes(self, n_bytes: usize) -> Self {
        let now = self.clone().data(&[]).bytes().len() - 14 - self.vlan.map_or(0, |_| 4);
        self.data_bytes(n_bytes - now)
    }

    /// Sets TTL or hop limit.
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// Clears DF.
    pub fn may_be_fragmented(mut self) -> Self {
        self.forbids_fragmentation = false;
        self
    }

    /// Makes it a fragment that begins `offset` bytes (a multiple of 8) into its datagram.
    pub fn fragment(mut self, offset: u16, more_follow: bool) -> Self {
        self.fragment = Some((offset, more_follow));
        self.forbids_fragmentation = false;
        self
    }

    /// Tags the frame with a VLAN number; 0 is a priority tag.
    pub fn vlan(mut self, number: u16) -> Self {
        self.vlan = Some(number);
        self
    }

    /// Adds IPv4 options, a multiple of 4 bytes.
    pub fn ip_options(mut self, options: &[u8]) -> Self {
        self.ip_options = options.to_vec();
        self
    }

    /// Adds IPv6 extension headers: hop-by-hop and destination options, 8 bytes each.
    pub fn extensions(mut self) -> Self {
        self.has_extensions = true;
        self
    }

    /// Leaves the UDP checksum out.
    pub fn without_checksum(mut self) -> Self {
        self.carried = Carried::Udp {
            has_checksum: false,
        };
        self
    }

    /// Sets the MAC addresses.
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// The IP packet alone, for an ICMP error to quote.
    pub fn packet_bytes(&self) -> Vec<u8> {
        self.bytes()[14 + self.vlan.map_or(0, |_| 4)..].to_vec()
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2(self.source_mac.0, self.destination_mac.0);
        let step = match self.vlan {
            Some(number) => ethernet
                .single_vlan(VlanId::try_new(number).expect("a VLAN number has 12 bits"))
                .ip(self.ip_header()),
            None => ethernet.ip(self.ip_header()),
        };
        let (source, destination) = (self.source.port(), self.destination.port());
        let is_written = match &self.carried {
            Carried::Tcp(header) => step
                .tcp_header((**header).clone())
                .write(&mut frame, &self.data),
            Carried::Udp { .. } => step.udp(source, destination).write(&mut frame, &self.data),
            Carried::Sctp { tag, chunks } => {
                let packet = SctpPacket {
                    l4_ports: [source, destination],
                    tag: *tag,
                    chunks: std::iter::zip(
                        chunks.iter().copied(),
                        std::iter::once(self.data.clone()).chain(std::iter::repeat_with(Vec::new)),
                    )
                    .collect(),
                };
                step.write(&mut frame, IpNumber::SCTP, &packet.write())
            }
            Carried::Icmp { kind, code, rest } if self.source.is_ipv4() => step
                .icmpv4_raw(*kind, *code, *rest)
                .write(&mut frame, &self.data),
            Carried::Icmp { kind, code, rest } => step
                .icmpv6_raw(*kind, *code, *rest)
                .write(&mut frame, &self.data),
            Carried::Raw { protocol } => step.write(&mut frame, IpNumber(*protocol), &self.data),
        };
        is_written.expect("etherparse writes the frame");
        if let Carried::Udp {
            has_checksum: false,
        } = self.carried
        {
            let checksum = frame.len() - self.data.len() - 2;
            frame[checksum..checksum + 2].fill(0);
        }
        frame
    }

    fn ip_header(&self) -> IpHeaders {
        let (offset, more_fragments) = self.fragment.unwrap_or((0, false));
        let offset = IpFragOffset::try_new(offset / 8).expect("an offset has 13 bits");
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = Ipv4Header::new(
                    0,
                    self.ttl,
                    IpNumber::TCP,
                    source.octets(),
                    destination.octets(),
                )
                .expect("an empty packet fits");
                header.identification = 0x1234;
                header.dont_fragment = self.forbids_fragmentation;
                header.fragment_offset = offset;
                header.more_fragments = more_fragments;
                header.options = self
                    .ip_options
                    .as_slice()
                    .try_into()
                    .expect("IPv4 options are a multiple of 4, 40 bytes at most");
                IpHeaders::Ipv4(header, Ipv4Extensions::default())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let header = Ipv6Header {
                    source: source.octets(),
                    destination: destination.octets(),
                    hop_limit: self.ttl,
                    ..Ipv6Header::default()
                };
                IpHeaders::Ipv6(header, self.extension_headers(offset, more_fragments))
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                panic!(
                    "{} and {} are of two families",
                    self.source, self.destination
                )
            }
        }
    }

    fn extension_headers(&self, offset: IpFragOffset, more_fragments: bool) -> Ipv6Extensions {
        let padding = Ipv6RawExtHeader::new_raw(IpNumber(0), &[1, 4, 0, 0, 0, 0])
            .expect("6 bytes are an extension header");
        let options = self.has_extensions.then_some(padding);
        Ipv6Extensions {
            hop_by_hop_options: options.clone(),
            destination_options: options,
            fragment: self
                .fragment
                .map(|_| Ipv6FragmentHeader::new(IpNumber(0), offset, more_fragments, 0x1234)),
            ..Ipv6Extensions::default()
        }
    }
}
