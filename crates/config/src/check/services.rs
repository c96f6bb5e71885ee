//! The section `services`.
//!
//! Promises: a service has a VIP, a protocol and a method that can work for its destinations; (protocol, VIP, vport)
//! is unique, and so is each endpoint within a service.
//! Does not know: who else claims an address (`ownership`).
//!
//! How it works: a choice that is refused is replaced by its default, so that the service with its addresses stays in
//! the picture for the checks that follow; without VIP or protocol it is none and drops out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::network::Network;
use super::persistence;
use super::pools::Pools;
use super::ports::{MTU_MINIMUM, MTU_MINIMUM_IPV6};
use super::{Placed, method, number_within, refuse_not_built, vips};
use crate::address;
use crate::config::{
    ClientAddress, Destination, Encapsulation, HashOptions, Method, Protocol, Scheduler, Service,
};
use crate::error::{Problem, Report, one_of};
use crate::ipvs::{Family, SchedulerFlags};
use crate::locate::{Place, Position};
use crate::spec::{DestinationSpec, MhSpec, ServiceSpec, ShSpec, Variant};
use crate::syntax;
use weir_director::Tunnel;

/// Those of IPVS.
const DEFAULT_SCHEDULER: Scheduler = Scheduler::Wlc;
const DEFAULT_WEIGHT: u16 = 1;

/// A service with the places of its addresses.
pub(super) struct PlacedService {
    pub(super) service: Service,
    /// As many as the service has, in its order.
    pub(super) vips: Vec<Placed<IpAddr>>,
    pub(super) destinations: Vec<Placed<IpAddr>>,
}

/// What surrounds a destination.
struct Vicinity<'a> {
    /// Those of its VIPs.
    protocols: &'a [Protocol],
    vip: Option<SocketAddr>,
    /// That of all VIPs, or 0.
    vport: u16,
    /// The service's.
    method: &'a Method,
    one_packet: bool,
    network: &'a Network,
    pools: &'a Pools,
}

pub(super) fn resolve(
    report: &mut Report,
    spec: Option<&[ServiceSpec]>,
    place: Place<'_>,
    network: &Network,
    pools: &Pools,
) -> Vec<PlacedService> {
    let mut services: Vec<PlacedService> = Vec::new();
    let mut by_vip = HashMap::new();
    for (index, spec) in spec.unwrap_or_default().iter().enumerate() {
        let place = place.item(index);
        let service = service(report, spec, place, network, pools);
        if let Some(service) = service {
            for (vip, place) in service.service.vips().zip(&service.vips) {
                match by_vip.entry(vip) {
                    Entry::Vacant(first) => {
                        first.insert(place.at.line);
                    }
                    Entry::Occupied(first) => {
                        let line = first.get();
                        let what = format!(
                            "the service {vip} stands in line {line} already; make them one, or change one"
                        );
                        report.refuse(place.at, what);
                    }
                }
            }
            services.push(service);
        }
        refuse_not_built(report, place, "health", &spec.health);
    }
    services
}

fn service(
    report: &mut Report,
    spec: &ServiceSpec,
    place: Place<'_>,
    network: &Network,
    pools: &Pools,
) -> Option<PlacedService> {
    let vips = vips::resolve(report, spec, place, network);
    let vip = vips.first;
    let scheduler = scheduler(report, spec.scheduler.as_ref(), place.field("scheduler"));
    let flags = scheduler_flags(spec.scheduler_flags.as_deref().unwrap_or_default());
    let scheduler_flags = report
        .keep(place.field("scheduler_flags").at(), flags)
        .unwrap_or_default();
    let persistence = spec.persistence.as_ref().zip(vip).and_then(|(spec, vip)| {
        let result = persistence::resolve(spec, Family::of(vip.ip()));
        report.keep(place.field("persistence").at(), result)
    });
    let method = method::resolve(
        report,
        spec.method.as_ref(),
        place.field("method"),
        &vips.protocols,
        pools,
    );
    let one_packet = one_packet(
        report,
        spec.one_packet,
        vips.of_streams(),
        place.field("one_packet"),
    );
    let vicinity = Vicinity {
        protocols: &vips.protocols,
        vip,
        vport: vips.vport(),
        method: &method,
        one_packet,
        network,
        pools,
    };

    let mut destinations: Vec<Destination> = Vec::new();
    let mut places = Vec::new();
    for (index, spec) in spec
        .destinations
        .as_deref()
        .unwrap_or_default()
        .iter()
        .enumerate()
    {
        let place = place.field("destinations").item(index);
        if let Some(destination) = destination(report, spec, place, &vicinity, &destinations) {
            places.push(Placed {
                value: destination.address.ip(),
                at: place.field("address").at(),
            });
            destinations.push(destination);
        }
    }

    refuse_too_many(report, scheduler, destinations.len(), place);

    let (first, further) = vips.all.split_first()?;
    let service = Service {
        protocol: first.value.protocol,
        vip: first.value.endpoint,
        further: further.iter().map(|vip| vip.value).collect(),
        scheduler,
        scheduler_flags,
        persistence,
        one_packet,
        method,
        destinations,
    };
    let vips = vips.all.iter().map(|vip| Placed {
        value: vip.value.endpoint.ip(),
        at: vip.at,
    });
    Some(PlacedService {
        service,
        vips: vips.collect(),
        destinations: places,
    })
}

