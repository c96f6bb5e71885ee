//! Echo replies and ICMP errors that weir itself sends.

use etherparse::{Icmpv4Type, Icmpv6Type, TransportHeader, icmpv4, icmpv6};
use weir_wire::{Content, Headers, checksum, icmp, icmpv6 as wire6};

use crate::frames::{self, *};

const OUR_V4: &str = "192.0.2.10";
const OUR_V6: &str = "2001:db8:100::10";

fn error_v4(frame: &[u8], kind: icmp::ErrorKind) -> Option<Vec<u8>> {
    icmp::error(
        frame,
        &Headers::parse(frame).unwrap(),
        OUR_V4.parse().unwrap(),
        kind,
    )
}

fn error_v6(frame: &[u8], kind: wire6::ErrorKind) -> Option<Vec<u8>> {
    wire6::error(
        frame,
        &Headers::parse(frame).unwrap(),
        OUR_V6.parse().unwrap(),
        kind,
    )
}

/// Turns an echo request in place; `None` when it was refused, which leaves the frame alone.
fn reply(frame: &[u8]) -> Option<Vec<u8>> {
    let headers = Headers::parse(frame).unwrap();
    let mut reply = frame.to_vec();
    let is_reply = match headers.is_ipv6() {
        true => wire6::echo_reply_in_place(&mut reply, &headers),
        false => icmp::echo_reply_in_place(&mut reply, &headers),
    };
    assert!(is_reply || reply == frame, "a refused frame is left alone");
    is_reply.then_some(reply)
}

fn transport(frame: &[u8]) -> TransportHeader {
    frames::assert_valid(frame).transport.unwrap()
}

