//! ICMP errors about a tunnel's outer packets: from a router between the director and a real server, or from that one.
//!
//! ```text
//!   | Ethernet | IP | ICMP | outer IP, GRE or UDP and GUE | inner IP | TCP or UDP … |    as it comes
//!                     ↓                                       ↓
//!              | Ethernet | IP | ICMP |                   | inner IP | TCP or UDP … |    as the client is told
//! ```
//!
//! Promises: every length is checked; what is told quotes the packet as the client sent it, but for its TTL.
//! Does not know: which tunnels and connections there are, or how large a packet their way takes.

use std::net::IpAddr;

use crate::ethernet::{self, EtherType};
use crate::headers::quoted_flow;
use crate::tunnel::Tunnel;
use crate::{FlowKey, FlowKeyV4, FlowKeyV6, NoRoom, Packet, icmp, icmpv6, ipv4, ipv6};

/// TTL or hop limit of what the client is told.
const TTL: u8 = 64;
/// Bytes of the largest IP packet with an error: RFC 1812 §4.3.2.3, RFC 4443 §2.4 (c).
const MAX_ICMP_BYTES: usize = 576;
const MAX_ICMPV6_BYTES: usize = 1280;

/// An ICMP or ICMPv6 error that quotes an IP packet. Offsets are in bytes from the start of the frame.
#[derive(Clone, Copy, Debug)]
pub struct TunnelError {
    source: IpAddr,
    receiver: IpAddr,
    l4: usize,
    end: usize,
    quoted_source: IpAddr,
    quoted_destination: IpAddr,
    quoted_protocol: u8,
    quoted_l4: usize,
    /// That it names, if it says that the packet was too big.
    mtu: Option<u16>,
}

/// The inner packet of which an error tells.
#[derive(Clone, Copy, Debug)]
pub struct QuotedInner {
    /// Its flow, from the client to the VIP.
    pub key: FlowKey,
    l3: usize,
    /// Its end, as far as it is quoted.
    end: usize,
}

