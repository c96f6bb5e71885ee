//! Shortest expected delay: weighted least connections that reckon the new one in.
//!
//! Promises: the choice of `ip_vs_sed.c`: active connections alone count, the one that comes among them.
//! Does not know: idle destinations (`nq`).

use super::list::List;

pub(super) fn pick(list: List<'_>) -> Option<usize> {
    list.least(list.places(), |row| list.active(row) + 1)
}
