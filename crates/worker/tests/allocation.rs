//! Nothing allocates for a packet, a fragment that waits, a hand-off, a punt, an order, a listing or an expiry.
//!
//! A test program of its own, for the counting allocator is the whole program's.

#[path = "team/mod.rs"]
mod team;

use std::time::Duration;

use allocation_counter::measure;
use weir_director::{DropReason, Protocol, Scheduler, State, Timeouts};
use weir_testkit::{IPV4, LAN, LAN_MAC, Random, Site, WAN, cut, real_server_mac, tcp, udp};
use weir_worker::Order;

use team::{Plan, Team, datagram};

const TURNS: usize = 100_000;

/// A service over TCP, and one over UDP whose connections soon end.
fn site() -> Site {
    let short = Timeouts::default().with(State::Udp, Duration::from_millis(500));
    Site::with_one_server(Protocol::Tcp)
        .service(Protocol::Udp, IPV4.vip, Scheduler::Lc, &[(IPV4.real, 1)])
        .timeouts(short)
        .workers(2)
}

/// Frames of established connections of either worker, both ways, and frames that open connections.
struct Frames {
    inbound: Vec<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
    opening: Vec<Vec<u8>>,
}

fn frames(team: &mut Team) -> Frames {
    let clients = |worker, n| team.clients(worker, Protocol::Tcp).take(n);
    let established: Vec<_> = clients(0, 16).chain(clients(1, 16)).collect();
    let mut inbound = Vec::new();
    let mut outbound = Vec::new();
    for client in established {
        team.arrive(0, WAN, &tcp(client, IPV4.vip).syn());
        team.settle();
        let sent = [team.sent(0, LAN), team.sent(1, LAN)].concat();
        let (real, local) = (sent[0].destination, sent[0].source);
        inbound.push(tcp(client, IPV4.vip).ack(1).data(b"data").bytes());
        let reply = tcp(real, local).ack(1).data(b"data");
        outbound.push(reply.macs(real_server_mac(real.ip()), LAN_MAC).bytes());
    }
    let opening = team.clients(0, Protocol::Udp).take(2000);
    Frames {
        inbound,
        outbound,
        opening: opening.map(|client| datagram(client).bytes()).collect(),
    }
}

/// Established traffic, half of it strays; connections opened, listed and expired; punts and orders; publishing.
#[test]
fn a_hundred_thousand_turns_allocate_nothing() {
    let mut team = Team::new(Plan::new(site()));
    let frames = frames(&mut team);
    let to_no_service = udp(IPV4.client, "192.0.2.100:81").bytes();
    let datagram = udp(team.client(1), IPV4.vip).data_bytes(2000).bytes();
    let [fragments, lost] = [7, 8].map(|identification| cut(&datagram, identification, 1400));
    let mut random = Random(1);
    let mut n_punts = 0;
    let mut round = |team: &mut Team, n: usize| {
        for worker in 0..2 {
            for _ in 0..2 {
                let flow = random.below(frames.inbound.len());
                assert!(team.try_arrive(worker, WAN, &frames.inbound[flow]));
                assert!(team.try_arrive(worker, LAN, &frames.outbound[flow]));
            }
        }
        if n.is_multiple_of(4) {
            let opening = &frames.opening[n / 4 % frames.opening.len()];
            assert!(team.try_arrive(1, WAN, opening));
            assert!(team.try_arrive(0, WAN, &to_no_service));
            assert!(team.order(0, Order::Process(WAN), &frames.inbound[0]));
            assert!(team.order(1, Order::Transmit(LAN), &to_no_service));
        }
        if n.is_multiple_of(8) {
            // One waits for the first one, and one in vain.
            for (worker, fragment) in [(0, &fragments[1]), (1, &fragments[0]), (1, &lost[1])] {
                assert!(team.try_arrive(worker, WAN, fragment));
            }
        }
        for worker in 0..2 {
            team.turn(worker);
            let queues_of = |nic: &mut crate::team::Nic| {
                nic.ports
                    .iter_mut()
                    .for_each(|queues| queues.outgoing.clear());
            };
            queues_of(&mut team.nic(worker));
            while team.punts[usize::from(worker)].receive(|_| ()).is_some() {
                n_punts += 1;
            }
        }
        team.pass(Duration::from_millis(1));
    };
    for n in 0..100 {
        round(&mut team, n);
    }
    assert!(team.listings[0].ask(0, 500));
    let info = measure(|| {
        for n in 100..100 + TURNS / 2 {
            round(&mut team, n);
        }
    });
    assert_eq!(info.count_total, 0);
    // What was to be measured did happen.
    let page = team.listings[0].take().unwrap();
    assert!(page.rows.len() >= 16 && page.next.is_none());
    assert!(n_punts > TURNS / 10);
    let opened = team.published[0].destination(team.destination(IPV4.real));
    assert!(opened.connections > 10_000, "{opened:?}");
    team.settle();
    let mut n_all_lost = 0;
    for worker in 0..2 {
        let counters = team.counters(worker);
        assert!(counters.handed_over > 10_000 && counters.transmitted > 100_000);
        let n_lost = counters.dropped[DropReason::FragmentFirstMissing.index()]
            + counters.dropped[DropReason::FragmentStoreFull.index()];
        assert_eq!(counters.dropped.iter().sum::<u64>(), n_lost);
        n_all_lost += n_lost;
    }
    assert!(n_all_lost > 1000, "{n_all_lost}");
    assert!(
        team.counters(0).connections < 1000,
        "connections do not expire"
    );
}

/// The counter counts: otherwise the test above would be about nothing.
#[test]
fn an_allocation_is_noticed() {
    let info = measure(|| drop(std::hint::black_box(vec![0u8; 64])));
    assert_eq!(info.count_total, 1);
}
