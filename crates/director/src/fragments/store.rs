//! What is known of fragmented datagrams, and which fragments wait for the first one of theirs.
//!
//! Promises: bounded: [`HELD`] fragments wait at most, of [`DATAGRAMS`] datagrams at most, and for [`TIMEOUT_TICKS`] at
//! most; the oldest makes room. Each that waits is told of exactly once more: it is let go, or ends by name.
//! Does not know: the fragments' bytes, which whoever carries verdicts out keeps.
//!
//! How it works: datagrams stand in buckets of eight, as the seeded hash of what tells them apart has it. Places to wait
//! are a ring: each fragment that is held takes the next place, so the one it drives out is the one held longest, and the
//! one whose time is over is found at the other end. Those of one datagram are linked, oldest first.

use std::collections::VecDeque;

use weir_wire::{FlowKey, Fragment};

use crate::forward::Course;
use crate::{DropReason, Tick, Verdict, WorkerId};

/// Fragments of one worker that wait for the first one of their datagram, at most.
pub const HELD: usize = 256;
/// Datagrams that one worker remembers, at most.
const DATAGRAMS: usize = BUCKET * N_BUCKETS;
const N_BUCKETS: usize = 256;
const BUCKET: usize = 8;
/// How long a fragment waits for the first one; and how long a datagram is remembered after its last fragment. Long beside
/// what any network delays one of two packets sent together, short beside what senders take to use an identification
/// again.
const TIMEOUT_TICKS: u32 = Tick::PER_SECOND;

/// Where a fragment waits, below [`HELD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPlace(pub u16);

/// What becomes of a fragment that waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is to be processed again, as one that was handed over.
    Released,
    /// It ends here.
    Dropped(DropReason),
}

/// Where a datagram's fragments go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// The first one is not there yet.
    Waits,
    /// The first one was refused.
    Refused,
    /// To the worker that owns its flow.
    HandedOff(WorkerId),
    /// The first one was sent this way.
    Goes(Course),
}

impl Stage {
    /// Whether fragments go on.
    pub(super) fn has_way(self) -> bool {
        match self {
            Self::HandedOff(_) | Self::Goes(_) => true,
            Self::Waits | Self::Refused => false,
        }
    }
}

/// A datagram of which a fragment was seen.
#[derive(Clone, Copy, Debug)]
struct Datagram {
    key: FlowKey,
    /// When the last fragment of it was seen.
    seen: Tick,
    stage: Stage,
    /// Bytes of it that went on, and how many it has, once the last fragment went on.
    n_seen_bytes: u32,
    n_bytes: Option<u32>,
    /// The oldest and the newest of its fragments that wait.
    waiting: Option<(HoldPlace, HoldPlace)>,
}

/// A number of a datagram that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DatagramId(u16);

#[derive(Clone, Copy, Debug)]
enum Place {
    Free,
    /// A fragment waits.
    Held {
        datagram: DatagramId,
        since: Tick,
        newer: Option<HoldPlace>,
    },
    /// It need not wait longer; nobody has been told yet.
    Settled(Settled),
}

