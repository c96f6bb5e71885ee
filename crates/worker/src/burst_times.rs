//! How long bursts take, from receive to transmit.
//!
//! Promises: two looks at the clock and one increment for a turn that received something, nothing for one that did
//! not; no allocation after the start.
//! Does not know: which clock it is; its unit is called a cycle here, for that is what the appliance counts.
//!
//! How it works: where a turn receives from several ports, all their bursts leave together at its end. They are counted
//! with the time of the first, which waited longest: so the number of looks does not grow with that of the ports.

use bytemuck::{Pod, Zeroable};
use hdrhistogram::Histogram;

/// The longest time that is told apart, in cycles: more than a second on any processor of today.
const LONGEST: u64 = 1 << 32;
/// Times are kept to two digits, one percent. Three would take ten times the memory, and lines of cache.
const DIGITS: u8 = 2;

/// The times of bursts.
#[derive(Clone, Debug)]
pub struct BurstTimes {
    times: Histogram<u32>,
    /// When the first burst of this turn was received.
    began: u64,
    /// Bursts received in this turn.
    n_waiting: u64,
}

/// What is told of some bursts, in cycles; all zero where there were none.
#[derive(Clone, Copy, Debug, Pod, Zeroable, PartialEq, Eq)]
#[repr(C)]
pub struct BurstSummary {
    /// Half of them took no longer.
    pub p50: u64,
    /// 999 of 1,000 took no longer.
    pub p999: u64,
    /// The longest.
    pub longest: u64,
}

impl BurstSummary {
    /// Of no burst.
    pub const NONE: Self = Self {
        p50: 0,
        p999: 0,
        longest: 0,
    };
}

impl Default for BurstTimes {
    fn default() -> Self {
        let times = match Histogram::new_with_bounds(1, LONGEST, DIGITS) {
            Ok(times) => times,
            Err(error) => unreachable!("the bounds are constants, and in order: {error}"),
        };
        Self {
            times,
            began: 0,
            n_waiting: 0,
        }
    }
}

impl BurstTimes {
    /// A burst was received now.
    #[inline]
    pub(crate) fn received(&mut self, cycles: impl Fn() -> u64) {
        if self.n_waiting == 0 {
            self.began = cycles();
        }
        self.n_waiting += 1;
    }

    /// What was received before has been offered to the transmit queues.
    #[inline]
    pub(crate) fn transmitted(&mut self, cycles: impl Fn() -> u64) {
        if self.n_waiting != 0 {
            let time = cycles().saturating_sub(self.began);
            self.times.saturating_record_n(time, self.n_waiting as u32);
            self.n_waiting = 0;
        }
    }

    /// Takes over the times that `other` has noted, which forgets them.
    pub fn absorb(&mut self, other: &mut Self) {
        // Both have the same bounds.
        let _ = self.times.add(&other.times);
        other.forget();
    }

    /// Forgets all times.
    pub fn forget(&mut self) {
        self.times.reset();
    }

    /// What there is to tell.
    pub fn summary(&self) -> BurstSummary {
        if self.times.is_empty() {
            return BurstSummary::NONE;
        }
        BurstSummary {
            p50: self.times.value_at_quantile(0.5),
            p999: self.times.value_at_quantile(0.999),
            longest: self.times.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(times: &mut BurstTimes, time: u64) {
        times.received(|| 1_000);
        times.transmitted(|| 1_000 + time);
    }

    #[test]
    fn one_in_a_thousand_takes_longer_than_is_told() {
        let mut times = BurstTimes::default();
        (0..9_985).for_each(|_| note(&mut times, 6_000));
        (0..15).for_each(|_| note(&mut times, 90_000));
        let BurstSummary { p50, p999, longest } = times.summary();
        assert!(p50.abs_diff(6_000) < 60, "{p50}");
        assert!(p999.abs_diff(90_000) < 900, "{p999}");
        assert!(longest.abs_diff(90_000) < 900, "{longest}");
        (0..9_000).for_each(|_| note(&mut times, 6_000));
        assert!(times.summary().p999.abs_diff(6_000) < 60);
    }

    #[test]
    fn bursts_that_leave_together_have_the_time_of_the_first() {
        let mut times = BurstTimes::default();
        times.received(|| 100);
        times.received(|| 190);
        times.transmitted(|| 200);
        assert_eq!((times.times.len(), times.summary().longest), (2, 100));
    }

    #[test]
    fn a_clock_that_goes_back_and_a_time_beyond_all_bounds_do_no_harm() {
        let mut times = BurstTimes::default();
        times.received(|| 100);
        times.transmitted(|| 50);
        times.received(|| 0);
        times.transmitted(|| u64::MAX);
        assert_eq!(times.times.len(), 2);
        assert!(times.summary().longest >= LONGEST);
    }

    #[test]
    fn times_go_from_one_to_the_other() {
        let (mut one, mut all) = (BurstTimes::default(), BurstTimes::default());
        note(&mut one, 50);
        all.absorb(&mut one);
        note(&mut one, 70);
        all.absorb(&mut one);
        assert_eq!(one.summary(), BurstSummary::NONE);
        assert_eq!(all.summary().longest, 70);
        assert_eq!(all.times.len(), 2);
    }
}
