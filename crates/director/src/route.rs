//! Routes: which port and which neighbour lead to an address.
//!
//! Promises: the longest prefix wins. Read when a connection opens, never for a living one.
//! Does not know: MAC addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::{NextHopId, NextHops, PortId};

/// Where a prefix leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Its addresses are on the port's own link.
    OnLink(PortId),
    /// A router on a port's link takes it.
    Gateway(NextHopId),
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The addresses it is for.
    pub prefix: IpNet,
    /// Where they are.
    pub target: RouteTarget,
}

/// All routes.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    // Invariant, of all three: longest prefixes first.
    routes: Vec<Route>,
    /// Those of IPv4, ready to be compared.
    v4: Vec<Masked<u32>>,
    /// Those of IPv6, likewise.
    v6: Vec<Masked<u128>>,
}

/// A route whose prefix is an address of which some bits count.
#[derive(Clone, Copy, Debug)]
struct Masked<Bits> {
    network: Bits,
    mask: Bits,
    target: RouteTarget,
}

impl Routes {
    /// From routes in any order; of two for the same prefix the earlier one counts.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Route { prefix, target } in &routes {
            match prefix {
                IpNet::V4(prefix) => v4.push(Masked {
                    network: prefix.network().to_bits(),
                    mask: prefix.netmask().to_bits(),
                    target: *target,
                }),
                IpNet::V6(prefix) => v6.push(Masked {
                    network: prefix.network().to_bits(),
                    mask: prefix.netmask().to_bits(),
                    target: *target,
                }),
            }
        }
        Self { routes, v4, v6 }
    }

    /// The route to an address.
    #[inline]
    pub fn find(&self, address: IpAddr) -> Option<RouteTarget> {
        match address {
            IpAddr::V4(address) => first(&self.v4, address.to_bits()),
            IpAddr::V6(address) => first(&self.v6, address.to_bits()),
        }
    }

    /// The next hop to an address. `None`: no route. `Some(None)`: on a link, where nobody has asked for it yet.
    pub fn next_hop(&self, address: IpAddr, next_hops: &NextHops) -> Option<Option<NextHopId>> {
        self.find(address).map(|target| match target {
            RouteTarget::OnLink(port) => next_hops.find(port, address),
            RouteTarget::Gateway(id) => Some(id),
        })
    }

    /// All of them, longest prefixes first.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }
}

/// The target of the first route for an address.
#[inline]
fn first<Bits>(routes: &[Masked<Bits>], address: Bits) -> Option<RouteTarget>
where
    Bits: Copy + Eq + std::ops::BitAnd<Output = Bits>,
{
    routes
        .iter()
        .find(|route| address & route.mask == route.network)
        .map(|route| route.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let route = |prefix: &str, port| Route {
            prefix: prefix.parse().unwrap(),
            target: RouteTarget::OnLink(PortId(port)),
        };
        let routes = Routes::new(vec![
            route("0.0.0.0/0", 0),
            route("10.1.0.0/16", 2),
            route("10.0.0.0/8", 1),
        ]);
        let port = |address: &str| routes.find(address.parse().unwrap());
        assert_eq!(port("10.1.2.3"), Some(RouteTarget::OnLink(PortId(2))));
        assert_eq!(port("10.2.2.3"), Some(RouteTarget::OnLink(PortId(1))));
        assert_eq!(port("192.0.2.1"), Some(RouteTarget::OnLink(PortId(0))));
        assert_eq!(port("2001:db8::1"), None);
    }

    #[test]
    fn a_prefix_may_be_given_by_any_of_its_addresses() {
        let target = RouteTarget::OnLink(PortId(3));
        let routes =
            ["10.1.2.3/15", "2001:db8::7/64", "::/0", "192.0.2.1/32"].map(|prefix| Route {
                prefix: prefix.parse().unwrap(),
                target,
            });
        let routes = Routes::new(routes.to_vec());
        for (address, is_there) in [
            ("10.0.0.0", true),
            ("10.1.255.255", true),
            ("10.2.0.0", false),
            ("192.0.2.1", true),
            ("192.0.2.0", false),
            ("2001:db8::ffff", true),
            ("2001:db9::1", true),
        ] {
            let found = routes.find(address.parse().unwrap());
            assert_eq!(found, is_there.then_some(target), "{address}");
        }
    }
}
