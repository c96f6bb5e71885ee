//! Weighted least connections.
//!
//! Promises: the choice of `ip_vs_wlc.c`: the destination with the least load for its weight; of several the newest.
//! Does not know: how loads are published between workers.

use std::cmp::Ordering;

use super::{newest_first, overhead};
use crate::service::{Destination, Service};
use crate::totals::DestinationTotals;

pub(super) fn pick<'a>(
    service: &'a Service,
    totals: &[DestinationTotals],
) -> Option<&'a Destination> {
    newest_first(service)
        .filter(|destination| !destination.is_draining())
        .min_by(|a, b| compare(a, b, totals))
}

/// Compares load over weight, multiplied out so that nothing is divided.
fn compare(a: &Destination, b: &Destination, totals: &[DestinationTotals]) -> Ordering {
    let (of_a, of_b) = (overhead(a, totals), overhead(b, totals));
    (of_a * u64::from(b.weight)).cmp(&(of_b * u64::from(a.weight)))
}
