//! The better of two: two destinations drawn at random by weight, of which the one with less load for its weight is
//! taken.
//!
//! Promises: the rule of `ip_vs_twos.c`, with random numbers of the worker's own.
//! Does not know: where randomness comes from.

use super::list::{List, Row};
use super::records::Random;

/// Weights added up, so that drawing by weight is one search.
#[derive(Clone, Debug)]
pub(super) struct Wheel {
    /// By place: the weights up to this one, it included.
    up_to: Box<[u64]>,
}

impl Wheel {
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut sum = 0;
        let up_to = rows
            .iter()
            .map(|row| {
                sum += u64::from(row.weight);
                sum
            })
            .collect();
        Self { up_to }
    }

    /// Draws from 0 to the sum of the weights, both included, as IPVS does: so the first destination has a chance more
    /// than its weight.
    fn draw(&self, list: List<'_>, random: &mut Random) -> Option<usize> {
        let total = self.up_to.last().copied().filter(|total| *total != 0)?;
        let drawn = random.up_to(total).max(1);
        let place = self.up_to.partition_point(|up_to| *up_to < drawn);
        list.open(place).or_else(|| draw_from_open(list, random))
    }
}

/// Draws anew, among those that may get a new connection: that gives each the chance it has when the others are left out
/// from the beginning.
fn draw_from_open(list: List<'_>, random: &mut Random) -> Option<usize> {
    let open = || list.places().filter(|(_, row)| list.is_open(row));
    let total: u64 = open().map(|(_, row)| u64::from(row.weight)).sum();
    let mut left = random.up_to(total).max(1);
    open()
        .find(|(_, row)| {
            let is_it = left <= u64::from(row.weight);
            left = left.saturating_sub(u64::from(row.weight));
            is_it
        })
        .map(|(place, _)| place)
}

pub(super) fn pick(list: List<'_>, wheel: &Wheel, random: &mut Random) -> Option<usize> {
    let first = wheel.draw(list, random)?;
    let second = wheel.draw(list, random)?;
    let drawn = [first, second].map(|place| (place, &list.rows[place]));
    list.least(drawn.into_iter(), |row| list.overhead(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::Scheduler;
    use crate::scheduler::fixture::Bench;

    /// With two of the same weight, both drawn half the time each, the busy one is picked only when drawn twice.
    #[test]
    fn the_busy_one_is_picked_only_when_drawn_twice() {
        let mut bench = Bench::new(Scheduler::Twos, &[500, 500]);
        bench.loads[0].active = 1_000_000;
        let n_busy = (0..100_000).filter(|_| bench.pick() == Some(0)).count();
        assert!((24_000..26_000).contains(&n_busy), "{n_busy} of 100,000");
    }

    #[test]
    fn loads_stay_level_by_weight() {
        let mut bench = Bench::new(Scheduler::Twos, &[1, 2, 3, 0]);
        let shares = bench.shares(60_000);
        for (share, weight) in shares.iter().zip([10_000, 20_000, 30_000, 0]) {
            assert!(share.abs_diff(weight) < 100, "{shares:?}");
        }
    }

    #[test]
    fn both_ways_of_drawing_go_by_weight() {
        let bench = Bench::new(Scheduler::Twos, &[10, 0, 20, 70]);
        let list = List {
            rows: &bench.service.schedule.rows,
            loads: &bench.loads,
            overloads: bench.overloads.view(&[]),
        };
        let wheel = Wheel::new(list.rows);
        let mut random = Random(7);
        let mut drawn = [[0; 4]; 2];
        for _ in 0..100_000 {
            drawn[0][wheel.draw(list, &mut random).unwrap()] += 1;
            drawn[1][draw_from_open(list, &mut random).unwrap()] += 1;
        }
        for drawn in drawn {
            for (n, due) in drawn.into_iter().zip([70_000_i32, 20_000, 0, 10_000]) {
                // 0 to 100 are 101 chances, two of them the first one's.
                assert!((n - due).abs() <= due / 20, "{drawn:?}");
            }
        }
    }
}
