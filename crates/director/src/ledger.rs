//! The connections of one worker, and what is counted for them.
//!
//! Promises: the load of a destination is the number of its living connections, whatever way they begin, change
//! and end.
//! Does not know: packets' bytes, schedulers, how a packet is rewritten.

use weir_memory::{MapError, MappedSlice, Pages};
use weir_wire::tcp;

use crate::connection::{
    Connection, EntryId, Found, NewConnection, Room, Table, TableFull, TcpEvent,
};
use crate::scheduler::Records;
use crate::totals::DestinationTotals;
use crate::{DestinationId, Direction, Seed, Sizes, State, Tick, Timeouts, WorkerId};

pub(crate) struct Ledger {
    pub(crate) table: Table,
    /// By `DestinationId`. Sparse: memory is spent on those in use.
    pub(crate) destinations: MappedSlice<DestinationTotals>,
    /// What the services' schedulers remember.
    pub(crate) scheduler_records: Records,
    /// Where the search for local ports begins.
    pub(crate) local_port_origin: u32,
    /// Connections ended to make room for others.
    pub(crate) n_evicted: u64,
    /// Segments that went without TOA because their options left no room for it.
    pub(crate) n_toa_omitted: u64,
}

impl Ledger {
    pub(crate) fn new(
        me: WorkerId,
        sizes: Sizes,
        seed: Seed,
        now: Tick,
    ) -> Result<Self, MapError> {
        Ok(Self {
            table: Table::new(sizes, seed, now)?,
            destinations: MappedSlice::new(DestinationId::LIMIT as usize, Pages::Sparse)?,
            scheduler_records: Records::new(seed, me)?,
            local_port_origin: seed.0[0] as u32,
            n_evicted: 0,
            n_toa_omitted: 0,
        })
    }

    /// Opens a connection, if need be in the place of one that is worth less.
    pub(crate) fn open(
        &mut self,
        new: &NewConnection,
        now: Tick,
        timeouts: &Timeouts,
    ) -> Result<EntryId, TableFull> {
        let mut opened = self.table.insert(new, now, timeouts);
        if opened.is_err() {
            let room = if new.keys.has_ipv6() {
                Room::Pair
            } else {
                Room::Line
            };
            for victim in self.table.evict(room, now).into_iter().flatten() {
                self.destinations[victim.destination as usize].discharge(&victim);
                self.n_evicted += 1;
            }
            opened = self.table.insert(new, now, timeouts);
        }
        let totals = &mut self.destinations[new.destination.0 as usize];
        *totals.counter(new.state) += u32::from(opened.is_ok());
        totals.connections += u64::from(opened.is_ok());
        opened
    }

    /// Ends a connection.
    pub(crate) fn close(&mut self, id: EntryId) {
        let ended = self.table.remove(id);
        self.destinations[ended.destination as usize].discharge(&ended);
    }

    /// Ends connections whose time is over, looking at about `budget` of them. Returns how many it looked at.
    pub(crate) fn expire(&mut self, now: Tick, timeouts: &Timeouts, budget: usize) -> usize {
        let destinations = &mut self.destinations;
        self.table.expire(now, timeouts, budget, |ended| {
            destinations[ended.destination as usize].discharge(ended);
        })
    }

    /// The state of a TCP connection follows a segment's flags.
    #[inline]
    pub(crate) fn advance(
        &mut self,
        found: Found,
        flags: tcp::Flags,
        now: Tick,
        timeouts: &Timeouts,
    ) {
        let connection = self.table.get(found.id);
        // The common case: data and acknowledgements change nothing.
        if connection.is_established() && !flags.has(tcp::Flags::SYN_FIN_RST) {
            return;
        }
        let Some(before) = connection.state() else {
            return;
        };
        let Some(event) = TcpEvent::of(flags) else {
            return;
        };
        let after = before.after(event, found.direction);
        if after != before {
            self.change_state(found.id, before, after, now, timeouts);
        }
    }

    #[cold]
    fn change_state(
        &mut self,
        id: EntryId,
        before: State,
        after: State,
        now: Tick,
        timeouts: &Timeouts,
    ) {
        let totals = &mut self.destinations[self.table.get(id).destination as usize];
        *totals.counter(before) -= 1;
        *totals.counter(after) += 1;
        if after == State::SynRecv {
            self.table.get_mut(id).begin_anew();
        }
        self.table.set_state(id, after, now, timeouts);
    }

    /// Notes a packet of `bytes` that is about to be forwarded.
    #[inline]
    pub(crate) fn count(&mut self, found: Found, bytes: u16, now: Tick) {
        let connection = self.table.get_mut(found.id);
        connection.saw(found.direction, bytes, now);
        let totals = &mut self.destinations[connection.destination as usize];
        let (n_packets, n_bytes) = match found.direction {
            Direction::Inbound => (&mut totals.inbound_packets, &mut totals.inbound_bytes),
            Direction::Outbound => (&mut totals.outbound_packets, &mut totals.outbound_bytes),
        };
        *n_packets += 1;
        *n_bytes += u64::from(bytes);
    }
}

impl DestinationTotals {
    fn counter(&mut self, state: State) -> &mut u32 {
        if state.is_active() {
            &mut self.load.active
        } else {
            &mut self.load.inactive
        }
    }

    fn discharge(&mut self, ended: &Connection) {
        if let Some(state) = ended.state() {
            *self.counter(state) -= 1;
        }
    }
}
