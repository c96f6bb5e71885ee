//! How a port spreads packets over its queues, where it tells, and the local ports whose replies it gives to a worker.
//!
//! Promises: for every flow whose fields are hashed, the worker named here is the one whose queue the port picks.
//! Does not know: ports that do not tell, for which `steering` has another rule.
//!
//! How it works: the port's hash of a reply is the exclusive or of one value for the real server, one for the LIP and
//! one for the lport. Its low bits are an entry of the redirection table, which names a queue. So of all lports,
//! sorted once by the low bits of their own value (their *class*), those wanted are the classes that lead, together
//! with the rest of the flow, to the entries that name the worker's queue.

use std::net::IpAddr;

use weir_wire::{Endpoint, FlowKey, L4Port, Protocol};

use super::toeplitz::{End, Toeplitz};
use crate::{L4PortRange, WorkerId};

/// What of a packet is hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashed {
    /// Nothing: it falls on some queue or other.
    #[default]
    Nothing,
    /// Addresses only: two flows between the same two fall on the same queue.
    Addresses,
    /// Addresses and L4 ports.
    L4Ports,
}

/// What is hashed, by protocol and family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HashedFields {
    /// TCP over IPv4.
    pub tcp_v4: Hashed,
    /// UDP over IPv4.
    pub udp_v4: Hashed,
    /// TCP over IPv6.
    pub tcp_v6: Hashed,
    /// UDP over IPv6.
    pub udp_v6: Hashed,
}

impl HashedFields {
    fn of(self, protocol: Protocol, like: IpAddr) -> Hashed {
        match (protocol, like) {
            (Protocol::Tcp, IpAddr::V4(_)) => self.tcp_v4,
            (Protocol::Udp, IpAddr::V4(_)) => self.udp_v4,
            (Protocol::Tcp, IpAddr::V6(_)) => self.tcp_v6,
            (Protocol::Udp, IpAddr::V6(_)) => self.udp_v6,
            // Many NICs hash its addresses alone, or nothing, and none is asked: its packets go by weir's own rules.
            (Protocol::Sctp, _) => Hashed::Nothing,
        }
    }
}

/// A port that tells how it spreads packets. Queue *i* is worker *i*'s.
#[derive(Clone, Debug)]
pub struct Rss {
    toeplitz: Toeplitz,
    fields: HashedFields,
    /// The redirection table. Invariant: its length is a power of two.
    table: Vec<WorkerId>,
    /// By worker: the entries that name it.
    entries: Vec<Vec<u32>>,
    v4: LocalPortClasses,
    v6: LocalPortClasses,
}

impl Rss {
    /// `key` as the port uses it, at least 40 bytes; `table` its redirection table, whose length is a power of two
    /// and whose queues are those of `n_workers` workers. `None` when one of them is not so.
    pub fn new(key: &[u8], table: &[u16], fields: HashedFields, n_workers: u8) -> Option<Self> {
        let toeplitz = Toeplitz::new(key)?;
        let is_plain = table.len().is_power_of_two()
            && table.iter().all(|queue| *queue < u16::from(n_workers));
        if !is_plain {
            return None;
        }
        let table: Vec<_> = table.iter().map(|queue| WorkerId(*queue as u8)).collect();
        let entries = (0..n_workers)
            .map(|worker| {
                (0..)
                    .zip(&table)
                    .filter(|(_, owner)| owner.0 == worker)
                    .map(|(entry, _)| entry)
                    .collect()
            })
            .collect();
        let classes = |like| LocalPortClasses::new(&toeplitz, like, table.len());
        Some(Self {
            v4: classes(IpAddr::from([0; 4])),
            v6: classes(IpAddr::from([0; 16])),
            toeplitz,
            fields,
            table,
            entries,
        })
    }

    pub(super) fn hashed(&self, protocol: Protocol, like: IpAddr) -> Hashed {
        self.fields.of(protocol, like)
    }

    /// The worker whose queue gets the flow; `None` where nothing of it is hashed.
    pub fn owner(&self, key: &FlowKey) -> Option<WorkerId> {
        let (source, destination) = (key.source(), key.destination());
        match self.fields.of(key.protocol(), source.ip()) {
            Hashed::Nothing => None,
            Hashed::Addresses => Some(self.owner_of(self.between(source.ip(), destination.ip()))),
            Hashed::L4Ports => Some(self.owner_of(self.from(source) ^ self.to(destination))),
        }
    }

