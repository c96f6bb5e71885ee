//! A network around the director, in a few lines: services, real servers, routers, addresses.
//!
//! Promises: ids stay what they are through every change, so that a site changed between two snapshots is what a
//! reload or a neighbour that moved would publish.
//! Does not know: packets.
//!
//! ```text
//! clients ── router 192.0.2.1 ── WAN 192.0.2.10 │ director │ LAN 10.0.0.1 ── real servers 10.0.0.0/24
//!                2001:db8:2::1     2001:db8:2::10            fd00::1          fd00::/64
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_director::{
    AddressUse, ClientAddress, Destination, DestinationId, Encapsulation, Generation, HashOptions,
    IpvsSettings, L4PortRange, Link, LocalAddresses, LocalPool, Method, NextHop, NextHopId,
    NextHops, Persistence, PortId, RemovedDestination, Route, RouteTarget, Routes, Rss, Schedule,
    Scheduler, Seed, Service, ServiceId, ServiceKey, Services, Settings, Snapshot, Steering,
    Thresholds, Tick, Timeouts, Tunnel, TunnelId,
};
use weir_wire::ethernet::Mac;
use weir_wire::{L4Port, Protocol};

use crate::frame::IntoEndpoint;

/// The port towards the clients.
pub const WAN: PortId = PortId(0);
/// The port towards the real servers.
pub const LAN: PortId = PortId(1);
/// MAC address of [`WAN`].
pub const WAN_MAC: Mac = Mac([2, 0, 0, 0, 0xd0, 0]);
/// MAC address of [`LAN`].
pub const LAN_MAC: Mac = Mac([2, 0, 0, 0, 0xd0, 1]);
/// MAC address of the router before the clients.
pub const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0xc0, 1]);

/// The MAC address of a real server: its address's last two bytes.
pub fn real_server_mac(address: IpAddr) -> Mac {
    let [high, low] = match address {
        IpAddr::V4(address) => [address.octets()[2], address.octets()[3]],
        IpAddr::V6(address) => [address.octets()[14], address.octets()[15]],
    };
    Mac([2, 0, 0, 0x5e, high, low])
}

/// The addresses of one flow of each family, so that one test serves both.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// CIP and cport.
    pub client: &'static str,
    /// VIP and vport.
    pub vip: &'static str,
    /// RIP and rport.
    pub real: &'static str,
    /// RIP and rport of a second real server.
    pub other_real: &'static str,
    /// The first local address, with the first L4 port of the default range.
    pub local: &'static str,
    /// Bytes of TOA.
    pub toa_bytes: u16,
    /// Bytes of the client's IP header.
    pub ip_header_bytes: u16,
    /// Bytes of the real server's IP header.
    pub server_ip_header_bytes: u16,
    /// What becomes of an MSS of 1460 that the client offers, and of one that the real server offers.
    pub mss: [u16; 2],
}

/// All schedulers, with all options.
pub const SCHEDULERS: [Scheduler; 14] = {
    const OPTIONS: HashOptions = HashOptions {
        port: true,
        fallback: true,
    };
    [
        Scheduler::Rr,
        Scheduler::Wrr,
        Scheduler::Lc,
        Scheduler::Wlc,
        Scheduler::Sed,
        Scheduler::Nq,
        Scheduler::Sh(OPTIONS),
        Scheduler::Dh,
        Scheduler::Mh(OPTIONS),
        Scheduler::Fo,
        Scheduler::Ovf,
        Scheduler::Lblc,
        Scheduler::Lblcr,
        Scheduler::Twos,
    ]
};

/// Over IPv4.
pub const IPV4: Family = Family {
    client: "198.51.100.7:40000",
    vip: "192.0.2.100:80",
    real: "10.0.0.11:8080",
    other_real: "10.0.0.12:8080",
    local: "10.0.0.200:1024",
    toa_bytes: 8,
    ip_header_bytes: 20,
    server_ip_header_bytes: 20,
    mss: [1460, 1452],
};

/// Over IPv6.
pub const IPV6: Family = Family {
    client: "[2001:db8:7::7]:40000",
    vip: "[2001:db8:2::100]:80",
    real: "[fd00::11]:8080",
    other_real: "[fd00::12]:8080",
    local: "[fd00::200]:1024",
    toa_bytes: 20,
    ip_header_bytes: 40,
    server_ip_header_bytes: 40,
    mss: [1460, 1440],
};

/// From clients of IPv6 to real servers of IPv4.
pub const NAT64: Family = Family {
    client: "[2001:db8:7::7]:40000",
    vip: "[2001:db8:2::64]:80",
    toa_bytes: 20,
    ip_header_bytes: 40,
    mss: [1440, 1440],
    ..IPV4
};

