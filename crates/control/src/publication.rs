//! When the table of next hops is to be published anew.
//!
//! Promises: a change that living connections or the configuration need is due at once. One that only opens the way
//! for a new client is due at once after a quiet time, and else up to [`PAUSE`] later, together with all others of
//! that time: the table is made and published whole, and outsiders can make it change as often as they like.
//! Does not know: what has changed.

use std::time::{Duration, Instant};

/// Time between two publications for the sake of changes that can wait.
const PAUSE: Duration = Duration::from_millis(10);

/// Whether a change can wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    AtOnce,
    CanWait,
}

/// How the published table differs from what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not at all.
    Current,
    /// It does, and will be due then.
    Waits { until: Instant },
    /// It does.
    Due,
}

/// The published table's state.
#[derive(Debug)]
pub(crate) struct Publication {
    state: State,
    /// Until then a change that can wait does so: [`PAUSE`] after the table was due last; `None`, it never was.
    not_before: Option<Instant>,
}

impl Publication {
    /// Nothing has changed yet.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Current,
            not_before: None,
        }
    }

    /// Something has changed.
    pub(crate) fn change(&mut self, urgency: Urgency, now: Instant) {
        let pause_end = self.not_before.filter(|moment| *moment > now);
        match (self.state, urgency, pause_end) {
            (State::Due, _, _) => {}
            (State::Current | State::Waits { .. }, Urgency::CanWait, Some(until)) => {
                self.state = State::Waits { until };
            }
            (State::Current | State::Waits { .. }, _, _) => self.fall_due(now),
        }
    }

    /// Notices that a change has waited long enough.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.next_deadline().is_some_and(|until| until <= now) {
            self.fall_due(now);
        }
    }

    /// When [`Self::tick`] will have something to notice.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Waits { until } => Some(until),
            State::Current | State::Due => None,
        }
    }

    /// Whether the table is to be published now.
    pub(crate) fn is_due(&self) -> bool {
        self.state == State::Due
    }

    /// Whether the published table says what is known.
    pub(crate) fn is_current(&self) -> bool {
        self.state == State::Current
    }

    /// The table has been published as it is.
    pub(crate) fn mark_published(&mut self) {
        self.state = State::Current;
    }

    fn fall_due(&mut self, now: Instant) {
        self.state = State::Due;
        self.not_before = Some(now + PAUSE);
    }
}
