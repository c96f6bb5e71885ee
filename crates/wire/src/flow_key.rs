//! The key of a flow: protocol, two addresses, two L4 ports.
//!
//! Promises: addresses and L4 ports are kept as they lie in a packet, so that comparing, turning round and
//! rewriting are plain loads and stores. Only the accessors turn them into host values.
//! Does not know: which end is client or real server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::checksum::Delta;

/// A transport protocol whose flows are forwarded; the value is the IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Protocol {
    /// RFC 9293.
    Tcp = 6,
    /// RFC 768.
    Udp = 17,
    /// RFC 9260.
    Sctp = 132,
}

impl Protocol {
    /// The protocol of an IP protocol number, if flows of it are forwarded.
    #[inline]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            132 => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The IP protocol number.
    #[inline]
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// An L4 port, in host order. Never a NIC port.
pub type L4Port = u16;

/// One end of a flow: address and L4 port.
pub type Endpoint = SocketAddr;

/// The key of an IPv4 flow, 16 bytes. Fields hold the packet's bytes, read as native integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKeyV4 {
    /// Source address, then destination address: 8 bytes as they lie in the IPv4 header.
    pub addresses: u64,
    /// Source L4 port, then destination L4 port: 4 bytes as they lie in the TCP, UDP or SCTP header.
    pub l4_ports: u32,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// The key of an IPv6 flow. Fields hold the packet's bytes, read as native integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKeyV6 {
    /// Source address, 16 bytes.
    pub source: [u64; 2],
    /// Destination address, 16 bytes.
    pub destination: [u64; 2],
    /// Source L4 port, then destination L4 port.
    pub l4_ports: u32,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// The key of a flow of either family.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// An IPv4 flow.
    V4(FlowKeyV4),
    /// An IPv6 flow.
    V6(FlowKeyV6),
}

impl FlowKeyV4 {
    /// The key of the packets that go the other way.
    #[inline]
    pub fn turned(self) -> Self {
        Self {
            addresses: self.addresses.rotate_left(32),
            l4_ports: self.l4_ports.rotate_left(16),
            protocol: self.protocol,
        }
    }

    /// Source address.
    #[inline]
    pub fn source(self) -> Ipv4Addr {
        let [a, b, c, d, ..] = self.addresses.to_ne_bytes();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    #[inline]
    pub fn destination(self) -> Ipv4Addr {
        let [.., a, b, c, d] = self.addresses.to_ne_bytes();
        Ipv4Addr::new(a, b, c, d)
    }
}

impl FlowKeyV6 {
    /// The key of the packets that go the other way.
    #[inline]
    pub fn turned(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            l4_ports: self.l4_ports.rotate_left(16),
            protocol: self.protocol,
        }
    }

    /// Source address.
    #[inline]
    pub fn source(self) -> Ipv6Addr {
        Ipv6Addr::from(address_bytes(self.source))
    }

    /// Destination address.
    #[inline]
    pub fn destination(self) -> Ipv6Addr {
        Ipv6Addr::from(address_bytes(self.destination))
    }
}

/// The 16 bytes of an IPv6 address that was read as two native integers.
#[inline]
fn address_bytes([high, low]: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&high.to_ne_bytes());
    bytes[8..].copy_from_slice(&low.to_ne_bytes());
    bytes
}

/// An IPv6 address read as two native integers, as [`FlowKeyV6`] keeps it.
#[inline]
fn address_words(address: Ipv6Addr) -> [u64; 2] {
    let bytes = address.octets();
    let (high, low) = bytes.split_at(8);
    [word(high), word(low)]
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |chunk| u64::from_ne_bytes(*chunk))
}

#[inline]
fn pair_of_l4_ports(source: L4Port, destination: L4Port) -> u32 {
    let [a, b] = source.to_be_bytes();
    let [c, d] = destination.to_be_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

impl FlowKey {
    /// The key of the flow from `source` to `destination`; `None` when their families differ.
    #[inline]
    pub fn new(protocol: Protocol, source: Endpoint, destination: Endpoint) -> Option<Self> {
        let l4_ports = pair_of_l4_ports(source.port(), destination.port());
        match (source.ip(), destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut addresses = [0; 8];
                addresses[..4].copy_from_slice(&source.octets());
                addresses[4..].copy_from_slice(&destination.octets());
                Some(Self::V4(FlowKeyV4 {
                    addresses: u64::from_ne_bytes(addresses),
                    l4_ports,
                    protocol,
                }))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => Some(Self::V6(FlowKeyV6 {
                source: address_words(source),
                destination: address_words(destination),
                l4_ports,
                protocol,
            })),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }

    /// The key of the packets that go the other way.
    #[inline]
    pub fn turned(self) -> Self {
        match self {
            Self::V4(key) => Self::V4(key.turned()),
            Self::V6(key) => Self::V6(key.turned()),
        }
    }

    /// The transport protocol.
    #[inline]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::V4(key) => key.protocol,
            Self::V6(key) => key.protocol,
        }
    }

    /// Source and destination L4 port, 4 bytes as they lie in the TCP, UDP or SCTP header.
    #[inline]
    pub fn l4_ports(&self) -> u32 {
        match self {
            Self::V4(key) => key.l4_ports,
            Self::V6(key) => key.l4_ports,
        }
    }

    /// What both addresses add to a checksum; in which order they stand makes no difference.
    #[inline]
    pub fn addresses_sum(&self) -> Delta {
        match self {
            Self::V4(key) => Delta::of_word(key.addresses),
            Self::V6(key) => [key.source, key.destination]
                .as_flattened()
                .iter()
                .fold(Delta::default(), |sum, word| sum + Delta::of_word(*word)),
        }
    }

    /// What both L4 ports add to a checksum.
    #[inline]
    pub fn l4_ports_sum(&self) -> Delta {
        Delta::of_word(u64::from(self.l4_ports()))
    }

    /// Where the flow's packets come from.
    #[inline]
    pub fn source(self) -> Endpoint {
        let (address, l4_ports) = match self {
            Self::V4(key) => (IpAddr::V4(key.source()), key.l4_ports),
            Self::V6(key) => (IpAddr::V6(key.source()), key.l4_ports),
        };
        let [a, b, ..] = l4_ports.to_ne_bytes();
        Endpoint::new(address, L4Port::from_be_bytes([a, b]))
    }

    /// Where the flow's packets go.
    #[inline]
    pub fn destination(self) -> Endpoint {
        self.turned().source()
    }
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} > {}",
            self.protocol(),
            self.source(),
            self.destination()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_back_what_it_was_made_of_and_turns_round() {
        for (source, destination) in [
            ("192.0.2.1:40000", "198.51.100.2:80"),
            ("[2001:db8::1]:40000", "[2001:db8:1::2]:80"),
        ] {
            let source: Endpoint = source.parse().unwrap();
            let destination: Endpoint = destination.parse().unwrap();
            let key = FlowKey::new(Protocol::Tcp, source, destination).unwrap();
            assert_eq!((key.source(), key.destination()), (source, destination));
            assert_eq!(
                (key.turned().source(), key.turned().destination()),
                (destination, source)
            );
            assert_eq!(key.turned().turned(), key);
            assert_eq!(
                FlowKey::new(Protocol::Tcp, destination, source),
                Some(key.turned())
            );
        }
    }

    #[test]
    fn two_families_make_no_key() {
        let v4: Endpoint = "192.0.2.1:1".parse().unwrap();
        let v6: Endpoint = "[::1]:1".parse().unwrap();
        assert_eq!(FlowKey::new(Protocol::Udp, v4, v6), None);
    }
}
