//! How snapshots reach the workers, RCU-style.
//!
//! Promises: a worker never waits, nor does the publisher wait for a worker, wherever it was stopped. A worker adopts at
//! the quiescent point between two bursts and may skip generations. A snapshot is freed on the control thread, after every
//! worker has passed it.
//! Does not know: what is in a snapshot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, TryLockError};

use weir_director::{Director, Generation, Snapshot};

/// One worker's mailbox, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Mailbox {
    /// The generation that lies in the slot, or was last taken out of it.
    published: AtomicU64,
    /// The generation that the worker runs.
    adopted: AtomicU64,
    slot: Mutex<Option<Arc<Snapshot>>>,
}

impl Mailbox {
    /// The generation that the worker runs.
    pub fn adopted(&self) -> Generation {
        Generation(self.adopted.load(Ordering::Acquire))
    }

    /// Lets `director` run what lies in the mailbox, if anything new does and the publisher is not just putting it
    /// there.
    #[inline]
    pub(crate) fn adopt(&self, director: &mut Director) {
        let published = self.published.load(Ordering::Acquire);
        if published == director.snapshot().generation.0 {
            return;
        }
        let Ok(mut slot) = self.slot.try_lock() else {
            return;
        };
        let Some(snapshot) = slot.take() else { return };
        drop(slot);
        let generation = snapshot.generation;
        // The publisher keeps the old one until `adopted` says that this reference is gone.
        drop(director.adopt(snapshot));
        self.adopted.store(generation.0, Ordering::Release);
    }
}

/// Publishes snapshots to all workers and frees them when all have passed.
#[derive(Debug)]
pub struct Publisher {
    mailboxes: Vec<Arc<Mailbox>>,
    /// Oldest first; the last is the current one.
    kept: VecDeque<Arc<Snapshot>>,
}

impl Publisher {
    /// For workers that start with `first`.
    pub fn new(mailboxes: Vec<Arc<Mailbox>>, first: Arc<Snapshot>) -> Self {
        for mailbox in &mailboxes {
            mailbox
                .published
                .store(first.generation.0, Ordering::Release);
            mailbox.adopted.store(first.generation.0, Ordering::Release);
        }
        Self {
            mailboxes,
            kept: VecDeque::from([first]),
        }
    }

    /// The snapshot published last.
    pub fn current(&self) -> Option<&Arc<Snapshot>> {
        self.kept.back()
    }

    /// Puts a snapshot, whose generation is larger than any before, into every mailbox; into one that its worker is just
    /// looking into, with the next [`Self::reap`].
    pub fn publish(&mut self, snapshot: Arc<Snapshot>) {
        self.kept.push_back(snapshot);
        self.reap();
    }

    fn deliver(&mut self) {
        let Some(current) = self.kept.back() else {
            return;
        };
        for mailbox in &self.mailboxes {
            if mailbox.published.load(Ordering::Relaxed) == current.generation.0 {
                continue;
            }
            let mut slot = match mailbox.slot.try_lock() {
                Ok(slot) => slot,
                Err(TryLockError::Poisoned(slot)) => slot.into_inner(),
                Err(TryLockError::WouldBlock) => continue,
            };
            *slot = Some(Arc::clone(current));
            mailbox
                .published
                .store(current.generation.0, Ordering::Release);
        }
    }

    /// Whether every worker runs the snapshot published last.
    pub fn is_adopted(&self) -> bool {
        let current = self.kept.back().map(|snapshot| snapshot.generation);
        self.mailboxes
            .iter()
            .all(|mailbox| Some(mailbox.adopted()) >= current)
    }

