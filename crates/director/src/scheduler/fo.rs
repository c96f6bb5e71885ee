//! Failover: all to the destination with the largest weight.
//!
//! Promises: the choice of `ip_vs_fo.c`; of several with the same weight the newest. Does not know: loads.

use super::list::{List, Row};

/// Places by weight, the largest first; of several with the same the newest first. None with weight 0.
#[derive(Clone, Debug)]
pub(super) struct HeaviestFirst(Box<[u32]>);

impl HeaviestFirst {
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut order: Vec<(u32, u32)> = (0..)
            .zip(rows)
            .filter(|(_, row)| row.weight != 0)
            .map(|(place, row)| (place, row.weight))
            .collect();
        order.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        Self(order.into_iter().map(|(place, _)| place).collect())
    }

    /// The places that may get a new connection, with their rows.
    pub(super) fn open<'a>(&'a self, list: List<'a>) -> impl Iterator<Item = (usize, &'a Row)> {
        self.0
            .iter()
            .filter_map(move |place| {
                let place = *place as usize;
                list.rows.get(place).map(|row| (place, row))
            })
            .filter(move |(_, row)| list.is_open(row))
    }
}

pub(super) fn pick(list: List<'_>, order: &HeaviestFirst) -> Option<usize> {
    order.open(list).next().map(|(place, _)| place)
}
