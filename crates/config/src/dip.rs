//! The DIP towards an address: the director's own from which packets go there.
//!
//! Promises: it is of the address's family and of the port that leads there. Does not know: who sends them.

use std::net::IpAddr;

use crate::config::{Port, Route};

/// The first address, of the subnet in which `address` lies or in which the next hop of its longest route does; `None`
/// where there is neither.
pub(crate) fn towards(address: IpAddr, ports: &[Port], routes: &[Route]) -> Option<IpAddr> {
    let on_link = |address: IpAddr| {
        let mut subnets = ports.iter().flat_map(|port| &port.addresses);
        subnets
            .find(|subnet| subnet.contains(&address))
            .map(|subnet| subnet.addr())
    };
    on_link(address).or_else(|| {
        let through = routes.iter().filter(|route| route.to.contains(&address));
        let longest = through.max_by_key(|route| route.to.prefix_len())?;
        on_link(longest.via)
    })
}
