//! Real servers come, drain and go by `weir reload` while transfers run: no established connection breaks, through the
//! one that goes either.

use std::time::Duration;

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::client::{self, Download, Flow, Iperf};
use weir_lab::config::{self, Protocol, Service};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, server};

const LEN: usize = 30_000_000;
/// Slow enough that the downloads outlast every reload of the test.
const BYTES_PER_SECOND: u64 = 2_000_000;
const IPERF_SECONDS: u64 = 12;
const LIMIT: Duration = Duration::from_secs(60);

/// What the real servers' weights are; nothing for one that is not configured.
type Weights = [Option<u32>; 2];

/// iperf3 opens two connections that must meet at one server, so its service has the second real server alone: the one
/// that is drained and removed.
fn services(rig: &Rig, weights: Weights) -> Vec<Service> {
    let http = with_weights(rig, server::HTTP, weights);
    let iperf = with_weights(rig, server::IPERF, [None, weights[1]]);
    [http, iperf].concat()
}

fn with_weights(rig: &Rig, l4_port: u16, weights: Weights) -> [Service; 2] {
    Service::on_both(&rig.topology, Protocol::Tcp, l4_port, "Wrr", [1, 1]).map(|mut service| {
        let addresses = service.destinations.into_iter().map(|(address, _)| address);
        let weighted = addresses.zip(weights);
        service.destinations = weighted
            .filter_map(|(address, weight)| Some((address, weight?)))
            .collect();
        service
    })
}

fn reload(rig: &Rig, weights: Weights) -> Result<()> {
    let text = config::text(
        &rig.topology,
        &config::last_cpus(1)?,
        &services(rig, weights),
    );
    rig.director()?.reload(&text)
}

fn shares(rig: &Rig, family: Family) -> Result<Vec<(String, usize)>> {
    let url = client::url(rig.topology.vip.of(family), server::HTTP);
    let answers = client::curl(&rig.topology.client.namespace, &url, 40)?;
    Ok(
        client::shares(answers.iter().map(|answer| answer.body.as_str()))
            .into_iter()
            .collect(),
    )
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn transfers_outlive_the_real_server_that_leaves() -> Result<()> {
    for family in Family::ALL {
        let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        let first = services(&rig, [None, Some(1)]);
        rig.serve(1, &first)?;
        let digest =
            server::write_payload(&server::files_folder(&rig.topology.lab).join("big"), LEN, 4)?;
        let folder = rig.topology.lab.folder().to_owned();
        let client_ns = rig.topology.client.namespace.clone();
        let vip = rig.topology.vip.of(family);

        // Everything starts through rs2, the only one.
        let url = format!("{}/files/big", client::url(vip, server::HTTP));
        let mut downloads = Vec::new();
        for number in 0..4 {
            let file = folder.join(format!("downloaded-{number}"));
            let mut download = Download::start(&client_ns, &url, &file, Some(BYTES_PER_SECOND))?;
            download.wait_for_len(1, LIMIT)?;
            downloads.push(download);
        }
        let mut iperf = Iperf::start(
            &client_ns,
            vip,
            Flow::Inbound,
            IPERF_SECONDS,
            folder.join("iperf.json"),
        )?;

        reload(&rig, [Some(1), Some(1)])?;
        assert_eq!(
            shares(&rig, family)?,
            [("rs1".into(), 20), ("rs2".into(), 20)],
            "rs1 was added"
        );
        reload(&rig, [Some(1), Some(0)])?;
        assert_eq!(
            shares(&rig, family)?,
            [("rs1".into(), 40)],
            "rs2 is drained"
        );
        reload(&rig, [Some(1), None])?;
        assert_eq!(
            shares(&rig, family)?,
            [("rs1".into(), 40)],
            "rs2 was removed"
        );
        assert!(
            iperf.is_running(),
            "iperf3 still runs after the last reload"
        );
        assert!(
            downloads.iter_mut().all(Download::is_running),
            "downloads still run after the last reload"
        );

        for download in downloads {
            assert_eq!(download.finish(LIMIT)?, (digest.clone(), LEN));
        }
        assert!(iperf.finish()? > 10_000_000);
        rig.stop_director()?;
    }
    Ok(())
}
