//! NAT, DR and TUN as IPVS does them: its transcripts, packet by packet.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use etherparse::{NetHeaders, PacketHeaders};
use weir_director::{
    DropReason, Encapsulation, Hashed, HashedFields, PuntReason, Rss, Scheduler, State, Verdict,
    WorkerId,
};
use weir_testkit::{
    By, Decoded, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Outcome, ROUTER_MAC,
    Rig, Site, TcpOption, WAN, WAN_MAC, decode, echo_request, icmp, real_server_mac, tcp, udp,
};
use weir_wire::ethernet::Mac;
use weir_wire::{Endpoint, Protocol};

const FAMILIES: [Family; 2] = [IPV4, IPV6];

fn site(by: By) -> Site {
    Site::with_two_servers(by, &[Protocol::Tcp, Protocol::Udp])
}

fn rig(by: By) -> Rig {
    Rig::new(site(by))
}

/// rr picks the newest destination first.
fn picked(family: Family) -> Endpoint {
    family.other_real.into_endpoint()
}

fn from_server(frame: FrameBuilder, real: Endpoint) -> FrameBuilder {
    frame.macs(real_server_mac(real.ip()), LAN_MAC)
}

fn state(rig: &Rig) -> Vec<(State, u32)> {
    let mut states: Vec<_> = rig
        .connections()
        .iter()
        .map(|view| (view.state, view.expires_ticks / 1000))
        .collect();
    states.sort_by_key(|(state, _)| *state as u8);
    states
}

/// The transcript "NAT TCP life cycle".
#[test]
fn nat_lives_as_in_ipvs() {
    for family in FAMILIES {
        let mut rig = rig(By::Nat);
        let (client, vip) = (family.client, family.vip);
        let real = picked(family);
        let inbound = format!("{client}>{real} ttl63");
        let outbound = format!("{vip}>{client} ttl63");
        let reply = |frame: FrameBuilder| from_server(frame, real);
        let steps = [
            (
                tcp(client, vip).syn().seq(1),
                "S",
                &inbound,
                State::SynRecv,
                60,
            ),
            (
                reply(tcp(real, client).syn().seq(9).ack(2)),
                "SA",
                &outbound,
                State::SynRecv,
                60,
            ),
            (
                tcp(client, vip).seq(2).ack(10),
                "A",
                &inbound,
                State::Established,
                900,
            ),
            (
                reply(tcp(real, client).fin().seq(10).ack(2)),
                "FA",
                &outbound,
                State::FinWait,
                120,
            ),
            (
                tcp(client, vip).fin().seq(2).ack(11),
                "FA",
                &inbound,
                State::TimeWait,
                120,
            ),
            (
                reply(tcp(real, client).seq(11).ack(3)),
                "A",
                &outbound,
                State::TimeWait,
                120,
            ),
        ];
        for (frame, flags, way, expected, timeout) in steps {
            let outcome = rig.send(&frame);
            let port = if *way == inbound { LAN } else { WAN };
            assert_eq!(outcome.verdict, Verdict::Transmit(port));
            let sent = decode(&outcome.frame);
            assert_eq!(sent.to_string(), format!("tcp {flags} {way}"));
            let macs = if port == LAN {
                (LAN_MAC, real_server_mac(real.ip()))
            } else {
                (WAN_MAC, ROUTER_MAC)
            };
            assert_eq!((sent.source_mac, sent.destination_mac), macs);
            assert_eq!(state(&rig), [(expected, timeout)]);
        }
    }
}

