//! Templates: the entries that make a client keep its destination (persistence), and the connections they sponsor.
//!
//! Promises: a template lives as long as it sponsors a connection of any worker; every sponsored connection that ends is
//! told to its template once, whatever way it ends. No packet's key leads to a template.
//! Does not know: which clients share a template, who picks its destination (`persistence`).
//!
//! How it works: a template is an entry with one key in the index (`Flags::TEMPLATE`). A connection that has one says so
//! in its flags, and its *sponsor*, the template's worker and number, stands in an array of as many places as there are
//! lines, of which no page is touched until it is used. When such a connection ends, its template counts one less: at
//! once where it is this worker's, else by a *note* to the worker whose it is.

use bytemuck::{Pod, Zeroable};
use weir_memory::{MapError, MappedSlice, Pages};
use weir_wire::FlowKey;

use super::record::Keys;
use super::table::{NewConnection, Table, TableFull};
use super::{Direction, EntryId, Flags, State};
use crate::{DestinationId, NextHopId, Tick, Timeouts, WorkerId};

/// A template whose time is over while it sponsors connections lives this much longer, again and again; from then on
/// new connections give it no more than this either (`ip_vs_conn_expire`, Linux 6.1).
const OUTLIVING_TICKS: u32 = 60 * Tick::PER_SECOND;
/// Notes that may be made without a connection that ends: choices that came back for nothing.
const SPARE_NOTES: usize = 1 << 14;

/// A template: whose it is, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Sponsor {
    template: u32,
    /// A `WorkerId`.
    owner: u32,
}

impl Sponsor {
    pub(crate) fn new(owner: WorkerId, template: EntryId) -> Self {
        Self {
            template: template.0,
            owner: owner.0.into(),
        }
    }

    /// The worker whose template it is.
    pub fn owner(self) -> WorkerId {
        WorkerId(self.owner as u8)
    }
}

/// What a worker tells the one that owns a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Note {
    template: u32,
    owner: u16,
    /// 0: it has ended. 1: it was established.
    is_established: u16,
}

impl Note {
    /// The worker that it is for.
    pub fn owner(self) -> WorkerId {
        WorkerId(self.owner as u8)
    }
}

/// What a template is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTemplate {
    /// The first: (client prefix, VIP, 0, vport); the second: the real server and the prefix.
    pub(crate) keys: Keys,
    pub(crate) destination: DestinationId,
    pub(crate) timeout_ticks: u32,
}

/// What the table keeps beside its entries for templates' sake.
pub(crate) struct Templates {
    me: WorkerId,
    /// By line; of those with `Flags::SPONSORED`.
    sponsors: MappedSlice<Sponsor>,
    notes: Notes,
}

impl Templates {
    pub(super) fn new(n_lines: u32, max_connections: u32) -> Result<Self, MapError> {
        let room = max_connections as usize;
        Ok(Self {
            me: WorkerId(0),
            sponsors: MappedSlice::new(n_lines as usize, Pages::Sparse)?,
            notes: Notes {
                // Each living connection may end, and as many more may have ended before new ones are refused.
                waiting: MappedSlice::new(2 * room + SPARE_NOTES, Pages::Sparse)?,
                first: 0,
                end: 0,
                enough: room,
            },
        })
    }
}

/// Notes that wait to be sent, the oldest first.
struct Notes {
    waiting: MappedSlice<Note>,
    first: usize,
    end: usize,
    /// When so many wait, no connection is opened that would make more.
    enough: usize,
}

impl Notes {
    fn n_waiting(&self) -> usize {
        self.end - self.first
    }

    fn push(&mut self, note: Note) {
        if self.end == self.waiting.len() {
            self.waiting.copy_within(self.first..self.end, 0);
            self.end -= self.first;
            self.first = 0;
        }
        let has_room = self.end < self.waiting.len();
        debug_assert!(has_room, "no connection is opened when enough wait");
        if has_room {
            self.waiting[self.end] = note;
            self.end += 1;
        }
    }

    fn first(&self) -> Option<Note> {
        (self.first < self.end).then(|| self.waiting[self.first])
    }

    /// The first is sent. Those that follow begin at the first page again as soon as none is left.
    fn sent(&mut self) {
        self.first += 1;
        if self.first >= self.end {
            (self.first, self.end) = (0, 0);
        }
    }
}

impl Table {
    /// The same table, of this worker.
    pub(crate) fn of(mut self, me: WorkerId) -> Self {
        self.templates.me = me;
        self
    }

    /// The template of this key.
    pub(crate) fn find_template(&self, key: &FlowKey) -> Option<EntryId> {
        let is_it = |id: EntryId| {
            self.get(id).flags.has(Flags::TEMPLATE) && self.key(id, Direction::Inbound) == *key
        };
        let slot = self.index.find(self.hash(key), |slot| is_it(slot.id()))?;
        Some(slot.id())
    }

