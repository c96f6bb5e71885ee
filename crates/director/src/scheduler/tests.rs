//! Sequences of Linux IPVS, as observed; choices against naive twins; shares by weight.

use super::fixture::{Bench, assert_shares};
use super::records::Random;
use super::*;
use crate::Thresholds;
use crate::totals::Load;

fn sequence(scheduler: Scheduler, weights: &[u32], n: usize) -> String {
    Bench::new(scheduler, weights).sequence(n)
}

#[test]
fn rr_goes_round_newest_first_and_skips_what_drains() {
    assert_eq!(sequence(Scheduler::Rr, &[1, 1, 1], 7), "3213213");
    assert_eq!(sequence(Scheduler::Rr, &[1, 0, 5], 4), "3131");
    assert_eq!(sequence(Scheduler::Rr, &[0, 0], 2), "--");
    assert_eq!(sequence(Scheduler::Rr, &[], 1), "-");
}

#[test]
fn rr_goes_on_behind_the_one_picked_last() {
    let mut bench = Bench::new(Scheduler::Rr, &[1, 1, 1]);
    assert_eq!(bench.sequence(1), "3");
    bench.change(Scheduler::Rr, &[(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(bench.sequence(4), "2143", "one was added at the front");
    bench.change(Scheduler::Rr, &[(0, 1), (1, 1), (3, 1)]);
    assert_eq!(bench.sequence(3), "214", "the one picked last has gone");
    bench.change(Scheduler::Rr, &[(0, 1)]);
    assert_eq!(bench.sequence(2), "11");
}

#[test]
fn wrr_gives_the_sequence_of_ipvs() {
    assert_eq!(sequence(Scheduler::Wrr, &[1, 2, 3], 12), "321332321332");
    assert_eq!(sequence(Scheduler::Wrr, &[0, 0], 1), "-");
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
        let rounds: u32 = weights.iter().sum();
        let shares = Bench::new(Scheduler::Wrr, weights).shares(2 * rounds);
        let due: Vec<u32> = weights.iter().map(|weight| 2 * weight).collect();
        assert_eq!(shares, due);
    }
}

#[test]
fn wrr_goes_on_after_a_change() {
    let mut bench = Bench::new(Scheduler::Wrr, &[1, 3]);
    bench.pick();
    bench.change(Scheduler::Wrr, &[(0, 1), (1, 0)]);
    assert_eq!(bench.pick(), Some(0), "the drained one is not picked");
}

/// In the middle of a round that asks for 2 the step becomes 2, whose rounds ask for 3 and for 1.
#[test]
fn wrr_goes_on_with_the_rounds_that_there_are() {
    let mut bench = Bench::new(Scheduler::Wrr, &[5, 1]);
    assert_eq!(bench.sequence(6), "211111");
    bench.change(Scheduler::Wrr, &[(0, 4), (1, 2)]);
    assert_eq!(bench.sequence(3), "121");
}

#[test]
fn wlc_gives_the_sequence_of_ipvs() {
    assert_eq!(sequence(Scheduler::Wlc, &[1, 2, 3], 12), "321323321323");
}

#[test]
fn lc_levels_and_prefers_the_newest() {
    assert_eq!(sequence(Scheduler::Lc, &[1, 9, 1], 6), "321321");
}

#[test]
fn loads_count() {
    for scheduler in [
        Scheduler::Lc,
        Scheduler::Wlc,
        Scheduler::Sed,
        Scheduler::Nq,
        Scheduler::Lblc,
        Scheduler::Lblcr,
    ] {
        let mut bench = Bench::new(scheduler, &[1, 1]);
        bench.loads[1].active = 1;
        assert_eq!(bench.pick(), Some(0), "{scheduler}");
    }
}

/// By hand: (active + 1) / weight, least first, of equal ones the newest.
#[test]
fn sed_reckons_the_new_connection_in() {
    assert_eq!(sequence(Scheduler::Sed, &[1, 2, 3], 6), "323321");
    assert_eq!(sequence(Scheduler::Sed, &[1, 10], 11), "22222222221");
}

#[test]
fn nq_lets_nobody_stand_idle() {
    assert_eq!(sequence(Scheduler::Nq, &[1, 10], 4), "2122");
    assert_eq!(sequence(Scheduler::Nq, &[1, 0, 10], 4), "3133");
    assert_eq!(sequence(Scheduler::Nq, &[0], 1), "-");
}

#[test]
fn fo_takes_the_heaviest_that_is_left() {
    assert_eq!(sequence(Scheduler::Fo, &[1, 3, 2], 3), "222");
    assert_eq!(sequence(Scheduler::Fo, &[1, 0, 2], 3), "333");
    assert_eq!(sequence(Scheduler::Fo, &[2, 2, 1], 2), "22", "the newer");
    assert_eq!(sequence(Scheduler::Fo, &[0, 0], 1), "-");
}

#[test]
fn ovf_overflows_to_the_next_heaviest() {
    assert_eq!(sequence(Scheduler::Ovf, &[1, 3, 0], 7), "222211-");
    let mut bench = Bench::new(Scheduler::Ovf, &[1, 3]);
    bench.loads[1].inactive = 9;
    assert_eq!(bench.pick(), Some(1), "inactive ones do not count");
}

const ALL: [Scheduler; 14] = [
    Scheduler::Rr,
    Scheduler::Wrr,
    Scheduler::Lc,
    Scheduler::Wlc,
    Scheduler::Sed,
    Scheduler::Nq,
    Scheduler::Sh(HashOptions {
        port: true,
        fallback: true,
    }),
    Scheduler::Dh,
    Scheduler::Mh(HashOptions {
        port: true,
        fallback: true,
    }),
    Scheduler::Fo,
    Scheduler::Ovf,
    Scheduler::Lblc,
    Scheduler::Lblcr,
    Scheduler::Twos,
];

#[test]
fn nobody_picks_what_drains_or_is_not_there() {
    for scheduler in ALL {
        assert_eq!(Bench::new(scheduler, &[]).pick(), None, "{scheduler}");
        assert_eq!(Bench::new(scheduler, &[0, 0]).pick(), None, "{scheduler}");
        let mut bench = Bench::new(scheduler, &[0, 7, 0]);
        for cport in 0..1000 {
            let picked = bench.pick_for(Endpoint::new([192, 0, 2, 1].into(), cport));
            let may_refuse = scheduler == Scheduler::Dh;
            assert!(
                picked == Some(1) || (picked.is_none() && may_refuse),
                "{scheduler} picked {picked:?}"
            );
        }
    }
}

/// Every choice by load against the definition, looked at from the other side: nobody is better, and nobody before it
/// is as good.
#[test]
fn choices_by_load_are_those_of_the_definition() {
    let mut random = Random(42);
    for _ in 0..20_000 {
        let n = 1 + random.up_to(7) as usize;
        let weights: Vec<u32> = (0..n).map(|_| random.up_to(4) as u32).collect();
        let loads: Vec<Load> = (0..n)
            .map(|_| Load {
                active: random.up_to(6) as u32,
                inactive: random.up_to(600) as u32,
            })
            .collect();
        let newest_first = || (0..n).rev().filter(|n| weights[*n] != 0);
        let best = |cost: &dyn Fn(usize) -> u64, is_weighted: bool| {
            let weight = |n: usize| {
                if is_weighted {
                    u64::from(weights[n])
                } else {
                    1
                }
            };
            newest_first().find(|n| {
                newest_first().all(|other| cost(*n) * weight(other) <= cost(other) * weight(*n))
            })
        };
        let overhead = |n: usize| 256 * u64::from(loads[n].active) + u64::from(loads[n].inactive);
        let delay = |n: usize| u64::from(loads[n].active) + 1;
        let idle = newest_first().find(|n| loads[*n].active == 0);
        let heaviest = |n: usize| 4 - u64::from(weights[n]);
        let full = |n: usize| heaviest(n) + 100 * u64::from(loads[n].active > weights[n]);
        for (scheduler, due) in [
            (Scheduler::Lc, best(&overhead, false)),
            (Scheduler::Wlc, best(&overhead, true)),
            (Scheduler::Sed, best(&delay, true)),
            (Scheduler::Nq, idle.or(best(&delay, true))),
            (Scheduler::Fo, best(&heaviest, false)),
            (
                Scheduler::Ovf,
                best(&full, false).filter(|n| full(*n) < 100),
            ),
        ] {
            let mut bench = Bench::new(scheduler, &weights);
            bench.loads.clone_from(&loads);
            assert_eq!(bench.pick(), due, "{scheduler} {weights:?} {loads:?}");
        }
    }
}

/// Overloads every destination of `numbers`, by a threshold that its load has reached.
fn overload(bench: &mut Bench, numbers: &[usize]) {
    let thresholds = |number| Thresholds {
        upper: if numbers.contains(&number) { 5 } else { 0 },
        lower: 1,
    };
    bench.thresholds = (0..bench.loads.len()).map(thresholds).collect();
    for number in numbers {
        bench.loads[*number].inactive += 5;
    }
}

#[test]
fn nobody_picks_what_is_overloaded() {
    for scheduler in ALL {
        let mut bench = Bench::new(scheduler, &[1, 7, 9]);
        overload(&mut bench, &[0, 2]);
        for cport in 0..1000 {
            let picked = bench.pick_for(Endpoint::new([192, 0, 2, 1].into(), cport));
            let may_refuse = scheduler == Scheduler::Dh;
            assert!(
                picked == Some(1) || (picked.is_none() && may_refuse),
                "{scheduler} picked {picked:?}"
            );
        }
        overload(&mut bench, &[0, 1, 2]);
        // A cached destination is not asked, as in IPVS.
        let is_cached = scheduler == Scheduler::Lblc;
        assert_eq!(bench.pick(), is_cached.then_some(1), "{scheduler}");
    }
}

/// For those that go by load, an overloaded destination is as good as one that drains.
#[test]
fn choices_by_load_leave_overloaded_ones_out() {
    let mut random = Random(44);
    for _ in 0..5_000 {
        let n = 1 + random.up_to(7) as usize;
        let weights: Vec<u32> = (0..n).map(|_| random.up_to(4) as u32).collect();
        let overloaded: Vec<usize> = (0..n).filter(|_| random.up_to(2) == 0).collect();
        let open = |number| !overloaded.contains(&number);
        let left: Vec<u32> = (0..n)
            .map(|number| if open(number) { weights[number] } else { 0 })
            .collect();
        for scheduler in [
            Scheduler::Rr,
            Scheduler::Lc,
            Scheduler::Wlc,
            Scheduler::Sed,
            Scheduler::Nq,
            Scheduler::Fo,
            Scheduler::Ovf,
        ] {
            let mut bench = Bench::new(scheduler, &weights);
            for load in &mut bench.loads {
                load.active = random.up_to(6) as u32;
            }
            overload(&mut bench, &overloaded);
            let mut twin = Bench::new(scheduler, &left);
            twin.loads.clone_from(&bench.loads);
            assert_eq!(
                bench.pick(),
                twin.pick(),
                "{scheduler} {weights:?} {left:?}"
            );
        }
    }
}

/// Who was theirs is refused, or passed on; nobody else moves.
#[test]
fn clients_of_overloaded_ones_are_refused_or_passed_on() {
    for scheduler in [Scheduler::Sh, Scheduler::Mh] {
        for fallback in [false, true] {
            let options = HashOptions {
                port: true,
                fallback,
            };
            let mut before = Bench::new(scheduler(options), &[1, 2, 3]);
            let mut after = Bench::new(scheduler(options), &[1, 2, 3]);
            overload(&mut after, &[1]);
            let mut n_theirs = 0;
            for cport in 0..500 {
                let client = Endpoint::new([192, 0, 2, 1].into(), cport);
                match (before.pick_for(client), after.pick_for(client)) {
                    (Some(1), now) => {
                        n_theirs += 1;
                        assert!(now.is_some() == fallback && now != Some(1), "{now:?}");
                    }
                    (was, now) => assert_eq!(was, now),
                }
            }
            assert_ne!(n_theirs, 0);
        }
    }
}

#[test]
fn lblcr_passes_over_an_overloaded_member_of_its_set() {
    let mut bench = Bench::new(Scheduler::Lblcr, &[9, 9]);
    assert_eq!(bench.sequence(2), "22");
    overload(&mut bench, &[1]);
    assert_eq!(bench.sequence(2), "11");
    bench.loads[1].inactive = 0;
    bench.loads[0].inactive = 600;
    bench.loads[1].active = 0;
    assert_eq!(bench.sequence(1), "2", "both are in the set now");
}

/// wrr against the plainest form of its rule: in rounds from the largest weight down by the divisor, everyone who has
/// at least what the round asks for.
#[test]
fn wrr_is_the_rounds_written_out() {
    let mut random = Random(43);
    for _ in 0..500 {
        let n = 1 + random.up_to(5) as usize;
        let factor = 1 + random.up_to(3) as u32;
        let weights: Vec<u32> = (0..n)
            .map(|_| factor * (1 + random.up_to(9) as u32))
            .collect();
        let divisor = (1..=40)
            .filter(|divisor| weights.iter().all(|weight| weight % divisor == 0))
            .max()
            .unwrap();
        let largest = weights.iter().copied().max().unwrap();
        let mut due = Vec::new();
        for asked in (1..=largest / divisor).rev() {
            let taken = (0..n).rev().filter(|n| weights[*n] >= asked * divisor);
            due.extend(taken);
        }
        let mut bench = Bench::new(Scheduler::Wrr, &weights);
        let picked: Vec<usize> = (0..due.len()).filter_map(|_| bench.pick()).collect();
        // Destinations are added one by one, which may leave the first round behind the largest weight.
        let is_due = (0..due.len()).any(|_| {
            due.rotate_left(1);
            due == picked
        });
        assert!(is_due, "{weights:?}: {picked:?}");
    }
}

/// wrr against IPVS's own walk, round by round with none passed over, while thresholds close and open destinations.
#[test]
fn wrr_passes_over_no_round_that_takes_anyone() {
    let mut random = Random(47);
    for _ in 0..300 {
        let n = 1 + random.up_to(4) as usize;
        let factor = 1 + random.up_to(3) as u32;
        let weights: Vec<u32> = (0..n).map(|_| factor * random.up_to(9) as u32).collect();
        let step = (1..=30)
            .filter(|step| weights.iter().all(|weight| weight % step == 0))
            .max()
            .unwrap();
        let first = (weights.iter().copied().max().unwrap() + 1).saturating_sub(step);
        let mut bench = Bench::new(Scheduler::Wrr, &weights);
        let limit = Thresholds { upper: 5, lower: 1 };
        bench.thresholds = vec![limit; n];
        let (mut at, mut asked) = (0, 1);
        for _ in 0..60 {
            let is_open: Vec<bool> = (0..n).map(|_| random.up_to(2) != 0).collect();
            for (load, is_open) in bench.loads.iter_mut().zip(&is_open) {
                load.inactive = if *is_open { 0 } else { 5 };
            }
            let due = walk(&weights, &is_open, first, step, &mut at, &mut asked);
            assert_eq!(bench.pick(), due, "{weights:?} {is_open:?}");
        }
    }
}

/// One pick of `ip_vs_wrr_schedule`: `at` is how many of the list, the newest first, are behind the last one picked.
fn walk(
    weights: &[u32],
    is_open: &[bool],
    first: u32,
    step: u32,
    at: &mut usize,
    asked: &mut u32,
) -> Option<usize> {
    let begun_at = *at;
    let (mut is_last_round, mut has_restarted) = (false, false);
    if first == 0 {
        return None;
    }
    loop {
        while *at < weights.len() {
            let number = weights.len() - 1 - *at;
            *at += 1;
            if is_open[number] && weights[number] >= *asked {
                return Some(number);
            }
            if is_last_round && has_restarted && begun_at != 0 && *at == begun_at {
                return None;
            }
        }
        *at = 0;
        *asked = asked.saturating_sub(step);
        if *asked == 0 {
            *asked = first;
            if is_last_round || begun_at == 0 {
                return None;
            }
            has_restarted = true;
        }
        is_last_round = *asked <= step;
    }
}

/// However large the weights, one pick is a matter of a few walks.
#[test]
fn wrr_with_the_heaviest_closed_takes_no_round_in_vain() {
    let mut bench = Bench::new(Scheduler::Wrr, &[65_535, 1]);
    overload(&mut bench, &[0]);
    for _ in 0..200_000 {
        assert_eq!(bench.pick(), Some(1));
    }
}

#[test]
fn shares_of_100_000_connections_are_those_of_the_weights() {
    let weights = [1, 2, 3, 10, 50, 34];
    for scheduler in [
        Scheduler::Wrr,
        Scheduler::Wlc,
        Scheduler::Sed,
        Scheduler::Twos,
        Scheduler::Mh(HashOptions::default()),
    ] {
        let shares = Bench::new(scheduler, &weights).shares(100_000);
        assert_eq!(shares.iter().sum::<u32>(), 100_000, "{scheduler}");
        assert_shares(&shares, &weights);
    }
}
