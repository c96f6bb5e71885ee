//! The client's address, as a real server finds it in the saved SYN, is the client's own: for every client, over both
//! IP versions, and through a router.

use anyhow::{Context, Result};
use weir_lab::address::Family;
use weir_lab::config::{Protocol, Service};
use weir_lab::peer::Answer;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, client, command, server};

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_saved_syn_tells_the_clients_own_address_and_port() -> Result<()> {
    for (arms, client_side) in [
        (Arms::Two, ClientSide::OnLink),
        (Arms::Two, ClientSide::BehindRouter),
        (Arms::One, ClientSide::OnLink),
    ] {
        let mut rig = Rig::for_test(arms, client_side)?;
        rig.serve(
            1,
            &Service::on_both(&rig.topology, Protocol::Tcp, server::PEER, "Rr", [1, 1]),
        )?;
        for family in Family::ALL {
            let url = client::url(rig.topology.vip.of(family), server::PEER);
            for _ in 0..20 {
                let (local, answer) = client::ask_peer(&rig.topology.client.namespace, &url)?;
                assert_eq!(answer.toa, Some(local), "{arms:?} {client_side:?}");
                assert_eq!(local.ip(), rig.topology.client.addresses.of(family));
                let is_lip = rig
                    .topology
                    .lips
                    .iter()
                    .any(|lip| lip.of(family) == answer.peer.ip());
                assert!(
                    is_lip,
                    "the connection came from {}, which is no LIP",
                    answer.peer
                );
            }
        }
        rig.stop_director()?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn each_of_many_clients_is_told_apart() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::BehindRouter)?;
    rig.serve(
        1,
        &Service::on_both(&rig.topology, Protocol::Tcp, server::PEER, "Rr", [1, 1]),
    )?;
    let clients = rig.topology.add_client_addresses(20..=59)?;
    for family in Family::ALL {
        let url = client::url(rig.topology.vip.of(family), server::PEER);
        for addresses in &clients {
            let source = addresses.of(family);
            // The same client port for all: only the address tells them apart.
            let curl = &mut rig.topology.client.namespace.command("curl");
            curl.args([
                "-sS",
                "--local-port",
                "40000",
                "--interface",
                &source.to_string(),
                &url,
            ]);
            let answer: Answer = serde_json::from_str(&command::run(curl)?)?;
            let toa = answer
                .toa
                .with_context(|| format!("no TOA from {source}"))?;
            assert_eq!((toa.ip(), toa.port()), (source, 40000));
        }
    }
    rig.stop_director()
}
