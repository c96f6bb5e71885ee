//! Overflow: all to the destination with the largest weight until it has more active connections than that, then to
//! the next.
//!
//! Promises: the choice of `ip_vs_ovf.c`, which lets a destination of weight *n* have *n* + 1 active connections.
//! Does not know: inactive connections, so UDP never overflows.

use super::fo::HeaviestFirst;
use super::list::List;

pub(super) fn pick(list: List<'_>, order: &HeaviestFirst) -> Option<usize> {
    order
        .open(list)
        .find(|(_, row)| list.active(row) <= u64::from(row.weight))
        .map(|(place, _)| place)
}
