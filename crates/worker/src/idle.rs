//! What a worker does while nothing comes in.
//!
//! Promises: under `Poll` it never gives its core away; under `Backoff` a packet waits for a fifth of a millisecond
//! at most, and an idle worker costs a few percent of a core.
//! Does not know: what counts as work.

use std::time::Duration;

/// How a worker idles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Polls always: lowest latency, a whole core.
    Poll,
    /// Pauses, then sleeps in microseconds.
    Backoff,
}

/// Turns without work before the first sleep.
const PAUSES: u32 = 512;
const SHORTEST: Duration = Duration::from_micros(10);
const LONGEST: Duration = Duration::from_micros(200);

/// Counts turns without work.
#[derive(Debug)]
pub(crate) struct Backoff {
    idle: Idle,
    n_idle_turns: u32,
}

impl Backoff {
    pub(crate) fn new(idle: Idle) -> Self {
        Self {
            idle,
            n_idle_turns: 0,
        }
    }

    /// Called after every turn.
    #[inline]
    pub(crate) fn after_turn(&mut self, was_busy: bool) {
        if was_busy {
            self.n_idle_turns = 0;
            return;
        }
        self.n_idle_turns = self.n_idle_turns.saturating_add(1);
        match self.sleep() {
            Some(duration) => std::thread::sleep(duration),
            None => std::hint::spin_loop(),
        }
    }

    fn sleep(&self) -> Option<Duration> {
        let n_sleeps = self.n_idle_turns.checked_sub(PAUSES)?;
        match self.idle {
            Idle::Poll => None,
            Idle::Backoff => Some((SHORTEST * (n_sleeps / 8 + 1).min(64)).min(LONGEST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_grow_up_to_the_longest_and_end_with_work() {
        let mut backoff = Backoff {
            idle: Idle::Backoff,
            n_idle_turns: PAUSES - 1,
        };
        assert_eq!(backoff.sleep(), None);
        backoff.n_idle_turns = PAUSES;
        assert_eq!(backoff.sleep(), Some(SHORTEST));
        backoff.n_idle_turns = u32::MAX;
        assert_eq!(backoff.sleep(), Some(LONGEST));
        backoff.after_turn(true);
        assert_eq!(backoff.sleep(), None);
    }

    #[test]
    fn polling_never_sleeps() {
        assert_eq!(
            Backoff {
                idle: Idle::Poll,
                n_idle_turns: u32::MAX
            }
            .sleep(),
            None
        );
    }
}
