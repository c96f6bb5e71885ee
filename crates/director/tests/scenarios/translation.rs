//! Between a client of one IP version and a real server of the other (NAT64, NAT46). What is the same as within one is
//! tried with all families where that is tried.

use weir_director::{DropReason, PuntReason, Scheduler, Verdict};
use weir_testkit::{
    Decoded, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, NAT46, NAT64, Payload,
    Rig, Site, TcpOption, WAN, decode, icmp, real_server_mac, tcp, udp,
};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client, reply, tcp_rig, unreachable_by};

const CROSSINGS: [Family; 2] = [NAT64, NAT46];

fn udp_rig() -> Rig {
    Rig::new(Site::with_one_server(Protocol::Udp))
}

/// An error by `sender` to the other end of what it quotes, from the LAN or from the WAN.
fn error(
    sender: &str,
    receiver: impl IntoEndpoint,
    (kind, rest): ([u8; 2], [u8; 4]),
    quoted: &FrameBuilder,
) -> FrameBuilder {
    let error = icmp(sender, receiver, kind, rest).data(&quoted.packet_bytes());
    if sender.starts_with("10.") || sender.starts_with("[fd00") {
        let mac = real_server_mac(sender.into_endpoint().ip());
        error.macs(mac, LAN_MAC)
    } else {
        error
    }
}

/// One service, real servers of both versions, in turn: each is talked to in its own from its own LIP.
#[test]
fn a_service_has_real_servers_of_both_versions() {
    for (vip, client_address) in [(IPV4.vip, IPV4.client), (IPV6.vip, IPV6.client)] {
        let destinations = [(IPV4.real, 1), (IPV6.real, 1)];
        let site = Site::new().service(Protocol::Tcp, vip, Scheduler::Rr, &destinations);
        let mut rig = Rig::new(site);
        let mut n_of = [0; 2];
        for cport in 1..=6 {
            let mut client = client_address.into_endpoint();
            client.set_port(cport);
            let conversation = Conversation::establish(&mut rig, client, vip);
            let back = rig.forward(&conversation.outbound(1, 1).data(b"hello"));
            assert_eq!(
                (back.source, back.destination),
                (vip.into_endpoint(), client)
            );
            let is_ipv6 = conversation.real.is_ipv6();
            assert_eq!(conversation.local.is_ipv6(), is_ipv6);
            n_of[usize::from(is_ipv6)] += 1;
        }
        assert_eq!(n_of, [3, 3]);
    }
}

/// Without a local address of the real server's version there is nothing to lend, whatever else the pool has.
#[test]
fn local_addresses_are_of_the_real_servers_version() {
    for (family, locals) in [(NAT64, ["fd00::200"]), (NAT46, ["10.0.0.200"])] {
        let site = Site::new().local(&locals, 1024, 65_535);
        let destinations = [(family.real, 1)];
        let site = site.service(Protocol::Tcp, family.vip, Scheduler::Rr, &destinations);
        let syn = tcp(family.client, family.vip).syn();
        let outcome = Rig::new(site).send(&syn);
        outcome.is_dropped(DropReason::LocalPortsExhausted);
    }
}

/// Two lines of the table, as one of IPv6 takes.
#[test]
fn a_connection_takes_the_room_of_two() {
    for family in CROSSINGS {
        let mut rig = Rig::with_connections(Site::with_one_server(Protocol::Udp), 64);
        let before = rig.directors[0].usage();
        rig.forward(&udp(client(family, 1), family.vip));
        let after = rig.directors[0].usage();
        assert_eq!((before.used, after.used), (0, 1));
        assert_eq!(before.capacity - after.capacity, 1);
    }
}

