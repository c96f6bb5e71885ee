//! FULLNAT where the real server learns of the client otherwise than by TOA, or is to learn nothing.
//!
//! Promises: as `fullnat`. What a client itself says in TOA or in the options of DPVS's UDP forms does not get through.
//! Does not know: the arithmetic of sequence numbers (`proxy`), nor how the forms are written (`weir_wire`).

use weir_wire::proxy_protocol::{Header, Version};
use weir_wire::uoa::{self, Form};
use weir_wire::{Content, Headers, Packet, payload, tcp};

use super::proxy::{self, Inbound};
use super::translate::{self, rewrite};
use crate::connection::{Connection, Direction, Flags, Found};
use crate::ledger::Ledger;
use crate::{ClientAddress, DropReason, Snapshot, Tick, Verdict};

/// Datagrams of a flow that carry the client's address in one of DPVS's forms; as many as DPVS sends. None of them is
/// acknowledged, so more than one go.
const TOLD_DATAGRAMS: u32 = 3;

/// Rewrites a TCP segment or UDP datagram of such a connection. `Err`: it is as it came in.
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    match (headers.content, found.direction) {
        (Content::Tcp, Direction::Inbound) => {
            segment_inbound(packet, headers, found, ledger, snapshot, now)
        }
        (Content::Tcp, Direction::Outbound) => {
            segment_outbound(packet, headers, found, ledger, snapshot, now)
        }
        // An ICMP error does not come here (`related`), nor does SCTP.
        (
            Content::Udp | Content::Sctp | Content::IcmpError | Content::Icmp | Content::Arp,
            Direction::Inbound,
        ) => datagram_inbound(packet, headers, found, ledger, snapshot, now),
        (
            Content::Udp | Content::Sctp | Content::IcmpError | Content::Icmp | Content::Arp,
            Direction::Outbound,
        ) => {
            let hop_id = ledger.table.get(found.id).next_hop(found.direction);
            let hop = snapshot.next_hops.get(hop_id);
            translate::check_way(packet, headers, found, &ledger.table, hop, 0)?;
            ledger.count(found, headers.ip_bytes(), now);
            rewrite(packet, headers, 0, found, ledger, hop);
            Ok(Verdict::Transmit(hop.port))
        }
    }
}

fn segment_inbound(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let connection = ledger.table.get(found.id);
    let hop_id = connection.next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let sequence = sequence(packet, headers);
    // (1) Whatever refuses the packet does so before its first byte changes.
    let header = proxy::header(connection, &headers.key, headers.tcp_flags);
    let step = proxy::inbound(connection, headers, sequence, &header)?;
    let growth = match step {
        Inbound::Headed(_) => header.len_bytes(),
        Inbound::Opening(_) | Inbound::Before(_) | Inbound::Behind(_) => 0,
    };
    translate::check_way(packet, headers, found, &ledger.table, hop, growth)?;
    check_headroom(packet, growth)?;
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    // (3) Numbers, options, data.
    let headers = &match step {
        Inbound::Opening(_) => payload::cut(packet, headers),
        Inbound::Before(_) | Inbound::Headed(_) | Inbound::Behind(_) => *headers,
    };
    translate::fit_mss(packet, headers, found, ledger, snapshot);
    let segment = segment(packet, headers);
    tcp::blank_option(segment, snapshot.settings.toa_kind);
    // Of another client than the one whose tuple it took over.
    let is_shifted = ledger.table.get(found.id).flags.has(Flags::SHIFTED);
    if is_shifted && headers.tcp_flags.has(tcp::Flags::SYN) {
        tcp::blank_option(segment, tcp::TIMESTAMPS);
    }
    match step {
        Inbound::Opening(delta) => {
            tcp::shift_sequence(segment, delta);
            tcp::clear_urgent(segment);
            // No cookie, so that the client does not send data that would be cut off again.
            tcp::blank_option(segment, tcp::FAST_OPEN);
        }
        Inbound::Before(delta) => {
            tcp::shift_sequence(segment, delta);
            tcp::clear_urgent(segment);
        }
        Inbound::Headed(delta) => {
            tcp::shift_sequence(segment, delta);
            tcp::move_urgent(segment, growth);
            // That there is room was seen above.
            let inserted = payload::insert(packet, headers, header.bytes());
            debug_assert!(inserted.is_ok());
        }
        Inbound::Behind(delta) => tcp::shift_sequence(segment, delta),
    }
    // (4) Both ends are rewritten. That the packet may have grown moves none of its headers.
    rewrite(packet, headers, growth, found, ledger, hop);
    Ok(Verdict::Transmit(hop.port))
}

fn segment_outbound(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    translate::check_way(packet, headers, found, &ledger.table, hop, 0)?;
    ledger.count(found, headers.ip_bytes(), now);
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    let client = ledger.table.key(found.id, Direction::Inbound);
    let connection = ledger.table.get_mut(found.id);
    let header = proxy::header(connection, &client, headers.tcp_flags);
    proxy::outbound(
        connection,
        headers.tcp_flags,
        headers.tcp_acknowledgement,
        &header,
        segment(packet, headers),
    );
    translate::fit_mss(packet, headers, found, ledger, snapshot);
    rewrite(packet, headers, 0, found, ledger, hop);
    Ok(Verdict::Transmit(hop.port))
}

