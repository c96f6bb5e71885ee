//! A [`Config`] into the parts of a snapshot.
//!
//! Promises: services and destinations keep their numbers, and with them counters, loads and cursors, from one
//! configuration to the next, as long as they are called the same. Nothing that runs is touched: what is returned may
//! be published or thrown away.
//! Does not know: MAC addresses; the numbers of next hops are asked for.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use weir_director::{
    AddressUse, DestinationId, L4PortRange, Load, LocalAddresses, LocalPool, NextHopId, PortId,
    RouteTarget, Routes, Schedule, ServiceId, ServiceKey, Services, Settings, State, Thresholds,
    Tick, Timeouts, Tunnel, TunnelId,
};

use crate::config::{self, Config};
use crate::dip;
use crate::ipvs::{Netmask, Persistence, ServiceName, Transport};
use crate::tunnels::Tunnels;

/// The parts of a snapshot that come from the configuration.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What clients may reach.
    pub services: Arc<Services>,
    /// The way to clients and real servers.
    pub routes: Arc<Routes>,
    /// Where TUN leads.
    pub tunnels: Arc<weir_director::Tunnels>,
    /// The addresses that are ours.
    pub addresses: Arc<LocalAddresses>,
    /// The destinations whose totals are published.
    pub counted: Arc<[DestinationId]>,
    /// What is left.
    pub settings: Settings,
}

/// Who knows the way on the wire.
pub trait NextHopNumbers {
    /// The number of a neighbour on a port, given out if it has none; `None` when there are too many. Asked once for
    /// each neighbour of a configuration.
    fn number(&mut self, port: PortId, address: IpAddr) -> Option<NextHopId>;
}

/// The configuration is valid, but more than one director holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many services.
    #[error(
        "there are more services than {}; leave some to another director",
        ServiceId::LIMIT
    )]
    Services,
    /// Too many destinations, those counted that are gone but still have connections.
    #[error(
        "there are more destinations than {}; leave some to another director",
        DestinationId::LIMIT
    )]
    Destinations,
    /// Too many tunnels, those no longer configured included.
    #[error(
        "there were more tunnels than 65536 since the start; restart weir to be rid of those it no longer needs"
    )]
    Tunnels,
    /// Too many next hops.
    #[error("there are more next hops than 65536; put real servers behind a router")]
    NextHops,
}

/// What a service was when it was last compiled.
#[derive(Clone, Debug)]
struct Known {
    id: ServiceId,
    version: u32,
    as_compiled: Arc<config::Service>,
    /// Made of `as_compiled`; `None` while it is being made.
    schedule: Option<Arc<Schedule>>,
    last_weights: Arc<LastWeights>,
}

/// The weight of each destination, or while it drains the one it had before.
type LastWeights = HashMap<SocketAddr, u32, RandomState>;

/// The numbers of a service's destinations, by RIP and rport.
type DestinationNumbers = HashMap<SocketAddr, DestinationId, RandomState>;

/// The numbers given out so far.
///
/// There may be a million destinations, so what is large is shared: a copy of all this, changed in few places, costs
/// little more than these places.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    services: HashMap<ServiceKey, Known>,
    /// Those of services that are gone, too, as long as they have connections. None is empty.
    destinations: HashMap<ServiceKey, Arc<DestinationNumbers>>,
    service_ids: Ids,
    destination_ids: Ids,
    tunnels: Tunnels,
    /// VIPs and LIPs of earlier configurations, over which connections may still run.
    former: HashMap<IpAddr, AddressUse>,
    /// Destinations to which NAT led and leads no more, and which still have connections.
    former_nat: HashSet<ByNat>,
}

/// A destination to which NAT leads from one of its service's VIPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ByNat {
    vip: ServiceKey,
    /// The service's name.
    service: ServiceKey,
    real: SocketAddr,
}

/// Dense numbers: new ones as long as there are any, then those given back, the longest ago first. So a number that
/// is given back means nothing else for as long as possible.
#[derive(Clone, Debug, Default)]
struct Ids {
    n_given: u32,
    free: VecDeque<u32>,
}

