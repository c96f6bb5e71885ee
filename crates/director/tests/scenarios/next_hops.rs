//! Next hops: the one table of a snapshot that living connections read.

use weir_director::{DropReason, NextHop, PuntReason, RouteTarget};
use weir_testkit::{FAMILIES, IPV4, IPV6, Rig, Site, WAN, WAN_MAC, tcp};
use weir_wire::Protocol;
use weir_wire::ethernet::Mac;

use crate::conversation::{Conversation, tcp_rig};

const MOVED: Mac = Mac([2, 0, 0, 0, 0xee, 0xee]);

/// A MAC address that moves reaches living connections with the next snapshot, both ways.
#[test]
fn a_mac_that_moves_reaches_living_connections() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.publish(|site| site.mac("10.0.0.11", MOVED).mac("192.0.2.1", MOVED));
    let inbound = rig.forward(&conversation.inbound(1, 2));
    let outbound = rig.forward(&conversation.outbound(1, 1));
    assert_eq!(
        [inbound, outbound].map(|sent| sent.destination_mac),
        [MOVED; 2]
    );
}

/// A neighbour whose MAC address is not known: punted with its number, for new and living connections.
#[test]
fn an_unresolved_next_hop_is_punted() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.publish(|site| site.unresolved("10.0.0.11"));
    let hop = rig.site.hop_id("10.0.0.11");
    let unresolved = PuntReason::NeighbourUnresolved(hop);
    rig.send(&conversation.inbound(1, 2)).is_punted(unresolved);
    let syn = tcp("198.51.100.8:1", IPV4.vip).syn();
    rig.send(&syn).is_punted(unresolved);
    rig.publish(|site| site.mac("10.0.0.11", MOVED));
    rig.forward(&syn);
}

/// A client on a link of ours for whom nobody has asked yet; once it has a row it is answered.
#[test]
fn an_unknown_neighbour_is_punted() {
    let mut rig = tcp_rig();
    let syn = tcp("192.0.2.77:1", IPV4.vip).syn();
    rig.send(&syn).is_punted(PuntReason::NeighbourUnknown);
    assert!(rig.connections().is_empty());
    let hop = NextHop::resolved(WAN, MOVED, WAN_MAC, 1500);
    rig.publish(|site| site.neighbour("192.0.2.77", hop));
    let conversation = Conversation::establish(&mut rig, "192.0.2.77:1", IPV4.vip);
    let sent = rig.forward(&conversation.outbound(1, 1));
    assert_eq!(sent.destination_mac, MOVED);
}

/// A client to whom no route leads.
#[test]
fn no_route_is_a_named_drop() {
    for family in [IPV4, IPV6] {
        let mut rig = Rig::new(Site::with_one_server(Protocol::Tcp).without_default_routes());
        let syn = tcp(family.client, family.vip).syn();
        rig.send(&syn).is_dropped(DropReason::NoRoute);
    }
}

/// The client's route decides where replies go.
#[test]
fn the_longest_route_leads_to_the_client() {
    let mut rig = tcp_rig();
    rig.publish(|site| {
        let hop = NextHop::resolved(WAN, MOVED, WAN_MAC, 1500);
        let site = site.neighbour("192.0.2.2", hop);
        let router = site.hop_id("192.0.2.2");
        site.route("198.51.100.0/24", RouteTarget::Gateway(router))
    });
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let sent = rig.forward(&conversation.outbound(1, 1));
    assert_eq!(sent.destination_mac, MOVED);
}

/// Too large for the way and not to be fragmented: punted with the MTU of the way.
#[test]
fn what_does_not_fit_is_punted_with_the_mtu() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let address = conversation.real.ip().to_string();
        rig.publish(|site| site.mtu(&address, 1400));
        for (segment, fits) in [
            (conversation.inbound(1, 2), 1400 - family.growth()),
            (conversation.outbound(1, 2), 1500 + family.growth()),
        ] {
            let (fits, mtu) = (fits as usize, fits as u16);
            let too_big = segment.clone().ip_bytes(fits + 1);
            rig.send(&too_big).is_punted(PuntReason::TooBig { mtu });
            rig.forward(&segment.ip_bytes(fits));
        }
    }
}

/// A way so narrow that not even the option fits: refused, not miscounted.
#[test]
fn an_mtu_below_the_option_leaves_nothing() {
    let mut rig = Rig::new(Site::with_one_server(Protocol::Tcp).mtu("10.0.0.11", 4));
    let syn = tcp(IPV4.client, IPV4.vip).syn();
    rig.send(&syn).is_punted(PuntReason::TooBig { mtu: 0 });
}
