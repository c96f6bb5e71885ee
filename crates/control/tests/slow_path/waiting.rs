//! Packets that wait for a neighbour.

use std::time::Duration;

use etherparse::ArpOperation;
use weir_control::{Action, Event, Limits};
use weir_director::{DropReason, NextHopId, PuntReason};
use weir_wire::ethernet::Mac;

use crate::stage::{LAN, LIP, Stage, VIP, VIP6, WAN, arp, ip, mac, port_mac, routes, syn};

const CLIENT: &str = "192.0.2.7";
const ROUTER: &str = "192.0.2.1";
const SERVER: &str = "10.0.0.50";

/// Host `n` answers for `address` on the wan side.
fn answer(stage: &mut Stage, n: u8, address: &str) {
    let reply = arp(ArpOperation::REPLY, mac(n), mac(1), [address, "192.0.2.10"]);
    assert!(stage.counted(PuntReason::Arp, WAN, &reply).is_empty());
}

fn from_client() -> Vec<u8> {
    syn(mac(7), WAN, [CLIENT, VIP])
}

#[test]
fn a_client_on_the_link_is_asked_for_and_its_packet_processed_once_the_next_hops_are_taken() {
    let mut stage = Stage::new();
    let frame = from_client();
    assert!(
        stage
            .counted(PuntReason::NeighbourUnknown, WAN, &frame)
            .is_empty()
    );
    assert_eq!(
        stage.sent(),
        ["0 arp 192.0.2.10 asks for 192.0.2.7 [wan > all]"]
    );
    let before = stage.slow_path.next_hops();
    assert_eq!(
        before.find(WAN, ip(CLIENT)),
        None,
        "no connection may refer to it yet"
    );
    assert!(stage.slow_path.take_changed_next_hops().is_none());

    answer(&mut stage, 7, CLIENT);
    assert!(
        stage.actions().is_empty(),
        "not before the next hops are taken"
    );
    let published = stage
        .slow_path
        .take_changed_next_hops()
        .expect("they have changed");
    let hop = published.get(published.find(WAN, ip(CLIENT)).expect("it has a name now"));
    assert_eq!(hop.ethernet[..6], mac(7));
    assert_eq!(hop.ethernet[6..], port_mac(WAN));
    assert_eq!((hop.port, hop.mtu), (WAN, 1500));
    assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
    assert!(stage.slow_path.take_changed_next_hops().is_none());
}

/// A real server whose gateway we are talks to a host on another link of ours.
#[test]
fn of_a_packet_that_is_routed_the_receiver_is_asked_for() {
    let mut stage = Stage::new();
    let frame = syn(mac(9), LAN, [SERVER, CLIENT]);
    let counted = stage.counted(PuntReason::NeighbourUnknown, LAN, &frame);
    assert!(counted.is_empty());
    assert_eq!(
        stage.sent(),
        ["0 arp 192.0.2.10 asks for 192.0.2.7 [wan > all]"]
    );
    answer(&mut stage, 7, CLIENT);
    let published = stage.slow_path.take_changed_next_hops().unwrap();
    assert!(published.find(WAN, ip(CLIENT)).is_some());
    assert_eq!(stage.actions(), [Action::Process { port: LAN, frame }]);
    let nowhere = syn(mac(9), LAN, [SERVER, "224.0.0.9"]);
    assert_eq!(
        stage.counted(PuntReason::NeighbourUnknown, LAN, &nowhere),
        [DropReason::AddressNotOurs]
    );
}

#[test]
fn an_ipv6_client_likewise() {
    let mut stage = Stage::new();
    let frame = syn(mac(7), WAN, ["2001:db8:1::7", VIP6]);
    stage.punt(PuntReason::NeighbourUnknown, WAN, &frame);
    assert_eq!(
        stage.sent(),
        ["0 2001:db8:1::10 > ff02::1:ff00:7 ns 2001:db8:1::7 by wan [wan > group]"]
    );
    let ends = ["2001:db8:1::7", "2001:db8:1::10"];
    let answer = crate::stage::advertisement([mac(7), mac(1)], ends[0], ends[1], "som");
    stage.punt(PuntReason::Icmp, WAN, &answer);
    stage.slow_path.take_changed_next_hops();
    assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
}

