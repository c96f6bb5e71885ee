//! Machines' ends of wires: namespaces, veth pairs, switches, addresses, default routes.
//!
//! Promises: a kernel's end answers on its addresses, IPv4 and IPv6, at once and with finished checksums; a director's
//! end is up and has neither address nor IPv6, so that the kernel stays out of its way.
//! Does not know: which machines there are (`topology`, `course`).

use anyhow::Result;

use crate::address::{Addresses, Segment};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::topology::{DirectorPort, Host};

const REAL_SERVERS: [(&str, &str); 2] =
    [("rs1", "02:00:00:00:00:51"), ("rs2", "02:00:00:00:00:52")];

pub(crate) fn director_namespace(lab: &Lab) -> Result<Namespace> {
    let director = lab.namespace("director")?;
    director.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
    director.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    Ok(director)
}

pub(crate) fn switch(lab: &Lab) -> Result<Namespace> {
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

/// The machines of the real servers, numbered from `first` on in `segment`.
pub(crate) fn real_servers(
    lab: &Lab,
    switch: &Namespace,
    segment: Segment,
    first: u8,
) -> Result<Vec<Host>> {
    REAL_SERVERS
        .iter()
        .zip(first..)
        .map(|(&(name, mac), number)| {
            let namespace = lab.namespace(name)?;
            plug(switch, &namespace, "eth0", name)?;
            kernel_end(namespace, "eth0", segment.machine(number), mac)
        })
        .collect()
}

/// A veth pair between two machines. Both ends are made where they belong, so no name is ever taken outside.
pub(crate) fn wire(
    one: &Namespace,
    one_end: &str,
    other: &Namespace,
    other_end: &str,
) -> Result<()> {
    one.ip(&format!(
        "link add {one_end} type veth peer name {other_end} netns {}",
        other.name()
    ))
    .map(drop)
}

/// A wire from `machine` to the switch's socket called `socket`.
pub(crate) fn plug(
    switch: &Namespace,
    machine: &Namespace,
    interface: &str,
    socket: &str,
) -> Result<()> {
    wire(machine, interface, switch, socket)?;
    switch
        .ip(&format!("link set {socket} master br0 up"))
        .map(drop)
}

pub(crate) fn kernel_end(
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

pub(crate) fn director_end(
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

pub(crate) fn assign(namespace: &Namespace, interface: &str, addresses: Addresses) -> Result<()> {
    namespace.ip(&format!("addr add {}/24 dev {interface}", addresses.ipv4))?;
    namespace
        .ip(&format!(
            "addr add {}/64 dev {interface} nodad",
            addresses.ipv6
        ))
        .map(drop)
}

pub(crate) fn default_route(namespace: &Namespace, gateway: Addresses) -> Result<()> {
    namespace.ip(&format!("route replace default via {}", gateway.ipv4))?;
    namespace
        .ip(&format!("-6 route replace default via {}", gateway.ipv6))
        .map(drop)
}

pub(crate) fn forward(namespace: &Namespace) -> Result<()> {
    namespace.sysctl("net.ipv4.ip_forward", "1")?;
    namespace.sysctl("net.ipv6.conf.all.forwarding", "1")
}
