//! What the control thread gets, and why. (`next_hops.rs`, `snapshots.rs` and `toa.rs` have the rest.)

use weir_director::{PuntReason, Scheduler};
use weir_testkit::{
    By, IPV4, IPV6, IntoEndpoint, LAN_MAC, Rig, Site, WAN_MAC, echo_request, icmp, tcp, udp,
};
use weir_wire::Protocol;
use weir_wire::arp::{Arp, Operation};
use weir_wire::ethernet::Mac;

use crate::conversation::{Conversation, tcp_rig};

/// ARP, whoever it is about.
#[test]
fn arp_is_punted() {
    let mut rig = tcp_rig();
    let request = Arp {
        operation: Operation::Request,
        sender_mac: Mac([2, 0, 0, 0, 0, 9]),
        sender: "192.0.2.1".parse().unwrap(),
        target_mac: Mac::default(),
        target: "192.0.2.10".parse().unwrap(),
    };
    for to in [Mac::BROADCAST, WAN_MAC] {
        let outcome = rig.receive(weir_director::WorkerId(0), &request.write(to));
        outcome.is_punted(PuntReason::Arp);
    }
}

/// Echo, and whatever else is no error.
#[test]
fn icmp_that_is_no_error_is_punted() {
    let mut rig = tcp_rig();
    for family in [IPV4, IPV6] {
        let frame = echo_request(family.client, family.vip).data(b"ping");
        rig.send(&frame).is_punted(PuntReason::Icmp);
    }
    let solicitation = icmp(IPV6.client, IPV6.vip, [135, 0], [0; 4]).data(&[0; 16]);
    rig.send(&solicitation).is_punted(PuntReason::Icmp);
    let redirect = icmp(IPV4.client, IPV4.vip, [5, 1], [0; 4]).data(&[0; 28]);
    rig.send(&redirect).is_punted(PuntReason::Icmp);
}

/// Whoever looks for an IPv6 address of ours asks its group, and answers a question that came from a link-local
/// address there: also the real servers whose gateway we are.
#[test]
fn neighbour_discovery_is_punted_whatever_address_it_is_sent_to() {
    for by in [By::FullNat, By::Nat] {
        let site = Site::new().by(by);
        let site = site.service(Protocol::Tcp, IPV6.vip, Scheduler::Rr, &[(IPV6.real, 1)]);
        let mut rig = Rig::new(site);
        let group = Mac([0x33, 0x33, 0xff, 0, 1, 0]);
        let server = IPV6.real;
        for sender in [server, "[fe80::9]:0", "[::]:0"] {
            let ask = icmp(sender, "[ff02::1:ff00:100]:0", [135, 0], [0; 4]).data(&[0; 16]);
            for to in [group, LAN_MAC] {
                rig.send(&ask.clone().macs(Mac([2; 6]), to))
                    .is_punted(PuntReason::Icmp);
            }
        }
        let tell = icmp(server, "[fe80::d0:1]:0", [136, 0], [0x40, 0, 0, 0]).data(&[0; 16]);
        rig.send(&tell.macs(Mac([2; 6]), LAN_MAC))
            .is_punted(PuntReason::Icmp);
    }
}

/// An address of ours whose L4 port, or protocol, no service wants.
#[test]
fn what_no_service_wants_is_punted() {
    let mut rig = tcp_rig();
    for family in [IPV4, IPV6] {
        let vip = family.vip.into_endpoint();
        let other = weir_wire::Endpoint::new(vip.ip(), 81);
        rig.send(&tcp(family.client, other).syn())
            .is_punted(PuntReason::NoService);
        rig.send(&tcp(family.client, other).ack(1))
            .is_punted(PuntReason::NoService);
        rig.send(&udp(family.client, vip))
            .is_punted(PuntReason::NoService);
    }
    for own in ["192.0.2.10:22", "10.0.0.1:22"] {
        rig.send(&tcp(IPV4.client, own).syn())
            .is_punted(PuntReason::NoService);
    }
    rig.send(&udp(IPV4.real, IPV4.local))
        .is_punted(PuntReason::NoService);
}

/// A segment that belongs to no connection and opens none, from either side.
#[test]
fn a_segment_of_no_connection_is_punted() {
    let mut rig = tcp_rig();
    for family in [IPV4, IPV6] {
        let segment = || tcp(family.client, family.vip);
        for stray in [
            segment().ack(1),
            segment().syn().ack(1),
            segment().fin(),
            segment().rst(),
            segment().syn().fin(),
            segment().syn().rst(),
            segment(),
            tcp(family.real, family.local).ack(1),
        ] {
            rig.send(&stray).is_punted(PuntReason::NoConnection);
        }
    }
    assert!(rig.connections().is_empty());
}

/// TTL 1 goes no further, 2 does.
#[test]
fn a_used_up_ttl_is_punted() {
    for family in [IPV4, IPV6] {
        let mut rig = tcp_rig();
        let syn = tcp(family.client, family.vip).syn();
        for ttl in [0, 1] {
            rig.send(&syn.clone().ttl(ttl))
                .is_punted(PuntReason::TtlExceeded);
        }
        assert_eq!(rig.forward(&syn.ttl(2)).ttl, 1);
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        rig.send(&conversation.outbound(1, 1).ttl(1))
            .is_punted(PuntReason::TtlExceeded);
    }
}