/// The MSS in either SYN is lowered to what fits the way that its segments take, and one that fills it does.
#[test]
fn full_segments_fit() {
    for family in CROSSINGS {
        let mut rig = tcp_rig();
        let (near, far) = (family.ip_header_bytes, family.server_ip_header_bytes);
        let server = family.real.into_endpoint().ip().to_string();
        rig.publish(|site| site.mtu(&server, 1400));
        let offer = [TcpOption::Mss(8960)];
        let mss = |sent: &Decoded| {
            let options = &sent.segment().options;
            options.iter().find_map(|option| match option {
                TcpOption::Mss(bytes) => Some(*bytes),
                TcpOption::End
                | TcpOption::Nop
                | TcpOption::WindowScale(_)
                | TcpOption::SackPermitted
                | TcpOption::Sack(_)
                | TcpOption::Timestamps(..)
                | TcpOption::ClientAddress(..)
                | TcpOption::Other(..) => None,
            })
        };
        let syn = tcp(family.client, family.vip)
            .syn()
            .seq(1000)
            .options(&offer);
        let sent = rig.forward(&syn);
        let to_client = mss(&sent).unwrap();
        assert_eq!(
            to_client,
            1500 - 20 - near,
            "as long a header as the client's"
        );
        let (from, to) = (family.client.into_endpoint(), family.vip.into_endpoint());
        let conversation = Conversation::seen_by_both(from, to, &sent);
        let sent = rig.forward(&conversation.outbound(0, 1).syn().options(&offer));
        let to_server = mss(&sent).unwrap();
        assert_eq!(to_server, 1400 - 20 - far - family.toa_bytes);

        let full = conversation
            .inbound(1, 1)
            .data_bytes(usize::from(to_server));
        assert_eq!(
            rig.forward(&full).ip_bytes,
            1400,
            "with the client's address"
        );
        let full = conversation
            .outbound(1, 1)
            .data_bytes(usize::from(to_client));
        assert_eq!(rig.forward(&full).ip_bytes, 1500);
    }
}

/// An offer that fits anyway is not raised, nor is that of a SYN while nobody knows the way back.
#[test]
fn an_offer_is_never_raised() {
    for family in CROSSINGS {
        let mut rig = tcp_rig();
        let router = if family.client.starts_with('[') {
            "2001:db8:2::1"
        } else {
            "192.0.2.1"
        };
        let small = [TcpOption::Mss(536)];
        let syn = tcp(family.client, family.vip).syn().options(&small);
        let sent = rig.forward(&syn);
        assert!(
            sent.segment().options.contains(&TcpOption::Mss(536)),
            "{sent}"
        );
        rig.publish(|site| site.unresolved(router));
        let large = [TcpOption::Mss(8960)];
        let sent = rig.forward(&syn.options(&large));
        assert!(
            sent.segment().options.contains(&TcpOption::Mss(8960)),
            "{sent}"
        );
    }
}

/// What the sender is told to do without.
#[test]
fn what_grows_too_large_is_punted_with_what_fits() {
    let mut rig = udp_rig();
    for (family, fits) in [(NAT46, 1480), (NAT64, 1520)] {
        let datagram = udp(family.client, family.vip);
        let mtu = fits as u16;
        rig.send(&datagram.clone().ip_bytes(fits + 1))
            .is_punted(PuntReason::TooBig { mtu });
        let sent = rig.forward(&datagram.ip_bytes(fits));
        assert_eq!(sent.ip_bytes, 1500);
        let answer = reply(sent.destination, sent.source);
        let (fits, mtu) = (3000 - fits, 3000 - mtu);
        rig.send(&answer.clone().ip_bytes(fits + 1))
            .is_punted(PuntReason::TooBig { mtu });
        assert_eq!(rig.forward(&answer.ip_bytes(fits)).ip_bytes, 1500);
    }
}

