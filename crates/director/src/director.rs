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
use weir_wire::{Content, Fragment, Headers, Packet, ParseError};

use crate::connection::{Candidate, ConnectionView, Found, Note, Table, TableUsage};
use crate::fate::{self, Fate};
use crate::ledger::Ledger;
use crate::open::{self, Newcomer, Way};
use crate::persistence::{self, Choice};
use crate::totals::{DestinationTotals, Load};
use crate::{
    DestinationId, DropReason, HoldPlace, PortId, Seed, Settled, Snapshot, Tick, Verdict, WorkerId,
    forward, fragments, tunnel_error,
};

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
    /// IPv4 connections the table has room for; one of IPv6 takes the room of two.
    pub connections: u32,
    /// IPv6 connections it has room for beside them. The first number and twice this one are 2^30 at most.
    pub ipv6_connections: u32,
    /// The pages of which the table is made.
    pub pages: Pages,
}

/// What the first two passes found out about a packet.
#[derive(Clone, Copy)]
struct Lookup {
    /// Valid if `parsed` says so.
    headers: Headers,
    parsed: Result<(), ParseError>,
    /// Whether its frame was sent to the port.
    is_to_us: bool,
    hash: u64,
    candidate: Candidate,
}

impl Lookup {
    const NONE: Self = Self {
        headers: Headers::NONE,
        parsed: Err(ParseError::EthernetTruncated),
        is_to_us: false,
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
        let mut ledger = Ledger::new(me, sizes, seed, now)?;
        ledger.share_identifications(snapshot.steering.n_workers());
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
        look_up(packets, arrival, &ledger.table, lookups);
        // (3) Decide and rewrite.
        for ((packet, lookup), verdict) in packets.iter_mut().zip(lookups.iter()).zip(verdicts) {
            let way = match find(lookup, ledger) {
                Some(found) if !fate::is_in_doubt(&lookup.headers, found, ledger, snapshot) => {
                    Ok(Way::Connection(found))
                }
                found => {
                    let asker = Asker { me: *me, arrival };
                    open(packet, lookup, found, asker, ledger, snapshot, now)
                }
            };
            *verdict = match way {
                // One call for both: a second one would keep `apply` from being a part of this loop.
                Ok(Way::Connection(found) | Way::OnePacket(found)) => {
                    let verdict =
                        forward::apply(packet, &lookup.headers, found, ledger, snapshot, now);
                    if matches!(way, Ok(Way::OnePacket(_))) {
                        ledger.close(found.id, snapshot);
                    }
                    verdict
                }
                Ok(Way::Route(hop)) => forward::route(packet, &lookup.headers, hop, snapshot)
                    .unwrap_or_else(|refusal| refusal),
                Err(verdict) => verdict,
            };
        }
    }

    /// Chooses a destination for a client whose template this worker has ([`Verdict::Consult`]); the verdict is the
    /// packet's end.
    #[cold]
    pub fn choose(&mut self, packet: &Packet<'_>, now: Tick) -> Result<Choice, Verdict> {
        let frame = packet.frame();
        // Not by `parse_into`: with a second caller in this crate it is no longer a part of `process`'s loop.
        let mut headers = Headers::parse(frame);
        if headers.as_ref().err() == Some(&ParseError::Fragment) {
            // The first one of its datagram: no other asks.
            headers = Fragment::parse(frame).map(|fragment| fragment.headers);
        }
        let headers = headers.map_err(|error| Verdict::Drop(error.into()))?;
        persistence::choose_for_other(&headers, &mut self.ledger, &self.snapshot, now)
    }

    /// Decides on a packet that comes back from there.
    #[cold]
    pub fn process_chosen(
        &mut self,
        packet: &mut Packet<'_>,
        choice: Choice,
        now: Tick,
    ) -> Verdict {
        self.ledger.choice = Some(choice);
        let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
        // Borrowed for one packet: `process` takes a burst.
        let packets = std::slice::from_mut(packet);
        self.process(packets, Arrival::HandedOver, now, &mut verdicts);
        // Its connection was there by now, or it was refused before anybody asked for the choice.
        if let Some(unused) = self.ledger.choice.take() {
            self.give_back(unused);
        }
        verdicts[0]
    }

    /// A choice comes to nothing.
    #[cold]
    pub fn give_back(&mut self, choice: Choice) {
        self.ledger.table.release(choice.sponsor());
    }

    /// What this worker has to tell another; it waits until [`Self::note_is_sent`].
    #[inline]
    pub fn next_note(&self) -> Option<Note> {
        self.ledger.table.next_note()
    }

    /// The note is on its way.
    pub fn note_is_sent(&mut self) {
        self.ledger.table.note_is_sent();
    }

    /// What another worker tells.
    pub fn take_note(&mut self, note: Note) {
        self.ledger.table.take_note(note);
    }

    /// Ends connections whose time is over, looking at about `budget` of them. Returns how many it looked at.
    pub fn expire(&mut self, now: Tick, budget: usize) -> usize {
        self.ledger.expire(now, &self.snapshot, budget)
    }