/// The transcript "UDP NAT + ICMP errors".
#[test]
fn nat_translates_datagrams_and_errors_about_them() {
    let (client, vip, real) = (IPV4.client, IPV4.vip, picked(IPV4));
    let mut rig = rig(By::Nat);
    let ask = || udp(client, vip).data(b"ask");
    assert_eq!(
        rig.forward(&ask()).to_string(),
        format!("udp {client}>{real} ttl63 3 bytes")
    );
    let reply = from_server(udp(real, client).data(b"told"), real);
    assert_eq!(
        rig.forward(&reply).to_string(),
        format!("udp {vip}>{client} ttl63 4 bytes")
    );
    let (cip, vip_alone) = (client.into_endpoint().ip(), vip.into_endpoint().ip());
    // From the real server, and from a router on its side.
    for (sender, kind) in [(real, [3, 3]), ("10.0.0.99:0".into_endpoint(), [3, 4])] {
        let error =
            icmp(sender, client, kind, [0; 4]).data(&udp(client, real).data(b"ask").packet_bytes());
        let [kind, code] = kind;
        assert_eq!(
            rig.forward(&from_server(error, real)).to_string(),
            format!("icmp {kind}/{code} {vip_alone}>{cip} ttl63 {{udp {client}>{vip} ttl64}}")
        );
    }
    // From the client about a reply.
    for kind in [[3, 3], [11, 0]] {
        let error =
            icmp(client, vip, kind, [0; 4]).data(&udp(vip, client).data(b"told").packet_bytes());
        let [kind, code] = kind;
        assert_eq!(
            rig.forward(&error).to_string(),
            format!(
                "icmp {kind}/{code} {cip}>{} ttl63 {{udp {real}>{client} ttl64}}",
                real.ip()
            )
        );
    }
    let unknown = icmp("203.0.113.9:0", vip, [3, 3], [0; 4])
        .data(&udp(vip, "198.51.100.7:5999").data(b"told").packet_bytes());
    assert_eq!(
        rig.send(&unknown).verdict,
        Verdict::Drop(DropReason::IcmpUnrelated)
    );
}

/// The transcript "reply with no conn": the director is the real servers' gateway.
#[test]
fn packets_of_nat_servers_that_belong_to_no_connection_are_routed() {
    for family in FAMILIES {
        let mut rig = rig(By::Nat);
        let (real, elsewhere) = (picked(family), family.client);
        for frame in [
            tcp(real, elsewhere).seq(1).ack(1),
            udp(real, elsewhere).data(b"query"),
            echo_request(real, elsewhere),
        ] {
            let outcome = rig.send(&from_server(frame, real));
            assert_eq!(outcome.verdict, Verdict::Transmit(WAN));
            let sent = decode(&outcome.frame);
            assert_eq!(
                (sent.ttl, sent.source.ip(), sent.destination_mac),
                (63, real.ip(), ROUTER_MAC)
            );
        }
        // And what comes back to it from outside.
        let answer = udp(elsewhere, real).data(b"answer");
        assert_eq!(rig.send(&answer).verdict, Verdict::Transmit(LAN));
        assert!(rig.connections().is_empty());
        // Nobody else's: weir is no router.
        let stranger = if family.client.starts_with('[') {
            "[fd00::77]:9"
        } else {
            "10.0.0.77:9"
        };
        let frame = from_server(udp(stranger, elsewhere).data(b"x"), real);
        assert_eq!(
            rig.send(&frame).verdict,
            Verdict::Drop(DropReason::AddressNotOurs)
        );
        let last = from_server(udp(real, elsewhere).data(b"x").ttl(1), real);
        assert_eq!(
            rig.send(&last).verdict,
            Verdict::Punt(PuntReason::TtlExceeded)
        );
    }
}

/// What a stranger's error quotes opens no way through: the error itself must be from or to a real server.
#[test]
fn an_error_is_routed_by_its_own_addresses() {
    for family in FAMILIES {
        let mut rig = rig(By::Nat);
        let (client, real) = (family.client, picked(family));
        let (stranger, victim, kind) = if family.client.starts_with('[') {
            ("[2001:db8:66::6]:0", "[2001:db8:77::7]:0", [1, 4])
        } else {
            ("203.0.113.6:0", "203.0.113.77:0", [3, 3])
        };
        let mut verdict = |from: Endpoint, to: Endpoint, quoted: FrameBuilder| {
            let error = icmp(from, to, kind, [0; 4]).data(&quoted.packet_bytes());
            rig.send(&error).verdict
        };
        let (stranger, victim) = (stranger.into_endpoint(), victim.into_endpoint());
        let quoted = [udp(victim, real), udp(real, victim)];
        for quoted in quoted {
            assert_eq!(
                verdict(stranger, victim, quoted),
                Verdict::Drop(DropReason::AddressNotOurs)
            );
        }
        assert_eq!(
            verdict(stranger, real, udp(victim, real)),
            Verdict::Drop(DropReason::AddressNotOurs),
            "not to the sender of what it quotes"
        );
        // Those that belong there go through.
        assert_eq!(
            verdict(stranger, real, udp(real, client)),
            Verdict::Transmit(LAN)
        );
        assert_eq!(
            verdict(real, client.into_endpoint(), udp(client, real)),
            Verdict::Transmit(WAN)
        );
    }
}

