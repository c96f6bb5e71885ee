//! What DR and TUN have in common: the director sees the client's packets and nothing of the answers.
//!
//! Promises: whatever refuses a packet does so before its first byte changes; the connection learns of it only if it
//! is forwarded.
//! Does not know: what is done to the packet.

use weir_wire::{Content, Headers, sctp};

use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{NextHop, Snapshot, Tick, Verdict};

/// Sees whether a packet, to be sent with `growth` more bytes, may go on, and lets the connection learn of it. Returns
/// where it goes.
#[inline(always)]
pub(super) fn admit<'a>(
    frame: &[u8],
    headers: &Headers,
    found: Found,
    growth: u16,
    ledger: &mut Ledger,
    snapshot: &'a Snapshot,
    now: Tick,
) -> Result<&'a NextHop, Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    super::check_way(headers, hop_id, hop, growth)?;
    ledger.count(found, headers.ip_bytes(), now);
    let timeouts = &snapshot.settings.timeouts;
    if headers.content == Content::Tcp {
        ledger.advance(found, headers.tcp_flags, now, timeouts);
    } else if headers.content == Content::Sctp {
        ledger.advance_sctp(found, sctp::chunk(frame, headers), now, timeouts);
    }
    Ok(hop)
}
