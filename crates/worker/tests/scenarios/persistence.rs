//! Persistence over several workers: packets that open connections travel for their destination, and what is told of their
//! ends.

use std::time::Duration;

use weir_director::{DropReason, Protocol, Scheduler};
use weir_testkit::{IPV4, LAN, Site, WAN};

use crate::team::{Plan, Team, answer, datagram};

fn site(n_workers: u8) -> Site {
    let site = Site::new().workers(n_workers);
    site.persistent(Duration::from_secs(300), "255.255.255.255")
        .service(
            Protocol::Udp,
            IPV4.vip,
            Scheduler::Rr,
            &[(IPV4.real, 1), (IPV4.other_real, 1)],
        )
}

fn connections(team: &mut Team) -> Vec<u64> {
    let n_workers = team.site.n_workers();
    (0..n_workers)
        .map(|worker| team.counters(worker).connections)
        .collect()
}

/// One client's flows belong to all workers: all go to one real server, each is sent and answered by its own worker, and
/// there is one template, which ends when all have ended.
#[test]
fn one_client_has_one_server_from_every_worker() {
    for n_workers in [1, 2, 3] {
        let mut team = Team::new(Plan::new(site(n_workers)));
        let mut reals = Vec::new();
        let mut sent_first = Vec::new();
        for owner in 0..n_workers {
            let clients: Vec<_> = team.clients(owner, Protocol::Udp).take(10).collect();
            for client in clients {
                team.arrive(owner, WAN, &datagram(client));
                team.settle();
                let sent = team.sent(owner, LAN);
                assert_eq!(sent.len(), 1);
                reals.push(sent[0].destination);
                team.arrive(owner, LAN, &answer(&sent[0]));
                team.settle();
                assert_eq!(team.sent(owner, WAN)[0].destination, client);
                sent_first.push((owner, client));
            }
        }
        reals.dedup();
        assert_eq!(reals.len(), 1, "{n_workers} workers: {reals:?}");
        let all: Vec<_> = (0..n_workers).map(|worker| team.counters(worker)).collect();
        let n_handed_over: u64 = all.iter().map(|worker| worker.handed_over).sum();
        // There and back, for those of other workers than the template's; nothing after the first packet.
        assert_eq!(n_handed_over, 2 * 10 * u64::from(n_workers - 1));
        let n_connections: u64 = connections(&mut team).iter().sum();
        assert_eq!(n_connections, 10 * u64::from(n_workers) + 1);
        // Established flows never move.
        for (owner, client) in &sent_first {
            team.arrive(*owner, WAN, &datagram(*client));
            team.settle();
            assert_eq!(team.sent(*owner, LAN).len(), 1);
        }
        let again: u64 = (0..n_workers)
            .map(|worker| team.counters(worker).handed_over)
            .sum();
        assert_eq!(again, n_handed_over);
        for _ in 0..3 {
            team.pass(Duration::from_secs(301));
            team.settle();
        }
        assert_eq!(connections(&mut team), vec![0; usize::from(n_workers)]);
        assert_eq!(team.n_buffers_out(), 0);
    }
}

/// A template lives as long as another worker's connection does.
#[test]
fn a_template_outlives_another_worker_s_connection() {
    let mut team = Team::new(Plan::new(site(2)));
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.settle();
    let holder = u8::from(connections(&mut team)[1] == 1);
    let other = 1 - holder;
    let client = team.client(other);
    for _ in 0..5 {
        team.arrive(other, WAN, &datagram(client));
        team.settle();
        team.pass(Duration::from_secs(299));
        team.settle();
    }
    let mut due = vec![0; 2];
    due[usize::from(holder)] = 1;
    due[usize::from(other)] = 1;
    assert_eq!(connections(&mut team), due, "a connection and its template");
    team.pass(Duration::from_secs(2));
    team.settle();
    due[usize::from(other)] = 0;
    assert_eq!(connections(&mut team), due, "the template alone");
    team.pass(Duration::from_secs(61));
    team.settle();
    assert_eq!(connections(&mut team), [0, 0]);
}

/// A ring that is full on the way back: the packet is dropped once, and its template knows.
#[test]
fn a_choice_that_finds_the_ring_full_is_given_back() {
    let mut team = Team::new(Plan {
        hand_off_packets: 1,
        ..Plan::new(site(2))
    });
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.settle();
    let holder = u8::from(connections(&mut team)[1] == 1);
    let other = 1 - holder;
    let mut clients = team.clients(other, Protocol::Udp);
    team.arrive(other, WAN, &datagram(clients.next().unwrap()));
    team.turn(other);
    // It is on its way. Before it comes back a stray fills the ring.
    team.arrive(holder, WAN, &datagram(clients.next().unwrap()));
    let n_dropped = team.dropped(holder, DropReason::HandOffRingFull);
    team.turn(holder);
    assert_eq!(
        team.dropped(holder, DropReason::HandOffRingFull) - n_dropped,
        1
    );
    team.settle();
    assert_eq!(team.n_buffers_out(), 1 + team.frames(other, LAN).len());
    for _ in 0..3 {
        team.pass(Duration::from_secs(301));
        team.settle();
    }
    assert_eq!(connections(&mut team), [0, 0]);
}

/// More ends than a ring of notes holds at once: the rest waits, and none is lost.
#[test]
fn many_ends_are_told_in_time() {
    const N: usize = 3000;
    let mut team = Team::new(Plan {
        connections: 8192,
        ..Plan::new(site(2))
    });
    for owner in 0..2 {
        let clients: Vec<_> = team.clients(owner, Protocol::Udp).take(N).collect();
        for client in clients {
            team.arrive(owner, WAN, &datagram(client));
            team.settle();
            team.frames(owner, LAN);
        }
    }
    let n_connections: u64 = connections(&mut team).iter().sum();
    assert_eq!(n_connections, 2 * N as u64 + 1);
    team.pass(Duration::from_secs(301));
    // All connections of the one end while the other does nothing.
    for worker in [0, 1] {
        while team.turn(worker) {}
    }
    team.settle();
    team.pass(Duration::from_secs(61));
    team.settle();
    team.pass(Duration::from_secs(61));
    team.settle();
    assert_eq!(connections(&mut team), [0, 0]);
}
