//! Sequences of Linux IPVS, as observed, and shares by weight.

use super::*;
use crate::{
    ClientAddress, DestinationId, L4PortRange, LocalPool, Method, NextHopId, ServiceId, ServiceKey,
};
use std::sync::Arc;
use weir_wire::Protocol;

fn service(scheduler: Scheduler, weights: &[u32]) -> Service {
    let pool = Arc::new(LocalPool::new([], L4PortRange::DEFAULT));
    let destination = |(place, weight): (usize, &u32)| Destination {
        id: DestinationId(place as u32),
        real: format!("10.1.0.{}:80", 11 + place).parse().unwrap(),
        weight: *weight,
        method: Method::FullNat {
            pool: Arc::clone(&pool),
            client_address: ClientAddress::Toa,
        },
        next_hop: NextHopId(0),
    };
    Service {
        id: ServiceId(0),
        key: ServiceKey {
            protocol: Protocol::Tcp,
            virtual_endpoint: "10.0.0.100:80".parse().unwrap(),
        },
        scheduler,
        destinations: weights.iter().enumerate().map(destination).collect(),
        version: 0,
    }
}

/// The numbers (from 1) of the destinations picked for `n` connections, none of which ends.
fn sequence(service: &Service, n: usize) -> String {
    let mut cursor = SchedulerCursor::default();
    let mut totals = vec![DestinationTotals::default(); service.destinations.len()];
    (0..n)
        .map(
            |_| match service.scheduler.pick(service, &mut cursor, &totals) {
                Some(destination) => {
                    totals[destination.id.0 as usize].load.active += 1;
                    char::from_digit(destination.id.0 + 1, 10).unwrap()
                }
                None => '-',
            },
        )
        .collect()
}

#[test]
fn rr_goes_round_newest_first_and_skips_what_drains() {
    assert_eq!(sequence(&service(Scheduler::Rr, &[1, 1, 1]), 7), "3213213");
    assert_eq!(sequence(&service(Scheduler::Rr, &[1, 0, 5]), 4), "3131");
    assert_eq!(sequence(&service(Scheduler::Rr, &[0, 0]), 2), "--");
    assert_eq!(sequence(&service(Scheduler::Rr, &[]), 1), "-");
}

#[test]
fn wrr_gives_the_sequence_of_ipvs() {
    assert_eq!(
        sequence(&service(Scheduler::Wrr, &[1, 2, 3]), 12),
        "321332321332"
    );
    assert_eq!(sequence(&service(Scheduler::Wrr, &[0, 0]), 1), "-");
}

#[test]
fn wrr_shares_exactly_by_weight() {
    for weights in [
        &[1, 2, 3][..],
        &[100, 50],
        &[7, 1, 1, 1],
        &[65_535, 1],
        &[4, 6, 0, 10],
    ] {
        let service = service(Scheduler::Wrr, weights);
        let rounds: u32 = weights.iter().sum();
        let picked = sequence(&service, rounds as usize * 2);
        for (place, weight) in weights.iter().enumerate() {
            let digit = char::from_digit(place as u32 + 1, 10).unwrap();
            let share = picked.chars().filter(|picked| *picked == digit).count();
            assert_eq!(share, *weight as usize * 2, "{weights:?} {digit}");
        }
    }
}

#[test]
fn wrr_goes_on_after_a_change() {
    let mut cursor = SchedulerCursor::default();
    let mut service = service(Scheduler::Wrr, &[1, 3]);
    service.scheduler.pick(&service, &mut cursor, &[]);
    service.destinations[1].weight = 0;
    service.version += 1;
    let picked = service
        .scheduler
        .pick(&service, &mut cursor, &[])
        .map(|destination| destination.id.0);
    assert_eq!(picked, Some(0), "the drained one is not picked");
}

#[test]
fn wlc_gives_the_sequence_of_ipvs() {
    assert_eq!(
        sequence(&service(Scheduler::Wlc, &[1, 2, 3]), 12),
        "321323321323"
    );
}

#[test]
fn lc_levels_and_prefers_the_newest() {
    assert_eq!(sequence(&service(Scheduler::Lc, &[1, 9, 1]), 6), "321321");
}

#[test]
fn loads_of_other_workers_count() {
    let service = service(Scheduler::Lc, &[1, 1]);
    let mut totals = vec![DestinationTotals::default(); 2];
    totals[1].load_elsewhere.active = 1;
    let picked = service
        .scheduler
        .pick(&service, &mut SchedulerCursor::default(), &totals);
    assert_eq!(picked.map(|destination| destination.id.0), Some(0));
}
