//! Connection thresholds: a destination with too many connections gets no new ones until it has few enough again.
//!
//! Promises: the rule of `ip_vs_bind_dest` and `ip_vs_unbind_dest` (`ip_vs_conn.c`), judged whenever a destination's
//! connections become more or fewer, here or, as they are published, on other workers.
//! Does not know: who counts the connections, or which scheduler asks.

use weir_memory::{MapError, MappedSlice, Pages};

use crate::{DestinationId, Load};

/// A destination's thresholds, in connections, active and inactive together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// With so many it is overloaded; 0: it never is.
    pub upper: u32,
    /// With fewer it is so no more; 0: three quarters of `upper`.
    pub lower: u32,
}

impl Thresholds {
    /// Whether a destination that was overloaded at `overloaded_at` connections (0: it was not) still is. The mark of
    /// one that is gone, or whose threshold was raised since, means nothing any more.
    fn hold(self, overloaded_at: u32, n_connections: u64) -> bool {
        let is_still_above = match self.lower {
            0 => n_connections * 4 >= u64::from(self.upper) * 3,
            lower => n_connections >= u64::from(lower),
        };
        self.upper != 0 && overloaded_at >= self.upper && is_still_above
    }
}

/// Which destinations are overloaded, as one worker has it.
pub(crate) struct Overloads {
    /// By `DestinationId`: the upper threshold that was reached, 0 while none was. Sparse.
    marks: MappedSlice<u32>,
}

impl Overloads {
    pub(crate) fn new() -> Result<Self, MapError> {
        Ok(Self {
            marks: MappedSlice::new(DestinationId::LIMIT as usize, Pages::Sparse)?,
        })
    }

    /// A destination's connections have become more or fewer. `thresholds` are by number.
    #[inline]
    pub(crate) fn judge(&mut self, id: DestinationId, load: Load, thresholds: &[Thresholds]) {
        // The common case: no destination at all has thresholds.
        let Some(thresholds) = thresholds.get(id.0 as usize) else {
            return;
        };
        let (mark, n_connections) = (&mut self.marks[id.0 as usize], load.n_connections());
        if thresholds.upper != 0 && n_connections >= u64::from(thresholds.upper) {
            *mark = thresholds.upper;
        } else if !thresholds.hold(*mark, n_connections) {
            *mark = 0;
        }
    }

    /// What schedulers need of it.
    pub(crate) fn view<'a>(&'a self, thresholds: &'a [Thresholds]) -> OverloadsView<'a> {
        OverloadsView {
            marks: &self.marks,
            thresholds,
        }
    }
}

/// Overloads under the thresholds of a snapshot.
#[derive(Clone, Copy)]
pub(crate) struct OverloadsView<'a> {
    marks: &'a [u32],
    thresholds: &'a [Thresholds],
}

impl OverloadsView<'_> {
    /// Whether a destination with this load gets no new connection.
    #[inline]
    pub(crate) fn is_overloaded(self, id: DestinationId, load: impl FnOnce() -> Load) -> bool {
        // The common case: no destination at all has thresholds. Lists are walked.
        !self.thresholds.is_empty() && self.holds(id, load)
    }

    #[inline(never)]
    fn holds(self, id: DestinationId, load: impl FnOnce() -> Load) -> bool {
        let id = id.0 as usize;
        self.thresholds
            .get(id)
            .is_some_and(|thresholds| thresholds.hold(self.marks[id], load().n_connections()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is overloaded after each of these numbers of connections.
    fn walk(overloads: &mut Overloads, upper: u32, lower: u32, steps: &[(u32, bool)]) {
        let (id, thresholds) = (
            DestinationId(1),
            [Thresholds::default(), Thresholds { upper, lower }],
        );
        for (n, expected) in steps {
            // What is active counts as what is not.
            let load = Load {
                active: n / 2,
                inactive: n - n / 2,
            };
            overloads.judge(id, load, &thresholds);
            let is_overloaded = overloads.view(&thresholds).is_overloaded(id, || load);
            assert_eq!(is_overloaded, *expected, "{n} of {upper}, {lower}");
        }
    }

    #[test]
    fn it_is_overloaded_from_the_upper_threshold_to_below_the_lower_one() {
        let mut overloads = Overloads::new().unwrap();
        let steps = [
            (9, false),
            (10, true),
            (11, true),
            (4, true),
            (3, false),
            (9, false),
            (10, true),
        ];
        walk(&mut overloads, 10, 4, &steps);
    }

    #[test]
    fn without_a_lower_one_it_is_to_below_three_quarters() {
        let mut overloads = Overloads::new().unwrap();
        walk(
            &mut overloads,
            10,
            0,
            &[(10, true), (8, true), (7, false), (8, false)],
        );
        walk(&mut overloads, 1, 0, &[(1, true), (0, false)]);
    }

    #[test]
    fn a_raised_threshold_opens_it_and_a_lowered_one_does_not() {
        let mut overloads = Overloads::new().unwrap();
        walk(&mut overloads, 10, 0, &[(10, true)]);
        walk(&mut overloads, 12, 0, &[(10, false), (12, true)]);
        walk(&mut overloads, 11, 10, &[(10, true)]);
        walk(&mut overloads, 0, 0, &[(10, false)]);
    }

    /// Its number is given to another destination while the mark still stands.
    #[test]
    fn the_mark_of_one_that_is_gone_means_nothing() {
        let mut overloads = Overloads::new().unwrap();
        walk(&mut overloads, 10, 0, &[(10, true)]);
        let (id, thresholds) = (DestinationId(1), [Thresholds { upper: 5, lower: 0 }; 2]);
        assert!(!overloads.view(&thresholds).is_overloaded(id, Load::default));
    }
}
