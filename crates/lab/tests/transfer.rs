//! Long transfers through weir: every byte arrives, in both directions, with one worker and with two.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::client::{self, Download, Flow, Iperf};
use weir_lab::config::{Protocol, Service};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, server};

const DOWNLOAD_LEN: usize = 200_000_000;
const UPLOAD_LEN: usize = 50_000_000;
const LIMIT: Duration = Duration::from_secs(120);

fn everything_arrives(n_workers: usize) -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let service = |l4_port| Service::on_both(&rig.topology, Protocol::Tcp, l4_port, "Wrr", [1, 1]);
    let mut services = [service(server::HTTP), service(server::PEER)].concat();
    services.extend(service(server::IPERF).map(Service::with_first_destination_only));
    rig.serve(n_workers, &services)?;

    let folder = rig.topology.lab.folder().to_owned();
    let files = server::files_folder(&rig.topology.lab);
    let downloaded = server::write_payload(&files.join("big"), DOWNLOAD_LEN, 1)?;
    let uploaded = server::write_payload(&folder.join("upload"), UPLOAD_LEN, 2)?;
    for family in Family::ALL {
        download(&rig, family, &folder.join("downloaded"), &downloaded)?;
        upload(&rig, family, &folder.join("upload"), &uploaded)?;
        for flow in Flow::ALL {
            let vip = rig.topology.vip.of(family);
            let log = folder.join("iperf.json");
            let bytes =
                Iperf::start(&rig.topology.client.namespace, vip, flow, 3, log)?.finish()?;
            assert!(
                bytes > 10_000_000,
                "{family:?} {flow:?}: iperf3 moved {bytes} bytes in 3 s"
            );
        }
    }
    rig.stop_director()
}

fn download(rig: &Rig, family: Family, file: &Path, digest: &str) -> Result<()> {
    let url = format!(
        "{}/files/big",
        client::url(rig.topology.vip.of(family), server::HTTP)
    );
    let download = Download::start(&rig.topology.client.namespace, &url, file, None)?;
    assert_eq!(
        download.finish(LIMIT)?,
        (digest.to_owned(), DOWNLOAD_LEN),
        "{family:?}"
    );
    Ok(())
}

/// TOA lengthens segments until the real server has acknowledged more than the SYN: the upload's first bytes meet it.
fn upload(rig: &Rig, family: Family, file: &Path, digest: &str) -> Result<()> {
    let url = client::url(rig.topology.vip.of(family), server::PEER);
    let (local, answer) = client::upload(&rig.topology.client.namespace, &url, file, LIMIT)?;
    assert_eq!(
        (answer.uploaded_len, answer.uploaded_sha256.as_str()),
        (UPLOAD_LEN as u64, digest),
        "{family:?}"
    );
    assert_eq!(answer.toa, Some(local), "{family:?}");
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_byte_arrives_with_one_worker() -> Result<()> {
    everything_arrives(1)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_byte_arrives_with_two_workers() -> Result<()> {
    everything_arrives(2)
}