/// Options count for what they take before, not after.
#[test]
fn options_that_go_make_room() {
    let mut rig = udp_rig();
    let with_options = udp(NAT46.client, NAT46.vip).ip_options(&[1; 8]);
    let too_big = with_options.clone().ip_bytes(1489);
    rig.send(&too_big)
        .is_punted(PuntReason::TooBig { mtu: 1488 });
    assert_eq!(rig.forward(&with_options.ip_bytes(1488)).ip_bytes, 1500);
    let with_extensions = udp(NAT64.client, NAT64.vip).extensions();
    let sent = rig.forward(&with_extensions.data(b"data"));
    assert_eq!((sent.ip_bytes, sent.data()), (32, &b"data"[..]));
}

/// Over IPv4 a datagram may come without a checksum and leaves with one; over IPv6 there is no such datagram.
#[test]
fn datagrams_without_checksum() {
    let mut rig = udp_rig();
    let outcome = rig.send(&udp(NAT46.client, NAT46.vip).data(b"odd").without_checksum());
    let sent = outcome.sent();
    assert_eq!(sent.payload, Payload::Udp(b"odd".to_vec()));
    let answer = reply(sent.destination, sent.source).data(b"even");
    rig.send(&answer.clone().without_checksum())
        .is_dropped(DropReason::Untranslatable);
    rig.forward(&answer);

    let sent = rig.forward(&udp(NAT64.client, NAT64.vip));
    let answer = reply(sent.destination, sent.source).data(b"odd");
    let sent = rig.forward(&answer.without_checksum());
    assert_eq!(sent.payload, Payload::Udp(b"odd".to_vec()));
}

/// RFC 7915 §4.1.
#[test]
fn a_source_route_is_a_named_drop() {
    let mut rig = udp_rig();
    let datagram = udp(NAT46.client, NAT46.vip);
    let to_go = [131, 7, 4, 10, 9, 9, 9, 0];
    rig.send(&datagram.clone().ip_options(&to_go))
        .is_dropped(DropReason::Untranslatable);
    assert_eq!(rig.connection().inbound_bytes, 0, "not counted");
    let gone = [131, 7, 8, 10, 9, 9, 9, 0];
    rig.forward(&datagram.ip_options(&gone));
}

#[test]
fn a_used_up_ttl_is_punted() {
    for family in CROSSINGS {
        let mut rig = udp_rig();
        let datagram = udp(family.client, family.vip);
        rig.forward(&datagram);
        rig.send(&datagram.clone().ttl(1))
            .is_punted(PuntReason::TtlExceeded);
        assert_eq!(rig.forward(&datagram.ttl(2)).ttl, 1);
    }
}

/// Neither the first nor those behind it.
#[test]
fn fragments_are_named_drops() {
    for family in CROSSINGS {
        let mut rig = udp_rig();
        rig.forward(&udp(family.client, family.vip));
        let first = udp(family.client, family.vip).data_bytes(64);
        let outcome = rig.send(&first.clone().fragment(0, true));
        outcome.is_dropped(DropReason::Untranslatable);
        let outcome = rig.send(&first.fragment(72, false));
        outcome.is_dropped(DropReason::FragmentFirstRefused);
    }
}

/// The longer header and the client's address need room before the frame.
#[test]
fn without_headroom_it_is_a_named_drop() {
    let syn = tcp(NAT46.client, NAT46.vip).syn();
    let mut rig = tcp_rig().headroom(27);
    rig.send(&syn).is_dropped(DropReason::NoHeadroom);
    assert_eq!(tcp_rig().headroom(28).forward(&syn).ip_bytes, 68);
    // A segment that becomes shorter needs none, but its option does.
    let syn = tcp(NAT64.client, NAT64.vip).syn();
    let mut rig = tcp_rig().headroom(19);
    assert_eq!(rig.forward(&syn).segment().client_addresses(), []);
    assert_eq!(rig.directors[0].n_toa_omitted(), 1);
    let mut rig = tcp_rig().headroom(20);
    assert_eq!(rig.forward(&syn).segment().client_addresses().len(), 1);
}

