//! FULLNAT from the first packet to expiry: rewriting, states, timeouts and loads as in IPVS.

use std::time::Duration;

use weir_director::{Load, State, Verdict};
use weir_testkit::{
    FAMILIES, Family, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, ROUTER_MAC, Rig, Site, TcpOption,
    WAN, WAN_MAC, real_server_mac, tcp, udp,
};
use weir_wire::Protocol;

use crate::conversation::{Conversation, reply, tcp_rig};

fn load(rig: &Rig, protocol: Protocol, family: Family) -> (u32, u32) {
    let id = rig.site.destination(protocol, family.vip, family.real);
    let Load { active, inactive } = rig.totals(id).load;
    (active, inactive)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The transcript "NAT TCP life cycle" of IPVS, under FULLNAT: what each packet becomes, the state, the seconds left,
/// active and inactive connections.
#[test]
fn a_tcp_connection_lives_as_in_ipvs() {
    for family in FAMILIES {
        let Family {
            client,
            vip,
            real,
            local,
            mss: [offered, lowered],
            ..
        } = family;
        let mut rig = tcp_rig();
        let inbound = format!("{local}>{real} ttl63");
        let outbound = format!("{vip}>{client} ttl63");
        let toa = format!("[toa={client}]");
        let conversation = Conversation {
            client: client.into_endpoint(),
            vip: vip.into_endpoint(),
            local: local.into_endpoint(),
            real: real.into_endpoint(),
        };
        let mss = [TcpOption::Mss(1460)];
        let syn = tcp(client, vip).syn().seq(1000).options(&mss);
        for (what, frame, sent, state, timeout, loads) in [
            (
                "client SYN",
                syn,
                format!("tcp S {inbound} [toa={client} mss{offered}]"),
                State::SynRecv,
                60,
                (1, 0),
            ),
            (
                "server SYN-ACK",
                conversation.outbound(0, 1).syn().options(&mss),
                format!("tcp SA {outbound} [mss{lowered}]"),
                State::SynRecv,
                60,
                (1, 0),
            ),
            (
                "client ACK",
                conversation.inbound(1, 1),
                format!("tcp A {inbound} {toa}"),
                State::Established,
                900,
                (1, 0),
            ),
            (
                "server FIN",
                conversation.outbound(1, 1).fin(),
                format!("tcp FA {outbound}"),
                State::FinWait,
                120,
                (0, 1),
            ),
            (
                "client FIN",
                conversation.inbound(1, 2).fin(),
                format!("tcp FA {inbound}"),
                State::TimeWait,
                120,
                (0, 1),
            ),
            (
                "server last ACK",
                conversation.outbound(2, 2),
                format!("tcp A {outbound}"),
                State::TimeWait,
                120,
                (0, 1),
            ),
        ] {
            rig.pass(seconds(1));
            assert_eq!(rig.forward(&frame).to_string(), sent, "{what}");
            let connection = rig.connection();
            assert_eq!(connection.state, state, "{what}");
            assert_eq!(connection.expires_ticks, timeout * 1000, "{what}");
            assert_eq!(load(&rig, Protocol::Tcp, family), loads, "{what}");
        }
        rig.pass(seconds(119));
        assert_eq!(rig.connections().len(), 1);
        rig.pass(seconds(2));
        assert!(rig.connections().is_empty());
        assert_eq!(load(&rig, Protocol::Tcp, family), (0, 0));
    }
}

/// Nothing but the IP header, L4 ports, TTL and checksums differs in a segment in the middle of a connection.
#[test]
fn numbers_options_and_data_pass_untouched() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let options = TcpOption::timestamps(77, 88);
        for (frame, growth) in [
            (conversation.inbound(101, 202), family.growth()),
            (conversation.outbound(303, 404), -family.growth()),
        ] {
            let frame = frame.options(&options).data(b"odd number of bytes");
            let (before, after) = (weir_testkit::decode(&frame.bytes()), rig.forward(&frame));
            assert_eq!(after.payload, before.payload);
            assert_eq!(
                (after.ttl, after.ip_bytes),
                (
                    before.ttl - 1,
                    before.ip_bytes.strict_add_signed(growth as isize)
                )
            );
        }
    }
}

