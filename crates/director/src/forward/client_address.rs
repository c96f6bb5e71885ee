//! TOA under FULLNAT: which segments carry the client's address to the real server.
//!
//! Promises: it goes with the SYN and with every inbound segment that acknowledges no more than the real server's
//! SYN, so that it arrives under SYN cookies, deferred accept and fast open alike.
//! Does not know: how the option is written (`weir_wire::toa`).

use weir_wire::tcp::{self, Flags as TcpFlags};
use weir_wire::{Headers, toa};

use crate::connection::{Connection, Direction, Flags};

/// Once the real server has sent this many bytes, no segment in flight is from the beginning; the comparison of
/// sequence numbers, which wraps after 2 GiB, is not made any more. It must be the real server's evidence: what the
/// client acknowledges it may have made up.
const WELL_PAST_BEGINNING: u64 = 1 << 30;

/// Whether the option goes with an inbound segment of a connection that has it.
#[inline]
pub(super) fn is_due(connection: &Connection, headers: &Headers) -> bool {
    // The usual case first: neither of the SYN, nor settled.
    match connection.server_initial_sequence() {
        Some(initial) if headers.tcp_flags.is_past_opening() && !is_settled(connection) => {
            let beyond_syn = headers
                .tcp_acknowledgement
                .wrapping_sub(initial.wrapping_add(1));
            beyond_syn == 0 || beyond_syn >= 1 << 31
        }
        _ => headers.tcp_flags.has(TcpFlags::SYN) || !connection.flags.has(Flags::TOA_DONE),
    }
}

/// Whether it goes with all segments, or with none, to the end.
#[inline]
fn is_settled(connection: &Connection) -> bool {
    connection.flags.has(Flags::TOA_DONE) || connection.flags.has(Flags::TOA_ALWAYS)
}

/// Whether the real server has sent so much that the option is over for good.
#[inline]
pub(super) fn is_past(connection: &Connection) -> bool {
    connection.bytes(Direction::Outbound) > WELL_PAST_BEGINNING && !is_settled(connection)
}

/// Bytes of the option with the address of the connection's client.
pub(super) fn len_bytes(connection: &Connection) -> u16 {
    if connection.is_ipv6(Direction::Inbound) {
        toa::IPV6_BYTES as u16
    } else {
        toa::IPV4_BYTES as u16
    }
}

/// Bytes by which the option lets a segment grow; 0 where its other options leave no room for it.
#[inline]
pub(super) fn growth(headers: &Headers) -> u16 {
    let bytes = toa::len_bytes(headers);
    let has_room =
        usize::from(headers.l4_header_bytes) + usize::from(bytes) <= tcp::MAX_HEADER_BYTES;
    if has_room { bytes } else { 0 }
}

/// Settles the question for good at the client's FIN, when the real server's initial sequence number is forgotten. A
/// client that acknowledges what the real server never sent does not get rid of the option that way.
pub(super) fn settle(connection: &mut Connection, is_due: bool) {
    let is_past = !is_due && connection.flags.has(Flags::SERVER_SPOKE);
    let outcome = if is_past {
        Flags::TOA_DONE
    } else {
        Flags::TOA_ALWAYS
    };
    connection.flags = connection.flags.with(outcome);
}
