//! TOA under FULLNAT: which segments carry the client's address to the real server.
//!
//! Promises: it goes with the SYN and with every inbound segment that acknowledges no more than the real server's
//! SYN, so that it arrives under SYN cookies, deferred accept and fast open alike.
//! Does not know: how the option is written (`weir_wire::toa`).

use weir_wire::Headers;
use weir_wire::tcp::{self, Flags as TcpFlags};

use crate::connection::{Connection, Flags};

/// Once this many bytes beyond its SYN are acknowledged, no segment in flight is from the beginning; the comparison
/// below, which wraps after 2 GiB, is not made any more.
const WELL_PAST_BEGINNING: u32 = 1 << 30;

/// Whether the option goes with an inbound segment, whose TCP header is `header`.
#[inline]
pub(super) fn is_due(
    connection: &mut Connection,
    flags: TcpFlags,
    header: &[u8; tcp::HEADER_BYTES],
) -> bool {
    if !connection.flags.has(Flags::TOA) || connection.flags.has(Flags::TOA_DONE) {
        return false;
    }
    let knows_server = connection.flags.has(Flags::ANSWERED) && flags.has(TcpFlags::ACK);
    if connection.flags.has(Flags::TOA_ALWAYS) || !knows_server {
        return true;
    }
    let syn_acknowledged = connection.server_sequence.wrapping_add(1);
    let beyond = tcp::acknowledgement(header).wrapping_sub(syn_acknowledged);
    if beyond > WELL_PAST_BEGINNING && beyond < 1 << 31 {
        connection.flags = connection.flags.with(Flags::TOA_DONE);
    }
    beyond == 0 || beyond >= 1 << 31
}

/// Bytes of the option.
#[inline]
pub(super) fn option_bytes(is_ipv6: bool) -> u16 {
    if is_ipv6 { 20 } else { 8 }
}

/// Bytes by which the option lets a segment grow; 0 where its other options leave no room for it.
#[inline]
pub(super) fn growth(headers: &Headers) -> u16 {
    let bytes = option_bytes(headers.is_ipv6());
    let has_room =
        usize::from(headers.l4_header_bytes) + usize::from(bytes) <= tcp::MAX_HEADER_BYTES;
    if has_room { bytes } else { 0 }
}

/// Settles the question for good at the client's FIN, when `server_sequence` gets another meaning.
pub(super) fn settle(connection: &mut Connection, is_due: bool) {
    let outcome = if is_due {
        Flags::TOA_ALWAYS
    } else {
        Flags::TOA_DONE
    };
    connection.flags = connection.flags.with(outcome);
}