/// Sources that are ours or nobody's, and addresses that mean something on their link only.
#[test]
fn what_no_router_forwards_is_not_forwarded_to_nat_servers_either() {
    let mut rig = rig(By::Nat);
    let (real, real_v6) = (picked(IPV4), picked(IPV6));
    for (source, real) in [
        (IPV4.vip, real),
        (IPV4.local, real),
        ("10.0.0.1:9", real),
        ("127.0.0.1:9", real),
        ("0.0.0.0:9", real),
        ("169.254.0.9:9", real),
        (IPV6.vip, real_v6),
        ("[fe80::9]:9", real_v6),
    ] {
        assert_eq!(
            rig.send(&udp(source, real)).verdict,
            Verdict::Drop(DropReason::SourceInvalid),
            "{source}"
        );
    }
    for (real, destination) in [
        (real, "255.255.255.255:9"),
        (real, "127.0.0.1:9"),
        (real, "169.254.0.9:9"),
        (real, "224.0.0.9:9"),
        (real_v6, "[fe80::9]:9"),
        (real_v6, "[ff02::9]:9"),
    ] {
        assert_eq!(
            rig.send(&from_server(udp(real, destination), real)).verdict,
            Verdict::Drop(DropReason::AddressNotOurs),
            "{destination}"
        );
    }
    let mut wrong = udp(IPV4.client, real).bytes();
    wrong[24] ^= 1;
    assert_eq!(
        rig.receive(WorkerId(0), &wrong).verdict,
        Verdict::Drop(DropReason::Ipv4ChecksumWrong)
    );
    let everyone = echo_request(real, IPV4.client).macs(real_server_mac(real.ip()), Mac::BROADCAST);
    assert_eq!(
        rig.send(&everyone).verdict,
        Verdict::Drop(DropReason::MacNotOurs)
    );
}

/// Who asks for the MAC address of a VIP asks a group, and is heard whatever else is routed.
#[test]
fn icmp_to_groups_and_link_local_addresses_is_punted_and_never_routed() {
    for by in [By::FullNat, By::Nat] {
        let mut rig = rig(by);
        for asker in [IPV6.client, IPV6.real] {
            let solicitation = |to| icmp(asker, to, [135, 0], [0; 4]).data(&[0; 16]);
            let asked_all = solicitation("[ff02::1:ff00:100]:0")
                .macs(ROUTER_MAC, Mac([0x33, 0x33, 0xff, 0, 1, 0]));
            rig.send(&asked_all).is_punted(PuntReason::Icmp);
            rig.send(&solicitation("[fe80::1]:0"))
                .is_punted(PuntReason::Icmp);
        }
        for to in ["224.0.0.1:0", "255.255.255.255:0"] {
            let asked_all = echo_request(IPV4.real, to).macs(ROUTER_MAC, Mac::BROADCAST);
            rig.send(&asked_all).is_punted(PuntReason::Icmp);
        }
    }
}

