//! Weighted least connections.
//!
//! Promises: the choice of `ip_vs_wlc.c`: the destination with the least load for its weight; of several the newest.
//! Does not know: how loads are published between workers.

use super::list::List;

pub(super) fn pick(list: List<'_>) -> Option<usize> {
    list.least(list.places(), |row| list.overhead(row))
}
