//! FULLNAT: both ends of a packet are rewritten, so that the real server talks to a local address of ours.
//!
//! Promises: checksums that were right stay right; checksums that were wrong stay wrong. TTL or hop limit is
//! decremented. The client's address goes with the first inbound segments as TOA.
//! Does not know: how the local port was found (`local_port`).

use weir_wire::toa::{self, Toa};
use weir_wire::{Content, Headers, Packet, ethernet, ipv4, ipv6, tcp, udp};

use super::{client_address, sequence};
use crate::connection::{Connection, Direction, EntryId, Flags, Found, Table};
use crate::ledger::Ledger;
use crate::{NextHop, PuntReason, Snapshot, Tick, Verdict};

/// Rewrites a TCP segment or UDP datagram of a connection. `Err`: it is as it came in.
#[inline]
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
        && client_address::is_due(connection, headers.tcp_flags, packet.frame(), headers);
    let growth = if is_toa_due {
        client_address::growth(headers)
    } else {
        0
    };
    // (1) Whatever refuses the packet does so before its first byte changes.
    let mtu = hop.mtu.saturating_sub(growth);
    if headers.ip_bytes() > mtu || headers.ttl <= 1 {
        return Err(refuse(headers, connection, direction, hop, mtu));
    }
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    if headers.content == Content::Tcp {
        ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
        let connection = ledger.table.get_mut(id);
        let is_edited = match direction {
            Direction::Inbound => is_edited_inbound(connection, headers, is_toa_due),
            Direction::Outbound => is_edited_outbound(connection, headers.tcp_flags),
        };
        if is_edited {
            let header = &mut packet.frame_mut()[usize::from(headers.l4)..]
                [..usize::from(headers.l4_header_bytes)];
            let toa_kind = snapshot.settings.toa_kind;
            match direction {
                Direction::Inbound => {
                    edit_inbound(header, headers, connection, is_toa_due, toa_kind);
                }
                Direction::Outbound => edit_outbound(header, headers, connection),
            }
        }
        if is_toa_due {
            insert_toa(packet, headers, id, ledger, snapshot);
        }
    }
    // (3) Both ends are rewritten. That the packet may have grown moves none of its headers.
    rewrite(packet.frame_mut(), headers, found, &ledger.table, hop);
    Ok(Verdict::Transmit(hop.port))
}

/// Why a packet goes no further: `mtu` bytes of it would have gone through.
#[cold]
fn refuse(
    headers: &Headers,
    connection: &Connection,
    direction: Direction,
    hop: &NextHop,
    mtu: u16,
) -> Verdict {
    if !hop.is_resolved() {
        Verdict::Punt(PuntReason::NeighbourUnresolved(
            connection.next_hop(direction),
        ))
    } else if headers.ip_bytes() > mtu {
        super::refuse_size(headers, mtu)
    } else {
        Verdict::Punt(PuntReason::TtlExceeded)
    }
}

/// Inserts TOA, or counts that there was no room for it.
fn insert_toa(
    packet: &mut Packet<'_>,
    headers: &Headers,
    id: EntryId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) {
    let client = ledger.table.client(id);
    match toa::insert(packet, headers, snapshot.settings.toa_kind, client) {
        Toa::Inserted(_) | Toa::Overwritten => {}
        Toa::NoSpace => ledger.n_toa_omitted += 1,
    }
}

/// Whether there is anything to do to a client's TCP header apart from its L4 ports.
#[inline]
fn is_edited_inbound(connection: &Connection, headers: &Headers, is_toa_due: bool) -> bool {
    // Where ours goes in, it takes the place of a forged one.
    let may_forge = connection.flags.has(Flags::TOA)
        && !is_toa_due
        && usize::from(headers.l4_header_bytes) > tcp::HEADER_BYTES;
    may_forge || headers.tcp_flags.has(tcp::Flags::FIN) || connection.flags.has(Flags::SHIFTED)
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

/// Whether there is anything to do to a real server's TCP header apart from its L4 ports, or to be learned from it.
#[inline]
fn is_edited_outbound(connection: &Connection, flags: tcp::Flags) -> bool {
    flags.has(tcp::Flags::SYN)
        || !connection.flags.has(Flags::SERVER_SPOKE)
        || connection.flags.has(Flags::SHIFTED)
        || client_address::is_past(connection)
}

/// What is done to a real server's TCP header apart from its L4 ports, and what is learned from it.
#[cold]
fn edit_outbound(header: &mut [u8], headers: &Headers, connection: &mut Connection) {
    if headers.tcp_flags.has(tcp::Flags::SYN) {
        if let Some(fixed) = header.first_chunk() {
            connection.set_server_initial_sequence(tcp::sequence(fixed));
        }
        if connection.flags.has(Flags::TOA) {
            tcp::lower_mss(header, toa::len_bytes(headers));
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

/// Writes both ends, the TTL, the checksums and the Ethernet header.
#[inline]
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
