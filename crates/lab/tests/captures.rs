//! What weir sends is well formed: every checksum of every packet at every hop is right by an independent decoder, and
//! each hop sees the addresses it should.

use anyhow::{Context, Result};
use weir_lab::address::Family;
use weir_lab::config::{Protocol, Service};
use weir_lab::hop::Hop;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Capture, Rig, checksum, client, server};

fn rig(arms: Arms, client_side: ClientSide) -> Result<Rig> {
    let mut rig = Rig::for_test(arms, client_side)?;
    let service =
        |protocol, l4_port| Service::on_both(&rig.topology, protocol, l4_port, "Rr", [1, 1]);
    let services = [
        service(Protocol::Tcp, server::HTTP),
        service(Protocol::Tcp, server::PEER),
        service(Protocol::Udp, server::ECHO),
    ];
    rig.serve(1, &services.concat())?;
    Ok(rig)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_checksum_at_every_hop_is_right() -> Result<()> {
    for (arms, client_side) in [
        (Arms::Two, ClientSide::OnLink),
        (Arms::Two, ClientSide::BehindRouter),
        (Arms::One, ClientSide::OnLink),
    ] {
        let mut rig = rig(arms, client_side)?;
        let topology = &rig.topology;
        let mut captures = vec![Capture::start(
            &topology.lab,
            &topology.client.namespace,
            "eth0",
            "",
        )?];
        for port in &topology.ports {
            captures.push(Capture::start(
                &topology.lab,
                &topology.director,
                port.name,
                "",
            )?);
        }
        for host in &topology.real_servers {
            captures.push(Capture::start(
                &topology.lab,
                &host.namespace,
                host.interface,
                "",
            )?);
        }

        let upload = topology.lab.folder().join("upload");
        server::write_payload(&upload, 1_000_000, 3)?;
        let client_side_ns = &topology.client.namespace;
        for family in Family::ALL {
            let vip = topology.vip.of(family);
            client::curl(client_side_ns, &client::url(vip, server::HTTP), 20)?;
            let limit = std::time::Duration::from_secs(20);
            client::upload(
                client_side_ns,
                &client::url(vip, server::PEER),
                &upload,
                limit,
            )?;
            client::udp_echo(client_side_ns, (vip, server::ECHO).into(), 50)?;
            assert!(
                client::ping(client_side_ns, vip)?,
                "{vip} does not answer a ping"
            );
        }
        for (index, capture) in captures.into_iter().enumerate() {
            let report = checksum::verify(&capture.stop()?);
            assert_eq!(
                report.wrong,
                Vec::<String>::new(),
                "{arms:?} {client_side:?}, capture {index}"
            );
            assert!(
                report.right["tcp"] > 100 && report.right["udp"] > 50,
                "{report:?}"
            );
        }
        rig.stop_director()?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn each_hop_sees_the_addresses_it_should() -> Result<()> {
    let mut rig = rig(Arms::Two, ClientSide::BehindRouter)?;
    for family in Family::ALL {
        let topology = &rig.topology;
        let mut wan = Capture::start(&topology.lab, &topology.director, "wan", "tcp")?;
        let mut lan = Capture::start(&topology.lab, &topology.director, "lan", "tcp")?;
        let url = client::url(topology.vip.of(family), server::PEER);
        let (local, answer) = client::ask_peer(&topology.client.namespace, &url)?;
        let limit = std::time::Duration::from_secs(10);
        let find = |capture: &mut Capture, what: &str, is_wanted: &dyn Fn(&Hop) -> bool| {
            capture.wait_for(what, limit, |frames| {
                frames
                    .iter()
                    .filter_map(|frame| Hop::read(frame))
                    .find(|hop| is_wanted(hop))
            })
        };
        let opening = find(&mut wan, "the SYN on wan", &|hop| {
            hop.is_opening() && hop.source == local
        })?;
        let opened = find(&mut lan, "the SYN on lan", &|hop| {
            hop.is_opening() && hop.toa() == Some(local)
        })?;
        let consent = find(&mut lan, "the SYN, ACK on lan", &|hop| hop.is_consent())?;
        let consented = find(&mut wan, "the SYN, ACK on wan", &|hop| hop.is_consent())?;

        let [wan_port, lan_port] = &topology.ports[..] else {
            panic!("two arms have two ports")
        };
        let router = topology.router.as_ref().context("this lab has a router")?;
        let host = &topology.real_servers[usize::from(answer.server == "rs2")];
        assert_eq!(
            (
                opening.source_mac.as_str(),
                opening.destination_mac.as_str()
            ),
            (router.mac, wan_port.mac)
        );
        assert_eq!(
            (opened.source_mac.as_str(), opened.destination_mac.as_str()),
            (lan_port.mac, host.mac)
        );
        assert_eq!(
            (opened.source, opened.destination.ip()),
            (answer.peer, host.addresses.of(family))
        );
        assert_eq!(
            (consent.source, consent.destination),
            (opened.destination, opened.source)
        );
        assert_eq!(
            (consented.source, consented.destination),
            (opening.destination, opening.source)
        );
        assert_eq!(
            (
                consented.source_mac.as_str(),
                consented.destination_mac.as_str()
            ),
            (wan_port.mac, router.mac)
        );
        assert_eq!(
            (opening.ttl - opened.ttl, consent.ttl - consented.ttl),
            (1, 1),
            "each way costs one hop"
        );
        wan.stop()?;
        lan.stop()?;
    }
    rig.stop_director()
}
