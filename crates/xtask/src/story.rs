//! What the demo and the lab by hand have in common: which methods there are, what weir is told to do, how the network
//! is drawn and explained.
//!
//! Promises: a new forwarding method is one new variant here and the compiler shows the rest.
//! Does not know: whether anything is running.

use std::path::Path as FilePath;

use anyhow::{Context, Result};
use clap::ValueEnum;
use weir_lab::address::{Addresses, Family};
use weir_lab::config::{Protocol, Service};
use weir_lab::director::socket_path;
use weir_lab::method::Encapsulation;
use weir_lab::path::Path;
use weir_lab::server::{self, PeerProgram};
use weir_lab::topology::{Host, Topology};
use weir_lab::{self as lab};

use crate::picture::Machine;

/// The name of the lab that `cargo xtask demo --keep` leaves up.
pub(crate) const DEMO: &str = "demo";

/// A forwarding method that weir has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// The destination is rewritten on the way in, the source on the way out
    Nat,
    /// Only MAC addresses change; replies go straight to the client
    Dr,
    /// The packet travels inside another; replies go straight to the client
    Tun,
    /// Source and destination are rewritten; the client's address travels in a TCP option
    #[value(name = "fullnat")]
    FullNat,
}

impl Method {
    /// The name as a user writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Dr => "dr",
            Self::Tun => "tun",
            Self::FullNat => "fullnat",
        }
    }

    /// The method as the lab knows it.
    pub(crate) fn of_lab(self) -> lab::Method {
        match self {
            Self::Nat => lab::Method::Nat,
            Self::Dr => lab::Method::Dr,
            Self::Tun => lab::Method::Tun(Encapsulation::Ipip),
            Self::FullNat => lab::Method::FullNat,
        }
    }

    /// The method in a few lines, for someone who has never heard of it.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
            Self::Nat => {
                "NAT: weir replaces the destination, the virtual address, by a real server's own. The real server\n\
                 sees the client as it is and answers it; its default route is weir, which puts the virtual address\n\
                 back into the answer."
            }
            Self::Dr => {
                "DR, direct routing: every real server has the virtual address too and keeps quiet about it. weir\n\
                 only puts the real server's MAC address on the frame; the server answers the client directly, and\n\
                 weir sees no answer at all."
            }
            Self::Tun => {
                "TUN: as DR, but weir puts the packet into another one, addressed to the real server. So the server\n\
                 can be anywhere that is routed; it unpacks, finds the virtual address to be its own, and answers the\n\
                 client directly."
            }
            Self::FullNat => {
                "FULLNAT: weir replaces both addresses. Towards the real server it speaks from a local\n\
                 address (LIP) of its own, so that replies come back to it whatever the network looks like.\n\
                 The real server would see only that address; a TCP option, TOA, tells it the client's."
            }
        }
    }
}

/// Weights of the two real servers.
pub(crate) const WEIGHTS: [u32; 2] = [2, 1];

/// What weir serves in the demo and in the lab by hand: every server there is, over IPv4 and IPv6.
pub(crate) fn services(topology: &Topology) -> Vec<Service> {
    Family::ALL
        .into_iter()
        .flat_map(|family| {
            let service = |protocol, l4_port| {
                Service::new(topology, family, protocol, l4_port, "Wrr", WEIGHTS)
            };
            [
                service(Protocol::Tcp, server::HTTP),
                service(Protocol::Tcp, server::PEER),
                service(Protocol::Udp, server::ECHO),
                service(Protocol::Tcp, server::IPERF).with_first_destination_only(),
            ]
        })
        .collect()
}

/// The file name of the picture of a request.
pub(crate) fn picture_file(method: lab::Method, family: Family) -> String {
    let name = match method {
        lab::Method::Nat => "nat",
        lab::Method::Dr => "dr",
        lab::Method::Tun(_) => "tun",
        lab::Method::FullNat => "fullnat",
    };
    match family {
        Family::Ipv4 => format!("{name}.svg"),
        Family::Ipv6 => format!("{name}-ipv6.svg"),
    }
}

/// What is written above that picture.
pub(crate) fn picture_title(method: lab::Method, family: Family) -> String {
    let name = match method {
        lab::Method::Nat => "NAT",
        lab::Method::Dr => "DR, direct routing",
        lab::Method::Tun(_) => "TUN, IP in IP",
        lab::Method::FullNat => "FULLNAT",
    };
    format!("{name}: one request over {family}, as captured on every wire")
}

