//! Translation between IPv4 and IPv6 (RFC 7915): a packet gets an IP header of the other version, an ICMP error its
//! counterpart.
//!
//! ```text
//!   | Ethernet | IPv4 with options  | TCP or UDP … |        | Ethernet | IP | ICMP | IP  | quoted TCP or UDP … |
//!        ↓               ↓                                      ↓         ↓     ↓     ↓
//!   | Ethernet | IPv6               | TCP or UDP … |        | Ethernet | IP | ICMP | IP  | quoted TCP or UDP … |
//! ```
//!
//! Promises: traffic class and ECN are copied, TTL or hop limit is one less, the flow label is 0, IPv4 options and IPv6
//! extension headers go; what stands behind the IP headers is not moved. A TCP or UDP checksum that was right stays
//! right, one that was wrong stays wrong; a datagram that came over IPv4 without one gets it.
//! Does not know: which addresses stand for which, whether the packet fits its way, fragments.

use crate::checksum::{self, Delta};
use crate::ethernet::{self, EtherType};
use crate::{
    Content, FlowKey, Headers, NoRoom, Packet, Protocol, icmp, icmpv6, ipv4, ipv6, sctp, tcp, udp,
};

/// IPv4 packets of up to so many bytes may be fragmented on their way (RFC 7915 §5.1): those that IPv6, whose least MTU
/// is 1280, never makes any smaller.
const MAX_FRAGMENTABLE_BYTES: u16 = 1260;
/// Bytes of the largest ICMPv6 error (RFC 4443 §2.4 (c)).
const MAX_ICMPV6_BYTES: usize = 1280;
/// Bytes of the longest new beginning of a frame: Ethernet with a tag, IPv6, ICMP, quoted IPv6.
const MAX_FRONT_BYTES: usize =
    ethernet::HEADER_BYTES + ethernet::VLAN_TAG_BYTES + 2 * ipv6::HEADER_BYTES + icmp::HEADER_BYTES;

/// Bytes of an IP header as it is written for packets with these ends.
#[inline]
pub fn ip_header_bytes(ends: &FlowKey) -> u16 {
    match ends {
        FlowKey::V4(_) => ipv4::HEADER_BYTES as u16,
        FlowKey::V6(_) => ipv6::HEADER_BYTES as u16,
    }
}

/// Whether a packet says nothing that the other version of IP has no words for: no source route that is still to be gone
/// (RFC 7915 §4.1; over IPv6 no such packet parses), and over IPv6 a UDP checksum, without which no host takes it there
/// (RFC 8200 §8.1).
pub fn is_translatable(frame: &[u8], headers: &Headers) -> bool {
    if headers.is_ipv6() {
        headers.content != Content::Udp || has_udp_checksum(frame, headers)
    } else {
        let options = usize::from(headers.l3) + ipv4::HEADER_BYTES..usize::from(headers.l4);
        !frame.get(options).is_some_and(ipv4::has_source_route)
    }
}

fn has_udp_checksum(frame: &[u8], headers: &Headers) -> bool {
    let at = usize::from(headers.l4) + udp::CHECKSUM;
    frame.get(at..at + 2).is_some_and(|field| field != [0, 0])
}

/// Gives a TCP segment or UDP datagram an IP header of the other version, and the L4 ports, of `ends`. `l4_delta` is what
/// that does to its checksum. What TCP options added (`n_inserted` bytes) is behind the fixed TCP header already.
///
/// `identification` is for an IPv4 packet that may be fragmented. `headers` is what [`Headers::parse`] learned of this
/// packet. `Err`: it is as it came in.
pub fn packet(
    packet: &mut Packet<'_>,
    headers: &Headers,
    n_inserted: u16,
    ends: &FlowKey,
    l4_delta: Delta,
    identification: u16,
) -> Result<(), NoRoom> {
    let frame = packet.frame();
    let n_carried = (headers.end - headers.l4).saturating_add(n_inserted);
    let new_header = IpHeader {
        protocol: ends.protocol().number(),
        traffic_class: traffic_class(frame, headers.l3, headers.is_ipv6()),
        ttl: headers.ttl.saturating_sub(1),
        payload_bytes: n_carried,
        identification,
    };
    let mut front = Front::default();
    front.push_ethernet(frame, headers.l3, ends)?;
    front.push_ip(ends, &new_header)?;
    let lacks_checksum =
        headers.content == Content::Udp && !has_udp_checksum(frame, headers) && is_ipv6(ends);
    packet.replace_front(headers.l4, front.bytes())?;
    packet.truncate((front.n_bytes as u16).saturating_add(n_carried));

    let l4_ports = ends.l4_ports().to_ne_bytes();
    let l4 = &mut packet.frame_mut()[front.n_bytes..];
    match ends.protocol() {
        Protocol::Tcp => {
            if let Some(header) = l4.first_chunk_mut() {
                tcp::rewrite(header, l4_ports, l4_delta);
            }
        }
        Protocol::Udp => {
            if let Some(header) = l4.first_chunk_mut() {
                udp::rewrite(header, l4_ports, l4_delta);
            }
        }
        // Its checksum knows nothing of addresses.
        Protocol::Sctp => {
            if let Some(header) = l4.first_chunk_mut() {
                sctp::rewrite(header, l4_ports, n_carried);
            }
        }
    }
    if lacks_checksum && let Ok(headers) = Headers::parse(packet.frame()) {
        // RFC 7915 §4.5.
        checksum::fill_l4(packet.frame_mut(), &headers);
    }
    Ok(())
}

