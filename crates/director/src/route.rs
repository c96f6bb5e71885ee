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
    // Invariant: longest prefixes first.
    routes: Vec<Route>,
}

impl Routes {
    /// From routes in any order; of two for the same prefix the earlier one counts.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
        Self { routes }
    }

    /// The route to an address.
    pub fn find(&self, address: IpAddr) -> Option<RouteTarget> {
        self.routes
            .iter()
            .find(|route| route.prefix.contains(&address))
            .map(|route| route.target)
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
}