impl TunnelError {
    /// Reads one; `None`: the frame is none, is cut off, or calls a packet too big that would have fitted.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let frame = &frame[..frame.len().min(usize::from(u16::MAX))];
        let (ether_type, l3) = ethernet::parse(frame).ok()?;
        match ether_type {
            EtherType::Ipv4 => {
                let header = ipv4::parse(frame, l3).ok()?;
                let message = &frame[header.l4..header.end];
                let is_error = header.protocol == icmp::PROTOCOL
                    && icmp::parse(message) == Ok(icmp::Message::Error);
                let mtu = icmp::mtu(message.first_chunk()?);
                let quoted_l3 = header.l4 + icmp::HEADER_BYTES;
                let quoted = ipv4::parse_quoted(&frame[..header.end], quoted_l3).ok()?;
                let (source, receiver) = ipv4::addresses(frame, l3)?;
                let (quoted_source, quoted_destination) = ipv4::addresses(frame, quoted_l3)?;
                let is_credible = mtu.is_none_or(|mtu| usize::from(mtu) < quoted.end - quoted_l3);
                (is_error && is_credible).then_some(Self {
                    source: source.into(),
                    receiver: receiver.into(),
                    l4: header.l4,
                    end: header.end,
                    quoted_source: quoted_source.into(),
                    quoted_destination: quoted_destination.into(),
                    quoted_protocol: quoted.protocol,
                    quoted_l4: quoted.l4,
                    mtu,
                })
            }
            EtherType::Ipv6 => {
                let header = ipv6::parse(frame, l3).ok()?;
                let message = &frame[header.l4..header.end];
                let is_error = header.protocol == icmpv6::PROTOCOL
                    && icmpv6::parse(message) == Ok(icmp::Message::Error);
                let mtu = icmpv6::mtu(message.first_chunk()?);
                let quoted_l3 = header.l4 + icmpv6::HEADER_BYTES;
                let quoted = ipv6::parse_quoted(&frame[..header.end], quoted_l3).ok()?;
                let (source, receiver) = ipv6::addresses(frame, l3)?;
                let (quoted_source, quoted_destination) = ipv6::addresses(frame, quoted_l3)?;
                let is_credible = mtu.is_none_or(|mtu| usize::from(mtu) < quoted.end - quoted_l3);
                (is_error && is_credible).then_some(Self {
                    source: source.into(),
                    receiver: receiver.into(),
                    l4: header.l4,
                    end: header.end,
                    quoted_source: quoted_source.into(),
                    quoted_destination: quoted_destination.into(),
                    quoted_protocol: quoted.protocol,
                    quoted_l4: quoted.l4,
                    mtu,
                })
            }
            EtherType::Arp => None,
        }
    }

    /// Who sent it.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Where the quoted packet went.
    pub fn quoted_destination(&self) -> IpAddr {
        self.quoted_destination
    }

    /// Whether it is about a packet of this tunnel, and came to the address that had sent it.
    pub fn is_about(&self, tunnel: &Tunnel, frame: &[u8]) -> bool {
        self.receiver == self.quoted_source
            && self.quoted_destination == tunnel.remote()
            && frame.get(self.quoted_l4..self.end).is_some_and(|behind| {
                tunnel.is_its_packet(self.quoted_source, self.quoted_protocol, behind)
            })
    }

    /// Whether its own checksums are right: of ICMP, and of the IPv4 header.
    pub fn checksums_are_right(&self, frame: &[u8]) -> bool {
        let Some(message) = frame.get(self.l4..self.end) else {
            return false;
        };
        match (self.source, self.receiver) {
            (IpAddr::V4(_), IpAddr::V4(_)) => {
                let l3 = ethernet::parse(frame).map(|(_, l3)| l3);
                icmp::checksum_is_right(message)
                    && l3.is_ok_and(|l3| ipv4::checksum_is_right(frame, l3, self.l4))
            }
            (IpAddr::V6(source), IpAddr::V6(receiver)) => {
                icmpv6::checksum_is_right(message, source, receiver)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// The largest outer packet that gets through, if it says that the packet was too big. Less than every host takes (RFC
    /// 791), or every link (RFC 8200 §5), is not believed; a router from before RFC 1191 does not tell.
    pub fn path_mtu(&self) -> Option<u16> {
        let minimum = match self.source {
            IpAddr::V4(_) => ipv4::MIN_HOST_MTU,
            IpAddr::V6(_) => ipv6::MIN_MTU,
        };
        self.mtu.map(|mtu| mtu.max(minimum))
    }

    /// The inner packet, of an error that [is about](Self::is_about) `tunnel`, if enough of it is quoted.
    pub fn inner(&self, tunnel: &Tunnel, frame: &[u8]) -> Option<QuotedInner> {
        let outer_ip_bytes = match self.quoted_source {
            IpAddr::V4(_) => ipv4::HEADER_BYTES,
            IpAddr::V6(_) => ipv6::HEADER_BYTES,
        };
        let l3 = self.quoted_l4 + usize::from(tunnel.header_bytes()) - outer_ip_bytes;
        let message = frame.get(..self.end)?;
        if message.get(l3)? >> 4 == 4 {
            let header = ipv4::parse_quoted(message, l3).ok()?;
            let (l4_ports, protocol) = quoted_flow(message, header.l4, header.protocol).ok()?;
            let key = FlowKey::V4(FlowKeyV4 {
                addresses: header.addresses,
                l4_ports,
                protocol,
            });
            let end = header.end.min(self.end);
            (end >= header.l4 + 8).then_some(QuotedInner { key, l3, end })
        } else {
            let header = ipv6::parse_quoted(message, l3).ok()?;
            let (l4_ports, protocol) = quoted_flow(message, header.l4, header.protocol).ok()?;
            let key = FlowKey::V6(FlowKeyV6 {
                source: header.source,
                destination: header.destination,
                l4_ports,
                protocol,
            });
            let end = header.end.min(self.end);
            (end >= header.l4 + 8).then_some(QuotedInner { key, l3, end })
        }
    }

    /// Turns the error into one from the VIP to the client, about what the client sent; `mtu` is what it may send if its
    /// packet was too big. The MAC addresses are still to be written.
    ///
    /// Between two packets of one family the error stays what it is, as in IPVS (`ip_vs_in_icmp`); of two families the
    /// client learns that its packet was too big, or that the VIP cannot be reached (RFC 2473 §8).
    ///
    /// `Err`: the packet is as it came in.
    pub fn tell_client(
        &self,
        packet: &mut Packet<'_>,
        inner: &QuotedInner,
        mtu: Option<u16>,
    ) -> Result<(), NoRoom> {
        let [kind, code] = *packet.frame()[self.l4..].first_chunk().ok_or(NoRoom)?;
        let n_quoted = inner.end - inner.l3;
        let mut front = [0; ethernet::HEADER_BYTES + ipv6::HEADER_BYTES + icmp::HEADER_BYTES];
        match inner.key {
            FlowKey::V4(key) => {
                let header_bytes = ipv4::HEADER_BYTES + icmp::HEADER_BYTES;
                let n_quoted = n_quoted.min(MAX_ICMP_BYTES - header_bytes);
                let message = match (self.source, mtu) {
                    (_, Some(mtu)) => icmp::too_big(mtu),
                    (IpAddr::V4(_), None) => [kind, code, 0, 0, 0, 0, 0, 0],
                    (IpAddr::V6(_), None) => icmp::HOST_UNREACHABLE,
                };
                let header = ipv4::NewHeader {
                    source: key.destination(),
                    destination: key.source(),
                    protocol: icmp::PROTOCOL,
                    ttl: TTL,
                    payload_bytes: (icmp::HEADER_BYTES + n_quoted) as u16,
                };
                let front = &mut front[..ethernet::HEADER_BYTES + header_bytes];
                front[12..14].copy_from_slice(&(EtherType::Ipv4 as u16).to_be_bytes());
                front[14..][..ipv4::HEADER_BYTES].copy_from_slice(&header.write());
                front[14 + ipv4::HEADER_BYTES..].copy_from_slice(&message);
                packet.replace_front(inner.l3 as u16, front)?;
                packet.truncate((front.len() + n_quoted) as u16);
                icmp::fill_checksum(&mut packet.frame_mut()[14 + ipv4::HEADER_BYTES..]);
            }
            FlowKey::V6(key) => {
                let header_bytes = ipv6::HEADER_BYTES + icmpv6::HEADER_BYTES;
                let n_quoted = n_quoted.min(MAX_ICMPV6_BYTES - header_bytes);
                let message = match (self.source, mtu) {
                    (_, Some(mtu)) => icmpv6::too_big(mtu),
                    (IpAddr::V6(_), None) => [kind, code, 0, 0, 0, 0, 0, 0],
                    (IpAddr::V4(_), None) => icmpv6::ADDRESS_UNREACHABLE,
                };
                let (vip, client) = (key.destination(), key.source());
                let header = ipv6::NewHeader {
                    source: vip,
                    destination: client,
                    next_header: icmpv6::PROTOCOL,
                    hop_limit: TTL,
                    payload_bytes: (icmpv6::HEADER_BYTES + n_quoted) as u16,
                };
                let front = &mut front[..ethernet::HEADER_BYTES + header_bytes];
                front[12..14].copy_from_slice(&(EtherType::Ipv6 as u16).to_be_bytes());
                front[14..][..ipv6::HEADER_BYTES].copy_from_slice(&header.write());
                front[14 + ipv6::HEADER_BYTES..].copy_from_slice(&message);
                packet.replace_front(inner.l3 as u16, front)?;
                packet.truncate((front.len() + n_quoted) as u16);
                let message = &mut packet.frame_mut()[14 + ipv6::HEADER_BYTES..];
                icmpv6::fill_checksum(message, vip, client);
            }
        }
        Ok(())
    }
}
