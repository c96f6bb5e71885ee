//! Linux IPVS's transcripts, replayed against the real binary: the same packets in, and the same packets out, byte for
//! byte the same listings, the same states, and times that differ by a second at most.
//!
//! What it is: `ipvs.txt` holds what was observed; here stand the meaning of its titles, which say how the director was
//! set up, and where weir differs, step by step, with the reason.
//!
//! Promises: every step of the file is replayed, or is named here with the reason why not; fragments that come out are,
//! put together, a packet with right checksums.

mod notation;
mod stand_ins;
mod transcript;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use weir_lab::director::{Director, built, socket_path};
use weir_lab::{Lab, Namespace, config, wait};

use notation::Shape;
use stand_ins::{Side, StandIns};
use transcript::{Section, Step};

const TRANSCRIPTS: &str = include_str!("ipvs.txt");

const CLIENTS: Side = Side {
    port: "clients",
    port_mac: [2, 0, 0, 0, 0, 0xd1],
    mark: 0x0a,
    machines: &[
        (2, Ipv4Addr::new(10, 0, 0, 2)),
        (9, Ipv4Addr::new(10, 0, 0, 9)),
    ],
};
/// The last one is a router.
const SERVERS: Side = Side {
    port: "servers",
    port_mac: [2, 0, 0, 0, 0, 0xd2],
    mark: 0x0b,
    machines: &[
        (1, Ipv4Addr::new(10, 1, 0, 11)),
        (2, Ipv4Addr::new(10, 1, 0, 12)),
        (5, Ipv4Addr::new(10, 1, 0, 15)),
    ],
};

/// The size of a full packet, and what a tunnel of IP in IP leaves room for.
const FULL: usize = 1500;
const MTU_IN_IPIP: u16 = 1480;
/// How long a listing may take to show what a packet changed: workers tell what they count every few milliseconds.
const LISTING_LIMIT: Duration = Duration::from_secs(2);

/// What a section begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// A new director; both services by NAT.
    Nat,
    /// A new director; both services by NAT, and ports by which fragments come in as they are: for a port's packet
    /// socket the kernel puts those of IPv4 together.
    NatByXdp,
    /// A new director; both services, and none of TCP's real servers.
    WithoutServers,
    /// A new director; both services by DR.
    Dr,
    /// A new director; both services by TUN.
    Tun,
    /// The director as the section before left it.
    GoesOn,
}

/// The sections, by their titles. That the one about TTL goes on is seen by whose turn it is.
const SECTIONS: [(&str, Start); 8] = [
    ("NAT TCP life cycle", Start::Nat),
    (
        "mid-stream ACK without connection (sloppy_tcp 0 / 1)",
        Start::Nat,
    ),
    ("no service / no server", Start::WithoutServers),
    ("UDP NAT + ICMP errors", Start::Nat),
    ("TTL", Start::GoesOn),
    ("DR", Start::Dr),
    ("TUN ipip", Start::Tun),
    ("fragments", Start::NatByXdp),
];

/// What in a step's title sets a setting of IPVS: the words before the number, and the setting.
const SETTINGS: [(&str, &str); 3] = [
    ("sloppy=", "sloppy_tcp"),
    ("(mode ", "conn_reuse_mode"),
    ("pmtu_disc=", "pmtu_disc"),
];

/// Steps whose packets are no short ones.
const SHAPES: [(&str, Shape); 5] = [
    ("1500+20 DF (too big)", Shape::Full),
    ("same, no DF", Shape::FullDivisible),
    ("DF, pmtu_disc=0", Shape::Full),
    ("first fragment", Shape::FirstFragment),
    ("second fragment", Shape::LaterFragment),
];

/// A step in which weir sends something else, on purpose.
struct Difference {
    section: &'static str,
    step: &'static str,
    /// What weir sends.
    emitted: &'static [&'static str],
    reason: &'static str,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        section: "fragments",
        step: "first fragment",
        emitted: &["->mac 0b02 UDP 10.0.0.2:5010>10.1.0.12:53 ttl63 BADL4CK"],
        reason: AS_THEY_CAME,
    },
    Difference {
        section: "fragments",
        step: "second fragment",
        emitted: &["->mac 0b02 UDP 10.0.0.2:29041>10.1.0.12:29041 ttl63 BADL4CK"],
        reason: AS_THEY_CAME,
    },
];

