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

/// Which packets that are too large are cut into fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    /// None: what they leave in has no fragments that we may make.
    Never,
    /// Those of IPv4 that allow it.
    AsAllowed,
    /// All, for what they leave in allows it.
    All,
}

/// On what terms a packet leaves.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// Bytes by which it grows.
    growth: u16,
    /// The largest packet, in bytes, that is known to get through behind the next hop.
    path_mtu: u16,
    cuts: Cuts,
}

impl Terms {
    /// Those of a packet that goes as itself, grown by so many bytes.
    #[inline(always)]
    fn growing(growth: u16) -> Self {
        Self {
            growth,
            path_mtu: u16::MAX,
            cuts: Cuts::AsAllowed,
        }
    }
}

/// How a packet leaves that is to be sent to `hop`: whole, or in fragments. `Err`: it cannot go there. Before its first
/// byte changes.
#[inline]
fn leave(
    packet: &Packet<'_>,
    headers: &Headers,
    hop_id: NextHopId,
    hop: &NextHop,
    terms: &Terms,
) -> Result<Verdict, Verdict> {
    let mtu = hop.mtu.min(terms.path_mtu);
    if fits(headers, mtu, terms.growth) {
        return Ok(Verdict::Transmit(hop.port));
    }
    let most = mtu.saturating_sub(terms.growth);
    leave_otherwise(packet.frame(), headers, hop_id, hop, terms, most)
}

/// Whether a packet can be sent whole where `mtu` bytes get through, with `growth` more bytes.
#[inline]
fn fits(headers: &Headers, mtu: u16, growth: u16) -> bool {
    let is_too_big = u32::from(headers.ip_bytes()) + u32::from(growth) > u32::from(mtu);
    !is_too_big && headers.ttl > 1
}

/// What happens to a packet that does not leave whole, of which `most` bytes at most would have: it is cut, or its sender
/// is told, unless it is an ICMP error (RFC 1122 §3.2.2).
#[cold]
fn leave_otherwise(
    frame: &[u8],
    headers: &Headers,
    hop_id: NextHopId,
    hop: &NextHop,
    terms: &Terms,
    most: u16,
) -> Result<Verdict, Verdict> {
    if !hop.is_resolved() {
        return Err(Verdict::Punt(PuntReason::NeighbourUnresolved(hop_id)));
    }
    let is_error = match headers.content {
        Content::IcmpError => true,
        Content::Tcp | Content::Udp | Content::Sctp | Content::Icmp | Content::Arp => false,
    };
    Err(match (headers.ip_bytes() > most, is_error) {
        (false, true) => Verdict::Drop(DropReason::TtlExceeded),
        (_, false) if headers.ttl <= 1 => Verdict::Punt(PuntReason::TtlExceeded),
        (true, true) => Verdict::Drop(DropReason::TooBig),
        (true, false) if may_be_cut(frame, headers, terms, most) => {
            return cut(frame, headers, hop, terms);
        }
        (true, false) => Verdict::Punt(PuntReason::TooBig { mtu: most }),
        // It is neither too large nor at its end.
        (false, false) => return Ok(Verdict::Transmit(hop.port)),
    })
}

/// Whether a packet is one of those that are cut, and can be.
fn may_be_cut(frame: &[u8], headers: &Headers, terms: &Terms, most: u16) -> bool {
    let is_allowed = match terms.cuts {
        Cuts::Never => false,
        Cuts::AsAllowed => {
            !headers.is_ipv6() && !ipv4::forbids_fragmentation(frame, usize::from(headers.l3))
        }
        Cuts::All => true,
    };
    let has_room = usize::from(most) >= usize::from(headers.l4 - headers.l3) + LEAST_PART_BYTES;
    is_allowed && has_room && headers.ip_bytes().checked_add(terms.growth).is_some()
}

/// Every header of a fragment is written afresh: what was wrong is not to be made right.
fn cut(frame: &[u8], headers: &Headers, hop: &NextHop, terms: &Terms) -> Result<Verdict, Verdict> {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    if !headers.is_ipv6() && !ipv4::checksum_is_right(frame, l3, l4) {
        return Err(Verdict::Drop(DropReason::Ipv4ChecksumWrong));
    }
    Ok(Verdict::Fragment {
        port: hop.port,
        mtu: hop.mtu.min(terms.path_mtu),
    })
}

/// Bytes that a fragment carries at least, if it is not the last one.
const LEAST_PART_BYTES: usize = 8;