impl Ids {
    fn take(&mut self, limit: u32) -> Option<u32> {
        if self.n_given < limit {
            self.n_given += 1;
            return Some(self.n_given - 1);
        }
        self.free.pop_front()
    }

    fn give_back(&mut self, id: u32) {
        self.free.push_back(id);
    }
}

impl Numbers {
    /// Makes the parts of a snapshot. `load` tells a destination's living connections, so that a removed one is
    /// counted on until its last connection ends. On failure nothing has changed.
    pub fn compile(
        &mut self,
        config: &Config,
        next_hops: &mut impl NextHopNumbers,
        load: impl Fn(DestinationId) -> Load,
    ) -> Result<Compiled, TooMuch> {
        let mut numbers = self.clone();
        let compiled = numbers.compile_here(config, next_hops, load)?;
        *self = numbers;
        Ok(compiled)
    }

    fn compile_here(
        &mut self,
        config: &Config,
        next_hops: &mut impl NextHopNumbers,
        load: impl Fn(DestinationId) -> Load,
    ) -> Result<Compiled, TooMuch> {
        self.remember_nat(config, &load);
        self.forget_ended(config, load);
        let routes = routes(config, next_hops)?;
        let pools = pools(config);
        let mut way = Way {
            routes: &routes,
            next_hops,
            known: HashMap::default(),
        };
        let mut services = Vec::with_capacity(config.services.len());
        for service in &config.services {
            services.push(Arc::new(self.service(service, config, &pools, &mut way)?));
        }
        let former_nat = self.former_nat.iter().map(|it| (it.vip, it.real.ip()));
        Ok(Compiled {
            services: Arc::new(Services::new(services).with_former_nat(former_nat)),
            routes: Arc::new(routes),
            tunnels: self.tunnels.all(),
            addresses: Arc::new(self.addresses(config)),
            counted: self.counted(),
            settings: settings(config),
        })
    }

    /// Adds the destinations to which NAT leads no more, and forgets those of services that have no connections left.
    fn remember_nat(&mut self, config: &Config, load: impl Fn(DestinationId) -> Load) {
        let now: HashSet<_> = config.services.iter().flat_map(by_nat).collect();
        let before = self.services.values().map(|known| &*known.as_compiled);
        let candidates: Vec<_> = before
            .flat_map(by_nat)
            .chain(self.former_nat.drain())
            .filter(|candidate| !now.contains(candidate))
            .collect();
        // All connections of the service are where those under NAT are, whatever destination they go to.
        let lives = |it: &ByNat| {
            let numbers = self.destinations.get(&it.service);
            numbers.is_some_and(|numbers| numbers.values().any(|id| load(*id) != Load::default()))
        };
        self.former_nat = candidates.into_iter().filter(lives).collect();
    }

    /// Takes back the numbers of services that are not configured, and of destinations that are neither configured
    /// nor have connections.
    fn forget_ended(&mut self, config: &Config, load: impl Fn(DestinationId) -> Load) {
        let configured: HashMap<_, _> = config
            .services
            .iter()
            .map(|service| (key(service), service.destinations.as_slice()))
            .collect();
        let Self {
            service_ids,
            destination_ids,
            ..
        } = self;
        self.services.retain(|name, known| {
            let stays = configured.contains_key(name);
            if !stays {
                service_ids.give_back(known.id.0);
            }
            stays
        });
        self.destinations.retain(|name, numbers| {
            let destinations = configured.get(name).copied().unwrap_or_default();
            // The common case: none has gone. No endpoint is twice in a service.
            let n_known = destinations
                .iter()
                .filter(|destination| numbers.contains_key(&destination.address))
                .count();
            if n_known == numbers.len() {
                return true;
            }
            let stay: HashSet<_> = destinations.iter().map(|it| it.address).collect();
            let numbers = Arc::make_mut(numbers);
            numbers.retain(|address, id| {
                let stays = stay.contains(address) || load(*id) != Load::default();
                if !stays {
                    destination_ids.give_back(id.0);
                }
                stays
            });
            !numbers.is_empty()
        });
    }

