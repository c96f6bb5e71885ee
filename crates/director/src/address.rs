//! The addresses that are ours.
//!
//! Promises: tells what an address is used for. Asked on a miss only.
//! Does not know: services and their L4 ports.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

/// What an address of ours is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressUse {
    /// Clients talk to it.
    Virtual,
    /// FULLNAT talks to real servers from it.
    Local,
    /// A port's own.
    Own,
    /// Clients talked to it until a configuration left it out; connections that exist go on.
    FormerlyVirtual,
    /// FULLNAT talked from it until a configuration left it out; connections that exist go on.
    FormerlyLocal,
}

/// All addresses that are ours.
#[derive(Clone, Debug, Default)]
pub struct LocalAddresses {
    uses: HashMap<IpAddr, AddressUse, RandomState>,
}

impl LocalAddresses {
    /// What the address is used for; `None` when it is not ours.
    pub fn find(&self, address: IpAddr) -> Option<AddressUse> {
        self.uses.get(&address).copied()
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, AddressUse)> {
        self.uses
            .iter()
            .map(|(address, address_use)| (*address, *address_use))
    }
}

impl FromIterator<(IpAddr, AddressUse)> for LocalAddresses {
    fn from_iter<I: IntoIterator<Item = (IpAddr, AddressUse)>>(addresses: I) -> Self {
        Self {
            uses: addresses.into_iter().collect(),
        }
    }
}
