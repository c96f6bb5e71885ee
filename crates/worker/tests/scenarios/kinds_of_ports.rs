//! Several workers behind ports of every kind, traffic both ways: no connection is lost, and packets are handed over
//! only where the port gives no choice.

use std::sync::Arc;

use weir_director::{DropReason, Endpoint, Hashed, HashedFields, PortId, Protocol, Rss, WorkerId};
use weir_testkit::{
    Decoded, FAMILIES, Family, FrameBuilder, IPV4, IntoEndpoint, LAN, LAN_MAC, ROUTER_MAC, Site,
    WAN, WAN_MAC, chunk, cut, decode, icmp, real_server_mac, reassemble, sctp, tcp, udp,
};
use weir_wire::FlowKey;
use weir_worker::PortPlan;

use crate::team::{Plan, Team};

const N_WORKERS: u8 = 2;
const N_FLOWS: u16 = 60;
/// A packet of each flow in and one out, twice, and an error about it from either side to each worker.
const N_PACKETS: u64 = 4;
/// The key of Microsoft's RSS vectors.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
const EVERYTHING: HashedFields = all(Hashed::L4Ports);

const fn all(hashed: Hashed) -> HashedFields {
    HashedFields {
        tcp_v4: hashed,
        udp_v4: hashed,
        tcp_v6: hashed,
        udp_v6: hashed,
    }
}

/// A NIC with the key above, or with one of its own; its table has eight entries.
fn nic(xor: u8, fields: HashedFields) -> Arc<Rss> {
    let table: Vec<u16> = (0..8).map(|entry| entry % u16::from(N_WORKERS)).collect();
    Arc::new(Rss::new(&KEY.map(|byte| byte ^ xor), &table, fields, N_WORKERS).unwrap())
}

/// The queue that a NIC picks, of a packet whose source and destination are these.
fn queue(nic: Option<&Rss>, protocol: Protocol, source: Endpoint, destination: Endpoint) -> u8 {
    // Of SCTP weir does not know what a NIC hashes; these hash what they hash of UDP.
    let protocol = match protocol {
        Protocol::Sctp => Protocol::Udp,
        Protocol::Tcp | Protocol::Udp => protocol,
    };
    let key = FlowKey::new(protocol, source, destination).unwrap();
    // Without RSS there is the first queue only.
    nic.and_then(|nic| nic.owner(&key))
        .map_or(0, |owner| owner.0)
}

/// A team behind two NICs that spread packets so, whatever the site's steering knows of it.
struct Bench {
    team: Team,
    /// By `PortId`; `None`: one queue.
    nics: [Option<Arc<Rss>>; 2],
}

impl Bench {
    fn new(protocol: Protocol, lips: &[&str], told: impl FnOnce(Site) -> Site) -> Self {
        let site = Site::new().workers(N_WORKERS).local(lips, 1024, 65_535);
        let site = FAMILIES.iter().fold(site, |site, family| {
            let scheduler = weir_director::Scheduler::Rr;
            site.service(protocol, family.vip, scheduler, &[(family.real, 1)])
        });
        Self {
            team: Team::new(Plan::new(told(site))),
            nics: [None, None],
        }
    }

    fn nics(mut self, wan: Option<&Arc<Rss>>, lan: Option<&Arc<Rss>>) -> Self {
        self.nics = [wan.cloned(), lan.cloned()];
        self
    }

    /// A frame comes in by the queue that its port's NIC picks; it must leave by `leaves`, once.
    #[track_caller]
    fn pass(
        &mut self,
        by: PortId,
        [source, destination]: [Endpoint; 2],
        protocol: Protocol,
        frame: &FrameBuilder,
        leaves: PortId,
    ) -> (u8, Decoded) {
        let nic = self.nics[usize::from(by.0)].as_deref();
        let worker = queue(nic, protocol, source, destination);
        self.pass_by(worker, by, frame, leaves)
    }

