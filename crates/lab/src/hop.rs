//! What a frame looked like at one hop: who sent it to whom, on which layer.
//!
//! Promises: read by `etherparse`, which shares no code with the director, so that a mistake of the director's own
//! parser cannot hide itself.
//! Does not know: which hop the frame was seen at.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{LinkSlice, NetSlice, SlicedPacket, TransportSlice};

use crate::encapsulation::Carrier;
use crate::toa;

/// The facts about one TCP or UDP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Source MAC address, as text; empty where the interface has none, as a tun device.
    pub source_mac: String,
    /// Destination MAC address, as text; likewise.
    pub destination_mac: String,
    /// The packet around it, where it travels in one.
    pub outer: Option<Outer>,
    /// Source address and L4 port.
    pub source: SocketAddr,
    /// Destination address and L4 port.
    pub destination: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// TCP or UDP.
    pub transport: Transport,
    /// Length of what TCP or UDP carries, in bytes.
    pub payload_len: usize,
}

/// The packet around another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outer {
    /// What stands between its IP header and the packet inside.
    pub carrier: Carrier,
    /// Its source address.
    pub source: IpAddr,
    /// Its destination address.
    pub destination: IpAddr,
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Its UDP source and destination port, where it is UDP.
    pub udp: Option<(u16, u16)>,
}

/// What is particular to the transport protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp {
        /// SYN is set.
        is_syn: bool,
        /// ACK is set.
        is_ack: bool,
        /// FIN is set.
        is_fin: bool,
        /// RST is set.
        is_rst: bool,
        /// The client's address from the TOA option.
        toa: Option<SocketAddr>,
    },
    /// UDP.
    Udp,
}

impl Hop {
    /// Reads a frame; nothing if it is neither TCP nor UDP, or cannot be read. Of a packet in a tunnel, it is the
    /// packet inside that is read, and [`Hop::outer`] tells of the one around it.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        let LinkSlice::Ethernet2(ethernet) = packet.link.as_ref()? else {
            return None;
        };
        let macs = [ethernet.source(), ethernet.destination()].map(mac);
        match inside(&packet) {
            Some((outer, inner)) => {
                let inner = SlicedPacket::from_ip(inner).ok()?;
                Self::of(&inner, macs, Some(outer))
            }
            None => Self::of(&packet, macs, None),
        }
    }

    /// Reads a packet as it passes an interface that has no link header, as a tun device.
    pub fn read_ip(packet: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ip(packet).ok()?;
        Self::of(&packet, Default::default(), None)
    }

    fn of(packet: &SlicedPacket<'_>, macs: [String; 2], outer: Option<Outer>) -> Option<Self> {
        let (source, destination, ttl) = ends(packet.net.as_ref()?)?;
        let (source_port, destination_port, payload_len, transport) =
            match packet.transport.as_ref()? {
                TransportSlice::Tcp(tcp) => (
                    tcp.source_port(),
                    tcp.destination_port(),
                    tcp.payload().len(),
                    Transport::Tcp {
                        is_syn: tcp.syn(),
                        is_ack: tcp.ack(),
                        is_fin: tcp.fin(),
                        is_rst: tcp.rst(),
                        toa: toa::find(tcp.options()),
                    },
                ),
                TransportSlice::Udp(udp) => (
                    udp.source_port(),
                    udp.destination_port(),
                    udp.payload().len(),
                    Transport::Udp,
                ),
                TransportSlice::Icmpv4(_) | TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => {
                    return None;
                }
            };
        let [source_mac, destination_mac] = macs;
        Some(Self {
            source_mac,
            destination_mac,
            outer,
            source: SocketAddr::new(source, source_port),
            destination: SocketAddr::new(destination, destination_port),
            ttl,
            transport,
            payload_len,
        })
    }

    /// Whether this is the first packet of a TCP connection.
    pub fn is_opening(&self) -> bool {
        matches!(
            self.transport,
            Transport::Tcp {
                is_syn: true,
                is_ack: false,
                ..
            }
        )
    }

    /// Whether this is the real server's consent to a TCP connection.
    pub fn is_consent(&self) -> bool {
        matches!(
            self.transport,
            Transport::Tcp {
                is_syn: true,
                is_ack: true,
                ..
            }
        )
    }

    /// The client's address in the TOA option, if this is TCP and has one.
    pub fn toa(&self) -> Option<SocketAddr> {
        match self.transport {
            Transport::Tcp { toa, .. } => toa,
            Transport::Udp => None,
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} → {} {} ttl {}",
            self.source_mac, self.source, self.destination_mac, self.destination, self.ttl
        )
    }
}

/// Addresses and TTL or hop limit of an IP packet.
fn ends(net: &NetSlice<'_>) -> Option<(IpAddr, IpAddr, u8)> {
    match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr(), header.destination_addr());
            Some((source.into(), destination.into(), header.ttl()))
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let (source, destination) = (header.source_addr(), header.destination_addr());
            Some((source.into(), destination.into(), header.hop_limit()))
        }
        NetSlice::Arp(_) => None,
    }
}

/// The packet inside `packet`, and what is around it; nothing where there is none inside.
pub(crate) fn inside<'a>(packet: &SlicedPacket<'a>) -> Option<(Outer, &'a [u8])> {
    let net = packet.net.as_ref()?;
    let (source, destination, ttl) = ends(net)?;
    let (carrier, payload, udp) = match &packet.transport {
        Some(TransportSlice::Udp(udp)) => (
            Carrier::of_udp(udp.destination_port())?,
            udp.payload(),
            Some((udp.source_port(), udp.destination_port())),
        ),
        Some(
            TransportSlice::Tcp(_)
            | TransportSlice::Icmpv4(_)
            | TransportSlice::Icmpv6(_)
            | TransportSlice::Igmp(_),
        ) => return None,
        None => {
            let payload = net.ip_payload_ref()?;
            (Carrier::of_ip(payload.ip_number.0)?, payload.payload, None)
        }
    };
    let outer = Outer {
        carrier,
        source,
        destination,
        ttl,
        udp,
    };
    Some((outer, carrier.inside(payload)?))
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;

    #[test]
    fn a_syn_is_read_with_all_its_facts() {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xc1], [2, 0, 0, 0, 0, 0xd1])
            .ipv4([192, 0, 2, 10], [192, 0, 2, 100], 63)
            .tcp(40000, 80, 1, 1000)
            .syn()
            .options_raw(&[254, 8, 0x9c, 0x40, 192, 0, 2, 7])
            .unwrap();
        let mut frame = Vec::new();
        builder.write(&mut frame, &[]).unwrap();
        let hop = Hop::read(&frame).unwrap();
        assert!(hop.is_opening() && !hop.is_consent());
        assert_eq!(hop.toa(), Some("192.0.2.7:40000".parse().unwrap()));
        assert_eq!(
            hop.to_string(),
            "02:00:00:00:00:c1 192.0.2.10:40000 → 02:00:00:00:00:d1 192.0.2.100:80 ttl 63"
        );
    }

    #[test]
    fn what_is_no_tcp_or_udp_is_nothing() {
        assert_eq!(Hop::read(&[0; 60]), None);
        assert_eq!(Hop::read(&[]), None);
    }
}
