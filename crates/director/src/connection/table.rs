//! The connection table: index, slab and timers as one.
//!
//! Promises: both keys of a living connection are in the index, or neither; its line is in exactly one slot of the
//! timer wheel. Every operation is bounded.
//! Does not know: what a state or a destination means to anybody else.
//!
//! How it works: a burst is walked in passes so that the latencies of memory overlap: `prefetch` for every packet,
//! then `guess` for every packet, then `confirm` one by one. Only between confirmations does the table change, so
//! a guess may be stale; `confirm` compares whole keys and looks again if it fails.

use weir_memory::{MapError, prefetch};
use weir_wire::{FlowKey, FlowKeyV4, FlowKeyV6};

use super::index::{Index, Slot};
use super::links::{self, Links};
use super::record::{Addresses, Connection, Keys, Line};
use super::slab::{self, Slab};
use super::templates::Templates;
use super::timers::{self, Timers};
use super::{ConnectionView, Direction, EntryId, Flags, State};
use crate::{DestinationId, NextHopId, Seed, Sizes, Tick, Timeouts};

/// How many due connections are looked at together, so that their lines arrive at the same time.
const EXPIRY_BURST: usize = 16;

/// What the second pass found: perhaps the packet's connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    slot: Option<Slot>,
    /// `Table::n_ended` then: a line freed since may hold something else by now.
    n_ended: u32,
}

impl Candidate {
    pub(crate) const NONE: Self = Self {
        slot: None,
        n_ended: 0,
    };
}

/// A packet's connection and the way the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: EntryId,
    pub(crate) direction: Direction,
}

/// What a new connection is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewConnection {
    pub(crate) keys: Keys,
    /// Theirs.
    pub(crate) hashes: [u64; 2],
    pub(crate) state: State,
    pub(crate) flags: Flags,
    /// By direction.
    pub(crate) next_hops: [NextHopId; 2],
    pub(crate) destination: DestinationId,
}

/// No room for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

/// How full a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableUsage {
    /// Living connections, and as many more of IPv4 as there is room for; of IPv6 it may be half as many more.
    pub capacity: u32,
    /// Living connections.
    pub used: u32,
}

/// How large a table is: it is full when either runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// An IPv4 connection takes one, an IPv6 connection two. They come in pairs.
    n_lines: u32,
    /// What the index has room for, of either family.
    n_connections: u32,
}

impl Limits {
    /// For `connections` of IPv4 and `ipv6_connections` of IPv6 beside them.
    fn new(connections: u32, ipv6_connections: u32) -> Self {
        let ipv6_connections = ipv6_connections.min(1 << 28);
        let n_lines = connections
            .saturating_add(2 * ipv6_connections)
            .clamp(2, 1 << 30)
            .next_multiple_of(2);
        Self {
            n_lines,
            n_connections: n_lines - ipv6_connections,
        }
    }
}

/// Bytes of memory for a table of so many connections (see [`Sizes`]), everything included.
pub fn bytes_needed(connections: u32, ipv6_connections: u32) -> usize {
    let limits = Limits::new(connections, ipv6_connections);
    let n_lines = limits.n_lines as usize;
    let n_rings = (slab::N_RINGS + timers::N_RINGS) as usize;
    n_lines * size_of::<Line>()
        + super::index::bytes_needed(limits.n_connections)
        + (n_lines + n_rings) * links::BYTES_PER_NODE
}

pub(crate) struct Table {
    pub(super) index: Index,
    pub(super) slab: Slab,
    pub(super) links: Links,
    pub(super) timers: Timers,
    pub(super) templates: Templates,
    seed: Seed,
    /// The line at which the next search for a victim begins.
    pub(super) eviction_hand: u32,
    /// Connections that have ended, wrapping.
    n_ended: u32,
    /// Living connections; at most `max_connections`.
    n_connections: u32,
    max_connections: u32,
}

