//! The index: from the hash of a key to the number of a connection and the direction of the packet.
//!
//! ```text
//! bucket, 64 bytes:  | ten 16-bit tags | two counts | ten 32-bit entries |
//! entry:             | 1 bit direction | 31 bits number of the connection |
//! ```
//!
//! A key stands in its first bucket, or, if that was full, in its second; the first then counts one overflow, so
//! that a miss stops at once where nothing overflowed. First bucket, second bucket and tag are made of different
//! bits of the hash. Both are full for one key in 1,500: it stands in one of the buckets behind the second, and
//! those in between count that they were passed.
//!
//! Promises: a look-up touches one cache line, seldom two; up to the load for which it was made a key finds a place.
//! Does not know: keys; whoever asks compares them.

use bytemuck::{Pod, Zeroable};
use weir_memory::{MapError, MappedSlice, Pages, TagMatches, Tags, match_tags, prefetch};

use super::{Direction, EntryId};

const PLACES: usize = 10;
/// Keys per place at most: 0.6. There under 2 % of the keys are outside their first bucket.
const LOAD_TENTHS: usize = 6;
/// Buckets that a key may stand in beside its first: the second and those behind. With the second alone 0.07 % of
/// the keys found no place, the first of them at a load of 0.3.
const MAX_FURTHER: usize = 8;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Bucket {
    /// Tag 0: the place is empty.
    tags: Tags,
    /// How many keys whose first bucket this is stand in another.
    n_overflowed: u16,
    /// How many keys stand in a bucket behind this one that is, or follows on, their second.
    n_passed: u16,
    entries: [Slot; PLACES],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The number of a connection, and the direction of the key that leads to it in the top bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Slot(u32);

impl Slot {
    #[inline]
    pub(crate) fn new(id: EntryId, direction: Direction) -> Self {
        Self(id.0 | (direction as u32) << 31)
    }

    #[inline]
    pub(crate) fn id(self) -> EntryId {
        EntryId(self.0 & !(1 << 31))
    }

    #[inline]
    pub(crate) fn direction(self) -> Direction {
        if self.0 >> 31 == 0 {
            Direction::Inbound
        } else {
            Direction::Outbound
        }
    }
}

/// None of the buckets of the key has a place left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexFull;

pub(crate) struct Index {
    buckets: MappedSlice<Bucket>,
}

/// Buckets for the keys of `n_connections`.
fn n_buckets(n_connections: u32) -> usize {
    (n_connections as usize * 2 * 10)
        .div_ceil(PLACES * LOAD_TENTHS)
        .max(4)
}

/// Bytes of an index for `n_connections`.
pub(crate) fn bytes_needed(n_connections: u32) -> usize {
    n_buckets(n_connections) * size_of::<Bucket>()
}

#[inline]
fn tag(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}

impl Index {
    pub(crate) fn new(n_connections: u32, pages: Pages) -> Result<Self, MapError> {
        Ok(Self {
            buckets: MappedSlice::new(n_buckets(n_connections), pages)?,
        })
    }

    /// From the low half of the hash: its product with the number of buckets, so that any number will do.
    #[inline]
    fn first(&self, hash: u64) -> usize {
        (((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32) as usize
    }

    /// From all bits once more, stirred.
    #[cold]
    fn second(&self, hash: u64) -> usize {
        let stirred = (hash ^ hash >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (((stirred >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// The buckets that a key may stand in beside its first, in the order in which they are tried.
    fn further(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let (second, n_buckets) = (self.second(hash), self.buckets.len());
        (second..second + MAX_FURTHER).map(move |bucket| bucket % n_buckets)
    }

    /// Asks for the first bucket's cache line.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(&self.buckets[self.first(hash)]);
    }

    /// The first place of the first bucket that may be the key's.
    #[inline]
    pub(crate) fn guess(&self, hash: u64) -> Option<Slot> {
        let bucket = &self.buckets[self.first(hash)];
        match_tags(&bucket.tags, tag(hash))
            .first()
            .map(|place| bucket.entries[place])
    }

    /// All places that may be the key's; `is_it` compares keys.
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(Slot) -> bool) -> Option<Slot> {
        let bucket = &self.buckets[self.first(hash)];
        let mut among = |bucket: &Bucket, matches: TagMatches| {
            matches
                .map(|place| bucket.entries[place])
                .find(|slot| is_it(*slot))
        };
        let found = among(bucket, match_tags(&bucket.tags, tag(hash)));
        if found.is_some() || bucket.n_overflowed == 0 {
            return found;
        }
        for place in self.further(hash) {
            let bucket = &self.buckets[place];
            let found = among(bucket, match_tags(&bucket.tags, tag(hash)));
            if found.is_some() || bucket.n_passed == 0 {
                return found;
            }
        }
        None
    }

    /// Adds a key that is not there.
    pub(crate) fn insert(&mut self, hash: u64, slot: Slot) -> Result<(), IndexFull> {
        let first = self.first(hash);
        if self.put(first, hash, slot) {
            return Ok(());
        }
        for (n_passed, bucket) in self.further(hash).enumerate() {
            if self.put(bucket, hash, slot) {
                self.buckets[first].n_overflowed += 1;
                for bucket in self.further(hash).take(n_passed) {
                    self.buckets[bucket].n_passed += 1;
                }
                return Ok(());
            }
        }
        Err(IndexFull)
    }

    fn put(&mut self, bucket: usize, hash: u64, slot: Slot) -> bool {
        let bucket = &mut self.buckets[bucket];
        let Some(place) = match_tags(&bucket.tags, 0).first() else {
            return false;
        };
        bucket.tags[place] = tag(hash);
        bucket.entries[place] = slot;
        true
    }

    /// Takes out what `insert` added with the same arguments.
    pub(crate) fn remove(&mut self, hash: u64, slot: Slot) {
        let first = self.first(hash);
        if self.take(first, hash, slot) {
            return;
        }
        for (n_passed, bucket) in self.further(hash).enumerate() {
            if self.take(bucket, hash, slot) {
                self.buckets[first].n_overflowed -= 1;
                for bucket in self.further(hash).take(n_passed) {
                    self.buckets[bucket].n_passed -= 1;
                }
                return;
            }
        }
        debug_assert!(false, "both keys of a living connection are in the index");
    }

    fn take(&mut self, bucket: usize, hash: u64, slot: Slot) -> bool {
        let bucket = &mut self.buckets[bucket];
        let Some(place) =
            match_tags(&bucket.tags, tag(hash)).find(|place| bucket.entries[*place] == slot)
        else {
            return false;
        };
        bucket.tags[place] = 0;
        true
    }
}