    /// In the order of the numbers, which is that of the memory that holds the totals.
    fn counted(&self) -> Arc<[DestinationId]> {
        let numbers = self.destinations.values().flat_map(|it| it.values());
        let mut counted: Vec<_> = numbers.copied().collect();
        counted.sort_unstable_by_key(|id| id.0);
        counted.into()
    }

    /// The addresses of a configuration, and those of earlier ones over which connections may still run. From now on
    /// those of this one are remembered too.
    fn addresses(&mut self, config: &Config) -> LocalAddresses {
        let now = addresses(config);
        let former: Vec<_> = self
            .former
            .iter()
            .filter(|(address, _)| now.find(**address).is_none())
            .collect();
        let all = former
            .into_iter()
            .map(|(address, address_use)| (*address, *address_use))
            .chain(now.iter())
            .collect();
        for (address, address_use) in now.iter() {
            match address_use {
                AddressUse::Virtual => self.former.insert(address, AddressUse::FormerlyVirtual),
                AddressUse::Local => self.former.insert(address, AddressUse::FormerlyLocal),
                AddressUse::Own | AddressUse::FormerlyVirtual | AddressUse::FormerlyLocal => None,
            };
        }
        all
    }

    fn service(
        &mut self,
        service: &config::Service,
        config: &Config,
        pools: &HashMap<&str, Arc<LocalPool>>,
        way: &mut Way<'_, impl NextHopNumbers>,
    ) -> Result<weir_director::Service, TooMuch> {
        let key = key(service);
        let mut known = self.known(key, service)?;
        let (ids, tunnels) = (&mut self.destination_ids, &mut self.tunnels);
        let mut destinations = Vec::with_capacity(service.destinations.len());
        if !service.destinations.is_empty() {
            let numbers = self.destinations.entry(key).or_default();
            for destination in &service.destinations {
                let weight = u32::from(destination.weight);
                destinations.push(weir_director::Destination {
                    id: destination_number(numbers, ids, destination.address)?,
                    real: destination.address,
                    weight,
                    thresholds: Thresholds {
                        upper: destination.upper_threshold,
                        lower: destination.lower_threshold,
                    },
                    last_weight: known
                        .last_weights
                        .get(&destination.address)
                        .copied()
                        .unwrap_or(weight),
                    method: method(service.method_of(destination), pools, |tun| {
                        let real = destination.address.ip();
                        // `check` has seen to it that there is one.
                        let local =
                            dip::towards(real, &config.ports, &config.routes).unwrap_or(real);
                        let tunnel = Tunnel::new(local, real, tun.encapsulation);
                        let tunnel = match tun.sources {
                            Some(net) => tunnel
                                .and_then(|it| it.from_prefix(net.network(), net.prefix_len())),
                            None => tunnel,
                        };
                        tunnels.number(tunnel.ok_or(TooMuch::Tunnels)?)
                    })?,
                    next_hop: way.next_hop(destination.address.ip())?,
                });
            }
        }
        let make = || Arc::new(Schedule::new(service.scheduler, &destinations));
        let schedule = Arc::clone(known.schedule.get_or_insert_with(make));
        let (id, version) = (known.id, known.version);
        self.services.insert(key, known);
        let further = service.further.iter();
        Ok(weir_director::Service {
            id,
            key,
            further: further
                .map(|vip| key_at(vip.protocol, vip.endpoint))
                .collect(),
            schedule,
            destinations,
            one_packet: service.one_packet,
            persistence: service.persistence.as_ref().map(persistence),
            version,
        })
    }

    /// What is known of a service, taken out: its numbers, and what has been made of it if it has not changed.
    fn known(&mut self, key: ServiceKey, service: &config::Service) -> Result<Known, TooMuch> {
        if let Some(known) = self.services.remove(&key) {
            if *known.as_compiled == *service {
                return Ok(known);
            }
            return Ok(Known {
                id: known.id,
                version: known.version.wrapping_add(1),
                as_compiled: Arc::new(service.clone()),
                schedule: None,
                last_weights: Arc::new(last_weights(service, &known.last_weights)),
            });
        }
        let id = self
            .service_ids
            .take(ServiceId::LIMIT)
            .map(ServiceId)
            .ok_or(TooMuch::Services)?;
        Ok(Known {
            id,
            version: 0,
            as_compiled: Arc::new(service.clone()),
            schedule: None,
            last_weights: Arc::new(last_weights(service, &LastWeights::default())),
        })
    }

