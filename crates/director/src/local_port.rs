//! Local ports: which (LIP, lport) a FULLNAT connection is given.
//!
//! Promises: the reply to it belongs to the worker that opened the connection; the tuple at the real server is free,
//! or its last connection is over; the time between two uses of a tuple is the longest possible.
//! Does not know: sequence numbers (`forward/sequence.rs` makes a tuple that is taken over acceptable).
//!
//! How it works: there are no free lists. A cursor for each destination walks all pairs of the worker's class in
//! turn, the connection table says whether the reply's key is there. Where replies find their queue by LIP and not by
//! lport, the pairs of the other LIPs are left out, and taken only when nothing else is to be had. Who is given a pair
//! asks for the bucket of the one behind it: memory has until the destination's next connection to bring it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::{Endpoint, FlowKey, L4Port};

use crate::connection::{EntryId, Table};
use crate::steering::Reply;
use crate::{Steering, Tick};

/// How many pairs are looked at before a tuple is taken over, or the cursor leaps.
const PROBES: u32 = 16;
/// How often the cursor leaps before the search is given up.
const LEAPS: u32 = 7;
/// Where to: a step of a linear congruential generator of full period.
const LEAP: (u32, u32) = (1_664_525, 1_013_904_223);

/// How many LIPs in a row may be none of the worker's queue before it takes any.
const LIPS_LEFT_OUT: u32 = 64;

/// Which LIPs are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lips {
    /// Those whose replies go to the worker's queue.
    OfTheQueue,
    /// All: the replies may have to be handed over.
    All,
}

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

    fn n_addresses(&self, like: IpAddr) -> u32 {
        match like {
            IpAddr::V4(_) => self.v4.len() as u32,
            IpAddr::V6(_) => self.v6.len() as u32,
        }
    }

    fn address(&self, like: IpAddr, place: u32) -> IpAddr {
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
    /// Its hash.
    pub(crate) hash: u64,
    /// The connection that is over but still stands under that key; it has to go first.
    pub(crate) taken_over: Option<EntryId>,
}

/// A search among the local endpoints that a connection may be given.
pub(crate) struct LocalPortSearch<'a> {
    /// Those that may be lent.
    pub(crate) pool: &'a LocalPool,
    /// The replies to the connection.
    pub(crate) replies: Reply,
    /// The destination's own; moves on.
    pub(crate) cursor: &'a mut u32,
    /// Where cursors begin, random at every start: a director that is started again does not begin with tuples of
    /// which the real servers still hold the TIME_WAIT.
    pub(crate) origin: u32,
    pub(crate) table: &'a Table,
    pub(crate) steering: &'a Steering,
    pub(crate) now: Tick,
}

impl LocalPortSearch<'_> {
    /// Finds a local endpoint for the connection.
    pub(crate) fn lease(&mut self) -> Option<LipLease> {
        let has_choice = self.steering.chooses_lips(&self.replies) && self.skip_others().is_some();
        let of_the_queue = has_choice.then(|| self.leap(Lips::OfTheQueue)).flatten();
        let lease = of_the_queue.or_else(|| self.leap(Lips::All))?;
        if let Some(next) = self.reply() {
            self.table.prefetch(self.table.hash(&next));
        }
        Some(lease)
    }

    /// Where the cursor has come upon a stretch of living connections it leaps ahead a few times before the search is
    /// given up.
    fn leap(&mut self, lips: Lips) -> Option<LipLease> {
        let mut lease = self.probe(lips);
        for _ in 0..LEAPS {
            if lease.is_some() {
                break;
            }
            *self.cursor = self.cursor.wrapping_mul(LEAP.0).wrapping_add(LEAP.1);
            lease = self.probe(lips);
        }
        lease
    }

    /// Moves the cursor on to a LIP of the worker's queue. `None`: there is none near.
    fn skip_others(&mut self) -> Option<()> {
        let real = self.replies.real.ip();
        let n_addresses = self.pool.n_addresses(real);
        let n_others = (0..n_addresses.min(LIPS_LEFT_OUT)).find(|n_others| {
            let pair = self.pair().wrapping_add(*n_others);
            let lip = self.pool.address(real, pair % n_addresses);
            self.steering.is_lip_of_queue(&self.replies, lip)
        })?;
        *self.cursor = self.cursor.wrapping_add(n_others);
        Some(())
    }

    /// The number of the pair at the cursor. Numbers go on for ever, LIP by LIP, then lport by lport.
    #[inline]
    fn pair(&self) -> u32 {
        self.cursor.wrapping_add(self.origin)
    }

    /// The key of the replies to the pair at the cursor, if there is one.
    #[inline]
    fn reply(&self) -> Option<FlowKey> {
        let Reply { protocol, real, .. } = self.replies;
        let n_addresses = self.pool.n_addresses(real.ip());
        if n_addresses == 0 {
            return None;
        }
        let pair = self.pair();
        let (round, place) = (pair / n_addresses, pair % n_addresses);
        let lip = self.pool.address(real.ip(), place);
        let lport = self
            .steering
            .local_port(&self.replies, lip, self.pool.l4_ports, round)?;
        FlowKey::new(protocol, real, Endpoint::new(lip, lport))
    }

    /// The first free one of the next few, else the one of them whose connection is over and unseen for longest.
    fn probe(&mut self, lips: Lips) -> Option<LipLease> {
        let mut oldest: Option<(u32, LipLease)> = None;
        for _ in 0..PROBES {
            if lips == Lips::OfTheQueue && self.skip_others().is_none() {
                break;
            }
            let reply = self.reply();
            *self.cursor = self.cursor.wrapping_add(1);
            let Some(reply) = reply else {
                continue;
            };
            let hash = self.table.hash(&reply);
            let mut lease = LipLease {
                reply,
                hash,
                taken_over: None,
            };
            let Some(found) = self.table.find(&reply, hash) else {
                return Some(lease);
            };
            let connection = self.table.get(found.id);
            let unseen_ticks = self.now.since(connection.last_seen());
            let is_over = connection.state().is_some_and(crate::State::is_over);
            if is_over && oldest.is_none_or(|(ticks, _)| unseen_ticks > ticks) {
                lease.taken_over = Some(found.id);
                oldest = Some((unseen_ticks, lease));
            }
        }
        oldest.map(|(_, lease)| lease)
    }
}
