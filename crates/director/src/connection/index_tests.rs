//! The index: how full it gets, and that it finds what was put in, against a plain list.
//!
//! Promises: the figures that `index.rs` argues with. Does not know: connections.

use proptest::prelude::*;
use weir_memory::Pages;

use super::index::{Index, Slot};
use super::{Direction, EntryId};

/// SplitMix64: hashes as good as random.
fn hashes(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |n: u64| {
        let mut hash = seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ hash >> 31
    })
}

/// Up to the load for which it was made every key finds a place, and few stand outside their first bucket.
#[test]
fn at_its_load_every_key_finds_a_place_nearly_always_its_first() {
    const N_CONNECTIONS: u32 = 30_000;
    for seed in 0..4 {
        let mut index = Index::new(N_CONNECTIONS, Pages::Sparse).unwrap();
        let keys: Vec<(u64, Slot)> = hashes(seed << 40)
            .zip(0..2 * N_CONNECTIONS)
            .map(|(hash, n)| (hash, Slot::new(EntryId(n), Direction::Inbound)))
            .collect();
        for (hash, slot) in &keys {
            index.insert(*hash, *slot).unwrap();
        }
        // The guess looks only into the first bucket.
        let n_outside = keys
            .iter()
            .filter(|(hash, slot)| index.guess(*hash) != Some(*slot))
            .count();
        let percent = 100.0 * n_outside as f64 / keys.len() as f64;
        assert!(percent < 2.5, "{percent} % outside their first bucket");
        for (hash, slot) in &keys {
            assert_eq!(index.find(*hash, |found| found == *slot), Some(*slot));
        }
    }
}

/// A miss in an empty index, and in one from which everything was taken out again.
#[test]
fn what_is_not_there_is_not_found() {
    let mut index = Index::new(100, Pages::Sparse).unwrap();
    let slot = |n| Slot::new(EntryId(n), Direction::Outbound);
    for (hash, n) in hashes(7).zip(0..200) {
        index.insert(hash, slot(n)).unwrap();
    }
    for (hash, n) in hashes(7).zip(0..200) {
        index.remove(hash, slot(n));
    }
    for hash in hashes(7).take(400) {
        assert_eq!(index.guess(hash), None);
        assert_eq!(index.find(hash, |_| true), None);
    }
}

/// What counts keys outside their first bucket counts down again, or it would overflow here.
#[test]
fn coming_and_going_leaves_no_count_behind() {
    let mut index = Index::new(100, Pages::Sparse).unwrap();
    let hash = hashes(9).next().unwrap();
    let slot = |n| Slot::new(EntryId(n), Direction::Inbound);
    // The first and the second bucket are full.
    for n in 0..20 {
        index.insert(hash, slot(n)).unwrap();
    }
    for _ in 0..=u32::from(u16::MAX) {
        index.insert(hash, slot(20)).unwrap();
        index.remove(hash, slot(20));
    }
    assert_eq!(index.find(hash, |found| found == slot(20)), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Few different hashes, hence crowded buckets, equal tags and second buckets.
    #[test]
    fn the_index_does_what_a_list_does(
        steps in prop::collection::vec((0..12u64, any::<bool>(), any::<bool>()), 1..200),
        seed in any::<u64>(),
    ) {
        let mut index = Index::new(8, Pages::Sparse).unwrap();
        let pool: Vec<u64> = hashes(seed).take(12).collect();
        let mut list: Vec<(u64, Slot)> = Vec::new();
        for (n, (pick, is_insertion, is_outbound)) in steps.into_iter().enumerate() {
            let hash = pool[pick as usize];
            if is_insertion {
                let direction = if is_outbound { Direction::Outbound } else { Direction::Inbound };
                let slot = Slot::new(EntryId(n as u32), direction);
                prop_assert_eq!((slot.id(), slot.direction()), (EntryId(n as u32), direction));
                if index.insert(hash, slot).is_ok() {
                    list.push((hash, slot));
                }
            } else if !list.is_empty() {
                let (hash, slot) = list.swap_remove(pick as usize % list.len());
                index.remove(hash, slot);
            }
            for hash in &pool {
                let mut found = Vec::new();
                index.find(*hash, |slot| { found.push(slot); false });
                for (_, slot) in list.iter().filter(|(other, _)| other == hash) {
                    prop_assert!(found.contains(slot), "{:?} is not found", slot);
                }
                // Another key's slot may come up when its tag is the same, one that was taken out may not.
                prop_assert!(found.iter().all(|slot| list.iter().any(|(_, other)| other == slot)));
            }
        }
    }
}