    /// What has become of a packet that was to be held ([`Verdict::Hold`]) and need not be any longer; `None`: of none
    /// now. To be asked until then once a turn.
    #[inline]
    pub fn settle(&mut self, now: Tick) -> Option<(HoldPlace, Settled)> {
        self.ledger.fragments.settle(now)
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

    /// Packets that went without the client's address because there was no room for it.
    pub fn n_toa_omitted(&self) -> u64 {
        self.ledger.n_toa_omitted
    }

    /// What this worker counted for a destination, whose id is below [`DestinationId::LIMIT`].
    pub fn destination_totals(&self, id: DestinationId) -> &DestinationTotals {
        &self.ledger.destinations[id.0 as usize]
    }

    /// Tells the load that all other workers have published for a destination.
    pub fn set_load_elsewhere(&mut self, id: DestinationId, load: Load) {
        self.ledger.set_load_elsewhere(id, load, &self.snapshot);
    }
}

/// The first two passes. Apart, so that they have all registers, whatever the third makes of packets.
#[inline(never)]
fn look_up(packets: &[Packet<'_>], arrival: Arrival, table: &Table, lookups: &mut [Lookup]) {
    // (1) Parse, hash, ask for the bucket.
    for (packet, lookup) in packets.iter().zip(lookups.iter_mut()) {
        let frame = packet.frame();
        lookup.parsed = lookup.headers.parse_into(frame);
        lookup.is_to_us = is_to_us(frame, arrival);
        if lookup.parsed.is_ok() {
            lookup.hash = table.hash(&lookup.headers.key);
            table.prefetch(lookup.hash);
        }
    }
    // (2) Match tags, ask for the connection.
    for lookup in lookups.iter_mut() {
        lookup.candidate = if lookup.parsed.is_ok() {
            table.guess(lookup.hash, lookup.headers.is_ipv6())
        } else {
            Candidate::NONE
        };
    }
}

/// The packet's connection, if the packet is to us and of one.
#[inline]
fn find(lookup: &Lookup, ledger: &Ledger) -> Option<Found> {
    let is_of_a_flow = match lookup.headers.content {
        Content::Tcp | Content::Udp | Content::Sctp | Content::IcmpError => true,
        Content::Icmp | Content::Arp => false,
    };
    if !lookup.is_to_us || !is_of_a_flow || lookup.parsed.is_err() {
        return None;
    }
    ledger
        .table
        .confirm(lookup.candidate, &lookup.headers.key, lookup.hash)
}

/// Who asks about a packet, and how it came here.
#[derive(Clone, Copy)]
struct Asker {
    me: WorkerId,
    arrival: Arrival,
}

/// Opens a connection for a packet that has none, or perhaps does not go on with the one it has, or says what becomes
/// of it.
#[cold]
fn open(
    packet: &mut Packet<'_>,
    lookup: &Lookup,
    found: Option<Found>,
    Asker { me, arrival }: Asker,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Way, Verdict> {
    if is_perhaps_about_a_tunnel(lookup, found)
        && let Some(about) = tunnel_error::find(packet.frame(), snapshot)
    {
        return Err(about.process(packet, arrival, me, ledger, snapshot));
    }
    match lookup.parsed {
        Ok(()) => {}
        Err(ParseError::Fragment) if lookup.is_to_us => {
            return Err(fragments::process(
                packet, arrival, me, ledger, snapshot, now,
            ));
        }
        Err(ParseError::Fragment) => return Err(Verdict::Drop(DropReason::MacNotOurs)),
        Err(error) => return Err(Verdict::Drop(error.into())),
    }
    let headers = &lookup.headers;
    let is_for_a_group = matches!(headers.content, Content::Icmp | Content::Arp)
        && ethernet::destination(packet.frame()).is_some_and(Mac::is_group);
    if !lookup.is_to_us && !is_for_a_group {
        return Err(Verdict::Drop(DropReason::MacNotOurs));
    }
    let newcomer = Newcomer {
        headers,
        hash: lookup.hash,
        was_handed_over: matches!(arrival, Arrival::HandedOver),
        over: None,
        me,
    };
    match way(packet.frame(), newcomer, found, ledger, snapshot, now)? {
        // What the link spreads to many is not passed on to another (RFC 1812 §5.3.4).
        Way::Route(_) if !lookup.is_to_us => Err(Verdict::Drop(DropReason::MacNotOurs)),
        way @ (Way::Route(_) | Way::Connection(_) | Way::OnePacket(_)) => Ok(way),
    }
}

/// What becomes of the first fragment of a datagram: as of a whole packet with its headers.
pub(crate) fn way_of(
    packet: &Packet<'_>,
    headers: &Headers,
    was_handed_over: bool,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Way, Verdict> {
    let hash = ledger.table.hash(&headers.key);
    let found = ledger.table.find(&headers.key, hash);
    let newcomer = Newcomer {
        headers,
        hash,
        was_handed_over,
        over: None,
        me,
    };
    way(packet.frame(), newcomer, found, ledger, snapshot, now)
}

fn way(
    frame: &[u8],
    mut newcomer: Newcomer<'_>,
    found: Option<Found>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Way, Verdict> {
    if let Some(found) = found {
        match fate::of(frame, newcomer.headers, found, ledger, snapshot) {
            Fate::GoesOn => return Ok(Way::Connection(found)),
            Fate::BeginsAnew => newcomer.over = Some(found.id),
            Fate::Ends => ledger.close(found.id, snapshot),
            Fate::Waits => return Err(Verdict::Drop(DropReason::DestinationRemoved)),
        }
    }
    open::open(frame, &newcomer, ledger, snapshot, now)
}

/// Whether a packet may be an ICMP error about one that was in a tunnel: such a one is of no connection's protocol, or of
/// GUE's own UDP flow.
fn is_perhaps_about_a_tunnel(lookup: &Lookup, found: Option<Found>) -> bool {
    lookup.is_to_us
        && match lookup.parsed {
            Ok(()) => lookup.headers.content == Content::IcmpError && found.is_none(),
            Err(error) => error == ParseError::ProtocolUnknown,
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
