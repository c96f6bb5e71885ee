//! One worker's decision state: what happens to each packet of a burst.
//!
//! Promises: a verdict for every packet; a packet whose verdict is not `Transmit` is as it came in. No allocation,
//! lock, system call or log line for a packet. Existing connections survive any snapshot that does not name them.
//! Does not know: buffers' owners, queues, clocks.
//!
//! How it works: a burst is walked in three short passes, so that the latencies of memory overlap: (1) parse and hash
//! every packet, and ask for its bucket; (2) match tags, and ask for the connection; (3) decide and rewrite. Only the
//! third may open a connection: one opened for packet 3 may own packet 5.

use std::sync::Arc;

use weir_memory::{MapError, Pages};
use weir_wire::ethernet::{self, Mac};
use weir_wire::{Content, Headers, Packet, ParseError};

use crate::connection::{Candidate, ConnectionView, Found, TableUsage};
use crate::ledger::Ledger;
use crate::open::{self, Newcomer};
use crate::totals::{DestinationTotals, Load};
use crate::{DestinationId, DropReason, PortId, Seed, Snapshot, Tick, Verdict, WorkerId, forward};

/// Packets that are handled together, at most.
pub const BURST: usize = 32;

/// How a burst reached the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// From a port.
    Wire {
        /// The port.
        port: PortId,
        /// The port's own MAC address.
        mac: Mac,
    },
    /// From another worker: it is not handed off again.
    HandedOver,
}

/// How large a director's memory is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// IPv4 connections the table has room for, at most 2^30; one of IPv6 takes the room of two.
    pub connections: u32,
    /// The pages of which the table is made.
    pub pages: Pages,
}

/// What the first two passes found out about a packet.
#[derive(Clone, Copy)]
struct Lookup {
    /// Valid if `parsed` says so.
    headers: Headers,
    parsed: Result<(), ParseError>,
    hash: u64,
    candidate: Candidate,
}

impl Lookup {
    const NONE: Self = Self {
        headers: Headers::NONE,
        parsed: Err(ParseError::EthernetTruncated),
        hash: 0,
        candidate: Candidate::NONE,
    };
}

/// One worker's decision state.
pub struct Director {
    me: WorkerId,
    snapshot: Arc<Snapshot>,
    ledger: Ledger,
    /// What is known of packet *i* of the burst.
    lookups: Box<[Lookup; BURST]>,
}

impl Director {
    /// A director without connections. `seed` comes from the system's randomness.
    pub fn new(
        me: WorkerId,
        sizes: Sizes,
        seed: Seed,
        snapshot: Arc<Snapshot>,
        now: Tick,
    ) -> Result<Self, MapError> {
        let ledger = Ledger::new(sizes.connections, seed, sizes.pages, now)?;
        Ok(Self {
            me,
            snapshot,
            ledger,
            lookups: Box::new([Lookup::NONE; BURST]),
        })
    }

    /// Decides by `snapshot` from now on; returns the one before.
    pub fn adopt(&mut self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        std::mem::replace(&mut self.snapshot, snapshot)
    }