pub(crate) struct Store {
    datagrams: Box<[Option<Datagram>]>,
    places: Box<[Place; HELD]>,
    /// The place that is taken next.
    next: usize,
    /// How many places before it, round and round, may not be free.
    n_behind: usize,
    /// The places that are settled, in order. Never more than there are, so that it never grows.
    settled: VecDeque<HoldPlace>,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            datagrams: vec![None; DATAGRAMS].into_boxed_slice(),
            places: Box::new([Place::Free; HELD]),
            next: 0,
            n_behind: 0,
            settled: VecDeque::with_capacity(HELD),
        }
    }

    /// Where the datagram's fragments go, if it is known.
    pub(super) fn find(
        &mut self,
        key: &FlowKey,
        hash: u64,
        now: Tick,
    ) -> Option<(DatagramId, Stage)> {
        let id = self.id(key, hash)?;
        let datagram = self.datagrams[usize::from(id.0)].as_mut()?;
        if now.since(datagram.seen) >= TIMEOUT_TICKS {
            self.forget(id, DropReason::FragmentFirstMissing);
            return None;
        }
        datagram.seen = now;
        Some((id, datagram.stage))
    }

    /// Remembers a datagram that is not known; another that was seen longest ago may be forgotten for it.
    pub(super) fn remember(&mut self, key: FlowKey, hash: u64, now: Tick) -> DatagramId {
        let age = |id: &usize| {
            let datagram = self.datagrams[*id].as_ref();
            datagram.map_or(u32::MAX, |datagram| now.since(datagram.seen))
        };
        let oldest = bucket(hash).max_by_key(age).unwrap_or_default();
        let id = DatagramId(oldest as u16);
        self.forget(id, DropReason::FragmentStoreFull);
        self.datagrams[oldest] = Some(Datagram {
            key,
            seen: now,
            stage: Stage::Waits,
            n_seen_bytes: 0,
            n_bytes: None,
            waiting: None,
        });
        id
    }

    /// The first fragment has come, and this is where all go. Those that wait are let go, unless it waits itself.
    pub(super) fn decide(&mut self, id: DatagramId, stage: Stage) {
        let Some(datagram) = self.datagrams[usize::from(id.0)].as_mut() else {
            return;
        };
        datagram.stage = stage;
        match stage {
            Stage::Waits => {}
            Stage::Refused | Stage::HandedOff(_) | Stage::Goes(_) => {
                self.settle_all_of(id, Settled::Released);
            }
        }
    }

    /// Counts a fragment that goes on. The datagram is forgotten with the last one, so that
    /// another may have its number.
    pub(super) fn count(&mut self, id: DatagramId, fragment: &Fragment) {
        let Some(datagram) = self.datagrams[usize::from(id.0)].as_mut() else {
            return;
        };
        let n_seen_bytes = datagram.n_seen_bytes;
        datagram.n_seen_bytes = n_seen_bytes.saturating_add(u32::from(fragment.part_bytes));
        if !fragment.more_follow {
            datagram.n_bytes = Some(u32::from(fragment.offset) + u32::from(fragment.part_bytes));
        }
        if datagram.n_bytes == Some(datagram.n_seen_bytes) {
            self.forget(id, DropReason::FragmentFirstMissing);
        }
    }

    /// Lets a fragment of a datagram wait.
    pub(super) fn hold(&mut self, id: DatagramId, now: Tick) -> Verdict {
        let place = HoldPlace(self.next as u16);
        match self.places[self.next] {
            Place::Free => {}
            Place::Held {
                datagram, newer, ..
            } => self.unlink_oldest(datagram, newer),
            Place::Settled(_) => return Verdict::Drop(DropReason::FragmentStoreFull),
        }
        self.places[self.next] = Place::Held {
            datagram: id,
            since: now,
            newer: None,
        };
        self.next = (self.next + 1) % HELD;
        self.n_behind = (self.n_behind + 1).min(HELD);
        let Some(datagram) = self.datagrams[usize::from(id.0)].as_mut() else {
            return Verdict::Drop(DropReason::FragmentStoreFull);
        };
        let oldest = match datagram.waiting {
            None => place,
            Some((oldest, newest)) => {
                if let Place::Held { newer, .. } = &mut self.places[usize::from(newest.0)] {
                    *newer = Some(place);
                }
                oldest
            }
        };
        datagram.waiting = Some((oldest, place));
        Verdict::Hold(place)
    }

    /// What has become of the next fragment that need not wait longer.
    #[inline]
    pub(crate) fn settle(&mut self, now: Tick) -> Option<(HoldPlace, Settled)> {
        if self.n_behind == 0 {
            return None;
        }
        self.settle_one(now)
    }

    #[cold]
    fn settle_one(&mut self, now: Tick) -> Option<(HoldPlace, Settled)> {
        if self.settled.is_empty() {
            self.expire(now);
        }
        let place = self.settled.pop_front()?;
        match std::mem::replace(&mut self.places[usize::from(place.0)], Place::Free) {
            Place::Settled(outcome) => Some((place, outcome)),
            // What is in the queue is settled.
            Place::Free | Place::Held { .. } => None,
        }
    }

    /// Settles the fragment that has waited longest, if its time is over.
    fn expire(&mut self, now: Tick) {
        while self.n_behind != 0 {
            let oldest = (self.next + HELD - self.n_behind) % HELD;
            match self.places[oldest] {
                Place::Free => self.n_behind -= 1,
                Place::Held {
                    datagram,
                    since,
                    newer,
                } if now.since(since) >= TIMEOUT_TICKS => {
                    self.unlink_oldest(datagram, newer);
                    let place = HoldPlace(oldest as u16);
                    self.settle_place(place, Settled::Dropped(DropReason::FragmentFirstMissing));
                    return;
                }
                Place::Held { .. } | Place::Settled(_) => return,
            }
        }
    }

    /// The oldest that waits of a datagram waits no longer, being the oldest of all.
    fn unlink_oldest(&mut self, id: DatagramId, newer: Option<HoldPlace>) {
        if let Some(datagram) = &mut self.datagrams[usize::from(id.0)] {
            datagram.waiting = match (datagram.waiting, newer) {
                (Some((_, newest)), Some(newer)) => Some((newer, newest)),
                (_, _) => None,
            };
        }
    }

    /// Forgets a datagram; fragments of it that still wait end by this name.
    fn forget(&mut self, id: DatagramId, reason: DropReason) {
        self.settle_all_of(id, Settled::Dropped(reason));
        self.datagrams[usize::from(id.0)] = None;
    }

    fn settle_all_of(&mut self, id: DatagramId, outcome: Settled) {
        let Some(datagram) = &mut self.datagrams[usize::from(id.0)] else {
            return;
        };
        let mut waiting = datagram.waiting.take().map(|(oldest, _)| oldest);
        while let Some(place) = waiting {
            waiting = match self.places[usize::from(place.0)] {
                Place::Held { newer, .. } => newer,
                Place::Free | Place::Settled(_) => None,
            };
            self.settle_place(place, outcome);
        }
    }

    fn settle_place(&mut self, place: HoldPlace, outcome: Settled) {
        self.places[usize::from(place.0)] = Place::Settled(outcome);
        self.settled.push_back(place);
    }

    fn id(&self, key: &FlowKey, hash: u64) -> Option<DatagramId> {
        let is_it = |id: &usize| {
            let datagram = self.datagrams[*id].as_ref();
            datagram.is_some_and(|datagram| datagram.key == *key)
        };
        bucket(hash).find(is_it).map(|id| DatagramId(id as u16))
    }
}

/// Where a datagram of this hash may stand.
fn bucket(hash: u64) -> std::ops::Range<usize> {
    let first = hash as usize % N_BUCKETS * BUCKET;
    first..first + BUCKET
}
