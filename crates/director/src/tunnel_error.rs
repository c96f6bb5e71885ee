//! ICMP errors about packets that weir sent through a tunnel: whose they are, and what becomes of them.
//!
//! Promises: none is believed but of a tunnel of ours, with right checksums, and, where it quotes so much, about a
//! connection that goes through this tunnel. What only quotes the tunnel's own header teaches its path MTU and no more.
//! Does not know: how an error is read and written (`weir_wire::tunnel_error`), for how long a path MTU is remembered
//! (the control thread).
//!
//! How it works: (1) which tunnel; (2) the error's own checksums and sender; (3) the inner packet's connection, on the
//! worker that owns it; (4) a smaller path MTU goes to the control thread, which remembers it for all workers and sends
//! the error here again; (5) the client is told.

use weir_wire::tunnel::Tunnel;
use weir_wire::tunnel_error::{QuotedInner, TunnelError};
use weir_wire::{FlowKey, Packet, ethernet, ipv6};

use crate::address::AddressUse;
use crate::ledger::Ledger;
use crate::open::require_sender;
use crate::service::ServiceKey;
use crate::{
    Arrival, Direction, DropReason, NextHopId, PuntReason, Snapshot, TunnelId, Verdict, WorkerId,
};

/// An error about a packet of a tunnel of ours.
pub(crate) struct AboutTunnel<'a> {
    error: TunnelError,
    id: TunnelId,
    tunnel: &'a Tunnel,
}

/// What a frame tells about a tunnel, if it is an error about a packet of one.
pub(crate) fn find<'a>(frame: &[u8], snapshot: &'a Snapshot) -> Option<AboutTunnel<'a>> {
    if snapshot.tunnels.is_empty() {
        return None;
    }
    let error = TunnelError::parse(frame)?;
    // (1)
    let mut all = snapshot.tunnels.to(error.quoted_destination());
    let (id, tunnel) = all.find(|(_, tunnel)| error.is_about(tunnel, frame))?;
    Some(AboutTunnel { error, id, tunnel })
}

impl AboutTunnel<'_> {
    /// What becomes of it; if the client is told, the packet is by now what tells it.
    pub(crate) fn process(
        &self,
        packet: &mut Packet<'_>,
        arrival: Arrival,
        me: WorkerId,
        ledger: &Ledger,
        snapshot: &Snapshot,
    ) -> Verdict {
        self.decide(packet.frame(), arrival, me, ledger, snapshot)
            .and_then(|(inner, hop)| self.tell_client(packet, &inner, hop, snapshot))
            .unwrap_or_else(|refusal| refusal)
    }

    /// The inner packet and the next hop to its client, if that is told.
    fn decide(
        &self,
        frame: &[u8],
        arrival: Arrival,
        me: WorkerId,
        ledger: &Ledger,
        snapshot: &Snapshot,
    ) -> Result<(QuotedInner, NextHopId), Verdict> {
        let Self { error, id, tunnel } = self;
        // (2)
        if !error.checksums_are_right(frame) {
            return Err(Verdict::Drop(DropReason::IcmpChecksumWrong));
        }
        require_sender(error.source(), snapshot)?;
        // (3)
        let inner = error.inner(tunnel, frame);
        if let Some(QuotedInner { key, .. }) = &inner {
            let owner = snapshot.owner(key, AddressUse::Virtual);
            if owner != me && matches!(arrival, Arrival::Wire { .. }) {
                return Err(Verdict::HandOff(owner));
            }
            if !goes_through(*id, key, ledger, snapshot) {
                return Err(Verdict::Drop(DropReason::IcmpUnrelated));
            }
        }
        // (4)
        let path_mtu = error.path_mtu();
        if path_mtu.is_some_and(|mtu| mtu < snapshot.path_mtus.get(*id)) {
            return Err(Verdict::Punt(PuntReason::PathMtu(*id)));
        }
        // (5)
        let untold = Verdict::Drop(DropReason::TunnelErrorUntold);
        let inner = inner.ok_or(untold)?;
        let client = inner.key.source().ip();
        let hop = snapshot.routes.next_hop(client, &snapshot.next_hops);
        // To a client whose MAC address is not known nothing is sent: it learns from its next packet that is too big.
        hop.flatten()
            .filter(|id| snapshot.next_hops.get(*id).is_resolved())
            .map(|hop| (inner, hop))
            .ok_or(untold)
    }

    /// Makes it one to the client. `Err`: the packet is as it came in.
    fn tell_client(
        &self,
        packet: &mut Packet<'_>,
        inner: &QuotedInner,
        hop_id: NextHopId,
        snapshot: &Snapshot,
    ) -> Result<Verdict, Verdict> {
        let Self { error, id, tunnel } = self;
        let hop = snapshot.next_hops.get(hop_id);
        // What is known by now, which may be less than what this error says.
        let mtu = error.path_mtu().map(|_| {
            let path_mtu = snapshot.path_mtus.get(*id);
            largest_inner(tunnel, path_mtu, &inner.key)
        });
        error
            .tell_client(packet, inner, mtu)
            .map_err(|_| Verdict::Drop(DropReason::TunnelErrorUntold))?;
        ethernet::rewrite(packet.frame_mut(), &hop.ethernet);
        Ok(Verdict::Transmit(hop.port))
    }
}

/// The largest packet of a flow that a tunnel takes whose own may have `path_mtu` bytes; none of IPv6 is less than every
/// link takes.
fn largest_inner(tunnel: &Tunnel, path_mtu: u16, key: &FlowKey) -> u16 {
    let rest = path_mtu.saturating_sub(tunnel.header_bytes());
    match key {
        FlowKey::V4(_) => rest,
        FlowKey::V6(_) => rest.max(ipv6::MIN_MTU),
    }
}

/// Whether a connection of this client goes through a tunnel. Of a service whose connections end with their packet, one
/// did if any destination is reached by it.
fn goes_through(id: TunnelId, key: &FlowKey, ledger: &Ledger, snapshot: &Snapshot) -> bool {
    let found = ledger.table.find(key, ledger.table.hash(key));
    let connection = found
        .filter(|found| found.direction == Direction::Inbound)
        .map(|found| ledger.table.get(found.id));
    if let Some(connection) = connection {
        return connection.tunnel() == Some(id);
    }
    let service = snapshot.services.serving(&ServiceKey::of(key));
    service.is_some_and(|service| service.one_packet && service.has_tunnel(id))
}
