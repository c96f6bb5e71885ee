//! A PROXY header before the first byte of a client's stream: how both ends' numbers agree with what each sent.
//!
//! Promises: the header is the first thing the real server reads, whatever a client sends. A client sees nothing of it
//! but the real server's receive window, smaller by it for a moment. It takes no memory beside the record.
//! Does not know: the header's bytes (`weir_wire::proxy_protocol`), nor how packets are rewritten.
//!
//! How it works: the client's first byte has number `first`, which the real server's SYN tells, and nobody else: what a
//! client says of itself may be made up. A segment that begins there gets the header in front of its data, a bare
//! acknowledgement too, every time, until the real server has acknowledged all of the header. So a lost one comes
//! again, with the client's own retransmission or with its answer to the real server's. Whatever lies behind `first` is
//! shifted by the header's length:
//!
//! ```text
//!   the client counts            first ............... n
//!   the real server counts       first | header ...... n + header        (all of it, and sequence_delta)
//! ```
//!
//! Once acknowledged, the length is a part of `sequence_delta`, and all segments but SYNs are shifted alike. So is a
//! connection whose real server is told nothing: its header has no bytes.

use weir_wire::proxy_protocol::{Header, Version};
use weir_wire::{FlowKey, Headers, payload, tcp};

use crate::connection::{Connection, Flags};
use crate::{ClientAddress, DropReason, Verdict};

/// What is done to a client's segment; its sequence number is raised by the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inbound {
    /// A SYN: data in it (TCP fast open) would come before the header. It is cut off, and sent again by the client.
    Opening(u32),
    /// What lies before the first byte: an urgent pointer could still point into the header.
    Before(u32),
    /// The header goes in front of its data.
    Headed(u32),
    /// Nothing else.
    Behind(u32),
}

/// The header of a connection whose client's packets have this key. Without bytes where there is none, and where nobody
/// asks for it any more.
pub(super) fn header(connection: &Connection, client: &FlowKey, flags: tcp::Flags) -> Header {
    if connection.flags.has(Flags::HEADER_ARRIVED) && !flags.has(tcp::Flags::SYN) {
        return Header::EMPTY;
    }
    whole_header(connection, client)
}

/// Likewise, always.
pub(super) fn whole_header(connection: &Connection, client: &FlowKey) -> Header {
    match connection.flags.client_address() {
        Some(ClientAddress::ProxyV1) => Header::new(Version::V1, client),
        Some(ClientAddress::ProxyV2) => Header::new(Version::V2, client),
        Some(
            ClientAddress::Toa
            | ClientAddress::UdpOption
            | ClientAddress::UdpHeader
            | ClientAddress::None,
        )
        | None => Header::EMPTY,
    }
}

/// Decides on a client's segment with this sequence number; `header` is [`header`]'s. `Err`: its data would come before
/// the header, or in its place.
pub(super) fn inbound(
    connection: &Connection,
    headers: &Headers,
    sequence: u32,
    header: &Header,
) -> Result<Inbound, Verdict> {
    let header_bytes = u32::from(header.len_bytes());
    let delta = connection.sequence_delta;
    let has_arrived = connection.flags.has(Flags::HEADER_ARRIVED);
    if connection.flags.client_address() == Some(ClientAddress::None) {
        return Ok(Inbound::Behind(delta));
    }
    if headers.tcp_flags.has(tcp::Flags::SYN) {
        let included = if has_arrived { header_bytes } else { 0 };
        return Ok(Inbound::Opening(delta.wrapping_sub(included)));
    }
    if has_arrived {
        return Ok(Inbound::Behind(delta));
    }
    let is_reset = headers.tcp_flags.has(tcp::Flags::RST);
    let occupied = i32::from(payload::segment_bytes(headers))
        + i32::from(headers.tcp_flags.has(tcp::Flags::FIN));
    let Some(first) = connection.first_byte() else {
        // The real server has not answered: nobody can have anything to say to it.
        if occupied != 0 && !is_reset {
            return Err(Verdict::Drop(DropReason::BeforeProxyHeader));
        }
        return Ok(Inbound::Before(delta));
    };
    let from_first = sequence.wrapping_sub(first).cast_signed();
    if from_first < 0 && !is_reset && from_first.saturating_add(occupied) > 0 {
        return Err(Verdict::Drop(DropReason::BeforeProxyHeader));
    }
    Ok(match from_first {
        ..0 => Inbound::Before(delta),
        0 if is_reset => Inbound::Before(delta),
        0 => Inbound::Headed(delta),
        1.. => Inbound::Behind(delta.wrapping_add(header_bytes)),
    })
}