    #[track_caller]
    fn pass_by(
        &mut self,
        worker: u8,
        by: PortId,
        frame: &FrameBuilder,
        leaves: PortId,
    ) -> (u8, Decoded) {
        self.team.arrive(worker, by, frame);
        self.team.settle();
        let mut sent: Vec<_> = (0..N_WORKERS)
            .flat_map(|worker| {
                let frames = self.team.sent(worker, leaves);
                frames.into_iter().map(move |frame| (worker, frame))
            })
            .collect();
        assert_eq!(sent.len(), 1, "lost: {frame:?}");
        sent.remove(0)
    }

    fn n_handed_over(&mut self) -> u64 {
        (0..N_WORKERS)
            .map(|worker| self.team.counters(worker).handed_over)
            .sum()
    }

    /// Flows of a family, every packet of which must get through, their client's later packets by port `later`. Returns
    /// how many packets of flows were handed over.
    #[track_caller]
    fn run(&mut self, protocol: Protocol, family: Family, later: PortId) -> u64 {
        let before = self.n_handed_over();
        let vip = family.vip.into_endpoint();
        let mut flows = Vec::new();
        for n in 0..N_FLOWS {
            let client = client(family, n);
            let begin = match protocol {
                Protocol::Tcp => tcp(client, vip).syn(),
                Protocol::Udp => udp(client, vip),
                Protocol::Sctp => sctp(client, vip, chunk::INIT),
            };
            let (_, sent) = self.pass(WAN, [client, vip], protocol, &begin, LAN);
            let (local, real) = (sent.source, sent.destination);
            let answer = match protocol {
                Protocol::Tcp => tcp(real, local).syn().ack(1),
                Protocol::Udp => udp(real, local),
                Protocol::Sctp => sctp(real, local, chunk::INIT_ACK),
            };
            let answer = answer.macs(real_server_mac(real.ip()), LAN_MAC);
            let (_, back) = self.pass(LAN, [real, local], protocol, &answer, WAN);
            assert_eq!((back.source, back.destination), (vip, client));
            let mac = if later == WAN { WAN_MAC } else { LAN_MAC };
            let more = match protocol {
                Protocol::Tcp => tcp(client, vip).seq(1).ack(1),
                Protocol::Udp => udp(client, vip),
                Protocol::Sctp => sctp(client, vip, chunk::COOKIE_ECHO),
            };
            let more = more.macs(ROUTER_MAC, mac);
            let (_, sent) = self.pass(later, [client, vip], protocol, &more, LAN);
            assert_eq!((sent.source, sent.destination), (local, real));
            let answer = match protocol {
                Protocol::Tcp => tcp(real, local).seq(1).ack(1),
                Protocol::Udp => udp(real, local),
                Protocol::Sctp => sctp(real, local, chunk::COOKIE_ACK),
            };
            let answer = answer.macs(real_server_mac(real.ip()), LAN_MAC);
            self.pass(LAN, [real, local], protocol, &answer, WAN);
            flows.push((client, local, real));
        }
        let n_handed_over = self.n_handed_over() - before;
        self.errors_reach_the_owner(protocol, vip, &flows);
        let all: Vec<_> = (0..N_WORKERS)
            .map(|worker| self.team.counters(worker))
            .collect();
        for counters in &all {
            assert_eq!(counters.dropped, [0; DropReason::COUNT]);
            assert_eq!(counters.punted.iter().sum::<u64>(), 0);
        }
        assert_eq!(self.team.n_buffers_out(), 0);
        n_handed_over
    }

    /// Errors about flows, in by every worker's queue where the port has one, from the real server and from the client.
    #[track_caller]
    fn errors_reach_the_owner(
        &mut self,
        protocol: Protocol,
        vip: Endpoint,
        flows: &[(Endpoint, Endpoint, Endpoint)],
    ) {
        for (client, local, real) in flows {
            let quoted = |from: Endpoint, to: Endpoint| match protocol {
                Protocol::Tcp => tcp(from, to).seq(1).ack(1).packet_bytes(),
                Protocol::Udp => udp(from, to).packet_bytes(),
                Protocol::Sctp => sctp(from, to, chunk::DATA).packet_bytes(),
            };
            let kind = |sender: &Endpoint| if sender.is_ipv4() { [3, 3] } else { [1, 4] };
            let from_server = icmp(*real, *local, kind(real), [0; 4])
                .macs(real_server_mac(real.ip()), LAN_MAC)
                .data(&quoted(*local, *real));
            let from_client = icmp(*client, vip, kind(client), [0; 4]).data(&quoted(vip, *client));
            for (port, error, leaves) in [(LAN, from_server, WAN), (WAN, from_client, LAN)] {
                let n_queues = if self.nics[usize::from(port.0)].is_some() {
                    N_WORKERS
                } else {
                    1
                };
                for worker in 0..n_queues {
                    self.pass_by(worker, port, &error, leaves);
                }
            }
        }
    }

