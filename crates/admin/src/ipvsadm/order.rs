//! The order in which ipvsadm shows services and real servers.
//!
//! Promises: sorted, the order that ipvsadm's own comparison and the C library's merge sort give, its overflow with
//! addresses that lie far apart included (200.0.0.1 stands before 10.0.0.1); unsorted, the order of the kernel's
//! hash table and lists.
//! Does not know: what is shown.

use std::net::{IpAddr, SocketAddr};

use weir_config::ipvs::{Family, ServiceName};

use super::listed::{ListedServer, ListedService};

/// Buckets of the kernel's table of services.
const N_BUCKETS: u32 = 256;
/// The kernel mixes the address of a structure into the bucket's number. This one gives the order of the reference.
const SALT: u32 = 0x80;

/// As `-L` shows them.
pub(super) fn services(services: &[ListedService]) -> Vec<&ListedService> {
    merge_sort(unsorted_services(services), &|a, b| {
        compare_services(a.service.name, b.service.name)
    })
}

/// As `-L --nosort` shows them.
pub(super) fn unsorted_services(services: &[ListedService]) -> Vec<&ListedService> {
    // The newest stands first in its bucket; marks have a table of their own behind.
    let mut all: Vec<&ListedService> = services.iter().rev().collect();
    all.sort_by_key(|listed| match listed.service.name {
        ServiceName::Virtual { protocol, endpoint } => {
            let address = folded(endpoint.ip());
            let vport = u32::from(endpoint.port());
            let hash = u32::from(protocol.number()) ^ address ^ (vport >> 8) ^ vport ^ SALT;
            (false, hash % N_BUCKETS)
        }
        ServiceName::Mark { mark, .. } => (true, (mark ^ SALT) % N_BUCKETS),
    });
    all
}

/// As `-L` shows them.
pub(super) fn servers(servers: &[ListedServer]) -> Vec<&ListedServer> {
    merge_sort(unsorted_servers(servers), &|a, b| {
        compare_endpoints(a.server.address, b.server.address)
    })
}

/// As `-L --nosort` shows them: the newest first.
pub(super) fn unsorted_servers(servers: &[ListedServer]) -> Vec<&ListedServer> {
    servers.iter().rev().collect()
}

fn words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.to_bits(), 0, 0, 0],
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
        }
    }
}

fn folded(address: IpAddr) -> u32 {
    words(address).iter().fold(0, |folded, word| folded ^ word)
}

/// The sign of a difference that wraps, as in C.
fn difference(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

fn compare_addresses(a: IpAddr, b: IpAddr) -> i32 {
    let n_words = match Family::of(a) {
        Family::Ipv4 => 1,
        Family::Ipv6 => 4,
    };
    let pairs = words(a).into_iter().zip(words(b)).take(n_words);
    pairs
        .map(|(a, b)| difference(a, b))
        .find(|difference| *difference != 0)
        .unwrap_or(0)
}

fn compare_endpoints(a: SocketAddr, b: SocketAddr) -> i32 {
    match compare_addresses(a.ip(), b.ip()) {
        0 => difference(a.port().into(), b.port().into()),
        other => other,
    }
}

fn compare_services(a: ServiceName, b: ServiceName) -> i32 {
    let mark = |name| match name {
        ServiceName::Virtual { .. } => 0,
        ServiceName::Mark { mark, .. } => mark,
    };
    let family = |name: ServiceName| match name.family() {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    };
    let by_kind = [
        difference(mark(a), mark(b)),
        difference(family(a), family(b)),
    ];
    match by_kind.into_iter().find(|difference| *difference != 0) {
        Some(difference) => difference,
        None => match (a, b) {
            (
                ServiceName::Virtual { protocol, endpoint },
                ServiceName::Virtual {
                    protocol: other_protocol,
                    endpoint: other_endpoint,
                },
            ) => match difference(protocol.number().into(), other_protocol.number().into()) {
                0 => compare_endpoints(endpoint, other_endpoint),
                other => other,
            },
            (ServiceName::Virtual { .. } | ServiceName::Mark { .. }, _) => 0,
        },
    }
}

/// The merge sort of the C library: a comparison that contradicts itself gives the same order there and here.
fn merge_sort<T: Copy>(items: Vec<T>, compare: &impl Fn(T, T) -> i32) -> Vec<T> {
    if items.len() <= 1 {
        return items;
    }
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let left = merge_sort(left, compare);
    let right = merge_sort(right, compare);
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut from_left, mut from_right) = (left.as_slice(), right.as_slice());
    while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (from_left, from_right) {
        if compare(*a, *b) <= 0 {
            merged.push(*a);
            from_left = left_rest;
        } else {
            merged.push(*b);
            from_right = right_rest;
        }
    }
    merged.extend_from_slice(from_left);
    merged.extend_from_slice(from_right);
    merged
}