/// From clients of IPv4 to real servers of IPv6.
pub const NAT46: Family = Family {
    client: "198.51.100.7:40000",
    vip: "192.0.2.46:80",
    toa_bytes: 8,
    ip_header_bytes: 20,
    mss: [1460, 1432],
    ..IPV6
};

/// Each IP version for itself, and both ways between the two.
pub const FAMILIES: [Family; 4] = [IPV4, IPV6, NAT64, NAT46];

impl Family {
    /// Bytes by which a packet grows on its way to the real server, and shrinks on the way back; negative, where it is the
    /// other way round.
    pub fn growth(&self) -> i32 {
        i32::from(self.server_ip_header_bytes) - i32::from(self.ip_header_bytes)
    }
}

/// How a site's services reach their destinations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// FULLNAT, with TOA.
    #[default]
    FullNat,
    /// NAT.
    Nat,
    /// Direct routing.
    Dr,
    /// A tunnel from the LAN's own address.
    Tun(Encapsulation),
}

impl By {
    /// The real server as it is reached: under DR and TUN at the VIP's L4 port.
    pub fn endpoint(self, real: &str, vip: &str) -> String {
        let (mut real, vip) = (real.into_endpoint(), vip.into_endpoint());
        match self {
            Self::FullNat | Self::Nat => {}
            Self::Dr | Self::Tun(_) => real.set_port(vip.port()),
        }
        real.to_string()
    }
}

