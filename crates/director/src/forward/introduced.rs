//! FULLNAT where the real server learns of the client otherwise than by TOA, or is to learn nothing.
//!
//! Promises: as `fullnat`. What a client itself says in TOA or in the options of DPVS's UDP forms does not get through.
//! Does not know: the arithmetic of sequence numbers (`proxy`), nor how the forms are written (`weir_wire`).

use weir_wire::proxy_protocol::{Header, Version};
use weir_wire::uoa::{self, Form};
use weir_wire::{Content, Headers, Packet, payload, tcp};

use super::fullnat::renumber;
use super::proxy::{self, Inbound};
use super::translate::{self, rewrite};
use crate::connection::{Connection, Direction, Flags, Found};
use crate::ledger::Ledger;
use crate::{ClientAddress, DropReason, Snapshot, Tick, Verdict};

/// Datagrams of a flow that carry the client's address in one of DPVS's forms; as many as DPVS sends. None of them is
/// acknowledged, so more than one go.
const TOLD_DATAGRAMS: u32 = 3;

/// Rewrites a TCP segment or UDP datagram of such a connection. `Err`: it is as it came in.
#[inline(never)]
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
            let leaves = translate::leave(packet, headers, found, &ledger.table, hop, 0)?;
            ledger.count(found, headers.ip_bytes(), now);
            rewrite(packet, headers, 0, found, ledger, hop);
            Ok(numbered(leaves, packet, headers, found, ledger, snapshot))
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
    let sequence = packet.frame()[usize::from(headers.l4)..]
        .first_chunk()
        .map_or(0, tcp::sequence);
    // (1) Whatever refuses the packet does so before its first byte changes.
    let header = proxy::header(connection, &headers.key, headers.tcp_flags);
    let step = proxy::inbound(connection, headers, sequence, &header)?;
    let growth = match step {
        Inbound::Headed(_) => header.len_bytes(),
        Inbound::Opening(_) | Inbound::Before(_) | Inbound::Behind(_) => 0,
    };
    let leaves = translate::leave(packet, headers, found, &ledger.table, hop, growth)?;
    check_headroom(packet, growth)?;
    // (2) The connection learns of it.
    ledger.count(found, headers.ip_bytes(), now);
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    // (3) Numbers, options, data.
    let headers = &match step {
        Inbound::Opening(_) => payload::cut(packet, headers),
        Inbound::Before(_) | Inbound::Headed(_) | Inbound::Behind(_) => *headers,
    };
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
    translate::fit_mss(packet, headers, found, ledger, snapshot);
    // (4) Both ends are rewritten. That the packet may have grown moves none of its headers.
    rewrite(packet, headers, growth, found, ledger, hop);
    Ok(numbered(leaves, packet, headers, found, ledger, snapshot))
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
    let leaves = translate::leave(packet, headers, found, &ledger.table, hop, 0)?;
    ledger.count(found, headers.ip_bytes(), now);
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    attend_outbound(packet, headers, found, ledger);
    translate::fit_mss(packet, headers, found, ledger, snapshot);
    rewrite(packet, headers, 0, found, ledger, hop);
    Ok(numbered(leaves, packet, headers, found, ledger, snapshot))
}

/// Numbers of a real server's segment, and what is learned from them.
fn attend_outbound(packet: &mut Packet<'_>, headers: &Headers, found: Found, ledger: &mut Ledger) {
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
    let leaves = translate::leave(packet, headers, found, &ledger.table, hop, growth)?;
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
    Ok(numbered(leaves, packet, &headers, found, ledger, snapshot))
}

/// Gives a packet that is to be cut an identification of its own.
fn numbered(
    leaves: Verdict,
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Verdict {
    if let Verdict::Fragment { .. } = leaves {
        renumber(packet.frame_mut(), headers, found, ledger, snapshot);
    }
    leaves
}

/// Whether a first fragment may go on, in which nothing can be inserted. `Err`: the real server would read what the
/// client says of itself where it looks for the PROXY header.
pub(super) fn check_fragment(
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
) -> Result<(), Verdict> {
    let flags = ledger.table.get(found.id).flags;
    let is_tcp = headers.content == Content::Tcp;
    let is_headed = match flags.client_address() {
        Some(ClientAddress::ProxyV1) => is_tcp,
        Some(ClientAddress::ProxyV2) => true,
        Some(
            ClientAddress::Toa
            | ClientAddress::UdpOption
            | ClientAddress::UdpHeader
            | ClientAddress::None,
        )
        | None => false,
    };
    // A stream has its header once; behind that nothing need be inserted.
    let is_behind =
        is_tcp && flags.has(Flags::HEADER_ARRIVED) && !headers.tcp_flags.has(tcp::Flags::SYN);
    if found.direction == Direction::Inbound && is_headed && !is_behind {
        return Err(Verdict::Drop(DropReason::FragmentBeforeHeader));
    }
    Ok(())
}

/// What is done to a first fragment apart from its ends, and what is learned from it.
pub(super) fn attend_fragment(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) {
    if headers.content != Content::Tcp {
        let connection = ledger.table.get(found.id);
        let is_due =
            found.direction == Direction::Inbound && due_form(connection, headers).is_some();
        ledger.n_toa_omitted += u64::from(is_due);
        return;
    }
    ledger.advance(found, headers.tcp_flags, now, &snapshot.settings.timeouts);
    if found.direction == Direction::Outbound {
        return attend_outbound(packet, headers, found, ledger);
    }
    let connection = ledger.table.get(found.id);
    let (delta, is_shifted) = (
        connection.sequence_delta,
        connection.flags.has(Flags::SHIFTED),
    );
    let segment = segment(packet, headers);
    tcp::blank_option(segment, snapshot.settings.toa_kind);
    if is_shifted && headers.tcp_flags.has(tcp::Flags::SYN) {
        tcp::blank_option(segment, tcp::TIMESTAMPS);
    }
    // There is no header before it, or it is behind that.
    tcp::shift_sequence(segment, delta);
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
