//! Neighbour discovery and multicast listener discovery.

use std::net::Ipv6Addr;

use etherparse::{Icmpv6Type, NetHeaders, TransportHeader};
use weir_wire::ethernet::Mac;
use weir_wire::icmpv6::listener::{self, Occasion};
use weir_wire::icmpv6::neighbour::{self, Advertisement, Message, Solicitation};
use weir_wire::{Content, Headers, ParseError, checksum, icmpv6};

use crate::frames::{self, *};

const ASKER: &str = "fe80::7";
const TARGET: &str = "2001:db8:100::12:3456";

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn parse(frame: &[u8]) -> Result<Message, ParseError> {
    neighbour::parse(frame, &Headers::parse(frame).unwrap())
}

fn solicitation(source: &str) -> Solicitation {
    Solicitation {
        source: address(source),
        target: address(TARGET),
        source_mac: None,
    }
}

/// Edits a frame and mends its checksum, so that only the edit can be what is wrong.
fn edited(frame: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    edit(&mut frame);
    frame[19] = (frame.len() - 54) as u8;
    let headers = Headers::parse(&frame).unwrap();
    checksum::fill_l4(&mut frame, &headers);
    frame
}

/// Destination MAC, source, destination and hop limit of a valid frame.
fn addressing(frame: &[u8]) -> (Mac, Ipv6Addr, Ipv6Addr, u8) {
    let Some(NetHeaders::Ipv6(ip, _)) = frames::assert_valid(frame).net else {
        panic!("no IPv6")
    };
    let mac = weir_wire::ethernet::destination(frame).unwrap();
    (mac, ip.source.into(), ip.destination.into(), ip.hop_limit)
}

#[test]
fn groups_and_their_macs() {
    let group = icmpv6::solicited_node(address(TARGET));
    assert_eq!(group, address("ff02::1:ff12:3456"));
    assert_eq!(
        icmpv6::multicast_mac(group),
        Mac([0x33, 0x33, 0xff, 0x12, 0x34, 0x56])
    );
}

#[test]
fn a_solicitation_goes_to_the_group_and_says_who_asks() {
    let frame = solicitation(ASKER).write(CLIENT_MAC, None);
    let group = address("ff02::1:ff12:3456");
    assert_eq!(
        addressing(&frame),
        (icmpv6::multicast_mac(group), address(ASKER), group, 255)
    );
    let Some(TransportHeader::Icmpv6(header)) = frames::assert_valid(&frame).transport else {
        panic!("no ICMPv6");
    };
    assert_eq!(header.icmp_type, Icmpv6Type::NeighborSolicitation);
    let read = Solicitation {
        source_mac: Some(CLIENT_MAC),
        ..solicitation(ASKER)
    };
    assert_eq!(parse(&frame), Ok(Message::Solicitation(read)));
}

#[test]
fn a_probe_goes_to_the_neighbour_itself() {
    let frame = solicitation(ASKER).write(CLIENT_MAC, Some(OUR_MAC));
    assert_eq!(
        addressing(&frame),
        (OUR_MAC, address(ASKER), address(TARGET), 255)
    );
    assert!(matches!(parse(&frame), Ok(Message::Solicitation(_))));
}

#[test]
fn who_asks_for_a_taken_address_says_nothing_of_itself() {
    let frame = solicitation("::").write(CLIENT_MAC, None);
    assert_eq!(frame.len(), 14 + 40 + 24);
    assert_eq!(parse(&frame), Ok(Message::Solicitation(solicitation("::"))));
}

