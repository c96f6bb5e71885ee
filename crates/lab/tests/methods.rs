//! Each forwarding method in the lab that courses show it in: no request fails, real servers take exact turns, every
//! byte arrives, and each hop sees what the method promises.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{Protocol, Service};
use weir_lab::director::built;
use weir_lab::method::Encapsulation;
use weir_lab::path::{Ends, Watch};
use weir_lab::{Method, Rig, server};

const REQUESTS: usize = 2000;
const DOWNLOAD_LEN: usize = 100_000_000;
/// Full segments of this would not fit into a tunnel: they go only after weir has said so to the client.
const UPLOAD_LEN: usize = 5_000_000;
const DATAGRAMS: u16 = 200;
const LIMIT: Duration = Duration::from_secs(120);

fn rig(method: Method, n_workers: usize) -> Result<Rig> {
    let mut rig = Rig::course_for_test(method)?;
    let service =
        |protocol, l4_port| Service::on_both(&rig.topology, protocol, l4_port, "Rr", [1, 1]);
    let services = [
        service(Protocol::Tcp, server::HTTP),
        service(Protocol::Tcp, server::PEER),
        service(Protocol::Udp, server::ECHO),
    ];
    rig.serve(n_workers, &services.concat())?;
    Ok(rig)
}

/// Servers take turns. Where weir sees nothing of the replies, an L4 port that the client uses again goes back to the
/// server of its last connection, as in IPVS: of many requests, one in a hundred may do so.
fn take_turns(rig: &Rig, family: Family, n_requests: usize) -> Result<()> {
    let client = &rig.topology.client.namespace;
    let vip = rig.topology.vip.of(family);
    let half = |total: usize| [("rs1".to_owned(), total / 2), ("rs2".to_owned(), total / 2)];
    let answers = client::curl(client, &client::url(vip, server::HTTP), n_requests)?;
    let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
    let is_off = |(server, half): &(String, usize)| {
        shares.get(server).copied().unwrap_or(0).abs_diff(*half) > n_requests / 100
    };
    assert!(
        !half(n_requests).iter().any(is_off) && answers.len() == n_requests,
        "{family}, requests: {shares:?}"
    );
    let names = client::udp_echo(client, (vip, server::ECHO).into(), DATAGRAMS)?;
    let shares = client::shares(names.iter().map(String::as_str));
    assert_eq!(shares, half(DATAGRAMS.into()).into(), "{family}, datagrams");
    Ok(())
}

fn every_byte_arrives(rig: &Rig) -> Result<()> {
    let folder = rig.topology.lab.folder();
    let client = &rig.topology.client.namespace;
    let files = server::files_folder(&rig.topology.lab);
    let downloaded = server::write_payload(&files.join("big"), DOWNLOAD_LEN, 1)?;
    let upload = folder.join("upload");
    let uploaded = server::write_payload(&upload, UPLOAD_LEN, 2)?;
    for family in Family::ALL {
        let vip = rig.topology.vip.of(family);
        let url = format!("{}/files/big", client::url(vip, server::HTTP));
        let download = Download::start(client, &url, &folder.join("downloaded"), None)?;
        let expected = (downloaded.clone(), DOWNLOAD_LEN);
        assert_eq!(download.finish(LIMIT)?, expected, "{family}");

        let url = client::url(vip, server::PEER);
        let (_, answer) = client::upload(client, &url, &upload, LIMIT)?;
        let expected = (UPLOAD_LEN as u64, uploaded.clone());
        let arrived = (answer.uploaded_len, answer.uploaded_sha256);
        assert_eq!(arrived, expected, "{family}");
    }
    Ok(())
}