/// A priority tag stays what it is, as within one version.
#[test]
fn a_priority_tag_stays() {
    for family in CROSSINGS {
        let mut rig = udp_rig();
        let outcome = rig.send(&udp(family.client, family.vip).vlan(0).data(b"data"));
        assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
        assert_eq!(outcome.frame[12..16], [0x81, 0, 0, 0]);
        let untagged = [&outcome.frame[..12], &outcome.frame[16..]].concat();
        assert_eq!(decode(&untagged).destination, family.real.into_endpoint());
    }
}

// ---- ICMP errors ----------------------------------------------------------------------------------------------------

/// Kinds that both versions know, each as it is sent in the version of an address and as it arrives in the other's.
fn kinds(sender: &str) -> [([u8; 2], [u8; 2]); 4] {
    let both = [
        ([3, 3], [1, 4]),
        ([3, 1], [1, 0]),
        ([11, 0], [3, 0]),
        ([3, 10], [1, 1]),
    ];
    both.map(|(v4, v6)| match sender.into_endpoint().is_ipv4() {
        true => (v4, v6),
        // Host unreachable is "no route" there, and comes back as what it was.
        false => (v6, v4),
    })
}

/// From the real server's side: to the client, from the VIP, quoting what the client sent.
#[test]
fn an_error_from_the_server_side_reaches_the_client() {
    for family in CROSSINGS {
        let Family {
            client,
            vip,
            real,
            local,
            ..
        } = family;
        for (sent_kind, expected_kind) in kinds(real) {
            let mut rig = udp_rig();
            rig.forward(&udp(client, vip).data_bytes(64));
            let quoted = udp(local, real).data_bytes(64).ttl(63);
            let outcome = rig.send(&error(real, local, (sent_kind, [0; 4]), &quoted));
            assert_eq!(outcome.verdict, Verdict::Transmit(WAN));
            let (from, to) = (vip.into_endpoint().ip(), client.into_endpoint().ip());
            let [kind, code] = expected_kind;
            let expected =
                format!("icmp {kind}/{code} {from}>{to} ttl63 {{udp {client}>{vip} ttl63}}");
            assert_eq!(outcome.sent().to_string(), expected);
        }
    }
}

/// From the client's side: to the real server, from the local address, quoting what the real server sent.
#[test]
fn an_error_from_the_client_side_reaches_the_server() {
    for family in CROSSINGS {
        let Family {
            client,
            vip,
            real,
            local,
            ..
        } = family;
        for (sent_kind, expected_kind) in kinds(client) {
            let mut rig = tcp_rig();
            Conversation::establish(&mut rig, client, vip);
            let quoted = tcp(vip, client).seq(7).ack(9).data_bytes(100);
            let outcome = rig.send(&error(client, vip, (sent_kind, [0; 4]), &quoted));
            assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
            let (from, to) = (local.into_endpoint().ip(), real.into_endpoint().ip());
            let [kind, code] = expected_kind;
            let expected =
                format!("icmp {kind}/{code} {from}>{to} ttl63 {{tcp {real}>{local} ttl64}}");
            let sent = outcome.sent();
            assert_eq!(sent.to_string(), expected);
            let quoted = sent.icmp().quoted.as_ref().unwrap();
            let numbers = (quoted.sequence, quoted.acknowledgement);
            assert_eq!(numbers, (Some(7), Some(9)));
        }
    }
}

fn too_big(address: &str, mtu: u16) -> ([u8; 2], [u8; 4]) {
    let [high, low] = mtu.to_be_bytes();
    let kind = if address.starts_with('[') {
        [2, 0]
    } else {
        [3, 4]
    };
    (kind, [0, 0, high, low])
}

