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
use weir_wire::ethernet::Mac;
use weir_wire::{Content, Headers, Packet};

use crate::connection::{Candidate, ConnectionView, TableUsage};
use crate::ledger::Ledger;
use crate::totals::{DestinationTotals, Load};
use crate::{DestinationId, PortId, Seed, Snapshot, Tick, Verdict, WorkerId, forward, open};

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
    /// From another worker, or once more from the control thread: it is not handed off again.
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
    headers: Headers,
    hash: u64,
    candidate: Candidate,
}

/// One worker's decision state.
pub struct Director {
    me: WorkerId,
    snapshot: Arc<Snapshot>,
    ledger: Ledger,
    /// Packet *i* of the burst: why it was not understood, or what is known of it.
    lookups: Box<[Option<Lookup>; BURST]>,
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
            lookups: Box::new([None; BURST]),
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
        // (1) Parse, hash, ask for the bucket.
        for ((packet, lookup), verdict) in packets
            .iter()
            .zip(self.lookups.iter_mut())
            .zip(verdicts.iter_mut())
        {
            *lookup = match Headers::parse(packet.frame()) {
                Ok(headers) => {
                    let hash = self.ledger.table.hash(&headers.key);
                    self.ledger.table.prefetch(hash);
                    Some(Lookup {
                        headers,
                        hash,
                        candidate: Candidate::NONE,
                    })
                }
                Err(error) => {
                    *verdict = Verdict::Drop(error.into());
                    None
                }
            };
        }
        // (2) Match tags, ask for the connection.
        let lookups = &mut self.lookups[..packets.len().min(BURST)];
        for lookup in lookups.iter_mut().flatten() {
            lookup.candidate = self.ledger.table.guess(lookup.hash);
        }
        // (3) Decide and rewrite.
        for ((packet, lookup), verdict) in packets
            .iter_mut()
            .zip(lookups.iter())
            .zip(verdicts.iter_mut())
        {
            if let Some(lookup) = lookup {
                *verdict = decide(
                    packet,
                    lookup,
                    arrival,
                    self.me,
                    &mut self.ledger,
                    &self.snapshot,
                    now,
                );
            }
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

/// Finds, or opens, the packet's connection, and forwards the packet.
#[inline]
fn decide(
    packet: &mut Packet<'_>,
    lookup: &Lookup,
    arrival: Arrival,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Verdict {
    let Lookup {
        headers,
        hash,
        candidate,
    } = lookup;
    let is_flow = !matches!(headers.content, Content::Icmp | Content::Arp);
    let mut known = if is_flow {
        ledger.table.confirm(*candidate, &headers.key, *hash)
    } else {
        None
    };
    if let Some(over) = known.filter(|found| open::begins_anew(headers, *found, ledger)) {
        ledger.close(over.id);
        known = None;
    }
    let found = match known {
        Some(found) => found,
        None => match open::open(packet.frame(), headers, arrival, me, ledger, snapshot, now) {
            Ok(found) => found,
            Err(verdict) => return verdict,
        },
    };
    forward::apply(packet, headers, found, ledger, snapshot, now)
}
