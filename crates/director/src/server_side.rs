//! A new connection's other half: what its destination's method needs between the director and the real server.
//!
//! Promises: the replies' key is free, or the connection that stands under it is over, or goes for this one.
//! Does not know: services, schedulers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::{Content, Endpoint, FlowKey, Protocol};

use crate::connection::{EntryId, Flags};
use crate::ledger::Ledger;
use crate::local_port::{LipLease, LocalPool, LocalPortSearch};
use crate::open::Newcomer;
use crate::service::{ClientAddress, Destination, Method, Service};
use crate::steering::Reply;
use crate::{DropReason, NextHopId, PuntReason, Snapshot, State, Tick, Verdict};

/// A connection's other half, as its method wants it.
pub(crate) struct ServerSide {
    /// The key of the replies.
    pub(crate) key: FlowKey,
    /// Its hash, where there are replies to be looked up.
    pub(crate) hash: u64,
    pub(crate) flags: Flags,
    /// TUN's tunnel, in place of the next hop of replies that are never seen.
    pub(crate) tunnel: Option<NextHopId>,
    /// The connection that still stands under that key; it has to go first.
    pub(crate) taken_over: Option<EntryId>,
    /// Whether the real server sees an end that is lent to one client after the other.
    pub(crate) is_lent: bool,
}

impl ServerSide {
    /// Finds it; nothing changes but where the next search for a local port begins.
    pub(crate) fn find(
        service: &Service,
        destination: &Destination,
        newcomer: &Newcomer<'_>,
        ledger: &mut Ledger,
        snapshot: &Snapshot,
        now: Tick,
    ) -> Result<Self, Verdict> {
        let client = newcomer.headers.key;
        let real = destination.real_for(client.destination().port());
        let to_client = |real| FlowKey::new(client.protocol(), real, client.source());
        let one_way = Self {
            // A tunnel may lead to the other family: nobody looks for this key, which only tells where that is.
            key: to_client(real)
                .or_else(|| to_nobody(client.protocol(), real))
                .unwrap_or(client.turned()),
            hash: 0,
            flags: Flags::ONE_WAY,
            tunnel: None,
            taken_over: None,
            is_lent: false,
        };
        match &destination.method {
            Method::Dr => Ok(one_way),
            Method::Tun(tunnel) => Ok(Self {
                flags: Flags::ONE_WAY.with(Flags::TUNNEL),
                tunnel: Some(NextHopId(tunnel.0)),
                ..one_way
            }),
            Method::Nat => {
                let key = to_client(real).ok_or(Verdict::Punt(PuntReason::NoDestination))?;
                if service.one_packet {
                    // No reply is looked up, so the key may be another's.
                    return Ok(Self {
                        key,
                        flags: Flags::ONE_PACKET,
                        ..one_way
                    });
                }
                let hash = ledger.table.hash(&key);
                let taken_over = ledger.table.find(&key, hash).map(|found| found.id);
                let is_free = taken_over.is_none_or(|id| {
                    newcomer.over == Some(id)
                        || ledger.table.get(id).state().is_some_and(State::is_over)
                });
                if !is_free {
                    return Err(Verdict::Drop(DropReason::NatFlowTaken));
                }
                Ok(Self {
                    key,
                    hash,
                    flags: Flags::default(),
                    taken_over,
                    ..one_way
                })
            }
            Method::FullNat {
                pool,
                client_address,
            } => {
                if newcomer.headers.content == Content::IcmpError {
                    // About a packet that never had this local port.
                    return Err(Verdict::Drop(DropReason::IcmpUnrelated));
                }
                let lease = lease(pool, destination, real, newcomer, ledger, snapshot, now)?;
                let mut flags = initial_flags(client.protocol(), *client_address);
                if client.source().is_ipv4() != destination.real.is_ipv4() {
                    flags = flags.with(Flags::TRANSLATED);
                }
                Ok(Self {
                    key: lease.reply,
                    hash: lease.hash,
                    flags,
                    taken_over: lease.taken_over,
                    is_lent: true,
                    ..one_way
                })
            }
        }
    }
}

/// The key from a real server to the unspecified address of its own family.
#[cold]
fn to_nobody(protocol: Protocol, real: Endpoint) -> Option<FlowKey> {
    let nobody = match real.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    FlowKey::new(protocol, real, Endpoint::new(nobody, 0))
}

/// A local endpoint for a connection to `destination`, there to `real`.
fn lease(
    pool: &LocalPool,
    destination: &Destination,
    real: Endpoint,
    newcomer: &Newcomer<'_>,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<LipLease, Verdict> {
    let totals = &mut ledger.destinations[destination.id.0 as usize];
    let mut search = LocalPortSearch {
        pool,
        replies: Reply {
            protocol: newcomer.headers.key.protocol(),
            real,
            worker: newcomer.me,
        },
        cursor: &mut totals.local_port_cursor,
        // Destinations begin apart: several may be one real server, whose tuples they share.
        origin: ledger
            .local_port_origin
            .wrapping_mul(2 * destination.id.0 + 1),
        table: &ledger.table,
        steering: &snapshot.steering,
        now,
    };
    let lease = search.lease();
    if lease.is_none() {
        totals.local_ports_exhausted += 1;
    }
    lease.ok_or(Verdict::Drop(DropReason::LocalPortsExhausted))
}

fn initial_flags(protocol: Protocol, client_address: ClientAddress) -> Flags {
    match (protocol, client_address) {
        // No form of it is for SCTP.
        (
            Protocol::Sctp,
            ClientAddress::Toa
            | ClientAddress::ProxyV1
            | ClientAddress::ProxyV2
            | ClientAddress::UdpOption
            | ClientAddress::UdpHeader
            | ClientAddress::None,
        ) => Flags::default(),
        // Left out where it cannot go; a client's own is no business of ours there.
        (Protocol::Udp, ClientAddress::Toa | ClientAddress::ProxyV1) => Flags::default(),
        (Protocol::Tcp, ClientAddress::UdpOption | ClientAddress::UdpHeader) => {
            Flags::telling(ClientAddress::None)
        }
        (Protocol::Tcp | Protocol::Udp, told) => Flags::telling(told),
    }
}
