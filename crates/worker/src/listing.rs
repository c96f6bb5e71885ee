//! How connections are listed while packets flow: a worker copies a few entries a turn into a page.
//!
//! Promises: a worker never waits and never allocates, nor does whoever asks wait for a worker, wherever it was stopped;
//! a listing of millions disturbs no packet. What is listed was there at some moment while the page was filled.
//! Does not know: how rows are printed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use weir_director::{ConnectionView, Director, Tick};

/// Places of the table that a worker looks at in one turn.
const PLACES_A_TURN: u32 = 64;

/// A page of a worker's connections.
#[derive(Debug, Default)]
pub struct ConnectionPage {
    /// The rows; never more than its capacity was when it was asked for.
    pub rows: Vec<ConnectionView>,
    /// The place to go on from; `None` at the end of the table.
    pub next: Option<u32>,
}

/// Where a page is asked for and given, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Listing {
    is_wanted: AtomicBool,
    page: Mutex<ConnectionPage>,
}

impl Listing {
    /// Asks for up to `n_rows` (at least one turn's worth) from place `from` on (0 at first). `false`: the worker is just
    /// filling the page that was asked for last; it is to be asked again.
    #[must_use]
    pub fn ask(&self, from: u32, n_rows: usize) -> bool {
        let Some(mut page) = self.try_page() else {
            return false;
        };
        *page = ConnectionPage {
            rows: Vec::with_capacity(n_rows.max(PLACES_A_TURN as usize)),
            next: Some(from),
        };
        self.is_wanted.store(true, Ordering::Release);
        true
    }

    /// The page, once it is filled.
    pub fn take(&self) -> Option<ConnectionPage> {
        if self.is_wanted.load(Ordering::Acquire) {
            return None;
        }
        self.try_page().map(|mut page| std::mem::take(&mut *page))
    }

    fn try_page(&self) -> Option<MutexGuard<'_, ConnectionPage>> {
        match self.page.try_lock() {
            Ok(page) => Some(page),
            Err(TryLockError::Poisoned(page)) => Some(page.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The worker's part: goes on filling the page, if somebody wants it; whether somebody does.
    #[inline]
    pub(crate) fn fill(&self, director: &Director, now: Tick) -> bool {
        let is_wanted = self.is_wanted.load(Ordering::Relaxed);
        if is_wanted {
            self.fill_some(director, now);
        }
        is_wanted
    }

    #[cold]
    fn fill_some(&self, director: &Director, now: Tick) {
        let Ok(mut page) = self.page.try_lock() else {
            return;
        };
        if let Some(from) = page.next {
            let ConnectionPage { rows, next } = &mut *page;
            *next = director.list_connections(from, PLACES_A_TURN, now, |row| rows.push(row));
        }
        let is_full = page.rows.len() + PLACES_A_TURN as usize > page.rows.capacity();
        if is_full || page.next.is_none() {
            self.is_wanted.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use weir_director::{Seed, Sizes, Snapshot, WorkerId};
    use weir_memory::Pages;

    /// The thread that fills is not the one that holds the lock, so that waiting would be seen and not hang the test.
    #[test]
    fn a_worker_does_not_wait_for_whoever_holds_the_page() {
        let sizes = Sizes {
            connections: 16,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let snapshot = Arc::new(Snapshot::default());
        let director = Director::new(WorkerId(0), sizes, Seed([1; 4]), snapshot, Tick(0)).unwrap();
        let listing = Arc::new(Listing::default());
        assert!(listing.ask(0, 1));
        let held = listing.page.lock().unwrap();
        assert!(!listing.ask(0, 1), "nor does whoever asks wait");
        let (sender, receiver) = std::sync::mpsc::channel();
        let worker = std::thread::spawn({
            let listing = Arc::clone(&listing);
            move || {
                listing.fill(&director, Tick(0));
                let _ = sender.send(());
                director
            }
        });
        let went_on = receiver.recv_timeout(std::time::Duration::from_secs(10));
        drop(held);
        assert_eq!(went_on, Ok(()));
        assert!(listing.take().is_none(), "the page waits for a later turn");
        listing.fill(&worker.join().unwrap(), Tick(0));
        assert!(listing.take().is_some());
    }
}