/// Shifts what a real server's segment acknowledges back, and learns from it; `header` is [`header`]'s.
pub(super) fn outbound(
    connection: &mut Connection,
    flags: tcp::Flags,
    acknowledged: u32,
    header: &Header,
    segment: &mut [u8],
) {
    let header_bytes = header.len_bytes();
    if flags.has(tcp::Flags::SYN) && flags.has(tcp::Flags::ACK) {
        if connection.flags.has(Flags::HEADER_ARRIVED) {
            connection.sequence_delta = connection
                .sequence_delta
                .wrapping_sub(u32::from(header_bytes));
        }
        let delta = connection.sequence_delta;
        connection.set_first_byte(acknowledged.wrapping_sub(delta));
        tcp::shift_acknowledgement(segment, delta.wrapping_neg());
        tcp::lower_mss(segment, header_bytes);
        return;
    }
    tcp::map_acknowledgement(segment, |number| {
        as_the_client_counts(connection, header_bytes, number)
    });
    // The acknowledgement in a reset is of what came, whether or not it was taken.
    let is_evidence = flags.has(tcp::Flags::ACK) && !flags.has(tcp::Flags::RST);
    if !is_evidence {
        return;
    }
    if !connection.flags.has(Flags::HEADER_ARRIVED)
        && let Some(first) = connection.first_byte()
    {
        let delta = connection
            .sequence_delta
            .wrapping_add(u32::from(header_bytes));
        if acknowledged
            .wrapping_sub(first.wrapping_add(delta))
            .cast_signed()
            >= 0
        {
            connection.sequence_delta = delta;
            connection.flags = connection.flags.with(Flags::HEADER_ARRIVED);
        }
    }
    // What it acknowledged last its TIME_WAIT remembers.
    let is_last = connection
        .final_sequence()
        .is_none_or(|last| acknowledged.wrapping_sub(last).cast_signed() > 0);
    let has_arrived = connection.flags.has(Flags::HEADER_ARRIVED);
    if has_arrived && is_last && !connection.is_established() {
        connection.set_final_sequence(acknowledged);
    }
}

/// A number of the real server's as the client counts: those inside the header are all that of the first byte.
pub(super) fn as_the_client_counts(connection: &Connection, header_bytes: u16, number: u32) -> u32 {
    let delta = connection.sequence_delta;
    let shifted = number.wrapping_sub(delta);
    if connection.flags.has(Flags::HEADER_ARRIVED) {
        return shifted;
    }
    let Some(first) = connection.first_byte() else {
        return shifted;
    };
    let beyond = shifted.wrapping_sub(first).cast_signed();
    match beyond {
        ..=0 => shifted,
        _ if beyond < i32::from(header_bytes) => first,
        _ => shifted.wrapping_sub(u32::from(header_bytes)),
    }
}

/// A number of the client's as the real server counts.
pub(super) fn as_the_server_counts(connection: &Connection, header_bytes: u16, number: u32) -> u32 {
    let shifted = number.wrapping_add(connection.sequence_delta);
    let is_behind = connection
        .first_byte()
        .is_some_and(|first| number.wrapping_sub(first).cast_signed() > 0);
    if is_behind && !connection.flags.has(Flags::HEADER_ARRIVED) {
        shifted.wrapping_add(u32::from(header_bytes))
    } else {
        shifted
    }
}
