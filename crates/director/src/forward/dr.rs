//! Direct routing: the real server shares the VIP and the link, so only the frame's MAC addresses change.
//!
//! Promises: addresses, L4 ports and data are untouched, hence no checksum work beyond the TTL's.
//! Does not know: how the next hop's MAC was learned, or how the real server answers.

use weir_wire::{Headers, Packet, ethernet};

use super::{Terms, one_way};
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{NextHop, Snapshot, Tick, Verdict};

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
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    if !super::fits(headers, hop.mtu, 0) {
        return otherwise(packet, headers, found, ledger, snapshot, now);
    }
    one_way::learn(packet, headers, found, ledger, snapshot, now);
    send(packet, headers, hop);
    Ok(Verdict::Transmit(hop.port))
}

/// Likewise, one that does not go as it is: apart, so that what goes is not asked twice.
#[cold]
fn otherwise(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let leaves = super::leave(packet, headers, hop_id, hop, &Terms::growing(0))?;
    one_way::learn(packet, headers, found, ledger, snapshot, now);
    send(packet, headers, hop);
    Ok(leaves)
}

#[inline(always)]
fn send(packet: &mut Packet<'_>, headers: &Headers, hop: &NextHop) {
    let frame = packet.frame_mut();
    super::decrement_ttl(frame, headers);
    ethernet::rewrite(frame, &hop.ethernet);
}
