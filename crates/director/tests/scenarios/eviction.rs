//! A full table: who goes, and what is dropped when nobody may.

use std::time::Duration;

use weir_director::{DropReason, Scheduler, State};
use weir_testkit::{IPV4, IPV6, Rig, Site, tcp, udp};
use weir_wire::{Endpoint, Protocol};

use crate::conversation::{Conversation, client};

const CONNECTIONS: u16 = 16;

fn rig() -> Rig {
    let mut site = Site::new();
    for family in [IPV4, IPV6] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            site = site.service(protocol, family.vip, Scheduler::Rr, &[(family.real, 1)]);
        }
    }
    Rig::with_connections(site, u32::from(CONNECTIONS))
}

/// Fills the table up to `n_left` with living TCP connections.
fn fill(rig: &mut Rig, n_left: u16) {
    for cport in 0..CONNECTIONS - n_left {
        Conversation::establish(rig, client(IPV4, 100 + cport), IPV4.vip);
    }
}

/// Living connections are never ended for a new one.
#[test]
fn a_table_full_of_living_connections_is_a_named_drop() {
    let mut rig = rig();
    fill(&mut rig, 0);
    rig.send(&tcp(client(IPV4, 1), IPV4.vip).syn())
        .is_dropped(DropReason::TableFull);
    assert_eq!(rig.directors[0].n_evicted(), 0);
    assert_eq!(rig.connections().len(), usize::from(CONNECTIONS));
}

/// Half-open ones go first, then those that are over, then idle datagram flows; each is counted, and discharged.
#[test]
fn the_least_worth_goes_first() {
    let mut rig = rig();
    fill(&mut rig, 3);
    rig.forward(&udp(client(IPV4, 1), IPV4.vip));
    rig.pass(Duration::from_secs(5));
    let over = Conversation::establish(&mut rig, client(IPV4, 2), IPV4.vip);
    over.close(&mut rig);
    rig.pass(Duration::from_secs(1));
    Conversation::begin(&mut rig, client(IPV4, 3), IPV4.vip);
    let mut gone = Vec::new();
    for cport in [11, 12, 13] {
        let before: Vec<Endpoint> = rig.connections().iter().map(|view| view.client).collect();
        Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip);
        let after: Vec<Endpoint> = rig.connections().iter().map(|view| view.client).collect();
        gone.extend(before.into_iter().filter(|client| !after.contains(client)));
    }
    assert_eq!(gone, [3, 2, 1].map(|cport| client(IPV4, cport)));
    assert_eq!(rig.directors[0].n_evicted(), 3);
    let id = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    assert_eq!(rig.totals(id).load.active, u32::from(CONNECTIONS));
    assert_eq!(rig.totals(id).load.inactive, 0);
}

/// A flood of SYNs ends only half-open connections, the oldest first.
#[test]
fn a_flood_of_syns_ends_only_half_open_ones() {
    let mut rig = rig();
    fill(&mut rig, 4);
    for cport in 1000..2000 {
        rig.pass(Duration::from_millis(1));
        rig.forward(&tcp(client(IPV4, cport), IPV4.vip).syn());
    }
    let is_half_open = |state: State| state == State::SynRecv;
    let connections = rig.connections();
    let n_half_open = connections
        .iter()
        .filter(|view| is_half_open(view.state))
        .count();
    assert_eq!(
        (connections.len(), n_half_open),
        (usize::from(CONNECTIONS), 4)
    );
    let youngest = client(IPV4, 1999);
    assert!(connections.iter().any(|view| view.client == youngest));
    assert_eq!(rig.directors[0].n_evicted(), 1000 - 4);
}

/// An IPv6 connection takes the room of two, and gets it from two.
#[test]
fn an_ipv6_connection_takes_the_room_of_two() {
    let mut rig = rig();
    for cport in 0..CONNECTIONS / 2 {
        rig.forward(&tcp(client(IPV6, 100 + cport), IPV6.vip).syn());
    }
    let usage = rig.directors[0].usage();
    assert_eq!(
        (usage.used, usage.capacity),
        (u32::from(CONNECTIONS) / 2, u32::from(CONNECTIONS) / 2)
    );
    rig.forward(&tcp(client(IPV6, 1), IPV6.vip).syn());
    assert_eq!(rig.directors[0].n_evicted(), 1);
}

/// A datagram flow that had a packet a moment ago is not idle.
#[test]
fn a_lively_datagram_flow_stays() {
    let mut rig = rig();
    fill(&mut rig, 1);
    rig.forward(&udp(client(IPV4, 1), IPV4.vip));
    rig.pass(Duration::from_secs(4));
    rig.send(&udp(client(IPV4, 2), IPV4.vip))
        .is_dropped(DropReason::TableFull);
    rig.pass(Duration::from_secs(1));
    rig.forward(&udp(client(IPV4, 2), IPV4.vip));
}

/// An IPv6 connection takes a pair of lines: it ends what holds a whole pair, or nothing.
#[test]
fn for_ipv6_a_whole_pair_goes_or_nothing() {
    let mut rig = rig();
    // Every pair holds one half-open connection and a living one.
    for cport in 0..CONNECTIONS / 2 {
        Conversation::begin(&mut rig, client(IPV4, 100 + cport), IPV4.vip);
        Conversation::establish(&mut rig, client(IPV4, 200 + cport), IPV4.vip);
    }
    rig.send(&tcp(IPV6.client, IPV6.vip).syn())
        .is_dropped(DropReason::TableFull);
    assert_eq!(
        (rig.directors[0].n_evicted(), rig.connections().len()),
        (0, usize::from(CONNECTIONS))
    );
    // A pair of half-open ones.
    let mut rig = self::rig();
    fill(&mut rig, 2);
    for cport in [1, 2] {
        Conversation::begin(&mut rig, client(IPV4, cport), IPV4.vip);
    }
    rig.forward(&tcp(IPV6.client, IPV6.vip).syn());
    assert_eq!(rig.directors[0].n_evicted(), 2);
}
