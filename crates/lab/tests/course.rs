//! The labs of courses, without weir: the machines do what the methods ask of them, so what fails with weir is weir's.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use etherparse::PacketBuilder;
use weir_lab::address::Family;
use weir_lab::hop::Hop;
use weir_lab::inject::inject;
use weir_lab::method::{Encapsulation, GUE};
use weir_lab::{Capture, Method, Rig, client, server};

const LIMIT: Duration = Duration::from_secs(10);

/// MAC addresses of the lab.
const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 0xc1];
const RS1: [u8; 6] = [2, 0, 0, 0, 0, 0x51];

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn real_servers_answer_through_director_and_router() -> Result<()> {
    for method in [Method::Nat, Method::FullNat] {
        let rig = Rig::course_for_test(method)?;
        rig.topology.forward_by_kernel()?;
        let client = &rig.topology.client;
        for family in Family::ALL {
            for (host, name) in rig.topology.real_servers.iter().zip(["rs1", "rs2"]) {
                let url = client::url(host.addresses.of(family), server::PEER);
                let (local, answer) = client::ask_peer(&client.namespace, &url)?;
                assert_eq!(local.ip(), client.addresses.of(family));
                assert_eq!((answer.server.as_str(), answer.peer), (name, local));
            }
        }
    }
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_real_server_with_the_vip_answers_for_it_and_tells_nobody() -> Result<()> {
    for method in [Method::Dr, Method::Tun(Encapsulation::Ipip)] {
        let rig = Rig::course_for_test(method)?;
        let topology = &rig.topology;
        let client = &topology.client.namespace;
        for family in Family::ALL {
            let vip = topology.vip.of(family);
            assert!(
                !client::ping(client, vip)?,
                "{vip}: somebody answers ARP for it"
            );
            let own = topology.real_servers[1].addresses.of(family);
            assert!(client::ping(client, own)?, "{own}: rs2 itself is there");

            // What the director would do: a frame for the VIP, to the real server's MAC address.
            let mac = topology.real_servers[1].mac;
            client.ip(&format!("neigh replace {vip} lladdr {mac} dev eth0"))?;
            let (local, answer) = client::ask_peer(client, &client::url(vip, server::PEER))?;
            assert_eq!((answer.server.as_str(), answer.peer), ("rs2", local));
            let names = client::udp_echo(client, (vip, server::ECHO).into(), 20)?;
            assert_eq!(names, ["rs2"; 20]);
        }
    }
    Ok(())
}

/// Frames as a TUN director sends them, made by hand: a SYN and a datagram, in every encapsulation, over and in both
/// versions of IP.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn what_travels_in_a_tunnel_is_answered_by_the_real_server_directly() -> Result<()> {
    let rig = Rig::course_for_test(Method::Tun(Encapsulation::Ipip))?;
    let topology = &rig.topology;
    let (client, vip, rs1) = (&topology.client, topology.vip, &topology.real_servers[0]);
    // The real server learns the client's MAC address as it would have, by then, from other traffic.
    for family in Family::ALL {
        assert!(client::ping(&client.namespace, rs1.addresses.of(family))?);
    }
    let mut capture = Capture::start(&topology.lab, &client.namespace, "eth0", "")?;
    let mut cport = 30_000;
    for encapsulation in Encapsulation::ALL {
        for outer in Family::ALL {
            for inner in Family::ALL {
                cport += 1;
                let ends = (client.addresses.of(inner), vip.of(inner));
                let outside = (client.addresses.of(outer), rs1.addresses.of(outer));
                let frames = [syn(ends, cport), datagram(ends, cport)]
                    .map(|packet| in_tunnel(encapsulation, outside, inner, &packet));
                assert_eq!(inject(&client.namespace, "eth0", &frames)?.sent, 2);

                let what = format!("answers to {inner} in {encapsulation:?} over {outer}");
                let source = SocketAddr::new(ends.1, server::PEER);
                let own = SocketAddr::new(ends.0, cport);
                let consent = capture.wait_for(&what, LIMIT, |frames| {
                    let hops = || frames.iter().filter_map(|frame| Hop::read(frame));
                    let is_echo = |hop: &Hop| {
                        hop.source == SocketAddr::new(ends.1, server::ECHO)
                            && hop.destination == own
                    };
                    hops().find(is_echo)?;
                    hops().find(|hop| {
                        hop.is_consent() && hop.source == source && hop.destination == own
                    })
                })?;
                assert_eq!(
                    consent.source_mac, rs1.mac,
                    "{what}: from the server itself"
                );
                assert_eq!(consent.outer, None, "{what}: as an ordinary packet");
            }
        }
    }
    capture.stop().map(drop)
}

fn syn((source, destination): (IpAddr, IpAddr), cport: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), 63)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), 63)
        }
        mixed => panic!("{mixed:?} are of two versions"),
    }
    .tcp(cport, server::PEER, 1, 1000)
    .syn()
    .write(&mut packet, &[])
    .expect("writing to a Vec does not fail");
    packet
}

fn datagram((source, destination): (IpAddr, IpAddr), cport: u16) -> Vec<u8> {
    let mut packet = Vec::new();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), 63)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.octets(), destination.octets(), 63)
        }
        mixed => panic!("{mixed:?} are of two versions"),
    }
    .udp(cport, server::ECHO)
    .write(&mut packet, b"hello")
    .expect("writing to a Vec does not fail");
    packet
}

/// The frame that carries `packet` from one end of a tunnel to the other. GUE goes without a UDP checksum, as IPVS sends
/// it unless told otherwise.
fn in_tunnel(
    encapsulation: Encapsulation,
    (source, destination): (IpAddr, IpAddr),
    inner: Family,
    packet: &[u8],
) -> Vec<u8> {
    let (protocol, ether_type) = match inner {
        Family::Ipv4 => (4, [0x08, 0x00]),
        Family::Ipv6 => (41, [0x86, 0xdd]),
    };
    let (carrier, header) = match encapsulation {
        Encapsulation::Ipip => (protocol, Vec::new()),
        Encapsulation::Gre => (47, [[0, 0], ether_type].concat()),
        Encapsulation::Gue => {
            let udp_len = u16::try_from(8 + 4 + packet.len()).expect("a short packet");
            let words = [40_000, GUE, udp_len, 0].map(u16::to_be_bytes);
            (17, [words.concat(), vec![0, protocol, 0, 0]].concat())
        }
    };
    let payload = [header, packet.to_vec()].concat();
    let mut frame = Vec::new();
    let link = PacketBuilder::ethernet2(CLIENT, RS1);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            link.ipv4(source.octets(), destination.octets(), 64)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            link.ipv6(source.octets(), destination.octets(), 64)
        }
        mixed => panic!("{mixed:?} are of two versions"),
    }
    .write(&mut frame, etherparse::IpNumber(carrier), &payload)
    .context("writing to a Vec does not fail")
    .expect("a short packet");
    frame
}
