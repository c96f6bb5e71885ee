//! FULLNAT: both ends of a packet are rewritten, so that the real server talks to a local address of ours.
//!
//! Promises: checksums that were right stay right; checksums that were wrong stay wrong. TTL or hop limit is
//! decremented. The client's address goes with the first inbound segments as TOA.
//! Does not know: how the local port was found (`local_port`).

use weir_wire::toa::{self, Toa};
use weir_wire::{Content, Headers, Packet, ethernet, ipv4, ipv6, tcp, udp};

use super::{Terms, client_address, sequence};
use crate::connection::{Connection, Direction, Flags, Found, Table};
use crate::ledger::Ledger;
use crate::{NextHop, Snapshot, Tick, Verdict};

/// Rewrites a TCP segment or UDP datagram of a connection. `Err`: it is as it came in.
#[inline(always)]
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
    let hop_id = connection.next_hop(direction);
    let hop = snapshot.next_hops.get(hop_id);
    let is_toa_due = direction == Direction::Inbound
        && connection.flags.has(Flags::TOA)
        && client_address::is_due(connection, headers);
    let growth = if is_toa_due {
        client_address::growth(headers)
    } else {
        0
    };
    // (1) Whatever refuses the packet does so before its first byte changes.
    if !super::fits(headers, hop.mtu, growth) {
        return otherwise(packet, headers, found, ledger, snapshot, now, growth);
    }
    // (2) The connection learns of it.
    let is_plain = is_plain(headers, connection, direction);
    ledger.count(found, headers.ip_bytes(), now);
    if !is_plain {
        attend(packet, headers, found, ledger, snapshot, now, is_toa_due);
    }
    if is_toa_due {
        insert_toa(packet, headers, ledger, snapshot);
    }
    // (3) Both ends are rewritten. That the packet may have grown moves none of its headers.
    rewrite(packet.frame_mut(), headers, found, &ledger.table, hop);
    Ok(Verdict::Transmit(hop.port))
}

#[inline(always)]
fn insert_toa(
    packet: &mut Packet<'_>,
    headers: &Headers,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) {
    match toa::insert(packet, headers, snapshot.settings.toa_kind) {
        Toa::Inserted(_) | Toa::Overwritten => {}
        Toa::NoSpace => ledger.n_toa_omitted += 1,
    }
}

/// Likewise, of one that does not go as it is: apart, so that what goes is not asked twice.
#[cold]
fn otherwise(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
    growth: u16,
) -> Result<Verdict, Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let leaves = super::leave(packet, headers, hop_id, hop, &Terms::growing(growth))?;
    ledger.count(found, headers.ip_bytes(), now);
    if headers.content == Content::Tcp {
        let connection = ledger.table.get(found.id);
        let is_toa_due = found.direction == Direction::Inbound
            && connection.flags.has(Flags::TOA)
            && client_address::is_due(connection, headers);
        attend(packet, headers, found, ledger, snapshot, now, is_toa_due);
        if is_toa_due {
            insert_toa(packet, headers, ledger, snapshot);
        }
    }
    rewrite_apart(packet.frame_mut(), headers, found, &ledger.table, hop);
    if let Verdict::Fragment { .. } = leaves {
        renumber(packet.frame_mut(), headers, found, ledger, snapshot);
    }
    Ok(leaves)
}

/// An identification for a datagram of IPv4 that is about to be cut.
#[cold]
pub(super) fn renumber(
    frame: &mut [u8],
    headers: &Headers,
    Found { id, direction }: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) {
    let key = ledger.table.key(id, direction.turned()).turned();
    let identification = ledger.identification(key, snapshot);
    let ip_header = frame.get_mut(usize::from(headers.l3)..);
    if let Some(header) = ip_header.and_then(|header| header.first_chunk_mut()) {
        ipv4::set_identification(header, identification as u16);
    }
}

/// Whether a packet changes nothing but counters, and nothing of it changes but its ends: a datagram, or a segment of
/// an established connection behind its beginning.
#[inline]
fn is_plain(headers: &Headers, connection: &Connection, direction: Direction) -> bool {
    if headers.content != Content::Tcp {
        return true;
    }
    let is_established = connection.is_established()
        && !headers.tcp_flags.has(tcp::Flags::SYN_FIN_RST)
        && !connection.flags.has(Flags::SHIFTED);
    is_established
        && match direction {
            // A client may forge TOA among other options.
            Direction::Inbound => {
                headers.tcp_options != tcp::Options::Any || !connection.flags.has(Flags::TOA)
            }
            Direction::Outbound => {
                connection.flags.has(Flags::SERVER_SPOKE) && !client_address::is_past(connection)
            }
        }
}