/// The machines of that picture, in the order in which the request meets them, and what is said of each.
pub(crate) fn machines(topology: &Topology, family: Family, path: &Path) -> Vec<Machine> {
    let mut names: Vec<&'static str> = path.there.iter().map(|seen| seen.machine).collect();
    names.dedup();
    let of_host = |host: &Host| vec![host.addresses.of(family).to_string(), host.mac.to_owned()];
    let vip = topology.vip.of(family);
    let facts = |name: &str| match name {
        "client" => of_host(&topology.client),
        "weir" => {
            let ports = topology.ports.iter().map(|port| {
                let own = port.addresses.of(family);
                format!("{} {own} {}", port.name, port.mac)
            });
            let lips = (topology.lips.first().zip(topology.lips.last()))
                .map(|(first, last)| format!("LIPs {} to {}", first.of(family), last.of(family)));
            let vip = [format!("VIP {vip}")];
            vip.into_iter().chain(ports).chain(lips).collect()
        }
        "router" => {
            let ends = topology.inner_router.iter();
            let ends = ends.flat_map(|router| [&router.front, &router.back]);
            ends.map(|host| format!("{} {}", host.addresses.of(family), host.mac))
                .collect()
        }
        name => {
            let host = &topology.real_servers[usize::from(name == "rs2")];
            let mut facts = of_host(host);
            if topology.method.real_servers_have_the_vip() {
                facts.push(format!("lo {vip}"));
            }
            facts
        }
    };
    names
        .into_iter()
        .map(|name| Machine {
            name,
            facts: facts(name),
        })
        .collect()
}

/// This very program, as the host of the lab's own servers.
pub(crate) fn peer_program() -> Result<PeerProgram> {
    let program = std::env::current_exe().context("the running program has no path")?;
    Ok(PeerProgram::new(program, &["peer"]))
}

/// Draws the network.
pub(crate) fn print_drawing(topology: &Topology) {
    println!();
    match (topology.ports.len(), &topology.inner_router) {
        (1, _) => {
            println!("  client ──┐   ┌── weir");
            println!("           switch");
            println!("     rs1 ──┘   └── rs2          (nginx on both)");
        }
        (_, None) => {
            println!("  client ── wan  weir  lan ──┬── rs1 (nginx)");
            println!("                             └── rs2 (nginx)");
        }
        (_, Some(_)) => {
            println!("  client ── wan  weir  lan ── router ──┬── rs1 (nginx)");
            println!("                                       └── rs2 (nginx)");
        }
    }
    println!();
    let print = |name: &str, addresses: Addresses| {
        println!("  {name:<10} {:<16} {}", addresses.ipv4, addresses.ipv6);
    };
    print("client", topology.client.addresses);
    print("VIP", topology.vip);
    for port in &topology.ports {
        print(&format!("weir {}", port.name), port.addresses);
    }
    if let Some(router) = &topology.inner_router {
        print("router", router.front.addresses);
        print("", router.back.addresses);
    }
    for (host, name) in topology.real_servers.iter().zip(["rs1", "rs2"]) {
        print(name, host.addresses);
    }
    println!();
}

/// Shows the lines of ipvsadm that made the services: all of the web servers', the others' by number.
pub(crate) fn print_lines(lines: &[String]) {
    let vport = format!(":{} ", server::HTTP);
    let (shown, others): (Vec<&String>, Vec<&String>) = lines
        .iter()
        .partition(|line| format!("{line} ").contains(&vport));
    for line in shown {
        println!("     ipvsadm {line}");
    }
    println!(
        "     and {} such lines for the lab's other servers.",
        others.len()
    );
}

/// Says what can be tried in a lab that is left up.
pub(crate) fn print_how_to_look_around(topology: &Topology, binary: &FilePath, name: &str) {
    print_drawing(topology);
    let vip = topology.vip;
    let socket = socket_path(&topology.lab);
    println!(
        "The lab {name} is up. Each machine is a network namespace named {}-…:",
        topology.lab.prefix()
    );
    println!();
    println!("  cargo xtask lab exec client curl http://{}/", vip.ipv4);
    println!(
        "  cargo xtask lab exec client curl 'http://[{}]/'",
        vip.ipv6
    );
    println!(
        "  cargo xtask lab exec client curl http://{}:{}/     # who does the server think I am?",
        vip.ipv4,
        server::PEER
    );
    println!("  cargo xtask lab exec client iperf3 -c {}", vip.ipv4);
    println!(
        "  cargo xtask lab exec director tcpdump -ni lan      # while the above runs elsewhere"
    );
    println!();
    println!("weir itself is asked from anywhere on this machine:");
    println!();
    println!("  export WEIR_SOCKET={}", socket.display());
    println!(
        "  {} services                # also: connections, drops, workers, neighbours …",
        binary.display()
    );
    println!();
    println!("Or as ipvsadm: {} ipvsadm -ln", binary.display());
    println!(
        "Its configuration and log are in {}. When you are done:",
        topology.lab.folder().display()
    );
    println!();
    println!("  cargo xtask lab down {name}");
}
