//! Local ports: which (LIP, lport) a FULLNAT connection is given.
//!
//! Promises: the reply to it belongs to the worker that opened the connection; the tuple at the real server is free,
//! or its last connection is over; the time between two uses of a tuple is the longest possible.
//! Does not know: sequence numbers (`forward/sequence.rs` makes a tuple that is taken over acceptable).
//!
//! How it works: there are no free lists. A cursor for each destination walks all pairs of the worker's class in
//! turn, the connection table says whether the reply's key is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::{Endpoint, FlowKey, L4Port, Protocol};

use crate::connection::{EntryId, Table};
use crate::{Steering, Tick, WorkerId};

/// How many pairs are looked at before a tuple is taken over.
const PROBES: u64 = 16;

/// A range of L4 ports, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L4PortRange {
    /// The first.
    pub first: L4Port,
    /// The last, not below the first.
    pub last: L4Port,
}

impl L4PortRange {
    /// Everything but the ports that need privileges on Unix.
    pub const DEFAULT: Self = Self {
        first: 1024,
        last: 65_535,
    };
}

impl Default for L4PortRange {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Local addresses, lent with an L4 port each to FULLNAT connections.
#[derive(Clone, Debug, Default)]
pub struct LocalPool {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
    l4_ports: L4PortRange,
}

impl LocalPool {
    /// A pool of addresses of either family.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>, l4_ports: L4PortRange) -> Self {
        let mut pool = Self {
            v4: Vec::new(),
            v6: Vec::new(),
            l4_ports,
        };
        for address in addresses {
            match address {
                IpAddr::V4(address) => pool.v4.push(address),
                IpAddr::V6(address) => pool.v6.push(address),
            }
        }
        pool
    }

    fn n_addresses(&self, like: IpAddr) -> u64 {
        match like {
            IpAddr::V4(_) => self.v4.len() as u64,
            IpAddr::V6(_) => self.v6.len() as u64,
        }
    }

    fn address(&self, like: IpAddr, place: u64) -> IpAddr {
        match like {
            IpAddr::V4(_) => IpAddr::V4(self.v4[place as usize]),
            IpAddr::V6(_) => IpAddr::V6(self.v6[place as usize]),
        }
    }
}

/// A local endpoint that may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LipLease {
    /// The key of the replies: from the real server to the local endpoint.
    pub(crate) reply: FlowKey,
    /// The connection that is over but still stands under that key; it has to go first.
    pub(crate) taken_over: Option<EntryId>,
}

/// Who asks, and for what.
#[derive(Clone, Copy)]
pub(crate) struct Tenant<'a> {
    pub(crate) protocol: Protocol,
    pub(crate) real: Endpoint,
    pub(crate) worker: WorkerId,
    pub(crate) steering: &'a Steering,
    /// Where cursors begin, random at every start: a director that is started again does not begin with tuples of
    /// which the real servers still hold the TIME_WAIT.
    pub(crate) origin: u32,
}

/// Finds a local endpoint for a connection to `tenant.real`; `cursor` is the destination's own and moves on.
pub(crate) fn lease(
    pool: &LocalPool,
    tenant: &Tenant<'_>,
    cursor: &mut u32,
    table: &Table,
    now: Tick,
) -> Option<LipLease> {
    let class = PortClass::new(
        pool.l4_ports,
        tenant.steering.local_port_stride(),
        tenant.worker,
    );
    let n_addresses = pool.n_addresses(tenant.real.ip());
    let n_pairs = class.len() * n_addresses;
    let mut oldest: Option<(u32, LipLease)> = None;
    for _ in 0..PROBES.min(n_pairs) {
        let pair = (u64::from(*cursor) + u64::from(tenant.origin)) % n_pairs;
        *cursor = cursor.wrapping_add(1);
        let lip = pool.address(tenant.real.ip(), pair % n_addresses);
        let local = Endpoint::new(lip, class.get(pair / n_addresses));
        let reply = FlowKey::new(tenant.protocol, tenant.real, local)?;
        let Some(found) = table.find(&reply, table.hash(&reply)) else {
            return Some(LipLease {
                reply,
                taken_over: None,
            });
        };
        let connection = table.get(found.id);
        let unseen_ticks = now.since(connection.last_seen());
        let is_over = connection.state().is_some_and(crate::State::is_over);
        if is_over && oldest.is_none_or(|(ticks, _)| unseen_ticks > ticks) {
            oldest = Some((
                unseen_ticks,
                LipLease {
                    reply,
                    taken_over: Some(found.id),
                },
            ));
        }
    }
    oldest.map(|(_, lease)| lease)
}

/// The local ports that belong to one worker: every `stride`-th.
#[derive(Clone, Copy, Debug)]
struct PortClass {
    first: u32,
    last: u32,
    stride: u32,
}

impl PortClass {
    fn new(range: L4PortRange, stride: u16, worker: WorkerId) -> Self {
        let (first, stride, worker) = (
            u32::from(range.first),
            u32::from(stride),
            u32::from(worker.0),
        );
        let first = first + (worker + stride - first % stride) % stride;
        Self {
            first,
            last: u32::from(range.last),
            stride,
        }
    }

    fn len(self) -> u64 {
        if self.first > self.last {
            0
        } else {
            u64::from((self.last - self.first) / self.stride + 1)
        }
    }

    /// The `place`-th, `place` below `len`.
    fn get(self, place: u64) -> L4Port {
        (self.first + place as u32 * self.stride) as L4Port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_belongs_to_one_worker() {
        for n_workers in 1..=5u16 {
            let mut owners = vec![0; 1 << 16];
            for worker in 0..n_workers {
                let class = PortClass::new(
                    L4PortRange {
                        first: 1021,
                        last: 2003,
                    },
                    n_workers,
                    WorkerId(worker as u8),
                );
                for place in 0..class.len() {
                    let lport = class.get(place);
                    assert_eq!(lport % n_workers, worker);
                    owners[usize::from(lport)] += 1;
                }
            }
            assert!((1021..=2003).all(|lport| owners[lport] == 1));
            assert_eq!(owners.iter().sum::<i32>(), 2003 - 1021 + 1);
        }
    }

    #[test]
    fn a_range_smaller_than_the_number_of_workers_leaves_some_without() {
        let class = PortClass::new(
            L4PortRange {
                first: 5000,
                last: 5000,
            },
            2,
            WorkerId(1),
        );
        assert_eq!(class.len(), 0);
    }
}