/// Frames leave by the right port with the right MAC addresses, both ways.
#[test]
fn frames_bear_the_next_hops_mac_addresses() {
    for family in FAMILIES {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let inbound = rig.send(&conversation.inbound(1, 2));
        assert_eq!(inbound.verdict, Verdict::Transmit(LAN));
        let sent = inbound.sent();
        let server_mac = real_server_mac(conversation.real.ip());
        assert_eq!(
            (sent.source_mac, sent.destination_mac),
            (LAN_MAC, server_mac)
        );
        let outbound = rig.send(&conversation.outbound(1, 1));
        assert_eq!(outbound.verdict, Verdict::Transmit(WAN));
        let sent = outbound.sent();
        assert_eq!(
            (sent.source_mac, sent.destination_mac),
            (WAN_MAC, ROUTER_MAC)
        );
    }
}

/// UDP: state UDP, 300 s, counted as inactive.
#[test]
fn a_udp_flow_lives_as_in_ipvs() {
    for family in FAMILIES {
        let Family {
            client,
            vip,
            real,
            local,
            ..
        } = family;
        let mut rig = Rig::new(Site::with_one_server(Protocol::Udp));
        let sent = rig.forward(&udp(client, vip).data(b"ping!"));
        assert_eq!(
            sent.to_string(),
            format!("udp {local}>{real} ttl63 5 bytes")
        );
        let sent = rig.forward(&reply(sent.destination, sent.source).data(b"pong"));
        assert_eq!(
            sent.to_string(),
            format!("udp {vip}>{client} ttl63 4 bytes")
        );
        assert_eq!(sent.data(), b"pong");
        let connection = rig.connection();
        assert_eq!(
            (connection.state, connection.expires_ticks),
            (State::Udp, 300_000)
        );
        assert_eq!(load(&rig, Protocol::Udp, family), (0, 1));
        rig.pass(seconds(299));
        assert_eq!(rig.connections().len(), 1);
        rig.pass(seconds(2));
        assert!(rig.connections().is_empty());
        assert_eq!(load(&rig, Protocol::Udp, family), (0, 0));
    }
}

/// RFC 768: a datagram over IPv4 without a checksum gets none.
#[test]
fn a_datagram_without_checksum_keeps_none() {
    let mut rig = Rig::new(Site::with_one_server(Protocol::Udp));
    let outcome = rig.send(&udp(IPV4.client, IPV4.vip).data(b"abc").without_checksum());
    outcome.sent();
    assert_eq!(outcome.frame[14 + 20 + 6..][..2], [0, 0]);
}

/// A checksum that was wrong before is wrong afterwards: weir vouches for nothing.
#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let mut frame = conversation.inbound(1, 2).data(b"data").bytes();
    *frame.last_mut().unwrap() ^= 1;
    let outcome = rig.receive(weir_director::WorkerId(0), &frame);
    assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
    assert!(weir_testkit::try_decode(&outcome.frame).is_err());
}

/// Ethernet padding behind a short packet does no harm.
#[test]
fn padding_is_no_data() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let mut frame = conversation.inbound(1, 2).bytes();
    frame.resize(60, 0xee);
    let outcome = rig.receive(weir_director::WorkerId(0), &frame);
    assert_eq!(outcome.sent().segment().data, b"");
}

/// IPv4 options and IPv6 extension headers stay, and TOA goes in behind them.
#[test]
fn options_of_ip_stay() {
    let mut rig = tcp_rig();
    for (family, frame) in [
        (IPV4, tcp(IPV4.client, IPV4.vip).ip_options(&[1; 8])),
        (IPV6, tcp(IPV6.client, IPV6.vip).extensions()),
    ] {
        let extra_bytes = frame.bytes().len() - tcp(family.client, family.vip).bytes().len();
        let sent = rig.forward(&frame.syn());
        let expected = usize::from(family.ip_header_bytes + family.toa_bytes) + 20 + extra_bytes;
        assert_eq!(sent.ip_bytes, expected);
        assert_eq!(sent.segment().client_addresses().len(), 1);
    }
}

/// A priority tag stays where it is.
#[test]
fn a_priority_tag_stays() {
    let mut rig = tcp_rig();
    let outcome = rig.send(&tcp(IPV4.client, IPV4.vip).syn().vlan(0));
    outcome.sent();
    assert_eq!(outcome.frame[12..16], [0x81, 0, 0, 0]);
}

