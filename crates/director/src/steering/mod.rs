//! Which worker owns a flow.
//!
//! Promises: every worker gives the same answer, whatever port and queue a packet came in by; both directions of a
//! FULLNAT connection have the same owner, because its local port was chosen so.
//! Does not know: tables and rings. Asked on a miss only.
//!
//! How it works: where it is known how a port spreads packets (`rss`), the owner is the worker whose queue it picks, so
//! that packets seldom change hands. For clients' flows that port is one for all, whatever port they come by: routes
//! move, and a flow must not lose its owner for that. For replies it is the port on whose link the LIP lies. Where
//! nothing is known, a client's flow belongs by weir's own hash of (CIP, cport), a reply by its local port modulo the
//! number of workers. The port and the queue of arrival are never evidence: packets that come in elsewhere are handed
//! over.
//!
//! Where a link's port hashes addresses only, no choice of local port leads a reply to a queue, but the choice of LIP
//! does. Replies belong by local port modulo the number of workers there too, so that a worker for which a pool has no
//! LIP of its queue, or none left, takes another and has its replies handed over.

mod rss;
mod toeplitz;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use weir_wire::{Endpoint, FlowKey, L4Port, Protocol};

pub use rss::{Hashed, HashedFields, Rss};

use crate::{AddressUse, L4PortRange, Seed, WorkerId};

/// Decides the owner of a flow. The same for all workers of a process, and never changed: living connections go by it.
#[derive(Clone, Debug)]
pub struct Steering {
    n_workers: u8,
    seed: Seed,
    clients: Option<Arc<Rss>>,
    links: Vec<Link>,
}

/// A link on which LIPs lie.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its addresses.
    pub subnet: IpNet,
    /// How the port on it spreads packets.
    pub rss: Arc<Rss>,
}

impl Default for Steering {
    /// One worker owns everything.
    fn default() -> Self {
        Self::new(1, Seed([0; 4]), None, Vec::new())
    }
}

impl Steering {
    /// For `n_workers` workers, at least one. `clients`: how the port spreads packets by which most clients come, if it
    /// tells; `links`: those of ports that tell.
    pub fn new(n_workers: u8, seed: Seed, clients: Option<Arc<Rss>>, links: Vec<Link>) -> Self {
        Self {
            n_workers: n_workers.max(1),
            seed,
            clients,
            links,
        }
    }

    /// How many workers there are.
    pub(crate) fn n_workers(&self) -> u8 {
        self.n_workers
    }

    /// The worker that owns a packet of flow `key`, whose destination address has `destination_use`.
    pub fn owner(&self, key: &FlowKey, destination_use: AddressUse) -> WorkerId {
        if self.n_workers == 1 {
            return WorkerId(0);
        }
        match destination_use {
            AddressUse::Virtual | AddressUse::FormerlyVirtual | AddressUse::Own => {
                let told = self.clients.as_ref().and_then(|rss| rss.owner(key));
                told.unwrap_or_else(|| self.owner_of_client(key))
            }
            AddressUse::Local | AddressUse::FormerlyLocal => {
                let local = key.destination();
                let told = self.rss(local.ip()).and_then(|rss| rss.owner_by_lport(key));
                told.unwrap_or_else(|| self.owner_of_local_port(local.port()))
            }
        }
    }

    /// The worker that owns the flow of a client under NAT, whatever port tells what: replies have the real server's
    /// address in place of the VIP, so that only the client's end is the same both ways. `key` is that of packets from
    /// the client.
    pub fn owner_under_nat(&self, key: &FlowKey) -> WorkerId {
        self.owner_of_client(key)
    }

    /// The worker at which all fragments of a datagram gather, whoever owns its flow, which only the first one tells.
    pub(crate) fn gatherer(&self, datagram: &FlowKey) -> WorkerId {
        self.share(self.seed.hash(datagram))
    }

    /// The worker whose template a client has; `key` is the template's.
    pub(crate) fn owner_of_template(&self, key: &FlowKey) -> WorkerId {
        self.share(self.seed.hash(key))
    }

    /// Whether the replies go to the worker's queue for some LIPs and to others' for the rest, whatever the local port.
    pub(crate) fn chooses_lips(&self, reply: &Reply) -> bool {
        let by_addresses =
            |link: &Link| link.rss.hashed(reply.protocol, reply.real.ip()) == Hashed::Addresses;
        self.n_workers > 1 && self.links.iter().any(by_addresses)
    }

