//! Snapshots are adopted between two bursts, and freed by whoever published them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_director::{BURST, DropReason, Generation, Protocol, Scheduler};
use weir_testkit::{IPV4, LAN, WAN, real_server_mac};
use weir_wire::ethernet::Mac;

use crate::team::{datagram, team_of};

const MOVED: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// A MAC address that moves reaches a living connection with the next burst.
#[test]
fn a_new_snapshot_holds_from_the_next_burst_on() {
    let mut team = team_of(1);
    for mac in [real_server_mac("10.0.0.11".parse().unwrap()), MOVED] {
        for _ in 0..BURST {
            team.arrive(0, WAN, &datagram(team.client(0)));
        }
        team.turn(0);
        let sent = team.sent(0, LAN);
        assert_eq!(sent.len(), BURST);
        assert!(sent.iter().all(|sent| sent.destination_mac == mac));
        team.publish(|site| site.mac("10.0.0.11", MOVED));
    }
    assert_eq!(team.counters(0).connections, 1);
}

/// A connection outlives the service that it was opened by; a new one does not get in.
#[test]
fn packets_of_a_removed_service_flow_on() {
    let mut team = team_of(1);
    let mut clients = team.clients(0, Protocol::Udp);
    let (old, new) = (clients.next().unwrap(), clients.next().unwrap());
    team.arrive(0, WAN, &datagram(old));
    team.turn(0);
    let before = team.sent(0, LAN);
    team.publish(|site| site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &[]));
    team.arrive(0, WAN, &datagram(old));
    team.arrive(0, WAN, &datagram(new));
    team.turn(0);
    assert_eq!(team.sent(0, LAN), before);
    assert_eq!(team.punts(0).len(), 1);
}

/// A worker that was slow takes the latest and none of those between.
#[test]
fn generations_may_be_skipped() {
    let mut team = team_of(2);
    for last_byte in 1..=5 {
        team.publish(|site| site.mac("10.0.0.11", Mac([2, 0, 0, 0, 0, last_byte])));
    }
    team.turn(0);
    assert_eq!(team.mailboxes[0].adopted(), Generation(6));
    assert_eq!(team.mailboxes[1].adopted(), Generation(1));
    assert!(!team.publisher.is_adopted());
    team.turn(1);
    assert!(team.publisher.is_adopted());
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert_eq!(
        team.sent(0, LAN)[0].destination_mac,
        Mac([2, 0, 0, 0, 0, 5])
    );
}

/// A snapshot stays until all workers have passed it, and then goes when the publisher says so, not before.
#[test]
fn only_the_publisher_frees_a_snapshot() {
    let mut team = team_of(2);
    let first = Arc::downgrade(team.publisher.current().unwrap());
    team.publish(|site| site.mac("10.0.0.11", MOVED));
    let second = Arc::downgrade(team.publisher.current().unwrap());
    team.publish(|site| site);
    assert!(
        second.upgrade().is_none(),
        "replaced before any worker took it"
    );
    team.turn(0);
    assert_eq!(team.publisher.reap(), 2);
    team.turn(1);
    assert!(first.upgrade().is_some(), "no worker frees a snapshot");
    assert_eq!(team.publisher.reap(), 1);
    assert!(first.upgrade().is_none(), "both workers ran it");
}

/// While a thread publishes as fast as it can, packets flow and no worker frees a snapshot or misses the last one.
#[test]
fn publishing_without_pause_stops_no_packet() {
    const GENERATIONS: usize = 3000;
    let mut team = team_of(2);
    let mut site = team.site.clone();
    let mut publisher = {
        let first = Arc::clone(team.publisher.current().unwrap());
        weir_worker::Publisher::new(team.mailboxes.clone(), first)
    };
    let is_done = AtomicBool::new(false);
    let is_flowing = AtomicBool::new(false);
    let mut n_sent = 0;
    let kept = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            while !is_flowing.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            for _ in 0..GENERATIONS {
                publisher.publish(site.snapshot());
            }
            is_done.store(true, Ordering::Release);
            publisher
        });
        while !is_done.load(Ordering::Acquire) {
            for worker in 0..2 {
                team.arrive(worker, WAN, &datagram(team.client(worker)));
                team.turn(worker);
                n_sent += team.sent(worker, LAN).len();
            }
            is_flowing.store(true, Ordering::Release);
        }
        let mut publisher = publishing.join().unwrap();
        team.settle();
        assert!(publisher.is_adopted());
        publisher.reap()
    });
    assert_eq!(kept, 1);
    let last = Generation(1 + GENERATIONS as u64);
    for worker in 0..2 {
        assert_eq!(team.mailboxes[usize::from(worker)].adopted(), last);
        assert_eq!(team.dropped(worker, DropReason::NoRoute), 0);
        assert_eq!(team.all_dropped(worker), 0);
    }
    let n_received = team.counters(0).received + team.counters(1).received;
    assert_eq!(n_sent as u64, n_received);
}
