//! Forwarding: what is done to the bytes of a packet that belongs to a connection.
//!
//! Promises: either the packet is rewritten and ready for the wire, or it is as it came in and the verdict says why.
//! Does not know: how a connection was opened.

mod client_address;
mod dr;
mod fragment;
mod fullnat;
mod introduced;
mod one_way;
mod proxy;
mod related;
mod route;
mod sctp;
mod sequence;
mod translate;
mod tun;

pub(crate) use fragment::Course;
pub(crate) use route::route;
pub(crate) use sequence::begin_above;

use weir_wire::{Content, Headers, Packet, ipv4, ipv6};

use crate::connection::{Flags, Found};
use crate::ledger::Ledger;
use crate::{DropReason, NextHop, NextHopId, PuntReason, Snapshot, Tick, Verdict};

/// Forwards a packet of a connection, or an ICMP error about one.
#[inline(always)]
pub(crate) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Verdict {
    let flags = ledger.table.get(found.id).flags;
    let outcome = if flags.has(Flags::RARER) {
        // In this order DR is asked no more than before there was anything else.
        if !flags.has(Flags::TUNNEL.with(Flags::TOLD_OTHERWISE)) {
            dr::apply(packet, headers, found, ledger, snapshot, now)
        } else if flags.has(Flags::ONE_WAY) {
            tun::apply(packet, headers, found, ledger, snapshot, now)
        } else {
            apply_apart(packet, headers, found, ledger, snapshot, now)
        }
    } else {
        match headers.content {
            Content::Tcp | Content::Udp => {
                fullnat::apply(packet, headers, found, ledger, snapshot, now)
            }
            Content::Sctp => sctp::apply(packet, headers, found, ledger, snapshot, now),
            Content::IcmpError | Content::Icmp | Content::Arp => {
                related::apply(packet, headers, found, ledger, snapshot)
            }
        }
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

/// FULLNAT where more is done than both ends rewritten and TOA inserted. Apart, so that where all packets pass there is one
/// call.
#[inline(never)]
fn apply_apart(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let connection = ledger.table.get(found.id);
    match headers.content {
        Content::IcmpError if connection.is_translated() => {
            translate::related(packet, headers, found, ledger, snapshot)
        }
        Content::IcmpError => related::apply(packet, headers, found, ledger, snapshot),
        Content::Sctp if !connection.is_translated() => {
            sctp::apply(packet, headers, found, ledger, snapshot, now)
        }
        Content::Tcp | Content::Udp | Content::Sctp | Content::Icmp | Content::Arp => {
            if connection.flags.has(Flags::TOLD_OTHERWISE) {
                introduced::apply(packet, headers, found, ledger, snapshot, now)
            } else {
                translate::apply(packet, headers, found, ledger, snapshot, now)
            }
        }
    }
}

/// Takes one from the TTL or hop limit, and mends what depends on it.
#[inline]
fn decrement_ttl(frame: &mut [u8], headers: &Headers) {
    let Some(ip_header) = frame.get_mut(usize::from(headers.l3)..) else {
        return;
    };
    if headers.is_ipv6() {
        if let Some(header) = ip_header.first_chunk_mut() {
            ipv6::decrement_hop_limit(header);
        }
    } else if let Some(header) = ip_header.first_chunk_mut() {
        ipv4::decrement_ttl(header);
    }
}

/// Refuses a packet, to be sent to `hop` with `growth` more bytes, that cannot go there: before its first byte changes.
#[inline]
fn check_way(
    headers: &Headers,
    hop_id: NextHopId,
    hop: &NextHop,
    growth: u16,
) -> Result<(), Verdict> {
    let is_too_big = u32::from(headers.ip_bytes()) + u32::from(growth) > u32::from(hop.mtu);
    if is_too_big || headers.ttl <= 1 {
        return Err(refuse(headers, hop_id, hop, hop.mtu.saturating_sub(growth)));
    }
    Ok(())
}

/// What happens to such a packet, of which `mtu` bytes at most would have fitted: its sender is told, of one that is too
/// large also where it allowed fragmentation (which weir does not do), unless it is an ICMP error (RFC 1122 §3.2.2).
#[cold]
fn refuse(headers: &Headers, hop_id: NextHopId, hop: &NextHop, mtu: u16) -> Verdict {
    let is_too_big = headers.ip_bytes() > mtu;
    match (headers.content, is_too_big) {
        _ if !hop.is_resolved() => Verdict::Punt(PuntReason::NeighbourUnresolved(hop_id)),
        (Content::IcmpError, true) => Verdict::Drop(DropReason::TooBig),
        (Content::IcmpError, false) => Verdict::Drop(DropReason::TtlExceeded),
        (
            Content::Tcp | Content::Udp | Content::Sctp | Content::Icmp | Content::Arp,
            is_too_big,
        ) => Verdict::Punt(if is_too_big {
            PuntReason::TooBig { mtu }
        } else {
            PuntReason::TtlExceeded
        }),
    }
}