fn require_routable(endpoint: SocketAddr, network: &Network) -> Result<SocketAddr, String> {
    address::require_routable(endpoint.ip())?;
    network.require_no_end(endpoint.ip())?;
    Ok(endpoint)
}

fn scheduler(report: &mut Report, written: Option<&Variant>, place: Place<'_>) -> Scheduler {
    let Some(written) = written else {
        return DEFAULT_SCHEDULER;
    };
    resolve_scheduler(written, place.at()).unwrap_or_else(|problem| {
        report.refuse(problem.at, problem.what);
        DEFAULT_SCHEDULER
    })
}

fn resolve_scheduler(written: &Variant, at: Position) -> Result<Scheduler, Problem> {
    const BUILT: [&str; 14] = [
        "Rr", "Wrr", "Lc", "Wlc", "Sed", "Nq", "Sh", "Dh", "Mh", "Fo", "Ovf", "Lblc", "Lblcr",
        "Twos",
    ];
    let plain = match written.name() {
        "Rr" => Scheduler::Rr,
        "Wrr" => Scheduler::Wrr,
        "Lc" => Scheduler::Lc,
        "Wlc" => Scheduler::Wlc,
        "Sed" => Scheduler::Sed,
        "Nq" => Scheduler::Nq,
        "Sh" => {
            let ShSpec { port, fallback } = syntax::parse_options(written, at)?;
            return Ok(Scheduler::Sh(hash_options(port, fallback)));
        }
        "Dh" => Scheduler::Dh,
        "Mh" => {
            let MhSpec { port, fallback } = syntax::parse_options(written, at)?;
            return Ok(Scheduler::Mh(hash_options(port, fallback)));
        }
        "Fo" => Scheduler::Fo,
        "Ovf" => Scheduler::Ovf,
        "Lblc" => Scheduler::Lblc,
        "Lblcr" => Scheduler::Lblcr,
        "Twos" => Scheduler::Twos,
        _ => {
            let what = refusal(written, &BUILT, &["Conhash", "Random"]);
            return Err(Problem { at, what });
        }
    };
    without_options(written, plain).map_err(|what| Problem { at, what })
}

fn one_packet(
    report: &mut Report,
    written: Option<bool>,
    of_streams: Option<Protocol>,
    place: Place<'_>,
) -> bool {
    let one_packet = written.unwrap_or_default();
    if let (true, Some(protocol)) = (one_packet, of_streams) {
        let protocol = protocol.to_string().to_uppercase();
        let what = format!(
            "one-packet scheduling is for datagrams, and this service is of {protocol}; write protocol: Udp, or remove it"
        );
        report.refuse(place.at(), what);
        return false;
    }
    one_packet
}

fn hash_options(port: Option<bool>, fallback: Option<bool>) -> HashOptions {
    let default = HashOptions::default();
    HashOptions {
        port: port.unwrap_or(default.port),
        fallback: fallback.unwrap_or(default.fallback),
    }
}

/// What `Mh` cannot hold.
fn refuse_too_many(
    report: &mut Report,
    scheduler: Scheduler,
    n_destinations: usize,
    place: Place<'_>,
) {
    if matches!(scheduler, Scheduler::Mh(_)) && n_destinations > Scheduler::MH_DESTINATIONS {
        let most = Scheduler::MH_DESTINATIONS;
        let what = format!(
            "Mh has room for {most} destinations, and this service has {n_destinations}; write Wlc, or leave some out"
        );
        report.refuse(place.field("scheduler").at(), what);
    }
}

fn scheduler_flags(written: &[i64]) -> Result<SchedulerFlags, String> {
    written
        .iter()
        .try_fold(SchedulerFlags::default(), |flags, number| match number {
            1 => Ok(flags.with(SchedulerFlags::FIRST)),
            2 => Ok(flags.with(SchedulerFlags::SECOND)),
            3 => Ok(flags.with(SchedulerFlags::THIRD)),
            other => Err(format!(
                "there is no scheduler flag {other}; write 1, 2 or 3"
            )),
        })
}

