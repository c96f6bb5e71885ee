//! How often the table of next hops is published.

use std::time::Duration;

use etherparse::ArpOperation;
use weir_control::{Action, Limits};
use weir_director::{NextHopId, PuntReason};

use crate::stage::{LAN, Stage, VIP, WAN, arp, ip, mac, port_mac, syn};

/// Client `n` on the link sends its first packet.
fn ask(stage: &mut Stage, n: u8) -> Vec<u8> {
    let frame = syn(mac(n), WAN, [&format!("192.0.2.{n}"), VIP]);
    stage.punt(PuntReason::NeighbourUnknown, WAN, &frame);
    frame
}

/// Host `by` answers for client `n`.
fn answer(stage: &mut Stage, n: u8, by: u8) {
    let ends = [&format!("192.0.2.{n}"), "192.0.2.10"];
    let reply = arp(ArpOperation::REPLY, mac(by), port_mac(WAN), ends);
    stage.punt(PuntReason::Arp, WAN, &reply);
}

fn has_changed(stage: &mut Stage) -> bool {
    stage.slow_path.take_changed_next_hops().is_some()
}

#[test]
fn new_clients_are_published_together_every_ten_milliseconds() {
    let mut stage = Stage::new();
    let mut n_published = 0;
    let mut n_released = 0;
    for step in 0..1000u32 {
        // A new one each tenth of a millisecond, for a hundredth of a second and a bit.
        if step < 120 {
            let n = 101 + step as u8;
            ask(&mut stage, n);
            answer(&mut stage, n, n);
        }
        stage.slow_path.tick(stage.now);
        n_published += u32::from(has_changed(&mut stage));
        let actions = stage.actions();
        n_released += actions
            .iter()
            .filter(|action| matches!(action, Action::Process { .. }))
            .count();
        stage.now += Duration::from_micros(100);
    }
    assert_eq!(
        n_published, 3,
        "the first at once, the last when 20 ms are over"
    );
    assert_eq!(n_released, 120);
}

#[test]
fn what_waits_to_be_published_is_due_in_time_and_its_packets_with_it() {
    let mut stage = Stage::new();
    ask(&mut stage, 20);
    answer(&mut stage, 20, 20);
    assert!(has_changed(&mut stage), "after a quiet time at once");
    let frame = ask(&mut stage, 21);
    stage.actions();
    stage.now += Duration::from_millis(3);
    answer(&mut stage, 21, 21);
    assert!(!has_changed(&mut stage));
    assert_eq!(stage.actions(), [], "workers do not know it yet");
    let due = stage.slow_path.next_deadline().unwrap();
    assert_eq!(due - stage.now, Duration::from_millis(7));
    stage.pass(6);
    assert!(!has_changed(&mut stage));
    stage.pass(1);
    assert_eq!(stage.actions(), [], "it is due, but not taken");
    let published = stage.slow_path.take_changed_next_hops().expect("due");
    assert!(published.find(WAN, ip("192.0.2.21")).is_some());
    assert_eq!(stage.actions(), [Action::Process { port: WAN, frame }]);
    stage.pass(1000);
    assert!(!has_changed(&mut stage));
}

#[test]
fn what_is_pinned_and_what_moves_or_is_lost_is_published_at_once() {
    let mut stage = Stage::new();
    let busy = |stage: &mut Stage, n| {
        // Another new client has just been published.
        stage.pass(1000);
        ask(stage, n);
        answer(stage, n, n);
        assert!(has_changed(stage));
    };
    busy(&mut stage, 20);
    answer(&mut stage, 20, 120);
    assert!(has_changed(&mut stage), "moved");
    busy(&mut stage, 21);
    let now = stage.now;
    let server = "10.0.0.50";
    stage.slow_path.next_hop_for(LAN, ip(server), now);
    assert!(has_changed(&mut stage), "pinned");
    busy(&mut stage, 22);
    let ends = [server, "10.0.0.1"];
    let reply = arp(ArpOperation::REPLY, mac(50), port_mac(LAN), ends);
    stage.punt(PuntReason::Arp, LAN, &reply);
    assert!(has_changed(&mut stage), "pinned and found");
    // 20 is asked to confirm and does not; when it is given up, a new client has just been published.
    let id = stage.slow_path.next_hops().find(WAN, ip("192.0.2.20"));
    for n in 130.. {
        if stage.mac_of(id.unwrap()).is_none() {
            break;
        }
        let due = stage.slow_path.next_deadline().unwrap();
        stage.now = due;
        if stage.state_of("192.0.2.20") == Some("probing") {
            ask(&mut stage, n);
            answer(&mut stage, n, n);
        }
        has_changed(&mut stage);
        stage.slow_path.tick(due);
    }
    assert!(has_changed(&mut stage), "lost");
}

#[test]
fn a_row_without_a_name_is_not_in_the_table() {
    let mut stage = Stage::new();
    let now = stage.now;
    stage.slow_path.next_hop_for(LAN, ip("10.0.0.50"), now);
    for n in 20..30 {
        ask(&mut stage, n);
    }
    assert_eq!(stage.slow_path.next_hops().len(), 1);
    answer(&mut stage, 22, 22);
    let published = stage.slow_path.next_hops();
    assert_eq!(published.len(), 4);
    assert_eq!(published.find(WAN, ip("192.0.2.22")), Some(NextHopId(3)));
}

#[test]
fn a_number_names_nobody_else_before_its_name_is_withdrawn_in_public() {
    let mut stage = Stage::with_limits(Limits {
        neighbours: 2,
        for_pinned: 1,
        number_is_kept: Duration::from_secs(60),
        ..Limits::default()
    });
    ask(&mut stage, 20);
    answer(&mut stage, 20, 20);
    assert!(has_changed(&mut stage));
    stage.pass(38_000);
    assert_eq!(stage.state_of("192.0.2.20"), Some("failed"));
    assert!(has_changed(&mut stage));
    stage.pass(60_000);
    assert_eq!(stage.state_of("192.0.2.20"), None);
    ask(&mut stage, 21);
    assert_eq!(
        stage.state_of("192.0.2.21"),
        None,
        "nor does another take the place of what is pinned meanwhile"
    );
    assert!(has_changed(&mut stage));
    ask(&mut stage, 21);
    assert_eq!(stage.state_of("192.0.2.21"), Some("resolving"));
}
