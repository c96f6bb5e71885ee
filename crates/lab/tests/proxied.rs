//! Real servers that learn of the client otherwise than by TOA: nginx with `proxy_protocol`, and UDP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{Protocol, Service};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, server};

const N_BYTES: usize = 10_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// nginx names the client that it was told, and whom that client asked; transfers begin behind the header.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn nginx_learns_of_the_client_by_proxy_headers() -> Result<()> {
    for (told, n_workers) in [("ProxyV1", 1), ("ProxyV2", 2)] {
        let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        let services =
            Service::on_both(&rig.topology, Protocol::Tcp, server::PROXIED, "Rr", [1, 1]);
        rig.serve(n_workers, &services.map(|service| service.telling(told)))?;
        let client = &rig.topology.client;
        let folder = rig.topology.lab.folder().to_owned();
        let files = server::files_folder(&rig.topology.lab);
        let downloaded = server::write_payload(&files.join("big"), N_BYTES, 1)?;
        let uploaded = server::write_payload(&folder.join("upload"), N_BYTES, 2)?;
        for family in Family::ALL {
            let vip = rig.topology.vip.of(family);
            let url = client::url(vip, server::PROXIED);
            for answered in client::curl(&client.namespace, &url, 20)? {
                let SocketParts(address, l4_port) = answered.local.into();
                let expected = format!("{address} {l4_port} {vip} {} ", server::PROXIED);
                let body = &answered.body;
                assert!(
                    body.starts_with(&expected),
                    "{told}: {body}, not {expected}"
                );
                let local = body.rsplit(' ').next().context("nginx names the peer")?;
                let mut lips = rig.topology.lips.iter();
                assert!(lips.any(|lip| local.ends_with(&lip.of(family).to_string())));
            }
            let file = folder.join("downloaded");
            let url = format!("{url}/files/big");
            let download = Download::start(&client.namespace, &url, &file, None)?.finish(LIMIT)?;
            assert_eq!(download, (downloaded.clone(), N_BYTES), "{told} {family:?}");
            let url = format!("{}/upload", client::url(vip, server::PROXIED));
            let file = folder.join("upload");
            let (_, answer) = client::upload(&client.namespace, &url, &file, LIMIT)?;
            let arrived = (answer.uploaded_len, answer.uploaded_sha256);
            assert_eq!(
                arrived,
                (N_BYTES as u64, uploaded.clone()),
                "{told} {family:?}"
            );
        }
        rig.stop_director()?;
    }
    Ok(())
}

struct SocketParts(IpAddr, u16);

impl From<SocketAddr> for SocketParts {
    fn from(address: SocketAddr) -> Self {
        Self(address.ip(), address.port())
    }
}

/// The header of a datagram from `client` to `vip`, as the specification draws it.
fn header(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let (kind, addresses) = match (client.ip(), vip.ip()) {
        (IpAddr::V4(client), IpAddr::V4(vip)) => {
            ([0x12, 0, 12], [client.octets(), vip.octets()].concat())
        }
        (IpAddr::V6(client), IpAddr::V6(vip)) => {
            ([0x22, 0, 36], [client.octets(), vip.octets()].concat())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => panic!("one family"),
    };
    let l4_ports = [client.port(), vip.port()].map(u16::to_be_bytes).concat();
    [
        &b"\r\n\r\n\0\r\nQUIT\n\x21"[..],
        &kind,
        &addresses,
        &l4_ports,
    ]
    .concat()
}

/// Sends `question` and returns the client's own end and the answer.
fn ask(rig: &Rig, vip: SocketAddr, question: &[u8]) -> Result<(SocketAddr, Vec<u8>)> {
    rig.topology.client.namespace.enter(|| {
        let any: IpAddr = if vip.is_ipv4() {
            Ipv4Addr::UNSPECIFIED.into()
        } else {
            Ipv6Addr::UNSPECIFIED.into()
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(vip)?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut answer = vec![0; 2048];
        // The first may be the last for which the real server's kernel has no neighbour yet.
        socket.send(question)?;
        let len = socket.recv(&mut answer).context("no answer")?;
        answer.truncate(len);
        Ok((socket.local_addr()?, answer))
    })?
}

/// A UDP server finds the header before each datagram's data, and its answers go back as they are.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_udp_server_reads_a_proxy_header() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let services = Service::on_both(&rig.topology, Protocol::Udp, server::ECHO, "Rr", [1, 1]);
    rig.serve(1, &services.map(|service| service.telling("ProxyV2")))?;
    for family in Family::ALL {
        let vip = SocketAddr::new(rig.topology.vip.of(family), server::ECHO);
        for question in [&b"odd"[..], b"even", &[7; 1000]] {
            let (client, answer) = ask(&rig, vip, question)?;
            assert_eq!(client.ip(), rig.topology.client.addresses.of(family));
            let seen = [&header(client, vip)[..], question].concat();
            let name = answer.strip_prefix(&seen[..]);
            assert!(
                matches!(name, Some(b"rs1" | b"rs2")),
                "{family:?}: {answer:?}"
            );
        }
    }
    rig.stop_director()
}

/// A kernel without DPVS's module takes no notice of the option.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_kernel_passes_over_the_option_of_udp() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let service = |family| {
        let topology = &rig.topology;
        Service::new(topology, family, Protocol::Udp, server::ECHO, "Rr", [1, 1])
    };
    let services = [
        service(Family::Ipv4).telling("UdpOption"),
        service(Family::Ipv6).telling("None"),
    ];
    rig.serve(1, &services)?;
    for family in Family::ALL {
        let vip = (rig.topology.vip.of(family), server::ECHO).into();
        let names = client::udp_echo(&rig.topology.client.namespace, vip, 100)?;
        assert_eq!(names.len(), 100);
    }
    rig.stop_director()
}
