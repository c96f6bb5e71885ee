//! FULLNAT between a client of one IP version and a real server of the other (NAT64, NAT46; RFC 7915).
//!
//! Promises: those of `fullnat` and `related`, and what the other version has no words for is dropped by name. Full
//! segments fit: an MSS is lowered to what leaves room for the longer header.
//! Does not know: how headers and ICMP errors are written (`weir_wire::translation`); fragments, which do not cross.

use weir_wire::sctp::Chunk;
use weir_wire::toa::{self, Toa};
use weir_wire::translation::{self, PathMtu};
use weir_wire::{Content, FlowKey, Headers, Packet, ethernet, icmp, icmpv6, ipv6, sctp, tcp};

use super::{Cuts, Terms, client_address, fullnat, related};
use crate::connection::{Connection, Direction, Flags, Found, Table};
use crate::ledger::Ledger;
use crate::{DropReason, NextHop, Snapshot, Tick, Verdict};

/// Forwards a packet of such a connection, with TOA where that is due. `Err`: it is as it came in.
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let Found { id, direction } = found;
    let connection = ledger.table.get(id);
    let hop = snapshot.next_hops.get(connection.next_hop(direction));
    let is_toa_due = headers.content == Content::Tcp
        && direction == Direction::Inbound
        && connection.flags.has(Flags::TOA)
        && client_address::is_due(connection, headers);
    let mut n_inserted = if is_toa_due {
        client_address::growth(headers)
    } else {
        0
    };
    // (1) Whatever refuses the packet does so before its first byte changes.
    leave(packet, headers, found, &ledger.table, hop, n_inserted)?;
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    if headers.content == Content::Tcp {
        fullnat::attend(packet, headers, found, ledger, snapshot, now, is_toa_due);
        fit_mss(packet, headers, found, ledger, snapshot);
    }
    if headers.content == Content::Sctp {
        let chunk = sctp::chunk(packet.frame(), headers);
        ledger.advance_sctp(found, chunk, now, &snapshot.settings.timeouts);
        if let Chunk::Init | Chunk::InitAck = chunk {
            let sctp_packet = usize::from(headers.l4)..usize::from(headers.end);
            sctp::hide_addresses(&mut packet.frame_mut()[sctp_packet]);
        }
    }
    if is_toa_due {
        n_inserted = match toa::insert(packet, headers, snapshot.settings.toa_kind) {
            Toa::Inserted(n_bytes) => n_bytes,
            Toa::Overwritten => 0,
            Toa::NoSpace => {
                ledger.n_toa_omitted += 1;
                0
            }
        };
    }
    // (3) It gets another IP header.
    rewrite(packet, headers, n_inserted, found, ledger, hop);
    Ok(Verdict::Transmit(hop.port))
}

/// As `super::leave`, of a packet that is to be translated if its connection is, and grows by `n_inserted` bytes beside. What
/// is translated is not cut.
pub(super) fn leave(
    packet: &Packet<'_>,
    headers: &Headers,
    found: Found,
    table: &Table,
    hop: &NextHop,
    n_inserted: u16,
) -> Result<Verdict, Verdict> {
    let connection = table.get(found.id);
    let hop_id = connection.next_hop(found.direction);
    let terms = Terms::growing(n_inserted);
    if !connection.is_translated() {
        return super::leave(packet, headers, hop_id, hop, &terms);
    }
    let growth = growth(headers, &ends(table, found)) + i32::from(n_inserted);
    let most = most_as_received(hop.mtu, growth);
    if headers.ip_bytes() > most || headers.ttl <= 1 {
        let never = Terms {
            cuts: Cuts::Never,
            ..terms
        };
        super::leave_otherwise(packet.frame(), headers, hop_id, hop, &never, most)?;
    }
    if (packet.headroom() as i32) < growth {
        return Err(Verdict::Drop(DropReason::NoHeadroom));
    }
    if !translation::is_translatable(packet.frame(), headers) {
        return Err(Verdict::Drop(DropReason::Untranslatable));
    }
    Ok(Verdict::Transmit(hop.port))
}

/// As `fullnat::rewrite_apart`, of a packet that was let pass by [`leave`] and has grown by `n_inserted` bytes since.
pub(super) fn rewrite(
    packet: &mut Packet<'_>,
    headers: &Headers,
    n_inserted: u16,
    found: Found,
    ledger: &mut Ledger,
    hop: &NextHop,
) {
    let connection = ledger.table.get(found.id);
    if !connection.is_translated() {
        return fullnat::rewrite_apart(packet.frame_mut(), headers, found, &ledger.table, hop);
    }
    let l4_delta = connection.l4_delta(found.direction);
    let ends = ends(&ledger.table, found);
    let identification = ledger.next_identification();
    // That there is room was seen before.
    let translated =
        translation::packet(packet, headers, n_inserted, &ends, l4_delta, identification);
    debug_assert!(translated.is_ok());
    ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
}