#[test]
fn three_requests_a_second_apart_then_the_packets_are_given_up() {
    let mut stage = Stage::new();
    let before = *stage.slow_path.drops();
    for _ in 0..2 {
        stage.punt(PuntReason::NeighbourUnknown, WAN, &from_client());
    }
    stage.pass(2999);
    let request = "0 arp 192.0.2.10 asks for 192.0.2.7 [wan > all]";
    assert_eq!(stage.sent(), [request; 3]);
    assert!(stage.counted_since(&before).is_empty());
    stage.pass(1);
    assert_eq!(
        stage.counted_since(&before),
        [DropReason::NeighbourUnreachable; 2]
    );
    assert_eq!(
        stage.sent(),
        vec![format!("0 {VIP} > {CLIENT} host unreachable [wan > host7]"); 2]
    );
    assert_eq!(stage.state_of(CLIENT), None, "no connection ever knew it");
    stage.pass(60_000);
    assert!(stage.sent().is_empty());
    stage.punt(PuntReason::NeighbourUnknown, WAN, &from_client());
    assert_eq!(stage.sent(), [request], "a later packet tries again");
}

#[test]
fn without_a_route_or_an_honest_sender_nobody_is_asked() {
    let mut stage = Stage::new();
    for (client, reason) in [
        ("198.51.100.7", DropReason::NoRoute),
        (VIP, DropReason::SourceInvalid),
        ("224.0.0.5", DropReason::SourceInvalid),
        ("0.0.0.0", DropReason::SourceInvalid),
    ] {
        let frame = syn(mac(7), WAN, [client, VIP]);
        assert_eq!(
            stage.counted(PuntReason::NeighbourUnknown, WAN, &frame),
            [reason]
        );
    }
    assert!(stage.sent().is_empty());
}

#[test]
fn a_client_behind_a_router_waits_for_the_router() {
    let mut stage = Stage::new();
    let now = stage.now;
    let router = stage.slow_path.next_hop_for(WAN, ip(ROUTER), now).unwrap();
    stage.slow_path.set_addresses(
        crate::stage::ports(),
        &crate::stage::addresses(),
        routes(Some(router)),
        now,
    );
    let view = stage.slow_path.routes().pop().unwrap();
    assert_eq!((view.via, view.is_usable), (Some(ip(ROUTER)), false));
    stage.sent();
    let frame = syn(mac(7), WAN, ["198.51.100.7", VIP]);
    stage.punt(PuntReason::NeighbourUnknown, WAN, &frame);
    assert!(stage.sent().is_empty(), "it has been asked for already");
    answer(&mut stage, 3, ROUTER);
    stage.slow_path.take_changed_next_hops();
    assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
    assert!(stage.slow_path.routes().pop().unwrap().is_usable);
}

#[test]
fn packets_for_a_server_that_does_not_answer_end_with_host_unreachable() {
    let mut stage = Stage::new();
    let id = stage
        .slow_path
        .next_hop_for(LAN, ip(SERVER), stage.now)
        .unwrap();
    stage.sent();
    let reason = PuntReason::NeighbourUnresolved(id);
    let frame = syn(mac(9), WAN, ["198.51.100.7", VIP]);
    assert!(stage.counted(reason, WAN, &frame).is_empty());
    let before = *stage.slow_path.drops();
    stage.pass(3000);
    let request = String::from("1 arp 10.0.0.1 asks for 10.0.0.50 [lan > all]");
    let unreachable = format!("0 {VIP} > 198.51.100.7 host unreachable [wan > host9]");
    assert_eq!(
        stage.sent(),
        [request.clone(), request.clone(), unreachable]
    );
    assert_eq!(
        stage.counted_since(&before),
        [DropReason::NeighbourUnreachable]
    );
    assert_eq!(stage.state_of(SERVER), Some("failed"));
    assert_eq!(
        stage.slow_path.take_event(),
        Some(Event::NeighbourLost {
            port: LAN,
            address: ip(SERVER),
        })
    );
    assert!(stage.counted(reason, WAN, &frame).is_empty());
    assert_eq!(
        stage.sent(),
        [request],
        "a packet does not wait for the next attempt"
    );
    let reply = arp(ArpOperation::REPLY, mac(50), mac(2), [SERVER, "10.0.0.1"]);
    stage.punt(PuntReason::Arp, LAN, &reply);
    assert_eq!(
        stage.slow_path.take_event(),
        Some(Event::NeighbourFound {
            port: LAN,
            address: ip(SERVER),
            mac: Mac(mac(50)),
        })
    );
    stage.slow_path.take_changed_next_hops();
    assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
}

#[test]
fn a_number_that_names_nobody_is_unreachable() {
    let mut stage = Stage::new();
    let reason = PuntReason::NeighbourUnresolved(NextHopId(77));
    assert_eq!(
        stage.counted(reason, WAN, &from_client()),
        [DropReason::NeighbourUnreachable]
    );
}

