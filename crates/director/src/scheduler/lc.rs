//! Least connections.
//!
//! Promises: the choice of `ip_vs_lc.c`; of several with the same load the newest. Does not know: weights, but
//! that 0 drains.

use super::{newest_first, overhead};
use crate::service::{Destination, Service};
use crate::totals::DestinationTotals;

pub(super) fn pick<'a>(
    service: &'a Service,
    totals: &[DestinationTotals],
) -> Option<&'a Destination> {
    newest_first(service)
        .filter(|destination| !destination.is_draining())
        .min_by_key(|destination| overhead(destination, totals))
}
