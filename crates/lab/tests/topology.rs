//! The lab itself, with the kernel's own forwarding in the director's place: what works here and fails with weir is
//! weir's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_lab::address::Family;
use weir_lab::client::{self, Flow, Iperf};
use weir_lab::hop::Hop;
use weir_lab::inject::inject;
use weir_lab::server;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Capture, Rig, checksum, wait};

fn rig(arms: Arms, client_side: ClientSide) -> Result<Rig> {
    let rig = Rig::for_test(arms, client_side)?;
    rig.topology.forward_by_kernel()?;
    Ok(rig)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_server_answers_in_every_topology() -> Result<()> {
    for (arms, client_side) in [
        (Arms::Two, ClientSide::OnLink),
        (Arms::Two, ClientSide::BehindRouter),
        (Arms::One, ClientSide::OnLink),
    ] {
        let rig = rig(arms, client_side)?;
        let client = &rig.topology.client.namespace;
        for family in Family::ALL {
            let own = rig.topology.client.addresses.of(family);
            for (host, name) in rig.topology.real_servers.iter().zip(["rs1", "rs2"]) {
                let address = host.addresses.of(family);
                assert!(
                    client::ping(client, address)?,
                    "{arms:?} {client_side:?}: {name} does not answer a ping"
                );

                let answers = client::curl(client, &client::url(address, server::HTTP), 20)?;
                assert_eq!(
                    client::shares(answers.iter().map(|answer| answer.body.as_str())),
                    [(name.into(), 20)].into()
                );

                let (local, answer) =
                    client::ask_peer(client, &client::url(address, server::PEER))?;
                assert_eq!((local.ip(), answer.peer, answer.toa), (own, local, None));

                let names = client::udp_echo(client, (address, server::ECHO).into(), 50)?;
                assert!(names.iter().all(|seen| seen == name) && names.len() == 50);
            }
        }
        let seen = rig.servers.sources_seen()?;
        let counts: Vec<usize> = seen.iter().map(Vec::len).collect();
        assert_eq!(counts, [40, 40], "nginx logs every request once");
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn bytes_arrive_as_they_were_sent() -> Result<()> {
    let rig = rig(Arms::Two, ClientSide::OnLink)?;
    let folder = rig.topology.lab.folder();
    let file = server::files_folder(&rig.topology.lab).join("payload");
    let digest = server::write_payload(&file, 20_000_000, 1)?;
    let client = &rig.topology.client.namespace;
    for family in Family::ALL {
        let address = rig.topology.real_servers[0].addresses.of(family);
        let url = format!("{}/files/payload", client::url(address, server::HTTP));
        let download = client::Download::start(client, &url, &folder.join("downloaded"), None)?;
        assert_eq!(
            download.finish(Duration::from_secs(30))?,
            (digest.clone(), 20_000_000)
        );

        let (_, answer) = client::upload(
            client,
            &client::url(address, server::PEER),
            &file,
            Duration::from_secs(30),
        )?;
        assert_eq!(
            (answer.uploaded_len, answer.uploaded_sha256),
            (20_000_000, digest.clone())
        );

        for flow in Flow::ALL {
            let bytes =
                Iperf::start(client, address, flow, 1, folder.join("iperf.json"))?.finish()?;
            assert!(
                bytes > 1_000_000,
                "{family:?} {flow:?}: iperf3 moved {bytes} bytes"
            );
        }
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn captures_show_every_hop_with_right_checksums() -> Result<()> {
    let rig = rig(Arms::Two, ClientSide::BehindRouter)?;
    let topology = &rig.topology;
    let real_server = &topology.real_servers[1];
    let capture = |namespace, interface| Capture::start(&topology.lab, namespace, interface, "");
    let captures = [
        capture(&topology.client.namespace, "eth0")?,
        capture(&topology.director, "wan")?,
        capture(&topology.director, "lan")?,
        capture(&real_server.namespace, "eth0")?,
    ];
    let mut ttls = Vec::new();
    for family in Family::ALL {
        let url = client::url(real_server.addresses.of(family), server::HTTP);
        client::curl(&topology.client.namespace, &url, 5)?;
        client::udp_echo(
            &topology.client.namespace,
            (real_server.addresses.of(family), server::ECHO).into(),
            5,
        )?;
        client::ping(&topology.client.namespace, real_server.addresses.of(family))?;
    }
    for capture in captures {
        let frames = capture.stop()?;
        let report = checksum::verify(&frames);
        assert_eq!(report.wrong, Vec::<String>::new());
        for what in ["ipv4", "tcp", "udp", "icmp", "icmpv6"] {
            assert!(
                report.right.get(what).is_some_and(|&count| count > 0),
                "no {what} checksum was seen: {report:?}"
            );
        }
        let opening = frames
            .iter()
            .filter_map(|frame| Hop::read(frame))
            .find(Hop::is_opening);
        ttls.push(opening.context("a hop saw no SYN")?.ttl);
    }
    assert_eq!(
        ttls,
        [64, 63, 62, 62],
        "one hop at the router, one at the director"
    );
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn further_client_addresses_are_used_and_seen() -> Result<()> {
    let rig = rig(Arms::Two, ClientSide::BehindRouter)?;
    let client = &rig.topology.client;
    let address = rig.topology.real_servers[0].addresses.ipv4;
    for addresses in rig.topology.add_client_addresses(20..=29)? {
        let source = addresses.ipv4.to_string();
        let url = client::url(address.into(), server::HTTP);
        weir_lab::command::run(client.namespace.command("curl").args([
            "-sS",
            "--interface",
            &source,
            &url,
        ]))?;
        let seen = rig.servers.sources_seen()?;
        assert!(
            seen[0].last().is_some_and(|last| last.ends_with(&source)),
            "{source}: {seen:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn injected_frames_arrive_byte_for_byte() -> Result<()> {
    let rig = rig(Arms::Two, ClientSide::OnLink)?;
    let topology = &rig.topology;
    let mut capture = Capture::start(
        &topology.lab,
        &topology.director,
        "wan",
        "ether proto 0x88b5",
    )?;
    // 0x88b5 is an EtherType for local experiments (IEEE 802): no kernel answers it.
    let frames: Vec<Vec<u8>> = (0..100u8)
        .map(|number| {
            [
                &[2, 0, 0, 0, 0, 0xd1, 2, 0, 0, 0, 0, 0xc1, 0x88, 0xb5][..],
                &[number; 50],
            ]
            .concat()
        })
        .collect();
    let injected = inject(&topology.client.namespace, "eth0", &frames)?;
    assert_eq!((injected.sent, injected.refused), (100, 0));
    let seen = capture.wait_for("all injected frames", Duration::from_secs(10), |seen| {
        (seen.len() == 100).then(|| seen.to_vec())
    })?;
    assert_eq!(seen, frames);
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_killed_owner_leaves_nothing_behind() -> Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_weir-lab-peer"))
        .arg("hold-lab")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut prefix = String::new();
    BufReader::new(owner.stdout.take().context("no pipe")?).read_line(&mut prefix)?;
    let prefix = prefix.trim();
    let pids = weir_lab::command::ip(&format!("netns pids {prefix}-rs1"))?;
    let pids: Vec<&str> = pids.split_whitespace().collect();
    assert!(pids.len() >= 4, "the doomed lab's servers run");

    owner.kill()?;
    owner.wait()?;
    wait::until("the doomed lab to be gone", Duration::from_secs(20), || {
        let namespaces = weir_lab::command::ip("netns list")?;
        let is_gone = !namespaces.contains(prefix)
            && !std::env::temp_dir().join(prefix).exists()
            && pids
                .iter()
                .all(|pid| !Path::new("/proc").join(pid).exists());
        Ok(is_gone.then_some(()))
    })
}
