//! A burst from receive queue to transmit queue, and what waits when the latter is full.

use weir_director::{BURST, DropReason, NextHop, PortId};
use weir_testkit::{IPV4, IntoEndpoint, LAN, LAN_MAC, Payload, Site, WAN, real_server_mac};
use weir_worker::PortPlan;

use crate::team::{Plan, Team, answer, datagram, one_server, team_of};

/// Lets `range` arrive, each datagram with its number as data.
fn arrive_numbered(team: &Team, range: std::ops::Range<usize>) {
    for n in range {
        team.arrive(0, WAN, &datagram(team.client(0)).data(&[n as u8]));
    }
}

/// The numbers of the datagrams that left by LAN.
fn sent_numbers(team: &Team) -> Vec<usize> {
    let number = |payload| match payload {
        Payload::Udp(data) => usize::from(data[0]),
        other @ (Payload::Tcp(_) | Payload::Sctp(_) | Payload::Icmp(_)) => panic!("{other:?}"),
    };
    let sent = team.sent(0, LAN).into_iter();
    sent.map(|sent| number(sent.payload)).collect()
}

/// A burst is rewritten, leaves by the port of its next hop in the order in which it came, and is counted.
#[test]
fn a_burst_leaves_by_the_right_port_in_order() {
    let mut team = team_of(1);
    arrive_numbered(&team, 0..BURST);
    assert!(team.turn(0));
    let sent = team.sent(0, LAN);
    assert_eq!(sent.len(), BURST);
    for (n, sent) in sent.iter().enumerate() {
        assert_eq!(sent.payload, Payload::Udp(vec![n as u8]));
        assert_eq!(sent.destination, IPV4.real.into_endpoint());
        assert_eq!(sent.source.ip(), IPV4.local.into_endpoint().ip());
        assert_eq!(sent.source_mac, LAN_MAC);
        assert_eq!(sent.destination_mac, real_server_mac(sent.destination.ip()));
    }
    assert!(team.sent(0, WAN).is_empty());
    let counters = team.counters(0);
    assert_eq!((counters.received, counters.transmitted), (32, 32));
    assert_eq!(team.all_dropped(0), 0);
}

/// Answers take the way back in the same turn as other clients' packets take the way in.
#[test]
fn both_ports_are_served_in_one_turn() {
    let mut team = team_of(1);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    let sent = team.sent(0, LAN);
    team.arrive(0, LAN, &answer(&sent[0]));
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert_eq!(team.sent(0, WAN)[0].destination, team.client(0));
    assert_eq!(team.sent(0, LAN).len(), 1);
}

/// A worker says whether it had work, for whoever decides to idle.
#[test]
fn a_turn_without_packets_is_not_busy() {
    let mut team = team_of(1);
    assert!(!team.turn(0));
    team.arrive(0, WAN, &datagram(team.client(0)));
    assert!(team.turn(0));
    assert!(!team.turn(0));
}

/// One burst of a queue in a turn: what more has come in waits there.
#[test]
fn a_turn_takes_one_burst_of_a_queue() {
    let mut team = team_of(1);
    arrive_numbered(&team, 0..40);
    team.turn(0);
    assert_eq!(sent_numbers(&team), (0..32).collect::<Vec<_>>());
    team.turn(0);
    assert_eq!(sent_numbers(&team), (32..40).collect::<Vec<_>>());
}

/// What a transmit queue does not take waits for the next turn and is sent before anything newer.
#[test]
fn what_is_not_taken_waits_and_keeps_its_place() {
    let mut team = team_of(1);
    arrive_numbered(&team, 0..20);
    team.set_room(0, LAN, 8);
    team.turn(0);
    assert_eq!(sent_numbers(&team), (0..8).collect::<Vec<_>>());
    assert_eq!(team.counters(0).transmitted, 8);
    team.set_room(0, LAN, usize::MAX);
    arrive_numbered(&team, 20..30);
    team.turn(0);
    assert_eq!(sent_numbers(&team), (8..30).collect::<Vec<_>>());
    assert_eq!(team.counters(0).transmitted, 30);
    assert_eq!(team.all_dropped(0), 0);
}

