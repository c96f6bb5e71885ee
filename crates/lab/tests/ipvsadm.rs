//! ipvsadm's commands, given to a running weir: what they say is done at once and seen by clients, what is refused is
//! refused in ipvsadm's words and leaves no trace.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use weir_lab::client::{self, Download};
use weir_lab::director::{built, socket_path};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, command, config, server, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// A director without services, and a link to the binary that is called ipvsadm.
struct Ipvsadm {
    rig: Rig,
    link: PathBuf,
}

impl Ipvsadm {
    fn new() -> Result<Self> {
        let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        rig.serve(1, &[])?;
        Self::beside(rig)
    }

    /// One that has no local pool, and real servers of two subnets on the clients' link.
    fn without_pool() -> Result<Self> {
        let mut rig = Rig::for_test(Arms::One, ClientSide::OnLink)?;
        let text = config::text(&rig.topology, &config::last_cpus(1)?, &[]);
        let lines = text.lines().filter(|line| !line.contains("local_pools"));
        let text = lines.collect::<Vec<_>>().join("\n");
        let own = rig.topology.ports[0].addresses.ipv4;
        let (one, two) = (format!("\"{own}/24\""), "\"10.1.0.1/24\"");
        ensure!(text.contains(&one) && !text.contains("pool"), "{text}");
        let text = text.replace(&one, &format!("{one}, {two}"));
        rig.start_director(&built("weir")?, &text)?;
        Self::beside(rig)
    }

