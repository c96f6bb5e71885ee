//! The director's configuration for a topology, as an operator would write it.
//!
//! Promises: the text names every port, route and local address of the topology, and the services asked for; nothing
//! else. IPv6 services take their local addresses from the same pool as IPv4 services.
//! Does not know: the configuration crate; the text is what a user would type, so that a change of the language that
//! breaks users breaks the lab.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::address::Family;
use crate::method::Method;
use crate::topology::Topology;

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where clients go.
    pub vip: SocketAddr,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The scheduler, as written in the configuration: `Rr`, `Wlc`, `Sh(port: true)`.
    pub scheduler: &'static str,
    /// How its packets get to the real servers.
    pub method: Method,
    /// How the real servers learn of the client under FULLNAT, as written in the configuration; where nothing is said,
    /// by TOA over TCP.
    pub client_address: Option<&'static str>,
    /// The destinations and their weights.
    pub destinations: Vec<(SocketAddr, u32)>,
}

/// A service's transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Service {
    /// A service on `l4_port` of the VIP, with both real servers behind it on the same L4 port, by the method that
    /// the topology is made for.
    pub fn new(
        topology: &Topology,
        family: Family,
        protocol: Protocol,
        l4_port: u16,
        scheduler: &'static str,
        weights: [u32; 2],
    ) -> Self {
        let real_servers = topology
            .real_servers
            .iter()
            .map(|host| host.addresses.of(family));
        Self {
            vip: SocketAddr::new(topology.vip.of(family), l4_port),
            protocol,
            scheduler,
            method: topology.method,
            client_address: None,
            destinations: real_servers
                .map(|address| SocketAddr::new(address, l4_port))
                .zip(weights)
                .collect(),
        }
    }

    /// The same service on both address families.
    pub fn on_both(
        topology: &Topology,
        protocol: Protocol,
        l4_port: u16,
        scheduler: &'static str,
        weights: [u32; 2],
    ) -> [Self; 2] {
        Family::ALL.map(|family| Self::new(topology, family, protocol, l4_port, scheduler, weights))
    }

    /// The service with its first destination only: for iperf3, which opens two connections that belong together.
    pub fn with_first_destination_only(mut self) -> Self {
        self.destinations.truncate(1);
        self
    }

    /// The service with its real servers reached over `family`, whatever the VIP's is: for tunnels.
    pub fn with_destinations_over(mut self, topology: &Topology, family: Family) -> Self {
        for ((address, _), host) in self.destinations.iter_mut().zip(&topology.real_servers) {
            address.set_ip(host.addresses.of(family));
        }
        self
    }

    /// The service with its real servers told so, as the configuration has it: `ProxyV1`.
    pub fn telling(mut self, client_address: &'static str) -> Self {
        self.client_address = Some(client_address);
        self
    }

    /// SERVICE as the command line names it: `tcp 192.0.2.100:80` as a label, `tcp/192.0.2.100:80`.
    pub fn label(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        format!("{protocol}/{}", self.vip)
    }
}

/// The last `count` CPUs this process may run on: weir leaves the first to everything else.
///
/// Errors: there are fewer.
pub fn last_cpus(count: usize) -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))
        .context("the CPUs this process may run on are not told")?;
    let cpus: Vec<usize> = (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .collect();
    let first = cpus.len().checked_sub(count);
    let first =
        first.with_context(|| format!("this takes {count} CPUs and there are {}", cpus.len()))?;
    Ok(cpus[first..].to_vec())
}

/// What a configuration says of the machine that weir runs on.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `runtime.workers`: CPU ids.
    pub workers: Vec<usize>,
    /// `runtime.memory`, as written.
    pub memory: &'static str,
    /// `runtime.admin_socket`.
    pub admin_socket: PathBuf,
    /// The `device` of each of the topology's ports, as written.
    pub devices: Vec<String>,
}

/// The configuration text for `workers` (CPU ids) and `services` on `topology`, in the director's namespace.
pub fn text(topology: &Topology, workers: &[usize], services: &[Service]) -> String {
    let setting = Setting {
        workers: workers.to_vec(),
        memory: "Anonymous(mib: 256)",
        admin_socket: crate::director::socket_path(&topology.lab),
        devices: topology
            .ports
            .iter()
            .map(|port| format!("AfPacket({:?})", port.name))
            .collect(),
    };
    text_in(topology, &setting, services)
}

/// The configuration text for `services` on `topology`, on the machine that `setting` describes.
pub fn text_in(topology: &Topology, setting: &Setting, services: &[Service]) -> String {
    let mut text = String::from("#![enable(implicit_some)]\n(\n");
    write(&mut text, topology, setting, services).expect("writing to a String does not fail");
    text
}

fn write(
    text: &mut String,
    topology: &Topology,
    setting: &Setting,
    services: &[Service],
) -> std::fmt::Result {
    writeln!(text, "    runtime: (")?;
    writeln!(text, "        workers: {:?},", setting.workers)?;
    writeln!(text, "        memory: {},", setting.memory)?;
    writeln!(text, "        connections: 65536,")?;
    writeln!(text, "        idle: Backoff,")?;
    writeln!(
        text,
        "        admin_socket: {:?},",
        setting.admin_socket.display().to_string()
    )?;
    writeln!(text, "    ),")?;

    writeln!(text, "    ports: {{")?;
    for (port, device) in topology.ports.iter().zip(&setting.devices) {
        let name = port.name;
        let (ipv4, ipv6) = (port.addresses.ipv4, port.addresses.ipv6);
        writeln!(
            text,
            "        {name:?}: (device: {device}, addresses: [\"{ipv4}/24\", \"{ipv6}/64\"]),"
        )?;
    }
    writeln!(text, "    }},")?;

    if !topology.routes.is_empty() {
        writeln!(text, "    routes: [")?;
        for route in &topology.routes {
            for family in Family::ALL {
                let (prefix, via) = (route.prefix(family), route.via.of(family));
                writeln!(text, "        (to: \"{prefix}\", via: \"{via}\"),")?;
            }
        }
        writeln!(text, "    ],")?;
    }

    if !topology.lips.is_empty() {
        let lips: Vec<String> = Family::ALL
            .iter()
            .flat_map(|&family| topology.lips.iter().map(move |lip| lip.of(family)))
            .map(|lip| format!("\"{lip}\""))
            .collect();
        let lips = lips.join(", ");
        writeln!(text, "    local_pools: {{ \"default\": [{lips}] }},")?;
    }

    writeln!(text, "    services: [")?;
    for service in services {
        writeln!(text, "        (")?;
        writeln!(text, "            vip: \"{}\",", service.vip)?;
        writeln!(text, "            protocol: {:?},", service.protocol)?;
        writeln!(text, "            scheduler: {},", service.scheduler)?;
        let toa = (service.protocol == Protocol::Tcp).then_some("Toa");
        let told = service.client_address.or(toa);
        let method = service.method.in_configuration(told);
        writeln!(text, "            method: {method},")?;
        writeln!(text, "            destinations: [")?;
        for (address, weight) in &service.destinations {
            writeln!(
                text,
                "                (address: \"{address}\", weight: {weight}),"
            )?;
        }
        writeln!(text, "            ],\n        ),")?;
    }
    writeln!(text, "    ],\n)")
}
