//! What the demo and the lab by hand have in common: which methods there are, what weir is told to do, how the network
//! is drawn and explained.
//!
//! Promises: a new forwarding method is one new variant here and the compiler shows the rest.
//! Does not know: whether anything is running.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use weir_lab::address::Family;
use weir_lab::config::{Protocol, Service};
use weir_lab::director::socket_path;
use weir_lab::server::{self, PeerProgram};
use weir_lab::topology::Topology;

/// The name of the lab that `cargo xtask demo --keep` leaves up.
pub(crate) const DEMO: &str = "demo";

/// A forwarding method that weir has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// Source and destination are rewritten; the client's address travels in a TCP option
    #[value(name = "fullnat")]
    FullNat,
}

impl Method {
    /// The name as a user writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullNat => "fullnat",
        }
    }

    /// The method in a few lines, for someone who has never heard of it.
    pub(crate) fn explanation(self) -> &'static str {
        match self {
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
pub(crate) fn services(topology: &Topology, method: Method) -> Vec<Service> {
    match method {
        Method::FullNat => Family::ALL
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
            .collect(),
    }
}

/// This very program, as the host of the lab's own servers.
pub(crate) fn peer_program() -> Result<PeerProgram> {
    let program = std::env::current_exe().context("the running program has no path")?;
    Ok(PeerProgram::new(program, &["peer"]))
}

/// Draws the network.
pub(crate) fn print_drawing(topology: &Topology) {
    let client = topology.client.addresses;
    let [rs1, rs2] = [
        topology.real_servers[0].addresses,
        topology.real_servers[1].addresses,
    ];
    println!();
    println!("  client ────────────── wan  weir  lan ──────┬─────── rs1 (nginx)");
    println!("                                             └─────── rs2 (nginx)");
    println!(
        "  {:<24}{:<26}{} and {}",
        client.ipv4,
        format!("VIP {}", topology.vip.ipv4),
        rs1.ipv4,
        rs2.ipv4
    );
    println!(
        "  {:<24}{:<26}{} and {}",
        client.ipv6,
        format!("VIP {}", topology.vip.ipv6),
        rs1.ipv6,
        rs2.ipv6
    );
    println!();
}

/// Says what can be tried in a lab that is left up.
pub(crate) fn print_how_to_look_around(topology: &Topology, binary: &Path, name: &str) {
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
    println!(
        "Its configuration and log are in {}. When you are done:",
        topology.lab.folder().display()
    );
    println!();
    println!("  cargo xtask lab down {name}");
}