/// What is known of the way of packets that an ICMP error is about, as its receiver sends them.
#[derive(Clone, Copy, Debug)]
pub struct PathMtu {
    /// Bytes that are inserted into them, the difference between IP headers aside.
    pub n_inserted: u16,
    /// The largest of them that gets as far as the director can see.
    pub most: u16,
}

/// The header of the counterpart of an ICMP or ICMPv6 error, its checksum 0 (RFC 7915 §4.2, §5.2). `None`: it has none.
///
/// `headers` is what [`Headers::parse`] learned of the frame.
pub fn error_header(frame: &[u8], headers: &Headers, path: PathMtu) -> Option<[u8; 8]> {
    let l4 = usize::from(headers.l4);
    let header = frame.get(l4..)?.first_chunk()?;
    if headers.is_ipv6() {
        icmp_header(header, path)
    } else {
        let quoted = frame.get(l4 + icmp::HEADER_BYTES..)?.first_chunk()?;
        icmpv6_header(header, quoted, path)
    }
}

/// From ICMP to ICMPv6 (RFC 7915 §4.2).
fn icmpv6_header(
    header: &[u8; icmp::HEADER_BYTES],
    quoted: &[u8; ipv4::HEADER_BYTES],
    path: PathMtu,
) -> Option<[u8; 8]> {
    const MIN_MTU: u32 = 1280;
    let [kind, code, _, _, pointer, _, mtu @ ..] = *header;
    let plain = |kind, code| Some([kind, code, 0, 0, 0, 0, 0, 0]);
    let with = |kind, code, rest: u32| {
        let [a, b, c, d] = rest.to_be_bytes();
        Some([kind, code, 0, 0, a, b, c, d])
    };
    match (kind, code) {
        (icmp::UNREACHABLE, 0 | 1 | 5 | 6 | 7 | 8 | 11 | 12) => plain(icmpv6::UNREACHABLE, 0),
        // No such protocol: the next header field is the problem.
        (icmp::UNREACHABLE, 2) => with(icmpv6::PARAMETER_PROBLEM, 1, 6),
        (icmp::UNREACHABLE, 3) => plain(icmpv6::UNREACHABLE, 4),
        (icmp::UNREACHABLE, 4) => {
            let mtu = match u16::from_be_bytes(mtu) {
                0 => plateau(u16::from_be_bytes([quoted[2], quoted[3]])),
                mtu => mtu,
            };
            let growth = (ipv6::HEADER_BYTES - ipv4::HEADER_BYTES) as u32;
            let mtu = (u32::from(mtu) + growth).saturating_sub(u32::from(path.n_inserted));
            let mtu = mtu.min(u32::from(path.most)).max(MIN_MTU);
            with(icmpv6::PACKET_TOO_BIG, 0, mtu)
        }
        (icmp::UNREACHABLE, 9 | 10 | 13 | 15) => plain(icmpv6::UNREACHABLE, 1),
        (icmp::TIME_EXCEEDED, code) => plain(icmpv6::TIME_EXCEEDED, code),
        (icmp::PARAMETER_PROBLEM, 0 | 2) => {
            let pointer = match pointer {
                0 => 0,
                1 => 1,
                2 | 3 => 4,
                8 => 7,
                9 => 6,
                12..=15 => 8,
                16..=19 => 24,
                _ => return None,
            };
            with(icmpv6::PARAMETER_PROBLEM, 0, pointer)
        }
        _ => None,
    }
}

/// What a router from before RFC 1191, which names no MTU, may have meant: the greatest of the usual ones that is less
/// than the packet's total length.
fn plateau(total_bytes: u16) -> u16 {
    const PLATEAUS: [u16; 7] = [65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492];
    PLATEAUS
        .into_iter()
        .find(|plateau| *plateau < total_bytes)
        .unwrap_or(0)
}