    fn n_connections(&mut self, worker: u8) -> u64 {
        self.team.counters(worker).connections
    }
}

/// Clients differ in address and L4 port.
fn client(family: Family, n: u16) -> Endpoint {
    let base = family.client.into_endpoint().ip();
    let ip = match base {
        std::net::IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            std::net::IpAddr::from([a, b, c, n as u8 + 1])
        }
        std::net::IpAddr::V6(ip) => {
            let mut octets = ip.octets();
            octets[15] = n as u8 + 1;
            std::net::IpAddr::from(octets)
        }
    };
    Endpoint::new(ip, 40_000 + n)
}

const ONE_LIP: &[&str] = &["10.0.0.200", "fd00::200"];
/// Some of either worker's queue, whatever real server.
const EIGHT_LIPS: &[&str] = &[
    "10.0.0.200",
    "10.0.0.201",
    "10.0.0.202",
    "10.0.0.203",
    "10.0.0.204",
    "10.0.0.205",
    "10.0.0.206",
    "10.0.0.207",
    "fd00::200",
    "fd00::201",
    "fd00::202",
    "fd00::203",
    "fd00::204",
    "fd00::205",
    "fd00::206",
    "fd00::207",
];

const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// Runs flows of both protocols and families; `handed_over` tells how many of all packets may be handed over.
#[track_caller]
fn both_ways(make: impl Fn(Protocol) -> Bench, later: PortId, handed_over: std::ops::Range<u64>) {
    for protocol in PROTOCOLS {
        for family in FAMILIES {
            let mut bench = make(protocol);
            let n = bench.run(protocol, family, later);
            assert!(
                handed_over.contains(&n),
                "{n} handed over, {protocol} {}",
                family.vip
            );
            let connections = [0, 1].map(|worker| bench.n_connections(worker));
            assert_eq!(connections.iter().sum::<u64>(), u64::from(N_FLOWS));
            assert!(connections.iter().all(|n| *n > 10), "{connections:?}");
        }
    }
}

const ALL: u64 = N_PACKETS * N_FLOWS as u64;

#[test]
fn ports_that_tell_hand_nothing_over() {
    let rss = nic(0, EVERYTHING);
    both_ways(
        |protocol| {
            Bench::new(protocol, ONE_LIP, |site| {
                site.rss_on_wan(&rss).rss_on_lan(&rss)
            })
            .nics(Some(&rss), Some(&rss))
        },
        WAN,
        0..1,
    );
}

/// Each has a key of its own, and both tell: clients go by the one, replies by the other.
#[test]
fn ports_with_different_keys_hand_nothing_over() {
    let (wan, lan) = (nic(0, EVERYTHING), nic(0x5a, EVERYTHING));
    both_ways(
        |protocol| {
            let told = |site: Site| site.rss_on_wan(&wan).rss_on_lan(&lan);
            Bench::new(protocol, ONE_LIP, told).nics(Some(&wan), Some(&lan))
        },
        WAN,
        0..1,
    );
}

/// They spread packets, but by what they do not say: about half of all packets take a hop.
#[test]
fn ports_that_cannot_tell_their_key_cost_a_hop() {
    let rss = nic(0, EVERYTHING);
    both_ways(
        |protocol| Bench::new(protocol, ONE_LIP, |site| site).nics(Some(&rss), Some(&rss)),
        WAN,
        ALL / 4..ALL * 3 / 4,
    );
}

