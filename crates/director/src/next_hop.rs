//! The next hops: the one table of a snapshot that a living connection reads.
//!
//! Promises: a row's number never changes its meaning while anything refers to it, so that a MAC that moves
//! reaches living connections at once.
//! Does not know: how a MAC is learned (the control thread).

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use weir_wire::ethernet::Mac;

use crate::{NextHopId, PortId};

/// Where a packet goes on the wire. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Destination MAC, then source MAC: what the frame's first 12 bytes become.
    pub ethernet: [u8; 12],
    /// Largest IP packet, in bytes; 0 while the MAC is not known, so that nothing fits.
    pub mtu: u16,
    /// The port by which it leaves.
    pub port: PortId,
}

impl NextHop {
    /// A neighbour whose MAC address is known; `mtu` in bytes, at least 1.
    pub fn resolved(port: PortId, destination: Mac, source: Mac, mtu: u16) -> Self {
        let mut ethernet = [0; 12];
        ethernet[..6].copy_from_slice(&destination.0);
        ethernet[6..].copy_from_slice(&source.0);
        Self {
            ethernet,
            mtu: mtu.max(1),
            port,
        }
    }

    /// A neighbour whose MAC address is not known.
    pub const fn unresolved(port: PortId) -> Self {
        Self {
            ethernet: [0; 12],
            mtu: 0,
            port,
        }
    }

    /// Whether the MAC address is known.
    #[inline]
    pub fn is_resolved(&self) -> bool {
        self.mtu != 0
    }
}

/// All next hops.
#[derive(Clone, Debug, Default)]
pub struct NextHops {
    rows: Vec<NextHop>,
    by_address: HashMap<(PortId, IpAddr), NextHopId, RandomState>,
}

impl NextHops {
    /// The table whose row `i` is `rows[i]`, of the neighbour `rows[i].0` on the row's port. At most 65,536 rows;
    /// further ones are left out.
    pub fn new(rows: impl IntoIterator<Item = (IpAddr, NextHop)>) -> Self {
        let mut table = Self::default();
        for (number, (address, hop)) in (0..=u16::MAX).zip(rows) {
            table
                .by_address
                .insert((hop.port, address), NextHopId(number));
            table.rows.push(hop);
        }
        table
    }

    /// The row of a number; an unresolved one for a number never given out.
    #[inline]
    pub fn get(&self, id: NextHopId) -> &NextHop {
        const NONE: NextHop = NextHop::unresolved(PortId(0));
        self.rows.get(usize::from(id.0)).unwrap_or(&NONE)
    }

    /// The number of a neighbour on a port, if it has one.
    pub fn find(&self, port: PortId, address: IpAddr) -> Option<NextHopId> {
        self.by_address.get(&(port, address)).copied()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
