//! The measure: interleaved windows of the bare source, of source and 5tswap, and of source and worker.
//!
//! Promises: what is compared was measured within the same fraction of a millisecond; rounds in which the host ran at
//! its slow speed are left out, and how many were kept is said.
//! Does not know: what the worker is doing.
//!
//! How it works: the host changes between two speeds, 1.6 to 2 times apart, that nothing inside shows. A chain of
//! multiplications, which depends on nothing but the clock of the core, is timed before and after each round; a round
//! counts when both took little longer than the fastest ever seen.

use std::hint::black_box;
use std::time::{Duration, Instant};

use weir_director::BURST;
use weir_memory::cycles;
use weir_worker::Burst;

use crate::source::{Source, Stock};
use crate::swap::swap_ends;

/// Bursts in a window: 1,024 packets, 10 to 100 µs.
pub(crate) const BURSTS: usize = 32;
/// Packets in a window.
pub(crate) const PACKETS: usize = BURSTS * BURST;
/// Multiplications of the probe, each waiting for the one before.
const PROBE_STEPS: u64 = 4_000;
/// Cycles that a probe may take for each ten of the fastest.
const SLOW_TENTHS: u64 = 12;

/// Tells the host's fast speed from its slow one, and cycles from seconds.
pub(crate) struct Clock {
    /// Cycles of the time-stamp counter in a second.
    pub(crate) hz: f64,
    fastest_probe: u64,
}

impl Clock {
    /// Takes a fifth of a second to compare the counter with the system's clock.
    pub(crate) fn new() -> Self {
        let (began, first) = (Instant::now(), cycles());
        let mut fastest_probe = u64::MAX;
        while began.elapsed() < Duration::from_millis(200) {
            fastest_probe = fastest_probe.min(probe());
        }
        let (n_cycles, seconds) = (cycles() - first, began.elapsed().as_secs_f64());
        Self {
            hz: n_cycles as f64 / seconds,
            fastest_probe,
        }
    }

    /// Cycles in microseconds.
    pub(crate) fn us(&self, cycles: u64) -> f64 {
        cycles as f64 / self.hz * 1e6
    }

    /// Does something; whether the host ran at its fast speed before and after.
    pub(crate) fn at_fast_speed(&self, work: impl FnOnce()) -> bool {
        let before = probe();
        work();
        self.is_fast(before.max(probe()))
    }

    fn is_fast(&self, probe: u64) -> bool {
        probe * 10 <= self.fastest_probe * SLOW_TENTHS
    }
}

/// Cycles of a chain of multiplications.
fn probe() -> u64 {
    let before = cycles();
    let mut number = black_box(3u64);
    for _ in 0..PROBE_STEPS {
        number = black_box(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    black_box(number);
    cycles() - before
}

/// One round, in cycles of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) source: u64,
    pub(crate) swap: u64,
    pub(crate) worker: u64,
    /// The slower probe of those before and after.
    pub(crate) probe: u64,
}

/// Measures rounds; `turn` lets the worker have one burst.
pub(crate) fn rounds<S: Stock>(
    n_rounds: usize,
    bare: &mut Source<S>,
    mut turn: impl FnMut(),
) -> Vec<Round> {
    let mut rounds = Vec::with_capacity(n_rounds);
    for _ in 0..n_rounds {
        let before = probe();
        let source = source_window(bare);
        let swap = swap_window(bare);
        let worker = worker_window(&mut turn);
        rounds.push(Round {
            source,
            swap,
            worker,
            probe: before.max(probe()),
        });
    }
    rounds
}

fn source_window<S: Stock>(bare: &mut Source<S>) -> u64 {
    let before = cycles();
    for _ in 0..BURSTS {
        source_turn(bare);
    }
    cycles() - before
}

fn swap_window<S: Stock>(bare: &mut Source<S>) -> u64 {
    let before = cycles();
    for _ in 0..BURSTS {
        let mut burst = Burst::new();
        bare.take(&mut burst);
        swap_ends(&mut burst);
        bare.give(&mut burst);
    }
    cycles() - before
}

fn worker_window(turn: impl FnMut()) -> u64 {
    let before = cycles();
    turns(turn);
    cycles() - before
}

/// The turns of one window.
pub(crate) fn turns(mut turn: impl FnMut()) {
    for _ in 0..BURSTS {
        turn();
    }
}

/// One burst taken and given back.
#[inline]
pub(crate) fn source_turn<S: Stock>(bare: &mut Source<S>) {
    let mut burst = Burst::new();
    bare.take(&mut burst);
    black_box(&mut burst);
    bare.give(&mut burst);
}

/// What the rounds say, in cycles a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) source_p10: f64,
    pub(crate) worker_p10: f64,
    pub(crate) worker_median: f64,
    pub(crate) net_p10: f64,
    pub(crate) net_median: f64,
    /// Worker by 5tswap, of the p10s.
    pub(crate) ratio: f64,
    /// The median of each round's own ratio.
    pub(crate) paired_ratio: f64,
    pub(crate) n_kept: usize,
    pub(crate) n_rounds: usize,
}

