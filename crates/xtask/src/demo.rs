//! `cargo xtask demo`: weir at work, told to someone who has never seen it.
//!
//! Promises: every fact that is printed was observed in this run, in a capture or in an answer; a fact that was not
//! observed, or that contradicts another, ends the demo with an error. Everything is taken down at the end.
//! Does not know: how the lab does what it does.

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use weir_lab::address::Family;
use weir_lab::encapsulation::Carrier;
use weir_lab::path::{Ends, Path, Sighting, Watch, Way};
use weir_lab::peer::Answer;
use weir_lab::{self as lab, Lab, Rig, Topology, client, server};

use crate::build::{self, Linking, Profile};
use crate::story::{self, Method};
use crate::{packages, picture};

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
    /// Where the pictures go; target/demo if left out
    #[arg(long, value_name = "FOLDER")]
    pictures: Option<PathBuf>,
}

/// Requests for each IP version.
const REQUESTS: usize = 24;

/// Runs the demo.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    println!(
        "weir is a layer-4 load balancer: clients talk to one address, several real servers answer."
    );
    packages::install_missing()?;
    println!("Building it (release) …");
    let binary = build::weir(Profile::Release, Linking::Shared)?;
    let pictures = match &arguments.pictures {
        Some(folder) => folder.clone(),
        None => build::target_folder()?.join("demo"),
    };
    std::fs::create_dir_all(&pictures)
        .with_context(|| format!("{} cannot be created", pictures.display()))?;
    let methods: Vec<Method> = match arguments.method {
        Some(method) => vec![method],
        None => Method::value_variants().to_vec(),
    };
    for (index, &method) in methods.iter().enumerate() {
        let showing = Showing {
            binary: &binary,
            pictures: &pictures,
            pause: Pause {
                is_wanted: arguments.pause,
            },
            is_kept: arguments.keep && index + 1 == methods.len(),
        };
        showing.show(method)?;
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

/// How a method is shown.
struct Showing<'a> {
    binary: &'a FilePath,
    pictures: &'a FilePath,
    pause: Pause,
    /// Whether the lab stays up.
    is_kept: bool,
}

impl Showing<'_> {
    fn show(&self, method: Method) -> Result<()> {
        println!("\n{}", method.explanation());

        let Self { binary, pause, .. } = *self;
        pause.before("A network of namespaces on this machine, that has no way out")?;
        let lab = if self.is_kept {
            Lab::named(story::DEMO)?
        } else {
            Lab::new()?
        };
        let mut rig = Rig::course(lab, method.of_lab(), &story::peer_program()?)?;
        story::print_drawing(&rig.topology);

        pause.before("weir starts with ports and routes; what it is to serve, ipvsadm tells it")?;
        let services = story::services(&rig.topology);
        let lines = rig.serve_by_ipvsadm(binary, &services)?;
        println!(
            "   weir run, process {}, answers `weir status`.",
            rig.director()?.id()
        );
        story::print_lines(&lines);

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
            show_path(&rig, family, self.pictures)?;
        }

        if self.is_kept {
            story::print_how_to_look_around(&rig.topology, binary, story::DEMO);
            return rig.leave_running();
        }
        pause.before("Everything is taken down")?;
        rig.stop_director()?;
        drop(rig);
        println!("   weir ended in order; namespaces, servers and files are gone.");
        Ok(())
    }
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

