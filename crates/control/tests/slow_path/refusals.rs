//! What the sender of a refused packet is told.

use etherparse::{IpHeaders, IpNumber, PacketBuilder};
use weir_control::Action;
use weir_director::{DropReason, PuntReason};

use crate::stage::{LAN, LIP, Stage, VIP, VIP6, WAN, arp, mac, port_mac, syn, v4, v6};

const CLIENT: &str = "198.51.100.7";
const CLIENT6: &str = "2001:db8::7";

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(9), mac(1))
        .ipv4(v4(CLIENT), v4(VIP), 64)
        .udp(40000, 53)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(9), mac(1))
        .ipv6(v6(CLIENT6), v6(VIP6), 64)
        .udp(40000, 53)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

/// An INIT.
fn sctp() -> Vec<u8> {
    let mut frame = Vec::new();
    let packet = [0x9c, 0x40, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4];
    PacketBuilder::ethernet2(mac(9), mac(1))
        .ipv4(v4(CLIENT), v4(VIP), 64)
        .write(&mut frame, IpNumber::SCTP, &packet)
        .unwrap();
    frame
}

#[test]
fn each_refusal_is_counted_and_answered_from_the_address_it_was_sent_to() {
    let reset = "tcp 80 > 40000 RST seq 0 ack 8";
    let tcp = |ends| syn(mac(9), WAN, ends);
    let ends = [CLIENT, VIP];
    let ends6 = [CLIENT6, VIP6];
    let mtu = 1404;
    for (reason, counted, frame, ends, said) in [
        (
            PuntReason::NoService,
            DropReason::NoService,
            tcp(ends),
            ends,
            reset,
        ),
        (
            PuntReason::NoService,
            DropReason::NoService,
            udp(b"?"),
            ends,
            "port unreachable",
        ),
        (
            PuntReason::NoService,
            DropReason::NoService,
            sctp(),
            ends,
            "port unreachable",
        ),
        (
            PuntReason::NoDestination,
            DropReason::NoDestination,
            sctp(),
            ends,
            "port unreachable",
        ),
        (
            PuntReason::NoService,
            DropReason::NoService,
            tcp(ends6),
            ends6,
            reset,
        ),
        (
            PuntReason::NoService,
            DropReason::NoService,
            udp6(b"?"),
            ends6,
            "port unreachable",
        ),
        (
            PuntReason::NoConnection,
            DropReason::NoConnection,
            tcp(ends),
            ends,
            reset,
        ),
        (
            PuntReason::NoConnection,
            DropReason::NoConnection,
            tcp(ends6),
            ends6,
            reset,
        ),
        (
            PuntReason::NoDestination,
            DropReason::NoDestination,
            tcp(ends),
            ends,
            "port unreachable",
        ),
        (
            PuntReason::NoDestination,
            DropReason::NoDestination,
            udp(b"?"),
            ends,
            "port unreachable",
        ),
        (
            PuntReason::NoDestination,
            DropReason::NoDestination,
            tcp(ends6),
            ends6,
            "port unreachable",
        ),
        (
            PuntReason::TtlExceeded,
            DropReason::TtlExceeded,
            tcp(ends),
            ends,
            "time exceeded",
        ),
        (
            PuntReason::TtlExceeded,
            DropReason::TtlExceeded,
            udp6(b"?"),
            ends6,
            "time exceeded",
        ),
        (
            PuntReason::TooBig { mtu },
            DropReason::TooBig,
            tcp(ends),
            ends,
            "fragmentation needed 1404",
        ),
        (
            PuntReason::TooBig { mtu },
            DropReason::TooBig,
            tcp(ends6),
            ends6,
            "too big 1404",
        ),
    ] {
        let mut stage = Stage::new();
        assert_eq!(stage.counted(reason, WAN, &frame), [counted]);
        let [client, ours] = ends;
        let line = format!("0 {ours} > {client} {said} [wan > host9]");
        assert_eq!(stage.sent(), [line], "{reason}");
    }
}

/// IPVS lowers the TTL before it looks at the size; what ran out of hops is quoted as it came in.
#[test]
fn what_is_too_large_is_quoted_as_it_would_have_gone_on() {
    for (ends, header_bytes) in [([CLIENT, VIP], 20), ([CLIENT6, VIP6], 40)] {
        let frame = syn(mac(9), WAN, ends);
        for (reason, ttl) in [
            (PuntReason::TooBig { mtu: 1404 }, 63),
            (PuntReason::TtlExceeded, 64),
        ] {
            let mut stage = Stage::new();
            stage.punt(reason, WAN, &frame);
            let [Action::Transmit { frame: error, .. }] = &stage.actions()[..] else {
                panic!("one answer")
            };
            let quoted = &error[14 + header_bytes + 8..];
            let (header, rest) = IpHeaders::from_slice(quoted).unwrap();
            let (seen_ttl, checksum_is_right) = match &header {
                IpHeaders::Ipv4(header, _) => (
                    header.time_to_live,
                    header.header_checksum == header.calc_header_checksum(),
                ),
                IpHeaders::Ipv6(header, _) => (header.hop_limit, true),
            };
            assert_eq!((seen_ttl, checksum_is_right), (ttl, true), "{reason}");
            assert_eq!(rest.payload, &frame[14 + header_bytes..]);
        }
    }
}