/// Two VIPs, one real server, one L4 port of a client: replies of the two could not be told apart.
#[test]
fn nat_refuses_a_flow_whose_replies_are_anothers() {
    let site = ["192.0.2.100:80", "192.0.2.101:80"]
        .iter()
        .fold(Site::new().by(By::Nat), |site, vip| {
            site.service(Protocol::Tcp, vip, Scheduler::Rr, &[(IPV4.real, 1)])
        });
    let mut rig = Rig::new(site);
    rig.forward(&tcp(IPV4.client, "192.0.2.100:80").syn());
    let second = tcp(IPV4.client, "192.0.2.101:80").syn();
    assert_eq!(
        rig.send(&second).verdict,
        Verdict::Drop(DropReason::NatFlowTaken)
    );
    // Once the first is over its place is free.
    let reset = from_server(tcp(IPV4.real, IPV4.client).rst(), IPV4.real.into_endpoint());
    rig.forward(&reset);
    rig.forward(&second);
    assert_eq!(rig.connections().len(), 1);
}

/// Its real server knows the client's own numbers: only what is lent to one client after the other is shifted.
#[test]
fn nat_takes_a_place_over_with_the_clients_own_numbers() {
    let site = ["192.0.2.100:80", "192.0.2.101:80"]
        .iter()
        .fold(Site::new().by(By::Nat), |site, vip| {
            site.service(Protocol::Tcp, vip, Scheduler::Rr, &[(IPV4.real, 1)])
        });
    let mut rig = Rig::new(site);
    let real = IPV4.real.into_endpoint();
    rig.forward(&tcp(IPV4.client, "192.0.2.100:80").syn().seq(1));
    rig.forward(&tcp(IPV4.client, "192.0.2.100:80").fin().seq(2).ack(10));
    rig.forward(&from_server(
        tcp(real, IPV4.client).fin().seq(10).ack(3),
        real,
    ));
    let second = tcp(IPV4.client, "192.0.2.101:80").syn().seq(77);
    assert_eq!(rig.forward(&second).segment().sequence, 77);
    assert_eq!(rig.connections().len(), 1);
}

/// With its service gone, or another method in its place, what belongs to the living connection still finds its worker,
/// and the real server's gateway is no more.
#[test]
fn connections_under_nat_keep_their_worker_when_nat_has_gone() {
    for by in [By::FullNat, By::Dr] {
        let mut n_handed_off = 0;
        for cport in 40_000..40_016 {
            let client = Endpoint::new(IPV4.client.into_endpoint().ip(), cport);
            let by_nat = Site::new().by(By::Nat).workers(2);
            let real = By::Dr.endpoint(IPV4.real, IPV4.vip);
            let serve = |site: Site| {
                site.service(
                    Protocol::Tcp,
                    IPV4.vip,
                    Scheduler::Rr,
                    &[(real.as_str(), 1)],
                )
            };
            // What a port tells makes the owner another one than under NAT.
            let fields = HashedFields {
                tcp_v4: Hashed::L4Ports,
                ..HashedFields::default()
            };
            let key: [u8; 40] = std::array::from_fn(|n| (n as u8).wrapping_mul(73) ^ 0x6d);
            let rss = Arc::new(Rss::new(&key, &[0, 1], fields, 2).unwrap());
            let mut rig = Rig::new(serve(by_nat.rss_on_wan(&rss)));
            let opened = rig.receive(WorkerId(0), &tcp(client, IPV4.vip).syn().bytes());
            opened.sent();
            rig.publish(|site| serve(site.by(by)).former_nat(Protocol::Tcp, IPV4.vip, &real));
            let real = real.as_str().into_endpoint();
            let reply = from_server(tcp(real, client).syn().ack(1), real);
            for worker in [0, 1].map(WorkerId) {
                for frame in [tcp(client, IPV4.vip).ack(1), reply.clone()] {
                    let outcome = rig.receive(worker, &frame.bytes());
                    outcome.sent();
                    assert_eq!(outcome.worker, opened.worker);
                    n_handed_off += u32::from(outcome.was_handed_off);
                }
                let stranger = from_server(udp(real, "198.51.100.77:9"), real);
                rig.receive(worker, &stranger.bytes())
                    .is_dropped(DropReason::AddressNotOurs);
            }
            rig.publish(|site| site.without_services());
            let outcome = rig.receive(WorkerId(1), &tcp(client, IPV4.vip).ack(1).bytes());
            outcome.sent();
        }
        assert_ne!(n_handed_off, 0);
    }
}