impl Table {
    pub(crate) fn new(sizes: Sizes, seed: Seed, now: Tick) -> Result<Self, MapError> {
        let Sizes {
            connections,
            ipv6_connections,
            pages,
        } = sizes;
        let Limits {
            n_lines,
            n_connections: max_connections,
        } = Limits::new(connections, ipv6_connections);
        Ok(Self {
            index: Index::new(max_connections, pages)?,
            slab: Slab::new(n_lines, pages)?,
            links: Links::new(n_lines, slab::N_RINGS + timers::N_RINGS, pages)?,
            timers: Timers::new(now),
            templates: Templates::new(n_lines, max_connections)?,
            seed,
            eviction_hand: 0,
            n_ended: 0,
            n_connections: 0,
            max_connections,
        })
    }

    pub(crate) fn usage(&self) -> TableUsage {
        let n_lines_free = self.slab.n_lines() - self.slab.n_used();
        let n_indexable = self.max_connections - self.n_connections;
        TableUsage {
            capacity: self.n_connections + n_lines_free.min(n_indexable),
            used: self.n_connections,
        }
    }

    /// The hash of a key, to be passed to the functions below.
    #[inline]
    pub(crate) fn hash(&self, key: &FlowKey) -> u64 {
        self.seed.hash(key)
    }

    /// First pass: asks for the bucket.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// Second pass: matches tags in the bucket and asks for the connection, of a flow with `is_ipv6` for both lines.
    #[inline]
    pub(crate) fn guess(&self, hash: u64, is_ipv6: bool) -> Candidate {
        let slot = self.index.guess(hash);
        if let Some(slot) = slot {
            let line = slot.id().0;
            prefetch(self.slab.line(line));
            if is_ipv6 {
                prefetch(self.slab.line(line | 1));
            }
        }
        Candidate {
            slot,
            n_ended: self.n_ended,
        }
    }

    /// Third pass: whether the guess was right, or else where the connection is.
    #[inline]
    pub(crate) fn confirm(&self, candidate: Candidate, key: &FlowKey, hash: u64) -> Option<Found> {
        match candidate.slot {
            Some(slot) if candidate.n_ended == self.n_ended && self.is_key_of(slot, key) => {
                Some(Found {
                    id: slot.id(),
                    direction: slot.direction(),
                })
            }
            _ => self.find(key, hash),
        }
    }

    /// The connection of a key.
    #[cold]
    pub(crate) fn find(&self, key: &FlowKey, hash: u64) -> Option<Found> {
        let slot = self.index.find(hash, |slot| self.is_key_of(slot, key))?;
        Some(Found {
            id: slot.id(),
            direction: slot.direction(),
        })
    }

