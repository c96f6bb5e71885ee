//! Schedulers: which destination gets a new connection. Each is that of Linux IPVS (6.1) of the same name.
//!
//! Promises: a destination of weight 0 is never picked, nor is one above its thresholds, but where IPVS does it too (lblc). sh, dh and mh pick the same destination as IPVS for the same
//! service, whoever asks and whenever. With one worker the others give IPVS's sequence too; several give it each for
//! itself. A pick allocates nothing.
//! Does not know: packets and connections.
//!
//! How it works: what can be known beforehand (tables of hashes, weights' greatest common divisor, orders) is a
//! [`Schedule`], made on the control thread and shared by all workers. What must be remembered from one pick to the
//! next is a worker's own (`records.rs`). The newest destination stands first in IPVS's list; schedules hold the list
//! in that order, and a *place* is one in it.

mod buckets;
mod dh;
mod fo;
mod lblc;
mod lblcr;
mod lc;
mod list;
mod mh;
mod nq;
mod ovf;
mod records;
mod rr;
mod sed;
mod sh;
mod siphash;
mod twos;
mod wlc;
mod wrr;

use std::fmt;

use weir_wire::Endpoint;

use crate::Tick;
use crate::service::{Destination, Service};
use crate::threshold::OverloadsView;
use crate::totals::Load;

use buckets::Buckets;
use list::{List, Row};

pub(crate) use records::Records;

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
    /// Shortest expected delay.
    Sed,
    /// Never queue: who is idle, else the shortest expected delay.
    Nq,
    /// Source hashing.
    Sh(HashOptions),
    /// Destination hashing.
    Dh,
    /// Maglev hashing.
    Mh(HashOptions),
    /// Failover: the largest weight.
    Fo,
    /// Overflow: the largest weight that is not full.
    Ovf,
    /// Locality-based least connections.
    Lblc,
    /// Locality-based least connections with replication.
    Lblcr,
    /// The better of two picked at random.
    Twos,
}

/// What sh and mh may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashOptions {
    /// The cport counts as well (`sh-port`, `mh-port`).
    pub port: bool,
    /// A destination that gets no new connections is passed over for another (`sh-fallback`, `mh-fallback`).
    pub fallback: bool,
}

impl Scheduler {
    /// The most destinations that `Mh` takes, as in IPVS: its table has no more places.
    pub const MH_DESTINATIONS: usize = 4093;

    /// As users write it on the command line: `wlc`.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::Rr => "rr",
            Scheduler::Wrr => "wrr",
            Scheduler::Lc => "lc",
            Scheduler::Wlc => "wlc",
            Scheduler::Sed => "sed",
            Scheduler::Nq => "nq",
            Scheduler::Sh(_) => "sh",
            Scheduler::Dh => "dh",
            Scheduler::Mh(_) => "mh",
            Scheduler::Fo => "fo",
            Scheduler::Ovf => "ovf",
            Scheduler::Lblc => "lblc",
            Scheduler::Lblcr => "lblcr",
            Scheduler::Twos => "twos",
        }
    }

    /// The options that are set, by ipvsadm's names and in its order: `sh-fallback`, `sh-port`.
    pub fn flags(self) -> impl Iterator<Item = &'static str> {
        let (names, HashOptions { port, fallback }) = match self {
            Scheduler::Sh(options) => (["sh-fallback", "sh-port"], options),
            Scheduler::Mh(options) => (["mh-fallback", "mh-port"], options),
            Scheduler::Rr
            | Scheduler::Wrr
            | Scheduler::Lc
            | Scheduler::Wlc
            | Scheduler::Sed
            | Scheduler::Nq
            | Scheduler::Dh
            | Scheduler::Fo
            | Scheduler::Ovf
            | Scheduler::Lblc
            | Scheduler::Lblcr
            | Scheduler::Twos => ([""; 2], HashOptions::default()),
        };
        let set = names.into_iter().zip([fallback, port]);
        set.filter(|(_, is_set)| *is_set).map(|(name, _)| name)
    }
}

