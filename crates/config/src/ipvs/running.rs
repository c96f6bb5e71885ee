//! A running configuration as IPVS's table, and the configuration that a changed table means.
//!
//! Promises: what the table says of a configuration, taken back unchanged, is that configuration. A change goes the
//! way of a reload: written as RON, read and checked again; so what is accepted can be saved, and read from there. Of
//! many changes each is made or refused for itself, in their order.
//! Does not know: how the outcome is published.
//!
//! What ipvsadm can say and the configuration cannot is refused in [`meant_service`] and what it calls, by name, with
//! [`lacking`]: remote checksums in tunnels. What the configuration can say and the director cannot do is refused
//! where files are checked (`refuse_not_built`), and so for ipvsadm too: lifted there, it works here. Firewall marks are
//! kept as they are said: they match nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{
    Edit, EditError, Entry, MarkedService, RealServer, SchedulerFlags, ServiceName, Table,
    Timeouts, Transport, VirtualService, method,
};
use crate::address::AddressRange;
use crate::config::{
    Config, Destination, HashOptions, LocalPool, Method, Protocol, Scheduler, Service,
};
use crate::save;

/// Pools of services that have local addresses of their own are called this and their service.
pub(crate) const OWN_POOL: &str = "ipvsadm-";

/// Makes the changes in their order, as far as they are not refused: what the configuration becomes, and what came of
/// each. `allowed_cpus` as for [`Config::parse`].
pub fn edit(
    config: &Config,
    edits: &[Edit],
    allowed_cpus: &[usize],
) -> (Config, Vec<Result<(), EditError>>) {
    let mut progress = Progress {
        config: config.clone(),
        table: table(config),
        allowed_cpus,
        outcomes: Vec::with_capacity(edits.len()),
    };
    progress.settle(edits);
    (progress.config, progress.outcomes)
}

struct Progress<'a> {
    config: Config,
    /// Invariant: that of `config`.
    table: Table,
    allowed_cpus: &'a [usize],
    outcomes: Vec<Result<(), EditError>>,
}

impl Progress<'_> {
    /// All changes together cost one check. If it finds fault, the first half is tried and then the second, down to
    /// the changes that are at fault.
    fn settle(&mut self, edits: &[Edit]) {
        let mut table = self.table.clone();
        let outcomes: Vec<_> = edits.iter().map(|edit| table.apply(edit)).collect();
        let is_change = |(edit, outcome): (&Edit, &Result<(), EditError>)| {
            outcome.is_ok() && !matches!(edit, Edit::Zero(_))
        };
        if !edits.iter().zip(&outcomes).any(is_change) {
            self.outcomes.extend(outcomes);
            return;
        }
        match checked(&self.config, &table, self.allowed_cpus) {
            Ok(config) => {
                self.table = self::table(&config);
                self.config = config;
                self.outcomes.extend(outcomes);
            }
            Err(sentence) if edits.len() == 1 => {
                self.outcomes.push(Err(EditError::Refused(sentence)));
            }
            Err(_) => {
                let (first, second) = edits.split_at(edits.len() / 2);
                self.settle(first);
                self.settle(second);
            }
        }
    }
}

/// The way of a reload, down to the text.
fn checked(old: &Config, table: &Table, allowed_cpus: &[usize]) -> Result<Config, String> {
    let config = meant(old, table)?;
    let text = save::to_ron(&config);
    Config::parse(&text, "ipvsadm", allowed_cpus).map_err(|errors| {
        let first = errors.problems().first();
        first.map_or_else(String::new, |problem| problem.what.clone())
    })
}

/// What IPVS's tools see of a configuration.
pub fn table(config: &Config) -> Table {
    let pools: HashMap<&str, &LocalPool> = config
        .local_pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool))
        .collect();
    let services = config.services.iter().enumerate().map(|(place, service)| {
        let name = name(service.protocol, service.vip);
        let locals = pools.get(own_pool(name).as_str()).map(|pool| {
            pool.ranges
                .iter()
                .flat_map(AddressRange::addresses)
                .collect()
        });
        Entry {
            service: said_service(name, service),
            servers: service
                .destinations
                .iter()
                .map(|destination| said_server(service, destination))
                .collect(),
            locals: locals.unwrap_or_default(),
            origin: Some(place),
        }
    });
    let marks = config.firewall_marks.iter().map(|marked| Entry {
        service: marked.service.clone(),
        servers: marked.servers.clone(),
        locals: marked.locals.clone(),
        origin: None,
    });
    let seconds = |timeout: Duration| timeout.as_secs().try_into().unwrap_or(u32::MAX);
    let timeouts = Timeouts {
        tcp_s: seconds(config.timeouts.tcp_established),
        tcp_fin_s: seconds(config.timeouts.tcp_fin),
        udp_s: seconds(config.timeouts.udp),
    };
    Table::new(services.chain(marks).collect(), timeouts)
}

