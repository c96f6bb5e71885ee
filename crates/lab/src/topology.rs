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

use crate::address::{Addresses, FAR, LAN, WAN};
use crate::lab::Lab;
use crate::namespace::Namespace;

const DIRECTOR: u8 = 2;
const ROUTER: u8 = 1;
const CLIENT: u8 = 10;
const VIP: u8 = 100;
const FIRST_REAL_SERVER: u8 = 11;
const LIPS: std::ops::RangeInclusive<u8> = 200..=203;

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
    /// The next hop of the director's default route, where it needs one.
    pub gateway: Option<Addresses>,
    /// The frame.
    pub lab: Lab,
}

/// What the real servers' and the director's interfaces are called and addressed as; the last byte names the machine.
const CLIENT_MAC: &str = "02:00:00:00:00:c1";
const ROUTER_WAN_MAC: &str = "02:00:00:00:00:a1";
const ROUTER_FAR_MAC: &str = "02:00:00:00:00:a2";
const WAN_MAC: &str = "02:00:00:00:00:d1";
const LAN_MAC: &str = "02:00:00:00:00:d2";
const REAL_SERVERS: [(&str, &str); 2] =
    [("rs1", "02:00:00:00:00:51"), ("rs2", "02:00:00:00:00:52")];

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

        let (client, router, gateway) = match client_side {
            ClientSide::OnLink => {
                wire(&client, "eth0", &director, "wan")?;
                (
                    kernel_end(client, "eth0", WAN.machine(CLIENT), CLIENT_MAC)?,
                    None,
                    None,
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
                (client, Some(router), Some(WAN.machine(ROUTER)))
            }
        };

        plug(&switch, &director, "lan", "director")?;
        let real_servers = real_servers(&lab, &switch)?;
        let ports = vec![
            director_end(&director, "wan", WAN.machine(DIRECTOR), WAN_MAC)?,
            director_end(&director, "lan", LAN.machine(DIRECTOR), LAN_MAC)?,
        ];
        Ok(Self {
            client,
            router,
            director,
            ports,
            real_servers,
            vip: WAN.machine(VIP),
            lips: LIPS.map(|number| LAN.machine(number)).collect(),
            gateway,
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
        let real_servers = real_servers(&lab, &switch)?;
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
            gateway: None,
            lab,
        })
    }

    /// Gives the client further addresses, machines `numbers` of its segment, beside its own.
    pub fn add_client_addresses(
        &self,
        numbers: std::ops::RangeInclusive<u8>,
    ) -> Result<Vec<Addresses>> {
        let segment = match (&self.router, self.ports.len()) {
            (Some(_), _) => FAR,
            (None, 1) => LAN,
            (None, _) => WAN,
        };
        numbers
            .map(|number| {
                let addresses = segment.machine(number);
                assign(&self.client.namespace, self.client.interface, addresses)?;
                Ok(addresses)
            })
            .collect()
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
        if let Some(gateway) = self.gateway {
            default_route(&self.director, gateway)?;
        }
        if self.ports.len() == 2 {
            for host in &self.real_servers {
                default_route(&host.namespace, LAN.machine(DIRECTOR))?;
            }
            match &self.router {
                Some(router) => default_route(&router.namespace, WAN.machine(DIRECTOR))?,
                None => default_route(&self.client.namespace, WAN.machine(DIRECTOR))?,
            }
        }
        Ok(())
    }
}

fn director_namespace(lab: &Lab) -> Result<Namespace> {
    let director = lab.namespace("director")?;
    director.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
    director.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    Ok(director)
}

fn switch(lab: &Lab) -> Result<Namespace> {
    let switch = lab.namespace("switch")?;
    switch.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    bridge(&switch, "br0")?;
    Ok(switch)
}

/// A bridge that does nothing but switch: no spanning tree to wait for, no multicast snooping (without a querier it
/// would soon drop neighbour discovery), no addresses of its own.
pub(crate) fn bridge(namespace: &Namespace, name: &str) -> Result<()> {
    for family in ["iptables", "ip6tables", "arptables"] {
        // Where the kernel has br_netfilter, it would swallow frames that break the rules of IP.
        let key = format!("net.bridge.bridge-nf-call-{family}");
        if std::path::Path::new("/proc/sys/net/bridge").exists() {
            namespace.sysctl(&key, "0")?;
        }
    }
    namespace.ip(&format!(
        "link add {name} type bridge stp_state 0 mcast_snooping 0"
    ))?;
    namespace.ip(&format!("link set {name} up")).map(drop)
}

fn real_servers(lab: &Lab, switch: &Namespace) -> Result<Vec<Host>> {
    REAL_SERVERS
        .iter()
        .zip(FIRST_REAL_SERVER..)
        .map(|(&(name, mac), number)| {
            let namespace = lab.namespace(name)?;
            plug(switch, &namespace, "eth0", name)?;
            kernel_end(namespace, "eth0", LAN.machine(number), mac)
        })
        .collect()
}

/// A veth pair between two machines. Both ends are made where they belong, so no name is ever taken outside.
fn wire(one: &Namespace, one_end: &str, other: &Namespace, other_end: &str) -> Result<()> {
    one.ip(&format!(
        "link add {one_end} type veth peer name {other_end} netns {}",
        other.name()
    ))
    .map(drop)
}

/// A wire from `machine` to the switch's socket called `socket`.
fn plug(switch: &Namespace, machine: &Namespace, interface: &str, socket: &str) -> Result<()> {
    wire(machine, interface, switch, socket)?;
    switch
        .ip(&format!("link set {socket} master br0 up"))
        .map(drop)
}

fn kernel_end(
    namespace: Namespace,
    interface: &'static str,
    addresses: Addresses,
    mac: &'static str,
) -> Result<Host> {
    namespace.finish_checksums(interface)?;
    namespace.ip(&format!("link set {interface} address {mac} up"))?;
    assign(&namespace, interface, addresses)?;
    Ok(Host {
        namespace,
        interface,
        addresses,
        mac,
    })
}

fn director_end(
    director: &Namespace,
    name: &'static str,
    addresses: Addresses,
    mac: &'static str,
) -> Result<DirectorPort> {
    director.ip(&format!("link set {name} address {mac} up"))?;
    Ok(DirectorPort {
        name,
        addresses,
        mac,
    })
}

fn assign(namespace: &Namespace, interface: &str, addresses: Addresses) -> Result<()> {
    namespace.ip(&format!("addr add {}/24 dev {interface}", addresses.ipv4))?;
    namespace
        .ip(&format!(
            "addr add {}/64 dev {interface} nodad",
            addresses.ipv6
        ))
        .map(drop)
}

fn default_route(namespace: &Namespace, gateway: Addresses) -> Result<()> {
    namespace.ip(&format!("route add default via {}", gateway.ipv4))?;
    namespace
        .ip(&format!("-6 route add default via {}", gateway.ipv6))
        .map(drop)
}

fn forward(namespace: &Namespace) -> Result<()> {
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    namespace.sysctl("net.ipv6.conf.all.forwarding", "1")
}
