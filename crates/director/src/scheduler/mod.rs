//! Schedulers: which destination gets a new connection. Each is that of Linux IPVS of the same name.
//!
//! Promises: a destination of weight 0 is never picked. With one worker rr and wrr give IPVS's sequence; several
//! give it each for itself. The newest destination stands first in IPVS's list, so lists are walked backwards.
//! Does not know: packets and connections.

mod lc;
mod rr;
mod wlc;
mod wrr;

use std::fmt;

use crate::service::{Destination, Service};
use crate::totals::{DestinationTotals, Load, SchedulerCursor};

/// The rule by which a service's destinations are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
        })
    }
}

impl Scheduler {
    /// Picks a destination of `service`; `None` when none may be used. `totals` is indexed by `DestinationId`.
    pub(crate) fn pick<'a>(
        self,
        service: &'a Service,
        cursor: &mut SchedulerCursor,
        totals: &[DestinationTotals],
    ) -> Option<&'a Destination> {
        match self {
            Self::Rr => rr::pick(service, cursor),
            Self::Wrr => wrr::pick(service, cursor),
            Self::Lc => lc::pick(service, totals),
            Self::Wlc => wlc::pick(service, totals),
        }
    }
}

/// The destinations in the order of IPVS's list: the one added last comes first.
fn newest_first(service: &Service) -> impl Iterator<Item = &Destination> {
    service.destinations.iter().rev()
}

/// A destination's connections as lc and wlc weigh them: an active one counts as 256 inactive ones
/// (`ip_vs_dest_conn_overhead`).
fn overhead(destination: &Destination, totals: &[DestinationTotals]) -> u64 {
    let Load { active, inactive } = totals
        .get(destination.id.0 as usize)
        .map_or(Load::default(), DestinationTotals::load_everywhere);
    (u64::from(active) << 8) + u64::from(inactive)
}

#[cfg(test)]
mod tests;
