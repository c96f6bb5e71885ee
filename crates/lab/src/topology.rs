//! The machines of a lab and the wires between them.
//!
//! ```text
//! two arms                                              one arm
//!
//! client ── [router] ── wan director lan ── switch      client ──┐
//!                                             ├─ rs1    director ┤ switch
//!                                             └─ rs2    rs1, rs2 ┘
//! ```
//!
//! What it is: each machine a namespace, each wire a veth pair, each switch a bridge in a namespace of its own.
//! Addresses come from documentation and private ranges and are fixed, as MAC addresses are, so that a person can read
//! a capture: the last byte names the machine.
//!
//! Promises: when a topology is built, every kernel end answers on its addresses, IPv4 and IPv6, with finished
//! checksums; the director's ends are up and have neither address nor IPv6, so that the kernel stays out of its way.
//!
//! Does not know: what runs on the machines.

use anyhow::Result;

use crate::address::{Addresses, FAR, Family, LAN, Segment, WAN};
use crate::lab::Lab;
use crate::method::Method;
use crate::namespace::Namespace;
use crate::wiring::{
    assign, default_route, director_end, director_namespace, forward, kernel_end, plug,
    real_servers, switch, wire,
};

pub(crate) const DIRECTOR: u8 = 2;
pub(crate) const ROUTER: u8 = 1;
pub(crate) const CLIENT: u8 = 10;
pub(crate) const VIP: u8 = 100;
const FIRST_REAL_SERVER: u8 = 11;
pub(crate) const LIPS: std::ops::RangeInclusive<u8> = 200..=203;

/// How many sides the director has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arms {
    /// One port for clients and real servers.
    One,
    /// A port towards the clients, `wan`, and one towards the real servers, `lan`.
    Two,
}

/// Where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSide {
    /// On the VIP's own segment.
    OnLink,
    /// Behind a router: the director sees the router's MAC for every client. Two arms only.
    BehindRouter,
}

/// A machine whose network is the kernel's: a client, a real server, a router.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its interface towards the director.
    pub interface: &'static str,
    /// Its addresses on that interface.
    pub addresses: Addresses,
    /// That interface's MAC address, as text.
    pub mac: &'static str,
}

/// One NIC port of the director.
#[derive(Clone, Debug)]
pub struct DirectorPort {
    /// The name of the port in the configuration and of its interface in the namespace.
    pub name: &'static str,
    /// The director's own addresses there.
    pub addresses: Addresses,
    /// The interface's MAC address, as text.
    pub mac: &'static str,
}

/// A router between director and real servers.
#[derive(Clone, Debug)]
pub struct Router {
    /// Its end towards the director.
    pub front: Host,
    /// Its end towards the real servers.
    pub back: Host,
}

/// A route of the director's.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Where it leads; nothing for everywhere.
    pub to: Option<Segment>,
    /// The next hop.
    pub via: Addresses,
}

impl Route {
    /// The destination as routes are written: `10.1.0.0/24`, `::/0`.
    pub fn prefix(self, family: Family) -> String {
        match (self.to, family) {
            (Some(segment), family) => segment.prefix(family),
            (None, Family::Ipv4) => "0.0.0.0/0".into(),
            (None, Family::Ipv6) => "::/0".into(),
        }
    }
}

/// A built lab: machines, wires and addresses. What is dropped last is the frame that removes them.
#[derive(Debug)]
pub struct Topology {
    /// The client's machine.
    pub client: Host,
    /// The router between client and director, where there is one.
    pub router: Option<Host>,
    /// The director's namespace.
    pub director: Namespace,
    /// The director's ports: one, or `wan` and then `lan`.
    pub ports: Vec<DirectorPort>,
    /// The machines of the real servers, `rs1` first.
    pub real_servers: Vec<Host>,
    /// The virtual address that clients use.
    pub vip: Addresses,
    /// The director's local addresses for FULLNAT.
    pub lips: Vec<Addresses>,
    /// The router between director and real servers, where there is one.
    pub inner_router: Option<Router>,
    /// The director's routes beyond its own links.
    pub routes: Vec<Route>,
    /// The forwarding method that the machines are made ready for.
    pub method: Method,
    /// The client's own subnet.
    pub client_segment: Segment,
    /// The frame.
    pub lab: Lab,
}

/// The interfaces' MAC addresses; the last byte names the machine.
pub(crate) const CLIENT_MAC: &str = "02:00:00:00:00:c1";
const ROUTER_WAN_MAC: &str = "02:00:00:00:00:a1";
const ROUTER_FAR_MAC: &str = "02:00:00:00:00:a2";
pub(crate) const WAN_MAC: &str = "02:00:00:00:00:d1";
pub(crate) const LAN_MAC: &str = "02:00:00:00:00:d2";
impl Topology {
    /// Builds the machines and wires inside `lab`, with two real servers.
    pub fn build(lab: Lab, arms: Arms, client_side: ClientSide) -> Result<Self> {
        match arms {
            Arms::One => Self::one_arm(lab),
            Arms::Two => Self::two_arms(lab, client_side),
        }
    }