fn datagram_inbound(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let connection = ledger.table.get(found.id);
    let hop_id = connection.next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let header = match connection.flags.client_address() {
        Some(ClientAddress::ProxyV2) => Header::new(Version::V2, &headers.key),
        Some(
            ClientAddress::Toa
            | ClientAddress::ProxyV1
            | ClientAddress::UdpOption
            | ClientAddress::UdpHeader
            | ClientAddress::None,
        )
        | None => Header::EMPTY,
    };
    let form = due_form(connection, headers);
    let growth = header.len_bytes() + form.map_or(0, |form| uoa::growth(form, headers));
    translate::check_way(packet, headers, found, &ledger.table, hop, growth)?;
    check_headroom(packet, header.len_bytes())?;
    ledger.count(found, headers.ip_bytes(), now);
    uoa::blank(packet.frame_mut(), headers);
    let mut headers = *headers;
    if header.len_bytes() != 0 {
        // That there is room was seen above.
        let inserted = payload::insert(packet, &headers, header.bytes());
        debug_assert!(inserted.is_ok());
    }
    if let Some(form) = form {
        match uoa::insert(packet, &headers, form) {
            Some(grown) => {
                headers = grown;
                ledger.table.get_mut(found.id).told();
            }
            None => ledger.n_toa_omitted += 1,
        }
    }
    rewrite(packet, &headers, header.len_bytes(), found, ledger, hop);
    Ok(Verdict::Transmit(hop.port))
}

/// Refuses the first fragment of a client's datagram that would have to carry a header: what it grew by would move all
/// the others.
#[cold]
pub(super) fn check_first_fragment(
    packet: &Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
) -> Result<(), Verdict> {
    let connection = ledger.table.get(found.id);
    let passes = match (found.direction, headers.content) {
        (Direction::Outbound, _) => true,
        (Direction::Inbound, Content::Tcp) => {
            let header = proxy::header(connection, &headers.key, headers.tcp_flags);
            // How long the segment is nobody knows yet: what does not begin behind the first byte may reach beyond it.
            match proxy::inbound(connection, headers, sequence(packet, headers), &header)? {
                Inbound::Behind(_) => true,
                Inbound::Opening(_) | Inbound::Before(_) | Inbound::Headed(_) => false,
            }
        }
        (
            Direction::Inbound,
            Content::Udp | Content::Sctp | Content::Icmp | Content::IcmpError | Content::Arp,
        ) => connection.flags.client_address() != Some(ClientAddress::ProxyV2),
    };
    if passes {
        Ok(())
    } else {
        Err(Verdict::Drop(DropReason::FragmentNeedsHeader))
    }
}

/// What is done to the first fragment's L4 header apart from its L4 ports, and what is learned from it. It was not refused.
#[cold]
pub(super) fn attend_first_fragment(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) {
    if headers.content != Content::Tcp {
        let is_inbound = found.direction == Direction::Inbound;
        if is_inbound && due_form(ledger.table.get(found.id), headers).is_some() {
            ledger.n_toa_omitted += 1;
        }
        return;
    }
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    let client = ledger.table.key(found.id, Direction::Inbound);
    let connection = ledger.table.get_mut(found.id);
    let header = proxy::header(connection, &client, headers.tcp_flags);
    match found.direction {
        Direction::Outbound => proxy::outbound(
            connection,
            headers.tcp_flags,
            headers.tcp_acknowledgement,
            &header,
            segment(packet, headers),
        ),
        Direction::Inbound => {
            let step = proxy::inbound(connection, headers, sequence(packet, headers), &header);
            let segment = segment(packet, headers);
            tcp::blank_option(segment, snapshot.settings.toa_kind);
            if connection.flags.has(Flags::SHIFTED) && headers.tcp_flags.has(tcp::Flags::SYN) {
                tcp::blank_option(segment, tcp::TIMESTAMPS);
            }
            if let Ok(Inbound::Behind(delta)) = step {
                tcp::shift_sequence(segment, delta);
            }
        }
    }
}

/// The sequence number of a segment.
fn sequence(packet: &Packet<'_>, headers: &Headers) -> u32 {
    packet.frame()[usize::from(headers.l4)..]
        .first_chunk()
        .map_or(0, tcp::sequence)
}

/// The form of DPVS's that goes with a datagram. They are of one IP version.
fn due_form(connection: &Connection, headers: &Headers) -> Option<Form> {
    if connection.is_translated() {
        return None;
    }
    let form = form_of(connection.flags.client_address(), headers.is_ipv6())?;
    (connection.n_told() < TOLD_DATAGRAMS).then_some(form)
}

/// The form of DPVS's in which the real server is told.
pub(super) fn form_of(client_address: Option<ClientAddress>, is_ipv6: bool) -> Option<Form> {
    match client_address {
        // IPv6 has no such option.
        Some(ClientAddress::UdpOption) if !is_ipv6 => Some(Form::Option),
        Some(ClientAddress::UdpOption | ClientAddress::UdpHeader) => Some(Form::Header),
        Some(
            ClientAddress::Toa
            | ClientAddress::ProxyV1
            | ClientAddress::ProxyV2
            | ClientAddress::None,
        )
        | None => None,
    }
}

/// A header that may not be left out needs room before the frame.
fn check_headroom(packet: &Packet<'_>, growth: u16) -> Result<(), Verdict> {
    if packet.headroom() < usize::from(growth) {
        return Err(Verdict::Drop(DropReason::NoHeadroom));
    }
    Ok(())
}

/// The TCP header with its options.
fn segment<'a>(packet: &'a mut Packet<'_>, headers: &Headers) -> &'a mut [u8] {
    &mut packet.frame_mut()[usize::from(headers.l4)..][..usize::from(headers.l4_header_bytes)]
}