/// What waits is sent even if nothing else comes in.
#[test]
fn what_waits_needs_no_newer_packet_to_be_sent() {
    let mut team = team_of(1);
    arrive_numbered(&team, 0..3);
    team.set_room(0, LAN, 0);
    team.turn(0);
    team.set_room(0, LAN, usize::MAX);
    team.turn(0);
    assert_eq!(sent_numbers(&team), [0, 1, 2]);
}

/// A burst may wait for a port, not more: what comes later is dropped, and counted once.
#[test]
fn more_than_a_burst_does_not_wait() {
    let mut team = team_of(1);
    team.set_room(0, LAN, 0);
    for n in 0..3 {
        arrive_numbered(&team, n * BURST..(n + 1) * BURST);
        team.turn(0);
    }
    assert_eq!(team.dropped(0, DropReason::TransmitQueueFull), 64);
    assert_eq!(team.all_dropped(0), 64);
    assert_eq!(team.n_buffers_out(), BURST, "what is dropped is freed");
    team.set_room(0, LAN, usize::MAX);
    team.turn(0);
    assert_eq!(sent_numbers(&team), (0..32).collect::<Vec<_>>());
    assert_eq!(team.counters(0).transmitted, 32);
}

/// Before a packet is dropped for want of room the queue is asked once more, within the turn.
#[test]
fn a_queue_that_has_room_again_is_used_at_once() {
    let mut team = team_of(1);
    team.set_room(0, LAN, 0);
    arrive_numbered(&team, 0..BURST);
    team.turn(0);
    team.set_room(0, LAN, 5);
    arrive_numbered(&team, BURST..2 * BURST);
    team.turn(0);
    team.set_room(0, LAN, usize::MAX);
    team.turn(0);
    assert_eq!(sent_numbers(&team), (0..37).collect::<Vec<_>>());
    assert_eq!(team.dropped(0, DropReason::TransmitQueueFull), 27);
}

/// A port whose queue is full does not keep the other port's packets.
#[test]
fn a_full_port_does_not_stop_another() {
    let mut team = team_of(1);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    let sent = team.sent(0, LAN);
    team.set_room(0, LAN, 0);
    arrive_numbered(&team, 0..BURST);
    team.turn(0);
    arrive_numbered(&team, 0..BURST);
    team.arrive(0, LAN, &answer(&sent[0]));
    team.turn(0);
    assert_eq!(team.sent(0, WAN).len(), 1);
}

/// A worker without a receive queue on a port does not ask for one there; the bench panics if it does.
#[test]
fn a_port_without_receive_queue_is_passed_over() {
    let mut team = Team::new(Plan {
        queues: |_, plan| PortPlan {
            receives: plan.id == LAN,
            ..plan
        },
        ..Plan::new(one_server(1))
    });
    team.arrive(0, WAN, &datagram(team.client(0)));
    assert!(!team.turn(0));
    assert_eq!(team.counters(0).received, 0);
    assert_eq!(team.n_buffers_out(), 1, "it stays where it came in");
}

/// What a director drops is counted under its reason, and its buffer goes back.
#[test]
fn a_refused_packet_is_counted_and_freed() {
    let mut team = team_of(1);
    team.arrive(0, LAN, &datagram(team.client(0)));
    team.arrive(0, WAN, &datagram(team.client(0)).vlan(7));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::MacNotOurs), 1);
    assert_eq!(team.dropped(0, DropReason::VlanNotOurs), 1);
    assert_eq!(team.all_dropped(0), 2);
    assert_eq!(team.n_buffers_out(), 0);
}

/// A next hop behind a port that the worker does not know is no way.
#[test]
fn a_port_that_does_not_exist_is_no_route() {
    let way = NextHop::resolved(PortId(7), LAN_MAC, LAN_MAC, 1500);
    let site: Site = one_server(1).neighbour("10.0.0.11", way);
    let mut team = Team::new(Plan::new(site));
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::NoRoute), 1);
    assert_eq!(team.n_buffers_out(), 0);
}