/// From ICMPv6 to ICMP (RFC 7915 §5.2).
fn icmp_header(header: &[u8; icmpv6::HEADER_BYTES], path: PathMtu) -> Option<[u8; 8]> {
    /// What every host and router takes (RFC 791).
    const MIN_MTU: u32 = 68;
    let [kind, code, _, _, rest @ ..] = *header;
    let rest = u32::from_be_bytes(rest);
    let plain = |kind, code| Some([kind, code, 0, 0, 0, 0, 0, 0]);
    match (kind, code) {
        (icmpv6::UNREACHABLE, 0 | 2 | 3) => plain(icmp::UNREACHABLE, 1),
        (icmpv6::UNREACHABLE, 1) => plain(icmp::UNREACHABLE, 10),
        (icmpv6::UNREACHABLE, 4) => plain(icmp::UNREACHABLE, 3),
        (icmpv6::PACKET_TOO_BIG, _) => {
            let shrinkage = (ipv6::HEADER_BYTES - ipv4::HEADER_BYTES) as u32;
            let mtu = rest.saturating_sub(shrinkage + u32::from(path.n_inserted));
            let mtu = mtu.min(u32::from(path.most)).max(MIN_MTU) as u16;
            let [high, low] = mtu.to_be_bytes();
            Some([icmp::UNREACHABLE, 4, 0, 0, 0, 0, high, low])
        }
        (icmpv6::TIME_EXCEEDED, code) => plain(icmp::TIME_EXCEEDED, code),
        (icmpv6::PARAMETER_PROBLEM, 0) => {
            let pointer = match rest {
                0 => 0,
                1 => 1,
                4 | 5 => 2,
                6 => 9,
                7 => 8,
                8..=23 => 12,
                24..=39 => 16,
                _ => return None,
            };
            Some([icmp::PARAMETER_PROBLEM, 0, 0, 0, pointer, 0, 0, 0])
        }
        // No such protocol.
        (icmpv6::PARAMETER_PROBLEM, 1) => plain(icmp::UNREACHABLE, 2),
        _ => None,
    }
}

/// Turns an ICMP error into its counterpart, whose header is `header` ([`error_header`]), between the addresses of
/// `outer`, about a packet with the addresses of `quoted`; both keys are of the other version than the packet. What the
/// quoted packet carries is left as it is; extensions behind it (RFC 4884) go.
///
/// `identification` and `headers` as for [`packet`]. `Err`: it is as it came in.
pub fn error(
    packet: &mut Packet<'_>,
    headers: &Headers,
    header: [u8; 8],
    outer: &FlowKey,
    quoted: &FlowKey,
    identification: u16,
) -> Result<(), NoRoom> {
    let frame = packet.frame();
    let quoted_header = quoted_header(frame, headers, quoted).ok_or(NoRoom)?;
    let ip_bytes = usize::from(ip_header_bytes(outer));
    let mut n_quoted = quotation_end(frame, headers).saturating_sub(usize::from(headers.quoted_l4));
    if is_ipv6(outer) {
        n_quoted = n_quoted.min(MAX_ICMPV6_BYTES - 2 * ip_bytes - icmp::HEADER_BYTES);
    }
    let new_header = IpHeader {
        protocol: if is_ipv6(outer) {
            icmpv6::PROTOCOL
        } else {
            icmp::PROTOCOL
        },
        traffic_class: traffic_class(frame, headers.l3, headers.is_ipv6()),
        ttl: headers.ttl.saturating_sub(1),
        payload_bytes: (icmp::HEADER_BYTES + ip_bytes + n_quoted) as u16,
        identification,
    };
    let mut front = Front::default();
    front.push_ethernet(frame, headers.l3, outer)?;
    front.push_ip(outer, &new_header)?;
    let message_at = front.n_bytes;
    front.push(&header)?;
    front.push_ip(quoted, &quoted_header)?;
    packet.replace_front(headers.quoted_l4, front.bytes())?;
    packet.truncate((front.n_bytes + n_quoted) as u16);
    let message = &mut packet.frame_mut()[message_at..];
    match outer {
        FlowKey::V4(_) => icmp::fill_checksum(message),
        FlowKey::V6(outer) => {
            icmpv6::fill_checksum(message, outer.source(), outer.destination());
        }
    }
    Ok(())
}

