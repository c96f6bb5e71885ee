//! What DR and TUN have in common: the director sees the client's packets and nothing of the answers.
//!
//! Promises: a connection's state follows what is seen of it.
//! Does not know: what is done to the packet, or whether it may go on.

use weir_wire::{Content, Headers, Packet, sctp};

use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{Snapshot, Tick};

/// The connection learns of a packet that goes on.
#[inline(always)]
pub(super) fn learn(
    packet: &Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) {
    ledger.count(found, headers.ip_bytes(), now);
    let timeouts = &snapshot.settings.timeouts;
    if headers.content == Content::Tcp {
        ledger.advance(found, headers.tcp_flags, now, timeouts);
    } else if headers.content == Content::Sctp {
        ledger.advance_sctp(found, sctp::chunk(packet.frame(), headers), now, timeouts);
    }
}
