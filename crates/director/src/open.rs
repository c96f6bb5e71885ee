//! A packet that belongs to no connection: it opens one, goes to the worker that owns it, is routed (NAT), or is refused
//! by name.
//!
//! Promises: the packet is unchanged; a connection is opened whole or not at all.
//! Does not know: how packets are rewritten.
//!
//! How it works: (1) is it to us at all; (2) is it ours, or another worker's; (3) does a service want it; (4) where is the
//! client; (5) which destination, of which another worker may have to be asked (`persistence`); (6) what its method needs
//! (`server_side`).

use std::net::IpAddr;
use std::sync::Arc;

use weir_wire::sctp::Chunk;
use weir_wire::{Content, Headers, Protocol, checksum, ipv4, sctp, tcp};

use crate::address::AddressUse;
use crate::connection::{EntryId, Flags, Found, Keys, NewConnection, Sponsor, TcpEvent};
use crate::forward;
use crate::ledger::Ledger;
use crate::persistence;
use crate::scheduler::Applicant;
use crate::server_side::ServerSide;
use crate::service::{Destination, Service, ServiceKey};
use crate::{
    Direction, DropReason, NextHopId, PuntReason, Snapshot, State, Tick, Verdict, WorkerId,
};

/// A packet that goes on with no connection, and how it came here.
#[derive(Clone, Copy)]
pub(crate) struct Newcomer<'a> {
    pub(crate) headers: &'a Headers,
    /// Of its key.
    pub(crate) hash: u64,
    /// Whether another worker has handed it over, so that it is not handed off again.
    pub(crate) was_handed_over: bool,
    /// The connection of the same client in whose place it begins a new one.
    pub(crate) over: Option<EntryId>,
    /// The worker that asks.
    pub(crate) me: WorkerId,
}

/// What becomes of a packet that is not refused.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// It goes the way of the connection that it has just opened.
    Connection(Found),
    /// Likewise, and the connection ends with it.
    OnePacket(Found),
    /// It belongs to none and is routed.
    Route(NextHopId),
}