#[test]
fn an_answer_goes_to_the_asker() {
    let Ok(Message::Solicitation(asked)) = parse(&solicitation(ASKER).write(CLIENT_MAC, None))
    else {
        panic!("no solicitation");
    };
    let elsewhere = Mac([2, 9, 9, 9, 9, 9]);
    for (asked, expected) in [
        (asked, CLIENT_MAC),
        (
            Solicitation {
                source_mac: None,
                ..asked
            },
            elsewhere,
        ),
    ] {
        let frame = asked.answer(OUR_MAC, elsewhere);
        assert_eq!(
            addressing(&frame),
            (expected, address(TARGET), address(ASKER), 255)
        );
        let read = Advertisement {
            target: address(TARGET),
            target_mac: Some(OUR_MAC),
            is_router: false,
            is_solicited: true,
            is_override: true,
        };
        assert_eq!(parse(&frame), Ok(Message::Advertisement(read)));
    }
}

#[test]
fn the_answer_to_nobody_goes_to_all() {
    let all = address("ff02::1");
    let read = Advertisement {
        target: address(TARGET),
        target_mac: Some(OUR_MAC),
        is_router: false,
        is_solicited: false,
        is_override: true,
    };
    for frame in [
        solicitation("::").answer(OUR_MAC, CLIENT_MAC),
        Advertisement::announce(address(TARGET), OUR_MAC),
    ] {
        assert_eq!(
            addressing(&frame),
            (icmpv6::multicast_mac(all), address(TARGET), all, 255)
        );
        assert_eq!(parse(&frame), Ok(Message::Advertisement(read)));
    }
}