/// One of them cannot: only what comes by it takes a hop.
#[test]
fn a_port_that_cannot_tell_beside_one_that_can() {
    let rss = nic(0, EVERYTHING);
    for is_wan_silent in [true, false] {
        let told = |site: Site| match is_wan_silent {
            true => site.rss_on_lan(&rss),
            false => site.rss_on_wan(&rss),
        };
        both_ways(
            |protocol| Bench::new(protocol, ONE_LIP, told).nics(Some(&rss), Some(&rss)),
            WAN,
            ALL / 8..ALL * 3 / 8,
        );
    }
}

/// WAN has one queue of each kind for two workers: all comes in by the first, and what the second owns goes to it and
/// comes back to be sent.
#[test]
fn a_port_with_fewer_queues_than_workers() {
    let lan = nic(0, EVERYTHING);
    for protocol in PROTOCOLS {
        for family in FAMILIES {
            let site = Site::with_one_server(protocol)
                .workers(N_WORKERS)
                .rss_on_lan(&lan);
            let queues = |worker: WorkerId, plan: PortPlan| match plan.id {
                WAN => PortPlan {
                    receives: worker == WorkerId(0),
                    transmits_by: WorkerId(0),
                    ..plan
                },
                _ => plan,
            };
            let team = Team::new(Plan {
                queues,
                ..Plan::new(site)
            });
            let nics = [None, Some(Arc::clone(&lan))];
            let mut bench = Bench { team, nics };
            let n_handed_over = bench.run(protocol, family, WAN);
            let n_of_second = bench.n_connections(1);
            assert!(n_of_second > 10 && bench.n_connections(0) > 10);
            assert_eq!(
                n_handed_over,
                n_of_second * N_PACKETS,
                "two in, and two out"
            );
        }
    }
}

/// A route moves to a port with another key: its packets take a hop, and reach the connection they belong to.
#[test]
fn a_route_that_moves_to_a_port_with_another_key_loses_no_flow() {
    let (wan, other) = (nic(0, EVERYTHING), nic(0x5a, EVERYTHING));
    both_ways(
        |protocol| {
            let told = |site: Site| site.rss_on_wan(&wan).rss_on_lan(&other);
            Bench::new(protocol, ONE_LIP, told).nics(Some(&wan), Some(&other))
        },
        LAN,
        1..ALL / 4,
    );
}

/// To one that was given the same key: not even that.
#[test]
fn a_route_that_moves_to_a_port_with_the_same_key_costs_nothing() {
    let rss = nic(0, EVERYTHING);
    let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
    both_ways(
        |protocol| Bench::new(protocol, ONE_LIP, told).nics(Some(&rss), Some(&rss)),
        LAN,
        0..1,
    );
}

/// To one that tells nothing, or from one: hops, no loss.
#[test]
fn a_route_that_moves_to_or_from_a_port_that_tells_nothing() {
    let (wan, other) = (nic(0, EVERYTHING), nic(0x5a, EVERYTHING));
    for is_wan_silent in [true, false] {
        let told = |site: Site| match is_wan_silent {
            true => site.rss_on_lan(&other),
            false => site.rss_on_wan(&wan),
        };
        both_ways(
            |protocol| Bench::new(protocol, ONE_LIP, told).nics(Some(&wan), Some(&other)),
            LAN,
            ALL / 8..ALL * 3 / 4,
        );
    }
}

/// Addresses only are hashed: a LIP of the worker's queue is chosen, and nothing is handed over.
#[test]
fn where_l4_ports_are_not_hashed_the_lip_is_chosen() {
    let rss = nic(0, all(Hashed::Addresses));
    let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
    both_ways(
        |protocol| Bench::new(protocol, EIGHT_LIPS, told).nics(Some(&rss), Some(&rss)),
        WAN,
        0..1,
    );
}

