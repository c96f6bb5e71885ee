//! Real curl through weir to real nginx: no request fails, and each real server gets its share to the request.

use std::collections::BTreeMap;

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::config::{Protocol, Service};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, client, server};

const REQUESTS: usize = 5000;
const WEIGHTS: [u32; 2] = [3, 1];

/// Asserts that `shares` differs from what `WEIGHTS` demand by at most `tolerance`.
fn assert_split(shares: &BTreeMap<String, usize>, tolerance: usize) {
    let total: usize = shares.values().sum();
    for (name, weight) in ["rs1", "rs2"].iter().zip(WEIGHTS) {
        let expected = total * weight as usize / WEIGHTS.iter().sum::<u32>() as usize;
        let share = shares.get(*name).copied().unwrap_or(0);
        assert!(
            share.abs_diff(expected) <= tolerance,
            "{name} answered {share}, not {expected}: {shares:?}"
        );
    }
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn five_thousand_requests_split_exactly_by_weight() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    rig.serve(
        1,
        &Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Wrr", WEIGHTS),
    )?;
    for family in Family::ALL {
        let url = client::url(rig.topology.vip.of(family), server::HTTP);
        let answers = client::curl(&rig.topology.client.namespace, &url, REQUESTS)?;
        let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
        assert_eq!(shares.values().sum::<usize>(), REQUESTS);
        assert_split(&shares, 1);
    }
    let lips: Vec<String> = rig
        .topology
        .lips
        .iter()
        .flat_map(|lip| {
            [
                format!("::ffff:{}", lip.ipv4),
                lip.ipv4.to_string(),
                lip.ipv6.to_string(),
            ]
        })
        .collect();
    for sources in rig.servers.sources_seen()? {
        assert!(
            sources.iter().all(|source| lips.contains(source)),
            "a real server saw something else than a LIP"
        );
    }
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn two_workers_lose_nothing_and_both_work() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    rig.serve(
        2,
        &Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Wrr", WEIGHTS),
    )?;
    for family in Family::ALL {
        let url = client::url(rig.topology.vip.of(family), server::HTTP);
        let answers = client::curls_at_once(&rig.topology.client.namespace, &url, 4, REQUESTS / 4)?;
        let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
        assert_eq!(shares.values().sum::<usize>(), REQUESTS);
        // Each worker keeps a round of its own; each may be one off.
        assert_split(&shares, 2);
    }
    let workers = rig.director()?.table("workers")?;
    assert_eq!(workers.len(), 2, "{workers:?}");
    for worker in &workers {
        let packets = worker.get("packets").and_then(serde_json::Value::as_u64);
        assert!(
            packets.is_some_and(|packets| packets > 0),
            "a worker had nothing to do: {workers:?}"
        );
    }
    rig.stop_director()
}
