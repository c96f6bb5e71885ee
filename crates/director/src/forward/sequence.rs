//! Sequence numbers of a tuple that is taken over while the real server may still hold its TIME_WAIT.
//!
//! Promises: the real server sees an initial sequence number above the last one it saw on that tuple, and no
//! timestamp to compare; so its TIME_WAIT accepts the SYN (RFC 9293 §3.6.1, RFC 6191). Both ends see numbers that
//! agree with what they sent. All other connections pass with numbers and timestamps untouched.
//! Does not know: when a tuple is taken over (`local_port`).

use weir_wire::tcp;

use crate::connection::{Connection, Flags};

/// How far above the last sequence number the new connection begins.
const GAP: u32 = 1 << 16;

/// Lets a new connection, whose SYN has sequence number `initial`, begin above `final_sequence`.
pub(crate) fn begin_above(connection: &mut Connection, final_sequence: u32, initial: u32) {
    connection.flags = connection.flags.with(Flags::SHIFTED);
    connection.sequence_delta = final_sequence.wrapping_add(GAP).wrapping_sub(initial);
}

/// Shifts an inbound segment's numbers; of a SYN the timestamps go.
pub(super) fn shift_inbound(connection: &Connection, flags: tcp::Flags, header: &mut [u8]) {
    tcp::shift_sequence(header, connection.sequence_delta);
    if flags.has(tcp::Flags::SYN) {
        tcp::blank_option(header, tcp::TIMESTAMPS);
    }
}

/// Shifts what an outbound segment acknowledges back.
pub(super) fn shift_outbound(connection: &Connection, header: &mut [u8]) {
    tcp::shift_acknowledgement(header, connection.sequence_delta.wrapping_neg());
}

/// The number that follows a client's FIN, as the real server sees it: what its TIME_WAIT remembers.
pub(super) fn after_fin(connection: &Connection, sequence: u32, n_data_bytes: u16) -> u32 {
    let as_the_server_sees_it = sequence.wrapping_add(connection.sequence_delta);
    as_the_server_sees_it
        .wrapping_add(u32::from(n_data_bytes))
        .wrapping_add(1)
}
