//! Clients of one IP version and real servers of the other: every byte arrives, both ways.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{Protocol, Service};
use weir_lab::director::built;
use weir_lab::topology::{Arms, ClientSide, Topology};
use weir_lab::{Rig, server};

const DOWNLOAD_LEN: usize = 100_000_000;
const UPLOAD_LEN: usize = 20_000_000;
const LIMIT: Duration = Duration::from_secs(120);
const DATAGRAMS: u16 = 200;

fn other(family: Family) -> Family {
    match family {
        Family::Ipv4 => Family::Ipv6,
        Family::Ipv6 => Family::Ipv4,
    }
}

/// HTTP, the peer that reads TOA, and UDP echo on the VIP of each version, all real servers of the other.
fn crossing(topology: &Topology) -> Vec<Service> {
    let kinds = [
        (Protocol::Tcp, server::HTTP),
        (Protocol::Tcp, server::PEER),
        (Protocol::Udp, server::ECHO),
    ];
    let of = |family| {
        kinds.map(|(protocol, l4_port)| {
            Service::new(topology, family, protocol, l4_port, "Rr", [1, 1])
                .with_destinations_over(topology, other(family))
        })
    };
    Family::ALL.into_iter().flat_map(of).collect()
}

fn everything_arrives(rig: &Rig) -> Result<()> {
    let folder = rig.topology.lab.folder().to_owned();
    let files = server::files_folder(&rig.topology.lab);
    let downloaded = server::write_payload(&files.join("big"), DOWNLOAD_LEN, 1)?;
    let uploaded = server::write_payload(&folder.join("upload"), UPLOAD_LEN, 2)?;
    let client = &rig.topology.client.namespace;
    for family in Family::ALL {
        let vip = rig.topology.vip.of(family);
        let url = format!("{}/files/big", client::url(vip, server::HTTP));
        let download = Download::start(client, &url, &folder.join("downloaded"), None)?;
        let found = download.finish(LIMIT)?;
        assert_eq!(found, (downloaded.clone(), DOWNLOAD_LEN), "{family:?}");

        let url = client::url(vip, server::PEER);
        let (local, answer) = client::upload(client, &url, &folder.join("upload"), LIMIT)?;
        let found = (answer.uploaded_len, answer.uploaded_sha256);
        assert_eq!(found, (UPLOAD_LEN as u64, uploaded.clone()), "{family:?}");
        assert_eq!(answer.toa, Some(local), "{family:?}");

        let names = client::udp_echo(client, (vip, server::ECHO).into(), DATAGRAMS)?;
        assert_eq!(names.len(), usize::from(DATAGRAMS), "{family:?}");
    }
    is_listed(rig)?;
    let drops = rig.director()?.drops()?;
    for reason in ["too_big", "untranslatable", "no_headroom"] {
        let count = drops.get(reason).copied().unwrap_or(0);
        assert_eq!(count, 0, "{reason}: no segment was too long for its way");
    }
    Ok(())
}

/// A flow of each crossing stands in both listings with the ends of either side.
fn is_listed(rig: &Rig) -> Result<()> {
    let director = rig.director()?;
    let rows = director.table("connections")?;
    let listed = director.listed("-lnc")?;
    for family in Family::ALL {
        let vip = SocketAddr::new(rig.topology.vip.of(family), server::ECHO).to_string();
        let row = rows
            .iter()
            .find(|row| row.get("virtual").and_then(Value::as_str) == Some(vip.as_str()))
            .with_context(|| format!("no connection to {vip} among {rows:?}"))?;
        let end = |name: &str| -> Result<SocketAddr> {
            let text = row.get(name).and_then(Value::as_str).unwrap_or_default();
            text.parse().with_context(|| format!("{name} of {row:?}"))
        };
        let is_of =
            |address: SocketAddr, family: Family| address.is_ipv4() == (family == Family::Ipv4);
        let (local, real) = (end("local")?, end("destination")?);
        assert!(is_of(end("client")?, family), "{row:?}");
        assert!(
            is_of(local, other(family)) && is_of(real, other(family)),
            "{row:?}"
        );
        assert!(
            listed
                .lines()
                .any(|line| line.contains(&vip) && line.contains(&real.to_string())),
            "{vip} and {real} in {listed}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_byte_crosses_with_two_workers() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let services = crossing(&rig.topology);
    rig.serve(2, &services)?;
    everything_arrives(&rig)?;
    rig.stop_director()
}

/// Made by ipvsadm, listed by it and by weir's own commands.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_byte_crosses_where_ipvsadm_said_so() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let services = crossing(&rig.topology);
    rig.serve_by_ipvsadm(&built("weir")?, &services)?;
    everything_arrives(&rig)?;
    rig.stop_director()
}
