//! `cargo xtask demo`: weir at work, told to someone who has never seen it.
//!
//! Promises: every fact that is printed was observed in this run, in a capture or in an answer; a fact that was not
//! observed, or that contradicts another, ends the demo with an error. Everything is taken down at the end.
//! Does not know: how the lab does what it does.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use weir_lab::address::Family;
use weir_lab::hop::Hop;
use weir_lab::peer::Answer;
use weir_lab::topology::{Arms, ClientSide, Topology};
use weir_lab::{Capture, Lab, Rig, checksum, client, config, server};

use crate::build::{self, Linking, Profile};
use crate::packages;
use crate::story::{self, Method};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One forwarding method instead of all
    #[arg(long)]
    method: Option<Method>,
    /// Leave the lab up at the end and say how to look around
    #[arg(long)]
    keep: bool,
    /// Wait for Enter before each step
    #[arg(long)]
    pause: bool,
}

/// Requests for each IP version.
const REQUESTS: usize = 24;
const CAPTURE_LIMIT: Duration = Duration::from_secs(10);

/// Runs the demo.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "weir is a layer-4 load balancer: clients talk to one address, several real servers answer."
    );
    packages::install_missing()?;
    println!("Building it (release) …");
    let binary = build::weir(Profile::Release, Linking::Shared)?;
    let methods: Vec<Method> = match arguments.method {
        Some(method) => vec![method],
        None => Method::value_variants().to_vec(),
    };
    for (index, &method) in methods.iter().enumerate() {
        let is_kept = arguments.keep && index + 1 == methods.len();
        show(
            method,
            &binary,
            Pause {
                is_wanted: arguments.pause,
            },
            is_kept,
        )?;
    }
    Ok(())
}

/// Whether the reader sets the pace.
#[derive(Clone, Copy)]
struct Pause {
    is_wanted: bool,
}

impl Pause {
    fn before(self, step: &str) -> Result<()> {
        println!("\n── {step}");
        if self.is_wanted {
            println!("   (Enter goes on)");
            std::io::stdin()
                .lock()
                .read_line(&mut String::new())
                .context("there is nobody to press Enter")?;
        }
        Ok(())
    }
}

fn show(method: Method, binary: &Path, pause: Pause, is_kept: bool) -> Result<()> {
    println!("\n{}", method.explanation());

    pause.before("A network of namespaces on this machine: one client, weir, two real servers")?;
    let lab = if is_kept {
        Lab::named(story::DEMO)?
    } else {
        Lab::new()?
    };
    let mut rig = Rig::lay_out(lab, Arms::Two, ClientSide::OnLink, &story::peer_program()?)?;
    story::print_drawing(&rig.topology);

    pause.before("weir starts on its two ports, wan and lan")?;
    let text = config::text(
        &rig.topology,
        &config::last_cpus(1)?,
        &story::services(&rig.topology, method),
    );
    let director = rig.start_director(binary, &text)?;
    println!(
        "   weir run, process {}, answers `weir status`.",
        director.id()
    );

    pause.before(&format!(
        "{REQUESTS} requests by curl, each over a new connection, over IPv4 and over IPv6"
    ))?;
    for family in Family::ALL {
        show_shares(&rig, family)?;
    }
    for family in Family::ALL {
        pause.before(&format!(
            "One request over {family}, as it looked at each hop"
        ))?;
        show_hops(&rig.topology, method, family)?;
    }

    if is_kept {
        story::print_how_to_look_around(&rig.topology, binary, story::DEMO);
        return rig.leave_running();
    }
    pause.before("Everything is taken down")?;
    rig.stop_director()?;
    drop(rig);
    println!("   weir ended in order; namespaces, servers and files are gone.");
    Ok(())
}

/// Makes the requests and prints who answered how many.
fn show_shares(rig: &Rig, family: Family) -> Result<()> {
    let topology = &rig.topology;
    let url = client::url(topology.vip.of(family), server::HTTP);
    let answers = client::curl(&topology.client.namespace, &url, REQUESTS)
        .with_context(|| director_words(rig, "a request was not answered"))?;
    let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
    ensure!(
        shares.values().sum::<usize>() == REQUESTS && shares.len() == topology.real_servers.len(),
        "not every real server answered: {shares:?}"
    );
    println!("   {url}: {REQUESTS} of {REQUESTS} requests were answered");
    for ((name, count), weight) in shares.iter().zip(story::WEIGHTS) {
        println!(
            "     {name} (weight {weight}): {count:>3} answers  {}",
            "▇".repeat(*count)
        );
    }
    Ok(())
}

fn director_words(rig: &Rig, sentence: &str) -> String {
    let log = rig
        .director()
        .map(weir_lab::Director::log)
        .unwrap_or_default();
    format!("{sentence}; weir's log:\n{log}")
}

/// Where a packet is looked at.
struct Place {
    name: &'static str,
    capture: Capture,
}

