//! ICMP errors about packets in a tunnel: the client is told as if nothing had been around its packet.

use std::net::IpAddr;

use weir_director::{
    DropReason, Encapsulation, PuntReason, Scheduler, TunnelId, Verdict, WorkerId,
};
use weir_testkit::{
    By, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Outcome, Rig, Site, WAN,
    icmp, real_server_mac, tcp, udp,
};
use weir_wire::Protocol;

const KINDS: [Encapsulation; 4] = [
    Encapsulation::Ipip,
    Encapsulation::Gre { checksum: false },
    Encapsulation::Gre { checksum: true },
    Encapsulation::Gue {
        destination_port: 6080,
        checksum: true,
    },
];
/// The client's and the VIP's family, then the real server's.
const CROSSINGS: [(Family, Family); 4] = [(IPV4, IPV4), (IPV6, IPV6), (IPV4, IPV6), (IPV6, IPV4)];
const TUNNEL: TunnelId = TunnelId(0);

/// One service with one real server behind a tunnel, and a connection through it.
struct Scene {
    rig: Rig,
    family: Family,
    other: Family,
    header_bytes: u16,
    /// The outer packet of the connection's first large segment.
    outer: Vec<u8>,
}

impl Scene {
    fn new(encapsulation: Encapsulation, (family, other): (Family, Family)) -> Self {
        let by = By::Tun(encapsulation);
        let real = by.endpoint(other.real, family.vip);
        let site =
            Site::new()
                .by(by)
                .service(Protocol::Tcp, family.vip, Scheduler::Rr, &[(&real, 1)]);
        let mut rig = Rig::new(site);
        passes(&rig.send(&tcp(family.client, family.vip).syn()));
        let outcome = rig.send(&large(family, 1300));
        passes(&outcome);
        let outer = outcome.frame[14..].to_vec();
        let header_bytes = (outer.len() - large(family, 1300).packet_bytes().len()) as u16;
        Self {
            rig,
            family,
            other,
            header_bytes,
            outer,
        }
    }

    /// An error from a router behind weir about the first `n_bytes` of the outer packet.
    fn error(&self, (kind, rest): ([u8; 2], [u8; 4]), n_bytes: usize) -> FrameBuilder {
        let quoted = &self.outer[..n_bytes.min(self.outer.len())];
        from_router(self.other, self.other, (kind, rest), quoted)
    }

    /// Likewise, that it was too big for a link of `mtu` bytes.
    fn too_big(&self, mtu: u16, n_bytes: usize) -> FrameBuilder {
        self.error(too_big(self.other, mtu), n_bytes)
    }

    fn learn(&mut self, mtu: u16) {
        self.rig.publish(|site| site.path_mtu(TUNNEL, mtu));
    }

    /// Bytes of the outer IP header.
    fn ip_bytes(&self) -> usize {
        usize::from(self.other.ip_header_bytes)
    }

    /// What the client is told, but for type and code.
    fn to_client(&self) -> String {
        let Family { client, vip, .. } = self.family;
        let (from, to) = (vip.into_endpoint().ip(), client.into_endpoint().ip());
        format!("{from}>{to} ttl64 {{tcp {client}>{vip} ttl63}}")
    }
}

/// It went into the tunnel.
#[track_caller]
fn passes(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
}

fn is_cut(outcome: &Outcome, mtu: u16) {
    assert_eq!(outcome.verdict, Verdict::Fragment { port: LAN, mtu });
}

fn is_ipv6(family: Family) -> bool {
    family.client.starts_with('[')
}

fn large(family: Family, ip_bytes: u16) -> FrameBuilder {
    tcp(family.client, family.vip)
        .seq(7)
        .ack(1)
        .ip_bytes(ip_bytes.into())
}

fn too_big(family: Family, mtu: u16) -> ([u8; 2], [u8; 4]) {
    let [high, low] = mtu.to_be_bytes();
    if is_ipv6(family) {
        ([2, 0], [0, 0, high, low])
    } else {
        ([3, 4], [0, 0, high, low])
    }
}

/// An error from a router on the way to real servers of a family, to weir's address of another.
fn from_router(
    sender: Family,
    receiver: Family,
    (kind, rest): ([u8; 2], [u8; 4]),
    quoted: &[u8],
) -> FrameBuilder {
    let (router, _) = ends(sender);
    let (_, dip) = ends(receiver);
    let router_mac = real_server_mac("10.0.0.9".parse().unwrap());
    icmp(router, dip, kind, rest)
        .macs(router_mac, LAN_MAC)
        .data(quoted)
}