    fn beside(rig: Rig) -> Result<Self> {
        let link = rig.topology.lab.folder().join("ipvsadm");
        std::os::unix::fs::symlink(std::fs::canonicalize(built("weir")?)?, &link)?;
        Ok(Self { rig, link })
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.link);
        command
            .args(line.split_whitespace())
            .env("WEIR_SOCKET", socket_path(&self.rig.topology.lab));
        command
    }

    /// What it prints, refusals first, and its exit code.
    fn said(&self, line: &str) -> Result<(String, i32)> {
        let output = command::output(&mut self.command(line))?;
        let text = [output.stderr, output.stdout].concat();
        let code = output.status.code().context("it was killed")?;
        Ok((String::from_utf8(text)?, code))
    }

    /// Has lines done, each without a word.
    fn done(&self, lines: &[&str]) -> Result<()> {
        for line in lines {
            let said = self.said(line)?;
            ensure!(said == (String::new(), 0), "ipvsadm {line}: {said:?}");
        }
        Ok(())
    }

    /// Whether what runs is saved as a file that the check accepts and that means the same.
    fn require_saved(&self) -> Result<PathBuf> {
        let path = self.rig.topology.lab.folder().join("saved.ron");
        let file = path.display().to_string();
        let weir = self.rig.director()?;
        command::run(&mut weir.command(&["config", "save", "--output", &file]))?;
        command::run(Command::new(built("weir")?).args(["check", "--config", &file]))?;
        let dry_run = ["reload", "--config", &file, "--dry-run"];
        let difference = command::run(&mut weir.command(&dry_run))?;
        ensure!(difference == "nothing would change\n", "{difference}");
        Ok(path)
    }

    fn stop(mut self) -> Result<()> {
        self.rig.stop_director()
    }

    /// `-R`, with `text` on standard input.
    fn restore(&self, text: &str) -> Result<(String, i32)> {
        let mut child = self
            .command("-R")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no standard input")?;
        input.write_all(text.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        let code = output.status.code().context("it was killed")?;
        Ok((String::from_utf8(output.stderr)?, code))
    }
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_service_is_made_changed_saved_and_restored() -> Result<()> {
    let director = Ipvsadm::new()?;
    let client_ns = director.rig.topology.client.namespace.clone();
    let url = client::url(director.rig.topology.vip.ipv4.into(), server::HTTP);
    let shares = |count| -> Result<Vec<(String, usize)>> {
        let answers = client::curl(&client_ns, &url, count)?;
        let bodies = answers.iter().map(|answer| answer.body.as_str());
        Ok(client::shares(bodies).into_iter().collect())
    };

    // Made: live when the command returns.
    director.done(&[
        "-A -t 192.0.2.100:80 -s wrr",
        "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -b -w 3",
        "-a -t 192.0.2.100:80 -r 10.0.0.12 -b",
        "-A -u 192.0.2.100:53 -s sh -b sh-port,flag-3",
        "-A -f 7 -s wrr -p 60 -M 255.255.255.0",
        "-a -f 7 -r 10.1.0.11 -g -w 3",
    ])?;
    let sum = shares(40)?;
    assert_eq!(sum, [("rs1".into(), 30), ("rs2".into(), 10)]);
    let quiet = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  192.0.2.100:80 wrr
  -> 10.0.0.11:80                 FullNat 3      0          30        
  -> 10.0.0.12:80                 FullNat 1      0          10        
UDP  192.0.2.100:53 sh (sh-port)
FWM  7 wrr persistent 60 mask 255.255.255.0
  -> 10.1.0.11:0                  Route   3      0          0         
";
    wait::until("the connections to be inactive", LIMIT, || {
        Ok((director.said("-ln")?.0 == quiet).then_some(()))
    })
    .with_context(|| format!("{:?}", director.said("-ln")))?;

    // Counted, and from zero again.
    let counted = director.said("-ln --stats -t 192.0.2.100:80")?.0;
    let opened = |row: &str| row.split_whitespace().nth_back(4).map(str::to_owned);
    let rows: Vec<_> = counted.lines().skip(2).map(opened).collect();
    let expected = ["40", "30", "10"].map(|number| Some(number.to_owned()));
    assert_eq!(rows, expected, "{counted}");
    let rates = director.said("-ln --rate -t 192.0.2.100:80")?.0;
    assert_eq!(rates.lines().count(), 5, "{rates}");
    director.done(&["-Z -t 192.0.2.100:80"])?;
    let counted = director.said("-ln --stats -t 192.0.2.100:80")?.0;
    let zero = "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  192.0.2.100:80                      0        0        0        0        0
  -> 10.0.0.11:80                        0        0        0        0        0
  -> 10.0.0.12:80                        0        0        0        0        0
";
    assert_eq!(counted, zero);

    // Changed, with a transfer running that is not disturbed.
    let folder = director.rig.topology.lab.folder().to_owned();
    let payload = server::files_folder(&director.rig.topology.lab).join("big");
    let digest = server::write_payload(&payload, 4_000_000, 4)?;
    let mut download = Download::start(
        &client_ns,
        &format!("{url}/files/big"),
        &folder.join("downloaded"),
        Some(1_000_000),
    )?;
    download.wait_for_len(1, LIMIT)?;
    let listed = director.said("-lnc")?.0;
    let established = listed.lines().find(|line| line.contains("ESTABLISHED"));
    let words: Vec<_> = established
        .with_context(|| listed.clone())?
        .split_whitespace()
        .collect();
    assert_eq!((words[0], words[4]), ("TCP", "192.0.2.100:80"), "{listed}");
    assert!(
        words[1] == "15:00" || words[1].starts_with("14:"),
        "{listed}"
    );
    director.done(&[
        "-e -t 192.0.2.100:80 -r 10.0.0.11:80 -b -w 0",
        "-E -t 192.0.2.100:80 -s rr",
        "--set 600 0 60",
    ])?;
    assert_eq!(shares(10)?, [("rs2".into(), 10)]);
    assert_eq!(
        director.said("-l --timeout")?.0,
        "Timeout (tcp tcpfin udp): 600 120 60\n"
    );
    assert_eq!(download.finish(LIMIT)?, (digest, 4_000_000));

    // A service's own local address.
    director.done(&["-P -t 192.0.2.100:80 -z 10.0.0.210"])?;
    assert_eq!(shares(4)?, [("rs2".into(), 4)]);
    let listed = director.rig.director()?.table("connections")?;
    assert!(
        listed.iter().any(|row| row["local"]
            .as_str()
            .is_some_and(|local| local.starts_with("10.0.0.210:"))),
        "{listed:?}"
    );

    // Saved as commands and as a configuration, and restored from both.
    let (saved, _) = director.said("-S -n")?;
    let expected = "-A -t 192.0.2.100:80 -s rr
-P -t 192.0.2.100:80 -z 10.0.0.210
-a -t 192.0.2.100:80 -r 10.0.0.11:80 -b -w 0
-a -t 192.0.2.100:80 -r 10.0.0.12:80 -b -w 1
-A -u 192.0.2.100:53 -s sh -b sh-port
-A -f 7 -s wrr -p 60 -M 255.255.255.0
-a -f 7 -r 10.1.0.11:0 -g -w 3
";
    assert_eq!(saved, expected);
    let file = director.require_saved()?.display().to_string();
    let weir = director.rig.director()?;
    director.done(&["-C"])?;
    assert_eq!(director.said("-S -n")?, (String::new(), 0));
    assert_eq!(director.restore(&saved)?, (String::new(), 0));
    assert_eq!(director.said("-S -n")?.0, saved);
    assert_eq!(shares(4)?, [("rs2".into(), 4)]);
    director.done(&["-C"])?;
    command::run(&mut weir.command(&["reload", "--config", &file]))?;
    assert_eq!(director.said("-S -n")?.0, saved);
    let status = weir.table("status")?;
    let warnings = serde_json::to_string(&status[0]["warnings"])?;
    assert!(warnings.contains("firewall mark"), "{warnings}");

    director.stop()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn what_is_refused_is_refused_in_its_words_and_leaves_no_trace() -> Result<()> {
    let director = Ipvsadm::new()?;
    director.done(&[
        "-A -t 192.0.2.100:80",
        "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -b",
    ])?;
    let before = director.said("-S -n")?;
    for (line, sentence, code) in [
        ("-A -t 192.0.2.100:80 -s rr", "Service already exists", 255),
        (
            "-a -t 192.0.2.100:80 -r 10.0.0.11:80 -b",
            "Destination already exists",
            255,
        ),
        (
            "-d -t 192.0.2.100:80 -r 1.2.3.4:80",
            "No such destination",
            255,
        ),
        ("-D -t 1.2.3.4:80", "No such service", 255),
        ("-E -t 1.2.3.4:80 -s rr", "No such service", 255),
        ("-Z -t 1.2.3.4:80", "No such service", 255),
        ("-ln -t 1.2.3.4:80", "No such service", 1),
        (
            "-A -t 192.0.2.100:83 -s nosuch",
            "Scheduler or persistence engine not found",
            255,
        ),
        (
            "-a -t 192.0.2.100:81 -r 10.0.0.11:80 -b",
            "Service not defined",
            255,
        ),
        (
            "-a -t 192.0.2.100:80 -r 10.0.0.12:80 -b -x 5 -y 10",
            "Numerical result out of range",
            255,
        ),
        (
            "-a -t 192.0.2.100:80 -r 224.0.0.1:80 -b",
            "Invalid operation.  Possibly wrong module version, address not unicast, ...",
            255,
        ),
        (
            "-A -t 192.0.2.100",
            "Zero port specified for non-persistent service",
            2,
        ),
        (
            "-a -t 192.0.2.100:80 -r 10.99.0.1:80 -b",
            "no port's subnet and no route leads to the real server 10.99.0.1; add a route, or correct the address",
            255,
        ),
        ("--stop-daemon master", "No daemon is running", 255),
    ] {
        assert_eq!(
            director.said(line)?,
            (format!("{sentence}\n"), code),
            "{line}"
        );
        assert_eq!(director.said("-S -n")?, before, "{line}");
    }
    // Lines are done up to the one that cannot be read; those that are refused hold nothing up.
    let (said, code) = director.restore(
        "-A -t 192.0.2.100:81 -s rr\n-A -t 192.0.2.100:81 -s rr\n-A -t 192.0.2.100:82\n-A -q\n-A\n-C\n",
    )?;
    assert_eq!(
        said,
        "Service already exists\n-q: unknown option\nYou need to supply the 'service-address' option for the 'add-service' command\n"
    );
    assert_eq!(code, 2);
    let (after, _) = director.said("-S -n")?;
    assert_eq!(
        after,
        before.0 + "-A -t 192.0.2.100:81 -s rr\n-A -t 192.0.2.100:82 -s wlc\n"
    );

    // Ten thousand lines.
    let mut lines = String::from("-A -t 192.0.2.100:90 -s rr\n");
    for number in 0..10_000 {
        let (host, l4_port) = (20 + number % 100, 1000 + number / 100);
        lines.push_str(&format!(
            "-a -t 192.0.2.100:90 -r 10.0.0.{host}:{l4_port} -b -w 1\n"
        ));
    }
    let began = std::time::Instant::now();
    assert_eq!(director.restore(&lines)?, (String::new(), 0));
    eprintln!("10,001 lines in {:?}", began.elapsed());
    assert_eq!(director.said("-S -n -t")?.1, 255);
    let listed = director.said("-ln -t 192.0.2.100:90")?.0;
    assert_eq!(listed.lines().count(), 3 + 10_000);
    director.stop()?;

    let unreachable = director_less()?;
    assert_eq!(unreachable.0, 255, "{}", unreachable.1);
    Ok(())
}

/// The commands of the reference session and what the real ipvsadm printed, as far as weir has what they ask for; the
/// counts alone are zero, for nobody has called.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_method_is_listed_saved_and_restored() -> Result<()> {
    let director = Ipvsadm::without_pool()?;
    director.done(&[
        "-A -t 10.0.0.100:81 -s rr",
        "-a -t 10.0.0.100:81 -r 10.1.0.11:81 -m -w 1",
        "-a -t 10.0.0.100:81 -r 10.1.0.12:81 -m -w 1",
        "-a -t 10.0.0.100:81 -r 10.1.0.13:81 -m -w 0",
        "-A -u 10.0.0.100:53 -s sh -b sh-port,sh-fallback",
        "-a -u 10.0.0.100:53 -r 10.1.0.11:53 -g -w 10",
        "-a -u 10.0.0.100:53 -r 10.1.0.12:53 -i -w 10",
        "-a -u 10.0.0.100:53 -r 10.1.0.13:53 -i --tun-type gue --tun-port 6080",
        "-a -u 10.0.0.100:53 -r 10.1.0.14:53 -i --tun-type gre --tun-csum",
    ])?;
    let listed = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.0.0.100:81 rr
  -> 10.1.0.11:81                 Masq    1      0          0         
  -> 10.1.0.12:81                 Masq    1      0          0         
  -> 10.1.0.13:81                 Masq    0      0          0         
UDP  10.0.0.100:53 sh (sh-fallback,sh-port)
  -> 10.1.0.11:53                 Route   10     0          0         
  -> 10.1.0.12:53                 Tunnel  10     0          0         
  -> 10.1.0.13:53                 Tunnel  1      0          0         
  -> 10.1.0.14:53                 Tunnel  1      0          0         
";
    let tunnels = "IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn
TCP  10.0.0.100:81 rr
  -> 10.1.0.11:81                 Masq    n/a           1      0          0         
  -> 10.1.0.12:81                 Masq    n/a           1      0          0         
  -> 10.1.0.13:81                 Masq    n/a           0      0          0         
UDP  10.0.0.100:53 sh (sh-fallback,sh-port)
  -> 10.1.0.11:53                 Route   n/a           10     0          0         
  -> 10.1.0.12:53                 Tunnel  ipip          10     0          0         
  -> 10.1.0.13:53                 Tunnel  gue:6080:-c   1      0          0         
  -> 10.1.0.14:53                 Tunnel  gre:+c        1      0          0         
";
    let saved = "-A -t 10.0.0.100:81 -s rr
-a -t 10.0.0.100:81 -r 10.1.0.11:81 -m -w 1
-a -t 10.0.0.100:81 -r 10.1.0.12:81 -m -w 1
-a -t 10.0.0.100:81 -r 10.1.0.13:81 -m -w 0
-A -u 10.0.0.100:53 -s sh -b sh-fallback,sh-port
-a -u 10.0.0.100:53 -r 10.1.0.11:53 -g -w 10
-a -u 10.0.0.100:53 -r 10.1.0.12:53 -i -w 10 --tun-type ipip
-a -u 10.0.0.100:53 -r 10.1.0.13:53 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum
-a -u 10.0.0.100:53 -r 10.1.0.14:53 -i -w 1 --tun-type gre --tun-csum
";
    let is_whole = || -> Result<()> {
        for (line, expected) in [
            ("-ln", listed),
            ("-ln --tun-info", tunnels),
            ("-S -n", saved),
        ] {
            assert_eq!(director.said(line)?, (expected.to_owned(), 0), "{line}");
        }
        Ok(())
    };
    is_whole()?;

    // From commands, and from the file.
    let file = director.require_saved()?.display().to_string();
    director.done(&["-C"])?;
    assert_eq!(director.restore(saved)?, (String::new(), 0));
    is_whole()?;
    director.done(&["-C"])?;
    let weir = director.rig.director()?;
    command::run(&mut weir.command(&["reload", "--config", &file]))?;
    is_whole()?;

    // What a method asks for, and what weir lacks of it.
    const NO_POOL: &str = "FullNat takes its source addresses from the pool \"default\", and there is none; write one, as in local_pools: {\"default\": [\"10.0.0.200\"]}";
    for (line, sentence, code) in [
        (
            "-a -t 10.0.0.100:81 -r 10.9.0.1 -g",
            "no port's subnet and no route leads to the real server 10.9.0.1; add a route, or correct the address",
            255,
        ),
        ("-a -t 10.0.0.100:81 -r 10.1.0.20:81 -b", NO_POOL, 255),
        (
            "-a -t 10.0.0.100:81 -r 10.1.0.20 -i --tun-type gue --tun-port 6080 --tun-remcsum",
            "weir does not have remote checksums in tunnels (--tun-remcsum) yet; nothing was changed, see docs/ipvsadm.md for what it has",
            255,
        ),
        (
            "-a -t 10.0.0.100:81 -r [fd00:a::11]:81 -m",
            "Different address family is allowed only for tunneling servers",
            2,
        ),
        (
            "-a -t 10.0.0.100:81 -r 10.1.0.20 -m --tun-type gre",
            "Tunnel options conflict with forward method",
            2,
        ),
    ] {
        assert_eq!(
            director.said(line)?,
            (format!("{sentence}\n"), code),
            "{line}"
        );
        is_whole()?;
    }

    // Each becomes another; DR and tunnels have the L4 port of the service, whatever `-r` says.
    director.done(&[
        "-e -u 10.0.0.100:53 -r 10.1.0.11 -m",
        "-e -u 10.0.0.100:53 -r 10.1.0.12 -w 3",
        "-e -u 10.0.0.100:53 -r 10.1.0.13 -i --tun-type gre",
        "-e -u 10.0.0.100:53 -r 10.1.0.14 -i --tun-type gue --tun-port 7 --tun-csum",
        "-a -u 10.0.0.100:53 -r 10.1.0.15:8053",
        "-a -u 10.0.0.100:53 -r 10.1.0.16:8053 -m",
        "-D -t 10.0.0.100:81",
    ])?;
    let changed = "-A -u 10.0.0.100:53 -s sh -b sh-fallback,sh-port
-a -u 10.0.0.100:53 -r 10.1.0.11:53 -m -w 1
-a -u 10.0.0.100:53 -r 10.1.0.12:53 -g -w 3
-a -u 10.0.0.100:53 -r 10.1.0.13:53 -i -w 1 --tun-type gre --tun-nocsum
-a -u 10.0.0.100:53 -r 10.1.0.14:53 -i -w 1 --tun-type gue --tun-port 7 --tun-csum
-a -u 10.0.0.100:53 -r 10.1.0.15:53 -g -w 1
-a -u 10.0.0.100:53 -r 10.1.0.16:8053 -m -w 1
";
    assert_eq!(director.said("-S -n")?, (changed.to_owned(), 0));
    director.require_saved()?;
    director.stop()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn clients_are_served_by_nat_and_dr_beside_each_other() -> Result<()> {
    let director = Ipvsadm::without_pool()?;
    let topology = &director.rig.topology;
    let [behind, beside] = topology.real_servers.as_slice() else {
        anyhow::bail!("there are not two real servers");
    };
    // Replies under NAT go back to weir, even on the clients' own link.
    let (client, weir) = (
        topology.client.addresses.ipv4,
        topology.ports[0].addresses.ipv4,
    );
    behind
        .namespace
        .ip(&format!("route add {client}/32 via {weir}"))?;
    let vip = topology.vip.ipv4;
    beside
        .namespace
        .sysctl("net.ipv4.conf.all.arp_ignore", "1")?;
    beside
        .namespace
        .sysctl("net.ipv4.conf.all.arp_announce", "2")?;
    beside
        .namespace
        .ip(&format!("address add {vip}/32 dev lo"))?;

    let (first, second) = (behind.addresses.ipv4, beside.addresses.ipv4);
    director.done(&[
        &format!("-A -t {vip}:80 -s rr"),
        &format!("-a -t {vip}:80 -r {first} -m"),
        &format!("-a -t {vip}:80 -r {second}"),
    ])?;
    let url = client::url(vip.into(), server::HTTP);
    let answers = client::curl(&topology.client.namespace, &url, 10)?;
    let bodies = answers.iter().map(|answer| answer.body.as_str());
    let shares: Vec<_> = client::shares(bodies).into_iter().collect();
    assert_eq!(shares, [("rs1".into(), 5), ("rs2".into(), 5)]);
    let quiet = format!(
        "Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  {vip}:80 rr
  -> {:<28} Masq    1      0          5         
  -> {:<28} Route   1      0          5         
",
        format!("{first}:80"),
        format!("{second}:80")
    );
    let line = format!("-ln -t {vip}:80");
    wait::until("the connections to be inactive", LIMIT, || {
        Ok((director.said(&line)?.0 == quiet).then_some(()))
    })
    .with_context(|| format!("{:?}", director.said(&line)))?;
    director.stop()
}

/// What ipvsadm says where no weir runs.
fn director_less() -> Result<(i32, String)> {
    let output = command::output(Command::new(built("weir")?).args([
        "--socket",
        "/nonexistent/admin.sock",
        "ipvsadm",
        "-ln",
    ]))?;
    let code = output.status.code().context("it was killed")?;
    Ok((code, String::from_utf8(output.stderr)?))
}