/// Makes one request and prints how its first packet, and the answer to that, looked at each hop.
fn show_hops(topology: &Topology, method: Method, family: Family) -> Result<()> {
    let mut places = vec![place(
        topology,
        "client",
        &topology.client.namespace,
        "eth0",
    )?];
    places.push(place(topology, "weir wan", &topology.director, "wan")?);
    places.push(place(topology, "weir lan", &topology.director, "lan")?);
    let mut at_real_servers = BTreeMap::new();
    for (host, name) in topology.real_servers.iter().zip(["rs1", "rs2"]) {
        at_real_servers.insert(
            name,
            place(topology, name, &host.namespace, host.interface)?,
        );
    }

    let url = client::url(topology.vip.of(family), server::PEER);
    let (local, answer) = client::ask_peer(&topology.client.namespace, &url)?;
    let chosen = at_real_servers.remove(answer.server.as_str());
    places.push(chosen.with_context(|| format!("an unknown server answered: {}", answer.server))?);

    let rip = topology.real_servers[usize::from(answer.server == "rs2")]
        .addresses
        .of(family);
    let flow = Flow {
        client: local,
        vip: SocketAddr::new(topology.vip.of(family), server::PEER),
        peer: answer.peer,
        rip: SocketAddr::new(rip, server::PEER),
    };
    let mut there = Vec::new();
    let mut back = Vec::new();
    let mut n_checksums = 0;
    for Place { name, mut capture } in places {
        let (opening, consent) = capture.wait_for(
            &format!("the request to be seen at {name}"),
            CAPTURE_LIMIT,
            |frames| {
                let hops: Vec<Hop> = frames.iter().filter_map(|frame| Hop::read(frame)).collect();
                let opening = hops
                    .iter()
                    .find(|hop| hop.is_opening() && flow.is_inbound(hop))?;
                let consent = hops
                    .iter()
                    .find(|hop| hop.is_consent() && flow.is_outbound(hop))?;
                Some((opening.clone(), consent.clone()))
            },
        )?;
        there.push((name, opening));
        back.push((name, consent));
        let report = checksum::verify(&capture.stop()?);
        ensure!(
            report.wrong.is_empty(),
            "wrong checksums at {name}: {}",
            report.wrong.join("; ")
        );
        n_checksums += report.right.values().sum::<usize>();
    }
    back.reverse();

    println!("   to the real server (SYN):");
    print_hops(&there);
    println!("   and back to the client (SYN, ACK):");
    print_hops(&back);
    println!(
        "   {n_checksums} checksums in these captures, computed again by another decoder: all right."
    );
    match method {
        Method::FullNat => show_client_address(topology, family, &flow, &there, &answer),
    }
}

/// The two ends of one connection on both sides of weir.
struct Flow {
    client: SocketAddr,
    vip: SocketAddr,
    peer: SocketAddr,
    rip: SocketAddr,
}

impl Flow {
    fn is_inbound(&self, hop: &Hop) -> bool {
        let ends = (hop.source, hop.destination);
        ends == (self.client, self.vip) || ends == (self.peer, self.rip)
    }

    fn is_outbound(&self, hop: &Hop) -> bool {
        let ends = (hop.destination, hop.source);
        ends == (self.client, self.vip) || ends == (self.peer, self.rip)
    }
}

fn place(
    topology: &Topology,
    name: &'static str,
    namespace: &weir_lab::Namespace,
    interface: &str,
) -> Result<Place> {
    let filter = format!("tcp port {}", server::PEER);
    Ok(Place {
        name,
        capture: Capture::start(&topology.lab, namespace, interface, &filter)?,
    })
}

fn print_hops(hops: &[(&str, Hop)]) {
    let wide = hops
        .iter()
        .flat_map(|(_, hop)| [hop.source, hop.destination]);
    let width = wide
        .map(|end| end.to_string().len())
        .chain(["address and port".len()])
        .max()
        .unwrap_or(0);
    println!(
        "     {:<9}{:<18} {:<width$}   {:<18} {:<width$} TTL",
        "seen at", "from MAC", "address and port", "to MAC", "address and port"
    );
    for (name, hop) in hops {
        println!(
            "     {name:<9}{:<18} {:<width$} → {:<18} {:<width$} {}",
            hop.source_mac,
            hop.source.to_string(),
            hop.destination_mac,
            hop.destination.to_string(),
            hop.ttl
        );
    }
}

/// Prints which client address the real server learned, having compared all there is to compare.
fn show_client_address(
    topology: &Topology,
    family: Family,
    flow: &Flow,
    there: &[(&str, Hop)],
    answer: &Answer,
) -> Result<()> {
    let is_lip = topology
        .lips
        .iter()
        .any(|lip| lip.of(family) == answer.peer.ip());
    ensure!(
        is_lip,
        "the real server was reached from {}, which is none of weir's local addresses",
        answer.peer
    );
    let learned = answer
        .toa
        .context("the real server found no client address in its saved SYN")?;
    ensure!(
        learned == flow.client,
        "the real server learned {learned}, but curl used {}",
        flow.client
    );
    let on_the_wire: Vec<_> = there.iter().map(|(_, hop)| hop.toa()).collect();
    ensure!(
        on_the_wire == [None, None, Some(learned), Some(learned)],
        "TOA is not where it should be on its way: {on_the_wire:?}"
    );
    println!(
        "   The real server {} sees the connection come from {} (a LIP of weir's).",
        answer.server, answer.peer
    );
    println!(
        "   In the SYN it finds TOA (option 254), which says {learned}: curl itself used {}.",
        flow.client
    );
    Ok(())
}
