//! Local ports: the order in which they are lent, and what happens when they run out.

use std::time::Duration;

use weir_director::{DropReason, Scheduler};
use weir_testkit::{IPV4, IPV6, Rig, Site, tcp};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client, rig_with_local_ports};

const LIPS: [&str; 2] = ["10.0.0.200", "10.0.0.201"];

fn rig_with_two_lips() -> Rig {
    let site = Site::new().local(&LIPS, 5000, 5002);
    Rig::new(site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 1)]))
}

/// All pairs of local address and L4 port are lent before one comes round again.
#[test]
fn every_pair_is_lent_before_any_again() {
    let mut rig = rig_with_two_lips();
    let mut lent = Vec::new();
    for cport in 0..12 {
        let conversation = Conversation::begin(&mut rig, client(IPV4, 1000 + cport), IPV4.vip);
        lent.push(conversation.local.to_string());
        // Long enough for this one to expire: its pair is free at once, and yet comes last.
        rig.pass(Duration::from_secs(61));
    }
    let expected = [5000, 5001, 5002]
        .iter()
        .flat_map(|lport| LIPS.map(|lip| format!("{lip}:{lport}")));
    assert_eq!(lent[..6], expected.collect::<Vec<_>>());
    assert_eq!(lent[..6], lent[6..]);
}

/// No pair is lent twice at a time; when all are, the packet is dropped by name and counted.
#[test]
fn when_all_are_lent_the_packet_is_dropped_and_counted() {
    let mut rig = rig_with_two_lips();
    let mut lent = Vec::new();
    for cport in 0..6 {
        let conversation = Conversation::begin(&mut rig, client(IPV4, 1000 + cport), IPV4.vip);
        lent.push(conversation.local);
    }
    lent.sort();
    lent.dedup();
    assert_eq!(lent.len(), 6);
    for _ in 0..2 {
        rig.send(&tcp(client(IPV4, 2000), IPV4.vip).syn())
            .is_dropped(DropReason::LocalPortsExhausted);
    }
    let id = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    assert_eq!(rig.totals(id).local_ports_exhausted, 2);
    assert_eq!(rig.connections().len(), 6);
}

/// A pair serves each real server once, at the same time.
#[test]
fn a_pair_serves_every_destination() {
    let site = Site::new().local(&["10.0.0.200"], 5000, 5000);
    let destinations = [(IPV4.real, 1), (IPV4.other_real, 1)];
    let site = site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &destinations);
    let mut rig = Rig::new(site);
    let first = Conversation::begin(&mut rig, client(IPV4, 1), IPV4.vip);
    let second = Conversation::begin(&mut rig, client(IPV4, 2), IPV4.vip);
    assert_eq!(first.local, second.local);
    assert_ne!(first.real, second.real);
}

/// Two services in front of one real server do not lend the same pair.
#[test]
fn two_services_share_the_pairs_of_a_real_server() {
    let other_vip = "192.0.2.101:80";
    let mut site = Site::new().local(&["10.0.0.200"], 5000, 5001);
    for vip in [IPV4.vip, other_vip] {
        site = site.service(Protocol::Tcp, vip, Scheduler::Rr, &[(IPV4.real, 1)]);
    }
    let mut rig = Rig::new(site);
    let first = Conversation::begin(&mut rig, client(IPV4, 1), IPV4.vip);
    let second = Conversation::begin(&mut rig, client(IPV4, 2), other_vip);
    assert_ne!(first.local, second.local);
}

/// A pool of the other family has nothing to lend.
#[test]
fn a_pool_without_addresses_of_the_family_is_exhausted() {
    let site = Site::new().local(&["10.0.0.200"], 5000, 5001);
    let site = site.service(Protocol::Tcp, IPV6.vip, Scheduler::Rr, &[(IPV6.real, 1)]);
    Rig::new(site)
        .send(&tcp(IPV6.client, IPV6.vip).syn())
        .is_dropped(DropReason::LocalPortsExhausted);
}

/// A connection that ended gives its pair back.
#[test]
fn an_expired_connection_frees_its_pair() {
    let mut rig = rig_with_local_ports(IPV4, 5000, 5000);
    Conversation::begin(&mut rig, client(IPV4, 1), IPV4.vip);
    let syn = tcp(client(IPV4, 2), IPV4.vip).syn();
    rig.send(&syn).is_dropped(DropReason::LocalPortsExhausted);
    rig.pass(Duration::from_secs(61));
    rig.forward(&syn);
}

/// A stretch of living connections on the way, here those of another service with the same real server, is leapt over.
#[test]
fn a_stretch_of_lent_pairs_is_leapt_over() {
    let site = Site::new().local(&["10.0.0.200"], 10_000, 19_999);
    let other_vip = "192.0.2.100:8080";
    let services = [IPV4.vip, other_vip];
    let site = services.iter().fold(site, |site, vip| {
        site.service(Protocol::Tcp, vip, Scheduler::Rr, &[(IPV4.real, 1)])
    });
    let mut rig = Rig::with_connections(site, 4000);
    for cport in 0..1500 {
        Conversation::establish(&mut rig, client(IPV4, 1000 + cport), IPV4.vip);
    }
    for cport in 0..1500 {
        Conversation::establish(&mut rig, client(IPV4, 1000 + cport), other_vip);
    }
}