/// A router behind weir, and weir's own address towards it.
fn ends(family: Family) -> (&'static str, &'static str) {
    if is_ipv6(family) {
        ("[fd00:9::9]:0", "[fd00::1]:0")
    } else {
        ("10.9.9.9:0", "10.0.0.1:0")
    }
}

/// Both things happen: weir remembers what gets through, and the client is told about its own packet, from the VIP.
#[test]
fn a_packet_too_big_for_the_way_is_told_to_the_client_and_remembered() {
    for encapsulation in KINDS {
        for crossing in CROSSINGS {
            let mut scene = Scene::new(encapsulation, crossing);
            let error = scene.too_big(1310, 200);
            scene
                .rig
                .send(&error)
                .is_punted(PuntReason::PathMtu(TUNNEL));
            scene.learn(1310);
            let outcome = scene.rig.send(&error);
            assert_eq!(outcome.verdict, Verdict::Transmit(WAN), "{encapsulation:?}");
            let sent = outcome.sent();
            let most = if is_ipv6(scene.family) {
                (1310 - scene.header_bytes).max(1280)
            } else {
                1310 - scene.header_bytes
            };
            let (kind, rest) = too_big(scene.family, most);
            let expected = format!("icmp {}/{} {}", kind[0], kind[1], scene.to_client());
            assert_eq!(sent.to_string(), expected);
            assert_eq!(sent.icmp().rest, rest);
            let quoted = sent.icmp().quoted.as_ref().unwrap();
            assert_eq!(
                (quoted.sequence, quoted.acknowledgement),
                (Some(7), Some(1))
            );
            // And so is everyone who sends so large a packet from now on.
            let fits = 1310 - scene.header_bytes;
            let too_large = scene.rig.send(&large(scene.family, fits + 1));
            if is_ipv6(scene.family) && fits < 1280 && !is_ipv6(scene.other) {
                is_cut(&too_large, 1310);
            } else {
                too_large.is_punted(PuntReason::TooBig { mtu: fits });
            }
            passes(&scene.rig.send(&large(scene.family, fits)));
        }
    }
}

/// Routers need not quote more than 8 bytes behind the IP header: then nobody can tell whose packet it was.
#[test]
fn an_error_that_quotes_the_tunnels_header_alone_is_remembered() {
    for encapsulation in KINDS {
        for crossing in CROSSINGS {
            let mut scene = Scene::new(encapsulation, crossing);
            let least = scene.ip_bytes() + 8;
            let error = scene.too_big(1310, least);
            scene
                .rig
                .send(&error)
                .is_punted(PuntReason::PathMtu(TUNNEL));
            scene.learn(1310);
            let told = scene.rig.send(&error);
            told.is_dropped(DropReason::TunnelErrorUntold);
            let shorter = scene.rig.send(&scene.too_big(1300, least - 1));
            assert!(matches!(shorter.verdict, Verdict::Drop(_)), "{shorter:?}");
        }
    }
}

/// However little a router says gets through, what every host or link takes is tried.
#[test]
fn no_path_is_believed_to_be_narrower_than_hosts_and_links_may_be() {
    for crossing in CROSSINGS {
        for named in [0, 68, 500] {
            let mut scene = Scene::new(Encapsulation::Ipip, crossing);
            let error = scene.too_big(named, 200);
            scene
                .rig
                .send(&error)
                .is_punted(PuntReason::PathMtu(TUNNEL));
            let minimum = if is_ipv6(scene.other) { 1280 } else { 576 };
            scene.learn(minimum);
            scene.rig.send(&error).sent();
        }
    }
}

/// What routers would cut is cut before they have to; over IPv6 nobody but the sender may.
#[test]
fn a_packet_that_may_be_fragmented_is_cut_to_fit() {
    for (crossing, may_be_cut) in [(CROSSINGS[0], true), (CROSSINGS[2], false)] {
        let mut scene = Scene::new(Encapsulation::Ipip, crossing);
        scene.learn(1280);
        let outcome = scene
            .rig
            .send(&large(scene.family, 1300).may_be_fragmented());
        match may_be_cut {
            true => is_cut(&outcome, 1280),
            false => outcome.is_punted(PuntReason::TooBig { mtu: 1240 }),
        }
    }
    // RFC 4213 §3.2.2.
    let mut scene = Scene::new(Encapsulation::Ipip, CROSSINGS[3]);
    for (ip_bytes, flags) in [(1280, 0), (1281, 0x40)] {
        let outcome = scene.rig.send(&large(scene.family, ip_bytes));
        assert_eq!(outcome.frame[14 + 6], flags);
    }
}