pub(super) fn without_options<T>(variant: &Variant, value: T) -> Result<T, String> {
    let name = variant.name();
    match variant.has_options() {
        true => Err(format!("`{name}` takes no options; write {name} alone")),
        false => Ok(value),
    }
}

/// Why a choice that is not built is none.
pub(super) fn refusal(variant: &Variant, built: &[&str], to_come: &[&str]) -> String {
    let name = variant.name();
    let choices = one_of(built);
    match to_come.contains(&name) {
        true => format!("`{name}` is not built yet; write {choices}"),
        false => format!("`{name}` is none of the choices here; write {choices}"),
    }
}

fn destination(
    report: &mut Report,
    spec: &DestinationSpec,
    place: Place<'_>,
    service: &Vicinity<'_>,
    others: &[Destination],
) -> Option<Destination> {
    let own_method = spec.method.as_ref().map(|written| {
        let place = place.field("method");
        let Vicinity {
            protocols, pools, ..
        } = *service;
        method::resolve(report, Some(written), place, protocols, pools)
    });
    let method = own_method.as_ref().unwrap_or(service.method);
    if service.one_packet && matches!(method, Method::FullNat(_)) {
        let what = "one-packet scheduling keeps no connection, without which no reply under FullNat finds its client; write method: Nat, Dr or Tun";
        report.refuse(place.field("method").at(), what);
    }
    let mut threshold = |key: &str, written: Option<i64>| {
        let most = i32::MAX.into();
        let result = number_within("the threshold", written.unwrap_or(0), 0, most);
        let number = report.keep(place.field(key).at(), result);
        number.map_or(0, |number| number as u32)
    };
    let upper_threshold = threshold("upper_threshold", spec.upper_threshold);
    let lower_threshold = threshold("lower_threshold", spec.lower_threshold);
    if lower_threshold > upper_threshold {
        let what = format!(
            "the lower threshold {lower_threshold} is above the upper one, which is {upper_threshold}; write no more than that"
        );
        report.refuse(place.field("lower_threshold").at(), what);
    }
    let weight = number_within(
        "the weight",
        spec.weight.unwrap_or(DEFAULT_WEIGHT.into()),
        0,
        u16::MAX.into(),
    );
    let weight = report.keep(place.field("weight").at(), weight);
    let address = spec
        .address
        .as_deref()
        .ok_or_else(|| {
            "this destination has no `address`; write one, as in address: \"10.0.0.11:8080\""
                .to_owned()
        })
        .and_then(address::parse_endpoint)
        .and_then(|address| require_real_server(address, method, service, others));
    let address = report.keep(place.field("address").at(), address);
    Some(Destination {
        address: address?,
        weight: weight.map_or(DEFAULT_WEIGHT, |weight| weight as u16),
        upper_threshold,
        lower_threshold,
        method: own_method,
    })
}

fn require_real_server(
    address: SocketAddr,
    method: &Method,
    service: &Vicinity<'_>,
    others: &[Destination],
) -> Result<SocketAddr, String> {
    let network = service.network;
    let address = require_routable(address, network)?;
    if let Some(vip) = service.vip {
        require_match(address, vip, service.vport, method)?;
    }
    if others.iter().any(|other| other.address == address) {
        return Err(format!(
            "the destination {address} stands in this service already; keep one, with the sum of the weights"
        ));
    }
    let server = address.ip();
    if !network.reaches(server) {
        return Err(format!(
            "no port's subnet and no route leads to the real server {server}; add a route, or correct the address"
        ));
    }
    match method {
        Method::Dr if !network.is_on_link(server) => Err(format!(
            "Dr changes nothing but MAC addresses, and the real server {server} is on no port's subnet; write one that is, or another method"
        )),
        Method::Tun(tun) => {
            require_tunnel(server, tun.encapsulation, service)?;
            if let Some(sources) = tun.sources {
                require_sources(server, sources, service)?;
            }
            Ok(address)
        }
        Method::FullNat(full_nat) => {
            require_local(&full_nat.local_pool, address, service)?;
            require_told(full_nat.client_address, address, service)?;
            Ok(address)
        }
        Method::Nat | Method::Dr => Ok(address),
    }
}

/// DPVS's forms stand in or behind an IP header of the client's version.
fn require_told(
    told: ClientAddress,
    address: SocketAddr,
    service: &Vicinity<'_>,
) -> Result<(), String> {
    let crosses_families = service
        .vip
        .is_some_and(|vip| vip.is_ipv4() != address.is_ipv4());
    match told {
        ClientAddress::UdpOption | ClientAddress::UdpHeader if crosses_families => Err(format!(
            "the real server {address} and the VIP are of different IP versions, and {} is for one; write ProxyV2 or None",
            told.name()
        )),
        ClientAddress::UdpOption
        | ClientAddress::UdpHeader
        | ClientAddress::Toa
        | ClientAddress::ProxyV1
        | ClientAddress::ProxyV2
        | ClientAddress::None => Ok(()),
    }
}

