//! A packet that belongs to no connection: it opens one, goes to the worker that owns it, or is refused by name.
//!
//! Promises: the packet is unchanged; a connection is opened whole or not at all.
//! Does not know: how packets are rewritten.
//!
//! How it works: (1) is it to us at all; (2) is it ours, or another worker's; (3) does a service want it; (4) where is the
//! client; (5) which destination; (6) which local port.

use std::sync::Arc;

use weir_wire::{Content, Headers, Protocol, ipv4, tcp};

use crate::address::AddressUse;
use crate::connection::{EntryId, Flags, Found, Keys, NewConnection};
use crate::forward;
use crate::ledger::Ledger;
use crate::local_port::LocalPortSearch;
use crate::scheduler::Applicant;
use crate::service::{ClientAddress, Method, Service, ServiceKey};
use crate::steering::Reply;
use crate::{Arrival, Direction, DropReason, PuntReason, Snapshot, State, Tick, Verdict, WorkerId};

/// A packet that goes on with no connection, and how it came here.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) arrival: Arrival,
    /// The connection of the same client that is over, in whose place it begins a new one.
    pub(crate) over: Option<EntryId>,
    /// The worker that asks.
    pub(crate) me: WorkerId,
}

/// Deals with a packet that belongs to no living connection of this worker. `Ok`: the connection it has just opened.
#[cold]
pub(crate) fn open(
    frame: &[u8],
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Found, Verdict> {
    let Newcomer {
        headers,
        arrival,
        over,
        me,
    } = *newcomer;
    // (1)
    match headers.content {
        Content::Arp => return Err(Verdict::Punt(PuntReason::Arp)),
        Content::Icmp => return Err(Verdict::Punt(PuntReason::Icmp)),
        Content::IcmpError | Content::Tcp | Content::Udp => {}
    }
    let destination_use = snapshot
        .addresses
        .find(headers.key.destination().ip())
        .ok_or(Verdict::Drop(DropReason::AddressNotOurs))?;
    // (2) Who had the connection that is over goes on.
    if let (Arrival::Wire { .. }, None) = (arrival, over) {
        let owner = snapshot.steering.owner(&headers.key, destination_use);
        if owner != me {
            return Err(Verdict::HandOff(owner));
        }
    }
    // (3)
    check_source(frame, headers, snapshot)?;
    if headers.content == Content::IcmpError {
        return Err(Verdict::Drop(DropReason::IcmpUnrelated));
    }
    let service = find_service(headers, destination_use, snapshot)?;
    if headers.content == Content::Tcp && !headers.tcp_flags.is_opening() {
        return Err(Verdict::Punt(PuntReason::NoConnection));
    }
    let id = open_for(service, frame, newcomer, ledger, snapshot, now)?;
    Ok(Found {
        id,
        direction: Direction::Inbound,
    })
}

/// A source that no reply could reach, and an IPv4 header that did not arrive as it was sent.
fn check_source(frame: &[u8], headers: &Headers, snapshot: &Snapshot) -> Result<(), Verdict> {
    if !headers.is_ipv6()
        && !ipv4::checksum_is_right(frame, usize::from(headers.l3), usize::from(headers.l4))
    {
        return Err(Verdict::Drop(DropReason::Ipv4ChecksumWrong));
    }
    let source = headers.key.source();
    let is_broadcast =
        matches!(source.ip(), std::net::IpAddr::V4(address) if address.is_broadcast());
    let is_nobody =
        source.ip().is_unspecified() || source.ip().is_multicast() || source.ip().is_loopback();
    if is_nobody || is_broadcast || snapshot.addresses.find(source.ip()).is_some() {
        return Err(Verdict::Drop(DropReason::SourceInvalid));
    }
    Ok(())
}

fn find_service<'a>(
    headers: &Headers,
    destination_use: AddressUse,
    snapshot: &'a Snapshot,
) -> Result<&'a Arc<Service>, Verdict> {
    match destination_use {
        AddressUse::Virtual => {
            let key = ServiceKey {
                protocol: headers.key.protocol(),
                virtual_endpoint: headers.key.destination(),
            };
            snapshot
                .services
                .find(&key)
                .ok_or(Verdict::Punt(PuntReason::NoService))
        }
        // A reply without a connection; the real server should give it up too.
        AddressUse::Local | AddressUse::FormerlyLocal if headers.content == Content::Tcp => {
            Err(Verdict::Punt(PuntReason::NoConnection))
        }
        AddressUse::Local
        | AddressUse::FormerlyLocal
        | AddressUse::FormerlyVirtual
        | AddressUse::Own => Err(Verdict::Punt(PuntReason::NoService)),
    }
}