    #[inline]
    fn is_key_of(&self, slot: Slot, key: &FlowKey) -> bool {
        let (connection, direction) = (self.slab.get(slot.id()), slot.direction());
        let is_alike = connection.l4_ports(direction) == key.l4_ports()
            && connection.protocol == key.protocol().number();
        match key {
            FlowKey::V4(key) => {
                is_alike
                    && connection.addresses(direction) == key.addresses
                    && !connection.is_ipv6(direction)
            }
            FlowKey::V6(key) => {
                is_alike
                    && connection.is_ipv6(direction)
                    && self.addresses(slot.id()).pairs[direction as usize]
                        == [key.source, key.destination]
            }
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: EntryId) -> &Connection {
        self.slab.get(id)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: EntryId) -> &mut Connection {
        self.slab.get_mut(id)
    }

    /// The IPv6 addresses of a connection that takes two lines.
    #[inline]
    pub(crate) fn addresses(&self, id: EntryId) -> &Addresses {
        self.slab.line(id.0 + 1).addresses()
    }

    /// Both keys of a connection.
    pub(crate) fn keys(&self, id: EntryId) -> Keys {
        Keys([Direction::Inbound, Direction::Outbound].map(|direction| self.key(id, direction)))
    }

    /// The key of a connection's packets that go this way.
    #[inline]
    pub(crate) fn key(&self, id: EntryId, direction: Direction) -> FlowKey {
        let connection = self.slab.get(id);
        let (protocol, l4_ports) = (connection.protocol(), connection.l4_ports(direction));
        if connection.is_ipv6(direction) {
            let [source, destination] = self.addresses(id).pairs[direction as usize];
            FlowKey::V6(FlowKeyV6 {
                source,
                destination,
                l4_ports,
                protocol,
            })
        } else {
            FlowKey::V4(FlowKeyV4 {
                addresses: connection.addresses(direction),
                l4_ports,
                protocol,
            })
        }
    }

    /// Adds a connection neither of whose keys is there, and arms its timer.
    pub(crate) fn insert(
        &mut self,
        new: &NewConnection,
        now: Tick,
        timeouts: &Timeouts,
    ) -> Result<EntryId, TableFull> {
        if self.n_connections == self.max_connections {
            return Err(TableFull);
        }
        let is_pair = new.keys.has_ipv6();
        let id = self
            .slab
            .allocate(&mut self.links, is_pair)
            .ok_or(TableFull)?;
        let [client, server] = new.hashes;
        let (inbound, outbound) = (
            Slot::new(id, Direction::Inbound),
            Slot::new(id, Direction::Outbound),
        );
        let mut indexed = self.index.insert(client, inbound);
        if indexed.is_ok() && !new.flags.has(Flags::ONE_KEY) {
            indexed = self.index.insert(server, outbound);
            if indexed.is_err() {
                self.index.remove(client, inbound);
            }
        }
        if indexed.is_err() {
            self.slab.free(&mut self.links, id, is_pair);
            return Err(TableFull);
        }
        let mut connection = Connection::new(
            &new.keys,
            new.state,
            new.flags,
            new.next_hops,
            new.destination.0,
        );
        connection.saw(Direction::Inbound, 0, now);
        self.slab.set_line(id.0, connection);
        if is_pair {
            self.set_addresses(id, &new.keys);
        }
        self.timers
            .arm(&mut self.links, id.0, now.after(timeouts.ticks(new.state)));
        self.n_connections += 1;
        Ok(id)
    }

    /// Writes the second line of a connection with IPv6 addresses.
    pub(super) fn set_addresses(&mut self, id: EntryId, keys: &Keys) {
        let pairs = keys.0.map(|key| match key {
            FlowKey::V4(_) => [[0; 2]; 2],
            FlowKey::V6(key) => [key.source, key.destination],
        });
        self.slab.set_line(id.0 + 1, Addresses { pairs });
    }

    /// Ends a connection: both keys, the timer and the lines go. Returns what it was.
    pub(crate) fn remove(&mut self, id: EntryId) -> Connection {
        self.links.unlink(id.0);
        self.end(id)
    }

    /// As [`Self::remove`], of a connection whose timer was taken out already.
    fn end(&mut self, id: EntryId) -> Connection {
        self.n_ended = self.n_ended.wrapping_add(1);
        self.n_connections -= 1;
        let [client, server] = self.hashes(&self.keys(id));
        let connection = *self.slab.get(id);
        if connection.flags.has(Flags::SPONSORED) {
            self.release_of(id);
        }
        self.index.remove(client, Slot::new(id, Direction::Inbound));
        if !connection.flags.has(Flags::ONE_KEY) {
            self.index
                .remove(server, Slot::new(id, Direction::Outbound));
        }
        self.slab.free(&mut self.links, id, connection.is_pair());
        connection
    }

    /// The hashes of both keys.
    #[inline]
    pub(super) fn hashes(&self, keys: &Keys) -> [u64; 2] {
        let Keys([client, server]) = keys;
        [self.hash(client), self.hash(server)]
    }

    /// Puts a connection into another state; its timer is armed anew, for the new timeout may be the shorter one.
    pub(crate) fn set_state(&mut self, id: EntryId, state: State, now: Tick, timeouts: &Timeouts) {
        self.slab.get_mut(id).set_state(state);
        self.links.unlink(id.0);
        self.timers
            .arm(&mut self.links, id.0, now.after(timeouts.ticks(state)));
    }

    /// Ends connections that had no packet for their timeout, looking at no more than about `budget` of them;
    /// `ended` gets each. Returns how many were looked at.
    pub(crate) fn expire(
        &mut self,
        now: Tick,
        timeouts: &Timeouts,
        budget: usize,
        mut ended: impl FnMut(&Connection),
    ) -> usize {
        let mut n_looked_at = 0;
        while n_looked_at < budget {
            // (1) Take some out of the wheel and ask for their lines; (2) ask for the buckets of those that end; (3)
            // re-arm or end them.
            let mut due = [0u32; EXPIRY_BURST];
            let mut n_due = 0;
            while n_due < EXPIRY_BURST {
                let Some(line) = self.timers.next_due(&mut self.links, now) else {
                    break;
                };
                prefetch(self.slab.line(line));
                due[n_due] = line;
                n_due += 1;
            }
            if n_due == 0 {
                break;
            }
            let due = &due[..n_due];
            for line in due {
                if self.expiry(EntryId(*line), timeouts).is_due(now) {
                    for hash in self.hashes(&self.keys(EntryId(*line))) {
                        self.index.prefetch(hash);
                    }
                }
            }
            for line in due {
                let id = EntryId(*line);
                let expiry = self.expiry(id, timeouts);
                if expiry.is_due(now) && self.is_sponsoring(id) {
                    self.outlive(id, now);
                } else if expiry.is_due(now) {
                    ended(&self.end(id));
                } else {
                    self.timers.arm(&mut self.links, *line, expiry);
                }
            }
            n_looked_at += n_due;
        }
        n_looked_at
    }

    /// When a connection expires if no packet comes.
    fn expiry(&self, id: EntryId, timeouts: &Timeouts) -> Tick {
        let connection = self.slab.get(id);
        let timeout = match connection.state() {
            Some(state) if state.is_template() => connection.template_timeout(),
            Some(state) => timeouts.ticks(state),
            None => 0,
        };
        connection.last_seen().after(timeout)
    }

    /// The living connection whose first line this is.
    pub(super) fn connection_at(&self, line: u32) -> Option<(EntryId, &Connection)> {
        let is_second = line % 2 == 1 && {
            let before = self.slab.get(EntryId(line - 1));
            before.state().is_some() && before.is_pair()
        };
        let connection = self.slab.get(EntryId(line));
        (!is_second && connection.state().is_some()).then_some((EntryId(line), connection))
    }

    /// Lists connections from line `from` on, looking at no more than `budget` lines; `listed` gets each. Returns
    /// the line to go on from, or `None` at the end.
    pub(crate) fn list(
        &self,
        from: u32,
        budget: u32,
        now: Tick,
        timeouts: &Timeouts,
        mut listed: impl FnMut(ConnectionView),
    ) -> Option<u32> {
        let end = from.saturating_add(budget).min(self.slab.n_lines());
        for line in from..end {
            if let Some((id, _)) = self.connection_at(line)
                && let Some(view) = self.view(id, now, timeouts)
            {
                listed(view);
            }
        }
        (end < self.slab.n_lines()).then_some(end)
    }

    /// A connection as it is listed.
    fn view(&self, id: EntryId, now: Tick, timeouts: &Timeouts) -> Option<ConnectionView> {
        let connection = self.slab.get(id);
        let Keys([client, server]) = self.keys(id);
        Some(ConnectionView {
            protocol: connection.protocol(),
            client: client.source(),
            virtual_endpoint: client.destination(),
            local: server.destination(),
            real: server.source(),
            state: connection.state()?,
            expires_ticks: self.expiry(id, timeouts).since(now),
            destination: DestinationId(connection.destination),
            inbound_bytes: connection.bytes(Direction::Inbound),
            outbound_bytes: connection.bytes(Direction::Outbound),
        })
    }
}