    /// Delivers what is still to be delivered, and frees the snapshots that no worker runs or will run: those that all
    /// have passed, and those that were replaced in every mailbox before anybody took them. Returns how many are kept.
    pub fn reap(&mut self) -> usize {
        self.deliver();
        let passed = self.mailboxes.iter().map(|mailbox| mailbox.adopted()).min();
        let current = self.kept.back().map(|snapshot| snapshot.generation);
        self.kept.retain(|kept| {
            let is_passed = Some(kept.generation) < passed;
            // Held by nobody else, it cannot be taken any more: it is in no mailbox.
            let is_skipped = Arc::strong_count(kept) == 1;
            Some(kept.generation) == current || !(is_passed || is_skipped)
        });
        self.kept.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_director::{Seed, Sizes, Tick, WorkerId};
    use weir_memory::Pages;

    fn snapshot(generation: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            generation: Generation(generation),
            ..Snapshot::default()
        })
    }

    #[test]
    fn a_snapshot_is_freed_when_all_workers_have_passed_it() {
        let first = snapshot(1);
        let watched = Arc::downgrade(&first);
        let mailboxes: Vec<_> = (0..2).map(|_| Arc::new(Mailbox::default())).collect();
        let sizes = Sizes {
            connections: 16,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let mut directors: Vec<_> = (0..2)
            .map(|worker| {
                Director::new(
                    WorkerId(worker),
                    sizes,
                    Seed([1; 4]),
                    Arc::clone(&first),
                    Tick(0),
                )
                .unwrap()
            })
            .collect();
        let mut publisher = Publisher::new(mailboxes.clone(), first);
        publisher.publish(snapshot(2));
        publisher.publish(snapshot(3));
        mailboxes[0].adopt(&mut directors[0]);
        assert_eq!(
            mailboxes[0].adopted(),
            Generation(3),
            "generations may be skipped"
        );
        assert!(!publisher.is_adopted());
        assert_eq!(
            publisher.reap(),
            2,
            "the second worker runs the first, nobody ever runs the second"
        );
        mailboxes[1].adopt(&mut directors[1]);
        assert!(watched.upgrade().is_some(), "no worker frees a snapshot");
        assert_eq!(publisher.reap(), 1);
        assert!(watched.upgrade().is_none());
        assert!(publisher.is_adopted());
    }

    /// A worker that is stopped with its hand in its mailbox stops nobody else, and gets the newest when it goes on.
    #[test]
    fn a_publisher_does_not_wait_for_a_worker_that_holds_its_mailbox() {
        let first = snapshot(1);
        let mailboxes: Vec<_> = (0..2).map(|_| Arc::new(Mailbox::default())).collect();
        let mut publisher = Publisher::new(mailboxes.clone(), first);
        let (sender, receiver) = std::sync::mpsc::channel();
        let held = mailboxes[0].slot.lock().unwrap();
        let control = std::thread::spawn(move || {
            publisher.publish(snapshot(2));
            publisher.publish(snapshot(3));
            let _ = sender.send(());
            publisher
        });
        let went_on = receiver.recv_timeout(std::time::Duration::from_secs(10));
        drop(held);
        assert_eq!(went_on, Ok(()));
        let lies_in = |mailbox: &Mailbox| {
            let slot = mailbox.slot.lock().unwrap();
            slot.as_ref().map(|snapshot| snapshot.generation)
        };
        assert_eq!(lies_in(&mailboxes[0]), None);
        assert_eq!(lies_in(&mailboxes[1]), Some(Generation(3)));
        control.join().unwrap().reap();
        assert_eq!(lies_in(&mailboxes[0]), Some(Generation(3)));
    }

    /// The thread that adopts is not the one that holds the lock, so that waiting would be seen and not hang the test.
    #[test]
    fn a_worker_does_not_wait_for_a_publisher_that_holds_the_mailbox() {
        let first = snapshot(1);
        let mailbox = Arc::new(Mailbox::default());
        let sizes = Sizes {
            connections: 16,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let seed = Seed([1; 4]);
        let mut director =
            Director::new(WorkerId(0), sizes, seed, Arc::clone(&first), Tick(0)).unwrap();
        let mut publisher = Publisher::new(vec![Arc::clone(&mailbox)], first);
        publisher.publish(snapshot(2));
        let held = mailbox.slot.lock().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let worker = std::thread::spawn({
            let mailbox = Arc::clone(&mailbox);
            move || {
                mailbox.adopt(&mut director);
                let _ = sender.send(mailbox.adopted());
                director
            }
        });
        let adopted = receiver.recv_timeout(std::time::Duration::from_secs(10));
        drop(held);
        assert_eq!(adopted, Ok(Generation(1)), "it goes on with what it has");
        mailbox.adopt(&mut worker.join().unwrap());
        assert_eq!(mailbox.adopted(), Generation(2));
    }
}
