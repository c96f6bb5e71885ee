//! The two addresses of an IP packet.
//!
//! Promises: an ARP packet has none.
//! Does not know: which addresses are ours.

use std::net::IpAddr;

use weir_wire::{Content, Headers, ipv4, ipv6};

/// Source and destination of the outer IP header; `None` for ARP.
pub(crate) fn of_packet(frame: &[u8], headers: &Headers) -> Option<(IpAddr, IpAddr)> {
    let l3 = usize::from(headers.l3);
    if headers.content == Content::Arp {
        None
    } else if headers.is_ipv6() {
        ipv6::addresses(frame, l3).map(|(from, to)| (IpAddr::V6(from), IpAddr::V6(to)))
    } else {
        ipv4::addresses(frame, l3).map(|(from, to)| (IpAddr::V4(from), IpAddr::V4(to)))
    }
}

/// Whether a packet may come from this address.
pub(crate) fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => ipv4::is_answerable(address, address),
        IpAddr::V6(address) => ipv6::is_answerable(address, address),
    }
}
