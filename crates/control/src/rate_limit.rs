//! How often the slow path does what outsiders can make it do.
//!
//! Promises: no more than the burst at once, no more than the rate in the long run; each kind has a limit of its
//! own, so that a flood of one does not silence the others.
//! Does not know: what is limited.
//!
//! How it works: the bucket is kept as the moment at which it will be full again (the generic cell rate algorithm):
//! one instant, no counting up, no rounding.

use std::time::{Duration, Instant};

use crate::answer::Refusal;

/// Answers in a second, of each kind: enough for every honest client, and less than a port's worth of small frames
/// by three orders of magnitude.
const ANSWERS_PER_SECOND: u32 = 1000;
/// Answers at once, of each kind.
const ANSWERS_AT_ONCE: u32 = 100;
/// Answers to multicast routers in a second, and at once: a router asks about once in two minutes.
const QUERIES_PER_SECOND: u32 = 10;
/// Packets in a second that go back to the workers though nothing had to be found out: those that were punted by
/// one that had not adopted the latest next hops yet. Anything beyond goes in circles.
const REPEATS_PER_SECOND: u32 = 10_000;
/// Of them, at once.
const REPEATS_AT_ONCE: u32 = 1000;

/// Path MTUs learned in a second, and at once: each is published to all workers.
const PATH_MTUS_PER_SECOND: u32 = 100;

/// All that is limited.
#[derive(Debug)]
pub(crate) struct Rates {
    /// By [`Refusal::index`].
    pub(crate) refusals: [RateLimit; Refusal::COUNT],
    pub(crate) echo: RateLimit,
    pub(crate) queries: RateLimit,
    pub(crate) repeats: RateLimit,
    pub(crate) path_mtus: RateLimit,
}

impl Rates {
    pub(crate) fn new() -> Self {
        Self {
            refusals: [RateLimit::new(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE); Refusal::COUNT],
            echo: RateLimit::new(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE),
            queries: RateLimit::new(QUERIES_PER_SECOND, QUERIES_PER_SECOND),
            repeats: RateLimit::new(REPEATS_PER_SECOND, REPEATS_AT_ONCE),
            path_mtus: RateLimit::new(PATH_MTUS_PER_SECOND, PATH_MTUS_PER_SECOND),
        }
    }
}

/// A token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateLimit {
    /// Time in which one token comes back.
    interval: Duration,
    /// Time in which an empty bucket fills, but for one token.
    tolerance: Duration,
    /// When the bucket will be full; `None`, it is.
    full_at: Option<Instant>,
}

impl RateLimit {
    /// A full bucket. Both numbers are at least 1.
    fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            tolerance: interval * burst.saturating_sub(1),
            full_at: None,
        }
    }

    /// Whether it may be done now; if so, it counts as done.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.spend(now, || Some(())).is_some()
    }

    /// What `make` makes, if it may be made now. It counts as done when something was made; when it may not be done,
    /// nothing is spent on making it: a flood must not cost what is thrown away.
    pub(crate) fn spend<T>(&mut self, now: Instant, make: impl FnOnce() -> Option<T>) -> Option<T> {
        let full_at = self.full_at.map_or(now, |moment| moment.max(now));
        if full_at.duration_since(now) > self.tolerance {
            return None;
        }
        let made = make()?;
        self.full_at = Some(full_at + self.interval);
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1000, 100);
        let allowed = |limit: &mut RateLimit, at_ms: u64| {
            let now = start + Duration::from_millis(at_ms);
            (0..1000).filter(|_| limit.allows(now)).count()
        };
        assert_eq!(allowed(&mut limit, 0), 100);
        assert_eq!(allowed(&mut limit, 10), 10);
        assert_eq!(allowed(&mut limit, 10_000), 100, "it never saves up more");
    }

    #[test]
    fn what_may_not_be_done_is_not_made_and_what_is_not_made_costs_nothing() {
        let now = Instant::now();
        let mut limit = RateLimit::new(1000, 100);
        for _ in 0..1000 {
            assert_eq!(limit.spend(now, || None::<()>), None);
        }
        let mut n_made = 0;
        for _ in 0..1000 {
            limit.spend(now, || {
                n_made += 1;
                Some(())
            });
        }
        assert_eq!(n_made, 100);
    }
}