/// (4) to (6): everything is found before anything is changed that could not stay.
fn open_for(
    service: &Service,
    frame: &[u8],
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<EntryId, Verdict> {
    let Newcomer {
        headers, over, me, ..
    } = *newcomer;
    // Its packet would go no further, so it needs no connection.
    if headers.ttl <= 1 {
        return Err(Verdict::Punt(PuntReason::TtlExceeded));
    }
    // (4)
    let client = headers.key;
    let back = snapshot
        .routes
        .next_hop(client.source().ip(), &snapshot.next_hops)
        .ok_or(Verdict::Drop(DropReason::NoRoute))?
        .ok_or(Verdict::Punt(PuntReason::NeighbourUnknown))?;
    // (5)
    let applicant = Applicant {
        client: client.source(),
        virtual_endpoint: client.destination(),
        now,
    };
    let destination = service
        .pick(&applicant, &mut ledger.scheduler_records, &ledger.loads)
        .ok_or(Verdict::Punt(PuntReason::NoDestination))?;
    let Method::FullNat {
        pool,
        client_address,
    } = &destination.method;
    // (6)
    let replies = Reply {
        protocol: service.key.protocol,
        real: destination.real,
        worker: me,
    };
    let totals = &mut ledger.destinations[destination.id.0 as usize];
    let mut search = LocalPortSearch {
        cursor: &mut totals.local_port_cursor,
        // Destinations begin apart: several may be one real server, whose tuples they share.
        origin: ledger
            .local_port_origin
            .wrapping_mul(2 * destination.id.0 + 1),
        table: &ledger.table,
        now,
    };
    let Some(lease) = search.lease(pool, &replies, &snapshot.steering) else {
        totals.local_ports_exhausted += 1;
        return Err(Verdict::Drop(DropReason::LocalPortsExhausted));
    };
    let keys = Keys([client, lease.reply]);
    let final_sequence = lease
        .taken_over
        .and_then(|id| ledger.table.get(id).final_sequence());
    if let Some(id) = lease.taken_over {
        ledger.close(id);
    }
    if let Some(id) = over.filter(|id| lease.taken_over != Some(*id)) {
        ledger.close(id);
    }
    let new = NewConnection {
        keys,
        state: initial_state(service.key.protocol),
        flags: initial_flags(service.key.protocol, *client_address),
        next_hops: [destination.next_hop, back],
        destination: destination.id,
    };
    let id = ledger
        .open(&new, now, &snapshot.settings.timeouts)
        .map_err(|_| Verdict::Drop(DropReason::TableFull))?;
    if let (Some(final_sequence), Some(initial)) =
        (final_sequence, initial_sequence(frame, headers))
    {
        forward::begin_above(ledger.table.get_mut(id), final_sequence, initial);
    }
    Ok(id)
}

fn initial_state(protocol: Protocol) -> State {
    match protocol {
        Protocol::Tcp => State::SynRecv,
        Protocol::Udp => State::Udp,
    }
}

fn initial_flags(protocol: Protocol, client_address: ClientAddress) -> Flags {
    match (protocol, client_address) {
        (Protocol::Tcp, ClientAddress::Toa) => Flags::TOA,
        (Protocol::Udp, ClientAddress::Toa) => Flags::default(),
    }
}

fn initial_sequence(frame: &[u8], headers: &Headers) -> Option<u32> {
    if headers.content != Content::Tcp {
        return None;
    }
    frame
        .get(usize::from(headers.l4)..)?
        .first_chunk()
        .map(tcp::sequence)
}

/// Whether a packet of a connection that is over begins a new one in its place (`conn_reuse_mode` 1 of IPVS).
#[inline]
pub(crate) fn begins_anew(headers: &Headers, found: Found, ledger: &Ledger) -> bool {
    headers.tcp_flags.is_opening()
        && found.direction == Direction::Inbound
        && ledger
            .table
            .get(found.id)
            .state()
            .is_some_and(State::is_over)
}
