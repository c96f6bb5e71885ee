//! Services and their destinations, as a snapshot holds them.
//!
//! Promises: immutable; found by address, L4 port and protocol in one look-up.
//! Does not know: connections, loads, counters (they live with the worker, under the ids given here).

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use weir_wire::{Endpoint, FlowKey, L4Port, Protocol};

use crate::{
    DestinationId, LocalPool, NextHopId, Persistence, Schedule, ServiceId, Thresholds, TunnelId,
};

/// What names a service: protocol, VIP and vport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// VIP and vport.
    pub virtual_endpoint: Endpoint,
}

impl ServiceKey {
    /// What the service is called to which a client's packet with this key goes, if it goes to one.
    #[inline]
    pub(crate) fn of(client: &FlowKey) -> Self {
        Self {
            protocol: client.protocol(),
            virtual_endpoint: client.destination(),
        }
    }

    /// The name of the service that takes what no other of this VIP and protocol wants.
    #[cold]
    fn of_all_l4_ports(&self) -> Self {
        Self {
            protocol: self.protocol,
            virtual_endpoint: Endpoint::new(self.virtual_endpoint.ip(), 0),
        }
    }
}

impl fmt::Display for ServiceKey {
    /// As users write it in one word: `tcp/192.0.2.100:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.virtual_endpoint)
    }
}

/// How the real server learns the client's address under FULLNAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// In a TCP option (TOA). UDP and SCTP go without.
    Toa,
    /// In a line of text before the client's first byte (PROXY protocol, version 1). Datagrams of UDP go without.
    ProxyV1,
    /// In binary before the client's first byte (PROXY protocol, version 2), over UDP before each datagram's data.
    ProxyV2,
    /// In an IPv4 option of the first datagrams of a flow, from IPv6 clients as [`Self::UdpHeader`]. Over TCP as
    /// [`Self::None`].
    UdpOption,
    /// In a header between IP and UDP of the first datagrams of a flow. Over TCP as [`Self::None`].
    UdpHeader,
    /// Not at all; a client cannot make one up either.
    None,
}

/// How packets are forwarded to a destination.
#[derive(Clone, Debug)]
pub enum Method {
    /// The destination is rewritten, and the source of the replies, which come back through the director.
    Nat,
    /// Only the MAC addresses are rewritten; the real server has the VIP and answers by itself.
    Dr,
    /// The packet goes to the real server inside another; the real server has the VIP and answers by itself.
    Tun(TunnelId),
    /// Both ends are rewritten; the source is lent by the pool.
    FullNat {
        /// Local addresses and the range of local ports.
        pool: Arc<LocalPool>,
        /// How the real server learns the client's address.
        client_address: ClientAddress,
    },
}

/// A real server in its role in a service.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Names its load, counters and cursors on every worker.
    pub id: DestinationId,
    /// RIP and rport, which is 0 where the real server listens on the L4 ports that clients choose.
    pub real: Endpoint,
    /// Its share of new connections; 0 drains.
    pub weight: u32,
    /// Its weight, or while it drains the one it had before: 0 only if it never had any. mh keeps its clients' places
    /// by it.
    pub last_weight: u32,
    /// How many connections it may have.
    pub thresholds: Thresholds,
    /// How packets are forwarded.
    pub method: Method,
    /// Where its packets go on the wire.
    pub next_hop: NextHopId,
}

impl Destination {
    /// RIP and rport of a connection to `vport`.
    #[inline]
    pub(crate) fn real_for(&self, vport: L4Port) -> Endpoint {
        match self.real.port() {
            0 => Endpoint::new(self.real.ip(), vport),
            _ => self.real,
        }
    }

    /// Weight 0: no new connections, old ones finish.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.weight == 0
    }
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Names its cursors and counters on every worker.
    pub id: ServiceId,
    /// What clients talk to, and the service's name; vport 0 stands for all that no other service of this VIP and protocol has.
    pub key: ServiceKey,
    /// What else they talk to, as one with the first (a service group); of the same family.
    pub further: Vec<ServiceKey>,
    /// Picks a destination for a new connection. Made of `destinations`; shared with the next snapshot unless they
    /// change.
    pub schedule: Arc<Schedule>,
    /// In the order in which they are written or were added.
    pub destinations: Vec<Destination>,
    /// Each datagram is scheduled for itself, and no connection stays (one-packet scheduling). For UDP alone.
    pub one_packet: bool,
    /// How long a client keeps its destination; `None`: it is picked anew for each connection.
    pub persistence: Option<Persistence>,
    /// Changes whenever destinations or weights do: a scheduler that keeps a place starts anew.
    pub version: u32,
}

impl Service {
    /// All that clients talk to, the first of which is its name.
    fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        std::iter::once(self.key).chain(self.further.iter().copied())
    }

    /// Whether replies come back through the director and are translated, of one destination at least.
    pub(crate) fn has_replies(&self) -> bool {
        let has_replies = |destination: &Destination| match destination.method {
            Method::Nat | Method::FullNat { .. } => true,
            Method::Dr | Method::Tun(_) => false,
        };
        !self.one_packet && self.destinations.iter().any(has_replies)
    }

    /// Whether a tunnel leads to one of its destinations.
    pub(crate) fn has_tunnel(&self, id: TunnelId) -> bool {
        let is_reached_by = |destination: &Destination| match destination.method {
            Method::Tun(tunnel) => tunnel == id,
            Method::Nat | Method::Dr | Method::FullNat { .. } => false,
        };
        self.destinations.iter().any(is_reached_by)
    }
}

