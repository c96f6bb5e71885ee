//! Weighted round robin: in rounds, each of which asks for a weight one step lower.
//!
//! Promises: the sequence of `ip_vs_wrr.c`, also as it goes on after destinations or weights have changed.
//! Does not know: loads.
//!
//! How it works: the first round takes only destinations of the largest weight, the next those within one step
//! (the weights' greatest common divisor) of it, and so on down to all of them; then anew.

use super::newest_first;
use crate::service::{Destination, Service};
use crate::totals::SchedulerCursor;

/// The step between rounds, and the weight that the first round asks for.
#[derive(Clone, Copy)]
struct Rounds {
    step: u32,
    first: u32,
}

impl Rounds {
    fn of<'a>(destinations: impl Iterator<Item = &'a Destination> + Clone) -> Self {
        let step = destinations
            .clone()
            .fold(0, |divisor, destination| gcd(divisor, destination.weight))
            .max(1);
        let largest = destinations
            .map(|destination| destination.weight)
            .max()
            .unwrap_or(0);
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

pub(super) fn pick<'a>(
    service: &'a Service,
    cursor: &mut SchedulerCursor,
) -> Option<&'a Destination> {
    let rounds = Rounds::of(service.destinations.iter());
    if rounds.first == 0 {
        return None;
    }
    adopt(service, rounds, cursor);
    // What is left of this round, and one whole round, which asks for no more than the largest weight.
    for _ in 0..=rounds.first.div_ceil(rounds.step) {
        let place = newest_first(service)
            .enumerate()
            .skip(cursor.position as usize)
            .find(|(_, destination)| destination.weight >= cursor.current_weight);
        if let Some((place, destination)) = place {
            cursor.position = place as u32 + 1;
            return Some(destination);
        }
        cursor.position = 0;
        cursor.current_weight = match cursor.current_weight.checked_sub(rounds.step) {
            None | Some(0) => rounds.first,
            Some(lower) => lower,
        };
    }
    None
}

/// Starts a new round where the service has changed since the cursor was used. A cursor never used stands where it
/// would after the destinations were added one by one.
fn adopt(service: &Service, rounds: Rounds, cursor: &mut SchedulerCursor) {
    let version = service.version.wrapping_add(1).max(1);
    if cursor.version == version {
        return;
    }
    cursor.current_weight = if cursor.version == 0 {
        (1..=service.destinations.len()).fold(0, |current_weight, n_added| {
            Rounds::of(service.destinations[..n_added].iter()).go_on(current_weight)
        })
    } else {
        rounds.go_on(cursor.current_weight)
    };
    cursor.position = 0;
    cursor.version = version;
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
