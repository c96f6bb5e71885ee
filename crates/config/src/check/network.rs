//! The section `routes`, and with the ports the question: which addresses can be reached?
//!
//! Promises: every route's next hop is on a port's subnet; no prefix has two routes.
//! Does not know: neighbours, metrics, or the kernel's routes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ports::Ports;
use crate::address;
use crate::config::{Port, Route};
use crate::dip;
use crate::error::Report;
use crate::locate::Place;
use crate::spec::RouteSpec;

/// What is on a link and what lies behind it.
pub(super) struct Network {
    pub(super) ports: Vec<Port>,
    pub(super) routes: Vec<Route>,
    /// No address of a port was lost: whatever is on no subnet here is on none.
    pub(super) has_all_ports: bool,
    /// Nor was a route.
    pub(super) has_all_routes: bool,
}

impl Network {
    /// The subnets that hold `address`.
    pub(super) fn subnets_of(&self, address: IpAddr) -> impl Iterator<Item = &IpNet> {
        self.ports
            .iter()
            .flat_map(|port| &port.addresses)
            .filter(move |net| net.contains(&address))
    }

    /// Whether a port's subnet holds `address`, as far as is known.
    pub(super) fn is_on_link(&self, address: IpAddr) -> bool {
        self.subnets_of(address).next().is_some() || !self.has_all_ports
    }

    /// Whether a packet to `address` has somewhere to go, as far as is known.
    pub(super) fn reaches(&self, address: IpAddr) -> bool {
        self.is_on_link(address)
            || self.routes.iter().any(|route| route.to.contains(&address))
            || !self.has_all_routes
    }

    /// Whether no address of a port was lost.
    pub(super) fn has_whole_ports(&self) -> bool {
        self.has_all_ports && self.has_all_routes
    }

    /// The own address from which packets go to `address`.
    pub(super) fn own_address_towards(&self, address: IpAddr) -> Option<IpAddr> {
        dip::towards(address, &self.ports, &self.routes)
    }

    /// Refuses the network and broadcast addresses of ports' subnets.
    pub(super) fn require_no_end(&self, address: IpAddr) -> Result<(), String> {
        match self
            .subnets_of(address)
            .find(|subnet| !address::is_host_in(address, subnet))
        {
            Some(subnet) => Err(format!(
                "{address} is an end of the subnet {}; write the address of a host in it",
                subnet.trunc()
            )),
            None => Ok(()),
        }
    }

    /// The port whose own address this is.
    pub(super) fn port_with(&self, address: IpAddr) -> Option<&Port> {
        self.ports
            .iter()
            .find(|port| port.addresses.iter().any(|net| net.addr() == address))
    }
}

pub(super) fn resolve(
    report: &mut Report,
    ports: Ports,
    written: Option<&[RouteSpec]>,
    place: Place<'_>,
) -> Network {
    let mut network = Network {
        ports: ports.ports,
        routes: Vec::new(),
        has_all_ports: ports.is_whole,
        has_all_routes: true,
    };
    let n_before = report.n_problems();
    for (index, spec) in written.unwrap_or_default().iter().enumerate() {
        let route = route(report, spec, place.item(index), &network);
        network.routes.extend(route);
    }
    network.has_all_routes = report.n_problems() == n_before;
    network
}

fn route(
    report: &mut Report,
    spec: &RouteSpec,
    place: Place<'_>,
    network: &Network,
) -> Option<Route> {
    let to = required(spec.to.as_deref(), "to", "0.0.0.0/0")
        .and_then(address::parse_prefix)
        .and_then(|to| require_new(to, network));
    let to = report.keep(place.field("to").at(), to);
    let via = required(spec.via.as_deref(), "via", "192.0.2.1")
        .and_then(address::parse_address)
        .and_then(|via| require_next_hop(via, network));
    let via = report.keep(place.field("via").at(), via);
    let (to, via) = (to?, via?);
    if to.addr().is_ipv4() != via.is_ipv4() {
        let (family, other) = if to.addr().is_ipv4() {
            ("IPv4", "IPv6")
        } else {
            ("IPv6", "IPv4")
        };
        report.refuse(
            place.field("via").at(),
            format!(
                "the {family} prefix {to} has the {other} next hop {via}; write an {family} address"
            ),
        );
        return None;
    }
    Some(Route { to, via })
}

fn required<'a>(written: Option<&'a str>, key: &str, example: &str) -> Result<&'a str, String> {
    written
        .ok_or_else(|| format!("this route has no `{key}`; write one, as in {key}: \"{example}\""))
}

fn require_new(to: IpNet, network: &Network) -> Result<IpNet, String> {
    match network.routes.iter().find(|route| route.to == to) {
        Some(route) => Err(format!(
            "{to} has a route via {} already; keep one of the two",
            route.via
        )),
        None => Ok(to),
    }
}

fn require_next_hop(via: IpAddr, network: &Network) -> Result<IpAddr, String> {
    address::require_host(via)?;
    if let Some(port) = network.port_with(via) {
        return Err(format!(
            "the next hop {via} is port \"{}\" itself; write the router's address",
            port.name
        ));
    }
    if !network.is_on_link(via) {
        return Err(format!(
            "the next hop {via} is on no port's subnet; write a router that is, or give a port an address there"
        ));
    }
    network.require_no_end(via).map(|()| via)
}