/// The network around the director.
#[derive(Clone, Debug)]
pub struct Site {
    generation: u64,
    n_workers: u8,
    services: Vec<Service>,
    destination_ids: HashMap<(ServiceKey, std::net::SocketAddr), DestinationId>,
    /// By `NextHopId`.
    hops: Vec<(IpAddr, NextHop)>,
    routes: Vec<Route>,
    addresses: Vec<(IpAddr, AddressUse)>,
    local_addresses: Vec<IpAddr>,
    l4_ports: L4PortRange,
    settings: Settings,
    by: By,
    thresholds: Thresholds,
    one_packet: bool,
    former_nat: Vec<(ServiceKey, IpAddr)>,
    client_address: ClientAddress,
    persistence: Option<Persistence>,
    tunnels: Vec<Tunnel>,
    path_mtus: Vec<(TunnelId, u16)>,
    sources: Option<(IpAddr, u8)>,
    /// How the port towards the clients spreads packets, if it tells.
    clients: Option<Arc<Rss>>,
    links: Vec<Link>,
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Site {
    /// No service; one local address of each family with the default range, one worker, MTU 1500.
    pub fn new() -> Self {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut site = Self {
            generation: 0,
            n_workers: 1,
            services: Vec::new(),
            destination_ids: HashMap::new(),
            hops: Vec::new(),
            routes: Vec::new(),
            addresses: Vec::new(),
            local_addresses: Vec::new(),
            l4_ports: L4PortRange::DEFAULT,
            by: By::default(),
            thresholds: Thresholds::default(),
            one_packet: false,
            former_nat: Vec::new(),
            client_address: ClientAddress::Toa,
            persistence: None,
            tunnels: Vec::new(),
            path_mtus: Vec::new(),
            sources: None,
            settings: Settings::default(),
            clients: None,
            links: Vec::new(),
        };
        for own in ["192.0.2.10", "10.0.0.1", "2001:db8:2::10", "fd00::1"] {
            site.addresses.push((address(own), AddressUse::Own));
        }
        for (router, everything) in [("192.0.2.1", "0.0.0.0/0"), ("2001:db8:2::1", "::/0")] {
            let hop = NextHop::resolved(WAN, ROUTER_MAC, WAN_MAC, 1500);
            let router = site.add_hop(address(router), hop);
            site = site.route(everything, RouteTarget::Gateway(router));
        }
        for (link, port) in [
            ("192.0.2.0/24", WAN),
            ("2001:db8:2::/64", WAN),
            ("10.0.0.0/24", LAN),
            ("fd00::/64", LAN),
        ] {
            site = site.route(link, RouteTarget::OnLink(port));
        }
        let default = L4PortRange::DEFAULT;
        site.local(&["10.0.0.200", "fd00::200"], default.first, default.last)
    }

    /// One service of `protocol` for each family, and for each way between the two, with its first real server, weight 1.
    pub fn with_one_server(protocol: Protocol) -> Self {
        FAMILIES.iter().fold(Self::new(), |site, family| {
            site.service(protocol, family.vip, Scheduler::Rr, &[(family.real, 1)])
        })
    }

    /// Services of these protocols for each family, with its two real servers in turn, reached by `by`: under DR and TUN
    /// at the vport.
    pub fn with_two_servers(by: By, protocols: &[Protocol]) -> Self {
        let families = [IPV4, IPV6];
        let services = families
            .iter()
            .flat_map(|family| protocols.iter().map(move |protocol| (family, *protocol)));
        services.fold(Self::new().by(by), |site, (family, protocol)| {
            let reals = [family.real, family.other_real].map(|real| by.endpoint(real, family.vip));
            let destinations = reals.each_ref().map(|real| (real.as_str(), 1));
            site.service(protocol, family.vip, Scheduler::Rr, &destinations)
        })
    }

    /// That many workers.
    pub fn workers(mut self, n_workers: u8) -> Self {
        self.n_workers = n_workers;
        self
    }

    /// [`WAN`] tells that it spreads packets so.
    pub fn rss_on_wan(mut self, rss: &Arc<Rss>) -> Self {
        self.clients = Some(Arc::clone(rss));
        self
    }

    /// [`LAN`] tells that it spreads packets so.
    pub fn rss_on_lan(mut self, rss: &Arc<Rss>) -> Self {
        let subnets = ["10.0.0.0/24", "fd00::/64"].iter();
        self.links = subnets
            .map(|subnet| Link {
                subnet: subnet.parse().expect("a prefix"),
                rss: Arc::clone(rss),
            })
            .collect();
        self
    }

    /// Replaces the local addresses, and the L4 ports that are lent with them (both ends included). For services
    /// that are added afterwards.
    pub fn local(mut self, addresses: &[&str], first: L4Port, last: L4Port) -> Self {
        self.addresses
            .retain(|(_, address_use)| *address_use != AddressUse::Local);
        self.local_addresses = addresses
            .iter()
            .map(|text| text.parse().expect("a local address"))
            .collect();
        let local = self.local_addresses.iter();
        self.addresses
            .extend(local.map(|address| (*address, AddressUse::Local)));
        self.l4_ports = L4PortRange { first, last };
        self
    }

    /// Adds a service, or replaces the one of that name: destinations with their weights. Real servers are
    /// neighbours on [`LAN`] whose MAC address is known.
    pub fn service(
        mut self,
        protocol: Protocol,
        vip: &str,
        scheduler: Scheduler,
        destinations: &[(&str, u32)],
    ) -> Self {
        let key = ServiceKey {
            protocol,
            virtual_endpoint: vip.into_endpoint(),
        };
        let place = self.services.iter().position(|other| other.key == key);
        let pool = Arc::new(LocalPool::new(
            self.local_addresses.iter().copied(),
            self.l4_ports,
        ));
        let destinations = destinations
            .iter()
            .map(|(real, weight)| {
                let real = real.into_endpoint();
                let n_ids = self.destination_ids.len() as u32;
                let id = *self
                    .destination_ids
                    .entry((key, real))
                    .or_insert(DestinationId(n_ids));
                let before = place.and_then(|place| {
                    let mut before = self.services[place].destinations.iter();
                    before.find(|before| before.real == real)
                });
                let last_weight = match (weight, before) {
                    (0, Some(before)) => before.last_weight,
                    (weight, _) => *weight,
                };
                Destination {
                    id,
                    real,
                    weight: *weight,
                    last_weight,
                    thresholds: self.thresholds,
                    method: match self.by {
                        By::FullNat => Method::FullNat {
                            pool: Arc::clone(&pool),
                            client_address: self.client_address,
                        },
                        By::Nat => Method::Nat,
                        By::Dr => Method::Dr,
                        By::Tun(encapsulation) => {
                            Method::Tun(self.tunnel(real.ip(), encapsulation))
                        }
                    },
                    next_hop: self.real_server(real.ip()),
                }
            })
            .collect::<Vec<_>>();
        let vip = key.virtual_endpoint.ip();
        if !self.addresses.contains(&(vip, AddressUse::Virtual)) {
            self.addresses.push((vip, AddressUse::Virtual));
        }
        let service = Service {
            id: ServiceId(place.unwrap_or(self.services.len()) as u32),
            key,
            further: place.map_or_else(Vec::new, |place| self.services[place].further.clone()),
            schedule: Arc::new(Schedule::new(scheduler, &destinations)),
            destinations,
            one_packet: self.one_packet && protocol == Protocol::Udp,
            persistence: self.persistence,
            version: place.map_or(0, |place| self.services[place].version + 1),
        };
        match place {
            Some(place) => self.services[place] = service,
            None => self.services.push(service),
        }
        self
    }

    /// The service that was added last is reached by this too.
    pub fn also(mut self, protocol: Protocol, vip: &str) -> Self {
        let virtual_endpoint = vip.into_endpoint();
        let virtual_use = (virtual_endpoint.ip(), AddressUse::Virtual);
        if !self.addresses.contains(&virtual_use) {
            self.addresses.push(virtual_use);
        }
        let last = self.services.last_mut().expect("a service was added");
        last.further.push(ServiceKey {
            protocol,
            virtual_endpoint,
        });
        self
    }

    /// How services that are added afterwards reach their destinations; FULLNAT with TOA where nothing is said.
    pub fn by(mut self, by: By) -> Self {
        self.by = by;
        self
    }

    /// How real servers of services that are added afterwards learn of the client under FULLNAT; TOA where nothing is
    /// said.
    pub fn client_address(mut self, client_address: ClientAddress) -> Self {
        self.client_address = client_address;
        self
    }

    /// The thresholds of all destinations of services that are added afterwards; none where nothing is said.
    pub fn thresholds(mut self, upper: u32, lower: u32) -> Self {
        self.thresholds = Thresholds { upper, lower };
        self
    }

    /// UDP services that are added afterwards schedule each datagram for itself, or do so no more.
    pub fn one_packet(mut self, one_packet: bool) -> Self {
        self.one_packet = one_packet;
        self
    }

    /// All services are gone; their VIPs stay, for connections over them may live.
    pub fn without_services(mut self) -> Self {
        self.services.clear();
        for (_, address_use) in &mut self.addresses {
            if *address_use == AddressUse::Virtual {
                *address_use = AddressUse::FormerlyVirtual;
            }
        }
        self
    }

    /// NAT led from a service to a real server, and connections from that time may live.
    pub fn former_nat(mut self, protocol: Protocol, vip: &str, real: &str) -> Self {
        let key = ServiceKey {
            protocol,
            virtual_endpoint: vip.into_endpoint(),
        };
        self.former_nat.push((key, real.into_endpoint().ip()));
        self
    }

    /// Services that are added afterwards let clients, whose addresses differ in bits outside `mask` at most, keep
    /// their destination for `timeout`.
    pub fn persistent(mut self, timeout: Duration, mask: &str) -> Self {
        self.persistence = Some(Persistence {
            timeout_ticks: Tick::span(timeout),
            mask: mask.parse().expect("a mask"),
        });
        self
    }

    /// Templates whose destination drains count no more.
    pub fn expire_quiescent_template(mut self) -> Self {
        self.settings.ipvs.expire_quiescent_template = true;
        self
    }

    /// Tunnels of services that are added afterwards begin in a prefix, by flow.
    pub fn sources(mut self, network: &str, prefix_bits: u8) -> Self {
        self.sources = Some((network.parse().expect("an address"), prefix_bits));
        self
    }

    /// The way through a tunnel was found to take outer packets of `mtu` bytes.
    pub fn path_mtu(mut self, id: TunnelId, mtu: u16) -> Self {
        self.path_mtus.push((id, mtu));
        self
    }

    fn tunnel(&mut self, real: IpAddr, encapsulation: Encapsulation) -> TunnelId {
        let local = if real.is_ipv4() {
            "10.0.0.1"
        } else {
            "fd00::1"
        };
        let local = local.parse().expect("an address");
        let mut tunnel = Tunnel::new(local, real, encapsulation).expect("one family");
        if let Some((network, prefix_bits)) = self.sources {
            tunnel = tunnel.from_prefix(network, prefix_bits).expect("a prefix");
        }
        self.tunnels.push(tunnel);
        TunnelId(self.tunnels.len() as u16 - 1)
    }

    fn real_server(&mut self, address: IpAddr) -> NextHopId {
        match self.hops.iter().position(|(known, _)| *known == address) {
            Some(place) => NextHopId(place as u16),
            None => {
                let mac = real_server_mac(address);
                self.add_hop(address, NextHop::resolved(LAN, mac, LAN_MAC, 1500))
            }
        }
    }

    fn add_hop(&mut self, address: IpAddr, hop: NextHop) -> NextHopId {
        self.hops.push((address, hop));
        NextHopId(self.hops.len() as u16 - 1)
    }

    /// What the neighbour's row in the table of next hops becomes; one that is not there is added.
    pub fn neighbour(mut self, address: &str, hop: NextHop) -> Self {
        let address = address.parse().expect("a neighbour's address");
        match self.hops.iter_mut().find(|(known, _)| *known == address) {
            Some((_, row)) => *row = hop,
            None => {
                self.add_hop(address, hop);
            }
        }
        self
    }

    /// The neighbour moves to another MAC address.
    pub fn mac(self, address: &str, mac: Mac) -> Self {
        let (port, own, mtu) = self.way_to(address);
        self.neighbour(address, NextHop::resolved(port, mac, own, mtu))
    }

    /// The way to the neighbour takes IP packets of `mtu` bytes at most.
    pub fn mtu(self, address: &str, mtu: u16) -> Self {
        let (port, own, _) = self.way_to(address);
        let mac = if port == WAN {
            ROUTER_MAC
        } else {
            real_server_mac(address.parse().expect("a neighbour's address"))
        };
        self.neighbour(address, NextHop::resolved(port, mac, own, mtu))
    }

    /// The neighbour's MAC address is not known any more.
    pub fn unresolved(self, address: &str) -> Self {
        let (port, ..) = self.way_to(address);
        self.neighbour(address, NextHop::unresolved(port))
    }

    fn way_to(&self, address: &str) -> (PortId, Mac, u16) {
        let address: IpAddr = address.parse().expect("a neighbour's address");
        let (_, hop) = self
            .hops
            .iter()
            .find(|(known, _)| *known == address)
            .expect("the site has this neighbour");
        let own = if hop.port == WAN { WAN_MAC } else { LAN_MAC };
        let mtu = if hop.is_resolved() { hop.mtu } else { 1500 };
        (hop.port, own, mtu)
    }

    /// The number of a neighbour.
    pub fn hop_id(&self, address: &str) -> NextHopId {
        let address: IpAddr = address.parse().expect("a neighbour's address");
        let place = self.hops.iter().position(|(known, _)| *known == address);
        NextHopId(place.expect("the site has this neighbour") as u16)
    }

    /// Adds a route.
    pub fn route(mut self, prefix: &str, target: RouteTarget) -> Self {
        let prefix = prefix.parse().expect("a prefix");
        self.routes.push(Route { prefix, target });
        self
    }

    /// Only the links are left of the routes.
    pub fn without_default_routes(mut self) -> Self {
        self.routes.retain(|route| route.prefix.prefix_len() != 0);
        self
    }

    /// Other timeouts.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.settings.timeouts = timeouts;
        self
    }

