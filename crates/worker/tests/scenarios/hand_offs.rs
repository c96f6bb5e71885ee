//! Packets that belong to another worker, and packets that another worker has to send.

use weir_director::{BURST, DropReason, Protocol, PuntReason, WorkerId};
use weir_testkit::{IPV4, LAN, LAN_MAC, Payload, WAN, real_server_mac, tcp};
use weir_worker::PortPlan;

use crate::team::{Plan, Team, answer, datagram, one_server, team_of};

/// A packet of another worker's client goes over one ring, once, and that worker sends it.
#[test]
fn a_packet_goes_to_its_owner_once() {
    let mut team = team_of(2);
    team.arrive(0, WAN, &datagram(team.client(1)));
    assert!(team.turn(0));
    assert_eq!(team.n_buffers_out(), 1, "it is in the ring");
    assert!(team.turn(1), "a packet in the ring is work");
    assert!(team.sent(0, LAN).is_empty());
    assert_eq!(team.sent(1, LAN).len(), 1);
    let (first, second) = (team.counters(0), team.counters(1));
    assert_eq!(
        (first.received, first.handed_over, first.taken_over),
        (1, 1, 0)
    );
    assert_eq!(
        (second.received, second.handed_over, second.taken_over),
        (0, 0, 1)
    );
    assert_eq!((first.transmitted, second.transmitted), (0, 1));
    assert_eq!((first.connections, second.connections), (0, 1));
}

/// The answer comes back to the worker that opened the connection, by whatever queue it came in.
#[test]
fn an_answer_comes_back_to_the_owner() {
    let mut team = team_of(2);
    team.arrive(0, WAN, &datagram(team.client(1)));
    team.settle();
    let sent = team.sent(1, LAN);
    team.arrive(0, LAN, &answer(&sent[0]));
    team.settle();
    assert_eq!(team.sent(1, WAN)[0].destination, team.client(1));
    assert!(team.sent(0, WAN).is_empty());
    assert_eq!(team.counters(1).taken_over, 2);
}

/// Flows of all workers by all queues, both ways: none is lost, and only strays are handed over.
#[test]
fn nothing_is_lost_between_two_or_three_workers() {
    for n_workers in [2, 3] {
        let mut team = team_of(n_workers);
        let mut n_strays = 0;
        let mut n_sent = 0;
        for owner in 0..n_workers {
            let clients: Vec<_> = team.clients(owner, Protocol::Udp).take(20).collect();
            for (n, client) in clients.into_iter().enumerate() {
                let arrives_at = n as u8 % n_workers;
                n_strays += 2 * u64::from(arrives_at != owner);
                team.arrive(arrives_at, WAN, &datagram(client));
                team.settle();
                let sent = team.sent(owner, LAN);
                assert_eq!(sent.len(), 1);
                team.arrive(arrives_at, LAN, &answer(&sent[0]));
                team.settle();
                let answered = team.sent(owner, WAN);
                assert_eq!(answered.len(), 1);
                assert_eq!(answered[0].destination, client);
                n_sent += 2;
            }
        }
        let all: Vec<_> = (0..n_workers).map(|worker| team.counters(worker)).collect();
        assert_eq!(
            all.iter().map(|worker| worker.handed_over).sum::<u64>(),
            n_strays
        );
        assert_eq!(
            all.iter().map(|worker| worker.taken_over).sum::<u64>(),
            n_strays
        );
        assert_eq!(
            all.iter().map(|worker| worker.transmitted).sum::<u64>(),
            n_sent
        );
        assert_eq!(team.n_buffers_out(), 0);
    }
}

/// Packets of a flow stay in order on their way over a ring.
#[test]
fn a_ring_keeps_the_order() {
    let mut team = team_of(2);
    for n in 0..BURST as u8 {
        team.arrive(0, WAN, &datagram(team.client(1)).data(&[n]));
    }
    team.settle();
    let sent = team.sent(1, LAN).into_iter().map(|sent| sent.payload);
    let expected = (0..BURST as u8).map(|n| Payload::Udp(vec![n]));
    assert!(sent.eq(expected));
}

/// A ring that is full refuses the rest, counted once where it came in; what is in it is not lost.
#[test]
fn a_full_ring_drops_what_comes_last() {
    let mut team = Team::new(Plan {
        hand_off_packets: 4,
        ..Plan::new(one_server(2))
    });
    for n in 0..10 {
        team.arrive(0, WAN, &datagram(team.client(1)).data(&[n]));
    }
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::HandOffRingFull), 6);
    assert_eq!(team.all_dropped(0), 6);
    assert_eq!(team.counters(0).handed_over, 4);
    assert_eq!(team.n_buffers_out(), 4, "what is dropped is freed");
    team.turn(1);
    let sent = team.sent(1, LAN).into_iter().map(|sent| sent.payload);
    assert!(sent.eq((0..4).map(|n| Payload::Udp(vec![n]))));
}