#[test]
fn each_flag_of_an_advertisement_is_read_as_written() {
    for flags in 0..8 {
        let written = Advertisement {
            target: address(TARGET),
            target_mac: (flags & 1 == 0).then_some(OUR_MAC),
            is_router: flags & 1 != 0,
            is_solicited: flags & 2 != 0,
            is_override: flags & 4 != 0,
        };
        let frame = written.write(OUR_MAC, address(ASKER), CLIENT_MAC);
        assert_eq!(parse(&frame), Ok(Message::Advertisement(written)));
        let Some(TransportHeader::Icmpv6(header)) = frames::assert_valid(&frame).transport else {
            panic!("no ICMPv6");
        };
        let Icmpv6Type::NeighborAdvertisement(read) = header.icmp_type else {
            panic!("none")
        };
        assert_eq!(
            (read.router, read.solicited, read.r#override),
            (written.is_router, written.is_solicited, written.is_override)
        );
    }
}

#[test]
fn every_check_of_rfc_4861_is_made() {
    let asked = solicitation(ASKER).write(CLIENT_MAC, None);
    let taken = solicitation("::").write(CLIENT_MAC, None);
    let answer = solicitation(ASKER).answer(OUR_MAC, CLIENT_MAC);
    let announcement = Advertisement::announce(address(TARGET), OUR_MAC);
    assert!(
        parse(&edited(&asked, |_| ())).is_ok(),
        "the edit itself breaks nothing"
    );
    for (why, frame) in [
        ("hop limit", edited(&asked, |frame| frame[21] = 254)),
        ("code", edited(&asked, |frame| frame[55] = 1)),
        ("too short", edited(&asked, |frame| frame.truncate(54 + 23))),
        (
            "target is a group",
            edited(&asked, |frame| frame[62] = 0xff),
        ),
        (
            "option of length zero",
            edited(&asked, |frame| frame[79] = 0),
        ),
        ("option cut off", edited(&asked, |frame| frame[79] = 2)),
        ("half an option", edited(&asked, |frame| frame.push(1))),
        ("MAC of a group", edited(&asked, |frame| frame[80] |= 1)),
        ("sent by a group", edited(&asked, |frame| frame[22] = 0xff)),
        (
            "taken? not to the group",
            edited(&taken, |frame| frame[53] ^= 1),
        ),
        (
            "taken? with a MAC",
            edited(&taken, |frame| frame.extend([1, 1, 2, 0, 0, 0, 0, 1])),
        ),
        ("answer: hop limit", edited(&answer, |frame| frame[21] = 1)),
        (
            "answer to all, solicited",
            edited(&announcement, |frame| frame[58] |= 0x40),
        ),
        ("checksum", {
            let mut frame = asked.clone();
            frame[56] ^= 1;
            frame
        }),
    ] {
        assert_eq!(parse(&frame), Err(ParseError::IcmpMalformed), "{why}");
    }
}

#[test]
fn other_options_and_other_messages_are_passed_over() {
    let asked = solicitation(ASKER).write(CLIENT_MAC, None);
    let with_nonce = edited(&asked, |frame| frame.extend([14, 1, 1, 2, 3, 4, 5, 6]));
    assert_eq!(parse(&with_nonce), parse(&asked));
    assert_eq!(
        parse(&echo_request(CLIENT_V6, VIP_V6, &[0; 24])),
        Ok(Message::Other)
    );
    assert_eq!(
        parse(&udp(CLIENT_V6, VIP_V6, &[135; 24])),
        Ok(Message::Other)
    );
    assert_eq!(
        parse(&icmp(true, [135, 0], [0; 4], &[0; 24])),
        Ok(Message::Other)
    );
}

#[test]
fn a_report_names_every_group_but_that_of_all_nodes() {
    let groups: Vec<_> = (0..130)
        .map(|n| icmpv6::solicited_node(Ipv6Addr::from(n)))
        .collect();
    let all = [&groups[..], &[neighbour::ALL_NODES]].concat();
    for (occasion, record) in [(Occasion::Joined, 4), (Occasion::Queried, 2)] {
        let frames = listener::reports(occasion, OUR_MAC, address("fe80::2"), &all);
        let mut told = Vec::new();
        for frame in &frames {
            let headers = Headers::parse(frame).unwrap();
            assert_eq!(
                (headers.content, headers.ttl, headers.l4),
                (Content::Icmp, 1, 62)
            );
            assert!(headers.ip_bytes() <= 1280);
            let to = address("ff02::16");
            assert_eq!(
                addressing(frame),
                (icmpv6::multicast_mac(to), address("fe80::2"), to, 1)
            );
            assert_eq!(frame[20], 0, "hop-by-hop options");
            assert_eq!(frame[54..62], [58, 0, 5, 2, 0, 0, 1, 0], "router alert");
            assert_eq!(frame[62], 143);
            let n_groups = usize::from(u16::from_be_bytes([frame[68], frame[69]]));
            assert_eq!(frame.len(), 70 + 20 * n_groups);
            for group in frame[70..].chunks(20) {
                assert_eq!(group[..4], [record, 0, 0, 0]);
                told.push(Ipv6Addr::from(<[u8; 16]>::try_from(&group[4..]).unwrap()));
            }
        }
        assert_eq!(told, groups);
    }
    let nothing = listener::reports(
        Occasion::Joined,
        OUR_MAC,
        address("fe80::2"),
        &[neighbour::ALL_NODES],
    );
    assert_eq!(nothing, Vec::<Vec<u8>>::new());
}

#[test]
fn a_query_is_one_from_this_link() {
    let mut query = udp("[fe80::1]:0", "[ff02::1]:0", &[0; 20]);
    query[20] = 58;
    query[21] = 1;
    query[54] = 130;
    query[58..].fill(0);
    let query = edited(&query, |_| ());
    let is_query = |frame: &[u8]| listener::is_query(frame, &Headers::parse(frame).unwrap());
    assert!(is_query(&query));
    assert!(
        !is_query(&edited(&query, |frame| frame[21] = 64)),
        "from further away"
    );
    assert!(
        !is_query(&edited(&query, |frame| frame[22] = 0x20)),
        "from no link-local address"
    );
    assert!(
        !is_query(&edited(&query, |frame| frame.truncate(54 + 23))),
        "too short"
    );
    assert!(
        !is_query(&edited(&query, |frame| frame[54] = 131)),
        "a report of version 1"
    );
    let mut wrong = query;
    wrong[70] ^= 1;
    assert!(!is_query(&wrong), "wrong checksum");
}
