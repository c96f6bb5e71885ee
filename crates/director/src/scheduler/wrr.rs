//! Weighted round robin: in rounds, each of which asks for a weight one step lower.
//!
//! Promises: the sequence of `ip_vs_wrr.c`, also as it goes on after destinations or weights have changed.
//! Does not know: loads.
//!
//! How it works: the first round takes only destinations of the largest weight, the next those within one step
//! (the weights' greatest common divisor) of it, and so on down to all of them; then anew.

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
    // What is left of this round, and one time all rounds, the last of which asks for 1.
    for _ in 0..=rounds.first.div_ceil(rounds.step) {
        let found = list
            .places()
            .skip(cursor.position as usize)
            .find(|(_, row)| row.weight >= cursor.current_weight && list.is_open(row));
        if let Some((place, _)) = found {
            cursor.position = place as u32 + 1;
            return Some(place);
        }
        cursor.position = 0;
        cursor.current_weight = match cursor.current_weight.checked_sub(rounds.step) {
            None | Some(0) => rounds.first,
            Some(lower) => lower,
        };
    }
    None
}

pub(super) fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