    /// The snapshot it decides by.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Decides on up to [`BURST`] packets, and rewrites those that are to be transmitted. `verdicts[i]` is that of
    /// `packets[i]`.
    pub fn process(
        &mut self,
        packets: &mut [Packet<'_>],
        arrival: Arrival,
        now: Tick,
        verdicts: &mut [Verdict; BURST],
    ) {
        let Self {
            me,
            snapshot,
            ledger,
            lookups,
        } = self;
        let lookups = &mut lookups[..packets.len().min(BURST)];
        // (1) Parse, hash, ask for the bucket.
        for (packet, lookup) in packets.iter().zip(lookups.iter_mut()) {
            lookup.parsed = lookup.headers.parse_into(packet.frame());
            if lookup.parsed.is_ok() {
                lookup.hash = ledger.table.hash(&lookup.headers.key);
                ledger.table.prefetch(lookup.hash);
            }
        }
        // (2) Match tags, ask for the connection.
        for lookup in lookups.iter_mut() {
            lookup.candidate = match lookup.parsed {
                Ok(()) => ledger.table.guess(lookup.hash, lookup.headers.is_ipv6()),
                Err(_) => Candidate::NONE,
            };
        }
        // (3) Decide and rewrite.
        for ((packet, lookup), verdict) in packets.iter_mut().zip(lookups.iter()).zip(verdicts) {
            *verdict = match lookup.parsed {
                Err(error) => Verdict::Drop(error.into()),
                Ok(()) => match find(packet, lookup, arrival, ledger) {
                    Some(found) if !open::begins_anew(&lookup.headers, found, ledger) => {
                        forward::apply(packet, &lookup.headers, found, ledger, snapshot, now)
                    }
                    over => {
                        let over = over.map(|found| found.id);
                        let newcomer = Newcomer {
                            headers: &lookup.headers,
                            arrival,
                            over,
                            me: *me,
                        };
                        open_and_forward(packet, &newcomer, ledger, snapshot, now)
                    }
                },
            };
        }
    }

    /// Ends connections whose time is over, looking at about `budget` of them. Returns how many it looked at.
    pub fn expire(&mut self, now: Tick, budget: usize) -> usize {
        self.ledger
            .expire(now, &self.snapshot.settings.timeouts, budget)
    }

    /// Lists connections from place `from` (0 at first) on, looking at no more than `budget` places; `listed` gets
    /// each. Returns the place to go on from, or `None` at the end.
    pub fn list_connections(
        &self,
        from: u32,
        budget: u32,
        now: Tick,
        listed: impl FnMut(ConnectionView),
    ) -> Option<u32> {
        self.ledger
            .table
            .list(from, budget, now, &self.snapshot.settings.timeouts, listed)
    }

    /// How full the connection table is.
    pub fn usage(&self) -> TableUsage {
        self.ledger.table.usage()
    }

    /// Connections ended to make room for others.
    pub fn n_evicted(&self) -> u64 {
        self.ledger.n_evicted
    }

    /// Segments that went without TOA because their options left no room for it.
    pub fn n_toa_omitted(&self) -> u64 {
        self.ledger.n_toa_omitted
    }

    /// What this worker counted for a destination, whose id is below [`DestinationId::LIMIT`].
    pub fn destination_totals(&self, id: DestinationId) -> &DestinationTotals {
        &self.ledger.destinations[id.0 as usize]
    }

    /// Tells the load that all other workers have published for a destination.
    pub fn set_load_elsewhere(&mut self, id: DestinationId, load: Load) {
        self.ledger.destinations[id.0 as usize].load_elsewhere = load;
    }
}

/// The packet's connection, if it is to us and of one.
#[inline]
fn find(packet: &Packet<'_>, lookup: &Lookup, arrival: Arrival, ledger: &Ledger) -> Option<Found> {
    let Lookup {
        headers,
        hash,
        candidate,
        ..
    } = lookup;
    let is_of_a_flow = match headers.content {
        Content::Tcp | Content::Udp | Content::IcmpError => true,
        Content::Icmp | Content::Arp => false,
    };
    if !is_of_a_flow || !is_to_us(packet.frame(), arrival) {
        return None;
    }
    ledger.table.confirm(*candidate, &headers.key, *hash)
}

/// The way of a packet that goes on with no connection: it opens one and is forwarded, or is refused.
#[cold]
fn open_and_forward(
    packet: &mut Packet<'_>,
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Verdict {
    let headers = newcomer.headers;
    let is_for_a_group = matches!(headers.content, Content::Icmp | Content::Arp)
        && ethernet::destination(packet.frame()).is_some_and(Mac::is_group);
    if !is_for_a_group && !is_to_us(packet.frame(), newcomer.arrival) {
        return Verdict::Drop(DropReason::MacNotOurs);
    }
    match open::open(packet.frame(), newcomer, ledger, snapshot, now) {
        Ok(found) => forward::apply(packet, headers, found, ledger, snapshot, now),
        Err(verdict) => verdict,
    }
}

/// Whether a frame was sent to the port it came in by; one to another MAC address was flooded by a switch.
#[inline]
fn is_to_us(frame: &[u8], arrival: Arrival) -> bool {
    match arrival {
        Arrival::Wire { mac, .. } => ethernet::destination(frame) == Some(mac),
        Arrival::HandedOver => true,
    }
}
