//! What one thread writes shares no cache line with what another does.

use weir_worker::{Counters, Listing, Mailbox, Published};

const CACHE_LINE: usize = 64;

/// Workers' published counters lie in one array; each is written by another thread.
#[test]
fn published_counters_of_two_workers_share_no_line() {
    assert_eq!(align_of::<Published>() % CACHE_LINE, 0);
    assert_eq!(size_of::<Published>() % CACHE_LINE, 0);
}

/// A worker looks at its mailbox and its listing every turn; what is done to another's is none of its business.
#[test]
fn mailboxes_and_listings_of_two_workers_share_no_line() {
    assert_eq!(align_of::<Mailbox>() % CACHE_LINE, 0);
    assert_eq!(align_of::<Listing>() % CACHE_LINE, 0);
}

/// Counters are nothing but 64-bit integers: they are copied as such into the published ones.
#[test]
fn counters_are_integers_without_gaps() {
    let n_integers =
        5 + weir_director::DropReason::COUNT + weir_director::PuntReason::COUNT + 6 + 3;
    assert_eq!(size_of::<Counters>(), 8 * n_integers);
}
