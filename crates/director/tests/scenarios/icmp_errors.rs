//! ICMP errors about a connection, translated for the end whose packet they quote.

use weir_director::{DropReason, IpvsSettings, PuntReason, State, Verdict, WorkerId};
use weir_testkit::{
    By, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Rig, Site, WAN, icmp,
    real_server_mac, tcp, udp,
};
use weir_wire::{Endpoint, Protocol};

use crate::conversation::{Conversation, tcp_rig};

const FAMILIES: [Family; 2] = [IPV4, IPV6];

/// Type and code of the errors that matter, by family.
fn errors(family: Family) -> &'static [[u8; 2]] {
    if family.client.starts_with('[') {
        &[[1, 4], [2, 0], [3, 0], [4, 1]]
    } else {
        &[[3, 3], [3, 4], [11, 0], [12, 0]]
    }
}

fn too_big(family: Family, mtu: u16) -> ([u8; 2], [u8; 4]) {
    let [high, low] = mtu.to_be_bytes();
    if family.client.starts_with('[') {
        ([2, 0], [0, 0, high, low])
    } else {
        ([3, 4], [0, 0, high, low])
    }
}

/// An error from the real server's side about a packet that weir sent there.
fn from_server_side(
    sender: impl IntoEndpoint,
    quoted: &FrameBuilder,
    local: Endpoint,
    (kind, rest): ([u8; 2], [u8; 4]),
) -> FrameBuilder {
    icmp(sender, local, kind, rest)
        .macs(real_server_mac("10.0.0.9".parse().unwrap()), LAN_MAC)
        .data(&quoted.packet_bytes())
}

/// From the real server's side, about TCP and UDP: to the client, from the VIP, quoting what the client sent.
#[test]
fn an_error_from_the_server_side_reaches_the_client() {
    for family in FAMILIES {
        let Family {
            client,
            vip,
            real,
            local,
            ..
        } = family;
        for kind in errors(family) {
            let mut rig = Rig::new(Site::with_one_server(Protocol::Udp));
            rig.forward(&udp(client, vip).data_bytes(64));
            let quoted = udp(local, real).data_bytes(64).ttl(63);
            let local = local.into_endpoint();
            let outcome = rig.send(&from_server_side(real, &quoted, local, (*kind, [0; 4])));
            assert_eq!(outcome.verdict, Verdict::Transmit(WAN));
            let (from, to) = (vip.into_endpoint().ip(), client.into_endpoint().ip());
            let expected = format!(
                "icmp {}/{} {from}>{to} ttl63 {{udp {client}>{vip} ttl63}}",
                kind[0], kind[1]
            );
            assert_eq!(outcome.sent().to_string(), expected);
        }
    }
}

/// From the client's side: to the real server, from the local address, quoting what the real server sent.
#[test]
fn an_error_from_the_client_side_reaches_the_server() {
    for family in FAMILIES {
        let Family {
            client,
            vip,
            real,
            local,
            ..
        } = family;
        for kind in errors(family) {
            let mut rig = tcp_rig();
            Conversation::establish(&mut rig, client, vip);
            let quoted = tcp(vip, client).seq(7).ack(9).data_bytes(100);
            let error = icmp(client, vip, *kind, [0; 4]).data(&quoted.packet_bytes());
            let outcome = rig.send(&error);
            assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
            let (from, to) = (local.into_endpoint().ip(), real.into_endpoint().ip());
            let expected = format!(
                "icmp {}/{} {from}>{to} ttl63 {{tcp {real}>{local} ttl64}}",
                kind[0], kind[1]
            );
            let sent = outcome.sent();
            assert_eq!(sent.to_string(), expected);
            let quoted = sent.icmp().quoted.as_ref().unwrap();
            assert_eq!(
                (quoted.sequence, quoted.acknowledgement),
                (Some(7), Some(9))
            );
        }
    }
}

/// A router on the way, not the real server itself, is not shown to the client.
#[test]
fn an_error_from_a_router_comes_from_the_vip() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let quoted = tcp(conversation.local, conversation.real);
    let error = ([11, 0], [0; 4]);
    let frame = from_server_side("10.9.9.9", &quoted, conversation.local, error);
    assert_eq!(rig.forward(&frame).source.ip(), conversation.vip.ip());
}

/// The MTU told to the client leaves room for TOA; the one told to the real server does not change.
#[test]
fn an_mtu_is_lowered_by_what_is_inserted() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let quoted = tcp(conversation.local, conversation.real).ack(1);
        let local = conversation.local;
        let error = from_server_side(conversation.real, &quoted, local, too_big(family, 1400));
        let (_, expected) = too_big(family, 1400 - family.toa_bytes);
        assert_eq!(rig.forward(&error).icmp().rest, expected);

        let quoted = tcp(conversation.vip, conversation.client).ack(1);
        let (kind, rest) = too_big(family, 1400);
        let error = icmp(conversation.client, conversation.vip, kind, rest);
        let sent = rig.forward(&error.data(&quoted.packet_bytes()));
        assert_eq!(sent.icmp().rest, rest);
    }
}

/// UDP gets nothing inserted, so its MTU stays.
#[test]
fn an_mtu_for_datagrams_stays() {
    for family in FAMILIES {
        let mut rig = Rig::new(Site::with_one_server(Protocol::Udp));
        rig.forward(&udp(family.client, family.vip));
        let quoted = udp(family.local, family.real);
        let local = family.local.into_endpoint();
        let error = from_server_side(family.real, &quoted, local, too_big(family, 1400));
        assert_eq!(rig.forward(&error).icmp().rest, too_big(family, 1400).1);
    }
}

