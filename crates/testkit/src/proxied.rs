//! What stands before a PROXY header's end, read by the crate `ppp`, which knows nothing of weir.

use std::net::IpAddr;

use ppp::{HeaderResult, v1, v2};
use weir_wire::Endpoint;

/// A stream or datagram with its PROXY header taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// 1 or 2.
    pub version: u8,
    /// Whether it says that it is of UDP.
    pub is_udp: bool,
    /// The client.
    pub source: Endpoint,
    /// Whom it asked.
    pub destination: Endpoint,
    /// Bytes of the header.
    pub header_bytes: usize,
    /// What follows.
    pub data: Vec<u8>,
}

/// Reads the header that `bytes` begin with; `None` where there is none, or not all of it.
pub fn proxied(bytes: &[u8]) -> Option<Proxied> {
    let (version, is_udp, ends, header_bytes) = match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => {
            let header = header.ok()?;
            (1, false, v1_ends(header.addresses)?, header.header.len())
        }
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            let is_udp = header.protocol == v2::Protocol::Datagram;
            (2, is_udp, v2_ends(header.addresses)?, header.len())
        }
    };
    Some(Proxied {
        version,
        is_udp,
        source: ends[0],
        destination: ends[1],
        header_bytes,
        data: bytes[header_bytes..].to_vec(),
    })
}

fn ends<T: Into<IpAddr>>(source: (T, u16), destination: (T, u16)) -> Option<[Endpoint; 2]> {
    Some([source, destination].map(|(address, l4_port)| Endpoint::new(address.into(), l4_port)))
}

fn v1_ends(addresses: v1::Addresses) -> Option<[Endpoint; 2]> {
    match addresses {
        v1::Addresses::Tcp4(of) => ends(
            (of.source_address, of.source_port),
            (of.destination_address, of.destination_port),
        ),
        v1::Addresses::Tcp6(of) => ends(
            (of.source_address, of.source_port),
            (of.destination_address, of.destination_port),
        ),
        v1::Addresses::Unknown => None,
    }
}

fn v2_ends(addresses: v2::Addresses) -> Option<[Endpoint; 2]> {
    match addresses {
        v2::Addresses::IPv4(of) => ends(
            (of.source_address, of.source_port),
            (of.destination_address, of.destination_port),
        ),
        v2::Addresses::IPv6(of) => ends(
            (of.source_address, of.source_port),
            (of.destination_address, of.destination_port),
        ),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}
