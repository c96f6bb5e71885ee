//! Least connections.
//!
//! Promises: the choice of `ip_vs_lc.c`; of several with the same load the newest. Does not know: weights, but
//! that 0 drains.

use super::list::List;

pub(super) fn pick(list: List<'_>) -> Option<usize> {
    list.places()
        .filter(|(_, row)| list.is_open(row))
        .min_by_key(|(_, row)| list.overhead(row))
        .map(|(place, _)| place)
}