    /// The number under which a destination of a service is counted, if it has one.
    pub fn destination(&self, key: &ServiceKey, address: SocketAddr) -> Option<DestinationId> {
        self.destinations.get(key)?.get(&address).copied()
    }
}

/// The destinations of a service to which NAT leads.
fn by_nat(service: &config::Service) -> impl Iterator<Item = ByNat> {
    let all = service.destinations.iter();
    let by_nat = all.filter(|destination| *service.method_of(destination) == config::Method::Nat);
    by_nat.flat_map(|destination| {
        service.vips().map(|vip| ByNat {
            vip: key_at(vip.protocol, vip.endpoint),
            service: key(service),
            real: destination.address,
        })
    })
}

/// The number of a service's destination, given out if it has none.
fn destination_number(
    numbers: &mut Arc<DestinationNumbers>,
    ids: &mut Ids,
    address: SocketAddr,
) -> Result<DestinationId, TooMuch> {
    if let Some(id) = numbers.get(&address) {
        return Ok(*id);
    }
    let id = ids
        .take(DestinationId::LIMIT)
        .map(DestinationId)
        .ok_or(TooMuch::Destinations)?;
    Arc::make_mut(numbers).insert(address, id);
    Ok(id)
}

/// The way to real servers, of which many serve in many services.
struct Way<'a, N> {
    routes: &'a Routes,
    next_hops: &'a mut N,
    /// What was found before.
    known: HashMap<IpAddr, NextHopId, RandomState>,
}

impl<N: NextHopNumbers> Way<'_, N> {
    fn next_hop(&mut self, address: IpAddr) -> Result<NextHopId, TooMuch> {
        if let Some(id) = self.known.get(&address) {
            return Ok(*id);
        }
        let id = next_hop(address, self.routes, self.next_hops)?;
        self.known.insert(address, id);
        Ok(id)
    }
}

/// What names a service in a snapshot.
pub fn key(service: &config::Service) -> ServiceKey {
    key_at(service.protocol, service.vip)
}

fn key_at(protocol: config::Protocol, virtual_endpoint: SocketAddr) -> ServiceKey {
    let protocol = match protocol {
        config::Protocol::Tcp => weir_director::Protocol::Tcp,
        config::Protocol::Udp => weir_director::Protocol::Udp,
        config::Protocol::Sctp => weir_director::Protocol::Sctp,
    };
    ServiceKey {
        protocol,
        virtual_endpoint,
    }
}

/// What a service in IPVS's words is called in a snapshot; `None`: it is in none.
pub fn key_of(name: ServiceName) -> Option<ServiceKey> {
    let ServiceName::Virtual { protocol, endpoint } = name else {
        return None;
    };
    let protocol = match protocol {
        Transport::Tcp => weir_director::Protocol::Tcp,
        Transport::Udp => weir_director::Protocol::Udp,
        Transport::Sctp => weir_director::Protocol::Sctp,
    };
    Some(ServiceKey {
        protocol,
        virtual_endpoint: endpoint,
    })
}

fn persistence(Persistence { timeout_s, netmask }: &Persistence) -> weir_director::Persistence {
    weir_director::Persistence {
        timeout_ticks: Tick::span(Duration::from_secs((*timeout_s).into())),
        mask: match *netmask {
            Netmask::V4(mask) => mask.into(),
            Netmask::V6(length) => {
                let bits = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Ipv6Addr::from_bits(bits).into()
            }
        },
    }
}

/// The weights of a service's destinations; for one that drains the last it had, as long as it stays in the service.
fn last_weights(service: &config::Service, before: &LastWeights) -> LastWeights {
    let last = |destination: &config::Destination| {
        let config::Destination {
            address, weight, ..
        } = destination;
        let last = match weight {
            0 => before.get(address).copied().unwrap_or(0),
            _ => u32::from(*weight),
        };
        (*address, last)
    };
    service.destinations.iter().map(last).collect()
}

