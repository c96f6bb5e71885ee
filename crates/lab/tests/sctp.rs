//! SCTP through weir between real stacks: usrsctp's client and echo servers, which need no kernel module.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use weir_lab::address::Family;
use weir_lab::process::Process;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Method, Rig, Topology, wait};

/// Where usrsctp's echo server listens; it knows no other.
const ECHO: u16 = 7;
/// Another vport, so that the checksum has to be mended.
const VPORT: u16 = 3868;
const LINES: usize = 20;
const CLIENTS: usize = 4;
const LIMIT: Duration = Duration::from_secs(20);

/// One echo server on each real server, ready.
fn servers(topology: &Topology) -> Result<Vec<Process>> {
    let hosts = topology.real_servers.iter().zip(["rs1", "rs2"]);
    hosts
        .map(|(host, name)| {
            let log = topology.lab.folder().join(format!("{name}-sctp-echo.log"));
            let mut command = host.namespace.command("/usr/lib/usrsctp/echo_server");
            let mut server = Process::start(&mut command, log)?;
            server.wait_until("an SCTP server to listen", LIMIT, || {
                host.namespace.enter(|| {
                    let sockets = std::fs::read_to_string("/proc/thread-self/net/raw")?;
                    Ok(sockets.contains(":0084 ").then_some(()))
                })?
            })?;
            Ok(server)
        })
        .collect()
}

/// A client with an association, which it keeps until its standard input ends.
fn client(topology: &Topology, vip: SocketAddr) -> Result<Child> {
    let (address, l4_port) = (vip.ip().to_string(), vip.port().to_string());
    let program = ["30", "/usr/lib/usrsctp/client", &address, &l4_port];
    let mut command = topology.client.namespace.command("timeout");
    command.args(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
        .stderr(Stdio::null())
        .spawn()
        .context("usrsctp's client cannot be started; is it installed?")
}

/// Sends lines, and reads each before the next.
fn echo(client: &mut Child) -> Result<()> {
    let stdin = client.stdin.as_mut().context("no standard input")?;
    let stdout = client.stdout.as_mut().context("no standard output")?;
    for n in 0..LINES {
        let line = format!("line {n} of an association\n");
        stdin.write_all(line.as_bytes())?;
        let mut answer = vec![0; line.len()];
        stdout.read_exact(&mut answer).context("no echo came")?;
        ensure!(answer == line.as_bytes(), "{answer:?} is no echo");
    }
    Ok(())
}

/// States and destinations of the connections to `vip` that weir lists.
fn connections(rig: &Rig, vip: SocketAddr) -> Result<Vec<(String, String)>> {
    let text = |row: &serde_json::Map<String, Value>, field: &str| {
        let value = row.get(field).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let rows = rig.director()?.table("connections")?;
    Ok(rows
        .iter()
        .filter(|row| text(row, "protocol") == "sctp" && text(row, "virtual") == vip.to_string())
        .map(|row| (text(row, "state"), text(row, "destination")))
        .collect())
}

fn associations_live_and_end(mut rig: Rig, word: &str, n_workers: usize) -> Result<()> {
    let _servers = servers(&rig.topology)?;
    rig.serve(n_workers, &[])?;
    for family in Family::ALL {
        let vip = SocketAddr::new(rig.topology.vip.of(family), VPORT);
        let director = rig.director()?;
        director.ipvsadm(&format!("-A --sctp-service {vip} -s rr"))?;
        for host in &rig.topology.real_servers {
            let real = SocketAddr::new(host.addresses.of(family), ECHO);
            director.ipvsadm(&format!("-a --sctp-service {vip} -r {real} {word}"))?;
        }
        let listed = director.listed("-L -n")?;
        ensure!(listed.contains(&format!("SCTP {vip} rr")), "{listed}");

        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = client(&rig.topology, vip)?;
            echo(&mut client)?;
            clients.push(client);
        }
        let mut shares = BTreeMap::new();
        for (state, destination) in connections(&rig, vip)? {
            assert_eq!(state, "ESTABLISHED");
            *shares.entry(destination).or_insert(0) += 1;
        }
        assert_eq!(shares.values().sum::<usize>(), CLIENTS, "{shares:?}");
        // Each worker takes turns by itself.
        if n_workers == 1 {
            assert_eq!(shares.len(), 2, "{shares:?}");
            assert!(shares.values().all(|n| *n == CLIENTS / 2), "{shares:?}");
        }
        for mut client in clients {
            drop(client.stdin.take());
            assert!(client.wait()?.success());
        }
        wait::until("all associations to be shut down", LIMIT, || {
            let all = connections(&rig, vip)?;
            Ok(all.iter().all(|(state, _)| state == "CLOSED").then_some(()))
        })?;
    }
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn associations_live_and_end_under_fullnat() -> Result<()> {
    for n_workers in [1, 2] {
        let rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        associations_live_and_end(rig, "-b", n_workers)?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn associations_live_and_end_under_nat() -> Result<()> {
    associations_live_and_end(Rig::course_for_test(Method::Nat)?, "-m", 1)
}
