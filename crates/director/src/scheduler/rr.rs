//! Round robin: one after the other.
//!
//! Promises: the sequence of `ip_vs_rr.c`. Does not know: loads.

use super::newest_first;
use crate::service::{Destination, Service};
use crate::totals::SchedulerCursor;

pub(super) fn pick<'a>(
    service: &'a Service,
    cursor: &mut SchedulerCursor,
) -> Option<&'a Destination> {
    let n = service.destinations.len();
    let start = cursor.position as usize;
    let (place, destination) = newest_first(service)
        .chain(newest_first(service))
        .enumerate()
        .skip(if start < n { start } else { 0 })
        .take(n)
        .find(|(_, destination)| !destination.is_draining())?;
    cursor.position = (place % n) as u32 + 1;
    Some(destination)
}
