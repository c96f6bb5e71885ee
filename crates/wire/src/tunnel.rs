//! Tunnels: an IP packet inside another, on its way to a real server.
//!
//! ```text
//!   IP in IP   | outer IP |                   | inner IP …     RFC 2003, RFC 2473, RFC 4213
//!   GRE        | outer IP | GRE, 4 or 8 bytes | inner IP …     RFC 2784
//!   GUE        | outer IP | UDP | GUE         | inner IP …     draft-ietf-intarea-gue, variant 0, as Linux has it
//! ```
//!
//! Promises: the inner packet is not touched; outer lengths and checksums are right; traffic class, ECN and Don't
//! Fragment are the inner packet's, and so is the TTL, as in IPVS (`ip_vs_tunnel_xmit`).
//! Does not know: whether the longer packet fits its way.

use std::net::IpAddr;

use crate::checksum::{self, Delta};
use crate::ethernet::{self, EtherType};
use crate::{Headers, L4Port, NoRoom, Packet, ipv4, ipv6, udp};

/// The IP protocol numbers of what is inside.
const INNER_IPV4: u8 = 4;
const INNER_IPV6: u8 = 41;
const GRE: u8 = 47;
const UDP: u8 = 17;

/// The bit of a GRE header that says that there is a checksum (RFC 2784 §2.1).
const GRE_CHECKSUM: u8 = 0x80;
const GRE_BYTES: usize = 4;
const GUE_BYTES: usize = 4;

/// What stands between the outer IP header and the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Nothing.
    Ipip,
    /// Generic Routing Encapsulation.
    Gre {
        /// With the checksum of the whole packet that it carries.
        checksum: bool,
    },
    /// Generic UDP Encapsulation.
    Gue {
        /// The UDP port at which the real server takes the tunnel's end.
        destination_port: L4Port,
        /// With a UDP checksum; without, the field is zero (RFC 6935 for IPv6).
        checksum: bool,
    },
}

/// A tunnel to a real server.
///
/// Invariant: both ends are of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tunnel {
    local: IpAddr,
    remote: IpAddr,
    encapsulation: Encapsulation,
}

impl Tunnel {
    /// A tunnel between two addresses of one family; `None` when they are not.
    pub fn new(local: IpAddr, remote: IpAddr, encapsulation: Encapsulation) -> Option<Self> {
        (local.is_ipv4() == remote.is_ipv4()).then_some(Self {
            local,
            remote,
            encapsulation,
        })
    }

    /// Bytes by which an IP packet grows.
    #[inline]
    pub fn header_bytes(&self) -> u16 {
        let ip = if self.local.is_ipv4() {
            ipv4::HEADER_BYTES
        } else {
            ipv6::HEADER_BYTES
        };
        (ip + self.shim_bytes()) as u16
    }

    #[inline]
    fn shim_bytes(&self) -> usize {
        match self.encapsulation {
            Encapsulation::Ipip => 0,
            Encapsulation::Gre { checksum: false } => GRE_BYTES,
            Encapsulation::Gre { checksum: true } => 2 * GRE_BYTES,
            Encapsulation::Gue { .. } => udp::HEADER_BYTES + GUE_BYTES,
        }
    }

