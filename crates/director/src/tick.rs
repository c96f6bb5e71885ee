//! Time as the data plane counts it.
//!
//! Promises: comparing two ticks is right as long as they are less than 24 days apart.
//! Does not know: the wall clock, nor who reads the clock.

use std::time::Duration;

/// Milliseconds since some start, wrapping every 49 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tick(pub u32);

impl Tick {
    /// Ticks in a second.
    pub const PER_SECOND: u32 = 1000;

    /// A span in ticks, at most half the wrap.
    pub fn span(duration: Duration) -> u32 {
        u32::try_from(duration.as_millis())
            .unwrap_or(u32::MAX)
            .min(u32::MAX / 2)
    }

    /// The tick `ticks` later.
    #[inline]
    pub fn after(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }

    /// Ticks from `earlier` to this one; 0 when `earlier` is the later one.
    #[inline]
    pub fn since(self, earlier: Self) -> u32 {
        let ticks = self.0.wrapping_sub(earlier.0);
        if ticks > u32::MAX / 2 { 0 } else { ticks }
    }

    /// Whether this moment has come, or is past, at `now`.
    #[inline]
    pub fn is_due(self, now: Self) -> bool {
        now.0.wrapping_sub(self.0) <= u32::MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparing_survives_the_wrap() {
        let before = Tick(u32::MAX - 5);
        let after = before.after(10);
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), 0);
        assert!(before.is_due(after) && !after.is_due(before) && after.is_due(after));
    }
}
