//! Local L4 ports run out by name, and are used again at once: a finished connection's is taken over, and the real server
//! accepts it although it still holds that connection in TIME_WAIT.

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

/// So few that they are soon all taken.
const LOCAL_PORTS: &str = "20000-20015";
const N_LOCAL_PORTS: u8 = 16;
/// Long enough that the sequence numbers have gone a quarter of their round.
const UPLOAD_LEN: usize = 1_000_000_000;
/// When Linux sends a SYN again (RFC 6298).
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(90);

/// One service, one destination, one LIP with few local L4 ports.
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
    let narrow = format!("    local_ports: \"{LOCAL_PORTS}\",\n    local_pools:");
    let text = text.replace("    local_pools:", &narrow);
    rig.start_director(&director::built("weir")?, &text)?;
    Ok(rig)
}

/// A SYN of a client behind the router that does not exist: nobody answers the real server's consent, nobody resets it.
fn opening_frame(rig: &Rig, number: u8) -> Result<Vec<u8>> {
    let source = Ipv4Addr::new(198, 51, 100, 100 + number);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xa1], [2, 0, 0, 0, 0, 0xd1])
        .ipv4(source.octets(), rig.topology.vip.ipv4.octets(), 64)
        .tcp(40000, server::PEER, 1, 1000)
        .syn()
        .write(&mut frame, &[])
        .context("a SYN can be built")?;
    Ok(frame)
}

/// Whether the real server holds its connection with `lip` in TIME_WAIT.
fn is_in_time_wait(rig: &Rig, lip: SocketAddr) -> Result<bool> {
    let real_server = &rig.topology.real_servers[0].namespace;
    let list = command::run(
        real_server
            .command("ss")
            .args(["-Htn", "state", "time-wait"]),
    )?;
    // A socket that listens on both families has IPv4 peers as [::ffff:10.0.0.200]:20000.
    let ends = [lip.to_string(), format!("{}]:{}", lip.ip(), lip.port())];
    Ok(list
        .split_whitespace()
        .any(|word| ends.iter().any(|end| word.ends_with(end))))
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
    let frames: Vec<_> = (0..2 * N_LOCAL_PORTS)
        .map(|number| opening_frame(&rig, number))
        .collect::<Result<_>>()?;
    inject(&router.namespace, "wan", &frames)?;
    let director = rig.director()?;
    let exhausted = wait::until("local ports to run out", LIMIT, || {
        let is_meant = |row: &director::Row| {
            let reason = row
                .get("reason")
                .and_then(Value::as_str)
                .unwrap_or_default();
            reason == "local_ports_exhausted"
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
    let upload = topology.lab.folder().join("upload");
    let digest = server::write_payload(&upload, UPLOAD_LEN, 7)?;
    let url = client::url(topology.vip.ipv4.into(), server::PEER);
    let (_, first) = client::upload(&topology.client.namespace, &url, &upload, LIMIT)?;
    assert_eq!(first.uploaded_sha256, digest);

    for n_before in 0..2 * N_LOCAL_PORTS {
        let is_held = is_in_time_wait(&rig, first.peer)?;
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
                is_held,
                "the real server had forgotten the upload; this shows nothing"
            );
            return rig.stop_director();
        }
    }
    bail!(
        "{} was not used again within {} connections",
        first.peer,
        2 * N_LOCAL_PORTS
    )
}