/// RFC 6864: what may be fragmented on its way has an identification of its own.
#[test]
fn outer_packets_that_may_be_fragmented_are_told_apart() {
    let mut rig = rig(By::Tun(Encapsulation::Ipip));
    let frame = udp(IPV4.client, IPV4.vip).may_be_fragmented();
    let identifications = [(); 2].map(|()| rig.send(&frame).frame[18..20].to_vec());
    assert_ne!(identifications[0], identifications[1]);
}

/// RFC 6864: fragments of two workers' packets to one real server never meet.
#[test]
fn outer_packets_of_several_workers_are_told_apart() {
    let mut rig = Rig::new(site(By::Tun(Encapsulation::Ipip)).workers(3));
    let mut seen = std::collections::HashMap::new();
    for cport in 40_000..43_000 {
        let client = Endpoint::new(IPV4.client.into_endpoint().ip(), cport);
        let frame = udp(client, IPV4.vip).may_be_fragmented();
        for _ in 0..10 {
            let outcome = rig.send(&frame);
            let identification = outcome.frame[18..20].to_vec();
            let worker = seen.entry(identification).or_insert(outcome.worker);
            assert_eq!(*worker, outcome.worker);
        }
    }
}

/// The client's owner is the same for both directions, whatever worker gets the packet.
#[test]
fn nat_replies_find_the_worker_that_owns_the_client() {
    let mut rig = Rig::new(site(By::Nat).workers(3));
    let mut n_handed_off = 0;
    for cport in 40_000..40_030 {
        let client = Endpoint::new(IPV4.client.into_endpoint().ip(), cport);
        let opened = rig.receive(WorkerId(1), &tcp(client, IPV4.vip).syn().bytes());
        let real = decode(&opened.frame).destination;
        for worker in 0..3 {
            let reply = from_server(tcp(real, client).syn().ack(1), real);
            let outcome = rig.receive(WorkerId(worker), &reply.bytes());
            assert_eq!(
                (outcome.verdict, outcome.worker),
                (Verdict::Transmit(WAN), opened.worker)
            );
            assert_eq!(decode(&outcome.frame).source, IPV4.vip.into_endpoint());
            n_handed_off += u32::from(outcome.was_handed_off);
        }
    }
    assert_eq!(n_handed_off, 60);
}

/// The transcript "DR": only MAC addresses and the TTL change, and the state follows the client alone.
#[test]
fn dr_lives_as_in_ipvs() {
    for family in FAMILIES {
        let mut rig = rig(By::Dr);
        let (client, vip) = (family.client, family.vip);
        let real = picked(family);
        let way = format!("{client}>{vip} ttl63");
        let options = TcpOption::of_syn();
        let steps = [
            (
                tcp(client, vip).syn().options(&options),
                "S",
                State::SynRecv,
                60,
            ),
            (tcp(client, vip).ack(1), "A", State::Established, 900),
            (tcp(client, vip).fin().ack(1), "FA", State::FinWait, 120),
            (
                tcp(client, vip).syn().options(&options),
                "S",
                State::SynRecv,
                60,
            ),
        ];
        for (frame, flags, expected, timeout) in steps {
            let outcome = rig.send(&frame);
            assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
            let sent = decode(&outcome.frame);
            assert!(
                sent.to_string().starts_with(&format!("tcp {flags} {way}")),
                "{sent}"
            );
            assert_eq!(
                (sent.source_mac, sent.destination_mac),
                (LAN_MAC, real_server_mac(real.ip()))
            );
            assert_eq!(outcome.frame.len(), frame.bytes().len());
            assert_eq!(state(&rig), [(expected, timeout)]);
        }
        let last = tcp(client, vip).ack(1).ttl(1);
        assert_eq!(
            rig.send(&last).verdict,
            Verdict::Punt(PuntReason::TtlExceeded)
        );
        // An error about what the real server sent to the client goes to the real server.
        let kind = if family.client.starts_with('[') {
            [1, 4]
        } else {
            [3, 3]
        };
        let error = icmp(client, vip, kind, [0; 4]).data(&tcp(vip, client).ack(1).packet_bytes());
        let outcome = rig.send(&error);
        assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
        assert_eq!(
            decode(&outcome.frame).destination_mac,
            real_server_mac(real.ip())
        );
        rig.pass(Duration::from_secs(61));
        assert!(rig.connections().is_empty());
    }
}