/// As IPVS passes them on; to the other family nothing but that the VIP cannot be reached.
#[test]
fn other_errors_about_the_outer_packet_reach_the_client_too() {
    for encapsulation in KINDS {
        for crossing in CROSSINGS {
            let mut scene = Scene::new(encapsulation, crossing);
            let crosses = is_ipv6(scene.family) != is_ipv6(scene.other);
            let kinds: &[[u8; 2]] = match is_ipv6(scene.other) {
                true => &[[1, 0], [1, 4], [3, 0]],
                false => &[[3, 0], [3, 1], [3, 2], [3, 13], [11, 0]],
            };
            for kind in kinds {
                let told = match (crosses, is_ipv6(scene.family)) {
                    (false, _) => *kind,
                    (true, false) => [3, 1],
                    (true, true) => [1, 3],
                };
                let sent = scene.rig.forward(&scene.error((*kind, [0; 4]), 200));
                let expected = format!("icmp {}/{} {}", told[0], told[1], scene.to_client());
                assert_eq!(sent.to_string(), expected, "{encapsulation:?}");
            }
        }
    }
}

/// Who makes errors up must know a tunnel's ends and a connection, and then it costs a few bytes a packet.
#[test]
fn what_was_made_up_is_not_believed() {
    for encapsulation in KINDS {
        for crossing in CROSSINGS {
            let mut scene = Scene::new(encapsulation, crossing);
            let (other, ip_bytes) = (scene.other, scene.ip_bytes());
            let is_refused = |scene: &mut Scene, frame: &FrameBuilder, what: &str| {
                let verdict = scene.rig.send(frame).verdict;
                assert!(matches!(verdict, Verdict::Drop(_)), "{what}: {verdict:?}");
            };
            // As large as the packet was.
            let n_outer = scene.outer.len() as u16;
            let error = scene.too_big(n_outer, 200);
            is_refused(&mut scene, &error, "a packet that fits");
            // Neither from weir nor to the real server.
            let address_bytes = if ip_bytes == 20 { 4 } else { 16 };
            for at in [ip_bytes - 1, ip_bytes - 1 - address_bytes] {
                let mut quoted = scene.outer.clone();
                quoted[at] ^= 0x40;
                let error = from_router(other, other, too_big(other, 1310), &quoted[..200]);
                is_refused(&mut scene, &error, "ends of no tunnel");
            }
            // About another client's packet.
            let inner = scene.outer.len() - 1300;
            let mut quoted = scene.outer.clone();
            let source = if is_ipv6(scene.family) { 23 } else { 15 };
            quoted[inner + source] ^= 1;
            let error = from_router(other, other, too_big(other, 1310), &quoted[..200]);
            is_refused(&mut scene, &error, "no connection");
            // To another address than the one that sent the packet.
            let (router, _) = ends(other);
            let (kind, rest) = too_big(other, 1310);
            let error = icmp(router, other.vip, kind, rest).data(&scene.outer[..200]);
            is_refused(&mut scene, &error, "to the VIP");
            // From one of weir's own.
            let (_, dip) = ends(other);
            let error = icmp(other.local, dip, kind, rest).data(&scene.outer[..200]);
            is_refused(&mut scene, &error, "from weir itself");
            // Damaged on its way.
            let mut damaged = scene.too_big(1310, 200).bytes();
            *damaged.last_mut().unwrap() ^= 1;
            let outcome = scene.rig.receive(WorkerId(0), &damaged);
            outcome.is_dropped(DropReason::IcmpChecksumWrong);
            // Sent to another machine.
            let elsewhere = scene.too_big(1310, 200).macs(
                real_server_mac("10.0.0.9".parse().unwrap()),
                real_server_mac("10.0.0.8".parse().unwrap()),
            );
            is_refused(&mut scene, &elsewhere, "another MAC address");
            // And the true one.
            let error = scene.too_big(1310, 200);
            scene
                .rig
                .send(&error)
                .is_punted(PuntReason::PathMtu(TUNNEL));
        }
    }
}