#[test]
fn an_echo_request_becomes_its_reply() {
    for (client, vip) in FLOWS {
        let frame = echo_request(client, vip, b"are you there?");
        let reply = reply(&frame).unwrap();
        assert_eq!(&reply[..12], &[CLIENT_MAC.0, OUR_MAC.0].concat());
        assert!(reply.ends_with(b"are you there?"));
        let headers = Headers::parse(&reply).unwrap();
        assert_eq!(headers.key.source().ip(), endpoint(vip).ip());
        assert_eq!(headers.key.destination().ip(), endpoint(client).ip());
        assert_eq!((headers.ttl, headers.content), (64, Content::Icmp));
        match transport(&reply) {
            TransportHeader::Icmpv4(header) => {
                let echo = etherparse::IcmpEchoHeader { id: 7, seq: 9 };
                assert_eq!(header.icmp_type, Icmpv4Type::EchoReply(echo));
            }
            TransportHeader::Icmpv6(header) => {
                let echo = etherparse::IcmpEchoHeader { id: 7, seq: 9 };
                assert_eq!(header.icmp_type, Icmpv6Type::EchoReply(echo));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_no_good_echo_request_is_not_replied_to() {
    for (client, vip) in FLOWS {
        let frame = echo_request(client, vip, b"hello");
        let answer = reply(&frame).unwrap();
        assert_eq!(reply(&answer), None, "a reply");
        assert_eq!(reply(&udp(client, vip, b"hello")), None, "a datagram");
        let mut wrong = frame.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(reply(&wrong), None, "a wrong checksum");
        let mut to_a_group = frame;
        to_a_group[0] |= 1;
        assert_eq!(reply(&to_a_group), None, "to a group");
    }
    assert_eq!(reply(&echo_request("0.0.0.0:0", VIP_V4, &[])), None);
    assert_eq!(reply(&echo_request(CLIENT_V4, "224.0.0.1:0", &[])), None);
    assert_eq!(reply(&echo_request(CLIENT_V6, "[ff02::1]:0", &[])), None);
}

#[test]
fn an_icmp_error_says_what_is_wrong_and_quotes_the_packet() {
    use icmpv4::DestUnreachableHeader as Unreachable;
    let frame = udp(CLIENT_V4, VIP_V4, b"to nobody");
    for (kind, expected) in [
        (
            icmp::ErrorKind::PortUnreachable,
            Icmpv4Type::DestinationUnreachable(Unreachable::Port),
        ),
        (
            icmp::ErrorKind::HostUnreachable,
            Icmpv4Type::DestinationUnreachable(Unreachable::Host),
        ),
        (
            icmp::ErrorKind::TimeExceeded,
            Icmpv4Type::TimeExceeded(icmpv4::TimeExceededCode::TtlExceededInTransit),
        ),
        (
            icmp::ErrorKind::FragmentationNeeded { mtu: 1400 },
            Icmpv4Type::DestinationUnreachable(Unreachable::FragmentationNeeded {
                next_hop_mtu: 1400,
            }),
        ),
    ] {
        let error = error_v4(&frame, kind).unwrap();
        assert_eq!(&error[..12], &[CLIENT_MAC.0, OUR_MAC.0].concat());
        let TransportHeader::Icmpv4(header) = transport(&error) else {
            panic!("no ICMP")
        };
        assert_eq!(header.icmp_type, expected);
        assert_eq!(error[42..], frame[14..], "the whole packet is quoted");
        let (source, destination) = weir_wire::ipv4::addresses(&error, 14).unwrap();
        assert_eq!(
            (source.to_string(), destination.to_string()),
            (OUR_V4.into(), "198.51.100.7".into())
        );
        let headers = Headers::parse(&error).unwrap();
        assert_eq!((headers.ttl, headers.content), (64, Content::IcmpError));
        assert_eq!(headers.key, Headers::parse(&frame).unwrap().key.turned());
        assert!(icmp::checksum_is_right(&error[34..]));
        assert!(!icmp::checksum_is_right(&[&error[34..], &[1]].concat()));
    }
}

#[test]
fn an_icmpv6_error_says_what_is_wrong_and_quotes_the_packet() {
    use icmpv6::DestUnreachableCode as Unreachable;
    let frame = udp(CLIENT_V6, VIP_V6, b"to nobody");
    for (kind, expected) in [
        (
            wire6::ErrorKind::PortUnreachable,
            Icmpv6Type::DestinationUnreachable(Unreachable::Port),
        ),
        (
            wire6::ErrorKind::AddressUnreachable,
            Icmpv6Type::DestinationUnreachable(Unreachable::Address),
        ),
        (
            wire6::ErrorKind::TimeExceeded,
            Icmpv6Type::TimeExceeded(icmpv6::TimeExceededCode::HopLimitExceeded),
        ),
        (
            wire6::ErrorKind::PacketTooBig { mtu: 70_000 },
            Icmpv6Type::PacketTooBig { mtu: 70_000 },
        ),
    ] {
        let error = error_v6(&frame, kind).unwrap();
        assert_eq!(&error[..12], &[CLIENT_MAC.0, OUR_MAC.0].concat());
        let TransportHeader::Icmpv6(header) = transport(&error) else {
            panic!("no ICMPv6")
        };
        assert_eq!(header.icmp_type, expected);
        assert_eq!(error[62..], frame[14..], "the whole packet is quoted");
        let (source, destination) = weir_wire::ipv6::addresses(&error, 14).unwrap();
        assert_eq!(
            (source.to_string(), destination.to_string()),
            (OUR_V6.into(), "2001:db8:7::7".into())
        );
        assert!(wire6::checksum_is_right(&error[54..], source, destination));
        assert!(!wire6::checksum_is_right(&error[54..], source, source));
        let headers = Headers::parse(&error).unwrap();
        assert_eq!((headers.ttl, headers.content), (64, Content::IcmpError));
        assert_eq!(headers.key, Headers::parse(&frame).unwrap().key.turned());
    }
}

#[test]
fn long_packets_are_quoted_as_far_as_allowed_and_padding_is_not() {
    let long = udp(CLIENT_V4, VIP_V4, &[7; 1400]);
    let error = error_v4(&long, icmp::ErrorKind::PortUnreachable).unwrap();
    assert_eq!(error.len(), 14 + 576);
    frames::assert_valid(&error);
    assert!(Headers::parse(&error).is_ok());
    let long = udp(CLIENT_V6, VIP_V6, &[7; 1400]);
    let error = error_v6(&long, wire6::ErrorKind::PortUnreachable).unwrap();
    assert_eq!(error.len(), 14 + 1280);
    frames::assert_valid(&error);
    let mut padded = udp(CLIENT_V4, VIP_V4, &[]);
    padded.resize(60, 0xee);
    let error = error_v4(&padded, icmp::ErrorKind::PortUnreachable).unwrap();
    assert_eq!(error.len(), 14 + 20 + 8 + 28);
}

#[test]
fn a_tag_is_not_given_back() {
    let frames = frames::one_of_each_kind();
    let (_, tagged) = frames
        .iter()
        .find(|(kind, _)| *kind == "priority-tagged datagram")
        .unwrap();
    let error = error_v4(tagged, icmp::ErrorKind::PortUnreachable).unwrap();
    assert_eq!(Headers::parse(&error).unwrap().l3, 14);
    assert_eq!(error[42..], tagged[18..]);
}

#[test]
fn no_error_where_none_may_be_sent() {
    let no_v4 = |frame: &[u8], why: &str| {
        assert_eq!(
            error_v4(frame, icmp::ErrorKind::PortUnreachable),
            None,
            "{why}"
        );
    };
    let no_v6 = |frame: &[u8], why: &str| {
        assert_eq!(
            error_v6(frame, wire6::ErrorKind::PortUnreachable),
            None,
            "{why}"
        );
    };
    for (kind, frame) in frames::one_of_each_kind() {
        let is_ipv6 = Headers::parse(&frame).unwrap().is_ipv6();
        let is_error = kind == "icmp error" || (kind == "short icmp error" && is_ipv6);
        match is_ipv6 {
            true => no_v4(&frame, "of the other family"),
            false => no_v6(&frame, "of the other family"),
        }
        if is_error || kind == "arp request" {
            no_v4(&frame, kind);
            no_v6(&frame, kind);
        }
    }
    no_v4(&icmp(true, [5, 1], [0; 4], &[]), "about a redirect");
    no_v6(&icmp(false, [137, 0], [0; 4], &[]), "about a redirect");
    no_v6(
        &icmp(false, [100, 0], [0; 4], &[]),
        "about an unknown error",
    );
    for source in [
        "0.0.0.0:1",
        "127.0.0.1:1",
        "224.0.0.1:1",
        "255.255.255.255:1",
    ] {
        no_v4(&udp(source, VIP_V4, &[]), source);
    }
    for destination in ["224.0.0.1:1", "255.255.255.255:1"] {
        no_v4(&udp(CLIENT_V4, destination, &[]), destination);
    }
    for source in ["[::]:1", "[ff02::1]:1", "[::1]:1"] {
        no_v6(&udp(source, VIP_V6, &[]), source);
    }
    no_v6(&udp(CLIENT_V6, "[ff02::1]:1", &[]), "to a group");
    for (client, vip) in FLOWS {
        let mut frame = udp(client, vip, &[]);
        frame[0] |= 1;
        no_v4(&frame, "to a group of MAC addresses");
        no_v6(&frame, "to a group of MAC addresses");
    }
    // A parse refuses fragments; headers of the first one and bytes of a later one are the nearest to it.
    let mut fragment = udp(CLIENT_V4, VIP_V4, &[0; 16]);
    let headers = Headers::parse(&fragment).unwrap();
    fragment[21] = 9;
    let source = OUR_V4.parse().unwrap();
    assert_eq!(
        icmp::error(&fragment, &headers, source, icmp::ErrorKind::TimeExceeded),
        None
    );
}

#[test]
fn checksums_of_messages_are_filled() {
    let frame = echo_request(CLIENT_V4, VIP_V4, b"odd");
    let mut message = frame[34..].to_vec();
    message[2..4].fill(0x77);
    icmp::fill_checksum(&mut message);
    assert_eq!(message, frame[34..]);

    let frame = echo_request(CLIENT_V6, VIP_V6, b"odd");
    let (source, destination) = weir_wire::ipv6::addresses(&frame, 14).unwrap();
    let mut message = frame[54..].to_vec();
    message[2..4].fill(0x77);
    wire6::fill_checksum(&mut message, source, destination);
    assert_eq!(message, frame[54..]);

    for len in 0..8 {
        let mut short = [9; 8];
        icmp::fill_checksum(&mut short[..len]);
        wire6::fill_checksum(&mut short[..len], source, destination);
        assert_eq!(short, [9; 8]);
    }
    assert!(checksum::l4_is_right(
        &frame,
        &Headers::parse(&frame).unwrap()
    ));
}

#[test]
fn the_mtu_of_an_error_is_lowered_but_not_below_the_least_and_never_raised() {
    for (mtu, by, expected) in [
        (1500, 8, 1492),
        (72, 8, 68),
        (68, 20, 68),
        (60, 8, 60),
        (0, 8, 0),
    ] {
        let [high, low] = u16::to_be_bytes(mtu);
        let mut message = [3, 4, 0, 0, 0, 0, high, low, 9];
        icmp::lower_mtu(&mut message, by);
        let [high, low] = u16::to_be_bytes(expected);
        assert_eq!(message, [3, 4, 0, 0, 0, 0, high, low, 9]);
    }
    for (mtu, by, expected) in [
        (1500, 20, 1480),
        (70_000, 20, 69_980),
        (1290, 20, 1280),
        (1280, 20, 1280),
        (1000, 20, 1000),
    ] {
        let mut message = [[2, 0, 0, 0], u32::to_be_bytes(mtu)].concat();
        wire6::lower_mtu(&mut message, by);
        assert_eq!(message, [[2, 0, 0, 0], u32::to_be_bytes(expected)].concat());
    }
    for other in [
        [3, 3, 0, 0, 0, 0, 5, 220],
        [11, 0, 0, 0, 0, 0, 5, 220],
        [1, 4, 0, 0, 0, 0, 5, 220],
    ] {
        let mut message = other;
        icmp::lower_mtu(&mut message, 8);
        wire6::lower_mtu(&mut message, 8);
        icmp::lower_mtu(&mut message[..7], 8);
        assert_eq!(message, other);
    }
}
