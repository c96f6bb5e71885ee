//! Identifications of datagrams that leave in fragments and whose addresses were rewritten (RFC 6864).
//!
//! Promises: two workers never give the same number; one gives it again, between two addresses, only after all others of
//! its share. Does not know: where in a packet it stands.
//!
//! How it works: each worker has an equal share of the numbers, and of counters an array, of which source, destination
//! and protocol pick one by their hash: pairs that meet in one counter shorten each other's cycle, no more.

use crate::WorkerId;

/// Counters of one worker.
const N_COUNTERS: usize = 1024;

/// One worker's counters.
pub(crate) struct Identifications {
    me: WorkerId,
    counters: Box<[u32; N_COUNTERS]>,
}

impl Identifications {
    /// Counters of worker `me` that begin anywhere, as `secret` has it, so that outsiders cannot foretell them (RFC 7739).
    pub(crate) fn new(secret: u64, me: WorkerId) -> Self {
        let begin = |n: usize| {
            let mixed = (secret ^ (n as u64) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ((mixed ^ mixed >> 29).wrapping_mul(secret | 1) >> 32) as u32
        };
        Self {
            me,
            counters: Box::new(std::array::from_fn(begin)),
        }
    }

    /// The next number of 16 bits for IPv4, of 32 for IPv6, that this one of `n_workers` gives to a datagram between
    /// the addresses and of the protocol that `hash` is of.
    pub(crate) fn next(&mut self, hash: u64, bits: u32, n_workers: u8) -> u32 {
        let counter = &mut self.counters[hash as usize % N_COUNTERS];
        *counter = counter.wrapping_add(1);
        let share = (1u64 << bits) / u64::from(n_workers.max(1));
        (share * u64::from(self.me.0) + u64::from(*counter) % share) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_number_comes_twice_before_the_workers_share_is_used_up() {
        for n_workers in [1, 2, 3, 7] {
            let mut all = HashSet::new();
            let share = (1 << 16) / u32::from(n_workers);
            for me in (0..n_workers).map(WorkerId) {
                let mut identifications = Identifications::new(7, me);
                for _ in 0..share {
                    let number = identifications.next(5, 16, n_workers);
                    assert!(number < 1 << 16 && all.insert(number), "{number}");
                }
            }
        }
    }

    #[test]
    fn the_numbers_of_ipv6_are_of_32_bits() {
        let mut last = Identifications::new(7, WorkerId(3));
        assert!(last.next(5, 32, 4) >= 3 << 30);
        let mut first = Identifications::new(7, WorkerId(0));
        let number = first.next(5, 32, 4);
        assert_eq!(first.next(5, 32, 4), number + 1);
    }
}