/// A real server is talked to from an address of its own family, on a way that takes what clients of the VIP's may send.
/// That there is no such pool is said of the method.
fn require_local(name: &str, address: SocketAddr, service: &Vicinity<'_>) -> Result<(), String> {
    let server = address.ip();
    if let Some(pool) = service.pools.find(name)
        && !pool.serves(address.is_ipv4())
    {
        return Err(format!(
            "the pool \"{name}\" has no {} address for the real server {address}; add one to it",
            family(server)
        ));
    }
    let network = service.network;
    let local = network.own_address_towards(server);
    let port = local.and_then(|local| network.port_with(local));
    // What a client makes no smaller becomes 20 bytes shorter, and as much longer by its address (TOA).
    match (service.vip, port) {
        (Some(SocketAddr::V6(_)), Some(port)) if port.mtu < MTU_MINIMUM_IPV6 => Err(format!(
            "port \"{}\" takes packets of {} bytes, and IPv6 clients of the real server {server} send up to {MTU_MINIMUM_IPV6} however little fits; raise its mtu to {MTU_MINIMUM_IPV6} at least",
            port.name, port.mtu
        )),
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

/// A tunnel has an end of ours, and room for what every link of the VIP's family takes.
fn require_tunnel(
    server: IpAddr,
    encapsulation: Encapsulation,
    service: &Vicinity<'_>,
) -> Result<(), String> {
    let network = service.network;
    let Some(local) = network.own_address_towards(server) else {
        return match network.has_whole_ports() {
            true => Err(format!(
                "the tunnel to {server} needs an address to begin at; give the port towards it an {} address",
                family(server)
            )),
            false => Ok(()),
        };
    };
    let tunnel = Tunnel::new(local, server, encapsulation);
    let port = network.port_with(local);
    if let (Some(tunnel), Some(port), Some(vip)) = (tunnel, port, service.vip) {
        let minimum = match vip {
            SocketAddr::V4(_) => MTU_MINIMUM,
            SocketAddr::V6(_) => MTU_MINIMUM_IPV6,
        };
        let (header_bytes, mtu) = (tunnel.header_bytes(), port.mtu);
        if mtu < minimum + header_bytes {
            return Err(format!(
                "port \"{}\" takes packets of {mtu} bytes, and the tunnel to {server} adds {header_bytes} to the {minimum} below which {} never goes; raise its mtu to {} at least",
                port.name,
                family(vip.ip()),
                minimum + header_bytes
            ));
        }
    }
    Ok(())
}

/// Outer source addresses are of the real server's family, and of no subnet where hosts have them.
fn require_sources(server: IpAddr, sources: IpNet, service: &Vicinity<'_>) -> Result<(), String> {
    if sources.addr().is_ipv4() != server.is_ipv4() {
        let (of_sources, of_server) = (family(sources.addr()), family(server));
        return Err(format!(
            "the tunnel to {server} begins in {sources}, which is of {of_sources}; write `sources` of {of_server}"
        ));
    }
    let mut subnets = service
        .network
        .ports
        .iter()
        .flat_map(|port| &port.addresses);
    let overlaps = |net: &&IpNet| sources.contains(&net.trunc()) || net.trunc().contains(&sources);
    if let Some(subnet) = subnets.find(overlaps) {
        return Err(format!(
            "the tunnel to {server} begins in {sources}, where hosts of the subnet {} are; write `sources` that are nobody's",
            subnet.trunc()
        ));
    }
    Ok(())
}

/// What a method asks of a real server's endpoint beside the VIP's.
fn require_match(
    address: SocketAddr,
    vip: SocketAddr,
    vport: u16,
    method: &Method,
) -> Result<(), String> {
    let crosses_families = vip.is_ipv4() != address.is_ipv4();
    if crosses_families && matches!(method, Method::Nat | Method::Dr) {
        let (server, service) = (family(address.ip()), family(vip.ip()));
        return Err(format!(
            "the real server {address} speaks {server} and the VIP {service}, and only FullNat and Tun reach from one to the other; write an {service} address, or another method"
        ));
    }
    let keeps_l4_port = address.port() == 0 || address.port() == vport;
    if matches!(method, Method::Dr | Method::Tun(_)) && !keeps_l4_port {
        let theirs = match vport {
            0 => "whatever L4 port they chose".to_owned(),
            vport => format!("L4 port {vport}"),
        };
        return Err(format!(
            "the real server gets packets as clients sent them, to {theirs}, and {address} names another; write {}",
            SocketAddr::new(address.ip(), vport)
        ));
    }
    Ok(())
}

pub(super) fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    }
}
