//! Who has which address in the lab: segments, and the numbers of machines in them.
//!
//! Promises: addresses come from ranges for documentation and private use, but for those of the courses' labs; a machine has the same digits in IPv4 and
//! IPv6, so that a person reads both.
//! Does not know: which machines there are (`topology`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The IPv4 address.
    pub ipv4: Ipv4Addr,
    /// The IPv6 address.
    pub ipv6: Ipv6Addr,
}

impl Addresses {
    /// The address of the family asked for.
    pub fn of(self, family: Family) -> IpAddr {
        match family {
            Family::Ipv4 => self.ipv4.into(),
            Family::Ipv6 => self.ipv6.into(),
        }
    }
}

/// An IP version; every scenario is told for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both, in the order in which they are told.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];
}

impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A subnet of the lab: /24 for IPv4, /64 for IPv6; machines are numbered in it.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    ipv4: [u8; 3],
    ipv6: [u16; 4],
}

/// Where clients are in the two-arm lab, and where the VIP is: documentation addresses (RFC 5737, RFC 3849).
pub const WAN: Segment = Segment {
    ipv4: [192, 0, 2],
    ipv6: [0x2001, 0xdb8, 1, 0],
};
/// Where real servers are: private addresses (RFC 1918, RFC 4193).
pub const LAN: Segment = Segment {
    ipv4: [10, 0, 0],
    ipv6: [0xfd00, 0, 0, 1],
};
/// Where clients behind a router are.
pub const FAR: Segment = Segment {
    ipv4: [198, 51, 100],
    ipv6: [0x2001, 0xdb8, 2, 0],
};

/// Where real servers behind a router are.
pub const BACK: Segment = Segment {
    ipv4: [10, 1, 0],
    ipv6: [0xfd00, 0, 0, 2],
};

/// Three subnets of courses on LVS. Their IPv4 addresses are other people's, so they are for namespaces without a way
/// out, and for nothing else; IPv6 has the same digits behind prefixes for documentation and private use.
///
/// The outside of the NAT lab.
pub const COURSE_WAN: Segment = Segment {
    ipv4: [8, 8, 8],
    ipv6: [0x2001, 0xdb8, 8, 8],
};
/// The inside of the NAT lab.
pub const COURSE_LAN: Segment = Segment {
    ipv4: [192, 168, 10],
    ipv6: [0xfd00, 0x192, 0x168, 0x10],
};
/// The one subnet of the labs for DR and TUN.
pub const COURSE_ONE: Segment = Segment {
    ipv4: [200, 168, 10],
    ipv6: [0x2001, 0xdb8, 0x168, 0x10],
};

impl Segment {
    /// The subnet as routes are written.
    pub fn prefix(self, family: Family) -> String {
        match family {
            Family::Ipv4 => format!("{}/24", self.machine(0).ipv4),
            Family::Ipv6 => format!("{}/64", self.machine(0).ipv6),
        }
    }

    /// The addresses of machine `number`; in IPv6 the same decimal digits are written, `10.0.0.11` and `…::11`.
    pub fn machine(self, number: u8) -> Addresses {
        let [a, b, c] = self.ipv4;
        let [d, e, f, g] = self.ipv6;
        let digits = u16::from(number / 100) << 8
            | u16::from(number / 10 % 10) << 4
            | u16::from(number % 10);
        Addresses {
            ipv4: Ipv4Addr::new(a, b, c, number),
            ipv6: Ipv6Addr::new(d, e, f, g, 0, 0, 0, digits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_the_same_digits_in_both_families() {
        let machine = LAN.machine(203);
        assert_eq!(machine.of(Family::Ipv4).to_string(), "10.0.0.203");
        assert_eq!(machine.of(Family::Ipv6).to_string(), "fd00:0:0:1::203");
        assert_eq!(LAN.prefix(Family::Ipv4), "10.0.0.0/24");
        assert_eq!(LAN.prefix(Family::Ipv6), "fd00:0:0:1::/64");
    }
}
