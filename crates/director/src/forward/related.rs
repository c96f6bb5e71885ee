//! ICMP errors about packets of a connection, translated for the end that sent those packets.
//!
//! Promises: what the error quotes is, but for what routers changed, the packet as its sender sent it: addresses, L4
//! ports, sequence numbers. SCTP knows its own by ports and verification tag (RFC 9260 §10), which nobody changes. An MTU is lowered by what weir inserts on that way.
//! Does not know: errors that weir itself makes (the control thread's work).

use weir_wire::checksum::Delta;
use weir_wire::{FlowKey, Headers, Packet, Protocol, ethernet, icmp, icmpv6, ipv4, ipv6, tcp, uoa};

use super::{client_address, introduced, proxy};

use super::{Cuts, Terms};
use crate::connection::{Connection, Direction, Flags, Found};
use crate::ledger::Ledger;
use crate::{ClientAddress, DropReason, Snapshot, Verdict};

/// Rewrites an ICMP or ICMPv6 error on its way in `found.direction`. `Err`: it is as it came in.
#[cold]
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
    snapshot: &Snapshot,
) -> Result<Verdict, Verdict> {
    let connection = ledger.table.get(found.id);
    let hop_id = connection.next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let leaves = super::leave(
        packet,
        headers,
        hop_id,
        hop,
        &Terms {
            cuts: Cuts::Never,
            ..Terms::growing(0)
        },
    )?;
    // The quoted packet becomes the one that the error's receiver sent: its own pair, in the other direction.
    let quoted = ledger.table.key(found.id, found.direction.turned());
    let client = ledger.table.key(found.id, Direction::Inbound);
    let frame = packet.frame_mut();
    let (l3, l4, end) = (
        usize::from(headers.l3),
        usize::from(headers.l4),
        usize::from(headers.end),
    );
    match (quoted, quoted.turned()) {
        (FlowKey::V4(quoted), FlowKey::V4(outer)) => {
            if !icmp::checksum_is_right(&frame[l4..end]) {
                return Err(Verdict::Drop(DropReason::IcmpChecksumWrong));
            }
            let quoted_l3 = l4 + icmp::HEADER_BYTES;
            if let Some(header) = frame[quoted_l3..end].first_chunk_mut() {
                ipv4::set_addresses(header, quoted.addresses);
            }
            rewrite_quoted_l4(
                &mut frame[usize::from(headers.quoted_l4)..end],
                quoted.l4_ports,
                connection,
                &client,
                found.direction,
            );
            icmp::lower_mtu(
                &mut frame[l4..end],
                inserted_bytes(headers, connection, &client, found.direction),
            );
            icmp::fill_checksum(&mut frame[l4..end]);
            if let Some(header) = frame[l3..].first_chunk_mut::<{ ipv4::HEADER_BYTES }>() {
                let delta = Delta::replacing(&header[12..], &outer.addresses.to_ne_bytes());
                ipv4::rewrite(header, outer.addresses, delta);
            }
        }
        (FlowKey::V6(quoted), FlowKey::V6(outer)) => {
            let is_right = ipv6::addresses(frame, l3).is_some_and(|(source, destination)| {
                icmpv6::checksum_is_right(&frame[l4..end], source, destination)
            });
            if !is_right {
                return Err(Verdict::Drop(DropReason::IcmpChecksumWrong));
            }
            let quoted_l3 = l4 + icmpv6::HEADER_BYTES;
            if let Some(header) = frame[quoted_l3..end].first_chunk_mut() {
                ipv6::set_addresses(header, quoted.source, quoted.destination);
            }
            rewrite_quoted_l4(
                &mut frame[usize::from(headers.quoted_l4)..end],
                quoted.l4_ports,
                connection,
                &client,
                found.direction,
            );
            icmpv6::lower_mtu(
                &mut frame[l4..end],
                inserted_bytes(headers, connection, &client, found.direction),
            );
            icmpv6::fill_checksum(&mut frame[l4..end], outer.source(), outer.destination());
            if let Some(header) = frame[l3..].first_chunk_mut() {
                ipv6::rewrite(header, outer.source, outer.destination);
            }
        }
        // A key and the same turned round are of one family; `translate` is for errors about two.
        (FlowKey::V4(_), FlowKey::V6(_)) | (FlowKey::V6(_), FlowKey::V4(_)) => {
            return Err(Verdict::Drop(DropReason::IcmpUnrelated));
        }
    }
    ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
    Ok(leaves)
}

/// Bytes that weir inserts into the packets that go the other way: those that an error on this way is about.
pub(super) fn inserted_bytes(
    headers: &Headers,
    connection: &Connection,
    client: &FlowKey,
    direction: Direction,
) -> u16 {
    let told = connection.flags.client_address();
    match (direction, told) {
        (Direction::Inbound, _) | (Direction::Outbound, None | Some(ClientAddress::None)) => 0,
        (Direction::Outbound, Some(ClientAddress::Toa)) => client_address::len_bytes(connection),
        (Direction::Outbound, Some(ClientAddress::ProxyV1 | ClientAddress::ProxyV2)) => {
            proxy::header(connection, client, tcp::Flags::default()).len_bytes()
        }
        (Direction::Outbound, Some(ClientAddress::UdpOption | ClientAddress::UdpHeader)) => {
            if connection.is_translated() {
                return 0;
            }
            let form = introduced::form_of(told, headers.is_ipv6());
            form.map_or(0, uoa_bytes(headers))
        }
    }
}

/// Bytes of a form of DPVS's in packets of the error's family without IP options.
fn uoa_bytes(headers: &Headers) -> impl Fn(uoa::Form) -> u16 {
    let ip_header_bytes = if headers.is_ipv6() {
        ipv6::HEADER_BYTES
    } else {
        ipv4::HEADER_BYTES
    };
    let plain = Headers {
        l4: headers.l3 + ip_header_bytes as u16,
        ..*headers
    };
    move |form| uoa::growth(form, &plain)
}

/// The quoted L4 ports, and the number that weir had shifted. The quoted checksum is left alone: whoever gets the
/// error has no use for it (RFC 5927 §4), and most quotations stop before it.
pub(super) fn rewrite_quoted_l4(
    quoted: &mut [u8],
    l4_ports: u32,
    connection: &Connection,
    client: &FlowKey,
    direction: Direction,
) {
    if let Some(there) = quoted.first_chunk_mut() {
        *there = l4_ports.to_ne_bytes();
    }
    let is_shifted = Flags::SHIFTED.with(Flags::TOLD_OTHERWISE);
    if connection.protocol() != Protocol::Tcp || !connection.flags.has(is_shifted) {
        return;
    }
    let header_bytes = proxy::header(connection, client, tcp::Flags::default()).len_bytes();
    // The client's sequence number went out raised by the delta, the real server's acknowledgement lowered by it.
    let at = match direction {
        Direction::Outbound => 4,
        Direction::Inbound => 8,
    };
    if let Some(number) = quoted.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        let there = u32::from_be_bytes(*number);
        let as_sent = match direction {
            Direction::Outbound if !connection.flags.has(Flags::TOLD_OTHERWISE) => {
                there.wrapping_sub(connection.sequence_delta)
            }
            Direction::Inbound if !connection.flags.has(Flags::TOLD_OTHERWISE) => {
                there.wrapping_add(connection.sequence_delta)
            }
            Direction::Outbound => proxy::as_the_client_counts(connection, header_bytes, there),
            Direction::Inbound => proxy::as_the_server_counts(connection, header_bytes, there),
        };
        *number = as_sent.to_be_bytes();
    }
}
