//! What is counted, and for whom.

use weir_testkit::{FAMILIES, IPV4};
use weir_wire::Protocol;

use crate::conversation::{Conversation, tcp_rig};

/// Packets and bytes as they came in, per destination and per connection, by direction.
#[test]
fn packets_and_bytes_are_counted_by_direction() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let id = rig.site.destination(Protocol::Tcp, family.vip, family.real);
        let before = (rig.totals(id), rig.connection());
        for _ in 0..3 {
            rig.forward(&conversation.inbound(1, 1).ip_bytes(500));
            rig.forward(&conversation.inbound(1, 2).ip_bytes(501));
            rig.forward(&conversation.outbound(1, 1).ip_bytes(1400));
        }
        let after = (rig.totals(id), rig.connection());
        assert_eq!(after.0.inbound_packets - before.0.inbound_packets, 6);
        assert_eq!(after.0.outbound_packets - before.0.outbound_packets, 3);
        assert_eq!(after.0.inbound_bytes - before.0.inbound_bytes, 3 * 1001);
        assert_eq!(after.0.outbound_bytes - before.0.outbound_bytes, 4200);
        assert_eq!(after.1.inbound_bytes - before.1.inbound_bytes, 3 * 1001);
        assert_eq!(after.1.outbound_bytes - before.1.outbound_bytes, 4200);
        assert_eq!(after.0.connections, 1);
    }
}

/// A refused packet is no packet of the destination's.
#[test]
fn refused_packets_are_not_counted() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let before = rig.connection();
    rig.send(&conversation.inbound(1, 2).ttl(1));
    rig.send(&conversation.inbound(1, 2).ip_bytes(1501));
    assert_eq!(rig.connection(), before);
}

/// Both ends, both of ours, and the destination.
#[test]
fn a_listing_shows_the_whole_connection() {
    let mut rig = tcp_rig();
    let conversation = Conversation::begin(&mut rig, IPV4.client, IPV4.vip);
    let listed = rig.connection();
    assert_eq!(listed.protocol, Protocol::Tcp);
    assert_eq!(listed.client, conversation.client);
    assert_eq!(listed.virtual_endpoint, conversation.vip);
    assert_eq!(listed.local, conversation.local);
    assert_eq!(listed.real, conversation.real);
    let id = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    assert_eq!(listed.destination, id);
}
