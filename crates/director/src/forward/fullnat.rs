//! FULLNAT: both ends of a packet are rewritten, so that the real server talks to a local address of ours.
//!
//! Promises: checksums that were right stay right; checksums that were wrong stay wrong. TTL or hop limit is
//! decremented. The client's address goes with the first inbound segments as TOA.
//! Does not know: how the local port was found (`local_port`).

use weir_wire::toa::{self, Toa};
use weir_wire::{Content, Headers, Packet, ethernet, ipv4, ipv6, tcp, udp};

use super::{client_address, sequence};
use crate::connection::{Direction, EntryId, Flags, Found};
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
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let is_toa_due = is_toa_due(packet, headers, found, ledger);
    let growth = if is_toa_due {
        client_address::growth(headers)
    } else {
        0
    };
    // (1) Whatever refuses the packet does so before its first byte changes.
    let mtu = hop.mtu.saturating_sub(growth);
    if headers.ip_bytes() > mtu {
        return Err(if hop.is_resolved() {
            super::refuse_size(headers, mtu)
        } else {
            Verdict::Punt(PuntReason::NeighbourUnresolved(hop_id))
        });
    }
    if headers.ttl <= 1 {
        return Err(Verdict::Punt(PuntReason::TtlExceeded));
    }
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    let with_toa;
    let mut headers = headers;
    if headers.content == Content::Tcp {
        ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
        let header = &mut packet.frame_mut()[usize::from(headers.l4)..]
            [..usize::from(headers.l4_header_bytes)];
        match found.direction {
            Direction::Inbound => {
                edit_inbound(header, headers, found.id, ledger, snapshot, is_toa_due);
            }
            Direction::Outbound => edit_outbound(header, headers, found.id, ledger),
        }
        if is_toa_due {
            with_toa = insert_toa(packet, headers, found.id, ledger, snapshot);
            headers = &with_toa;
        }
    }
    // (3) Both ends are rewritten.
    rewrite(packet.frame_mut(), headers, found, ledger, &hop);
    Ok(Verdict::Transmit(hop.port))
}

/// Inserts TOA, or counts that there was no room for it; returns the headers as they are then.
#[inline]
fn insert_toa(
    packet: &mut Packet<'_>,
    headers: &Headers,
    id: EntryId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Headers {
    let mut headers = *headers;
    let client = ledger.table.client(id);
    match toa::insert(packet, &mut headers, snapshot.settings.toa_kind, client) {
        Toa::Inserted(_) | Toa::Overwritten => {}
        Toa::NoSpace => ledger.n_toa_omitted += 1,
    }
    headers
}

/// Whether TOA goes with the packet.
#[inline]
fn is_toa_due(packet: &Packet<'_>, headers: &Headers, found: Found, ledger: &mut Ledger) -> bool {
    if headers.content != Content::Tcp || found.direction == Direction::Outbound {
        return false;
    }
    let connection = ledger.table.get_mut(found.id);
    let header = packet.frame()[usize::from(headers.l4)..].first_chunk();
    header.is_some_and(|header| client_address::is_due(connection, headers.tcp_flags, header))
}

/// What is done to a client's TCP header apart from its L4 ports.
#[inline]
fn edit_inbound(
    header: &mut [u8],
    headers: &Headers,
    id: EntryId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    is_toa_due: bool,
) {
    let connection = ledger.table.get_mut(id);
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
    // Where ours goes in, it takes the place of a forged one.
    if connection.flags.has(Flags::TOA) && !is_toa_due && header.len() > tcp::HEADER_BYTES {
        tcp::blank_option(header, snapshot.settings.toa_kind);
    }
}

/// What is done to a real server's TCP header apart from its L4 ports.
#[inline]
fn edit_outbound(header: &mut [u8], headers: &Headers, id: EntryId, ledger: &mut Ledger) {
    let connection = ledger.table.get_mut(id);
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
    if connection.flags.has(Flags::SHIFTED) {
        sequence::shift_outbound(connection, header);
    }
}

/// Writes both ends, the TTL, the checksums and the Ethernet header.
#[inline]
fn rewrite(frame: &mut [u8], headers: &Headers, found: Found, ledger: &Ledger, hop: &NextHop) {
    let Found { id, direction } = found;
    let connection = ledger.table.get(id);
    ethernet::rewrite(frame, &hop.ethernet);
    let Some((ip_header, rest)) = frame.split_at_mut_checked(usize::from(headers.l4)) else {
        return;
    };
    let ip_header = &mut ip_header[usize::from(headers.l3)..];
    // What one direction is rewritten to is the other pair turned round.
    if headers.is_ipv6() {
        let addresses = ledger.table.addresses(id);
        let (source, destination) = match direction {
            Direction::Inbound => (addresses.lip, addresses.rip),
            Direction::Outbound => (addresses.vip, addresses.cip),
        };
        if let Some(ip_header) = ip_header.first_chunk_mut() {
            ipv6::rewrite(ip_header, source, destination);
        }
    } else if let Some(ip_header) = ip_header.first_chunk_mut() {
        let addresses = match direction {
            Direction::Inbound => connection.server_addresses,
            Direction::Outbound => connection.client_addresses,
        };
        ipv4::rewrite(
            ip_header,
            addresses.rotate_left(32),
            connection.ip_delta(direction),
        );
    }
    let l4_ports = match direction {
        Direction::Inbound => connection.server_l4_ports,
        Direction::Outbound => connection.client_l4_ports,
    };
    let l4_ports = l4_ports.rotate_left(16).to_ne_bytes();
    let delta = connection.l4_delta(direction);
    if headers.content == Content::Tcp {
        if let Some(header) = rest.first_chunk_mut() {
            tcp::rewrite(header, l4_ports, delta);
        }
    } else if let Some(header) = rest.first_chunk_mut() {
        udp::rewrite(header, l4_ports, delta);
    }
}
