//! What a worker counts and when others may see it.

use std::time::Duration;

use weir_director::{DestinationId, Load, Protocol, Scheduler};
use weir_testkit::{IPV4, IntoEndpoint, LAN, Site, WAN};

use crate::team::{Plan, Team, answer, datagram, one_server, team_of};

/// Counters are published when 2 ms have passed since the last time, by the time that is passed in.
#[test]
fn counters_are_published_every_two_milliseconds() {
    let mut team = team_of(1);
    let published_at = |team: &mut Team, now_ns| {
        team.arrive(0, WAN, &datagram(team.client(0)));
        team.now_ns = now_ns;
        team.turn(0);
        team.published[0].counters().received
    };
    assert_eq!(published_at(&mut team, 0), 0);
    assert_eq!(published_at(&mut team, 1_999_999), 0);
    assert_eq!(published_at(&mut team, 2_000_000), 3);
    assert_eq!(published_at(&mut team, 2_000_001), 3);
    assert_eq!(published_at(&mut team, 3_999_999), 3);
    assert_eq!(published_at(&mut team, 4_500_000), 6);
    assert_eq!(
        published_at(&mut team, 6_499_999),
        6,
        "from the last time on"
    );
    assert_eq!(published_at(&mut team, 6_500_000), 8);
}

/// A worker that idles publishes too: what it counted last is seen.
#[test]
fn an_idle_worker_publishes() {
    let mut team = team_of(1);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    team.pass(Duration::from_millis(2));
    assert!(!team.turn(0));
    assert_eq!(team.published[0].counters().received, 1);
}

/// What is published of a destination: connections, packets and bytes of either direction, load.
#[test]
fn a_destination_is_published() {
    let mut team = team_of(1);
    let inbound = datagram(team.client(0)).ip_bytes(100);
    team.arrive(0, WAN, &inbound);
    team.arrive(0, WAN, &inbound);
    team.turn(0);
    let sent = team.sent(0, LAN);
    team.arrive(0, LAN, &answer(&sent[0]).ip_bytes(300));
    team.pass(Duration::from_millis(2));
    team.turn(0);
    let counted = team.published[0].destination(team.destination(IPV4.real));
    assert_eq!(counted.connections, 1);
    assert_eq!((counted.inbound_packets, counted.inbound_bytes), (2, 200));
    assert_eq!((counted.outbound_packets, counted.outbound_bytes), (1, 300));
    let one_datagram_flow = Load {
        active: 0,
        inactive: 1,
    };
    assert_eq!(counted.load, one_datagram_flow);
}

/// How full the table is, and what was evicted from it.
#[test]
fn the_table_is_published() {
    let mut team = Team::new(Plan {
        connections: 16,
        ..Plan::new(one_server(1))
    });
    let clients: Vec<_> = team.clients(0, Protocol::Udp).take(20).collect();
    for (number, client) in clients.into_iter().enumerate() {
        if number == 16 {
            // Long enough for the first ones to be idle.
            team.pass(Duration::from_secs(6));
        }
        team.arrive(0, WAN, &datagram(client));
        team.turn(0);
    }
    let counters = team.counters(0);
    assert_eq!((counters.capacity, counters.connections), (16, 16));
    assert_eq!(counters.evicted, 4);
}

/// An id beyond the limit has counted nothing.
#[test]
fn a_destination_that_cannot_be_is_empty() {
    let team = team_of(1);
    let counted = team.published[0].destination(DestinationId(DestinationId::LIMIT));
    assert_eq!((counted.connections, counted.load), (0, Load::default()));
}

/// A service of that many real servers, visited in turn.
fn many_destinations(n: usize) -> Site {
    let reals: Vec<_> = (0..n)
        .map(|n| format!("10.0.{}.{}:80", 1 + n / 250, 1 + n % 250))
        .collect();
    let destinations: Vec<_> = reals.iter().map(|real| (real.as_str(), 1)).collect();
    Site::new().service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &destinations)
}

/// A team whose worker has opened one connection to each of 600 destinations.
fn team_with_600_connections() -> Team {
    let mut team = Team::new(Plan::new(many_destinations(600)));
    let clients: Vec<_> = team.clients(0, Protocol::Udp).take(600).collect();
    for client in clients {
        team.arrive(0, WAN, &datagram(client));
    }
    while team.turn(0) {}
    assert_eq!(team.sent(0, LAN).len(), 600);
    team
}

fn n_published(team: &Team) -> usize {
    let ids = (0..600).map(DestinationId);
    ids.filter(|id| team.published[0].destination(*id).connections == 1)
        .count()
}

/// Of many destinations each waits for its turn: 256 at a time, none twice before all were.
#[test]
fn many_destinations_are_published_in_turns() {
    let mut team = team_with_600_connections();
    for expected in [256, 512, 600] {
        team.pass(Duration::from_millis(2));
        team.turn(0);
        assert_eq!(n_published(&team), expected);
    }
}

