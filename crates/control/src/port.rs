//! The ports, as far as the slow path must know them.
//!
//! Promises: every port has an IPv6 link-local address of its own besides those it was given.
//! Does not know: queues, devices.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use weir_director::PortId;
use weir_wire::ethernet::Mac;

/// What is known of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortFacts {
    /// Its number.
    pub id: PortId,
    /// Its name in the configuration.
    pub name: String,
    /// Its MAC address.
    pub mac: Mac,
    /// The largest IP packet it sends, in bytes.
    pub mtu: u16,
    /// Its own addresses, each with its subnet.
    pub addresses: Vec<IpNet>,
}

impl PortFacts {
    /// The link-local address that is made of the MAC address (RFC 4291 §2.5.6, appendix A).
    pub fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac.0;
        Ipv6Addr::from([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            a ^ 2,
            b,
            c,
            0xff,
            0xfe,
            d,
            e,
            f,
        ])
    }

    /// This side of its link.
    pub(crate) fn link(&self) -> Link {
        Link {
            port: self.id,
            mac: self.mac,
            link_local: self.link_local(),
        }
    }

    /// Whether an address is in a subnet of this port.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }

    /// The addresses from which a neighbour may be asked, best first: one in its subnet, any of its family, the
    /// link-local one. A link-local neighbour is asked from the link-local address.
    pub(crate) fn sources(&self, neighbour: IpAddr) -> impl Iterator<Item = IpAddr> {
        let (near, far): (Vec<&IpNet>, Vec<&IpNet>) = self
            .addresses
            .iter()
            .filter(|net| net.addr().is_ipv4() == neighbour.is_ipv4())
            .partition(|net| net.contains(&neighbour));
        let link_local = neighbour.is_ipv6().then(|| IpAddr::V6(self.link_local()));
        let is_local = matches!(neighbour, IpAddr::V6(address) if address.is_unicast_link_local());
        let given = near.into_iter().chain(far).map(IpNet::addr);
        let first = link_local.filter(|_| is_local);
        first.into_iter().chain(given).chain(link_local)
    }
}

/// A port's end of a link: what is needed to answer on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) port: PortId,
    pub(crate) mac: Mac,
    pub(crate) link_local: Ipv6Addr,
}