    /// Likewise; `None` where the reply's local port has no say in it.
    pub(super) fn owner_by_lport(&self, reply: &FlowKey) -> Option<WorkerId> {
        match self.fields.of(reply.protocol(), reply.source().ip()) {
            Hashed::Nothing | Hashed::Addresses => None,
            Hashed::L4Ports => self.owner(reply),
        }
    }

    /// The worker whose queue gets all replies from `rip` to `lip`; `None` where addresses alone do not tell.
    pub(super) fn owner_by_lip(
        &self,
        protocol: Protocol,
        rip: IpAddr,
        lip: IpAddr,
    ) -> Option<WorkerId> {
        match self.fields.of(protocol, lip) {
            Hashed::Nothing | Hashed::L4Ports => None,
            Hashed::Addresses => Some(self.owner_of(self.between(rip, lip))),
        }
    }

    fn owner_of(&self, hash: u32) -> WorkerId {
        self.table[hash as usize & (self.table.len() - 1)]
    }

    /// The `place`-th of the local ports, within `range`, whose replies (from `real` to `lip`) reach `worker`'s queue.
    /// Places go on for ever, round and round. The outer `None`: L4 ports are not hashed; the inner: there is none at
    /// this place.
    pub(super) fn local_port(
        &self,
        protocol: Protocol,
        real: Endpoint,
        lip: IpAddr,
        worker: WorkerId,
        range: L4PortRange,
        place: u32,
    ) -> Option<Option<L4Port>> {
        match self.fields.of(protocol, lip) {
            Hashed::Nothing | Hashed::Addresses => return None,
            Hashed::L4Ports => {}
        }
        let Some(entries) = self
            .entries
            .get(usize::from(worker.0))
            .filter(|entries| !entries.is_empty())
        else {
            return Some(None);
        };
        let base = self.from(real) ^ self.toeplitz.address(lip, End::Destination);
        let n_entries = entries.len() as u32;
        let entry = entries[(place % n_entries) as usize];
        let classes = if lip.is_ipv4() { &self.v4 } else { &self.v6 };
        let lports = classes.within(entry ^ base, range);
        let index = (place / n_entries).checked_rem(lports.len() as u32);
        Some(index.map(|index| lports[index as usize]))
    }

    fn between(&self, source: IpAddr, destination: IpAddr) -> u32 {
        self.toeplitz.address(source, End::Source)
            ^ self.toeplitz.address(destination, End::Destination)
    }

    fn from(&self, source: Endpoint) -> u32 {
        self.toeplitz.address(source.ip(), End::Source)
            ^ self
                .toeplitz
                .l4_port(source.port(), source.ip(), End::Source)
    }

    fn to(&self, destination: Endpoint) -> u32 {
        self.toeplitz.address(destination.ip(), End::Destination)
            ^ self
                .toeplitz
                .l4_port(destination.port(), destination.ip(), End::Destination)
    }
}

/// All 65,536 L4 ports, sorted by the low bits of their part of a reply's hash, then by number.
#[derive(Clone, Debug)]
struct LocalPortClasses {
    lports: Vec<L4Port>,
    /// Where each class begins in `lports`, and the end of the last.
    starts: Vec<u32>,
}

impl LocalPortClasses {
    fn new(toeplitz: &Toeplitz, like: IpAddr, n_classes: usize) -> Self {
        let class = |lport: &L4Port| {
            toeplitz.l4_port(*lport, like, End::Destination) as usize & (n_classes - 1)
        };
        let mut lports: Vec<L4Port> = (0..=L4Port::MAX).collect();
        lports.sort_by_cached_key(class);
        let starts = (0..=n_classes)
            .map(|wanted| lports.partition_point(|lport| class(lport) < wanted) as u32)
            .collect();
        Self { lports, starts }
    }

    /// The L4 ports of a class, of whose number only the low bits count, within `range`.
    fn within(&self, class: u32, range: L4PortRange) -> &[L4Port] {
        let class = class as usize & (self.starts.len() - 2);
        let all = &self.lports[self.starts[class] as usize..self.starts[class + 1] as usize];
        let first = all.partition_point(|lport| *lport < range.first);
        let end = all.partition_point(|lport| *lport <= range.last);
        &all[first..end]
    }
}