/// `tunnel` gives the number of a tunnel to the real server.
fn method(
    method: &config::Method,
    pools: &HashMap<&str, Arc<LocalPool>>,
    tunnel: impl FnOnce(config::Tun) -> Result<TunnelId, TooMuch>,
) -> Result<weir_director::Method, TooMuch> {
    Ok(match method {
        config::Method::Nat => weir_director::Method::Nat,
        config::Method::Dr => weir_director::Method::Dr,
        config::Method::Tun(tun) => weir_director::Method::Tun(tunnel(*tun)?),
        config::Method::FullNat(options) => weir_director::Method::FullNat {
            // `check` has seen to it that the pool exists; without it the service would be refused all ports.
            pool: pools
                .get(options.local_pool.as_str())
                .cloned()
                .unwrap_or_default(),
            client_address: match options.client_address {
                config::ClientAddress::Toa => weir_director::ClientAddress::Toa,
                config::ClientAddress::ProxyV1 => weir_director::ClientAddress::ProxyV1,
                config::ClientAddress::ProxyV2 => weir_director::ClientAddress::ProxyV2,
                config::ClientAddress::UdpOption => weir_director::ClientAddress::UdpOption,
                config::ClientAddress::UdpHeader => weir_director::ClientAddress::UdpHeader,
                config::ClientAddress::None => weir_director::ClientAddress::None,
            },
        },
    })
}

fn pools(config: &Config) -> HashMap<&str, Arc<LocalPool>> {
    let l4_ports = L4PortRange {
        first: config.local_ports.first,
        last: config.local_ports.last,
    };
    config
        .local_pools
        .iter()
        .map(|pool| {
            let addresses = pool.ranges.iter().flat_map(|range| range.addresses());
            (
                pool.name.as_str(),
                Arc::new(LocalPool::new(addresses, l4_ports)),
            )
        })
        .collect()
}

/// The subnets of the ports, and the routes behind them.
fn routes(config: &Config, next_hops: &mut impl NextHopNumbers) -> Result<Routes, TooMuch> {
    let on_link = config.ports.iter().zip(0..).flat_map(|(port, number)| {
        port.addresses
            .iter()
            .map(move |address| weir_director::Route {
                prefix: address.trunc(),
                target: RouteTarget::OnLink(PortId(number)),
            })
    });
    let on_link: Vec<_> = on_link.collect();
    let links = Routes::new(on_link.clone());
    let mut all = on_link;
    for route in &config.routes {
        let gateway = next_hop(route.via, &links, next_hops)?;
        all.push(weir_director::Route {
            prefix: route.to,
            target: RouteTarget::Gateway(gateway),
        });
    }
    Ok(Routes::new(all))
}

/// The number of the next hop to an address, which `check` has found reachable.
fn next_hop(
    address: IpAddr,
    routes: &Routes,
    next_hops: &mut impl NextHopNumbers,
) -> Result<NextHopId, TooMuch> {
    match routes.find(address) {
        Some(RouteTarget::Gateway(id)) => Ok(id),
        Some(RouteTarget::OnLink(port)) => next_hops.number(port, address).ok_or(TooMuch::NextHops),
        None => next_hops
            .number(PortId(0), address)
            .ok_or(TooMuch::NextHops),
    }
}

fn addresses(config: &Config) -> LocalAddresses {
    let own = config.ports.iter().flat_map(|port| &port.addresses);
    let own = own.map(|address| (address.addr(), AddressUse::Own));
    let ranges = config.local_pools.iter().flat_map(|pool| &pool.ranges);
    let local = ranges
        .flat_map(|range| range.addresses())
        .map(|address| (address, AddressUse::Local));
    let virtuals = config
        .services
        .iter()
        .flat_map(config::Service::vips)
        .map(|vip| (vip.endpoint.ip(), AddressUse::Virtual));
    own.chain(local).chain(virtuals).collect()
}