/// Makes one request and prints how its first packet, and the answer to that, looked at each hop; draws it too.
fn show_path(rig: &Rig, family: Family, pictures: &FilePath) -> Result<()> {
    let topology = &rig.topology;
    let watch = Watch::start(topology)?;
    let vip = SocketAddr::new(topology.vip.of(family), server::PEER);
    let url = client::url(vip.ip(), vip.port());
    let (local, answer) = client::ask_peer(&topology.client.namespace, &url)?;
    let chosen = &topology.real_servers[usize::from(answer.server == "rs2")];
    let rip = SocketAddr::new(chosen.addresses.of(family), server::PEER);
    let ends = Ends {
        client: local,
        vip,
        peer: answer.peer,
        own: if topology.method.real_servers_have_the_vip() {
            vip
        } else {
            rip
        },
    };
    let path = watch.path(&ends, &answer.server)?;
    path.check(topology.method, &ends, rip)?;

    println!("   to the real server (SYN):");
    print_sightings(&path.there);
    println!("   and back to the client (SYN, ACK):");
    print_sightings(&path.back);
    println!(
        "   {} checksums in these captures, computed again by another decoder: all right.",
        path.n_checksums
    );
    match topology.method {
        lab::Method::FullNat => show_client_address(topology, family, &ends, &path, &answer)?,
        lab::Method::Nat | lab::Method::Dr | lab::Method::Tun(_) => {
            ensure!(
                answer.peer == local,
                "the real server was reached from {}, but curl used {local}",
                answer.peer
            );
            println!(
                "   The real server {} sees the connection come from {}, which is curl's own address.",
                answer.server, answer.peer
            );
        }
    }

    let file = story::picture_file(topology.method, family);
    let file = pictures.join(file);
    let title = story::picture_title(topology.method, family);
    let machines = story::machines(topology, family, &path);
    std::fs::write(&file, picture::svg(&title, &machines, &path))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    println!("   The same as a picture: {}", file.display());
    Ok(())
}

/// A row for each sighting; two where the packet travels in another.
fn print_sightings(sightings: &[Sighting]) {
    let texts = sightings.iter().flat_map(|seen| {
        let outer = seen.hop.outer.iter();
        let outer =
            outer.flat_map(|outer| [outer.source.to_string(), outer.destination.to_string()]);
        let inner = [
            seen.hop.source.to_string(),
            seen.hop.destination.to_string(),
        ];
        inner.into_iter().chain(outer)
    });
    let width = texts
        .map(|text| text.len())
        .chain(["address and port".len()]);
    let width = width.max().unwrap_or(0);
    println!(
        "     {:<22} {:<17} {:<width$}   {:<17} {:<width$} TTL",
        "seen at", "from MAC", "address and port", "to MAC", "address and port"
    );
    for seen in sightings {
        let hop = &seen.hop;
        let what = match seen.way {
            Way::Sends => "sends",
            Way::Receives => "receives",
            Way::Unpacks => "unpacks",
        };
        let at = format!("{:<7}{:<6}{what}", seen.machine, seen.interface);
        let (mut at, mut source_mac, mut destination_mac) = (
            at.as_str(),
            hop.source_mac.as_str(),
            hop.destination_mac.as_str(),
        );
        if let Some(outer) = &hop.outer {
            println!(
                "     {at:<22} {source_mac:<17} {:<width$} → {destination_mac:<17} {:<width$} {}",
                outer.source.to_string(),
                outer.destination.to_string(),
                outer.ttl
            );
            (source_mac, destination_mac) = ("", "");
            at = match outer.carrier {
                Carrier::Ipv4 | Carrier::Ipv6 => "  inside (IPIP)",
                Carrier::Gre => "  inside (GRE)",
                Carrier::Gue => "  inside (GUE)",
            };
        }
        println!(
            "     {at:<22} {source_mac:<17} {:<width$} → {destination_mac:<17} {:<width$} {}",
            hop.source.to_string(),
            hop.destination.to_string(),
            hop.ttl
        );
    }
}

/// Prints which client address the real server learned, having compared all there is to compare.
fn show_client_address(
    topology: &Topology,
    family: Family,
    ends: &Ends,
    path: &Path,
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
        learned == ends.client,
        "the real server learned {learned}, but curl used {}",
        ends.client
    );
    // Before weir there is no TOA, behind it always.
    let on_the_wire: Vec<_> = path.there.iter().map(|seen| seen.hop.toa()).collect();
    let n_before = 2;
    ensure!(
        on_the_wire[..n_before].iter().all(Option::is_none)
            && on_the_wire[n_before..]
                .iter()
                .all(|toa| *toa == Some(learned)),
        "TOA is not where it should be on its way: {on_the_wire:?}"
    );
    println!(
        "   The real server {} sees the connection come from {} (a LIP of weir's).",
        answer.server, answer.peer
    );
    println!(
        "   In the SYN it finds TOA (option 254), which says {learned}: curl itself used {}.",
        ends.client
    );
    Ok(())
}