/// Two thousand requests, a long transfer each way, and datagrams.
fn all_of_it(method: Method) -> Result<()> {
    let mut rig = rig(method, 1)?;
    for family in Family::ALL {
        take_turns(&rig, family, REQUESTS)?;
    }
    every_byte_arrives(&rig)?;
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn nat_serves_two_thousand_requests_and_long_transfers() -> Result<()> {
    all_of_it(Method::Nat)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn dr_serves_two_thousand_requests_and_long_transfers() -> Result<()> {
    all_of_it(Method::Dr)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn tun_serves_two_thousand_requests_and_long_transfers() -> Result<()> {
    all_of_it(Method::Tun(Encapsulation::Ipip))
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn fullnat_serves_two_thousand_requests_and_long_transfers() -> Result<()> {
    all_of_it(Method::FullNat)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn two_workers_lose_nothing_in_any_method() -> Result<()> {
    for method in Method::ALL {
        let mut rig = rig(method, 2)?;
        for family in Family::ALL {
            let url = client::url(rig.topology.vip.of(family), server::HTTP);
            let answers = client::curls_at_once(&rig.topology.client.namespace, &url, 4, 100)?;
            let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
            assert_eq!(shares.values().sum::<usize>(), 400);
            // Each worker takes turns by itself; each may be one off.
            let is_even = shares.values().all(|share| share.abs_diff(200) <= 2);
            assert!(is_even, "{method:?} {family}: {shares:?}");
        }
        let packets = |row: &weir_lab::director::Row| row["packets"].as_u64();
        let workers = rig.director()?.table("workers")?;
        let is_busy = workers.iter().all(|row| packets(row) > Some(100));
        assert!(is_busy && workers.len() == 2, "{method:?}: {workers:?}");
        rig.stop_director()?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn services_made_by_lines_of_ipvsadm_are_served() -> Result<()> {
    let tunnels = Encapsulation::ALL.map(Method::Tun);
    for method in [Method::Nat, Method::Dr, Method::FullNat]
        .into_iter()
        .chain(tunnels)
    {
        let mut rig = Rig::course_for_test(method)?;
        let service =
            |protocol, l4_port| Service::on_both(&rig.topology, protocol, l4_port, "Rr", [1, 1]);
        let services = [
            service(Protocol::Tcp, server::HTTP),
            service(Protocol::Tcp, server::PEER),
            service(Protocol::Udp, server::ECHO),
        ];
        rig.serve_by_ipvsadm(&built("weir")?, &services.concat())?;
        for family in Family::ALL {
            take_turns(&rig, family, 20)?;
        }
        follow_a_request(&rig, method)?;
        rig.stop_director()?;
    }
    Ok(())
}

/// One request over each version of IP, followed from hop to hop.
fn paths_are_right(method: Method) -> Result<()> {
    let mut rig = rig(method, 1)?;
    follow_a_request(&rig, method)?;
    rig.stop_director()
}

fn follow_a_request(rig: &Rig, method: Method) -> Result<()> {
    for family in Family::ALL {
        let topology = &rig.topology;
        let watch = Watch::start(topology)?;
        let vip = SocketAddr::new(topology.vip.of(family), server::PEER);
        let url = client::url(vip.ip(), vip.port());
        let (local, answer) = client::ask_peer(&topology.client.namespace, &url)?;
        let host = &topology.real_servers[usize::from(answer.server == "rs2")];
        let rip = SocketAddr::new(host.addresses.of(family), server::PEER);
        let is_vip_its_own = method.real_servers_have_the_vip();
        let ends = Ends {
            client: local,
            vip,
            peer: answer.peer,
            own: if is_vip_its_own { vip } else { rip },
        };
        let path = watch.path(&ends, &answer.server)?;
        path.check(method, &ends, rip)?;
        if method != Method::FullNat {
            assert_eq!(
                answer.peer, local,
                "{method:?}: the client is seen as it is"
            );
        }
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn each_hop_sees_what_the_method_promises() -> Result<()> {
    for method in [Method::Nat, Method::Dr, Method::FullNat] {
        paths_are_right(method)?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn each_hop_sees_the_tunnel_that_was_asked_for() -> Result<()> {
    for encapsulation in Encapsulation::ALL {
        paths_are_right(Method::Tun(encapsulation))?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn every_tunnel_carries_either_version_of_ip_over_either() -> Result<()> {
    for encapsulation in Encapsulation::ALL {
        let mut rig = Rig::course_for_test(Method::Tun(encapsulation))?;
        let mut services = Vec::new();
        for (inner, outer) in [(Family::Ipv4, Family::Ipv6), (Family::Ipv6, Family::Ipv4)] {
            for (protocol, l4_port) in [
                (Protocol::Tcp, server::HTTP),
                (Protocol::Tcp, server::PEER),
                (Protocol::Udp, server::ECHO),
            ] {
                let topology = &rig.topology;
                let service = Service::new(topology, inner, protocol, l4_port, "Rr", [1, 1]);
                services.push(service.with_destinations_over(topology, outer));
            }
        }
        rig.serve(1, &services)?;
        let upload = rig.topology.lab.folder().join("upload");
        let uploaded = server::write_payload(&upload, UPLOAD_LEN, 2)?;
        for family in Family::ALL {
            take_turns(&rig, family, 100)?;
            let url = client::url(rig.topology.vip.of(family), server::PEER);
            let client = &rig.topology.client.namespace;
            let (_, answer) = client::upload(client, &url, &upload, LIMIT)?;
            assert_eq!(
                answer.uploaded_sha256, uploaded,
                "{encapsulation:?} {family}"
            );
        }
        rig.stop_director()?;
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn nat_changes_l4_ports_and_routes_what_belongs_to_no_connection() -> Result<()> {
    const VPORT: u16 = 8080;
    let mut rig = Rig::course_for_test(Method::Nat)?;
    let topology = &rig.topology;
    let services = Family::ALL.map(|family| {
        let mut service = Service::new(topology, family, Protocol::Tcp, server::HTTP, "Rr", [1, 1]);
        service.vip.set_port(VPORT);
        service
    });
    rig.serve(1, &services)?;
    let client = &rig.topology.client;
    for family in Family::ALL {
        let url = client::url(rig.topology.vip.of(family), VPORT);
        assert_eq!(client::curl(&client.namespace, &url, 20)?.len(), 20);
    }
    rig.topology.route_client_to_real_servers()?;
    for host in &rig.topology.real_servers {
        for family in Family::ALL {
            let address = client.addresses.of(family);
            let is_answered = client::ping(&host.namespace, address)?;
            assert!(is_answered, "{address} from a real server, through weir");
        }
    }
    rig.stop_director()
}
