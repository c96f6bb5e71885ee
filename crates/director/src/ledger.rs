//! The connections of one worker, and what is counted for them.
//!
//! Promises: the load of a destination is the number of its living connections, whatever way they begin, change
//! and end.
//! Does not know: packets' bytes, schedulers, how a packet is rewritten.

use weir_memory::{MapError, MappedSlice, Pages};
use weir_wire::{FlowKey, sctp, tcp};

use crate::connection::{
    Connection, EntryId, Flags, Found, Keys, NewConnection, NewTemplate, Room, Sight, Table,
    TableFull, TcpEvent,
};
use crate::fragments::Store;
use crate::identification::Identifications;
use crate::persistence::Choice;
use crate::scheduler::Records;
use crate::threshold::Overloads;
use crate::totals::{DestinationTotals, Load};
use crate::{
    DestinationId, Direction, Seed, Sizes, Snapshot, State, Thresholds, Tick, Timeouts, WorkerId,
};

pub(crate) struct Ledger {
    pub(crate) table: Table,
    /// The choice that has come back with the packet that is being decided on, until a connection is opened by it.
    pub(crate) choice: Option<Choice>,
    /// By `DestinationId`. Sparse: memory is spent on those in use.
    pub(crate) destinations: MappedSlice<DestinationTotals>,
    /// By `DestinationId`: living connections, this worker's and those of all others as they last published them. Apart
    /// from the rest and 8 bytes each, because schedulers walk them.
    /// Invariant: never less than the worker's own.
    pub(crate) loads: MappedSlice<Load>,
    /// Which destinations have too many of them.
    pub(crate) overloads: Overloads,
    /// What the services' schedulers remember.
    pub(crate) scheduler_records: Records,
    /// Where the search for local ports begins.
    pub(crate) local_port_origin: u32,
    /// Of the last IPv4 header that weir itself has written (RFC 6864). Its low bits are the worker's number and stay so.
    identification: u16,
    /// From one to the next: a power of two, at least the number of workers.
    identification_step: u16,
    /// Of datagrams that leave in fragments.
    identifications: Identifications,
    /// Fragmented datagrams.
    pub(crate) fragments: Store,
    /// Connections ended to make room for others.
    pub(crate) n_evicted: u64,
    /// Packets that went without the client's address because there was no room for it.
    pub(crate) n_toa_omitted: u64,
}

impl Ledger {
    pub(crate) fn new(me: WorkerId, sizes: Sizes, seed: Seed, now: Tick) -> Result<Self, MapError> {
        Ok(Self {
            table: Table::new(sizes, seed, now)?.of(me),
            choice: None,
            destinations: MappedSlice::new(DestinationId::LIMIT as usize, Pages::Sparse)?,
            loads: MappedSlice::new(DestinationId::LIMIT as usize, Pages::Sparse)?,
            overloads: Overloads::new()?,
            scheduler_records: Records::new(seed, me)?,
            local_port_origin: seed.0[0] as u32,
            identification: seed.0[1] as u16 & 0xff00 | u16::from(me.0),
            identification_step: 1,
            identifications: Identifications::new(seed.0[2], me),
            fragments: Store::new(),
            n_evicted: 0,
            n_toa_omitted: 0,
        })
    }

    /// Opens a connection, if need be in the place of one that is worth less.
    pub(crate) fn open(
        &mut self,
        new: &NewConnection,
        now: Tick,
        snapshot: &Snapshot,
    ) -> Result<EntryId, TableFull> {
        let timeouts = &snapshot.settings.timeouts;
        let mut opened = self.table.insert(new, now, timeouts);
        if opened.is_err() {
            self.make_room(&new.keys, now, snapshot);
            opened = self.table.insert(new, now, timeouts);
        }
        let id = opened?;
        let destination = new.destination.0 as usize;
        let totals = &mut self.destinations[destination];
        totals.connections += 1;
        for load in [&mut totals.load, &mut self.loads[destination]] {
            *load.counter(new.state) += 1;
        }
        let thresholds = snapshot.services.thresholds();
        self.overloads
            .judge(new.destination, self.loads[destination], thresholds);
        Ok(id)
    }

    /// Ends what is worth least in favour of a connection or template with these keys.
    #[cold]
    fn make_room(&mut self, keys: &Keys, now: Tick, snapshot: &Snapshot) {
        let room = if keys.has_ipv6() {
            Room::Pair
        } else {
            Room::Line
        };
        for victim in self.table.evict(room, now).into_iter().flatten() {
            self.discharge(&victim, snapshot);
            self.n_evicted += 1;
        }
    }

    /// Makes a template, if need be in the place of what is worth less.
    pub(crate) fn open_template(
        &mut self,
        new: &NewTemplate,
        now: Tick,
        snapshot: &Snapshot,
    ) -> Result<EntryId, TableFull> {
        let mut opened = self.table.insert_template(new, now);
        if opened.is_err() {
            self.make_room(&new.keys, now, snapshot);
            opened = self.table.insert_template(new, now);
        }
        let id = opened?;
        self.destinations[new.destination.0 as usize].templates += 1;
        Ok(id)
    }

    /// Makes an existing template lead elsewhere.
    pub(crate) fn turn_template(&mut self, id: EntryId, new: &NewTemplate, now: Tick) {
        let before = self.table.get(id).destination as usize;
        self.destinations[before].templates -= 1;
        self.destinations[new.destination.0 as usize].templates += 1;
        self.table.turn_template(id, new, now);
    }

    /// Ends a connection.
    pub(crate) fn close(&mut self, id: EntryId, snapshot: &Snapshot) {
        let ended = self.table.remove(id);
        self.discharge(&ended, snapshot);
    }