/// At the end everything is published, however many destinations there are.
#[test]
fn at_the_end_nothing_counted_is_missing() {
    let mut team = team_with_600_connections();
    assert_eq!(n_published(&team), 0);
    let counters = team.counters(0);
    assert_eq!((counters.received, counters.transmitted), (600, 600));
    assert_eq!(n_published(&team), 600);
}

/// A snapshot with fewer destinations, or none, is no reason to stumble.
#[test]
fn fewer_destinations_than_before_are_published() {
    let mut team = team_with_600_connections();
    team.pass(Duration::from_millis(2));
    team.turn(0);
    team.site = one_server(1);
    // Its first snapshot has the number of the one that runs.
    team.site.snapshot();
    team.publish(|site| site);
    team.pass(Duration::from_millis(2));
    team.turn(0);
    team.arrive(
        0,
        WAN,
        &datagram(team.clients(0, Protocol::Udp).nth(700).unwrap()),
    );
    team.pass(Duration::from_millis(2));
    team.turn(0);
    let counted = team.published[0].destination(team.destination(IPV4.real));
    assert_ne!(counted.connections, 0);
}

/// A service by least connections with two real servers of these weights.
fn lc(site: Site, [first, second]: [u32; 2]) -> Site {
    let weights = [(IPV4.real, first), (IPV4.other_real, second)];
    site.service(Protocol::Udp, IPV4.vip, Scheduler::Lc, &weights)
}

/// Least connections over two workers: one that has opened none knows of the other's, and levels them out.
#[test]
fn the_load_of_other_workers_counts() {
    let mut team = Team::new(Plan::new(lc(Site::new().workers(2), [1, 0])));
    let first: Vec<_> = team.clients(0, Protocol::Udp).take(10).collect();
    for client in first {
        team.arrive(0, WAN, &datagram(client));
    }
    team.turn(0);
    team.publish(|site| lc(site, [1, 1]));
    // Worker 0 publishes, worker 1 reads.
    team.pass(Duration::from_millis(2));
    team.turn(0);
    team.turn(1);
    team.sent(0, LAN);
    let second: Vec<_> = team.clients(1, Protocol::Udp).take(20).collect();
    for client in &second[..10] {
        team.arrive(1, WAN, &datagram(*client));
    }
    team.turn(1);
    let other_real = IPV4.other_real.into_endpoint();
    let sent = team.sent(1, LAN);
    assert_eq!(sent.len(), 10);
    assert!(sent.iter().all(|sent| sent.destination == other_real));
    for client in &second[10..] {
        team.arrive(1, WAN, &datagram(*client));
    }
    team.turn(1);
    let sent = team.sent(1, LAN).into_iter();
    let n_other = sent.filter(|sent| sent.destination == other_real).count();
    assert_eq!(n_other, 5, "once level they stay so");
}

/// A destination that one worker has filled up gets nothing from another, until the first one's connections have ended.
#[test]
fn a_threshold_is_for_all_workers_together() {
    let site = Site::new().workers(2).thresholds(5, 0);
    let mut team = Team::new(Plan::new(lc(site, [1, 0])));
    let first: Vec<_> = team.clients(0, Protocol::Udp).take(5).collect();
    let second: Vec<_> = team.clients(1, Protocol::Udp).take(2).collect();
    for client in first {
        team.arrive(0, WAN, &datagram(client));
    }
    team.turn(0);
    assert_eq!(team.sent(0, LAN).len(), 5);
    let mut try_second = |time, client, due| {
        team.pass(time);
        team.turn(0);
        team.turn(1);
        team.arrive(1, WAN, &datagram(client));
        team.turn(1);
        assert_eq!(team.sent(1, LAN).len(), due);
    };
    try_second(Duration::from_millis(2), second[0], 0);
    try_second(Duration::from_secs(301), second[1], 1);
}

/// A worker's own connections, which it publishes too, do not count twice.
#[test]
fn ones_own_load_counts_once() {
    let mut team = Team::new(Plan::new(lc(Site::new().workers(2), [1, 0])));
    let mut own = team.clients(0, Protocol::Udp);
    for client in own.by_ref().take(2) {
        team.arrive(0, WAN, &datagram(client));
    }
    team.turn(0);
    team.publish(|site| lc(site, [0, 1]));
    for client in team.clients(1, Protocol::Udp).take(3) {
        team.arrive(1, WAN, &datagram(client));
    }
    team.turn(1);
    team.publish(|site| lc(site, [1, 1]));
    for _ in 0..2 {
        team.pass(Duration::from_millis(2));
        team.turn(0);
        team.turn(1);
    }
    team.sent(0, LAN);
    team.arrive(0, WAN, &datagram(own.next().unwrap()));
    team.turn(0);
    let real = IPV4.real.into_endpoint();
    assert_eq!(
        team.sent(0, LAN)[0].destination,
        real,
        "2 there, 3 at the other"
    );
}