#[test]
fn only_so_many_packets_wait() {
    let mut stage = Stage::with_limits(Limits {
        held_per_neighbour: 2,
        held: 3,
        ..Limits::default()
    });
    let wait = |stage: &mut Stage, client: &str| {
        let frame = syn(mac(7), WAN, [client, VIP]);
        stage.counted(PuntReason::NeighbourUnknown, WAN, &frame)
    };
    let full = [DropReason::NeighbourQueueFull];
    assert!(wait(&mut stage, "192.0.2.20").is_empty());
    assert!(wait(&mut stage, "192.0.2.20").is_empty());
    assert_eq!(wait(&mut stage, "192.0.2.20"), full, "of one neighbour");
    assert!(wait(&mut stage, "192.0.2.21").is_empty());
    assert_eq!(wait(&mut stage, "192.0.2.21"), full, "of all together");
    assert_eq!(wait(&mut stage, "192.0.2.22"), full);
    assert_eq!(stage.state_of("192.0.2.22"), None, "nor is it remembered");
    answer(&mut stage, 20, "192.0.2.20");
    for _ in 0..2 {
        let counted = wait(&mut stage, "192.0.2.22");
        assert!(counted.is_empty(), "what is released makes room");
    }
    stage.pass(3000);
    for client in ["192.0.2.23", "192.0.2.23", "192.0.2.24"] {
        let counted = wait(&mut stage, client);
        assert!(counted.is_empty(), "what is given up makes room");
    }
}

#[test]
fn packets_for_clients_take_no_room_from_those_for_servers() {
    let mut stage = Stage::with_limits(Limits {
        held_per_neighbour: 3,
        held: 3,
        held_for_pinned: 2,
        ..Limits::default()
    });
    let now = stage.now;
    let server = stage.slow_path.next_hop_for(LAN, ip(SERVER), now).unwrap();
    let wait = |stage: &mut Stage, client: &str| {
        let frame = syn(mac(7), WAN, [client, VIP]);
        stage.counted(PuntReason::NeighbourUnknown, WAN, &frame)
    };
    let wait_for_server = |stage: &mut Stage| {
        let reason = PuntReason::NeighbourUnresolved(server);
        stage.counted(reason, WAN, &from_client())
    };
    let full = [DropReason::NeighbourQueueFull];
    for n in 20..23 {
        assert!(wait(&mut stage, &format!("192.0.2.{n}")).is_empty());
    }
    assert_eq!(wait(&mut stage, "192.0.2.23"), full);
    assert!(wait_for_server(&mut stage).is_empty());
    assert!(wait_for_server(&mut stage).is_empty());
    assert_eq!(wait_for_server(&mut stage), full);
    // What is held counts for what its neighbour is: one more of each that changes.
    let client = stage.slow_path.next_hop_for(WAN, ip("192.0.2.20"), now);
    assert!(wait(&mut stage, "192.0.2.23").is_empty());
    assert_eq!(wait(&mut stage, "192.0.2.23"), full);
    stage.slow_path.retain_pinned(&[client.unwrap()], now);
    assert!(wait(&mut stage, "192.0.2.20").is_empty());
    assert_eq!(wait(&mut stage, "192.0.2.20"), full);
    // When all have been given up there is room for all again.
    stage.pass(3000);
    let now = stage.now;
    stage.slow_path.retain_pinned(&[], now);
    for n in 30..33 {
        assert!(wait(&mut stage, &format!("192.0.2.{n}")).is_empty());
    }
    assert_eq!(wait(&mut stage, "192.0.2.33"), full);
}

#[test]
fn a_packet_whose_neighbour_is_known_by_now_goes_back_at_once_but_not_in_circles() {
    let mut stage = Stage::new();
    let id = stage
        .slow_path
        .next_hop_for(WAN, ip(CLIENT), stage.now)
        .unwrap();
    answer(&mut stage, 7, CLIENT);
    stage.sent();
    stage.slow_path.take_changed_next_hops();
    for reason in [
        PuntReason::NeighbourUnknown,
        PuntReason::NeighbourUnresolved(id),
    ] {
        let frame = from_client();
        assert!(stage.counted(reason, WAN, &frame).is_empty());
        assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
    }
    let n_circles = (0..5000)
        .filter(|_| {
            stage
                .counted(PuntReason::NeighbourUnknown, WAN, &from_client())
                .is_empty()
        })
        .count();
    assert!((1..=1000).contains(&n_circles), "{n_circles} at once");
}

