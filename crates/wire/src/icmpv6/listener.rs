//! Multicast listener discovery (RFC 3810).
use std::net::Ipv6Addr;

use crate::Headers;
use crate::ethernet::Mac;

/// Why a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The groups are being joined.
    Joined,
    /// A router asked.
    Queried,
}

/// Whether the ICMPv6 message of a frame is a query.
pub fn is_query(_frame: &[u8], _headers: &Headers) -> bool {
    false
}

/// Whole frames with version 2 reports that this node listens to `groups`, as many frames as it takes.
pub fn reports(
    _occasion: Occasion,
    _mac: Mac,
    _source: Ipv6Addr,
    _groups: &[Ipv6Addr],
) -> Vec<Vec<u8>> {
    Vec::new()
}
