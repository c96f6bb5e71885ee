//! What DR and TUN have in common: the director sees the client's packets and nothing of the answers.
//!
//! Promises: whatever refuses a packet does so before its first byte changes; the connection learns of it only if it
//! is forwarded.
//! Does not know: what is done to the packet.

use weir_wire::{Content, Headers, Packet, sctp};

use super::Terms;
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{NextHop, Snapshot, Tick, Verdict};

/// Sees whether a packet, to be sent on these terms, may go on, and lets the connection learn of it. Returns
/// where it goes, and how.
#[inline(always)]
pub(super) fn admit<'a>(
    packet: &Packet<'_>,
    headers: &Headers,
    found: Found,
    terms: &Terms,
    ledger: &mut Ledger,
    snapshot: &'a Snapshot,
    now: Tick,
) -> Result<(&'a NextHop, Verdict), Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let leaves = super::leave(packet, headers, hop_id, hop, terms)?;
    ledger.count(found, headers.ip_bytes(), now);
    let timeouts = &snapshot.settings.timeouts;
    if headers.content == Content::Tcp {
        ledger.advance(found, headers.tcp_flags, now, timeouts);
    } else if headers.content == Content::Sctp {
        ledger.advance_sctp(found, sctp::chunk(packet.frame(), headers), now, timeouts);
    }
    Ok((hop, leaves))
}
