//! Round robin: one after the other.
//!
//! Promises: the sequence of `ip_vs_rr.c`, also as it goes on after destinations have come and gone.
//! Does not know: loads.

use super::list::List;
use super::records::Cursor;

pub(super) fn pick(list: List<'_>, cursor: &mut Cursor, version: u32) -> Option<usize> {
    if cursor.adopt(version) {
        go_on(list, cursor);
    }
    let n = list.rows.len();
    let start = cursor.position as usize;
    let (place, row) = list
        .places()
        .skip(start)
        .chain(list.places().take(start.min(n)))
        .find(|(_, row)| list.is_open(row))?;
    cursor.position = place as u32 + 1;
    cursor.last = row.id.0 + 1;
    Some(place)
}

/// After a change: behind the destination picked last, wherever it stands now. Where it is gone, its successor has come
/// to its place.
fn go_on(list: List<'_>, cursor: &mut Cursor) {
    let last = list.rows.iter().position(|row| row.id.0 + 1 == cursor.last);
    cursor.position = match last {
        Some(place) => place as u32 + 1,
        None => cursor.position.saturating_sub(1),
    };
}
