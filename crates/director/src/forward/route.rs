//! Routing: packets of no connection, from or to a real server whose gateway the director is (NAT).
//!
//! Promises: only MAC addresses and the TTL change. Does not know: why it is routed (`open`).

use weir_wire::{Headers, Packet, ethernet};

use super::Terms;
use crate::{NextHopId, Snapshot, Verdict};

/// Sends a packet on to a next hop. `Err`: it is as it came in.
#[cold]
pub(crate) fn route(
    packet: &mut Packet<'_>,
    headers: &Headers,
    hop_id: NextHopId,
    snapshot: &Snapshot,
) -> Result<Verdict, Verdict> {
    let hop = snapshot.next_hops.get(hop_id);
    let leaves = super::leave(packet, headers, hop_id, hop, &Terms::growing(0))?;
    let frame = packet.frame_mut();
    super::decrement_ttl(frame, headers);
    ethernet::rewrite(frame, &hop.ethernet);
    Ok(leaves)
}
