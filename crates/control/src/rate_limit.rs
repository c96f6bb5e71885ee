//! How often something may be done.
//!
//! Promises: no more than the burst at once, no more than the rate in the long run.
//! Does not know: what is limited.
//!
//! How it works: the bucket is kept as the moment at which it will be full again (the generic cell rate algorithm):
//! one instant, no counting up, no rounding.

use std::time::{Duration, Instant};

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
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            tolerance: interval * burst.saturating_sub(1),
            full_at: None,
        }
    }

    /// Whether it may be done now; if so, it counts as done.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |moment| moment.max(now));
        if full_at.duration_since(now) > self.tolerance {
            return false;
        }
        self.full_at = Some(full_at + self.interval);
        true
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
}
