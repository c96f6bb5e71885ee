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

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// Nothing.
    #[default]
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
    /// Without the bits that vary.
    local: IpAddr,
    remote: IpAddr,
    encapsulation: Encapsulation,
    /// Bits at the end of the outer source address that vary with the flow; 0: none do.
    varied: u32,
}

impl Tunnel {
    /// A tunnel between two addresses of one family; `None` when they are not.
    pub fn new(local: IpAddr, remote: IpAddr, encapsulation: Encapsulation) -> Option<Self> {
        (local.is_ipv4() == remote.is_ipv4()).then_some(Self {
            local,
            remote,
            encapsulation,
            varied: 0,
        })
    }

    /// The same from a prefix in the place of one address: each flow has its own source in it, so that the network and the
    /// far end's queues, which see outer addresses alone, share flows out. `network` is of the tunnel's family, and zero
    /// behind its first `prefix_bits`; of more than 32 bits behind them the last 32 vary.
    pub fn from_prefix(self, network: IpAddr, prefix_bits: u8) -> Option<Self> {
        let address_bits: u8 = if network.is_ipv4() { 32 } else { 128 };
        let n_varied = u32::from(address_bits.checked_sub(prefix_bits)?);
        let varied = u32::MAX
            .checked_shl(n_varied)
            .map_or(u32::MAX, |fixed| !fixed);
        (network.is_ipv4() == self.remote.is_ipv4()).then_some(Self {
            local: network,
            varied,
            ..self
        })
    }

    /// Whether the outer packet is of IPv4.
    #[inline]
    pub fn is_ipv4(&self) -> bool {
        self.local.is_ipv4()
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

    /// Where it begins; the first address, of a prefix.
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// Whether each flow has a source address of its own.
    #[inline]
    pub fn is_varied(&self) -> bool {
        self.varied != 0
    }

    /// The tunnel as the packets of one flow take it: from an address that `flow_hash` picks.
    #[cold]
    pub fn of_flow(&self, flow_hash: u64) -> Self {
        Self {
            local: self.varied_source(flow_hash as u32),
            varied: 0,
            ..*self
        }
    }

    fn varied_source(&self, number: u32) -> IpAddr {
        let varied = number & self.varied;
        match self.local {
            IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() | varied).into(),
            IpAddr::V6(network) => {
                Ipv6Addr::from_bits(network.to_bits() | u128::from(varied)).into()
            }
        }
    }

    /// Whether outer packets may come from an address.
    fn is_source(&self, address: IpAddr) -> bool {
        match (self.local, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                address.to_bits() & !self.varied == network.to_bits()
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                address.to_bits() & !u128::from(self.varied) == network.to_bits()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Where it ends: the real server.
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// Whether routers may cut the outer packet of an inner one, of which `headers` was parsed, if it is too big for a link.
    pub fn may_be_cut(&self, frame: &[u8], headers: &Headers) -> bool {
        let ip_bytes = headers.ip_bytes();
        let inner = frame.get(usize::from(headers.l3)..);
        let inner = inner.map(|packet| Inner::read(packet, ip_bytes, headers.is_ipv6()));
        self.local.is_ipv4() && inner.is_some_and(|inner| !inner.forbids_fragmentation)
    }

    /// Whether an outer packet of this tunnel looks so: its addresses, protocol number, and what of it stands behind the IP
    /// header, of which 8 bytes must be there.
    pub(crate) fn is_its_packet(&self, source: IpAddr, protocol: u8, behind: &[u8]) -> bool {
        let Some(behind) = behind.first_chunk::<8>() else {
            return false;
        };
        let is_ip = |version: u8| matches!((protocol, version), (INNER_IPV4, 4) | (INNER_IPV6, 6));
        self.is_source(source)
            && match self.encapsulation {
                Encapsulation::Ipip => is_ip(behind[0] >> 4),
                Encapsulation::Gre { checksum } => {
                    let flags = if checksum { GRE_CHECKSUM } else { 0 };
                    let carried = u16::from_be_bytes([behind[2], behind[3]]);
                    let is_ip = [EtherType::Ipv4, EtherType::Ipv6]
                        .iter()
                        .any(|ether_type| *ether_type as u16 == carried);
                    protocol == GRE && behind[..2] == [flags, 0] && is_ip
                }
                Encapsulation::Gue {
                    destination_port, ..
                } => protocol == UDP && behind[2..4] == destination_port.to_be_bytes(),
            }
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
    /// source port, so that the way there and the far end's queues are shared out. The source is the tunnel's first
    /// address (see [`Self::of_flow`]).
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
        let inner = Inner::read(&packet.frame()[l3..], ip_bytes, headers.is_ipv6());
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
    fn read(packet: &[u8], ip_bytes: u16, is_ipv6: bool) -> Self {
        if is_ipv6 {
            Self {
                traffic_class: packet[0] << 4 | packet[1] >> 4,
                // What every link takes may be cut on one that takes less (RFC 4213 §3.2.2).
                forbids_fragmentation: ip_bytes > ipv6::MIN_MTU,
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