/// Nobody knows what a NIC hashes of SCTP, nor is it asked: its flows go by weir's own rules, cost a hop where the NIC has
/// another opinion, and none is lost.
#[test]
fn sctp_reaches_its_owner_whatever_is_hashed() {
    for hashed in [Hashed::L4Ports, Hashed::Addresses, Hashed::Nothing] {
        let told = nic(0, all(hashed));
        for lips in [ONE_LIP, EIGHT_LIPS] {
            for family in FAMILIES {
                let mut bench = Bench::new(Protocol::Sctp, lips, |site| {
                    site.rss_on_wan(&told).rss_on_lan(&told)
                })
                .nics(Some(&told), Some(&told));
                let n = bench.run(Protocol::Sctp, family, WAN);
                assert!((ALL / 4..ALL * 3 / 4).contains(&n), "{n} handed over");
                assert!((0..N_WORKERS).all(|worker| bench.n_connections(worker) > 10));
            }
        }
    }
}

/// With one LIP all replies fall on one queue: those of the other worker's connections are handed over, none is lost.
#[test]
fn a_worker_without_a_lip_of_its_queue_takes_another() {
    let rss = nic(0, all(Hashed::Addresses));
    for protocol in PROTOCOLS {
        for family in FAMILIES {
            let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
            let mut bench = Bench::new(protocol, ONE_LIP, told).nics(Some(&rss), Some(&rss));
            let n_handed_over = bench.run(protocol, family, WAN);
            let lip = if family.local == IPV4.local {
                ONE_LIP[0]
            } else {
                ONE_LIP[1]
            };
            let (real, lip) = (family.real.into_endpoint(), lip.parse().unwrap());
            let at = queue(Some(&rss), protocol, real, Endpoint::new(lip, 1024));
            let n_elsewhere = bench.n_connections(1 - at);
            assert!(n_elsewhere > 10);
            assert_eq!(n_handed_over, 2 * n_elsewhere, "two replies each");
        }
    }
}

/// Of TCP the L4 ports are hashed, of UDP the addresses: as many NICs do.
#[test]
fn what_is_hashed_may_differ_by_protocol() {
    let fields = HashedFields {
        udp_v4: Hashed::Addresses,
        udp_v6: Hashed::Addresses,
        ..EVERYTHING
    };
    let rss = nic(0, fields);
    let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
    both_ways(
        |protocol| Bench::new(protocol, EIGHT_LIPS, told).nics(Some(&rss), Some(&rss)),
        WAN,
        0..1,
    );
}

/// Nothing of the packets is hashed, so all fall on one queue.
#[test]
fn where_nothing_is_hashed_the_owner_is_weirs_own_choice() {
    let rss = nic(0, all(Hashed::Nothing));
    let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
    both_ways(
        |protocol| Bench::new(protocol, ONE_LIP, told).nics(Some(&rss), Some(&rss)),
        WAN,
        ALL / 4..ALL * 3 / 4,
    );
}

/// Parts of fragmented datagrams come by whatever queue, of themselves or because the NIC sees no L4 ports in them: all
/// of a datagram find the worker that owns its flow, over two rings at most.
#[test]
fn fragments_find_their_owner_whatever_queue_they_come_by() {
    let rss = nic(0, EVERYTHING);
    let told = |site: Site| site.rss_on_wan(&rss).rss_on_lan(&rss);
    let mut bench = Bench::new(Protocol::Udp, ONE_LIP, told).nics(Some(&rss), Some(&rss));
    for n in 0..20 {
        let datagram = udp(client(IPV4, n), IPV4.vip).data_bytes(3000);
        let mut parts = cut(&datagram.bytes(), 7, 1400);
        parts.rotate_left(usize::from(n) % 3);
        for (worker, part) in (0..N_WORKERS).cycle().zip(&parts) {
            assert!(bench.team.try_arrive(worker, WAN, part));
        }
        bench.team.settle();
        let sent: Vec<Vec<u8>> = (0..N_WORKERS)
            .flat_map(|worker| bench.team.frames(worker, LAN))
            .collect();
        let whole = decode(&reassemble(&sent).unwrap());
        assert_eq!(whole.data().len(), 3000);
    }
    let n_parts = 20 * 3;
    assert!((1..=2 * n_parts).contains(&bench.n_handed_over()));
    assert_eq!(bench.team.n_buffers_out(), 0);
}
