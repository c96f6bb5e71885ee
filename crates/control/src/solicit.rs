//! The frames that the slow path sends of its own accord: requests for MAC addresses, and announcements.
//!
//! Promises: each comes from the port's MAC address and from an address that is ours there.
//! Does not know: when they are sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_director::PortId;
use weir_wire::arp::{Arp, Operation};
use weir_wire::ethernet::Mac;
use weir_wire::icmpv6;
use weir_wire::icmpv6::listener::{self, Occasion};
use weir_wire::icmpv6::neighbour::{Advertisement, Solicitation};

use crate::SlowPath;
use crate::announce::{Announcement, Standing};
use crate::port::Link;

impl SlowPath {
    /// Asks a neighbour for its MAC address: at the one that is known, or all on the link.
    ///
    /// IPv6 does not ask from an address that may not be ours yet (RFC 4862 §5.4): in the first second of a port's
    /// life nothing is sent. The next request makes up for it.
    pub(crate) fn ask(&mut self, port: PortId, neighbour: IpAddr, unicast: Option<Mac>) {
        let Some(facts) = self.ports.iter().find(|facts| facts.id == port) else {
            return;
        };
        let mac = facts.mac;
        let source = facts
            .sources(neighbour)
            .find(|source| self.announcer.standing(port, *source) == Standing::Ours);
        let frame = match (neighbour, source) {
            // A port without an IPv4 address asks as a prober does, which hosts answer as well (RFC 5227 §2.1.1).
            (IpAddr::V4(target), source) => {
                let sender = match source {
                    Some(IpAddr::V4(sender)) => sender,
                    Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
                };
                arp_request(mac, sender, target, unicast.unwrap_or(Mac::BROADCAST))
            }
            (IpAddr::V6(target), Some(IpAddr::V6(source))) => Solicitation {
                source,
                target,
                source_mac: None,
            }
            .write(mac, unicast),
            (IpAddr::V6(_), Some(IpAddr::V4(_)) | None) => return,
        };
        self.outbox.transmit(port, frame);
    }

    /// Sends announcements: groups first, then the rest in order, for a solicitation's answer comes through a group.
    pub(crate) fn announce(&mut self, announcements: &[Announcement]) {
        for link in self.links() {
            let joined: Vec<Ipv6Addr> = announcements
                .iter()
                .filter_map(|announcement| match announcement {
                    Announcement::Join(port, address) if *port == link.port => {
                        Some(icmpv6::solicited_node(*address))
                    }
                    Announcement::Join(..) | Announcement::IsTaken(..) | Announcement::Have(..) => {
                        None
                    }
                })
                .collect();
            self.report_groups(link, Occasion::Joined, &joined);
        }
        for announcement in announcements {
            let (port, address) = match *announcement {
                Announcement::Join(..) => continue,
                Announcement::IsTaken(port, address) => (port, IpAddr::V6(address)),
                Announcement::Have(port, address) => (port, address),
            };
            let Some(Link { mac, .. }) = self.link(port) else {
                continue;
            };
            let frame = match (announcement, address) {
                (Announcement::IsTaken(..), IpAddr::V6(target)) => Solicitation {
                    source: Ipv6Addr::UNSPECIFIED,
                    target,
                    source_mac: None,
                }
                .write(mac, None),
                // The request form of gratuitous ARP: more hosts heed it than the reply form (RFC 5227 §3).
                (_, IpAddr::V4(address)) => arp_request(mac, address, address, Mac::BROADCAST),
                (_, IpAddr::V6(address)) => Advertisement::announce(address, mac),
            };
            self.outbox.transmit(port, frame);
        }
    }

    /// Tells routers and switches of groups that we listen to.
    pub(crate) fn report_groups(&mut self, link: Link, occasion: Occasion, groups: &[Ipv6Addr]) {
        let link_local = IpAddr::V6(link.link_local);
        let source = match self.announcer.standing(link.port, link_local) {
            Standing::Ours => link.link_local,
            Standing::Tentative | Standing::Duplicate | Standing::Former | Standing::Foreign => {
                Ipv6Addr::UNSPECIFIED
            }
        };
        for frame in listener::reports(occasion, link.mac, source, groups) {
            self.outbox.transmit(link.port, frame);
        }
    }
}

fn arp_request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr, destination: Mac) -> Vec<u8> {
    Arp {
        operation: Operation::Request,
        sender_mac: mac,
        sender,
        target_mac: Mac::default(),
        target,
    }
    .write(destination)
}
