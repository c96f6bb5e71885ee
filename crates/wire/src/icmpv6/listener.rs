//! Multicast listener discovery, version 2 (RFC 3810): telling switches and routers which groups we listen to, so
//! that solicitations for our addresses reach us.
//!
//! Promises: a query that is recognised was sent on this link. Does not know: how often reports are repeated, nor
//! version 1, whose routers are long gone.

use std::net::Ipv6Addr;

use super::{PROTOCOL, fill_checksum, multicast_mac, neighbour};
use crate::ethernet::{self, EtherType, Mac};
use crate::{Content, Headers, checksum, ipv6};

/// All routers that understand version 2.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// Hop-by-hop options before ICMPv6: router alert for listener discovery (RFC 2711), padding.
const ROUTER_ALERT: [u8; 8] = [PROTOCOL, 0, 5, 2, 0, 0, 1, 0];

const QUERY: u8 = 130;
const QUERY_BYTES: usize = 24;
const REPORT: u8 = 143;
/// What is said on the link stays on the link.
const HOP_LIMIT: u8 = 1;
/// Groups told by one report: the packet stays below the least MTU of IPv6.
const MAX_GROUPS: usize = 60;

/// Why a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The groups are being joined: records of type 4, change to exclude mode, excluding nobody.
    Joined,
    /// A router asked: records of type 2, mode is exclude, excluding nobody.
    Queried,
}

/// Whether the ICMPv6 message of a frame is a query that is to be answered (RFC 3810 §5.1.14, §6.2).
///
/// `headers` is what [`Headers::parse`] learned of this frame.
pub fn is_query(frame: &[u8], headers: &Headers) -> bool {
    let (l3, l4, end) = (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    );
    headers.content == Content::Icmp
        && headers.is_ipv6()
        && headers.ttl == HOP_LIMIT
        && frame
            .get(l4..end)
            .is_some_and(|message| message.len() >= QUERY_BYTES && message[0] == QUERY)
        && ipv6::addresses(frame, l3).is_some_and(|(source, _)| source.is_unicast_link_local())
        && checksum::l4_is_right(frame, headers)
}

/// Whole frames with reports that this node listens to `groups`, as many frames as it takes. The group of all nodes
/// is left out: nobody asks for it (RFC 3810 §6).
///
/// `source` is a link-local address of ours, or unspecified as long as there is none (RFC 3590).
pub fn reports(
    occasion: Occasion,
    mac: Mac,
    source: Ipv6Addr,
    groups: &[Ipv6Addr],
) -> Vec<Vec<u8>> {
    let groups: Vec<Ipv6Addr> = groups
        .iter()
        .copied()
        .filter(|group| *group != neighbour::ALL_NODES)
        .collect();
    groups
        .chunks(MAX_GROUPS)
        .map(|groups| report(occasion, mac, source, groups))
        .collect()
}

fn report(occasion: Occasion, mac: Mac, source: Ipv6Addr, groups: &[Ipv6Addr]) -> Vec<u8> {
    let record = match occasion {
        Occasion::Joined => 4,
        Occasion::Queried => 2,
    };
    let mut message = vec![REPORT, 0, 0, 0, 0, 0];
    message.extend((groups.len() as u16).to_be_bytes());
    for group in groups {
        message.extend([record, 0, 0, 0]);
        message.extend(group.octets());
    }
    fill_checksum(&mut message, source, ALL_ROUTERS);
    let header = ipv6::NewHeader {
        source,
        destination: ALL_ROUTERS,
        next_header: ipv6::HOP_BY_HOP,
        hop_limit: HOP_LIMIT,
        payload_bytes: (ROUTER_ALERT.len() + message.len()) as u16,
    };
    let mut frame = vec![0; ethernet::HEADER_BYTES];
    ethernet::write(&mut frame, multicast_mac(ALL_ROUTERS), mac, EtherType::Ipv6);
    frame.extend(header.write());
    frame.extend(ROUTER_ALERT);
    frame.extend(message);
    frame
}