impl Figures {
    /// Of the rounds at the fast speed; of all, with `n_kept` 0, when there was none.
    pub(crate) fn of(rounds: &[Round], clock: &Clock) -> Self {
        let fast: Vec<Round> = rounds
            .iter()
            .filter(|round| clock.is_fast(round.probe))
            .copied()
            .collect();
        let used = if fast.is_empty() { rounds } else { &fast };
        let at = |thousandths, cycles: fn(&Round) -> u64| {
            quantile(thousandths, used.iter().map(|round| cycles(round) as f64)) / PACKETS as f64
        };
        let source = |round: &Round| round.source;
        let swap = |round: &Round| round.swap;
        let worker = |round: &Round| round.worker;
        let ratios = used
            .iter()
            .map(|round| round.worker as f64 / round.swap as f64);
        Self {
            source_p10: at(100, source),
            worker_p10: at(100, worker),
            worker_median: at(500, worker),
            net_p10: at(100, worker) - at(100, source),
            net_median: at(500, worker) - at(500, source),
            ratio: at(100, worker) / at(100, swap),
            paired_ratio: quantile(500, ratios),
            n_kept: fast.len(),
            n_rounds: rounds.len(),
        }
    }
}

/// The value below which so many thousandths of the values lie.
pub(crate) fn quantile(thousandths: usize, values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let place = values.len() * thousandths / 1_000;
    values.get(place).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(worker: u64, probe: u64) -> Round {
        Round {
            source: 10 * PACKETS as u64,
            swap: 20 * PACKETS as u64,
            worker: worker * PACKETS as u64,
            probe,
        }
    }

    const CLOCK: Clock = Clock {
        hz: 1e9,
        fastest_probe: 100,
    };

    #[test]
    fn slow_rounds_are_left_out() {
        let rounds = [round(60, 100), round(60, 119), round(1, 180)];
        let figures = Figures::of(&rounds, &CLOCK);
        assert_eq!((figures.n_kept, figures.n_rounds), (2, 3));
        assert_eq!((figures.worker_p10, figures.net_p10), (60.0, 50.0));
        assert_eq!((figures.ratio, figures.paired_ratio), (3.0, 3.0));
    }

    #[test]
    fn with_slow_rounds_only_all_are_used_and_none_is_kept() {
        let figures = Figures::of(&[round(60, 200), round(80, 200)], &CLOCK);
        assert_eq!((figures.n_kept, figures.worker_p10), (0, 60.0));
    }

    #[test]
    fn quantiles_are_of_sorted_values() {
        let values = || (0..10).rev().map(f64::from);
        assert_eq!(quantile(100, values()), 1.0);
        assert_eq!(quantile(500, values()), 5.0);
    }
}
