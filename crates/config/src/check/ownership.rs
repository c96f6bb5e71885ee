//! One owner for each address: a port, a pool of local addresses, a VIP, or a real server.
//!
//! Promises: a VIP is no port's own address; a local address is neither of the two; a real server is none of the
//! three; tunnels begin in prefixes that hold none of them. So an ARP request has one answer, and a packet to a real server never comes back to weir by mistake.
//! Does not know: hosts that the configuration does not name.

use std::collections::HashMap;

use super::network::Network;
use super::pools::Pools;
use super::services::PlacedService;
use crate::config::{Method, Tun};
use crate::error::Report;

pub(super) fn check(
    report: &mut Report,
    network: &Network,
    pools: &Pools,
    services: &[PlacedService],
) {
    for service in services {
        for vip in &service.vips {
            if let Some(port) = network.port_with(vip.value) {
                report.refuse(
                    vip.at,
                    format!("the VIP {} is port \"{}\"'s own address; give the service an address of its own", vip.value, port.name),
                );
            }
        }
    }

    for (_, range) in pools.ranges() {
        let own = network
            .ports
            .iter()
            .flat_map(|port| port.addresses.iter().map(move |net| (port, net.addr())));
        for (port, address) in own.filter(|(_, address)| range.value.contains(*address)) {
            report.refuse(
                range.at,
                format!("the local address {address} is port \"{}\"'s own address; leave it out of the pool", port.name),
            );
        }
        let all = services
            .iter()
            .flat_map(|service| service.vips.iter().map(move |vip| (vip.value, service)));
        if let Some((vip, service)) = all.into_iter().find(|(vip, _)| range.value.contains(*vip)) {
            report.refuse(
                range.at,
                format!(
                    "the local address {vip} is the VIP of {}; leave it out of the pool",
                    service.service
                ),
            );
        }
    }

    // A million real servers are looked for among ten thousand VIPs.
    let mut by_vip = HashMap::with_capacity(services.len());
    for service in services {
        for vip in &service.vips {
            by_vip.entry(vip.value).or_insert(service);
        }
    }
    check_sources(report, services);
    for destination in services.iter().flat_map(|service| &service.destinations) {
        let address = destination.value;
        let owner = if let Some(port) = network.port_with(address) {
            format!("port \"{}\"'s own address", port.name)
        } else if let Some((pool, _)) = pools
            .ranges()
            .find(|(_, range)| range.value.contains(address))
        {
            format!("a local address of pool \"{}\"", pool.name)
        } else if let Some(service) = by_vip.get(&address) {
            format!("the VIP of {}", service.service)
        } else {
            continue;
        };
        report.refuse(
            destination.at,
            format!("the real server {address} is {owner}; write the address of another host"),
        );
    }
}

/// The prefixes in which tunnels begin hold no VIP and no real server, of whatever service.
fn check_sources(report: &mut Report, services: &[PlacedService]) {
    let mut all = HashMap::new();
    for placed in services {
        let service = &placed.service;
        for (destination, place) in service.destinations.iter().zip(&placed.destinations) {
            if let Method::Tun(Tun {
                sources: Some(sources),
                ..
            }) = service.method_of(destination)
            {
                all.entry(*sources).or_insert(*place);
            }
        }
    }
    for (sources, first) in all {
        let vips = services
            .iter()
            .flat_map(|placed| placed.service.vips())
            .map(|vip| vip.endpoint.ip());
        let servers = services.iter().flat_map(|service| &service.destinations);
        let mut owned = vips.chain(servers.map(|server| server.value));
        if let Some(address) = owned.find(|address| sources.contains(address)) {
            report.refuse(
                first.at,
                format!("the tunnel to {} begins in {sources}, where {address} is; write `sources` that are nobody's", first.value),
            );
        }
    }
}
