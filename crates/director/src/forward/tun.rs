//! Tunnelling: the packet goes to the real server inside another, wherever that is routed.
//!
//! Promises: the inner packet changes in its TTL only.
//! Does not know: how an outer header is written (`weir_wire::tunnel`), or how the real server answers.

use weir_wire::{Headers, Packet, ethernet};

use super::one_way;
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{DropReason, NextHop, Snapshot, Tick, Verdict};

/// Sends a client's packet through its tunnel to the real server. `Err`: it is as it came in.
#[inline(never)]
pub(super) fn apply(
    packet: &mut Packet<'_>,
    headers: &Headers,
    found: Found,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let tunnel_id = ledger.table.get(found.id).tunnel();
    let tunnel = snapshot
        .tunnels
        .get(tunnel_id)
        .ok_or(Verdict::Drop(DropReason::NoRoute))?;
    let growth = tunnel.header_bytes();
    if packet.headroom() < usize::from(growth) {
        return Err(Verdict::Drop(DropReason::NoHeadroom));
    }
    let path_mtu = snapshot.path_mtus.get(tunnel_id);
    let is_too_big = u32::from(headers.ip_bytes()) + u32::from(growth) > u32::from(path_mtu);
    if is_too_big && !tunnel.may_be_cut(packet.frame(), headers) {
        return Err(refuse(headers, found, growth, path_mtu, ledger, snapshot));
    }
    let hop = one_way::admit(
        packet.frame(),
        headers,
        found,
        growth,
        ledger,
        snapshot,
        now,
    )?;
    super::decrement_ttl(packet.frame_mut(), headers);
    let identification = ledger.next_identification();
    // That there is room was seen above.
    let encapsulated = tunnel.encapsulate(packet, headers, identification, || {
        ledger.table.hash(&headers.key)
    });
    debug_assert!(encapsulated.is_ok());
    ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
    Ok(Verdict::Transmit(hop.port))
}

/// What happens to a packet that is too big for the way behind the next hop: what happens to one that is too big for that.
#[cold]
fn refuse(
    headers: &Headers,
    found: Found,
    growth: u16,
    path_mtu: u16,
    ledger: &Ledger,
    snapshot: &Snapshot,
) -> Verdict {
    let hop_id = ledger.table.get(found.id).next_hop(found.direction);
    let hop = snapshot.next_hops.get(hop_id);
    let narrower = NextHop {
        mtu: hop.mtu.min(path_mtu),
        ..*hop
    };
    super::refuse(headers, hop_id, &narrower, growth)
}