    fn discharge(&mut self, ended: &Connection, snapshot: &Snapshot) {
        discharge(
            &mut self.destinations,
            &mut self.loads,
            &mut self.overloads,
            snapshot.services.thresholds(),
            ended,
        );
    }

    /// Leaves identifications to as many workers, so that fragments of two packets to one real server
    /// never meet.
    pub(crate) fn share_identifications(&mut self, n_workers: u8) {
        self.identification_step = u16::from(n_workers).next_power_of_two();
    }

    /// An identification for the next IPv4 header that weir writes: the outer one of a tunnel, or that of a packet which came
    /// with an IPv6 one.
    #[inline]
    pub(crate) fn next_identification(&mut self) -> u16 {
        let next = self.identification.wrapping_add(self.identification_step);
        self.identification = next;
        next
    }

    /// Ends connections whose time is over, looking at about `budget` of them. Returns how many it looked at.
    pub(crate) fn expire(&mut self, now: Tick, snapshot: &Snapshot, budget: usize) -> usize {
        let Self {
            table,
            destinations,
            loads,
            overloads,
            ..
        } = self;
        let thresholds = snapshot.services.thresholds();
        table.expire(now, &snapshot.settings.timeouts, budget, |ended| {
            discharge(destinations, loads, overloads, thresholds, ended);
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
        let after = before.after(event, sight(found, connection));
        if after != before {
            self.change_state(found.id, before, after, now, timeouts);
        }
    }

    /// The state of an SCTP connection follows what a packet asks for.
    #[cold]
    pub(crate) fn advance_sctp(
        &mut self,
        found: Found,
        chunk: sctp::Chunk,
        now: Tick,
        timeouts: &Timeouts,
    ) {
        let connection = self.table.get(found.id);
        let Some(before) = connection.state() else {
            return;
        };
        let after = before.after_chunk(chunk, sight(found, connection));
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
        let destination = self.table.get(id).destination as usize;
        for load in [
            &mut self.destinations[destination].load,
            &mut self.loads[destination],
        ] {
            *load.counter(before) -= 1;
            *load.counter(after) += 1;
        }
        let stands = matches!(after, State::Established | State::SctpEstablished);
        if stands && self.table.get(id).flags.has(Flags::SPONSORED) {
            self.table.assure_of(id);
        }
        if after == State::SynRecv {
            self.table.get_mut(id).begin_anew();
        }
        self.table.set_state(id, after, now, timeouts);
    }

    /// Tells the connections that all other workers have published.
    pub(crate) fn set_load_elsewhere(
        &mut self,
        id: DestinationId,
        elsewhere: Load,
        snapshot: &Snapshot,
    ) {
        let here = self.destinations[id.0 as usize].load;
        let load = [here, elsewhere].into_iter().sum();
        self.loads[id.0 as usize] = load;
        let thresholds = snapshot.services.thresholds();
        self.overloads.judge(id, load, thresholds);
    }

    /// Notes a packet of `bytes` that is about to be forwarded.
    #[inline]
    pub(crate) fn count(&mut self, found: Found, bytes: u16, now: Tick) {
        let connection = self.table.get_mut(found.id);
        connection.saw(found.direction, bytes, now);
        let totals = &mut self.destinations[connection.destination as usize];
        let (n_packets, n_bytes) = totals.way(found.direction);
        *n_packets += 1;
        *n_bytes += u64::from(bytes);
    }

    /// Notes a later fragment of `bytes` for a destination; its connection may have ended.
    pub(crate) fn count_for(&mut self, id: DestinationId, direction: Direction, bytes: u16) {
        let totals = &mut self.destinations[id.0 as usize];
        let (n_packets, n_bytes) = totals.way(direction);
        *n_packets += 1;
        *n_bytes += u64::from(bytes);
    }

    /// An identification for a datagram that leaves with the addresses of `key`.
    pub(crate) fn identification(&mut self, mut key: FlowKey, snapshot: &Snapshot) -> u32 {
        let bits = match &mut key {
            FlowKey::V4(key) => {
                key.l4_ports = 0;
                16
            }
            FlowKey::V6(key) => {
                key.l4_ports = 0;
                32
            }
        };
        let hash = self.table.hash(&key);
        let n_workers = snapshot.steering.n_workers();
        self.identifications.next(hash, bits, n_workers)
    }
}

/// Whose packet it is.
#[inline]
fn sight(found: Found, connection: &Connection) -> Sight {
    match found.direction {
        Direction::Inbound if connection.flags.has(Flags::ONE_WAY) => Sight::ClientAlone,
        Direction::Inbound => Sight::Client,
        Direction::Outbound => Sight::RealServer,
    }
}

/// A connection has ended.
fn discharge(
    destinations: &mut [DestinationTotals],
    loads: &mut [Load],
    overloads: &mut Overloads,
    thresholds: &[Thresholds],
    ended: &Connection,
) {
    let destination = ended.destination as usize;
    if ended.flags.has(Flags::TEMPLATE) {
        destinations[destination].templates -= 1;
    } else if let Some(state) = ended.state() {
        *destinations[destination].load.counter(state) -= 1;
        *loads[destination].counter(state) -= 1;
        let id = DestinationId(ended.destination);
        overloads.judge(id, loads[destination], thresholds);
    }
}

impl DestinationTotals {
    /// Packets and bytes that went this way.
    #[inline(always)]
    fn way(&mut self, direction: Direction) -> (&mut u64, &mut u64) {
        match direction {
            Direction::Inbound => (&mut self.inbound_packets, &mut self.inbound_bytes),
            Direction::Outbound => (&mut self.outbound_packets, &mut self.outbound_bytes),
        }
    }
}

impl Load {
    fn counter(&mut self, state: State) -> &mut u32 {
        if state.is_active() {
            &mut self.active
        } else {
            &mut self.inactive
        }
    }
}
