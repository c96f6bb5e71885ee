//! Never queue: a destination without active connections, else the shortest expected delay.
//!
//! Promises: the choice of `ip_vs_nq.c`; of several idle ones the newest, whatever their weights.
//! Does not know: inactive connections.

use super::list::List;
use super::sed;

pub(super) fn pick(list: List<'_>) -> Option<usize> {
    list.places()
        .find(|(_, row)| list.active(row) == 0 && list.is_open(row))
        .map(|(place, _)| place)
        .or_else(|| sed::pick(list))
}
