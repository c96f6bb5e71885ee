//! What an address may stand for, by its number alone.
//!
//! Promises: what RFC 1122 and RFC 4443 say of senders. Does not know: which addresses are ours.

use std::net::IpAddr;

use weir_wire::{ipv4, ipv6};

/// Whether a packet may come from this address.
pub(crate) fn is_one_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => ipv4::is_answerable(address, address),
        IpAddr::V6(address) => ipv6::is_answerable(address, address),
    }
}
