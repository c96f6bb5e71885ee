//! Tunnelling: the packet goes to the real server inside another, wherever that is routed.
//!
//! Promises: the inner packet changes in its TTL only.
//! Does not know: how an outer header is written (`weir_wire::tunnel`), or how the real server answers.

use weir_wire::tunnel::Tunnel;
use weir_wire::{Headers, Packet, ethernet, ipv4};

use super::{Cuts, Terms, one_way};
use crate::connection::Found;
use crate::ledger::Ledger;
use crate::{DropReason, Snapshot, Tick, TunnelId, Verdict};

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
    let connection = ledger.table.get(found.id);
    let (tunnel_id, hop_id) = (connection.tunnel(), connection.next_hop(found.direction));
    let no_tunnel = Verdict::Drop(DropReason::NoRoute);
    let tunnel_id = tunnel_id.ok_or(no_tunnel)?;
    let tunnel = snapshot.tunnels.get(tunnel_id).ok_or(no_tunnel)?;
    let growth = tunnel.header_bytes();
    if packet.headroom() < usize::from(growth) {
        return Err(Verdict::Drop(DropReason::NoHeadroom));
    }
    let hop = snapshot.next_hops.get(hop_id);
    let mtu = hop.mtu.min(snapshot.path_mtus.get(tunnel_id));
    let mut leaves = Verdict::Transmit(hop.port);
    if !super::fits(headers, mtu, growth) {
        let terms = terms(tunnel_id, tunnel, packet, headers, snapshot);
        leaves = super::leave(packet, headers, hop_id, hop, &terms)?;
    }
    one_way::learn(packet, headers, found, ledger, snapshot, now);
    super::decrement_ttl(packet.frame_mut(), headers);
    wrap(packet, headers, tunnel, ledger, snapshot);
    ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
    Ok(leaves)
}

/// On what terms a packet leaves in a tunnel: cut as the outer packet may be, which under `pmtu_disc: 0` is whatever the
/// inner one says; and no larger than what is known to get through.
#[cold]
pub(super) fn terms(
    id: TunnelId,
    tunnel: &Tunnel,
    packet: &Packet<'_>,
    headers: &Headers,
    snapshot: &Snapshot,
) -> Terms {
    let is_cut = || {
        snapshot.settings.ipvs.fragments_tunnelled && tunnel.is_ipv4() && !headers.is_ipv6()
            || tunnel.may_be_cut(packet.frame(), headers)
    };
    let path_mtu = snapshot.path_mtus.get(id);
    let growth = tunnel.header_bytes();
    let cuts = if is_cut() { Cuts::All } else { Cuts::Never };
    Terms {
        growth,
        path_mtu,
        cuts,
    }
}

/// Puts a packet into its tunnel. That there is room was seen before.
#[inline(never)]
pub(super) fn wrap(
    packet: &mut Packet<'_>,
    headers: &Headers,
    tunnel: &Tunnel,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) {
    let identification = ledger.next_identification();
    let flow_hash = || ledger.table.hash(&headers.key);
    let of_flow;
    let tunnel = if tunnel.is_varied() {
        of_flow = tunnel.of_flow(flow_hash());
        &of_flow
    } else {
        tunnel
    };
    let encapsulated = tunnel.encapsulate(packet, headers, identification, flow_hash);
    debug_assert!(encapsulated.is_ok());
    if snapshot.settings.ipvs.fragments_tunnelled {
        allow_fragmentation(packet, headers, tunnel, identification);
    }
}

/// Lets routers cut the outer packet, if it is IPv4 in IPv4.
#[cold]
fn allow_fragmentation(
    packet: &mut Packet<'_>,
    headers: &Headers,
    tunnel: &Tunnel,
    identification: u16,
) {
    if !tunnel.is_ipv4() || headers.is_ipv6() {
        return;
    }
    let outer = packet.frame_mut().get_mut(ethernet::HEADER_BYTES..);
    if let Some(outer) = outer.and_then(|outer| outer.first_chunk_mut()) {
        ipv4::allow_fragmentation(outer, identification);
    }
}
