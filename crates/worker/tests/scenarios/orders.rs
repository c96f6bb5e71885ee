//! What the control thread has done with a frame.

use weir_director::{BURST, DropReason, PortId, PuntReason};
use weir_testkit::{IPV4, IntoEndpoint, LAN, LAN_MAC, ROUTER_MAC, TestBuffer, WAN, udp};
use weir_worker::Order;

use crate::team::{Plan, Team, datagram, one_server, team_of};

/// A frame to be sent leaves as it is, by the port that was named.
#[test]
fn transmit_sends_the_frame_as_it_is() {
    let mut team = team_of(1);
    for (n, port) in [WAN, LAN].into_iter().enumerate() {
        let frame = [n as u8; 60];
        assert!(team.order(0, Order::Transmit(port), &frame));
        assert!(team.turn(0), "an order is work");
        assert_eq!(team.frames(0, port), [frame.to_vec()]);
    }
    let counters = team.counters(0);
    assert_eq!((counters.received, counters.transmitted), (0, 2));
}

/// A frame to be processed is treated as if it came in by the port that was named: it opens a connection.
#[test]
fn process_treats_the_frame_as_received() {
    let mut team = team_of(1);
    let frame = datagram(team.client(0)).bytes();
    assert!(team.order(0, Order::Process(WAN), &frame));
    assert!(team.turn(0));
    assert_eq!(team.sent(0, LAN)[0].destination, IPV4.real.into_endpoint());
    let counters = team.counters(0);
    assert_eq!((counters.received, counters.connections), (0, 1));
}

/// It must bear that port's MAC address, and a punt names that port.
#[test]
fn process_is_about_the_port_named() {
    let mut team = team_of(1);
    let frame = udp(IPV4.client, "192.0.2.100:81");
    assert!(team.order(0, Order::Process(LAN), &frame.bytes()));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::MacNotOurs), 1);
    let frame = frame.macs(ROUTER_MAC, LAN_MAC);
    assert!(team.order(0, Order::Process(LAN), &frame.bytes()));
    team.turn(0);
    let (punt, _) = team.punts(0).remove(0);
    assert_eq!((punt.port, punt.reason), (LAN, PuntReason::NoService));
}

/// It may belong to another worker.
#[test]
fn a_frame_to_be_processed_goes_to_its_owner() {
    let mut team = team_of(2);
    let frame = datagram(team.client(1)).bytes();
    assert!(team.order(0, Order::Process(WAN), &frame));
    team.settle();
    assert_eq!(team.sent(1, LAN).len(), 1);
    assert_eq!(team.counters(0).handed_over, 1);
}

/// A port that the worker does not know takes nothing.
#[test]
fn an_unknown_port_is_no_route() {
    let mut team = team_of(1);
    assert!(team.order(0, Order::Transmit(PortId(7)), &[0; 60]));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::NoRoute), 1);
    assert!(team.order(
        0,
        Order::Process(PortId(7)),
        &datagram(team.client(0)).bytes()
    ));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::MacNotOurs), 1);
}

/// Without a free buffer the order is lost, and counted once.
#[test]
fn without_a_buffer_an_order_is_dropped() {
    let mut team = team_of(1);
    team.nic(0).may_allocate = false;
    assert!(team.order(0, Order::Transmit(WAN), &[0; 60]));
    assert!(team.order(0, Order::Process(WAN), &datagram(team.client(0)).bytes()));
    assert!(team.turn(0));
    assert_eq!(team.dropped(0, DropReason::NoBuffer), 2);
    assert_eq!(team.all_dropped(0), 2);
    team.nic(0).may_allocate = true;
    team.settle();
    assert!(team.frames(0, WAN).is_empty(), "it is not tried again");
}

/// A frame larger than a buffer cannot be sent; one larger than the ring's buffers is refused at once.
#[test]
fn a_frame_too_large_is_dropped() {
    let mut team = team_of(1);
    assert!(!team.order(0, Order::Transmit(WAN), &[0; 5000]));
    assert!(team.order(0, Order::Transmit(WAN), &[0; TestBuffer::DATAROOM + 1]));
    assert!(team.order(0, Order::Transmit(WAN), &[0; TestBuffer::DATAROOM]));
    team.turn(0);
    assert_eq!(team.dropped(0, DropReason::NoBuffer), 1);
    assert_eq!(team.frames(0, WAN).len(), 1);
}

/// A burst of orders a turn: the control thread cannot starve the ports.
#[test]
fn a_turn_carries_out_one_burst_of_orders() {
    let mut team = team_of(1);
    for n in 0..40 {
        assert!(team.order(0, Order::Transmit(WAN), &[n; 60]));
    }
    team.turn(0);
    let first = team.frames(0, WAN);
    assert_eq!(first.len(), BURST);
    team.turn(0);
    let second = team.frames(0, WAN);
    let numbers = first.iter().chain(&second).map(|frame| frame[0]);
    assert!(numbers.eq(0..40), "in the order in which they were given");
}

/// A ring of orders that is full refuses, until the worker has taken some.
#[test]
fn a_full_ring_of_orders_refuses() {
    let mut team = Team::new(Plan {
        control_frames: 2,
        ..Plan::new(one_server(1))
    });
    let order = |team: &mut Team| team.order(0, Order::Transmit(WAN), &[0; 60]);
    assert!(order(&mut team) && order(&mut team) && !order(&mut team));
    team.turn(0);
    assert!(order(&mut team));
}