const AS_THEY_CAME: &str = "the kernel puts a datagram together before IPVS sees it and sends its fragments together; \
    weir holds nothing back and sends each when it has come (docs/decisions/0017)";

impl Difference {
    fn of(section: &Section, step: &Step) -> Option<&'static Self> {
        let is_it = |difference: &&Self| {
            (difference.section, difference.step) == (&section.title, &step.title)
        };
        DIFFERENCES.iter().find(is_it)
    }
}

/// A director between stand-ins.
struct Bench {
    director: Option<Director>,
    stand_ins: StandIns,
    /// Of a datagram that has not come out whole.
    fragments: Vec<Vec<u8>>,
    namespace: Namespace,
    // Dropped last: it takes everything down.
    lab: Lab,
}

impl Bench {
    fn new() -> Result<Self> {
        let lab = Lab::new()?;
        let namespace = lab.namespace("director")?;
        for scope in ["all", "default"] {
            namespace.sysctl(&format!("net.ipv6.conf.{scope}.disable_ipv6"), "1")?;
        }
        Ok(Self {
            director: None,
            fragments: Vec::new(),
            stand_ins: StandIns::on(&lab, &namespace, &[CLIENTS, SERVERS])?,
            namespace,
            lab,
        })
    }

    fn begin(&mut self, start: Start) -> Result<()> {
        let (device, method, rport, has_tcp_servers) = match start {
            Start::Nat => ("AfPacket", "-m", 8080, true),
            Start::NatByXdp => ("AfXdp", "-m", 8080, true),
            Start::WithoutServers => ("AfPacket", "-m", 8080, false),
            Start::Dr => ("AfPacket", "-g", 80, true),
            Start::Tun => ("AfPacket", "-i", 80, true),
            Start::GoesOn => return Ok(()),
        };
        self.stop()?;
        let config = format!(
            "(
                runtime: (workers: {:?}, connections: 65536, admin_socket: {:?}),
                ports: {{
                    \"clients\": (device: {device}(\"clients\"), addresses: [\"10.0.0.1/24\"]),
                    \"servers\": (device: {device}(\"servers\"), addresses: [\"10.1.0.1/24\"]),
                }},
            )",
            config::last_cpus(1)?,
            socket_path(&self.lab)
        );
        let director = Director::start_in(&self.lab, &self.namespace, &built("weir")?, &config)?;
        let director = self.director.insert(director);
        for (service, rport, has_servers) in [
            ("-t 10.0.0.100:80", rport, has_tcp_servers),
            ("-u 10.0.0.100:53", 53, true),
        ] {
            director.ipvsadm(&format!("-A {service} -s rr"))?;
            for server in ["10.1.0.11", "10.1.0.12"].iter().filter(|_| has_servers) {
                director.ipvsadm(&format!("-a {service} -r {server}:{rport} {method}"))?;
            }
        }
        self.stand_ins.heard(0).map(drop)
    }

    fn stop(&mut self) -> Result<()> {
        self.director.take().map_or(Ok(()), Director::stop)
    }

    fn director(&self) -> Result<&Director> {
        self.director
            .as_ref()
            .context("the file begins in the middle")
    }

    /// Replays a step and says in how far what was seen is something else than `emitted` and the rest of the step.
    fn replay(&mut self, step: &Step, emitted: &[String]) -> Result<Vec<String>> {
        if let Some((setting, value)) = setting(&step.title) {
            self.director()?.set(setting, value)?;
        }
        let packet = packet(step)?;
        self.stand_ins
            .send(notation::source(&step.sent)?, &packet)?;
        let sent_at = Instant::now();

        let heard = self.stand_ins.heard(emitted.len())?;
        let mut differences = Vec::new();
        let mut differ = |what: &str, expected: &[String], seen: &[String]| {
            if expected != seen {
                differences.push(format!(
                    "{what}:\n  expected\n    {}\n  seen\n    {}",
                    expected.join("\n    "),
                    seen.join("\n    ")
                ));
            }
        };
        let seen: Vec<String> = heard.iter().map(described).collect::<Result<_>>()?;
        differ("packets", emitted, &seen);
        let frames = heard.iter().map(|(_, frame)| frame);
        let fragments = frames.filter(|frame| notation::is_fragment(frame));
        self.fragments.extend(fragments.cloned());
        if let Some(whole) = notation::put_together(&self.fragments)? {
            self.fragments.clear();
            if whole.contains("BAD") {
                differ("fragments put together", &[], &[whole]);
            }
        }
        if let Some(mtu) = heard
            .iter()
            .find_map(|(_, frame)| notation::told_mtu(frame))
            && packet.len() == FULL
        {
            differ("MTU", &[MTU_IN_IPIP.to_string()], &[mtu.to_string()]);
        }
        if let Some(expected) = &step.connections {
            let listed = self.director()?.listed("-lnc")?;
            let seen: Vec<String> = listed
                .lines()
                .skip(2)
                .map(connection)
                .collect::<Result<_>>()?;
            if !are_alike(expected, &seen, sent_at.elapsed())? {
                differ("connections", expected, &seen);
            }
        }
        if !step.listing.is_empty() {
            let look =
                || -> Result<_> { Ok(listing(&self.director()?.listed("-ln")?, &step.listing[0])) };
            let as_expected = || Ok(Some(look()?).filter(|seen| *seen == step.listing));
            let seen = match wait::until("a listing", LISTING_LIMIT, as_expected) {
                Ok(seen) => seen,
                Err(_) => look()?,
            };
            differ("listing", &step.listing, &seen);
        }
        Ok(differences)
    }
}