/// The first fragment of a datagram has what an answer needs; about a later one of IPv4 nothing may be said (RFC 1122
/// §3.2.2). Both are counted.
#[test]
fn of_a_datagram_in_fragments_the_first_is_answered() {
    let fragment = |flags_and_offset: u16| {
        let mut frame = udp(&[0; 24]);
        frame[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
        frame
    };
    let mut stage = Stage::new();
    for (reason, said) in [
        (PuntReason::NoService, "port unreachable"),
        (PuntReason::TtlExceeded, "time exceeded"),
    ] {
        let counted = stage.counted(reason, WAN, &fragment(0x2000));
        assert_eq!(counted.len(), 1);
        let line = format!("0 {VIP} > {CLIENT} {said} [wan > host9]");
        assert_eq!(stage.sent(), [line]);
        assert_eq!(stage.counted(reason, WAN, &fragment(3)), counted);
        assert_eq!(stage.sent(), Vec::<String>::new());
    }
}

#[test]
fn a_reply_without_a_connection_is_reset_on_the_servers_side_too() {
    let mut stage = Stage::new();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(50), port_mac(LAN))
        .ipv4(v4("10.0.0.50"), v4(LIP), 64)
        .tcp(8080, 5000, 100, 1024)
        .ack(300)
        .write(&mut frame, b"late")
        .unwrap();
    assert_eq!(
        stage.counted(PuntReason::NoConnection, LAN, &frame),
        [DropReason::NoConnection]
    );
    assert_eq!(
        stage.sent(),
        [format!(
            "1 {LIP} > 10.0.0.50 tcp 5000 > 8080 RST seq 300 [lan > host50]"
        )]
    );
}

#[test]
fn of_what_only_passes_through_weir_speaks_from_its_own_address() {
    for (ends, said) in [
        (["10.0.0.50", CLIENT], "10.0.0.1"),
        (["2001:db8:2::50", CLIENT6], "2001:db8:2::1"),
    ] {
        let mut stage = Stage::new();
        let frame = syn(mac(50), LAN, ends);
        assert_eq!(
            stage.counted(PuntReason::TtlExceeded, LAN, &frame),
            [DropReason::TtlExceeded]
        );
        let [server, _] = ends;
        let line = format!("1 {said} > {server} time exceeded [lan > host50]");
        assert_eq!(stage.sent(), [line]);
    }
}

#[test]
fn what_may_not_be_answered_is_counted_all_the_same() {
    let mut stage = Stage::new();
    let mut reset = syn(mac(9), WAN, [CLIENT, VIP]);
    reset[47] = 4;
    let mut broadcast = udp(b"?");
    broadcast[..6].fill(0xff);
    for frame in [reset, broadcast] {
        assert_eq!(
            stage.counted(PuntReason::NoService, WAN, &frame),
            [DropReason::NoService]
        );
    }
    assert!(stage.sent().is_empty());
}

#[test]
fn arp_is_never_refused_by_an_error() {
    let mut stage = Stage::new();
    let ends = [CLIENT, VIP];
    let request = arp(etherparse::ArpOperation::REQUEST, mac(9), mac(1), ends);
    assert_eq!(
        stage.counted(PuntReason::NoDestination, WAN, &request),
        [DropReason::NoDestination]
    );
    assert!(stage.sent().is_empty());
}

#[test]
fn what_may_not_be_answered_uses_up_no_answers() {
    let mut stage = Stage::new();
    let whole = syn(mac(9), WAN, [CLIENT, VIP]);
    let mut reset = whole.clone();
    reset[47] = 4;
    for frame in [vec![reset; 5000], vec![whole; 1]].concat() {
        stage.punt(PuntReason::NoService, WAN, &frame);
    }
    assert_eq!(stage.sent().len(), 1);
}

#[test]
fn what_cannot_be_read_is_counted_by_what_is_wrong_with_it() {
    let mut stage = Stage::new();
    let frame = syn(mac(9), WAN, [CLIENT, VIP]);
    for (len_bytes, reason) in [
        (10, DropReason::EthernetTruncated),
        (30, DropReason::Ipv4Malformed),
        (50, DropReason::Ipv4Truncated),
    ] {
        assert_eq!(
            stage.counted(PuntReason::NoService, WAN, &frame[..len_bytes]),
            [reason]
        );
    }
    assert_eq!(
        stage.counted(PuntReason::NoService, weir_director::PortId(7), &frame),
        [DropReason::MacNotOurs],
        "a port that does not exist"
    );
    assert!(stage.sent().is_empty());
}

#[test]
fn a_flood_of_one_kind_is_answered_at_a_limited_rate_and_silences_no_other() {
    let mut stage = Stage::new();
    let frame = syn(mac(9), WAN, [CLIENT, VIP]);
    for _ in 0..5000 {
        stage.punt(PuntReason::NoService, WAN, &frame);
    }
    assert_eq!(stage.sent().len(), 100);
    assert_eq!(stage.slow_path.drops()[DropReason::NoService.index()], 5000);
    stage.punt(PuntReason::NoConnection, WAN, &frame);
    assert_eq!(stage.sent().len(), 1);
    stage.pass(50);
    for _ in 0..5000 {
        stage.punt(PuntReason::NoService, WAN, &frame);
    }
    assert_eq!(stage.sent().len(), 50);
}