    /// Where that is so: whether a LIP is one of those whose replies go to the worker's queue.
    pub(crate) fn is_lip_of_queue(&self, reply: &Reply, lip: IpAddr) -> bool {
        self.rss(lip)
            .and_then(|rss| rss.owner_by_lip(reply.protocol, reply.real.ip(), lip))
            .is_none_or(|owner| owner == reply.worker)
    }

    /// The `place`-th of the local ports that `reply` allows. Places go on for ever, round and round. `None`: there is
    /// none at this place.
    #[inline]
    pub(crate) fn local_port(
        &self,
        reply: &Reply,
        lip: IpAddr,
        range: L4PortRange,
        place: u32,
    ) -> Option<L4Port> {
        let told = match self.n_workers {
            1 => None,
            _ => self.told_local_port(reply, lip, range, place),
        };
        told.unwrap_or_else(|| Residues::new(range, self.n_workers, reply.worker).get(place))
    }

    /// Likewise, where the port on the LIP's link tells; else the outer `None`.
    fn told_local_port(
        &self,
        reply: &Reply,
        lip: IpAddr,
        range: L4PortRange,
        place: u32,
    ) -> Option<Option<L4Port>> {
        let Reply {
            protocol,
            real,
            worker,
        } = *reply;
        self.rss(lip)?
            .local_port(protocol, real, lip, worker, range, place)
    }

    /// How the port on a LIP's link spreads packets.
    fn rss(&self, lip: IpAddr) -> Option<&Rss> {
        let link = self.links.iter().find(|link| link.subnet.contains(&lip))?;
        Some(&link.rss)
    }

    fn owner_of_local_port(&self, lport: L4Port) -> WorkerId {
        WorkerId((lport % u16::from(self.n_workers)) as u8)
    }

    fn owner_of_client(&self, key: &FlowKey) -> WorkerId {
        let client_only = match *key {
            FlowKey::V4(mut key) => {
                key.addresses = half(key.addresses);
                key.l4_ports = first_l4_port(key.l4_ports);
                FlowKey::V4(key)
            }
            FlowKey::V6(mut key) => {
                key.destination = [0; 2];
                key.l4_ports = first_l4_port(key.l4_ports);
                FlowKey::V6(key)
            }
        };
        self.share(self.seed.hash(&client_only))
    }

    /// Deals hashes out to the workers.
    fn share(&self, hash: u64) -> WorkerId {
        WorkerId((((hash >> 32) * u64::from(self.n_workers)) >> 32) as u8)
    }
}

/// What is known of the replies to a connection before it has a local endpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    pub(crate) protocol: Protocol,
    /// The real server they come from.
    pub(crate) real: Endpoint,
    /// The worker that they must belong to.
    pub(crate) worker: WorkerId,
}

/// The L4 ports of a range that leave a worker's number when divided by the number of workers.
#[derive(Clone, Copy, Debug)]
struct Residues {
    first: u32,
    last: u32,
    n_workers: u32,
}

impl Residues {
    #[inline]
    fn new(range: L4PortRange, n_workers: u8, worker: WorkerId) -> Self {
        let (first, n_workers, worker) = (
            u32::from(range.first),
            u32::from(n_workers),
            u32::from(worker.0),
        );
        // Divisions are most of what a local port costs; a single worker needs none here.
        let first = match n_workers {
            1 => first,
            _ => first + (worker + n_workers - first % n_workers) % n_workers,
        };
        Self {
            first,
            last: u32::from(range.last),
            n_workers,
        }
    }

    /// The `place`-th, round and round; `None` when there is none at all.
    #[inline]
    fn get(self, place: u32) -> Option<L4Port> {
        let n_lports = match self.n_workers {
            1 => (self.last + 1).checked_sub(self.first)?,
            n_workers => (self.last + n_workers).checked_sub(self.first)? / n_workers,
        };
        let place = place.checked_rem(n_lports)?;
        Some((self.first + place * self.n_workers) as L4Port)
    }
}

/// The source address alone of a pair as it lies in a packet.
fn half(addresses: u64) -> u64 {
    let [a, b, c, d, ..] = addresses.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, 0, 0, 0, 0])
}

/// The source L4 port alone of a pair as it lies in a packet.
fn first_l4_port(l4_ports: u32) -> u32 {
    let [a, b, ..] = l4_ports.to_ne_bytes();
    u32::from_ne_bytes([a, b, 0, 0])
}

#[cfg(test)]
mod tests;