/// Each state's timeout, from the last packet on.
#[test]
fn each_state_has_its_timeout() {
    type Script = fn(&mut Rig, &Conversation);
    let scripts: [(State, u64, Script); 6] = [
        (State::SynRecv, 60, |rig, conversation| {
            rig.forward(&conversation.syn_ack());
        }),
        (State::Established, 900, |rig, conversation| {
            rig.forward(&conversation.inbound(1, 1));
        }),
        (State::FinWait, 120, |rig, conversation| {
            rig.forward(&conversation.inbound(1, 1));
            rig.forward(&conversation.outbound(1, 1).fin());
        }),
        (State::CloseWait, 60, |rig, conversation| {
            rig.forward(&conversation.inbound(1, 1));
            rig.forward(&conversation.inbound(1, 1).fin());
        }),
        (State::TimeWait, 120, |rig, conversation| {
            rig.forward(&conversation.inbound(1, 1));
            rig.forward(&conversation.inbound(1, 1).fin());
            rig.forward(&conversation.outbound(1, 2).fin());
        }),
        (State::Close, 10, |rig, conversation| {
            rig.forward(&conversation.inbound(1, 1));
            rig.forward(&conversation.outbound(1, 1).rst());
        }),
    ];
    for family in FAMILIES {
        for (state, timeout, script) in scripts {
            let mut rig = tcp_rig();
            let conversation = Conversation::begin(&mut rig, family.client, family.vip);
            rig.forward(&conversation.syn_ack());
            rig.pass(seconds(5));
            script(&mut rig, &conversation);
            assert_eq!(rig.connection().state, state);
            rig.pass(seconds(timeout - 1));
            assert_eq!(rig.connections().len(), 1, "{state} lives for {timeout} s");
            rig.pass(seconds(2));
            assert!(
                rig.connections().is_empty(),
                "{state} ends after {timeout} s"
            );
        }
    }
}

/// A client's RST in SYN_RECV changes nothing, as observed of IPVS.
#[test]
fn a_clients_reset_in_syn_recv_is_passed_on_only() {
    let mut rig = tcp_rig();
    let conversation = Conversation::begin(&mut rig, IPV4.client, IPV4.vip);
    rig.forward(&conversation.inbound(1, 1).rst());
    assert_eq!(rig.connection().state, State::SynRecv);
}

/// A timer armed for 900 s does not keep a connection whose state now lasts 10 s.
#[test]
fn a_shorter_timeout_counts_at_once() {
    let mut rig = tcp_rig();
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.pass(seconds(100));
    rig.forward(&conversation.inbound(1, 1).rst());
    assert_eq!(rig.connection().state, State::Close);
    rig.pass(seconds(11));
    assert!(rig.connections().is_empty());
}

/// Packets either way keep a connection alive.
#[test]
fn packets_keep_a_connection_alive() {
    for is_inbound in [true, false] {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
        for _ in 0..5 {
            rig.pass(seconds(899));
            rig.forward(&if is_inbound {
                conversation.inbound(1, 2)
            } else {
                conversation.outbound(1, 1)
            });
        }
        rig.pass(seconds(899));
        assert_eq!(rig.connections().len(), 1);
        rig.pass(seconds(2));
        assert!(rig.connections().is_empty());
    }
}

/// A connection that the third packet of a burst opens owns the fifth.
#[test]
fn a_burst_may_open_a_connection_and_use_it() {
    let mut rig = tcp_rig();
    let syn = tcp(IPV4.client, IPV4.vip).syn().bytes();
    let data = tcp(IPV4.client, IPV4.vip).ack(1).data(b"x").bytes();
    let stray = tcp("198.51.100.8:1", IPV4.vip).ack(1).bytes();
    let frames: [&[u8]; 5] = [&stray, &stray, &syn, &stray, &data];
    let outcomes = rig.receive_burst(weir_director::WorkerId(0), &frames);
    assert_eq!(outcomes[2].verdict, Verdict::Transmit(LAN));
    assert_eq!(outcomes[4].sent().data(), b"x");
    assert_eq!(rig.connection().state, State::Established);
}