/// What is inside a tunnel, as a frame of its own; and the outer packet's source, destination, TTL and length.
fn unwrapped(outcome: &Outcome, shim_bytes: usize) -> (Decoded, IpAddr, IpAddr, u8) {
    let frame = &outcome.frame;
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let (source, destination, ttl, header_bytes, ip_bytes) = match headers.net.unwrap() {
        NetHeaders::Ipv4(ip, _) => {
            assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            (
                ip.source.into(),
                ip.destination.into(),
                ip.time_to_live,
                20,
                usize::from(ip.total_len),
            )
        }
        NetHeaders::Ipv6(ip, _) => (
            ip.source.into(),
            ip.destination.into(),
            ip.hop_limit,
            40,
            40 + usize::from(ip.payload_length),
        ),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        frame.len(),
        14 + ip_bytes,
        "no padding, and the right length"
    );
    let inner = &frame[14 + header_bytes + shim_bytes..];
    let ether_type: [u8; 2] = if inner[0] >> 4 == 4 {
        [8, 0]
    } else {
        [0x86, 0xdd]
    };
    let inner = [&[0; 12][..], &ether_type, inner].concat();
    (decode(&inner), source, destination, ttl)
}

/// The transcript "TUN ipip", and the other encapsulations, over both families.
#[test]
fn tun_puts_the_packet_into_another() {
    let kinds = [
        (Encapsulation::Ipip, 0),
        (Encapsulation::Gre { checksum: false }, 4),
        (Encapsulation::Gre { checksum: true }, 8),
        (
            Encapsulation::Gue {
                destination_port: 6080,
                checksum: false,
            },
            12,
        ),
        (
            Encapsulation::Gue {
                destination_port: 5555,
                checksum: true,
            },
            12,
        ),
    ];
    for (encapsulation, shim_bytes) in kinds {
        for (family, other) in [(IPV4, IPV4), (IPV6, IPV6), (IPV4, IPV6), (IPV6, IPV4)] {
            let by = By::Tun(encapsulation);
            let real = by.endpoint(other.real, family.vip);
            let site =
                Site::new()
                    .by(by)
                    .service(Protocol::Tcp, family.vip, Scheduler::Rr, &[(&real, 1)]);
            let mut rig = Rig::new(site);
            let (client, vip) = (family.client, family.vip);
            let real = real.into_endpoint().ip();
            let dip: IpAddr = if real.is_ipv4() {
                "10.0.0.1"
            } else {
                "fd00::1"
            }
            .parse()
            .unwrap();
            for (frame, expected) in [
                (tcp(client, vip).syn(), State::SynRecv),
                (tcp(client, vip).ack(1).data(b"odd"), State::Established),
                (tcp(client, vip).fin().ack(1), State::FinWait),
            ] {
                let outcome = rig.send(&frame);
                assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
                let (inner, source, destination, ttl) = unwrapped(&outcome, shim_bytes);
                assert_eq!((source, destination, ttl), (dip, real, 63));
                assert_eq!(
                    (inner.source, inner.destination, inner.ttl),
                    (client.into_endpoint(), vip.into_endpoint(), 63)
                );
                assert_eq!(state(&rig)[0].0, expected);
                assert_eq!(rig.connection().real.ip(), real, "as it is listed");
                let outer = &outcome.frame[14..][..outcome.frame.len() - 14];
                check_shim(
                    outer,
                    &inner_bytes(outer, shim_bytes),
                    encapsulation,
                    family,
                );
            }
            // What does not fit is answered with what would have.
            let large = tcp(client, vip).ack(1).data_bytes(1460 - 20);
            let outer_bytes = if real.is_ipv4() { 20 } else { 40 } + shim_bytes as u16;
            assert_eq!(
                rig.send(&large).verdict,
                if usize::from(1500 - outer_bytes) < large.packet_bytes().len() {
                    Verdict::Punt(PuntReason::TooBig {
                        mtu: 1500 - outer_bytes,
                    })
                } else {
                    Verdict::Transmit(LAN)
                }
            );
        }
    }
}