/// Where what an error quotes ends: at the end of the packet, or before extensions (RFC 4884 §5).
fn quotation_end(frame: &[u8], headers: &Headers) -> usize {
    let (l4, end) = (usize::from(headers.l4), usize::from(headers.end));
    let length = |at: usize, unit: usize| frame.get(l4 + at).map_or(0, |n| usize::from(*n) * unit);
    let told = match (headers.is_ipv6(), frame.get(l4).copied()) {
        (true, Some(icmpv6::UNREACHABLE | icmpv6::TIME_EXCEEDED)) => length(4, 8),
        (false, Some(icmp::UNREACHABLE | icmp::TIME_EXCEEDED | icmp::PARAMETER_PROBLEM)) => {
            length(5, 4)
        }
        _ => 0,
    };
    let quoted_end = l4 + icmp::HEADER_BYTES + told;
    let is_possible = (usize::from(headers.quoted_l4) + 8..end).contains(&quoted_end);
    if is_possible { quoted_end } else { end }
}

/// The IP header of the quoted packet as its sender wrote it; TTL and traffic class are what routers made of them.
fn quoted_header(frame: &[u8], headers: &Headers, quoted: &FlowKey) -> Option<IpHeader> {
    let at = headers.l4 + icmp::HEADER_BYTES as u16;
    let header: &[u8; ipv4::HEADER_BYTES] = frame.get(usize::from(at)..)?.first_chunk()?;
    let above = headers.quoted_l4.saturating_sub(at);
    let (ttl, payload_bytes) = if headers.is_ipv6() {
        let told = u16::from_be_bytes([header[4], header[5]]);
        let n_extension_bytes = above.saturating_sub(ipv6::HEADER_BYTES as u16);
        (header[7], told.saturating_sub(n_extension_bytes))
    } else {
        let told = u16::from_be_bytes([header[2], header[3]]);
        (header[8], told.saturating_sub(above))
    };
    Some(IpHeader {
        protocol: quoted.protocol().number(),
        traffic_class: traffic_class(frame, at, headers.is_ipv6()),
        ttl,
        payload_bytes,
        // What its sender's was nobody knows.
        identification: 0,
    })
}

fn is_ipv6(ends: &FlowKey) -> bool {
    matches!(ends, FlowKey::V6(_))
}

/// Traffic class or type of service, ECN included, of the packet whose header is at `l3`.
fn traffic_class(frame: &[u8], l3: u16, is_ipv6: bool) -> u8 {
    match frame.get(usize::from(l3)..) {
        Some([first, second, ..]) if is_ipv6 => first << 4 | second >> 4,
        Some([_, second, ..]) => *second,
        Some(_) | None => 0,
    }
}

/// What an IP header says beside its addresses.
struct IpHeader {
    protocol: u8,
    traffic_class: u8,
    ttl: u8,
    payload_bytes: u16,
    /// Of an IPv4 packet that may be fragmented.
    identification: u16,
}

/// A new beginning for a frame.
struct Front {
    bytes: [u8; MAX_FRONT_BYTES],
    n_bytes: usize,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            bytes: [0; MAX_FRONT_BYTES],
            n_bytes: 0,
        }
    }
}

impl Front {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.n_bytes]
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.n_bytes + bytes.len();
        let place = self.bytes.get_mut(self.n_bytes..end).ok_or(NoRoom)?;
        place.copy_from_slice(bytes);
        self.n_bytes = end;
        Ok(())
    }

    /// What the frame has before its IP header, a tag included, with the EtherType of `ends`.
    fn push_ethernet(&mut self, frame: &[u8], l3: u16, ends: &FlowKey) -> Result<(), NoRoom> {
        let ether_type = if is_ipv6(ends) {
            EtherType::Ipv6
        } else {
            EtherType::Ipv4
        };
        let before = usize::from(l3).checked_sub(2).ok_or(NoRoom)?;
        self.push(frame.get(..before).ok_or(NoRoom)?)?;
        self.push(&(ether_type as u16).to_be_bytes())
    }

    fn push_ip(&mut self, ends: &FlowKey, header: &IpHeader) -> Result<(), NoRoom> {
        let IpHeader {
            protocol,
            traffic_class,
            ttl,
            payload_bytes,
            identification,
        } = *header;
        match *ends {
            FlowKey::V4(ends) => {
                let new = ipv4::NewHeader {
                    source: ends.source(),
                    destination: ends.destination(),
                    protocol,
                    ttl,
                    payload_bytes,
                };
                let total_bytes = payload_bytes.saturating_add(ipv4::HEADER_BYTES as u16);
                let forbids_fragmentation = total_bytes > MAX_FRAGMENTABLE_BYTES;
                self.push(&new.write_carrying(traffic_class, forbids_fragmentation, identification))
            }
            FlowKey::V6(ends) => {
                let new = ipv6::NewHeader {
                    source: ends.source(),
                    destination: ends.destination(),
                    next_header: protocol,
                    hop_limit: ttl,
                    payload_bytes,
                };
                self.push(&new.write_carrying(traffic_class))
            }
        }
    }
}
