//! Services and their destinations, as a snapshot holds them.
//!
//! Promises: immutable; found by address, L4 port and protocol in one look-up.
//! Does not know: connections, loads, counters (they live with the worker, under the ids given here).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use weir_wire::{Endpoint, Protocol};

use crate::{DestinationId, LocalPool, NextHopId, Schedule, ServiceId};

/// What names a service: protocol, VIP and vport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The transport protocol.
    pub protocol: Protocol,
    /// VIP and vport.
    pub virtual_endpoint: Endpoint,
}

impl fmt::Display for ServiceKey {
    /// As users write it in one word: `tcp/192.0.2.100:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol, self.virtual_endpoint)
    }
}

/// How the real server learns the client's address under FULLNAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// In a TCP option (TOA). Datagrams of UDP go without.
    Toa,
}

/// How packets are forwarded to a destination.
#[derive(Clone, Debug)]
pub enum Method {
    /// Both ends are rewritten; the source is lent by the pool.
    FullNat {
        /// Local addresses and the range of local ports.
        pool: Arc<LocalPool>,
        /// How the real server learns the client's address.
        client_address: ClientAddress,
    },
}

/// A real server in its role in a service.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Names its load, counters and cursors on every worker.
    pub id: DestinationId,
    /// RIP and rport.
    pub real: Endpoint,
    /// Its share of new connections; 0 drains.
    pub weight: u32,
    /// Its weight, or while it drains the one it had before: 0 only if it never had any. mh keeps its clients' places
    /// by it.
    pub last_weight: u32,
    /// How packets are forwarded.
    pub method: Method,
    /// Where its packets go on the wire.
    pub next_hop: NextHopId,
}

impl Destination {
    /// Weight 0: no new connections, old ones finish.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.weight == 0
    }
}

/// A service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Names its cursors and counters on every worker.
    pub id: ServiceId,
    /// What clients talk to.
    pub key: ServiceKey,
    /// Picks a destination for a new connection. Made of `destinations`; shared with the next snapshot unless they
    /// change.
    pub schedule: Arc<Schedule>,
    /// In the order in which they are written or were added.
    pub destinations: Vec<Destination>,
    /// Changes whenever destinations or weights do: a scheduler that keeps a place starts anew.
    pub version: u32,
}

/// All services.
#[derive(Clone, Debug, Default)]
pub struct Services {
    list: Vec<Arc<Service>>,
    by_key: HashMap<ServiceKey, usize, RandomState>,
}

impl Services {
    /// From services with different keys; of two with the same the later one counts.
    pub fn new(list: Vec<Arc<Service>>) -> Self {
        let by_key = list
            .iter()
            .enumerate()
            .map(|(place, service)| (service.key, place))
            .collect();
        Self { list, by_key }
    }

    /// The service that clients reach under `key`.
    #[inline]
    pub fn find(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.by_key.get(key).map(|place| &self.list[*place])
    }

    /// All of them, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.list.iter()
    }
}