    /// Other settings of IPVS.
    pub fn ipvs(mut self, ipvs: IpvsSettings) -> Self {
        self.settings.ipvs = ipvs;
        self
    }

    /// What becomes of connections to removed destinations.
    pub fn removed_destination(mut self, removed: RemovedDestination) -> Self {
        self.settings.removed_destination = removed;
        self
    }

    /// Another kind of option for TOA.
    pub fn toa_kind(mut self, kind: u8) -> Self {
        self.settings.toa_kind = kind;
        self
    }

    /// The id of a destination.
    pub fn destination(&self, protocol: Protocol, vip: &str, real: &str) -> DestinationId {
        let key = ServiceKey {
            protocol,
            virtual_endpoint: vip.into_endpoint(),
        };
        self.destination_ids[&(key, real.into_endpoint())]
    }

    /// How many workers there are.
    pub fn n_workers(&self) -> u8 {
        self.n_workers
    }

    /// The picture that a worker gets.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.generation += 1;
        Arc::new(Snapshot {
            generation: Generation(self.generation),
            services: Arc::new(
                Services::new(self.services.iter().cloned().map(Arc::new).collect())
                    .with_former_nat(self.former_nat.iter().copied()),
            ),
            routes: Arc::new(Routes::new(self.routes.clone())),
            next_hops: Arc::new(NextHops::new(self.hops.iter().copied())),
            tunnels: Arc::new(self.tunnels.iter().copied().collect()),
            path_mtus: Arc::new(self.path_mtus.iter().copied().collect()),
            addresses: Arc::new(self.addresses.iter().copied().collect::<LocalAddresses>()),
            steering: Arc::new(Steering::new(
                self.n_workers,
                Self::SEED,
                self.clients.clone(),
                self.links.clone(),
            )),
            counted: self.destination_ids.values().copied().collect(),
            settings: self.settings,
        })
    }

    /// The secret numbers of every site: tests are to be the same each time. The low half of the first, from which
    /// the search for local ports begins, is 0, so that the first local port is the first of the range.
    pub const SEED: Seed = Seed([
        0x9ae1_6a3b_0000_0000,
        0xc3a5_c85c_97cb_3127,
        0xb492_b66f_be98_f273,
        0x6c62_272e_07bb_0142,
    ]);
}
