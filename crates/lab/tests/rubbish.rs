//! Rubbish and truncated packets on both ports while traffic runs: nothing breaks, and every one is accounted for under
//! a name.

use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{Protocol, Service};
use weir_lab::inject::inject;
use weir_lab::topology::{Arms, ClientSide, Host, Topology};
use weir_lab::{Rig, server, wait};

const N_RANDOM: usize = 10_000;
const DOWNLOAD_LEN: usize = 100_000_000;
const LIMIT: Duration = Duration::from_secs(120);
/// A packet socket sends nothing shorter than an Ethernet header.
const ETHERNET_LEN: usize = 14;

/// Frames of random length and content, addressed to the port with `mac`, half of them with an EtherType that weir
/// reads. The same for the same seed.
fn random_frames(mac: [u8; 6], seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..N_RANDOM)
        .map(|number| {
            let len = ETHERNET_LEN + (next() % 300) as usize;
            let mut frame: Vec<u8> = (0..len).map(|_| (next() >> 24) as u8).collect();
            frame[..6].copy_from_slice(&mac);
            // Not from a group address: no machine sends from one.
            frame[6] &= 0xfe;
            let ether_type: [u8; 2] = match number % 6 {
                0 => [0x08, 0x00],
                1 => [0x86, 0xdd],
                2 => [0x08, 0x06],
                _ => [0x12, 0x34],
            };
            frame[12..14].copy_from_slice(&ether_type);
            if number % 6 == 0 && len > ETHERNET_LEN {
                frame[14] = 0x45;
                // No fragment: the kernel gathers those before a packet socket of several queues sees them.
                for byte in frame.iter_mut().skip(20).take(2) {
                    *byte = 0;
                }
            }
            if number % 6 == 1 && len > ETHERNET_LEN {
                frame[14] = 0x60;
            }
            frame
        })
        .collect()
}

/// Every shorter version of one valid packet of each kind, from a machine that does not exist, so that nothing is
/// mistaken for an answer.
fn truncated_frames(topology: &Topology, mac: [u8; 6]) -> Vec<Vec<u8>> {
    let source_mac = [2, 0, 0, 0, 0, 0xee];
    let link = || PacketBuilder::ethernet2(source_mac, mac);
    let v4 = || link().ipv4([192, 0, 2, 77], topology.vip.ipv4.octets(), 64);
    let v6_source = "2001:db8:1::77"
        .parse::<std::net::Ipv6Addr>()
        .map(|address| address.octets())
        .unwrap_or([1; 16]);
    let v6 = || link().ipv6(v6_source, topology.vip.ipv6.octets(), 64);
    let payload = [7; 32];
    let mut whole: Vec<Vec<u8>> = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>) -> bool| {
        let mut frame = Vec::new();
        assert!(write(&mut frame), "a valid packet can be built");
        whole.push(frame);
    };
    add(&|frame| {
        v4().tcp(40000, server::HTTP, 1, 1000)
            .syn()
            .write(frame, &payload)
            .is_ok()
    });
    add(&|frame| v4().udp(40000, server::ECHO).write(frame, &payload).is_ok());
    add(&|frame| {
        v4().icmpv4_echo_request(1, 1)
            .write(frame, &payload)
            .is_ok()
    });
    add(&|frame| {
        v6().tcp(40000, server::HTTP, 1, 1000)
            .syn()
            .write(frame, &payload)
            .is_ok()
    });
    add(&|frame| v6().udp(40000, server::ECHO).write(frame, &payload).is_ok());
    add(&|frame| {
        v6().icmpv6_echo_request(1, 1)
            .write(frame, &payload)
            .is_ok()
    });
    whole
        .iter()
        .flat_map(|frame| (ETHERNET_LEN..frame.len()).map(|len| frame[..len].to_vec()))
        .collect()
}

fn mac(text: &str) -> Result<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()?;
    bytes.try_into().ok().context("a MAC address has six bytes")
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn rubbish_breaks_nothing_and_every_frame_of_it_is_counted() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let services = [
        Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Rr", [1, 1]),
        Service::on_both(&rig.topology, Protocol::Udp, server::ECHO, "Rr", [1, 1]),
    ];
    rig.serve(1, &services.concat())?;
    let topology = &rig.topology;
    let digest = server::write_payload(
        &server::files_folder(&topology.lab).join("big"),
        DOWNLOAD_LEN,
        5,
    )?;
    let url = |family| client::url(topology.vip.of(family), server::HTTP);
    let before: u64 = rig.director()?.drops()?.values().sum();

    let mut downloads = Vec::new();
    for family in Family::ALL {
        let file = topology.lab.folder().join(format!("downloaded-{family:?}"));
        let big = format!("{}/files/big", url(family));
        let mut download =
            Download::start(&topology.client.namespace, &big, &file, Some(8_000_000))?;
        download.wait_for_len(1, LIMIT)?;
        downloads.push(download);
    }

    let [wan, lan] = &topology.ports[..] else {
        panic!("two arms have two ports")
    };
    let mut sent = 0;
    let mut throw = |host: &Host, frames: &[Vec<u8>]| -> Result<()> {
        sent += inject(&host.namespace, host.interface, frames)?.sent as u64;
        Ok(())
    };
    throw(&topology.client, &random_frames(mac(wan.mac)?, 11))?;
    throw(&topology.client, &truncated_frames(topology, mac(wan.mac)?))?;
    throw(&topology.real_servers[0], &random_frames(mac(lan.mac)?, 12))?;
    throw(
        &topology.real_servers[0],
        &truncated_frames(topology, mac(lan.mac)?),
    )?;
    assert!(sent > 2 * N_RANDOM as u64, "the rubbish went out: {sent}");

    let director = rig.director()?;
    let counted = wait::until(
        "every frame of rubbish to be in `weir drops`",
        Duration::from_secs(20),
        || {
            let drops = director.drops()?;
            Ok((drops.values().sum::<u64>() >= before + sent).then_some(drops))
        },
    );
    let drops = counted.with_context(|| format!("sent {sent}, counted {:?}", director.drops()))?;
    for row in director.table("drops")? {
        let explanation = row
            .get("explanation")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        assert!(
            !explanation.is_empty(),
            "a drop without an explanation: {row:?}"
        );
    }
    assert!(
        drops.values().filter(|&&count| count > 0).count() > 5,
        "rubbish has many names: {drops:?}"
    );

    for download in downloads {
        assert_eq!(download.finish(LIMIT)?, (digest.clone(), DOWNLOAD_LEN));
    }
    for family in Family::ALL {
        client::curl(&topology.client.namespace, &url(family), 50)?;
        let vip = (topology.vip.of(family), server::ECHO).into();
        client::udp_echo(&topology.client.namespace, vip, 50)?;
    }
    rig.stop_director()
}