#[test]
fn rows_run_out_and_come_back_when_nobody_can_refer_to_them() {
    let number_is_kept = Duration::from_secs(900);
    let mut stage = Stage::with_limits(Limits {
        neighbours: 2,
        for_pinned: 0,
        number_is_kept,
        ..Limits::default()
    });
    let wait = |stage: &mut Stage, client: &str| {
        let frame = syn(mac(7), WAN, [client, VIP]);
        stage.counted(PuntReason::NeighbourUnknown, WAN, &frame)
    };
    let exhausted = [DropReason::NextHopsExhausted];
    let id = stage
        .slow_path
        .next_hop_for(LAN, ip(SERVER), stage.now)
        .unwrap();
    assert!(wait(&mut stage, "192.0.2.20").is_empty());
    assert_eq!(wait(&mut stage, "192.0.2.21"), exhausted);
    let now = stage.now;
    assert_eq!(
        stage.slow_path.next_hop_for(LAN, ip("10.0.0.51"), now),
        None
    );
    // A client that never answered is forgotten at once.
    stage.pass(3000);
    assert!(wait(&mut stage, "192.0.2.21").is_empty());
    answer(&mut stage, 21, "192.0.2.21");
    // One that did is remembered as long as a connection may live without it.
    stage.pass(35_000 + 3000);
    assert_eq!(stage.state_of("192.0.2.21"), Some("failed"));
    assert_eq!(wait(&mut stage, "192.0.2.22"), exhausted);
    // A packet of a living connection begins that time anew.
    stage.pass(800_000);
    let number = stage
        .slow_path
        .next_hops()
        .find(WAN, ip("192.0.2.21"))
        .expect("it keeps its name");
    let reason = PuntReason::NeighbourUnresolved(number);
    let outbound = syn(mac(50), LAN, [SERVER, LIP]);
    assert!(stage.counted(reason, LAN, &outbound).is_empty());
    stage.pass(800_000);
    assert_eq!(wait(&mut stage, "192.0.2.22"), exhausted);
    stage.slow_path.take_changed_next_hops();
    stage.pass(103_000);
    assert_eq!(stage.state_of("192.0.2.21"), None);
    assert!(
        stage.slow_path.take_changed_next_hops().is_some(),
        "its name is withdrawn"
    );
    assert!(wait(&mut stage, "192.0.2.22").is_empty());
    // What is pinned stays, answered or not, until it is given up; and then as long as any other.
    assert_eq!(
        stage.slow_path.next_hop_for(LAN, ip(SERVER), stage.now),
        Some(id)
    );
    stage.pass(60_000);
    let now = stage.now;
    stage.slow_path.retain_pinned(&[], now);
    stage.pass(890_000);
    assert!(stage.state_of(SERVER).is_some());
    stage.pass(15_000);
    assert_eq!(stage.state_of(SERVER), None);
}

#[test]
fn the_table_is_as_large_as_its_numbers_and_no_larger() {
    let mut stage = Stage::new();
    let number = |stage: &mut Stage, n: u32| {
        let address = std::net::Ipv4Addr::from(0x0a01_0000 + n).into();
        stage.slow_path.next_hop_for(LAN, address, stage.now)
    };
    for n in 0..65_536 {
        assert_eq!(number(&mut stage, n), Some(NextHopId(n as u16)));
    }
    assert_eq!(number(&mut stage, 65_536), None);
    assert_eq!(number(&mut stage, 5), Some(NextHopId(5)));
    assert_eq!(stage.slow_path.next_hops().len(), 65_536);
}

#[test]
fn what_is_pinned_has_a_name_at_once() {
    let mut stage = Stage::new();
    let now = stage.now;
    let id = stage.slow_path.next_hop_for(LAN, ip(SERVER), now).unwrap();
    let published = stage.slow_path.take_changed_next_hops().expect("a new row");
    assert_eq!(published.find(LAN, ip(SERVER)), Some(id));
    assert!(!published.get(id).is_resolved());
}

#[test]
fn another_mtu_is_published() {
    let mut stage = Stage::new();
    let now = stage.now;
    let id = stage.slow_path.next_hop_for(WAN, ip(ROUTER), now).unwrap();
    answer(&mut stage, 3, ROUTER);
    stage.slow_path.take_changed_next_hops();
    let mut ports = crate::stage::ports();
    ports[0].mtu = 9000;
    let addresses = crate::stage::addresses();
    stage
        .slow_path
        .set_addresses(ports, &addresses, routes(None), now);
    let published = stage
        .slow_path
        .take_changed_next_hops()
        .expect("it has changed");
    assert_eq!(published.get(id).mtu, 9000);
}