/// More than one's own queues bring in is taken from the ring in a turn, but not without bound: others' packets do not
/// starve one's own.
#[test]
fn a_turn_takes_eight_bursts_from_the_ring() {
    let mut team = Team::new(Plan {
        hand_off_packets: 10 * BURST,
        ..Plan::new(one_server(2))
    });
    for _ in 0..9 {
        for _ in 0..BURST {
            team.arrive(0, WAN, &datagram(team.client(1)));
        }
        team.turn(0);
    }
    team.turn(1);
    assert_eq!(team.counters(1).taken_over, 8 * BURST as u64);
    team.turn(1);
    assert_eq!(team.counters(1).taken_over, 9 * BURST as u64);
}

/// A packet that was handed over keeps the port by which it came in, whatever lies beside it in the ring.
#[test]
fn packets_of_several_ports_in_one_ring_keep_their_ports() {
    let mut team = team_of(2);
    // To no service; of another worker by client, and by local port.
    let from_wan = tcp(team.clients(1, Protocol::Tcp).next().unwrap(), IPV4.vip);
    let from_lan = tcp(IPV4.real, "10.0.0.200:1025").ack(1);
    let real = "10.0.0.11".parse().unwrap();
    let from_lan = from_lan.macs(real_server_mac(real), LAN_MAC);
    for _ in 0..3 {
        team.arrive(0, WAN, &from_wan.clone().syn());
        team.arrive(0, LAN, &from_lan);
        team.turn(0);
    }
    team.turn(1);
    let came_by: Vec<_> = team
        .punts(1)
        .into_iter()
        .map(|(punt, _)| (punt.port, punt.reason))
        .collect();
    let pair = [
        (WAN, PuntReason::NoService),
        (LAN, PuntReason::NoConnection),
    ];
    assert_eq!(came_by, pair.repeat(3));
}

/// Worker 1 sends through worker 0 on LAN.
fn team_with_one_queue_on_lan() -> Team {
    Team::new(Plan {
        queues: |_, plan| {
            if plan.id == LAN {
                PortPlan {
                    transmits_by: WorkerId(0),
                    ..plan
                }
            } else {
                plan
            }
        },
        ..Plan::new(one_server(2))
    })
}

/// On a port with too few transmit queues a packet leaves through the worker that has one, as it was rewritten.
#[test]
fn a_worker_without_a_transmit_queue_sends_through_another() {
    let mut team = team_with_one_queue_on_lan();
    team.arrive(1, WAN, &datagram(team.client(1)).data(b"1"));
    team.turn(1);
    team.turn(0);
    let sent = team.sent(0, LAN);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].payload, Payload::Udp(b"1".to_vec()));
    assert_eq!(sent[0].source.port() % 2, 1, "rewritten by its owner");
    let (first, second) = (team.counters(0), team.counters(1));
    assert_eq!((second.handed_over, second.transmitted), (1, 0));
    assert_eq!((first.taken_over, first.transmitted), (1, 1));
    assert_eq!((first.connections, second.connections), (0, 1));
}

/// More than a burst for others is sent in one turn.
#[test]
fn a_turn_sends_more_than_a_burst_for_others() {
    let mut team = team_with_one_queue_on_lan();
    for _ in 0..40 {
        team.arrive(1, WAN, &datagram(team.client(1)));
    }
    team.turn(1);
    team.turn(1);
    team.turn(0);
    assert_eq!(team.sent(0, LAN).len(), 40);
}

/// A stray that comes in where the queue is goes to its owner and back, and no further.
#[test]
fn a_stray_may_come_back_to_be_sent() {
    let mut team = team_with_one_queue_on_lan();
    team.arrive(0, WAN, &datagram(team.client(1)));
    team.settle();
    assert_eq!(team.sent(0, LAN).len(), 1);
    for worker in 0..2 {
        let counters = team.counters(worker);
        assert_eq!((counters.handed_over, counters.taken_over), (1, 1));
    }
}

/// The ring to the worker that sends is bounded too.
#[test]
fn a_full_ring_on_the_way_out_drops() {
    let mut team = Team::new(Plan {
        hand_off_packets: 4,
        queues: |_, plan| PortPlan {
            transmits_by: WorkerId(0),
            ..plan
        },
        ..Plan::new(one_server(2))
    });
    for _ in 0..10 {
        team.arrive(1, WAN, &datagram(team.client(1)));
    }
    team.turn(1);
    assert_eq!(team.dropped(1, DropReason::HandOffRingFull), 6);
    team.turn(0);
    assert_eq!(team.sent(0, LAN).len(), 4);
}