/// Whatever worker gets it, the one that owns the connection judges it.
#[test]
fn an_error_about_a_tunnel_finds_the_worker_that_owns_the_connection() {
    let mut scene = Scene::new(Encapsulation::Ipip, CROSSINGS[0]);
    let site = scene.rig.site.clone().workers(3);
    let mut n_handed_off = 0;
    for cport in 40_000..40_020 {
        scene.rig = Rig::new(site.clone());
        let client = format!("198.51.100.7:{cport}");
        let syn = tcp(client.as_str(), IPV4.vip).syn();
        let opened = scene.rig.receive(WorkerId(0), &syn.bytes());
        scene.outer = opened.frame[14..].to_vec();
        for worker in [0, 1, 2].map(WorkerId) {
            let error = scene.error(([3, 1], [0; 4]), 200);
            let outcome = scene.rig.receive(worker, &error.bytes());
            assert_eq!(
                outcome.sent().destination.ip(),
                IpAddr::from([198, 51, 100, 7])
            );
            assert_eq!(outcome.worker, opened.worker);
            n_handed_off += u32::from(outcome.was_handed_off);
        }
    }
    assert_eq!(n_handed_off, 40);
}

/// Datagrams that are scheduled one by one leave no connection by which an error could be judged.
#[test]
fn one_packet_services_learn_by_their_tunnels_alone() {
    let site = Site::new()
        .by(By::Tun(Encapsulation::Ipip))
        .one_packet(true)
        .service(
            Protocol::Udp,
            IPV4.vip,
            Scheduler::Rr,
            &[("10.0.0.11:80", 1)],
        );
    let mut rig = Rig::new(site);
    let outer = rig.send(&udp(IPV4.client, IPV4.vip).data_bytes(1000)).frame[14..].to_vec();
    let error = from_router(IPV4, IPV4, too_big(IPV4, 800), &outer[..200]);
    rig.send(&error).is_punted(PuntReason::PathMtu(TUNNEL));
}

/// A client on the link whose MAC address nobody asked for: TUN never needed it.
#[test]
fn a_client_whose_mac_address_is_not_known_is_not_told() {
    let mut scene = Scene::new(Encapsulation::Ipip, CROSSINGS[0]);
    scene.rig.publish(|site| site.unresolved("192.0.2.1"));
    let error = scene.error(([3, 1], [0; 4]), 200);
    scene
        .rig
        .send(&error)
        .is_dropped(DropReason::TunnelErrorUntold);
}

/// The far end's queues see outer addresses alone; errors come back to the one that a packet had.
#[test]
fn a_flow_has_an_outer_source_of_its_own_and_hears_of_errors_there() {
    for encapsulation in KINDS {
        for (family, (network, prefix_bits)) in [(IPV4, ("100.64.0.0", 16)), (IPV6, ("fd64::", 64))]
        {
            let by = By::Tun(encapsulation);
            let real = by.endpoint(family.real, family.vip);
            let site = Site::new().by(by).sources(network, prefix_bits).service(
                Protocol::Udp,
                family.vip,
                Scheduler::Rr,
                &[(&real, 1)],
            );
            let mut rig = Rig::new(site);
            let prefix: ipnet::IpNet = format!("{network}/{prefix_bits}").parse().unwrap();
            let mut sources = std::collections::HashSet::new();
            for cport in 40_000..40_200 {
                let (client, _) = family.client.rsplit_once(':').unwrap();
                let client = format!("{client}:{cport}");
                let ask = udp(client.as_str(), family.vip).data(b"ask");
                let outer = [(); 2].map(|()| rig.send(&ask).frame[14..].to_vec());
                let source = |packet: &[u8]| match is_ipv6(family) {
                    false => IpAddr::from(<[u8; 4]>::try_from(&packet[12..16]).unwrap()),
                    true => IpAddr::from(<[u8; 16]>::try_from(&packet[8..24]).unwrap()),
                };
                let [first, second] = outer.each_ref().map(|packet| source(packet));
                assert_eq!(first, second, "of one flow");
                assert!(prefix.contains(&first), "{first}");
                sources.insert(first);
                let (router, _) = ends(family);
                let kind = if is_ipv6(family) { [1, 0] } else { [3, 1] };
                let to = std::net::SocketAddr::new(first, 0);
                let error = icmp(router, to, kind, [0; 4])
                    .macs(real_server_mac("10.0.0.9".parse().unwrap()), LAN_MAC)
                    .data(&outer[0]);
                let told = rig.forward(&error).destination.ip();
                assert_eq!(told, family.client.into_endpoint().ip());
                let elsewhere = if first == prefix.addr() {
                    prefix.broadcast()
                } else {
                    prefix.addr()
                };
                let elsewhere = std::net::SocketAddr::new(elsewhere, 0);
                let error = icmp(router, elsewhere, kind, [0; 4])
                    .macs(real_server_mac("10.0.0.9".parse().unwrap()), LAN_MAC)
                    .data(&outer[0]);
                let verdict = rig.send(&error).verdict;
                assert!(matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
            }
            assert!(sources.len() > 190, "{}", sources.len());
        }
    }
}