/// What else there is to do for a TCP segment: the state follows it, numbers and options are edited.
#[inline(never)]
pub(super) fn attend(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
    is_toa_due: bool,
) {
    let Found { id, direction } = found;
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    let connection = ledger.table.get_mut(id);
    let header =
        &mut packet.frame_mut()[usize::from(headers.l4)..][..usize::from(headers.l4_header_bytes)];
    match direction {
        Direction::Inbound => {
            let toa_kind = snapshot.settings.toa_kind;
            edit_inbound(header, headers, connection, is_toa_due, toa_kind);
        }
        Direction::Outbound => edit_outbound(header, headers, connection),
    }
}

/// What is done to a client's TCP header apart from its L4 ports.
#[inline]
fn edit_inbound(
    header: &mut [u8],
    headers: &Headers,
    connection: &mut Connection,
    is_toa_due: bool,
    toa_kind: u8,
) {
    if headers.tcp_flags.has(tcp::Flags::FIN) {
        let n_data_bytes = headers.end - headers.l4 - u16::from(headers.l4_header_bytes);
        if let Some(fixed) = header.first_chunk() {
            client_address::settle(connection, is_toa_due);
            let after_fin = sequence::after_fin(connection, tcp::sequence(fixed), n_data_bytes);
            connection.set_final_sequence(after_fin);
        }
    }
    if connection.flags.has(Flags::SHIFTED) {
        sequence::shift_inbound(connection, headers.tcp_flags, header);
    }
    if connection.flags.has(Flags::TOA) && !is_toa_due {
        tcp::blank_option(header, toa_kind);
    }
}

/// What is done to a real server's TCP header apart from its L4 ports, and what is learned from it.
fn edit_outbound(header: &mut [u8], headers: &Headers, connection: &mut Connection) {
    if headers.tcp_flags.has(tcp::Flags::SYN) {
        if let Some(fixed) = header.first_chunk() {
            connection.set_server_initial_sequence(tcp::sequence(fixed));
        }
        if connection.flags.has(Flags::TOA) {
            tcp::lower_mss(header, client_address::len_bytes(connection));
        }
    }
    let has_data = headers.end - headers.l4 > u16::from(headers.l4_header_bytes);
    if has_data || headers.tcp_flags.has(tcp::Flags::FIN) {
        connection.flags = connection.flags.with(Flags::SERVER_SPOKE);
    }
    if client_address::is_past(connection) {
        connection.flags = connection.flags.with(Flags::TOA_DONE);
    }
    if connection.flags.has(Flags::SHIFTED) {
        sequence::shift_outbound(connection, header);
    }
}

/// As [`rewrite`], for those who ask from elsewhere: a copy of its own, so that it stays a part of [`apply`].
#[inline(never)]
pub(super) fn rewrite_apart(
    frame: &mut [u8],
    headers: &Headers,
    found: Found,
    table: &Table,
    hop: &NextHop,
) {
    rewrite(frame, headers, found, table, hop);
}

/// Writes both ends, the TTL, the checksums and the Ethernet header.
#[inline(always)]
fn rewrite(frame: &mut [u8], headers: &Headers, found: Found, table: &Table, hop: &NextHop) {
    let Found { id, direction } = found;
    let connection = table.get(id);
    ethernet::rewrite(frame, &hop.ethernet);
    let Some((before_l4, l4)) = frame.split_at_mut_checked(usize::from(headers.l4)) else {
        return;
    };
    let Some(ip_header) = before_l4.get_mut(usize::from(headers.l3)..) else {
        return;
    };
    // What one direction is rewritten to is the other pair turned round.
    let other = direction.turned();
    if headers.is_ipv6() {
        let [source, destination] = table.addresses(id).pairs[other as usize];
        if let Some(ip_header) = ip_header.first_chunk_mut() {
            ipv6::rewrite(ip_header, destination, source);
        }
    } else if let Some(ip_header) = ip_header.first_chunk_mut() {
        let addresses = connection.addresses(other).rotate_left(32);
        ipv4::rewrite(ip_header, addresses, connection.ip_delta(direction));
    }
    let l4_ports = connection.l4_ports(other).rotate_left(16).to_ne_bytes();
    let delta = connection.l4_delta(direction);
    if headers.content == Content::Tcp {
        if let Some(header) = l4.first_chunk_mut() {
            tcp::rewrite(header, l4_ports, delta);
        }
    } else if let Some(header) = l4.first_chunk_mut() {
        udp::rewrite(header, l4_ports, delta);
    }
}