/// The setting that a title names, and its value.
fn setting(title: &str) -> Option<(&'static str, &str)> {
    SETTINGS.iter().find_map(|(words, setting)| {
        let (_, rest) = title.split_once(words)?;
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        Some((*setting, &rest[..end.unwrap_or(rest.len())]))
    })
}

/// A frame in words; that it left by a port where its MAC address is not to be found is said too.
fn described((port, frame): &(&'static str, Vec<u8>)) -> Result<String> {
    let words = notation::describe(frame)?;
    let side = [CLIENTS, SERVERS]
        .into_iter()
        .find(|side| side.port == *port);
    let mark = side.context("no such port")?.mark;
    if words.starts_with(&format!("->mac {mark:02x}")) {
        Ok(words)
    } else {
        Ok(format!("by {port} {words}"))
    }
}

/// A row of `ipvsadm -lnc` as the transcripts have it.
fn connection(row: &str) -> Result<String> {
    let words: Vec<&str> = row.split_whitespace().collect();
    let [protocol, expiry, state, client, vip, server] = words[..] else {
        anyhow::bail!("a row of connections is: {row}")
    };
    let (minutes, seconds) = expiry.split_once(':').context("no time")?;
    let seconds = minutes.parse::<u64>()? * 60 + seconds.parse::<u64>()?;
    Ok(format!(
        "{protocol} {client} {vip} {server} {state} exp={seconds}"
    ))
}

/// Whether connections are the same in any order, and their times within a second, beside what `has_passed`.
fn are_alike(expected: &[String], seen: &[String], has_passed: Duration) -> Result<bool> {
    let [expected, seen] = [expected, seen].map(|connections| -> Result<Vec<(String, u64)>> {
        let mut parted = Vec::new();
        for connection in connections {
            let (words, expiry) = connection.split_once(" exp=").context("no time")?;
            parted.push((words.to_owned(), expiry.parse()?));
        }
        parted.sort();
        Ok(parted)
    });
    let (expected, seen) = (expected?, seen?);
    let is_alike =
        |((words, expiry), (seen_words, seen_expiry)): (&(String, u64), &(String, u64))| {
            let earliest = expiry.saturating_sub(1 + has_passed.as_secs());
            words == seen_words && (earliest..=expiry + 1).contains(seen_expiry)
        };
    Ok(expected.len() == seen.len() && expected.iter().zip(&seen).all(is_alike))
}

/// The lines of one service in a listing, from `heading` on.
fn listing(listed: &str, heading: &str) -> Vec<String> {
    let lines = listed.lines().skip_while(|line| *line != heading);
    let is_of_it = |(number, line): &(usize, &str)| *number == 0 || line.starts_with("  ->");
    let lines = lines.enumerate().take_while(is_of_it);
    lines.map(|(_, line)| line.to_owned()).collect()
}

/// What a step sends.
fn packet(step: &Step) -> Result<Vec<u8>> {
    let shape = SHAPES.iter().find(|(title, _)| *title == step.title);
    notation::packet(&step.sent, shape.map_or(Shape::Short, |(_, shape)| *shape))
}

/// Each packet that is sent says, when it is read, what it was made of.
#[test]
fn packets_are_what_their_notation_says() -> Result<()> {
    for step in transcript::read(TRANSCRIPTS)?
        .iter()
        .flat_map(|section| &section.steps)
    {
        let frame = [&[0; 14][..], &packet(step)?].concat();
        let words = notation::describe(&frame)?;
        assert_eq!(words, format!("->mac 0000 {}", step.sent));
    }
    Ok(())
}

#[test]
fn fragments_put_together_are_the_datagram() -> Result<()> {
    let sections = transcript::read(TRANSCRIPTS)?;
    let section = sections.iter().find(|section| section.title == "fragments");
    let steps = &section.context("no section about fragments")?.steps;
    let frame = |step| Ok([&[0; 14][..], &packet(step)?].concat());
    let mut frames = steps.iter().map(frame).collect::<Result<Vec<_>>>()?;
    assert!(frames.iter().all(|frame| notation::is_fragment(frame)));
    let words = "UDP 10.0.0.2:5010>10.0.0.100:53 ttl64";
    assert_eq!(notation::put_together(&frames[..1])?, None);
    assert_eq!(notation::put_together(&frames)?, Some(words.to_owned()));
    frames[1][100] ^= 1;
    let wrong = Some(format!("{words} BADL4CK"));
    assert_eq!(notation::put_together(&frames)?, wrong);
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn what_ipvs_did_weir_does() -> Result<()> {
    let sections = transcript::read(TRANSCRIPTS)?;
    let mut bench = Bench::new()?;
    let mut differences = Vec::new();
    let (mut n_replayed, mut n_different) = (0, 0);
    for section in &sections {
        let title = section.title.as_str();
        let known = SECTIONS.iter().find(|(known, _)| *known == title);
        let (_, start) = known.with_context(|| format!("what does `{title}` begin with?"))?;
        bench.begin(*start).with_context(|| title.to_owned())?;
        for step in &section.steps {
            let different = Difference::of(section, step);
            let emitted = match different {
                Some(difference) => {
                    println!("different: {title}, {}: {}", step.title, difference.reason);
                    n_different += 1;
                    let words = difference.emitted.iter().map(|&words| words.to_owned());
                    words.collect()
                }
                None => step.emitted.clone(),
            };
            let found = bench.replay(step, &emitted);
            let found = found.with_context(|| format!("{title}, {}", step.title))?;
            let found = found
                .iter()
                .map(|found| format!("{title}, {}: {found}", step.title));
            differences.extend(found);
            n_replayed += 1;
        }
    }
    bench.stop()?;
    ensure!(
        bench.fragments.is_empty(),
        "a datagram did not come out whole"
    );
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    ensure!(
        n_different == DIFFERENCES.len(),
        "the list here names a step that the file has not, or has twice"
    );
    ensure!(sections.len() == SECTIONS.len(), "a section is missing");
    assert_eq!(n_replayed, 37, "steps of the file");
    Ok(())
}