/// The MTU is told in the receiver's version: 20 bytes more or less, less by the client's address where that goes, and no
/// more than weir's own links take.
#[test]
fn an_mtu_is_told_in_the_receivers_version() {
    for (family, to_client, to_server) in [(NAT64, 1400, 1380), (NAT46, 1372, 1420)] {
        let mut rig = tcp_rig();
        let conversation = Conversation::establish(&mut rig, family.client, family.vip);
        let quoted = tcp(conversation.local, conversation.real).ack(1);
        let frame = error(
            family.real,
            conversation.local,
            too_big(family.real, 1400),
            &quoted,
        );
        let sent = rig.forward(&frame);
        let (kind, rest) = too_big(family.client, to_client);
        assert_eq!(
            ([sent.icmp().kind, sent.icmp().code], sent.icmp().rest),
            (kind, rest)
        );

        let quoted = tcp(conversation.vip, conversation.client).ack(1);
        let frame = error(
            family.client,
            conversation.vip,
            too_big(family.client, 1400),
            &quoted,
        );
        let sent = rig.forward(&frame);
        let (kind, rest) = too_big(family.real, to_server);
        assert_eq!(
            ([sent.icmp().kind, sent.icmp().code], sent.icmp().rest),
            (kind, rest)
        );
    }
}

/// RFC 7915 §4.2, §5.2: the ways that weir itself sends by count too.
#[test]
fn an_mtu_is_no_more_than_weirs_own_links_take() {
    for (family, expected) in [(NAT64, 1320), (NAT46, 1280)] {
        let server = family.real.into_endpoint().ip().to_string();
        let mut rig = Rig::new(Site::with_one_server(Protocol::Udp).mtu(&server, 1300));
        rig.forward(&udp(family.client, family.vip));
        let quoted = udp(family.local, family.real);
        let frame = error(
            family.real,
            family.local,
            too_big(family.real, 1450),
            &quoted,
        );
        let sent = rig.forward(&frame);
        assert_eq!(sent.icmp().rest, too_big(family.client, expected).1);
    }
}

/// What only one version knows.
#[test]
fn an_error_without_counterpart_is_a_named_drop() {
    for (family, kinds) in [
        (NAT64, [[3, 14], [4, 0], [12, 1]]),
        (NAT46, [[1, 5], [1, 6], [4, 2]]),
    ] {
        let mut rig = udp_rig();
        rig.forward(&udp(family.client, family.vip));
        let quoted = udp(family.local, family.real);
        for kind in kinds {
            let frame = error(family.real, family.local, (kind, [0; 4]), &quoted);
            rig.send(&frame).is_dropped(DropReason::Untranslatable);
        }
    }
}

#[test]
fn an_error_with_a_wrong_checksum_is_a_named_drop() {
    for family in CROSSINGS {
        let mut rig = udp_rig();
        rig.forward(&udp(family.client, family.vip));
        let quoted = udp(family.local, family.real);
        let kind = (unreachable_by(family.real), [0; 4]);
        let mut frame = error(family.real, family.local, kind, &quoted).bytes();
        *frame.last_mut().unwrap() ^= 1;
        let outcome = rig.receive(weir_director::WorkerId(0), &frame);
        outcome.is_dropped(DropReason::IcmpChecksumWrong);
    }
}

/// Errors neither keep a connection alive nor are answered by errors.
#[test]
fn an_error_that_cannot_go_on_is_dropped() {
    for family in CROSSINGS {
        let mut rig = udp_rig();
        rig.forward(&udp(family.client, family.vip));
        let before = rig.connection();
        let kind = (unreachable_by(family.real), [0; 4]);
        let quoted = udp(family.local, family.real).data_bytes(1000);
        let frame = error(family.real, family.local, kind, &quoted);
        rig.send(&frame.clone().ttl(1))
            .is_dropped(DropReason::TtlExceeded);
        let router = if family.client.starts_with('[') {
            "2001:db8:2::1"
        } else {
            "192.0.2.1"
        };
        rig.publish(|site| site.mtu(router, 576));
        rig.send(&frame).is_dropped(DropReason::TooBig);
        rig.publish(|site| site.mtu(router, 1500));
        rig.forward(&frame);
        assert_eq!(rig.connection(), before);
    }
}
