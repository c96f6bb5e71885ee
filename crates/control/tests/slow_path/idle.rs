//! Clients on the link that nothing needs any longer, and those that pretend to be many.

use std::time::Duration;

use etherparse::ArpOperation;
use weir_control::{Action, Limits};
use weir_director::{DropReason, NextHopId, PuntReason};

use crate::reading::read;
use crate::stage::{LAN, LIP, Stage, VIP, WAN, arp, ip, mac, port_mac, syn};

const CLIENT: &str = "192.0.2.20";
const SERVER: &str = "10.0.0.50";

/// How the client behaves.
#[derive(Clone, Copy)]
enum Client {
    /// It answers when it is asked.
    Honest,
    /// It answers all the time, asked or not.
    Talkative,
    /// It says all the time that it has moved.
    Restless,
}

/// A stage whose numbers are kept for 900 s, with a client that has been published.
fn acquainted() -> (Stage, NextHopId) {
    let mut stage = Stage::with_limits(Limits {
        number_is_kept: Duration::from_secs(900),
        ..Limits::default()
    });
    let frame = syn(mac(20), WAN, [CLIENT, VIP]);
    stage.punt(PuntReason::NeighbourUnknown, WAN, &frame);
    say(&mut stage, 20);
    let published = stage.slow_path.take_changed_next_hops().expect("found");
    stage.actions();
    let id = published.find(WAN, ip(CLIENT)).expect("named");
    (stage, id)
}

/// The client answers us from host `n`.
fn say(stage: &mut Stage, n: u8) {
    let ends = [CLIENT, "192.0.2.10"];
    let reply = arp(ArpOperation::REPLY, mac(n), port_mac(WAN), ends);
    stage.punt(PuntReason::Arp, WAN, &reply);
}

/// Lets seconds pass; how often the client was asked.
fn live(stage: &mut Stage, client: Client, seconds: u32) -> usize {
    let mut n_asked = 0;
    for second in 0..seconds {
        stage.pass(1000);
        let n_now = stage.actions().len();
        n_asked += n_now;
        match client {
            Client::Honest => (0..n_now).for_each(|_| say(stage, 20)),
            Client::Talkative => say(stage, 20),
            Client::Restless => {
                let from = mac(20 + (second % 2) as u8);
                let claim = arp(ArpOperation::REQUEST, from, [0xff; 6], [CLIENT; 2]);
                stage.punt(PuntReason::Arp, WAN, &claim);
            }
        }
        stage.slow_path.take_changed_next_hops();
        stage.actions();
    }
    n_asked
}

#[test]
fn a_client_that_nothing_has_needed_for_long_is_idle_and_then_forgotten_whatever_it_says() {
    for client in [Client::Honest, Client::Talkative, Client::Restless] {
        let (mut stage, id) = acquainted();
        live(&mut stage, client, 890);
        assert!(stage.mac_of(id).is_some());
        live(&mut stage, client, 50);
        assert_eq!(stage.state_of(CLIENT), Some("idle"));
        assert_eq!(stage.mac_of(id), None, "so that who uses it shows");
        let named = stage.slow_path.next_hops().find(WAN, ip(CLIENT));
        assert_eq!(named, Some(id), "its number stays its own");
        assert_eq!(live(&mut stage, client, 840), 0, "nor is it asked");
        assert_eq!(stage.state_of(CLIENT), Some("idle"));
        live(&mut stage, client, 60);
        assert_eq!(stage.state_of(CLIENT), None);
        assert_eq!(stage.slow_path.next_hops().find(WAN, ip(CLIENT)), None);
    }
}