    /// Adds a template whose key is not there. It sponsors nothing yet.
    pub(crate) fn insert_template(
        &mut self,
        new: &NewTemplate,
        now: Tick,
    ) -> Result<EntryId, TableFull> {
        let entry = NewConnection {
            keys: new.keys,
            hashes: self.hashes(&new.keys),
            state: State::Template,
            flags: Flags::ONE_WAY.with(Flags::TEMPLATE),
            next_hops: [NextHopId(0); 2],
            destination: new.destination,
        };
        let id = self.insert(&entry, now, &Timeouts::default())?;
        self.get_mut(id).set_template_timeout(new.timeout_ticks);
        self.arm_template(id, now);
        Ok(id)
    }

    /// A template leads elsewhere from now on. Connections that it has sponsored stay what they are.
    pub(crate) fn turn_template(&mut self, id: EntryId, new: &NewTemplate, now: Tick) {
        let entry = self.get_mut(id);
        entry.lead_to(&new.keys, new.destination.0);
        entry.set_template_timeout(new.timeout_ticks);
        entry.touch(now);
        if entry.is_pair() {
            self.set_addresses(id, &new.keys);
        }
        self.arm_template(id, now);
    }

    fn arm_template(&mut self, id: EntryId, now: Tick) {
        let due = now.after(self.get(id).template_timeout());
        self.links.unlink(id.0);
        self.timers.arm(&mut self.links, id.0, due);
    }

    /// A template of this worker sponsors one connection more, and its time begins anew.
    pub(crate) fn hold(&mut self, template: EntryId, now: Tick) -> Sponsor {
        let entry = self.get_mut(template);
        entry.hold();
        entry.touch(now);
        Sponsor::new(self.templates.me, template)
    }

    /// Notes whose template sponsors a connection, which says so in its flags.
    pub(crate) fn set_sponsor(&mut self, id: EntryId, sponsor: Sponsor) {
        debug_assert!(self.get(id).flags.has(Flags::SPONSORED));
        self.templates.sponsors[id.0 as usize] = sponsor;
    }

    /// A template sponsors one connection less.
    pub(crate) fn release(&mut self, sponsor: Sponsor) {
        if sponsor.owner() == self.templates.me {
            self.get_mut(EntryId(sponsor.template)).release();
        } else {
            self.note(sponsor, false);
        }
    }

    /// A sponsored connection ends.
    #[cold]
    pub(super) fn release_of(&mut self, id: EntryId) {
        self.release(self.templates.sponsors[id.0 as usize]);
    }

    /// A sponsored connection is established.
    pub(crate) fn assure_of(&mut self, id: EntryId) {
        let sponsor = self.templates.sponsors[id.0 as usize];
        if sponsor.owner() == self.templates.me {
            self.assure(EntryId(sponsor.template));
        } else if self.has_room_for_notes() {
            self.note(sponsor, true);
        }
    }

    fn assure(&mut self, template: EntryId) {
        self.get_mut(template).set_state(State::AssuredTemplate);
    }

    fn note(&mut self, sponsor: Sponsor, is_established: bool) {
        self.templates.notes.push(Note {
            template: sponsor.template,
            owner: sponsor.owner as u16,
            is_established: is_established.into(),
        });
    }

    /// Whether so few notes wait that what all connections may still make has room.
    pub(crate) fn has_room_for_notes(&self) -> bool {
        self.templates.notes.n_waiting() < self.templates.notes.enough
    }

    /// The oldest note that waits to be sent.
    #[inline]
    pub(crate) fn next_note(&self) -> Option<Note> {
        self.templates.notes.first()
    }

    /// It is sent.
    pub(crate) fn note_is_sent(&mut self) {
        self.templates.notes.sent();
    }

    /// A note from another worker, about a template of this one.
    pub(crate) fn take_note(&mut self, note: Note) {
        let template = EntryId(note.template);
        debug_assert!(self.get(template).flags.has(Flags::TEMPLATE));
        if note.is_established == 0 {
            self.get_mut(template).release();
        } else {
            self.assure(template);
        }
    }

    /// Whether it is a template that sponsors connections.
    #[inline]
    pub(super) fn is_sponsoring(&self, id: EntryId) -> bool {
        let entry = self.get(id);
        entry.flags.has(Flags::TEMPLATE) && entry.n_sponsored() > 0
    }

    /// A template that sponsors connections, its timer taken out, goes on after its time.
    pub(super) fn outlive(&mut self, id: EntryId, now: Tick) {
        let entry = self.get_mut(id);
        entry.set_template_timeout(OUTLIVING_TICKS);
        entry.touch(now);
        self.timers
            .arm(&mut self.links, id.0, now.after(OUTLIVING_TICKS));
    }
}
