//! Direct routing: the real server shares the VIP and the link, so only the frame's MAC addresses change.
//!
//! Promises: addresses, L4 ports and data are untouched, hence no checksum work beyond the TTL's.
//! Does not know: how the next hop's MAC was learned, or how the real server answers.

use weir_wire::{Headers, Packet, ethernet};

use super::{Terms, one_way};
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{Snapshot, Tick, Verdict};

/// Sends a client's packet on to the real server. `Err`: it is as it came in.
#[inline(always)]
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let (hop, leaves) = one_way::admit(
        packet,
        headers,
        found,
        &Terms::growing(0),
        ledger,
        snapshot,
        now,
    )?;
    let frame = packet.frame_mut();
    super::decrement_ttl(frame, headers);
    ethernet::rewrite(frame, &hop.ethernet);
    Ok(leaves)
}