/// Errors that quote no more than 8 bytes above IP, the least there may be.
#[test]
fn a_short_quotation_will_do() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let quoted = tcp(conversation.local, conversation.real).packet_bytes();
        let kind = errors(family)[0];
        let error = icmp(conversation.real, conversation.local, kind, [0; 4])
            .macs(real_server_mac(conversation.real.ip()), LAN_MAC)
            .data(&quoted[..usize::from(family.ip_header_bytes) + 8]);
        let sent = rig.forward(&error);
        let quoted = sent.icmp().quoted.as_ref().unwrap();
        assert_eq!(quoted.source, conversation.client);
    }
}

/// An error neither keeps a connection alive nor is counted as one of its packets.
#[test]
fn an_error_is_no_packet_of_the_connection() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let before = rig.connection();
    rig.pass(std::time::Duration::from_secs(100));
    let quoted = tcp(conversation.local, conversation.real);
    rig.forward(&from_server_side(
        IPV4.real,
        &quoted,
        conversation.local,
        ([3, 3], [0; 4]),
    ));
    let after = rig.connection();
    assert_eq!(after.outbound_bytes, before.outbound_bytes);
    assert_eq!(after.expires_ticks, before.expires_ticks - 100_000);
}

#[test]
fn a_wrong_checksum_is_a_named_drop() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let quoted = tcp(conversation.local, conversation.real);
        let error = ([errors(family)[0][0], 0], [0; 4]);
        let frame = from_server_side(conversation.real, &quoted, conversation.local, error);
        let mut frame = frame.bytes();
        *frame.last_mut().unwrap() ^= 1;
        let outcome = rig.receive(WorkerId(0), &frame);
        outcome.is_dropped(DropReason::IcmpChecksumWrong);
    }
}

#[test]
fn an_error_about_no_connection_is_a_named_drop() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        Conversation::establish(&mut rig, family.client, family.vip);
        let other = Endpoint::new(family.client.into_endpoint().ip(), 1);
        let quoted = tcp(family.vip, other).packet_bytes();
        let error = icmp(other, family.vip, errors(family)[0], [0; 4]).data(&quoted);
        rig.send(&error).is_dropped(DropReason::IcmpUnrelated);
    }
}

/// RFC 1122: an error is never answered by an error, so a used-up TTL is the end.
#[test]
fn an_error_with_a_used_up_ttl_is_dropped() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let quoted = tcp(conversation.local, conversation.real);
    let error = from_server_side(IPV4.real, &quoted, conversation.local, ([3, 3], [0; 4]));
    rig.send(&error.ttl(1)).is_dropped(DropReason::TtlExceeded);
}

/// Likewise one that does not fit.
#[test]
fn an_error_that_does_not_fit_is_dropped() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.publish(|site| site.mtu("192.0.2.1", 576));
    let quoted = tcp(conversation.local, conversation.real).data_bytes(1000);
    let error = from_server_side(IPV4.real, &quoted, conversation.local, ([3, 3], [0; 4]));
    rig.send(&error).is_dropped(DropReason::TooBig);
}

/// Where the client's router is not known at the moment.
#[test]
fn an_error_waits_for_a_neighbour_too() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.publish(|site| site.unresolved("192.0.2.1"));
    let hop = rig.site.hop_id("192.0.2.1");
    let quoted = tcp(conversation.local, conversation.real);
    let error = from_server_side(IPV4.real, &quoted, conversation.local, ([3, 3], [0; 4]));
    rig.send(&error)
        .is_punted(PuntReason::NeighbourUnresolved(hop));
}

/// `schedule_icmp` of IPVS: an error about a packet of no connection, as if of a client's own, opens one.
#[test]
fn an_error_of_no_connection_is_scheduled_on_request() {
    for family in FAMILIES {
        for by in [By::Dr, By::Nat, By::FullNat] {
            for is_asked_for in [false, true] {
                let site = Site::with_two_servers(by, &[Protocol::Tcp]);
                let mut rig = Rig::new(site.ipvs(IpvsSettings {
                    schedule_icmp: is_asked_for,
                    ..IpvsSettings::default()
                }));
                let reply = tcp(family.vip, family.client).seq(1).ack(1).data_bytes(900);
                let (kind, rest) = too_big(family, 1280);
                let error = icmp(family.client, family.vip, kind, rest).data(&reply.packet_bytes());
                let outcome = rig.send(&error);
                if !is_asked_for || by == By::FullNat {
                    outcome.is_dropped(DropReason::IcmpUnrelated);
                    assert!(rig.connections().is_empty());
                    continue;
                }
                assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
                let connection = rig.connection();
                assert_eq!(connection.client, family.client.into_endpoint());
                assert_eq!(connection.state, State::Close);
                let sent = outcome.sent();
                let to = if by == By::Dr {
                    family.vip.into_endpoint().ip()
                } else {
                    connection.real.ip()
                };
                assert_eq!(sent.destination.ip(), to);
                // No service, and damaged on its way.
                let other = tcp(family.vip.replace(":80", ":81").as_str(), family.client).seq(1);
                let unwanted =
                    icmp(family.client, family.vip, kind, rest).data(&other.packet_bytes());
                rig.send(&unwanted).is_dropped(DropReason::IcmpUnrelated);
                let other = tcp(family.vip, "198.51.100.9:9").seq(1);
                if !family.client.starts_with('[') {
                    let damaged =
                        icmp(family.client, family.vip, kind, rest).data(&other.packet_bytes());
                    let mut damaged = damaged.bytes();
                    *damaged.last_mut().unwrap() ^= 1;
                    rig.receive(WorkerId(0), &damaged)
                        .is_dropped(DropReason::IcmpChecksumWrong);
                }
            }
        }
    }
}
