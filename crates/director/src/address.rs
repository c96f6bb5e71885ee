//! The addresses that are ours.
//!
//! Promises: tells what an address is used for. Asked on a miss only.
//! Does not know: services and their L4 ports.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// By address as a number, which is quick to hash.
    v4: HashMap<u32, AddressUse, RandomState>,
    /// Likewise.
    v6: HashMap<u128, AddressUse, RandomState>,
}

impl LocalAddresses {
    /// What the address is used for; `None` when it is not ours.
    #[inline]
    pub fn find(&self, address: IpAddr) -> Option<AddressUse> {
        match address {
            IpAddr::V4(address) => self.v4.get(&address.to_bits()).copied(),
            IpAddr::V6(address) => self.v6.get(&address.to_bits()).copied(),
        }
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, AddressUse)> {
        let v4 = self
            .v4
            .iter()
            .map(|(bits, address_use)| (Ipv4Addr::from_bits(*bits).into(), *address_use));
        let v6 = self
            .v6
            .iter()
            .map(|(bits, address_use)| (Ipv6Addr::from_bits(*bits).into(), *address_use));
        v4.chain(v6)
    }
}

impl FromIterator<(IpAddr, AddressUse)> for LocalAddresses {
    fn from_iter<I: IntoIterator<Item = (IpAddr, AddressUse)>>(addresses: I) -> Self {
        let mut all = Self::default();
        for (address, address_use) in addresses {
            match address {
                IpAddr::V4(address) => all.v4.insert(address.to_bits(), address_use),
                IpAddr::V6(address) => all.v6.insert(address.to_bits(), address_use),
            };
        }
        all
    }
}