/// All services.
#[derive(Clone, Debug, Default)]
pub struct Services {
    list: Vec<Arc<Service>>,
    by_key: HashMap<ServiceKey, usize, RandomState>,
    /// Real servers whose gateway the director is, because NAT leads to them.
    nat_servers: HashSet<IpAddr, RandomState>,
    /// Those to which it led, while connections from that time may live. Their replies find their way, and no more.
    former_nat_servers: HashSet<IpAddr, RandomState>,
    /// The services of both.
    nat_services: HashSet<ServiceKey, RandomState>,
    /// By `DestinationId`, as far as any has some: destinations are asked for theirs when connections end.
    thresholds: Box<[Thresholds]>,
    /// One bit for each `DestinationId`: whether a service has it.
    present: Box<[u64]>,
}

impl Services {
    /// From services with different keys; of two with the same the later one counts.
    pub fn new(list: Vec<Arc<Service>>) -> Self {
        let by_key = list
            .iter()
            .enumerate()
            .flat_map(|(place, service)| service.keys().map(move |key| (key, place)))
            .collect();
        let by_nat = || {
            list.iter().flat_map(|service| {
                let destinations = service.destinations.iter();
                destinations
                    .filter(|destination| matches!(destination.method, Method::Nat))
                    .map(move |destination| (service, destination.real.ip()))
            })
        };
        let nat_servers = by_nat().map(|(_, server)| server).collect();
        let nat_services = by_nat().flat_map(|(service, _)| service.keys()).collect();
        let (thresholds, present) = (thresholds(&list), present(&list));
        Self {
            list,
            by_key,
            nat_servers,
            former_nat_servers: HashSet::default(),
            nat_services,
            thresholds,
            present,
        }
    }

    /// Likewise, after a time when NAT led from these services to these real servers, of which connections may live.
    pub fn with_former_nat(
        mut self,
        former: impl IntoIterator<Item = (ServiceKey, IpAddr)>,
    ) -> Self {
        for (service, server) in former {
            self.nat_services.insert(service);
            self.former_nat_servers.insert(server);
        }
        self
    }

    /// The service that a packet to `key` is for: the one of that name, or the one of all L4 ports.
    #[inline]
    pub fn serving(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.find(key).or_else(|| self.find(&key.of_all_l4_ports()))
    }

    /// The service of that name, or of which it is one of several.
    #[inline]
    pub fn find(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.by_key.get(key).map(|place| &self.list[*place])
    }

    /// The thresholds of destinations, by number; those beyond the end have none.
    #[inline]
    pub(crate) fn thresholds(&self) -> &[Thresholds] {
        &self.thresholds
    }

    /// Whether a service has a destination of this number: otherwise it was removed.
    #[inline]
    pub(crate) fn has_destination(&self, id: DestinationId) -> bool {
        let word = self.present.get(id.0 as usize / 64);
        word.is_some_and(|word| word >> (id.0 % 64) & 1 != 0)
    }

    /// Whether a service has this destination with weight 0.
    pub(crate) fn drains(&self, key: &ServiceKey, id: DestinationId) -> bool {
        self.serving(key).is_some_and(|service| {
            let mut all = service.destinations.iter();
            all.any(|destination| destination.id == id && destination.is_draining())
        })
    }

    /// Whether clients' packets to a service may be of connections under NAT.
    #[inline]
    pub(crate) fn has_nat(&self, key: &ServiceKey) -> bool {
        !self.nat_services.is_empty() && self.is_nat_service(key)
    }

    fn is_nat_service(&self, key: &ServiceKey) -> bool {
        // Connections of a service of all L4 ports may be older than one of this port alone.
        self.nat_services.contains(key) || self.nat_services.contains(&key.of_all_l4_ports())
    }

    /// Whether an address is that of a real server whose gateway the director is, because it is reached by NAT.
    pub(crate) fn is_nat_server(&self, address: IpAddr) -> bool {
        self.nat_servers.contains(&address)
    }

    /// Whether packets from an address may be of connections under NAT.
    pub(crate) fn may_reply_under_nat(&self, address: IpAddr) -> bool {
        self.is_nat_server(address) || self.former_nat_servers.contains(&address)
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.list.iter()
    }
}

fn thresholds(services: &[Arc<Service>]) -> Box<[Thresholds]> {
    let limited = || {
        let all = services.iter().flat_map(|service| &service.destinations);
        all.filter(|destination| destination.thresholds != Thresholds::default())
    };
    let n = limited()
        .map(|destination| destination.id.0 as usize + 1)
        .max();
    let mut thresholds = vec![Thresholds::default(); n.unwrap_or(0)];
    for destination in limited() {
        thresholds[destination.id.0 as usize] = destination.thresholds;
    }
    thresholds.into()
}

fn present(services: &[Arc<Service>]) -> Box<[u64]> {
    let ids = || {
        let all = services.iter().flat_map(|service| &service.destinations);
        all.map(|destination| destination.id.0 as usize)
    };
    let mut present = vec![0_u64; ids().max().map_or(0, |id| id / 64 + 1)];
    for id in ids() {
        present[id / 64] |= 1 << (id % 64);
    }
    present.into()
}