#[test]
fn a_packet_for_an_idle_client_shows_that_it_is_in_use_and_is_sent_on_at_once() {
    let (mut stage, id) = acquainted();
    live(&mut stage, Client::Honest, 940);
    live(&mut stage, Client::Honest, 800);
    assert_eq!(stage.state_of(CLIENT), Some("idle"));
    let frame = syn(mac(50), LAN, [SERVER, LIP]);
    let reason = PuntReason::NeighbourUnresolved(id);
    assert!(stage.counted(reason, LAN, &frame).is_empty());
    let [Action::Transmit { frame: asked, .. }] = &stage.actions()[..] else {
        panic!("a question, and no more before the next hops are taken")
    };
    assert_eq!(
        read(asked),
        format!("arp 192.0.2.10 asks for {CLIENT} [wan > host20]")
    );
    let published = stage.slow_path.take_changed_next_hops().expect("at once");
    assert_eq!(published.get(id).ethernet[..6], mac(20));
    assert_eq!(stage.actions(), [Action::Process { port: LAN, frame }]);
    say(&mut stage, 20);
    live(&mut stage, Client::Honest, 890);
    assert_eq!(stage.mac_of(id), Some(mac(20)), "for another while");
}

#[test]
fn an_idle_client_that_has_moved_is_found_where_it_is() {
    let (mut stage, id) = acquainted();
    live(&mut stage, Client::Honest, 940);
    say(&mut stage, 21);
    assert_eq!(stage.mac_of(id), None);
    let frame = syn(mac(50), LAN, [SERVER, LIP]);
    stage.punt(PuntReason::NeighbourUnresolved(id), LAN, &frame);
    assert_eq!(stage.mac_of(id), Some(mac(21)));
}

#[test]
fn an_idle_client_that_becomes_a_server_is_used_at_once_and_never_idle_again() {
    let (mut stage, id) = acquainted();
    live(&mut stage, Client::Honest, 940);
    let now = stage.now;
    let pinned = stage.slow_path.next_hop_for(WAN, ip(CLIENT), now);
    assert_eq!(pinned, Some(id));
    assert_eq!(stage.mac_of(id), Some(mac(20)));
    assert!(stage.slow_path.take_changed_next_hops().is_some());
    live(&mut stage, Client::Honest, 3000);
    assert_eq!(stage.mac_of(id), Some(mac(20)));
    let now = stage.now;
    stage.slow_path.retain_pinned(&[], now);
    live(&mut stage, Client::Honest, 800);
    assert_eq!(stage.mac_of(id), Some(mac(20)), "given up just now");
    live(&mut stage, Client::Honest, 200);
    assert_eq!(stage.mac_of(id), None);
}

#[test]
fn clients_leave_numbers_for_servers() {
    let mut stage = Stage::with_limits(Limits {
        neighbours: 5,
        for_pinned: 2,
        ..Limits::default()
    });
    let wait = |stage: &mut Stage, n: u8| {
        let frame = syn(mac(7), WAN, [&format!("192.0.2.{n}"), VIP]);
        stage.counted(PuntReason::NeighbourUnknown, WAN, &frame)
    };
    let pin = |stage: &mut Stage, address: &str| {
        let now = stage.now;
        stage.slow_path.next_hop_for(LAN, ip(address), now)
    };
    let exhausted = [DropReason::NextHopsExhausted];
    for n in 20..23 {
        assert!(wait(&mut stage, n).is_empty());
    }
    assert_eq!(wait(&mut stage, 23), exhausted);
    assert!(
        wait(&mut stage, 22).is_empty(),
        "those that are known go on"
    );
    assert!(pin(&mut stage, SERVER).is_some());
    assert_eq!(wait(&mut stage, 23), exhausted);
    assert!(pin(&mut stage, "10.0.0.51").is_some());
    assert_eq!(pin(&mut stage, "10.0.0.52"), None, "the table is full");
    // What is given up is one of the others until it is forgotten.
    stage.pass(3000);
    let now = stage.now;
    stage.slow_path.retain_pinned(&[], now);
    assert!(wait(&mut stage, 24).is_empty());
    assert_eq!(wait(&mut stage, 25), exhausted);
}