/// Deals with a packet that belongs to no living connection of this worker.
#[cold]
pub(crate) fn open(
    frame: &[u8],
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Way, Verdict> {
    let Newcomer {
        headers,
        was_handed_over,
        over,
        me,
        ..
    } = *newcomer;
    // (1)
    if headers.content == Content::Arp {
        return Err(Verdict::Punt(PuntReason::Arp));
    }
    let destination_use = snapshot.addresses.find(headers.key.destination().ip());
    let Some(destination_use) = destination_use else {
        return route(frame, newcomer, snapshot).map(Way::Route);
    };
    match headers.content {
        Content::Arp | Content::Icmp => return Err(Verdict::Punt(PuntReason::Icmp)),
        Content::IcmpError | Content::Tcp | Content::Udp | Content::Sctp => {}
    }
    let service = find_service(headers, destination_use, snapshot);
    // (2) Who had the connection goes on.
    if !was_handed_over && over.is_none() {
        let owner = snapshot.owner(&headers.key, destination_use);
        if owner != me {
            return Err(Verdict::HandOff(owner));
        }
    }
    // (3)
    check_source(frame, headers, headers.key.source().ip(), snapshot)?;
    // Without a word, whatever it is addressed to, as in IPVS (`sctp_conn_schedule`).
    if headers.content == Content::Sctp
        && sctp::chunk(frame, headers) != Chunk::Init
        && !snapshot.settings.ipvs.sloppy_sctp
    {
        return Err(Verdict::Drop(DropReason::NoConnection));
    }
    let service = if headers.content == Content::IcmpError {
        let schedules = snapshot.settings.ipvs.schedule_icmp;
        let unrelated = Verdict::Drop(DropReason::IcmpUnrelated);
        let service = service.ok().filter(|_| schedules).ok_or(unrelated)?;
        if !checksum::l4_is_right(frame, headers) {
            return Err(Verdict::Drop(DropReason::IcmpChecksumWrong));
        }
        service
    } else {
        service?
    };
    if headers.content == Content::Tcp && !opens(headers.tcp_flags, snapshot) {
        return Err(Verdict::Punt(PuntReason::NoConnection));
    }
    let id = open_for(service, frame, newcomer, ledger, snapshot, now)?;
    let found = Found {
        id,
        direction: Direction::Inbound,
    };
    Ok(if service.one_packet {
        Way::OnePacket(found)
    } else {
        Way::Connection(found)
    })
}

/// The next hop of a packet to an address that is not ours: from or to a real server whose gateway we are.
fn route(frame: &[u8], newcomer: &Newcomer<'_>, snapshot: &Snapshot) -> Result<NextHopId, Verdict> {
    let Newcomer {
        headers,
        was_handed_over,
        me,
        ..
    } = *newcomer;
    // Which groups and link-local addresses are ours the control thread knows: neighbours are asked for there.
    let not_ours = match headers.content {
        Content::Icmp => Verdict::Punt(PuntReason::Icmp),
        Content::Arp | Content::IcmpError | Content::Tcp | Content::Udp | Content::Sctp => {
            Verdict::Drop(DropReason::AddressNotOurs)
        }
    };
    // An ICMP error's key is about the packet that it quotes, to whose sender it must go; who sent it is another matter.
    let (source, destination) = headers.ip_addresses(frame).ok_or(not_ours)?;
    if destination != headers.key.destination().ip() || !may_leave_its_link(destination) {
        return Err(not_ours);
    }
    let services = &snapshot.services;
    // It may be a reply, of a connection that another worker owns.
    if services.may_reply_under_nat(headers.key.source().ip()) {
        let owner = snapshot.steering.owner_under_nat(&headers.key.turned());
        let has_flow = headers.content != Content::Icmp;
        if has_flow && owner != me && !was_handed_over {
            return Err(Verdict::HandOff(owner));
        }
    }
    if !services.is_nat_server(source) && !services.is_nat_server(destination) {
        return Err(not_ours);
    }
    check_source(frame, headers, source, snapshot)?;
    if !may_leave_its_link(source) {
        return Err(Verdict::Drop(DropReason::SourceInvalid));
    }
    next_hop(destination, snapshot)
}

/// Whether a router may forward packets from or to an address (RFC 1812 §5.3.7, RFC 3927 §7, RFC 4291 §2.5). No groups
/// either: weir has no part in their routing.
fn may_leave_its_link(address: IpAddr) -> bool {
    let is_of_the_link = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_of_the_link || address.is_multicast() || address.is_loopback() || address.is_unspecified())
}

/// The next hop to a client, or to where a real server's packet goes.
fn next_hop(address: IpAddr, snapshot: &Snapshot) -> Result<NextHopId, Verdict> {
    snapshot
        .routes
        .next_hop(address, &snapshot.next_hops)
        .ok_or(Verdict::Drop(DropReason::NoRoute))?
        .ok_or(Verdict::Punt(PuntReason::NeighbourUnknown))
}

/// A source that no reply could reach, and an IPv4 header that did not arrive as it was sent.
fn check_source(
    frame: &[u8],
    headers: &Headers,
    source: IpAddr,
    snapshot: &Snapshot,
) -> Result<(), Verdict> {
    if !headers.is_ipv6()
        && !ipv4::checksum_is_right(frame, usize::from(headers.l3), usize::from(headers.l4))
    {
        return Err(Verdict::Drop(DropReason::Ipv4ChecksumWrong));
    }
    require_sender(source, snapshot)
}

