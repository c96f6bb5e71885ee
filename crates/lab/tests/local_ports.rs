//! Local L4 ports run out by name, and are used again at once: when every one is taken, a finished connection's is taken
//! over, and the real server accepts it although it still holds that connection in TIME_WAIT.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use etherparse::PacketBuilder;
use serde_json::Value;
use weir_lab::address::Family;
use weir_lab::config::{self, Protocol, Service};
use weir_lab::director;
use weir_lab::inject::inject;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, client, command, server, wait};

/// More than one LIP has L4 ports for one destination.
const N_CLIENTS: u32 = 65_536;
/// How many of those are left for real connections: more than the L4 ports that weir leaves out.
const MARGIN: u32 = 3_000;
/// Long enough that the sequence numbers have gone a quarter of their round.
const UPLOAD_LEN: usize = 1_000_000_000;
/// When Linux sends a SYN again (RFC 6298).
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(60);

/// One service, one destination, one LIP: 64 Ki local L4 ports are all there is.
fn rig() -> Result<Rig> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::BehindRouter)?;
    rig.topology.lips.truncate(1);
    let service = Service::new(
        &rig.topology,
        Family::Ipv4,
        Protocol::Tcp,
        server::PEER,
        "Rr",
        [1, 1],
    );
    let services = [service.with_first_destination_only()];
    let text = config::text(&rig.topology, &config::last_cpus(1)?, &services);
    let roomy = text.replace("connections: 65536", "connections: 200000");
    rig.start_director(&director::built("weir")?, &roomy)?;
    Ok(rig)
}

/// SYNs of clients behind the router that do not exist: nobody answers the real server's consent, nobody resets it.
fn opening_frames(rig: &Rig, count: u32) -> Result<Vec<Vec<u8>>> {
    let vip = rig.topology.vip.ipv4.octets();
    (0..count)
        .map(|number| {
            let source = Ipv4Addr::new(198, 51, 100, 100 + (number >> 13) as u8);
            let cport = 10_000 + (number & 0x1fff) as u16;
            let mut frame = Vec::new();
            PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xa1], [2, 0, 0, 0, 0, 0xd1])
                .ipv4(source.octets(), vip, 64)
                .tcp(cport, server::PEER, number, 1000)
                .syn()
                .write(&mut frame, &[])
                .context("a SYN can be built")?;
            Ok(frame)
        })
        .collect()
}

/// Whether the real server holds its connection with `lip` in TIME_WAIT.
fn is_in_time_wait(rig: &Rig, lip: SocketAddr) -> Result<bool> {
    let real_server = &rig.topology.real_servers[0].namespace;
    let list = command::run(
        real_server
            .command("ss")
            .args(["-Htn", "state", "time-wait"]),
    )?;
    Ok(list.split_whitespace().any(|word| {
        word.ends_with(&lip.to_string()) || word.ends_with(&format!("{}]:{}", lip.ip(), lip.port()))
    }))
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn all_local_ports_taken_is_a_drop_with_a_name() -> Result<()> {
    let mut rig = rig()?;
    let router = rig
        .topology
        .router
        .as_ref()
        .context("this lab has a router")?;
    inject(&router.namespace, "wan", &opening_frames(&rig, N_CLIENTS)?)?;
    let director = rig.director()?;
    let exhausted = wait::until("local ports to run out", LIMIT, || {
        let is_meant = |row: &director::Row| {
            let reason = row
                .get("reason")
                .and_then(Value::as_str)
                .unwrap_or_default();
            reason.contains("local_port")
                && row.get("count").and_then(Value::as_u64).unwrap_or(0) > 0
        };
        Ok(director.table("drops")?.into_iter().find(is_meant))
    })?;
    assert!(
        exhausted.get("explanation").is_some_and(Value::is_string),
        "{exhausted:?}"
    );
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn an_uploads_flow_key_opens_again_without_a_retry() -> Result<()> {
    let mut rig = rig()?;
    let topology = &rig.topology;
    let router = topology.router.as_ref().context("this lab has a router")?;
    let upload = topology.lab.folder().join("upload");
    let digest = server::write_payload(&upload, UPLOAD_LEN, 7)?;
    let url = client::url(topology.vip.ipv4.into(), server::PEER);
    let (_, first) = client::upload(&topology.client.namespace, &url, &upload, LIMIT)?;
    assert_eq!(first.uploaded_sha256, digest);

    // Half-open connections take most other local ports, so that the round comes back to the upload's soon.
    inject(
        &router.namespace,
        "wan",
        &opening_frames(&rig, N_CLIENTS - MARGIN)?,
    )?;
    for n_before in 0..2 * MARGIN {
        let is_waited_for = is_in_time_wait(&rig, first.peer)?;
        let started = Instant::now();
        let (local, answer) = client::ask_peer(&topology.client.namespace, &url)
            .with_context(|| format!("a request was not answered, after {n_before} others"))?;
        assert!(
            started.elapsed() < FIRST_RETRY,
            "the SYN had to be sent again: {:?}",
            started.elapsed()
        );
        assert_eq!(answer.toa, Some(local));
        if answer.peer == first.peer {
            assert!(
                is_waited_for,
                "the real server had forgotten the upload; this shows nothing"
            );
            return rig.stop_director();
        }
    }
    bail!(
        "the upload's local port {} was not used again within {} connections",
        first.peer,
        2 * MARGIN
    )
}