/// The key that a packet leaves with: what one direction is rewritten to is the other pair turned round.
fn ends(table: &Table, found: Found) -> FlowKey {
    table.key(found.id, found.direction.turned()).turned()
}

/// Bytes by which a packet becomes longer, or shorter if negative. An ICMP error has two IP headers, its own and the one
/// that it quotes.
fn growth(headers: &Headers, ends: &FlowKey) -> i32 {
    let new_header_bytes = i32::from(translation::ip_header_bytes(ends));
    match headers.content {
        Content::IcmpError => {
            let before_quoted_l4 = headers.quoted_l4 - headers.l3 - icmp::HEADER_BYTES as u16;
            2 * new_header_bytes - i32::from(before_quoted_l4)
        }
        Content::Tcp | Content::Udp | Content::Sctp | Content::Icmp | Content::Arp => {
            new_header_bytes - i32::from(headers.l4 - headers.l3)
        }
    }
}

/// The largest packet that fits a way of `mtu` bytes once it has grown.
fn most_as_received(mtu: u16, growth: i32) -> u16 {
    (i32::from(mtu) - growth).clamp(0, u16::MAX.into()) as u16
}

/// Lowers the MSS that a SYN offers: the segments that it invites go back, and must fit there with an IP header like this
/// segment's and with what weir inserts. Of a connection within one IP version nothing is changed.
pub(super) fn fit_mss(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
    snapshot: &Snapshot,
) {
    let connection = ledger.table.get(found.id);
    if !headers.tcp_flags.has(tcp::Flags::SYN) || !connection.is_translated() {
        return;
    }
    let back = back(connection, found.direction, snapshot);
    if !back.is_resolved() {
        return;
    }
    let client = ledger.table.key(found.id, Direction::Inbound);
    let n_header_bytes = translation::ip_header_bytes(&headers.key)
        + tcp::HEADER_BYTES as u16
        + related::inserted_bytes(headers, connection, &client, found.direction);
    let l4 = usize::from(headers.l4);
    let place = l4..l4 + usize::from(headers.l4_header_bytes);
    if let Some(header) = packet.frame_mut().get_mut(place) {
        tcp::clamp_mss(header, back.mtu.saturating_sub(n_header_bytes));
    }
}

/// Where the answers to a packet go.
fn back<'a>(connection: &Connection, direction: Direction, snapshot: &'a Snapshot) -> &'a NextHop {
    let hop_id = connection.next_hop(direction.turned());
    snapshot.next_hops.get(hop_id)
}

/// Translates an ICMP error for the end whose packet it quotes. `Err`: it is as it came in.
#[cold]
pub(super) fn related(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Result<Verdict, Verdict> {
    let connection = ledger.table.get(found.id);
    let hop = snapshot.next_hops.get(connection.next_hop(found.direction));
    leave(packet, headers, found, &ledger.table, hop, 0)?;
    let frame = packet.frame();
    let (l3, l4, end) = (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    );
    let is_right = if headers.is_ipv6() {
        ipv6::addresses(frame, l3).is_some_and(|(source, destination)| {
            icmpv6::checksum_is_right(&frame[l4..end], source, destination)
        })
    } else {
        icmp::checksum_is_right(&frame[l4..end])
    };
    if !is_right {
        return Err(Verdict::Drop(DropReason::IcmpChecksumWrong));
    }
    let ends = ends(&ledger.table, found);
    let client = ledger.table.key(found.id, Direction::Inbound);
    let n_inserted = related::inserted_bytes(headers, connection, &client, found.direction);
    // What the error's receiver may send as far as weir knows: it reaches weir by the error's hop and goes on by the other,
    // with an IP header like the error's.
    let back = back(connection, found.direction, snapshot);
    let onward = if back.is_resolved() {
        let growth = i32::from(translation::ip_header_bytes(&headers.key))
            - i32::from(translation::ip_header_bytes(&ends))
            + i32::from(n_inserted);
        most_as_received(back.mtu, growth)
    } else {
        u16::MAX
    };
    let path = PathMtu {
        n_inserted,
        most: onward.min(hop.mtu),
    };
    let header = translation::error_header(frame, headers, path)
        .ok_or(Verdict::Drop(DropReason::Untranslatable))?;
    // The quoted packet becomes the one that the error's receiver sent.
    let quoted = ends.turned();
    related::rewrite_quoted_l4(
        &mut packet.frame_mut()[usize::from(headers.quoted_l4)..end],
        quoted.l4_ports(),
        connection,
        &client,
        found.direction,
    );
    let identification = ledger.next_identification();
    // That there is room was seen before.
    let translated = translation::error(packet, headers, header, &ends, &quoted, identification);
    debug_assert!(translated.is_ok());
    ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
    Ok(Verdict::Transmit(hop.port))
}