/// The name by which IPVS's tools know a service.
pub fn name(protocol: Protocol, vip: SocketAddr) -> ServiceName {
    ServiceName::Virtual {
        protocol: transport(protocol),
        endpoint: vip,
    }
}

fn said_service(name: ServiceName, service: &Service) -> VirtualService {
    VirtualService {
        name,
        scheduler: service.scheduler.name().to_owned(),
        flags: service
            .scheduler_flags
            .with(options_said(service.scheduler)),
        persistence: service.persistence,
        persistence_module: None,
        one_packet: service.one_packet,
    }
}

fn said_server(service: &Service, destination: &Destination) -> RealServer {
    RealServer {
        address: destination.address,
        forwarding: method::forwarding(service.method_of(destination)),
        weight: destination.weight.into(),
        upper_threshold: destination.upper_threshold,
        lower_threshold: destination.lower_threshold,
    }
}

/// The configuration that says what the table says, and for the rest what `old` says.
fn meant(old: &Config, table: &Table) -> Result<Config, String> {
    let mut config = Config {
        services: Vec::new(),
        firewall_marks: Vec::new(),
        ..old.clone()
    };
    config.local_pools.retain(|pool| !is_own(&pool.name));
    for entry in table.entries() {
        match entry.service.name {
            ServiceName::Mark { .. } => config.firewall_marks.push(MarkedService {
                service: entry.service.clone(),
                servers: entry.servers.clone(),
                locals: entry.locals.clone(),
            }),
            ServiceName::Virtual { protocol, endpoint } => {
                let before = entry.origin.map(|place| &old.services[place]);
                let service = meant_service(entry, protocol, endpoint, before)?;
                config.services.push(service);
                config.local_pools.extend(own_local_pool(entry)?);
            }
        }
    }
    let set = |said: u32, is: &mut Duration| {
        if u64::from(said) != is.as_secs() {
            *is = Duration::from_secs(said.into());
        }
    };
    set(table.timeouts.tcp_s, &mut config.timeouts.tcp_established);
    set(table.timeouts.tcp_fin_s, &mut config.timeouts.tcp_fin);
    set(table.timeouts.udp_s, &mut config.timeouts.udp);
    Ok(config)
}

/// `before`: the service of this name, which may know more than ipvsadm says.
fn meant_service(
    entry: &Entry,
    protocol: Transport,
    vip: SocketAddr,
    before: Option<&Service>,
) -> Result<Service, String> {
    let said = &entry.service;
    let protocol = match protocol {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
        Transport::Sctp => Protocol::Sctp,
    };
    let method = method::of_service(entry, before);
    let methods_before: HashMap<SocketAddr, &Method> =
        before.map_or_else(HashMap::new, method::own_methods);
    let mut destinations = Vec::with_capacity(entry.servers.len());
    for server in &entry.servers {
        let before = methods_before.get(&server.address).copied();
        let method = method::of_server(entry, server.forwarding, before, &method)?;
        destinations.push(meant_destination(server, method)?);
    }
    let (scheduler, scheduler_flags) = meant_scheduler(&said.scheduler, said.flags)?;
    Ok(Service {
        protocol,
        vip,
        further: before.map_or_else(Vec::new, |before| before.further.clone()),
        scheduler,
        scheduler_flags,
        persistence: said.persistence,
        one_packet: said.one_packet,
        method,
        destinations,
    })
}

/// The scheduler of that name, and the flags that are no options of it.
fn meant_scheduler(
    name: &str,
    flags: SchedulerFlags,
) -> Result<(Scheduler, SchedulerFlags), String> {
    let options = HashOptions {
        port: flags.has(SchedulerFlags::SECOND),
        fallback: flags.has(SchedulerFlags::FIRST),
    };
    let hashing = [Scheduler::Sh(options), Scheduler::Mh(options)];
    if let Some(scheduler) = hashing.into_iter().find(|it| it.name() == name) {
        return Ok((scheduler, flags.without(options_said(scheduler))));
    }
    let plain = [
        Scheduler::Rr,
        Scheduler::Wrr,
        Scheduler::Lc,
        Scheduler::Wlc,
        Scheduler::Sed,
        Scheduler::Nq,
        Scheduler::Dh,
        Scheduler::Fo,
        Scheduler::Ovf,
        Scheduler::Lblc,
        Scheduler::Lblcr,
        Scheduler::Twos,
    ];
    match plain.into_iter().find(|it| it.name() == name) {
        Some(scheduler) => Ok((scheduler, flags)),
        None => lacking(&format!("the scheduler {name}")),
    }
}

