//! Weighted round robin: in rounds, each of which asks for a weight one step lower.
//!
//! Promises: the sequence of `ip_vs_wrr.c`, also as it goes on after destinations or weights have changed.
//! Does not know: loads.
//!
//! How it works: the first round takes only destinations of the largest weight, the next those within one step
//! (the weights' greatest common divisor) of it, and so on down to all of them; then anew. Rounds in which nothing could
//! be picked are passed over, so that a pick walks the list three times at most.

use super::list::{List, Row};
use super::records::Cursor;

/// The rounds that a service's weights make.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    /// Between what one round asks for and the next.
    step: u32,
    /// What the first round asks for; 0: no destination has a weight.
    first: u32,
}

impl Rounds {
    pub(super) fn new(rows: &[Row]) -> Self {
        let weights = || rows.iter().map(|row| row.weight);
        let step = weights().fold(0, gcd).max(1);
        let largest = weights().max().unwrap_or(0);
        Self {
            step,
            first: (largest + 1).saturating_sub(step),
        }
    }

    /// The weight asked for after a change, when it was `current_weight` before.
    fn go_on(self, current_weight: u32) -> u32 {
        if current_weight > self.first || current_weight == 0 {
            self.first
        } else if self.step > 1 {
            current_weight / self.step * self.step + 1
        } else {
            current_weight
        }
    }

    /// What the next round asks for that takes a destination of `weight`, after one that asked for `current_weight`.
    ///
    /// IPVS walks the list in every round between, in vain; there may be 65,534 of them.
    fn next_for(self, weight: u32, current_weight: u32) -> u32 {
        let next = match current_weight.checked_sub(self.step) {
            None | Some(0) => self.first,
            Some(lower) => lower,
        };
        // All rounds ask for one more than a multiple of the step, the last for 1.
        let n_empty = next.saturating_sub(weight).div_ceil(self.step);
        next.saturating_sub(n_empty * self.step).max(1)
    }

    /// Where IPVS stands when it has found every destination closed: it stays in a last round that it had begun, and
    /// else begins anew.
    fn give_up(self, cursor: &mut Cursor) {
        if cursor.position == 0 || cursor.current_weight > self.step {
            cursor.position = 0;
            cursor.current_weight = self.first;
        }
    }
}

/// What a service's very first round asks for. In IPVS destinations are added one by one: the first makes a single round,
/// which asks for 1, and [`Rounds::go_on`] leaves 1 as it is however many follow.
const WHEN_NEW: u32 = 1;

pub(super) fn pick(
    list: List<'_>,
    rounds: &Rounds,
    cursor: &mut Cursor,
    version: u32,
) -> Option<usize> {
    if rounds.first == 0 {
        return None;
    }
    if cursor.version == 0 {
        cursor.current_weight = WHEN_NEW;
    }
    if cursor.adopt(version) {
        cursor.current_weight = rounds.go_on(cursor.current_weight);
        cursor.position = 0;
    }
    let left = list.places().skip(cursor.position as usize);
    let found = find(list, left, cursor.current_weight).or_else(|| {
        let Some(weight) = list.heaviest() else {
            rounds.give_up(cursor);
            return None;
        };
        cursor.current_weight = rounds.next_for(weight, cursor.current_weight);
        find(list, list.places(), cursor.current_weight)
    });
    if let Some(place) = found {
        cursor.position = place as u32 + 1;
    }
    found
}

/// The first of `places` that a round takes which asks for `weight`.
fn find<'a>(
    list: List<'_>,
    mut places: impl Iterator<Item = (usize, &'a Row)>,
    weight: u32,
) -> Option<usize> {
    let found = places.find(|(_, row)| row.weight >= weight && list.is_open(row));
    found.map(|(place, _)| place)
}

pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
