//! Every scheduler under every forwarding method, over either version of IP: no request fails, every byte arrives, and
//! the real servers have the shares that the scheduler promises. Schedulers change by reload, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{self, Protocol, Service};
use weir_lab::{Method, Rig, server};

const REQUESTS: usize = 36;
const DOWNLOAD_LEN: usize = 2_000_000;
const LIMIT: Duration = Duration::from_secs(30);
const WEIGHTS: [u32; 2] = [1, 2];

/// What a scheduler promises for requests of one client, one after the other, to servers of the weights above.
#[derive(Clone, Copy, Debug)]
enum Promise {
    /// These shares.
    Shares([usize; 2]),
    /// One server has them all.
    OneServer,
    /// This server has them all.
    Server(&'static str),
    /// Each is answered.
    Answers,
}

use Promise::{Answers, OneServer, Server, Shares};

const SCHEDULERS: [(&str, Promise); 18] = [
    ("Rr", Shares([18, 18])),
    ("Wrr", Shares([12, 24])),
    ("Lc", Answers),
    ("Wlc", Answers),
    ("Sed", Answers),
    ("Nq", Answers),
    ("Sh", OneServer),
    ("Sh(port: true)", Answers),
    ("Sh(port: true, fallback: true)", Answers),
    ("Dh", OneServer),
    ("Mh", OneServer),
    ("Mh(port: true)", Answers),
    ("Mh(port: true, fallback: true)", Answers),
    ("Fo", Server("rs2")),
    ("Ovf", Answers),
    ("Lblc", Answers),
    ("Lblcr", Answers),
    ("Twos", Answers),
];

impl Promise {
    /// Whether all but `n_strays` requests at most went where they should.
    fn is_kept(self, shares: &BTreeMap<String, usize>, n_strays: usize) -> bool {
        let share = |server: &str| shares.get(server).copied().unwrap_or(0);
        let is_nearly = |share: usize, promised: usize| share.abs_diff(promised) <= n_strays;
        match self {
            Shares([rs1, rs2]) => is_nearly(share("rs1"), rs1) && is_nearly(share("rs2"), rs2),
            OneServer => shares.values().any(|share| is_nearly(*share, REQUESTS)),
            Server(server) => is_nearly(share(server), REQUESTS),
            Answers => share("rs1") + share("rs2") == REQUESTS,
        }
    }
}

fn every_scheduler_serves(method: Method) -> Result<()> {
    let mut rig = Rig::course_for_test(method)?;
    let files = server::files_folder(&rig.topology.lab);
    let digest = server::write_payload(&files.join("big"), DOWNLOAD_LEN, 3)?;
    let file = rig.topology.lab.folder().join("downloaded");
    let services = |rig: &Rig, scheduler| {
        Service::on_both(
            &rig.topology,
            Protocol::Tcp,
            server::HTTP,
            scheduler,
            WEIGHTS,
        )
    };
    let first = services(&rig, SCHEDULERS[0].0);
    rig.serve(1, &first)?;
    // Where weir sees nothing of the replies, an L4 port that the client uses again goes back to the server of its last
    // connection, as in IPVS.
    let n_strays = if method.real_servers_have_the_vip() {
        4
    } else {
        0
    };
    for (scheduler, promise) in SCHEDULERS {
        let cpus = config::last_cpus(1)?;
        let text = config::text(&rig.topology, &cpus, &services(&rig, scheduler));
        rig.director()?.reload(&text)?;
        for family in Family::ALL {
            let client = &rig.topology.client.namespace;
            let url = client::url(rig.topology.vip.of(family), server::HTTP);
            let answers = client::curl(client, &url, REQUESTS)?;
            let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
            assert!(
                promise.is_kept(&shares, n_strays) && answers.len() == REQUESTS,
                "{method:?}, {scheduler}, {family}: {promise:?}, {shares:?}"
            );
            let download = Download::start(client, &format!("{url}/files/big"), &file, None)?;
            assert_eq!(
                download.finish(LIMIT)?,
                (digest.clone(), DOWNLOAD_LEN),
                "{method:?}, {scheduler}, {family}"
            );
        }
    }
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_scheduler_serves_in_every_method() -> Result<()> {
    Method::ALL.into_iter().try_for_each(every_scheduler_serves)
}
