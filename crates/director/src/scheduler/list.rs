//! A service's destinations as its scheduler sees them: a compact list, and their loads beside it.
//!
//! Promises: whether a destination may get a new connection is decided here and nowhere else.
//! Does not know: which scheduler asks.

use crate::DestinationId;
use crate::service::Destination;
use crate::threshold::OverloadsView;
use crate::totals::Load;

/// What a scheduler needs to know of a destination, 8 bytes: lists are walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: DestinationId,
    pub(super) weight: u32,
}

impl Row {
    pub(super) fn of(destination: &Destination) -> Self {
        Self {
            id: destination.id,
            weight: destination.weight,
        }
    }
}

/// The list of one service.
#[derive(Clone, Copy)]
pub(super) struct List<'a> {
    /// The newest destination first, as in IPVS.
    pub(super) rows: &'a [Row],
    /// By `DestinationId`, of which every row's is one: the connections of all workers.
    pub(super) loads: &'a [Load],
    pub(super) overloads: OverloadsView<'a>,
}

impl<'a> List<'a> {
    /// Whether the destination may get a new connection.
    #[inline]
    pub(super) fn is_open(self, row: &Row) -> bool {
        row.weight != 0 && !self.overloads.is_overloaded(row.id, || self.load(row))
    }

    /// `place`, if the destination there may get a new connection.
    #[inline]
    pub(super) fn open(self, place: usize) -> Option<usize> {
        self.rows
            .get(place)
            .filter(|row| self.is_open(row))
            .map(|_| place)
    }

    /// The largest weight of those that may get a new connection; `None`: there are none.
    pub(super) fn heaviest(self) -> Option<u32> {
        let open = self.rows.iter().filter(|row| self.is_open(row));
        open.map(|row| row.weight).max()
    }

    /// All places with their rows.
    #[inline]
    pub(super) fn places(self) -> impl Iterator<Item = (usize, &'a Row)> + Clone {
        self.rows.iter().enumerate()
    }

    /// Its living connections.
    #[inline]
    fn load(self, row: &Row) -> Load {
        self.loads[row.id.0 as usize]
    }

    /// Its active connections.
    #[inline]
    pub(super) fn active(self, row: &Row) -> u64 {
        u64::from(self.load(row).active)
    }

    /// Its connections as lc and wlc weigh them: an active one counts as 256 inactive ones
    /// (`ip_vs_dest_conn_overhead`).
    #[inline]
    pub(super) fn overhead(self, row: &Row) -> u64 {
        let Load { active, inactive } = self.load(row);
        (u64::from(active) << 8) + u64::from(inactive)
    }

    /// Of `places`, the first with the least `cost` for its weight among those that may get a new connection.
    /// Fractions are compared multiplied out, so that nothing is divided: a cost has 41 bits at most, a weight 16.
    ///
    /// A search for the next better one, again and again: what is looked for stays the same while one search runs, and few
    /// find anything. One loop that keeps the best so far takes half as many instructions again.
    #[inline]
    pub(super) fn least<'b>(
        self,
        mut places: impl Iterator<Item = (usize, &'b Row)>,
        cost: impl Fn(&Row) -> u64,
    ) -> Option<usize> {
        let (mut least, first) = places.by_ref().find(|(_, row)| self.is_open(row))?;
        let (mut least_cost, mut least_weight) = (cost(first), u64::from(first.weight));
        while let Some((place, row)) = places.find(|(_, row)| {
            cost(row) * least_weight < least_cost * u64::from(row.weight) && self.is_open(row)
        }) {
            (least, least_cost, least_weight) = (place, cost(row), u64::from(row.weight));
        }
        Some(least)
    }
}