/// The options of a scheduler as flags.
fn options_said(scheduler: Scheduler) -> SchedulerFlags {
    let flags = scheduler.flags().map(|name| match name.ends_with("-port") {
        true => SchedulerFlags::SECOND,
        false => SchedulerFlags::FIRST,
    });
    flags.fold(SchedulerFlags::default(), SchedulerFlags::with)
}

fn meant_destination(server: &RealServer, method: Option<Method>) -> Result<Destination, String> {
    let weight = server.weight.try_into();
    Ok(Destination {
        address: server.address,
        weight: weight.map_err(|_| {
            format!(
                "the weight is {}; write a number from 0 to 65535",
                server.weight
            )
        })?,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        method,
    })
}

pub(super) fn lacking<T>(what: &str) -> Result<T, String> {
    Err(format!(
        "weir does not have {what} yet; nothing was changed, see docs/ipvsadm.md for what it has"
    ))
}

pub(super) fn is_own(pool: &str) -> bool {
    pool.starts_with(OWN_POOL)
}

/// What the pool of a service's own local addresses is called: `ipvsadm-tcp-192.0.2.100-80`.
pub(super) fn own_pool(name: ServiceName) -> String {
    match name {
        ServiceName::Mark { mark, .. } => format!("{OWN_POOL}mark-{mark}"),
        ServiceName::Virtual { protocol, endpoint } => {
            let address = match endpoint.ip() {
                IpAddr::V4(v4) => v4.to_string(),
                // Names of pools have no colons.
                IpAddr::V6(v6) => format!("{:032x}", v6.to_bits()),
            };
            format!("{OWN_POOL}{protocol}-{address}-{}", endpoint.port())
        }
    }
}

fn own_local_pool(entry: &Entry) -> Result<Option<LocalPool>, String> {
    if entry.locals.is_empty() {
        return Ok(None);
    }
    let mut ranges = Vec::with_capacity(entry.locals.len());
    for local in &entry.locals {
        ranges.push(AddressRange::new(*local, *local)?);
    }
    Ok(Some(LocalPool {
        name: own_pool(entry.service.name),
        ranges,
    }))
}

fn transport(protocol: Protocol) -> Transport {
    match protocol {
        Protocol::Tcp => Transport::Tcp,
        Protocol::Udp => Transport::Udp,
        Protocol::Sctp => Transport::Sctp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::{Family, Forwarding, Netmask, Persistence};

    #[test]
    fn the_configuration_says_all_that_ipvsadm_can_say_of_a_service() {
        let text = r#"(
            ports: { "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24"]) },
            local_pools: { "default": ["10.0.0.200"] },
        )"#;
        let config = Config::parse(text, "test.ron", &[0]).unwrap();
        let name = name(Protocol::Udp, "10.0.0.100:53".parse().unwrap());
        let service = VirtualService {
            name,
            scheduler: "rr".to_owned(),
            flags: SchedulerFlags::default(),
            persistence: Some(Persistence {
                timeout_s: 90,
                netmask: Netmask::V4([255, 255, 255, 0].into()),
            }),
            persistence_module: None,
            one_packet: true,
        };
        let server = RealServer {
            address: "10.0.0.11:53".parse().unwrap(),
            forwarding: Forwarding::Masquerade,
            weight: 1,
            upper_threshold: 10,
            lower_threshold: 5,
        };
        let mut table = table(&config);
        for edit in [
            Edit::AddService(service),
            Edit::AddServer {
                service: name,
                server,
            },
        ] {
            table.apply(&edit).unwrap();
        }
        let carrying = meant(&config, &table).unwrap();
        let said_again = self::table(&carrying);
        let (was, is) = (table.find(&name).unwrap(), said_again.find(&name).unwrap());
        assert_eq!((&was.service, &was.servers), (&is.service, &is.servers));
        let text = save::to_ron(&carrying);
        for said in [
            "persistence: (timeout: \"90s\", netmask: 24),",
            "one_packet: true,",
            "weight: 1, upper_threshold: 10, lower_threshold: 5, method: Nat",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        let read = Config::parse(&text, "test.ron", &[0]).unwrap();
        assert_eq!(read.services, carrying.services);
        let odd = Persistence {
            timeout_s: 1,
            netmask: Netmask::V4([255, 0, 255, 0].into()),
        };
        assert_eq!(
            save::write_persistence(&odd),
            "(timeout: \"1s\", netmask: \"255.0.255.0\")"
        );
        assert_eq!(Netmask::host(Family::Ipv6), Netmask::V6(128));
    }
}
