//! Routing: packets of no connection, from or to a real server whose gateway the director is (NAT).
//!
//! Promises: only MAC addresses and the TTL change. Does not know: why it is routed (`open`).

use weir_wire::{Headers, Packet, ethernet};

use crate::{NextHopId, PuntReason, Snapshot, Verdict};

/// Sends a packet on to a next hop.
#[cold]
pub(crate) fn route(
    packet: &mut Packet<'_>,
    headers: &Headers,
    hop_id: NextHopId,
    snapshot: &Snapshot,
) -> Verdict {
    let hop = snapshot.next_hops.get(hop_id);
    if !hop.is_resolved() {
        return Verdict::Punt(PuntReason::NeighbourUnresolved(hop_id));
    }
    if headers.ip_bytes() > hop.mtu {
        return super::refuse_size(headers, hop.mtu);
    }
    if headers.ttl <= 1 {
        return Verdict::Punt(PuntReason::TtlExceeded);
    }
    let frame = packet.frame_mut();
    super::decrement_ttl(frame, headers);
    ethernet::rewrite(frame, &hop.ethernet);
    Verdict::Transmit(hop.port)
}