impl fmt::Display for Scheduler {
    /// As ipvsadm lists it: `wlc`, or `sh (sh-fallback,sh-port)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags: Vec<_> = self.flags().collect();
        match flags.is_empty() {
            true => f.write_str(self.name()),
            false => write!(f, "{} ({})", self.name(), flags.join(",")),
        }
    }
}

/// Who asks for a destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Applicant {
    /// CIP and cport.
    pub(crate) client: Endpoint,
    /// VIP and vport.
    pub(crate) virtual_endpoint: Endpoint,
    /// When.
    pub(crate) now: Tick,
}

/// A scheduler with all that it can know about a service's destinations beforehand.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The newest destination first.
    rows: Box<[Row]>,
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    Rr,
    Wrr(wrr::Rounds),
    Lc,
    Wlc,
    Sed,
    Nq,
    Sh(Buckets, HashOptions),
    Dh(Buckets),
    Mh(mh::Lookup, HashOptions),
    Fo(fo::HeaviestFirst),
    Ovf(fo::HeaviestFirst),
    Lblc,
    Lblcr,
    Twos(twos::Wheel),
}

impl Schedule {
    /// For destinations in the order in which they are written or were added.
    pub fn new(scheduler: Scheduler, destinations: &[Destination]) -> Self {
        let rows: Box<[Row]> = destinations.iter().rev().map(Row::of).collect();
        let rule = match scheduler {
            Scheduler::Rr => Rule::Rr,
            Scheduler::Wrr => Rule::Wrr(wrr::Rounds::new(&rows)),
            Scheduler::Lc => Rule::Lc,
            Scheduler::Wlc => Rule::Wlc,
            Scheduler::Sed => Rule::Sed,
            Scheduler::Nq => Rule::Nq,
            Scheduler::Sh(options) => Rule::Sh(sh::buckets(&rows), options),
            Scheduler::Dh => Rule::Dh(dh::buckets(&rows)),
            Scheduler::Mh(options) => Rule::Mh(mh::Lookup::new(destinations), options),
            Scheduler::Fo => Rule::Fo(fo::HeaviestFirst::new(&rows)),
            Scheduler::Ovf => Rule::Ovf(fo::HeaviestFirst::new(&rows)),
            Scheduler::Lblc => Rule::Lblc,
            Scheduler::Lblcr => Rule::Lblcr,
            Scheduler::Twos => Rule::Twos(twos::Wheel::new(&rows)),
        };
        Self { rows, rule }
    }
}

impl Service {
    /// Picks a destination for a new connection; `None` when none may be used. `loads` are those of all workers
    /// together, by `DestinationId`.
    ///
    /// Always inlined: left to itself the compiler stops when there is a second caller, and every opening pays.
    #[inline(always)]
    pub(crate) fn pick(
        &self,
        applicant: &Applicant,
        records: &mut Records,
        loads: &[Load],
        overloads: OverloadsView<'_>,
    ) -> Option<&Destination> {
        let list = List {
            rows: &self.schedule.rows,
            loads,
            overloads,
        };
        let now = applicant.now;
        let place = match &self.schedule.rule {
            Rule::Rr => rr::pick(list, records.cursor(self.id), self.version),
            Rule::Wrr(rounds) => wrr::pick(list, rounds, records.cursor(self.id), self.version),
            Rule::Lc => lc::pick(list),
            Rule::Wlc => wlc::pick(list),
            Rule::Sed => sed::pick(list),
            Rule::Nq => nq::pick(list),
            Rule::Sh(buckets, options) => sh::pick(list, buckets, *options, applicant.client),
            Rule::Dh(buckets) => dh::pick(list, buckets, applicant.virtual_endpoint),
            Rule::Mh(lookup, options) => mh::pick(list, lookup, *options, applicant.client),
            Rule::Fo(order) => fo::pick(list, order),
            Rule::Ovf(order) => ovf::pick(list, order),
            Rule::Lblc => lblc::pick(list, records.locality(self.id), now),
            Rule::Lblcr => lblcr::pick(list, records.locality(self.id), now),
            Rule::Twos(wheel) => twos::pick(list, wheel, &mut records.random),
        }?;
        self.destinations.iter().rev().nth(place)
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