fn settings(config: &Config) -> Settings {
    let timeouts = Timeouts::default()
        .with(State::Established, config.timeouts.tcp_established)
        .with(State::FinWait, config.timeouts.tcp_fin)
        .with(State::Udp, config.timeouts.udp);
    Settings {
        timeouts,
        toa_kind: config.toa_option,
        ipvs: config.ipvs,
        removed_destination: config.removed_destination,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Counting(Vec<(PortId, IpAddr)>);

    impl NextHopNumbers for Counting {
        fn number(&mut self, port: PortId, address: IpAddr) -> Option<NextHopId> {
            let place = self
                .0
                .iter()
                .position(|known| *known == (port, address))
                .unwrap_or_else(|| {
                    self.0.push((port, address));
                    self.0.len() - 1
                });
            Some(NextHopId(place as u16))
        }
    }

    fn config(destinations: &str) -> Config {
        let text = format!(
            r#"(
                ports: {{
                    "wan": (device: AfPacket("a"), addresses: ["192.0.2.10/24"]),
                    "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24"]),
                }},
                routes: [(to: "0.0.0.0/0", via: "192.0.2.1"), (to: "10.1.0.0/16", via: "10.0.0.254")],
                local_pools: {{ "default": ["10.0.0.200-10.0.0.201"] }},
                services: [(vip: "192.0.2.100:80", protocol: Tcp, destinations: [{destinations}])],
            )"#
        );
        Config::parse(&text, "test.ron", &[0]).unwrap()
    }

    fn compile(numbers: &mut Numbers, destinations: &str, load: Load) -> Compiled {
        numbers
            .compile(&config(destinations), &mut Counting::default(), |_| load)
            .unwrap()
    }

    fn ids(compiled: &Compiled) -> Vec<u32> {
        let services = compiled.services.iter();
        services
            .flat_map(|service| &service.destinations)
            .map(|destination| destination.id.0)
            .collect()
    }

    #[test]
    fn destinations_keep_their_numbers() {
        let mut numbers = Numbers::default();
        let (a, b) = (
            r#"(address: "10.0.0.11:80")"#,
            r#"(address: "10.0.0.12:80")"#,
        );
        let first = compile(&mut numbers, &format!("{a}, {b}"), Load::default());
        let second = compile(&mut numbers, &format!("{b}, {a}"), Load::default());
        assert_eq!((ids(&first), ids(&second)), (vec![0, 1], vec![1, 0]));
        let versions: Vec<_> = [&first, &second]
            .iter()
            .flat_map(|compiled| compiled.services.iter().map(|service| service.version))
            .collect();
        assert_eq!(versions, [0, 1]);
    }

    #[test]
    fn what_picks_is_made_anew_only_when_its_service_has_changed() {
        let mut numbers = Numbers::default();
        let (a, b) = (
            r#"(address: "10.0.0.11:80")"#,
            r#"(address: "10.0.0.12:80")"#,
        );
        let [first, same, other] = [a, a, b].map(|destinations| {
            let compiled = compile(&mut numbers, destinations, Load::default());
            let service = compiled.services.iter().next().unwrap();
            Arc::clone(&service.schedule)
        });
        assert!(Arc::ptr_eq(&first, &same));
        assert!(!Arc::ptr_eq(&first, &other));
    }

    /// As `ip_vs_ctl.c` keeps it: a weight of 0 counts when the destination is new, not when it is changed to that.
    #[test]
    fn a_destination_that_drains_keeps_its_last_weight() {
        let mut numbers = Numbers::default();
        let mut last_weights = |weights: [Option<u16>; 2]| {
            let destinations: Vec<_> = (11..)
                .zip(weights)
                .filter_map(|(host, weight)| {
                    Some(format!(
                        r#"(address: "10.0.0.{host}:80", weight: {})"#,
                        weight?
                    ))
                })
                .collect();
            let compiled = compile(&mut numbers, &destinations.join(","), Load::default());
            let service = Arc::clone(compiled.services.iter().next().unwrap());
            let last = service.destinations.iter().map(|it| it.last_weight);
            last.collect::<Vec<_>>()
        };
        assert_eq!(last_weights([Some(5), Some(0)]), [5, 0]);
        assert_eq!(last_weights([Some(0), Some(7)]), [5, 7]);
        assert_eq!(last_weights([Some(0), Some(0)]), [5, 7]);
        assert_eq!(last_weights([Some(3), Some(0)]), [3, 7]);
        assert_eq!(last_weights([Some(3), None]), [3]);
        assert_eq!(last_weights([Some(3), Some(0)]), [3, 0]);
    }

    #[test]
    fn what_ipvs_lets_its_users_choose_reaches_the_snapshot() {
        let text = r#"(
            ports: { "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24"]) },
            services: [(vip: "192.0.2.100:53", protocol: Udp, method: Dr, one_packet: true, destinations: [
                (address: "10.0.0.11:53", upper_threshold: 9, lower_threshold: 4), (address: "10.0.0.12:53"),
            ])],
            ipvs: (sloppy_tcp: 1, sloppy_sctp: 1, schedule_icmp: 1, conn_reuse_mode: 2, expire_nodest_conn: 1, expire_quiescent_template: 1, pmtu_disc: 0),
            removed_destination: Ipvs,
        )"#;
        let config = Config::parse(text, "test.ron", &[0]).unwrap();
        let compiled = Numbers::default()
            .compile(&config, &mut Counting::default(), |_| Load::default())
            .unwrap();
        let service = compiled.services.iter().next().unwrap();
        let thresholds: Vec<_> = service
            .destinations
            .iter()
            .map(|it| it.thresholds)
            .collect();
        let limited = Thresholds { upper: 9, lower: 4 };
        assert_eq!(thresholds, [limited, Thresholds::default()]);
        assert!(service.one_packet);
        let settings = compiled.settings;
        let expected = weir_director::IpvsSettings {
            sloppy_tcp: true,
            sloppy_sctp: true,
            schedule_icmp: true,
            reuse: weir_director::Reuse::OverOrFinWait,
            ends_with_destination: true,
            expire_quiescent_template: true,
            fragments_tunnelled: true,
        };
        assert_eq!(settings.ipvs, expected);
        let removed = weir_director::RemovedDestination::Ipvs;
        assert_eq!(settings.removed_destination, removed);
    }

    #[test]
    fn the_sources_of_a_tunnel_reach_the_snapshot_and_the_file_that_is_saved() {
        let mut numbers = Numbers::default();
        let mut method = |method: &str| {
            let destination = format!(r#"(address: "10.0.0.11:80", method: {method})"#);
            let compiled = compile(&mut numbers, &destination, Load::default());
            let config = config(&destination);
            let saved = Config::parse(&crate::to_ron(&config), "saved.ron", &[0]).unwrap();
            assert_eq!(saved.services, config.services);
            let service = Arc::clone(compiled.services.iter().next().unwrap());
            let weir_director::Method::Tun(id) = service.destinations[0].method else {
                panic!("no tunnel");
            };
            *compiled.tunnels.get(id).unwrap()
        };
        let (local, real) = ("10.0.0.1".parse().unwrap(), "10.0.0.11".parse().unwrap());
        let plain = Tunnel::new(local, real, weir_director::Encapsulation::Ipip).unwrap();
        assert_eq!(method("Tun()"), plain);
        let varied = plain.from_prefix("100.64.0.0".parse().unwrap(), 16);
        assert_eq!(Some(method(r#"Tun(sources: "100.64.0.0/16")"#)), varied);
        assert_ne!(Some(plain), varied);
    }

    #[test]
    fn a_removed_destination_is_counted_until_its_last_connection_ends() {
        let mut numbers = Numbers::default();
        let (a, b) = (
            r#"(address: "10.0.0.11:80")"#,
            r#"(address: "10.0.0.12:80")"#,
        );
        compile(&mut numbers, a, Load::default());
        let busy = compile(
            &mut numbers,
            b,
            Load {
                active: 1,
                inactive: 0,
            },
        );
        assert_eq!((ids(&busy), busy.counted.len()), (vec![1], 2));
        let idle = compile(&mut numbers, b, Load::default());
        assert_eq!(idle.counted.len(), 1);
        let again = compile(&mut numbers, &format!("{a}, {b}"), Load::default());
        assert_eq!(ids(&again), [2, 1], "a number given back is given out last");
    }

    #[test]
    fn a_destination_under_nat_is_remembered_until_its_last_connection_ends() {
        let mut numbers = Numbers::default();
        let by_nat = r#"(address: "10.0.0.11:80", method: Nat), (address: "10.0.0.13:80")"#;
        let by_full_nat = r#"(address: "10.0.0.11:80"), (address: "10.0.0.13:80")"#;
        let removed = r#"(address: "10.0.0.12:80")"#;
        let busy = Load {
            active: 0,
            inactive: 1,
        };
        let mut remembers = |destinations, load| {
            compile(&mut numbers, destinations, load);
            let former = numbers.former_nat.iter();
            former.map(|it| it.real.to_string()).collect::<Vec<_>>()
        };
        let former = ["10.0.0.11:80"];
        assert!(remembers(by_nat, Load::default()).is_empty());
        assert_eq!(remembers(by_full_nat, busy), former);
        assert_eq!(remembers(removed, busy), former);
        assert_eq!(
            remembers("", busy),
            former,
            "the method before is not asked for"
        );
        assert!(remembers(by_nat, busy).is_empty(), "it is one again");
        assert_eq!(remembers(removed, busy), former);
        assert!(remembers(removed, Load::default()).is_empty());
    }

    #[test]
    fn an_address_that_is_left_out_is_remembered_until_it_is_ours_again() {
        let mut numbers = Numbers::default();
        let mut next_hops = Counting::default();
        let with = config(r#"(address: "10.0.0.11:80")"#);
        let without = Config {
            services: Vec::new(),
            local_pools: Vec::new(),
            ..with.clone()
        };
        let mut uses = |config: &Config| {
            let compiled = numbers
                .compile(config, &mut next_hops, |_| Load::default())
                .unwrap();
            let find = |address: &str| compiled.addresses.find(address.parse().unwrap()).unwrap();
            ["192.0.2.100", "10.0.0.201", "10.0.0.1"].map(find)
        };
        let now = [AddressUse::Virtual, AddressUse::Local, AddressUse::Own];
        let former = [
            AddressUse::FormerlyVirtual,
            AddressUse::FormerlyLocal,
            AddressUse::Own,
        ];
        assert_eq!(
            [uses(&with), uses(&without), uses(&without), uses(&with)],
            [now, former, former, now]
        );
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        struct NoMore;
        impl NextHopNumbers for NoMore {
            fn number(&mut self, _: PortId, _: IpAddr) -> Option<NextHopId> {
                None
            }
        }
        let mut numbers = Numbers::default();
        let (a, b) = (
            r#"(address: "10.0.0.11:80")"#,
            r#"(address: "10.0.0.12:80")"#,
        );
        compile(&mut numbers, a, Load::default());
        let refused = numbers.compile(&config(b), &mut NoMore, |_| Load::default());
        assert_eq!(refused.map(|_| ()), Err(TooMuch::NextHops));
        assert_eq!(
            ids(&compile(
                &mut numbers,
                &format!("{a}, {b}"),
                Load::default()
            )),
            [0, 1]
        );
    }

    #[test]
    fn next_hops_are_gateways_or_the_real_servers_themselves() {
        let mut numbers = Numbers::default();
        let mut hops = Counting::default();
        let config = config(r#"(address: "10.0.0.11:80"), (address: "10.1.0.9:80")"#);
        let compiled = numbers
            .compile(&config, &mut hops, |_| Load::default())
            .unwrap();
        let next_hops: Vec<_> = compiled
            .services
            .iter()
            .flat_map(|service| &service.destinations)
            .map(|destination| hops.0[usize::from(destination.next_hop.0)])
            .collect();
        let lan = PortId(1);
        assert_eq!(
            next_hops,
            [
                (lan, "10.0.0.11".parse().unwrap()),
                (lan, "10.0.0.254".parse().unwrap())
            ]
        );
        assert_eq!(
            compiled.addresses.find("10.0.0.201".parse().unwrap()),
            Some(AddressUse::Local)
        );
        assert_eq!(
            compiled.addresses.find("192.0.2.100".parse().unwrap()),
            Some(AddressUse::Virtual)
        );
        assert_eq!(
            compiled.addresses.find("10.0.0.1".parse().unwrap()),
            Some(AddressUse::Own)
        );
    }
}
