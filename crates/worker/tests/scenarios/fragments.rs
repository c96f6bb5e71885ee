//! Fragments between workers, and packets that a worker cuts.

use std::time::Duration;

use weir_director::{DropReason, HELD, WorkerId};
use weir_testkit::{LAN, WAN, cut, decode, reassemble};

use crate::team::Plan;
use crate::team::{Team, datagram, one_server, team_of};

/// What all workers have sent by a port.
fn sent(team: &Team, n_workers: u8) -> Vec<Vec<u8>> {
    (0..n_workers)
        .flat_map(|worker| team.frames(worker, LAN))
        .collect()
}

/// Every fragment comes in by another queue, the first one last: each is sent, by the owner of the flow, and no buffer is
/// left behind.
#[test]
fn fragments_of_all_queues_meet_at_the_owner() {
    for n_workers in [1, 2, 3] {
        for owner in 0..n_workers {
            let mut team = team_of(n_workers);
            let client = team.client(owner);
            for identification in 0..20 {
                let whole = datagram(client).data_bytes(4000);
                let mut parts = cut(&whole.bytes(), identification, 1400);
                parts.reverse();
                for (worker, part) in (0..n_workers).cycle().zip(&parts) {
                    assert!(team.try_arrive(worker, WAN, part));
                    team.settle();
                }
                let sent = team.frames(owner, LAN);
                assert_eq!(sent.len(), 3);
                let there = decode(&reassemble(&sent).unwrap());
                assert_eq!(there.data().len(), 4000);
            }
            assert_eq!(team.n_buffers_out(), 0);
            for worker in 0..n_workers {
                assert_eq!(team.all_dropped(worker), 0);
            }
        }
    }
}

/// A flood that never brings a first fragment takes as many buffers as there are places, for a second.
#[test]
fn what_is_held_is_bounded_in_number_and_time() {
    let mut team = team_of(1);
    let client = team.client(0);
    let n_flood = HELD + 100;
    for identification in 0..n_flood as u32 {
        let parts = cut(
            &datagram(client).data_bytes(2000).bytes(),
            identification,
            1400,
        );
        assert!(team.try_arrive(0, WAN, &parts[1]));
        team.turn(0);
        assert!(team.n_buffers_out() <= HELD);
    }
    assert_eq!(team.n_buffers_out(), HELD);
    assert_eq!(team.dropped(0, DropReason::FragmentStoreFull), 100);
    team.pass(Duration::from_secs(1));
    team.settle();
    assert_eq!(team.n_buffers_out(), 0);
    assert_eq!(
        team.dropped(0, DropReason::FragmentFirstMissing),
        HELD as u64
    );
    assert!(team.frames(0, LAN).is_empty());
}

/// Two workers, the second of which sends on LAN through the first; the way there takes 700 bytes.
fn narrow_team() -> Team {
    let site = one_server(2).mtu("10.0.0.11", 700);
    Team::new(Plan {
        queues: |_, plan| {
            if plan.id == LAN {
                weir_worker::PortPlan {
                    transmits_by: WorkerId(0),
                    ..plan
                }
            } else {
                plan
            }
        },
        ..Plan::new(site)
    })
}

#[test]
fn a_packet_that_is_too_large_leaves_in_fragments() {
    for worker in 0..2 {
        let mut team = narrow_team();
        let large = datagram(team.client(worker))
            .may_be_fragmented()
            .ip_bytes(1400);
        team.arrive(worker, WAN, &large);
        team.settle();
        let sent = sent(&team, 2);
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|frame| frame.len() <= 714));
        let there = decode(&reassemble(&sent).unwrap());
        assert_eq!(there.data().len(), 1400 - 28);
        assert_eq!(team.counters(worker).made, 2);
        assert_eq!(team.n_buffers_out(), 0);
    }
}

/// Buffers run out: the rest of the packet ends by name, once.
#[test]
fn without_buffers_it_is_dropped() {
    let mut team = narrow_team();
    team.nic(0).may_allocate = false;
    let large = datagram(team.client(0)).may_be_fragmented().ip_bytes(1400);
    team.arrive(0, WAN, &large);
    team.settle();
    assert!(sent(&team, 2).is_empty());
    assert_eq!(team.dropped(0, DropReason::NoBuffer), 1);
    assert_eq!((team.all_dropped(0), team.counters(0).made), (1, 0));
    assert_eq!(team.n_buffers_out(), 0);
}