    fn two_arms(lab: Lab, client_side: ClientSide) -> Result<Self> {
        let director = director_namespace(&lab)?;
        let switch = switch(&lab)?;
        let client = lab.namespace("client")?;

        let (client, router, client_segment) = match client_side {
            ClientSide::OnLink => {
                wire(&client, "eth0", &director, "wan")?;
                (
                    kernel_end(client, "eth0", WAN.machine(CLIENT), CLIENT_MAC)?,
                    None,
                    WAN,
                )
            }
            ClientSide::BehindRouter => {
                let router = lab.namespace("router")?;
                wire(&client, "eth0", &router, "far")?;
                wire(&router, "wan", &director, "wan")?;
                let client = kernel_end(client, "eth0", FAR.machine(CLIENT), CLIENT_MAC)?;
                let far = kernel_end(router, "far", FAR.machine(ROUTER), ROUTER_FAR_MAC)?;
                let router = kernel_end(far.namespace, "wan", WAN.machine(ROUTER), ROUTER_WAN_MAC)?;
                forward(&router.namespace)?;
                default_route(&client.namespace, FAR.machine(ROUTER))?;
                (client, Some(router), FAR)
            }
        };

        plug(&switch, &director, "lan", "director")?;
        let real_servers = real_servers(&lab, &switch, LAN, FIRST_REAL_SERVER)?;
        let default = Route {
            to: None,
            via: WAN.machine(ROUTER),
        };
        let ports = vec![
            director_end(&director, "wan", WAN.machine(DIRECTOR), WAN_MAC)?,
            director_end(&director, "lan", LAN.machine(DIRECTOR), LAN_MAC)?,
        ];
        Ok(Self {
            client,
            director,
            ports,
            real_servers,
            vip: WAN.machine(VIP),
            lips: LIPS.map(|number| LAN.machine(number)).collect(),
            inner_router: None,
            routes: router.iter().map(|_| default).collect(),
            router,
            method: Method::FullNat,
            client_segment,
            lab,
        })
    }

    fn one_arm(lab: Lab) -> Result<Self> {
        let director = director_namespace(&lab)?;
        let switch = switch(&lab)?;
        let client = lab.namespace("client")?;

        plug(&switch, &client, "eth0", "client")?;
        plug(&switch, &director, "lan", "director")?;
        let client = kernel_end(client, "eth0", LAN.machine(CLIENT), CLIENT_MAC)?;
        let real_servers = real_servers(&lab, &switch, LAN, FIRST_REAL_SERVER)?;
        let ports = vec![director_end(
            &director,
            "lan",
            LAN.machine(DIRECTOR),
            LAN_MAC,
        )?];
        Ok(Self {
            client,
            router: None,
            director,
            ports,
            real_servers,
            vip: LAN.machine(VIP),
            lips: LIPS.map(|number| LAN.machine(number)).collect(),
            inner_router: None,
            routes: Vec::new(),
            method: Method::FullNat,
            client_segment: LAN,
            lab,
        })
    }

    /// Gives the client further addresses, machines `numbers` of its segment, beside its own.
    pub fn add_client_addresses(
        &self,
        numbers: std::ops::RangeInclusive<u8>,
    ) -> Result<Vec<Addresses>> {
        numbers
            .map(|number| {
                let addresses = self.client_segment.machine(number);
                assign(&self.client.namespace, self.client.interface, addresses)?;
                Ok(addresses)
            })
            .collect()
    }

    /// Tells the client the way to the real servers' own addresses, by the director.
    pub fn route_client_to_real_servers(&self) -> Result<()> {
        default_route(&self.client.namespace, self.ports[0].addresses)
    }

    /// Puts the kernel's own forwarding in the director's place: addresses on its ends, routes on the machines around
    /// it. This is how the lab itself is tested: what works then and fails with weir is weir's.
    pub fn forward_by_kernel(&self) -> Result<()> {
        for port in &self.ports {
            self.director
                .sysctl(&format!("net.ipv6.conf.{}.disable_ipv6", port.name), "0")?;
            assign(&self.director, port.name, port.addresses)?;
            self.director.finish_checksums(port.name)?;
        }
        forward(&self.director)?;
        for route in &self.routes {
            for family in Family::ALL {
                let (prefix, via) = (route.prefix(family), route.via.of(family));
                self.director.ip(&format!("route add {prefix} via {via}"))?;
            }
        }
        if let [wan, lan] = &self.ports[..] {
            match &self.inner_router {
                Some(router) => default_route(&router.front.namespace, lan.addresses)?,
                None => {
                    for host in &self.real_servers {
                        default_route(&host.namespace, lan.addresses)?;
                    }
                }
            }
            match &self.router {
                Some(router) => default_route(&router.namespace, wan.addresses)?,
                None => default_route(&self.client.namespace, wan.addresses)?,
            }
        }
        Ok(())
    }
}