/// A source that no reply could reach.
pub(crate) fn require_sender(source: IpAddr, snapshot: &Snapshot) -> Result<(), Verdict> {
    let is_broadcast = matches!(source, IpAddr::V4(address) if address.is_broadcast());
    let is_nobody = source.is_unspecified() || source.is_multicast() || source.is_loopback();
    if is_nobody || is_broadcast || snapshot.addresses.find(source).is_some() {
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
        AddressUse::Virtual => snapshot
            .services
            .serving(&ServiceKey::of(&headers.key))
            .ok_or(Verdict::Punt(PuntReason::NoService)),
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
    let headers = newcomer.headers;
    // Its packet would go no further, so it needs no connection.
    if headers.ttl <= 1 {
        return Err(Verdict::Punt(PuntReason::TtlExceeded));
    }
    // (4)
    let client = headers.key;
    let back = if service.has_replies() {
        Some(next_hop(client.source().ip(), snapshot)?)
    } else {
        None
    };
    // (5)
    let applicant = Applicant {
        client: client.source(),
        virtual_endpoint: client.destination(),
        now,
    };
    let (destination, sponsor) = match &service.persistence {
        None => {
            let overloads = ledger.overloads.view(snapshot.services.thresholds());
            let records = &mut ledger.scheduler_records;
            let destination = service
                .pick(&applicant, records, &ledger.loads, overloads)
                .ok_or(Verdict::Punt(PuntReason::NoDestination))?;
            (destination, None)
        }
        Some(persistence) => {
            let me = newcomer.me;
            let (destination, sponsor) =
                persistence::choice(service, persistence, &applicant, me, ledger, snapshot)?;
            (destination, Some(sponsor))
        }
    };
    let target = Target {
        destination,
        back,
        flags: match sponsor {
            None => Flags::default(),
            Some(_) => Flags::SPONSORED,
        },
    };
    let opened = open_to(service, &target, frame, newcomer, ledger, snapshot, now);
    if let Some(sponsor) = sponsor {
        settle(sponsor, opened, ledger);
    }
    opened
}

/// A template's choice was followed, or came to nothing.
#[cold]
fn settle(sponsor: Sponsor, opened: Result<EntryId, Verdict>, ledger: &mut Ledger) {
    match opened {
        Ok(id) => ledger.table.set_sponsor(id, sponsor),
        Err(_) => ledger.table.release(sponsor),
    }
}

/// What (4) and (5) have found.
struct Target<'a> {
    destination: &'a Destination,
    /// The next hop to the client, where replies come by.
    back: Option<NextHopId>,
    /// Beside those that the method brings.
    flags: Flags,
}

/// (6), and the connection.
#[inline(always)]
fn open_to(
    service: &Service,
    target: &Target<'_>,
    frame: &[u8],
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<EntryId, Verdict> {
    let Target {
        destination,
        back,
        flags,
    } = *target;
    let headers = newcomer.headers;
    let client = headers.key;
    let server_side = ServerSide::find(service, destination, newcomer, ledger, snapshot, now)?;
    let final_sequence = server_side
        .taken_over
        .and_then(|id| ledger.table.get(id).final_sequence())
        .filter(|_| server_side.is_lent);
    let over = newcomer
        .over
        .filter(|id| server_side.taken_over != Some(*id));
    for ended in [server_side.taken_over, over].into_iter().flatten() {
        ledger.close(ended, snapshot);
    }
    let new = NewConnection {
        keys: Keys([client, server_side.key]),
        hashes: [newcomer.hash, server_side.hash],
        state: initial_state(headers),
        flags: server_side.flags.with(flags),
        next_hops: [
            destination.next_hop,
            server_side.tunnel.or(back).unwrap_or(destination.next_hop),
        ],
        destination: destination.id,
    };
    let id = ledger
        .open(&new, now, snapshot)
        .map_err(|_| Verdict::Drop(DropReason::TableFull))?;
    if let (Some(final_sequence), Some(initial)) =
        (final_sequence, initial_sequence(frame, headers))
    {
        forward::begin_above(ledger.table.get_mut(id), final_sequence, initial);
    }
    Ok(id)
}

/// Whether a segment of no connection may open one.
fn opens(flags: tcp::Flags, snapshot: &Snapshot) -> bool {
    flags.is_opening() || snapshot.settings.ipvs.sloppy_tcp && !flags.has(tcp::Flags::RST)
}

/// The state into which IPVS's transitions lead from none. Those of SCTP depend on what is seen of the connection, and
/// are made as its packet goes on.
fn initial_state(headers: &Headers) -> State {
    match headers.key.protocol() {
        Protocol::Tcp => match TcpEvent::of(headers.tcp_flags) {
            Some(TcpEvent::Syn) => State::SynRecv,
            Some(TcpEvent::Ack) => State::Established,
            Some(TcpEvent::Fin | TcpEvent::Rst) | None => State::Close,
        },
        Protocol::Udp => State::Udp,
        Protocol::Sctp => State::SctpNone,
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
