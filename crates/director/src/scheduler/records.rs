//! What schedulers remember from one pick to the next: one worker's.
//!
//! Promises: plain records of fixed size, found by `ServiceId`, in sparse memory; nothing is allocated after the start.
//! Does not know: what schedulers make of them.

use bytemuck::{Pod, Zeroable};
use weir_memory::{MapError, MappedSlice, Pages};

use super::list::{List, Row};
use crate::{DestinationId, Seed, ServiceId, Tick, WorkerId};

/// Where the schedulers of all services stand.
pub(crate) struct Records {
    cursors: MappedSlice<Cursor>,
    /// Memory is spent on services with lblc and lblcr only.
    localities: MappedSlice<Locality>,
    pub(super) random: Random,
}

impl Records {
    /// For a worker; workers with the same seed go different ways at random.
    pub(crate) fn new(seed: Seed, me: WorkerId) -> Result<Self, MapError> {
        Ok(Self {
            cursors: MappedSlice::new(ServiceId::LIMIT as usize, Pages::Sparse)?,
            localities: MappedSlice::new(ServiceId::LIMIT as usize, Pages::Sparse)?,
            random: Random(seed.0[3] ^ u64::from(me.0) << 32),
        })
    }

    #[inline]
    pub(super) fn cursor(&mut self, id: ServiceId) -> &mut Cursor {
        &mut self.cursors[id.0 as usize]
    }

    #[inline]
    pub(super) fn locality(&mut self, id: ServiceId) -> &mut Locality {
        &mut self.localities[id.0 as usize]
    }
}

/// Where a scheduler that goes round stands.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Cursor {
    /// The version of the service for which this is meant, plus one; 0: never used.
    pub(super) version: u32,
    /// One past the place picked last; 0: before the first.
    pub(super) position: u32,
    /// wrr: the weight that a destination needs in this round.
    pub(super) current_weight: u32,
    /// rr: the `DestinationId` picked last, plus one; 0: none.
    pub(super) last: u32,
}

impl Cursor {
    /// Whether the service has changed since the cursor was used; from now on it is meant for `version`.
    #[inline]
    pub(super) fn adopt(&mut self, version: u32) -> bool {
        let version = version.wrapping_add(1).max(1);
        std::mem::replace(&mut self.version, version) != version
    }
}

/// A destination in a [`Locality`].
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
struct Member {
    id: u32,
    /// Where it stood in the list when last looked for.
    place: u32,
}

/// The destinations that lblc and lblcr have come to use for a VIP. In IPVS it is kept by the packet's destination
/// address, and a service may have many; one of ours has one VIP, so it is kept by service.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Locality {
    /// The one added last first; only the first `n_members` mean anything.
    members: [Member; Locality::ROOM],
    n_members: u32,
    last_used: u32,
    last_changed: u32,
    /// Fills the record up to 256 bytes.
    reserved: u32,
}

impl Locality {
    /// Members that fit. IPVS has no limit but the number of destinations.
    pub(super) const ROOM: usize = 30;
    /// A locality not used for this long is forgotten, and one not changed for this long loses a member: the default
    /// of `lblc_expiration` and `lblcr_expiration`, a day.
    pub(super) const EXPIRATION_TICKS: u32 = 24 * 60 * 60 * Tick::PER_SECOND;

    /// Notes a use at `now`. Members that are no destinations any more are gone afterwards, and all are when the
    /// last use is too long ago.
    pub(super) fn use_at(&mut self, now: Tick, rows: &[Row]) {
        if now.since(Tick(self.last_used)) > Self::EXPIRATION_TICKS {
            self.n_members = 0;
        }
        self.last_used = now.0;
        let mut n_found = 0;
        for at in 0..self.n_members as usize {
            if let Some(place) = self.members[at].find(rows) {
                self.members[n_found] = Member {
                    place,
                    ..self.members[at]
                };
                n_found += 1;
            }
        }
        self.n_members = n_found as u32;
    }

    /// The members with their rows; of use right after [`use_at`](Self::use_at).
    pub(super) fn members<'a>(
        &'a self,
        list: List<'a>,
    ) -> impl Iterator<Item = (usize, &'a Row)> + Clone {
        self.members[..self.n_members as usize]
            .iter()
            .filter_map(move |member| {
                let place = member.place as usize;
                list.rows.get(place).map(|row| (place, row))
            })
    }

    pub(super) fn n_members(&self) -> usize {
        self.n_members as usize
    }

    /// Whether the last change is so long ago that a member should go.
    pub(super) fn has_settled(&self, now: Tick) -> bool {
        now.since(Tick(self.last_changed)) > Self::EXPIRATION_TICKS
    }

    /// `id` at `place` becomes the only member.
    pub(super) fn set(&mut self, id: DestinationId, place: usize) {
        self.members[0] = Member {
            id: id.0,
            place: place as u32,
        };
        self.n_members = 1;
    }

    /// Adds a member that is none yet, before all others. There must be room.
    pub(super) fn insert(&mut self, id: DestinationId, place: usize, now: Tick) {
        let n = self.n_members();
        if n >= Self::ROOM || self.members[..n].iter().any(|member| member.id == id.0) {
            return;
        }
        self.members.copy_within(..n, 1);
        self.members[0] = Member {
            id: id.0,
            place: place as u32,
        };
        self.n_members += 1;
        self.last_changed = now.0;
    }

    /// Takes a member out.
    pub(super) fn remove(&mut self, place: usize, now: Tick) {
        let n = self.n_members();
        let members = &self.members[..n];
        if let Some(at) = members
            .iter()
            .position(|member| member.place as usize == place)
        {
            self.members.copy_within(at + 1..n, at);
            self.n_members -= 1;
            self.last_changed = now.0;
        }
    }
}

impl Member {
    /// Where it stands now: where it stood, unless the service has changed.
    fn find(self, rows: &[Row]) -> Option<u32> {
        let is_it = |row: &Row| row.id.0 == self.id;
        match rows.get(self.place as usize) {
            Some(row) if is_it(row) => Some(self.place),
            Some(_) | None => rows.iter().position(is_it).map(|place| place as u32),
        }
    }
}

/// Random numbers of one worker (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
/// They spread load; nothing secret hangs on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// From 0 to `largest`, both included. The bias of taking the upper half of a product is below 2^-27 for the sum of
    /// all weights there can be.
    pub(super) fn up_to(&mut self, largest: u64) -> u64 {
        let product = u128::from(self.next()) * (u128::from(largest) + 1);
        (product >> 64) as u64
    }
}