fn inner_bytes(outer: &[u8], shim_bytes: usize) -> Vec<u8> {
    let header_bytes = if outer[0] >> 4 == 4 { 20 } else { 40 };
    outer[header_bytes + shim_bytes..].to_vec()
}

/// What stands between the outer header and the inner packet.
fn check_shim(outer: &[u8], inner: &[u8], encapsulation: Encapsulation, family: Family) {
    let is_ipv6 = family.client.starts_with('[');
    let (header_bytes, protocol) = if outer[0] >> 4 == 4 {
        (20, outer[9])
    } else {
        (40, outer[6])
    };
    let shim = &outer[header_bytes..outer.len() - inner.len()];
    let inner_protocol = if is_ipv6 { 41 } else { 4 };
    let ether_type: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [8, 0] };
    match encapsulation {
        Encapsulation::Ipip => assert_eq!(protocol, inner_protocol),
        Encapsulation::Gre { checksum } => {
            assert_eq!((protocol, &shim[2..4]), (47, &ether_type[..]));
            assert_eq!(shim[0], if checksum { 0x80 } else { 0 });
            if checksum {
                assert_eq!(ones_complement_sum(&[shim, inner].concat()), 0xffff);
            }
        }
        Encapsulation::Gue {
            destination_port,
            checksum,
        } => {
            assert_eq!(
                (protocol, &shim[2..4]),
                (17, &destination_port.to_be_bytes()[..])
            );
            assert!(shim[0] >= 0xc0, "an ephemeral source port");
            assert_eq!(
                usize::from(u16::from_be_bytes([shim[4], shim[5]])),
                shim.len() + inner.len()
            );
            assert_eq!(&shim[8..], &[0, inner_protocol, 0, 0]);
            if checksum {
                let addresses = if header_bytes == 20 {
                    &outer[12..20]
                } else {
                    &outer[8..40]
                };
                let len = (shim.len() + inner.len()) as u16;
                let pseudo = [addresses, &[0, 17], &len.to_be_bytes()].concat();
                assert_eq!(
                    ones_complement_sum(&[&pseudo, shim, inner].concat()),
                    0xffff
                );
            } else {
                assert_eq!(&shim[6..8], &[0, 0]);
            }
        }
    }
}

/// RFC 1071, word by word.
fn ones_complement_sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn a_tunnel_without_headroom_is_refused_by_name() {
    let mut rig = rig(By::Tun(Encapsulation::Ipip)).headroom(19);
    let syn = tcp(IPV4.client, IPV4.vip).syn();
    assert_eq!(
        rig.send(&syn).verdict,
        Verdict::Drop(DropReason::NoHeadroom)
    );
}

/// "Existing connections keep their forwarding method when the service is deleted and added again with another."
#[test]
fn living_connections_keep_the_method_they_began_with() {
    let mut rig = rig(By::Dr);
    rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    rig.publish(|site| {
        site.by(By::Nat)
            .service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 1)])
    });
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).ack(1));
    assert_eq!(sent.destination, IPV4.vip.into_endpoint(), "still DR");
    let sent = rig.forward(&tcp("198.51.100.7:40001", IPV4.vip).syn());
    assert_eq!(
        sent.destination,
        IPV4.real.into_endpoint(),
        "NAT from now on"
    );
}

/// A client that no route leads to is no matter of DR's: the real server answers.
#[test]
fn one_way_methods_need_no_way_back() {
    for (by, verdict) in [
        (By::Dr, Verdict::Transmit(LAN)),
        (By::Nat, Verdict::Drop(DropReason::NoRoute)),
    ] {
        let mut rig = Rig::new(site(by).without_default_routes());
        assert_eq!(rig.send(&tcp(IPV4.client, IPV4.vip).syn()).verdict, verdict);
    }
}