    /// Puts a packet into the tunnel. What the frame has before its IP packet becomes an Ethernet header without a
    /// tag, whose addresses are still to be written; padding behind the packet goes.
    ///
    /// `headers` is what [`Headers::parse`] learned of this packet, `identification` that of an outer IPv4 packet that
    /// may be fragmented. `flow_hash` gives a number that is the same for all packets of a flow: from it comes GUE's
    /// source port, so that the way there and the far end's queues are shared out.
    #[inline]
    pub fn encapsulate(
        &self,
        packet: &mut Packet<'_>,
        headers: &Headers,
        identification: u16,
        flow_hash: impl FnOnce() -> u64,
    ) -> Result<(), NoRoom> {
        let l3 = usize::from(headers.l3);
        let ip_bytes = headers.ip_bytes();
        let inner = Inner::read(&packet.frame()[l3..], headers.is_ipv6());
        let header_bytes = usize::from(self.header_bytes());
        packet.truncate(headers.end);
        let growth = (ethernet::HEADER_BYTES + header_bytes).saturating_sub(l3);
        let frame = packet.grow_front(growth as u16)?;
        let (before, inner_packet) = frame.split_at_mut(ethernet::HEADER_BYTES + header_bytes);
        let (ethernet_header, outer) = before.split_at_mut(ethernet::HEADER_BYTES);
        let shim_bytes = self.shim_bytes();
        let (ip, shim) = outer.split_at_mut(header_bytes - shim_bytes);
        let inner_packet = &inner_packet[..usize::from(ip_bytes)];
        let protocol = self.write_shim(shim, inner_packet, &inner, flow_hash);
        let payload_bytes = shim_bytes as u16 + ip_bytes;
        let ttl = headers.ttl.saturating_sub(1);
        let ether_type = match (self.local, self.remote) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let new = ipv4::NewHeader {
                    source,
                    destination,
                    protocol,
                    ttl,
                    payload_bytes,
                };
                *ip.first_chunk_mut().ok_or(NoRoom)? = new.write_carrying(
                    inner.traffic_class,
                    inner.forbids_fragmentation,
                    identification,
                );
                EtherType::Ipv4
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let new = ipv6::NewHeader {
                    source,
                    destination,
                    next_header: protocol,
                    hop_limit: ttl,
                    payload_bytes,
                };
                *ip.first_chunk_mut().ok_or(NoRoom)? = new.write_carrying(inner.traffic_class);
                EtherType::Ipv6
            }
            // The invariant.
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return Err(NoRoom),
        };
        ethernet_header[12..].copy_from_slice(&(ether_type as u16).to_be_bytes());
        Ok(())
    }

    /// Writes what stands between; returns the protocol number of the outer IP header.
    #[inline]
    fn write_shim(
        &self,
        shim: &mut [u8],
        payload: &[u8],
        inner: &Inner,
        flow_hash: impl FnOnce() -> u64,
    ) -> u8 {
        if self.encapsulation == Encapsulation::Ipip {
            return inner.protocol;
        }
        shim.fill(0);
        match self.encapsulation {
            Encapsulation::Ipip => inner.protocol,
            Encapsulation::Gre { checksum } => {
                shim[2..4].copy_from_slice(&(inner.ether_type as u16).to_be_bytes());
                if checksum {
                    shim[0] = GRE_CHECKSUM;
                    let sum = checksum::of(&[shim, payload]);
                    shim[4..6].copy_from_slice(&sum);
                }
                GRE
            }
            Encapsulation::Gue {
                destination_port,
                checksum,
            } => {
                let source_port = 0xc000 | (flow_hash() >> 32) as u16 & 0x3fff;
                let len_bytes = shim.len() + payload.len();
                shim[..2].copy_from_slice(&source_port.to_be_bytes());
                shim[2..4].copy_from_slice(&destination_port.to_be_bytes());
                shim[4..6].copy_from_slice(&(len_bytes as u16).to_be_bytes());
                // Version 0, a data message without optional fields.
                shim[udp::HEADER_BYTES + 1] = inner.protocol;
                if checksum {
                    let sum = self.addresses_sum(len_bytes)
                        + Delta(checksum::sum(shim))
                        + Delta(checksum::sum(payload));
                    let sum = if sum.0 == 0xffff { 0xffff } else { !sum.0 };
                    shim[udp::CHECKSUM..udp::CHECKSUM + 2].copy_from_slice(&sum.to_ne_bytes());
                }
                UDP
            }
        }
    }

    fn addresses_sum(&self, len_bytes: usize) -> Delta {
        match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let addresses = [local.octets(), remote.octets()];
                checksum::pseudo_header(addresses.as_flattened(), UDP, len_bytes)
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let addresses = [local.octets(), remote.octets()];
                checksum::pseudo_header(addresses.as_flattened(), UDP, len_bytes)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Delta::default(),
        }
    }
}

/// What the outer header takes from the inner one.
struct Inner {
    traffic_class: u8,
    forbids_fragmentation: bool,
    protocol: u8,
    ether_type: EtherType,
}

impl Inner {
    /// Of the IP packet at the start of `packet`, whose header has been parsed.
    #[inline]
    fn read(packet: &[u8], is_ipv6: bool) -> Self {
        if is_ipv6 {
            Self {
                traffic_class: packet[0] << 4 | packet[1] >> 4,
                forbids_fragmentation: true,
                protocol: INNER_IPV6,
                ether_type: EtherType::Ipv6,
            }
        } else {
            Self {
                traffic_class: packet[1],
                forbids_fragmentation: ipv4::forbids_fragmentation(packet, 0),
                protocol: INNER_IPV4,
                ether_type: EtherType::Ipv4,
            }
        }
    }
}
