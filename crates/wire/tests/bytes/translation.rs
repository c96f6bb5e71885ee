//! Packets and ICMP errors from one IP version to the other (RFC 7915).

use etherparse::{IpHeaders, Ipv4Extensions, Ipv6FlowLabel, NetHeaders, TransportHeader, VlanId};
use weir_wire::checksum::{self, Delta};
use weir_wire::translation::{self, PathMtu};
use weir_wire::{FlowKey, Headers, NoRoom, Packet, Protocol};

use crate::frames::*;

const LOCAL_V4: &str = "10.0.0.200:1024";
const REAL_V4: &str = "10.0.0.11:8080";
const LOCAL_V6: &str = "[fd00::200]:1024";
const REAL_V6: &str = "[fd00::11]:8080";

/// Client and VIP, and the pair of the other family that they become.
const CROSSINGS: [[&str; 4]; 2] = [
    [CLIENT_V4, VIP_V4, LOCAL_V6, REAL_V6],
    [CLIENT_V6, VIP_V6, LOCAL_V4, REAL_V4],
];

fn key(protocol: Protocol, from: &str, to: &str) -> FlowKey {
    FlowKey::new(protocol, endpoint(from), endpoint(to)).unwrap()
}

/// What a director keeps of a connection.
fn delta(from: &FlowKey, to: &FlowKey) -> Delta {
    let [from, to] = [from, to].map(|key| key.addresses_sum() + key.l4_ports_sum());
    to + -from
}

/// Between two ends of the other family, in a buffer with `headroom`.
fn translate_in(frame: &[u8], ends: [&str; 2], headroom: u16) -> Result<Vec<u8>, NoRoom> {
    let mut room = [vec![0xdd; usize::from(headroom)], frame.to_vec()].concat();
    let (mut start, mut len) = (headroom, frame.len() as u16);
    let headers = Headers::parse(frame).unwrap();
    let ends = key(headers.key.protocol(), ends[0], ends[1]);
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    let l4_delta = delta(&headers.key, &ends);
    let result = translation::packet(&mut packet, &headers, 0, &ends, l4_delta, 0x7777);
    let changed = packet.frame().to_vec();
    if result.is_err() {
        assert_eq!(changed, frame, "as it came in");
    }
    result.map(|()| changed)
}

fn translate(frame: &[u8], ends: [&str; 2]) -> Vec<u8> {
    translate_in(frame, ends, 40).unwrap()
}

/// A segment with traffic class 0xb9 (DSCP 46, ECN 1), and over IPv6 a flow label.
fn marked(from: &str, to: &str, data: &[u8]) -> Vec<u8> {
    let mut header = ip(from, to);
    match &mut header {
        IpHeaders::Ipv4(header, _) => {
            header.dscp = 46.try_into().unwrap();
            header.ecn = 1.try_into().unwrap();
        }
        IpHeaders::Ipv6(header, _) => {
            header.traffic_class = 0xb9;
            header.flow_label = Ipv6FlowLabel::try_new(0xabcde).unwrap();
        }
    }
    tcp_over(header, from, to, acknowledging, &NOP_NOP_TIMESTAMPS, data)
}

#[test]
fn a_segment_gets_a_header_of_the_other_version_and_keeps_all_else() {
    for [client, vip, local, real] in CROSSINGS {
        let frame = marked(client, vip, b"odd number of bytes");
        let changed = translate(&frame, [local, real]);
        let read = assert_valid(&changed);
        match read.net.unwrap() {
            NetHeaders::Ipv4(header, _) => {
                assert_eq!((header.dscp.value(), header.ecn.value()), (46, 1));
                assert_eq!(header.time_to_live, 16);
                assert_eq!(header.identification, 0x7777);
                assert!(!header.dont_fragment && !header.more_fragments);
                assert_eq!(header.ihl(), 5);
                assert_eq!(usize::from(header.total_len), changed.len() - 14);
            }
            NetHeaders::Ipv6(header, extensions) => {
                assert_eq!((header.traffic_class, header.hop_limit), (0xb9, 16));
                assert_eq!(header.flow_label, Ipv6FlowLabel::ZERO);
                assert_eq!(extensions, etherparse::Ipv6Extensions::default());
                assert_eq!(usize::from(header.payload_length), changed.len() - 54);
            }
            NetHeaders::Arp(_) => panic!("no IP packet"),
        }
        let headers = Headers::parse(&changed).unwrap();
        assert_eq!(headers.key, key(Protocol::Tcp, local, real));
        let mut expected = tcp_header(&frame);
        let found = tcp_header(&changed);
        expected.source_port = endpoint(local).port();
        expected.destination_port = endpoint(real).port();
        expected.checksum = found.checksum;
        assert_eq!(found, expected);
        assert!(changed.ends_with(b"odd number of bytes"));
        assert_eq!(
            changed[..12],
            frame[..12],
            "MAC addresses are another's work"
        );
    }
}

/// RFC 7915 §5.1: what IPv6 may not be asked to make smaller may be fragmented over IPv4.
#[test]
fn dont_fragment_is_set_above_1260_bytes() {
    let [client, vip, local, real] = CROSSINGS[1];
    for (ip_bytes, expected) in [(1260, (false, 0x7777)), (1261, (true, 0))] {
        let frame = udp(client, vip, &vec![7; ip_bytes - 28]);
        let changed = translate(&frame, [local, real]);
        let Some(NetHeaders::Ipv4(header, _)) = assert_valid(&changed).net else {
            panic!("no IPv4");
        };
        assert_eq!(usize::from(header.total_len), ip_bytes);
        let found = (header.dont_fragment, header.identification);
        assert_eq!(found, expected, "{ip_bytes}");
    }
}

#[test]
fn options_extension_headers_and_padding_go() {
    let mut n_seen = 0;
    for (kind, frame) in one_of_each_kind() {
        let ends = match kind {
            "segment with IP options" | "padded segment" => [LOCAL_V6, REAL_V6],
            "segment with extension headers" => [LOCAL_V4, REAL_V4],
            _ => continue,
        };
        n_seen += 1;
        let before = tcp_header(&frame);
        let changed = translate(&frame, ends);
        let ip_bytes = if ends[0] == LOCAL_V6 { 40 } else { 20 };
        let headers = Headers::parse(&changed).unwrap();
        assert_eq!(headers.l4, 14 + ip_bytes, "{kind}");
        assert_eq!(usize::from(headers.end), changed.len(), "{kind}");
        assert_eq!(tcp_header(&changed).sequence_number, before.sequence_number);
    }
    assert_eq!(n_seen, 3);
}

fn with_ip_options(options: [u8; 8]) -> Vec<u8> {
    let IpHeaders::Ipv4(mut header, _) = ip(CLIENT_V4, VIP_V4) else {
        panic!("no IPv4")
    };
    header.options = options.into();
    let ip = IpHeaders::Ipv4(header, Ipv4Extensions::default());
    tcp_over(ip, CLIENT_V4, VIP_V4, acknowledging, &[], &[])
}

/// RFC 7915 §4.1: a source route is refused while a router of it is still to be visited.
#[test]
fn a_source_route_is_not_translatable() {
    for (options, expected) in [
        ([131, 7, 4, 10, 9, 9, 9, 0], false),
        ([137, 7, 4, 10, 9, 9, 9, 0], false),
        ([1, 137, 7, 4, 10, 9, 9, 9], false),
        ([131, 7, 8, 10, 9, 9, 9, 0], true),
        ([7, 7, 4, 10, 9, 9, 9, 0], true),
        ([0, 131, 7, 4, 10, 9, 9, 9], true),
        ([131, 1, 4, 10, 9, 9, 9, 0], true),
        ([1; 8], true),
    ] {
        let frame = with_ip_options(options);
        let headers = Headers::parse(&frame).unwrap();
        let found = translation::is_translatable(&frame, &headers);
        assert_eq!(found, expected, "{options:?}");
    }
}

fn without_udp_checksum(mut frame: Vec<u8>) -> Vec<u8> {
    let l4 = usize::from(Headers::parse(&frame).unwrap().l4);
    frame[l4 + 6..l4 + 8].fill(0);
    frame
}

/// RFC 7915 §4.5: over IPv4 a datagram may have none, over IPv6 it must.
#[test]
fn a_datagram_without_checksum_gets_one() {
    // The last has a sum of zero, for which all ones are written.
    for data in [&b"odd"[..], b"even", &[]] {
        let frame = without_udp_checksum(udp(CLIENT_V4, VIP_V4, data));
        let headers = Headers::parse(&frame).unwrap();
        assert!(translation::is_translatable(&frame, &headers));
        assert_valid(&translate(&frame, [LOCAL_V6, REAL_V6]));
    }
    let frame = without_udp_checksum(udp(CLIENT_V6, VIP_V6, b"data"));
    let headers = Headers::parse(&frame).unwrap();
    assert!(!translation::is_translatable(&frame, &headers));
}

/// A checksum that comes out as 0 is written as all ones, whether mended or made.
#[test]
fn a_udp_checksum_never_becomes_none() {
    let [client, vip, local, real] = CROSSINGS[0];
    let mut n_all_ones = 0;
    for number in 0..=u16::MAX {
        let frame = udp(client, vip, &number.to_be_bytes());
        let changed = translate(&frame, [local, real]);
        let checksum = [changed[60], changed[61]];
        assert_ne!(checksum, [0, 0]);
        if checksum == [0xff, 0xff] {
            n_all_ones += 1;
            assert_valid(&changed);
            let made = translate(&without_udp_checksum(frame), [local, real]);
            assert_eq!(made, changed);
        }
    }
    assert_ne!(n_all_ones, 0);
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    for [client, vip, local, real] in CROSSINGS {
        for mut frame in [
            tcp(client, vip, acknowledging, &[], b"data"),
            udp(client, vip, b"data"),
        ] {
            *frame.last_mut().unwrap() ^= 4;
            let changed = translate(&frame, [local, real]);
            let headers = Headers::parse(&changed).unwrap();
            assert!(!checksum::l4_is_right(&changed, &headers));
        }
    }
}

#[test]
fn without_headroom_nothing_changes() {
    let frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], b"data");
    let ends = [LOCAL_V6, REAL_V6];
    assert_eq!(translate_in(&frame, ends, 19), Err(NoRoom));
    assert!(translate_in(&frame, ends, 20).is_ok());
    let frame = tcp(CLIENT_V6, VIP_V6, acknowledging, &[], b"data");
    assert!(translate_in(&frame, [LOCAL_V4, REAL_V4], 0).is_ok());
}

#[test]
fn a_priority_tag_stays() {
    let mut frame = Vec::new();
    let step = ethernet().single_vlan(VlanId::ZERO);
    step.ip(ip(CLIENT_V4, VIP_V4))
        .udp(40000, 80)
        .write(&mut frame, b"data")
        .unwrap();
    let changed = translate(&frame, [LOCAL_V6, REAL_V6]);
    assert_eq!(changed[..16], frame[..16]);
    assert_eq!(changed[16..18], [0x86, 0xdd]);
    let Some(TransportHeader::Udp(_)) = assert_valid(&changed).transport else {
        panic!("no datagram");
    };
}

// ---- ICMP errors ----------------------------------------------------------------------------------------------------

const WIDE: PathMtu = PathMtu {
    n_inserted: 0,
    most: u16::MAX,
};

/// A router's error about a segment of 1,400 bytes from the VIP.
fn error(is_ipv4: bool, kind: [u8; 2], rest: [u8; 4]) -> Vec<u8> {
    let (client, vip) = FLOWS[usize::from(!is_ipv4)];
    let n_bytes = if is_ipv4 { 1360 } else { 1340 };
    let quoted = &tcp(vip, client, acknowledging, &[], &vec![5; n_bytes])[14..];
    icmp(is_ipv4, kind, rest, &quoted[..200])
}

fn header(frame: &[u8], path: PathMtu) -> Option<[u8; 8]> {
    translation::error_header(frame, &Headers::parse(frame).unwrap(), path)
}

fn translated_header(is_ipv4: bool, kind: [u8; 2], rest: [u8; 4]) -> Option<([u8; 2], [u8; 4])> {
    let header = header(&error(is_ipv4, kind, rest), WIDE)?;
    let [kind, code, 0, 0, rest @ ..] = header else {
        panic!("a checksum in {header:?}");
    };
    Some(([kind, code], rest))
}

/// RFC 7915 §4.2.
#[test]
fn types_and_codes_from_icmp_to_icmpv6() {
    let unreachable = |code| Some(([1, code], [0; 4]));
    let expected = |code| match code {
        0 | 1 | 5..=8 | 11 | 12 => unreachable(0),
        2 => Some(([4, 1], [0, 0, 0, 6])),
        3 => unreachable(4),
        4 => Some(([2, 0], [0, 0, 5, 20])),
        9 | 10 | 13 | 15 => unreachable(1),
        _ => None,
    };
    for code in 0..=255 {
        let rest = if code == 4 { [0, 0, 5, 0] } else { [0; 4] };
        let found = translated_header(true, [3, code], rest);
        assert_eq!(found, expected(code), "unreachable, code {code}");
    }
    for code in [0, 1] {
        let found = translated_header(true, [11, code], [0; 4]);
        assert_eq!(found, Some(([3, code], [0; 4])));
    }
    assert_eq!(
        translated_header(true, [4, 0], [0; 4]),
        None,
        "source quench"
    );
}

/// RFC 7915 §5.2.
#[test]
fn types_and_codes_from_icmpv6_to_icmp() {
    let unreachable = |code| Some(([3, code], [0; 4]));
    let expected = |code| match code {
        0 | 2 | 3 => unreachable(1),
        1 => unreachable(10),
        4 => unreachable(3),
        _ => None,
    };
    for code in 0..=255 {
        let found = translated_header(false, [1, code], [0; 4]);
        assert_eq!(found, expected(code), "unreachable, code {code}");
    }
    for code in [0, 1] {
        let found = translated_header(false, [3, code], [0; 4]);
        assert_eq!(found, Some(([11, code], [0; 4])));
    }
    let too_big = translated_header(false, [2, 0], [0, 0, 5, 20]);
    assert_eq!(too_big, Some(([3, 4], [0, 0, 5, 0])));
}

/// RFC 7915 figures 3 and 6: where the pointer of a parameter problem points.
#[test]
fn parameter_problems() {
    let pointers_v4 = |pointer| match pointer {
        0 => Some(0),
        1 => Some(1),
        2 | 3 => Some(4),
        8 => Some(7),
        9 => Some(6),
        12..=15 => Some(8),
        16..=19 => Some(24),
        _ => None,
    };
    let pointers_v6 = |pointer| match pointer {
        0 => Some(0),
        1 => Some(1),
        4 | 5 => Some(2),
        6 => Some(9),
        7 => Some(8),
        8..=23 => Some(12),
        24..=39 => Some(16),
        _ => None,
    };
    for pointer in 0..=60 {
        for code in [0, 2] {
            let found = translated_header(true, [12, code], [pointer, 0, 0, 0]);
            let expected = pointers_v4(pointer).map(|to| ([4, 0], [0, 0, 0, to]));
            assert_eq!(found, expected, "IPv4, {pointer}");
        }
        let found = translated_header(false, [4, 0], [0, 0, 0, pointer]);
        let expected = pointers_v6(pointer).map(|to| ([12, 0], [to, 0, 0, 0]));
        assert_eq!(found, expected, "IPv6, {pointer}");
    }
    assert_eq!(translated_header(true, [12, 1], [0; 4]), None);
    assert_eq!(translated_header(false, [4, 2], [0; 4]), None);
    assert_eq!(translated_header(false, [4, 0], [1, 0, 0, 6]), None);
    let no_such_protocol = translated_header(false, [4, 1], [0, 0, 0, 6]);
    assert_eq!(no_such_protocol, Some(([3, 2], [0; 4])));
}

/// The MTU that the receiver is told: less or more by the headers' difference, less by what is inserted, no more than
/// weir's own links take, and no less than every link of that version does.
#[test]
fn mtus() {
    let told = |is_ipv4, mtu: u16, n_inserted, most| {
        let [high, low] = mtu.to_be_bytes();
        let kind = if is_ipv4 { [3, 4] } else { [2, 0] };
        let path = PathMtu { n_inserted, most };
        let header = header(&error(is_ipv4, kind, [0, 0, high, low]), path).unwrap();
        u32::from_be_bytes([header[4], header[5], header[6], header[7]])
    };
    for (mtu, n_inserted, most, expected) in [
        (1400, 0, u16::MAX, 1420),
        (1400, 20, u16::MAX, 1400),
        (1500, 0, 1480, 1480),
        (1260, 0, u16::MAX, 1280),
        (576, 20, u16::MAX, 1280),
        // RFC 1191 §7: the quoted packet says 1,400.
        (0, 0, u16::MAX, 1280),
    ] {
        assert_eq!(told(true, mtu, n_inserted, most), expected, "IPv4, {mtu}");
    }
    for (mtu, n_inserted, most, expected) in [
        (1400, 0, u16::MAX, 1380),
        (1400, 8, u16::MAX, 1372),
        (1500, 0, 1400, 1400),
        (1280, 8, u16::MAX, 1252),
        (0, 0, u16::MAX, 68),
    ] {
        assert_eq!(told(false, mtu, n_inserted, most), expected, "IPv6, {mtu}");
    }
}

/// A router from before RFC 1191 names no MTU: the next of the usual ones below what was sent.
#[test]
fn an_mtu_of_none_is_guessed() {
    for (sent, expected) in [(9000, 8186), (2002, 1512), (1500, 1512), (1492, 1280)] {
        let mut frame = error(true, [3, 4], [0; 4]);
        frame[14 + 20 + 8 + 2..][..2].copy_from_slice(&u16::to_be_bytes(sent));
        let header = header(&frame, WIDE).unwrap();
        assert_eq!(header[4..], u32::to_be_bytes(expected), "{sent}");
    }
}

/// Translates an error to one about a packet from REAL to LOCAL of the other family.
fn translate_error(frame: &[u8], headroom: u16) -> Result<Vec<u8>, NoRoom> {
    let headers = Headers::parse(frame).unwrap();
    let (local, real) = if headers.is_ipv6() {
        (LOCAL_V4, REAL_V4)
    } else {
        (LOCAL_V6, REAL_V6)
    };
    let outer = key(Protocol::Tcp, local, real);
    let header = header(frame, WIDE).unwrap();
    let mut room = [vec![0xdd; usize::from(headroom)], frame.to_vec()].concat();
    let (mut start, mut len) = (headroom, frame.len() as u16);
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    let quoted = outer.turned();
    let result = translation::error(&mut packet, &headers, header, &outer, &quoted, 0x7777);
    let changed = packet.frame().to_vec();
    if result.is_err() {
        assert_eq!(changed, frame, "as it came in");
    }
    result.map(|()| changed)
}

/// Both IP headers are of the other version, the quoted one says what its sender's did, and every checksum is right.
#[test]
fn an_error_is_translated_with_what_it_quotes() {
    for is_ipv4 in [true, false] {
        let frame = error(is_ipv4, [3, 1], [0; 4]);
        let changed = translate_error(&frame, 40).unwrap();
        let read = assert_valid(&changed);
        let quoted = match read.net.unwrap() {
            NetHeaders::Ipv6(header, _) => {
                assert!(is_ipv4);
                assert_eq!(header.hop_limit, 16);
                let (quoted, rest) =
                    etherparse::Ipv6Header::from_slice(read.payload.slice()).unwrap();
                assert_eq!(quoted.payload_length, 1380, "of the whole packet");
                assert_eq!(quoted.hop_limit, 17);
                assert_eq!(quoted.next_header.0, 6);
                (quoted.source.to_vec(), rest.to_vec())
            }
            NetHeaders::Ipv4(header, _) => {
                assert!(!is_ipv4);
                assert_eq!(header.time_to_live, 16);
                let (quoted, rest) =
                    etherparse::Ipv4Header::from_slice(read.payload.slice()).unwrap();
                assert_eq!(quoted.header_checksum, quoted.calc_header_checksum());
                assert_eq!(quoted.total_len, 1380, "of the whole packet");
                assert_eq!(quoted.time_to_live, 17);
                assert_eq!(quoted.protocol.0, 6);
                (quoted.source.to_vec(), rest.to_vec())
            }
            NetHeaders::Arp(_) => panic!("no IP packet"),
        };
        let before = Headers::parse(&frame).unwrap();
        assert_eq!(quoted.1, frame[usize::from(before.quoted_l4)..]);
        let after = Headers::parse(&changed).unwrap();
        assert_eq!(
            after.key.destination().port(),
            80,
            "L4 ports are not touched"
        );
        let rest = if is_ipv4 { 40 } else { 0 };
        assert!(translate_error(&frame, rest).is_ok());
        if is_ipv4 {
            assert_eq!(translate_error(&frame, 39), Err(NoRoom));
        }
    }
}

/// RFC 4884: extensions stand behind a quotation of a told length. They go, and so does the length.
#[test]
fn extensions_go() {
    for (is_ipv4, kind, rest) in [
        (true, [11, 0], [0, 32, 0, 0]),
        (false, [3, 0], [16, 0, 0, 0]),
    ] {
        let mut frame = error(is_ipv4, kind, rest);
        let plain = translate_error(&error(is_ipv4, kind, [0; 4]), 40).unwrap();
        let changed = translate_error(&frame, 40).unwrap();
        assert_valid(&changed);
        assert_eq!(plain.len() - changed.len(), 200 - 128);
        // A length that cannot be says nothing.
        let length_at = if is_ipv4 { 14 + 20 + 5 } else { 14 + 40 + 4 };
        for length in [1, 255] {
            frame[length_at] = length;
            assert_eq!(translate_error(&frame, 40).unwrap(), plain);
        }
    }
}

/// RFC 4443 §2.4 (c): no more than 1,280 bytes.
#[test]
fn an_error_that_grows_is_cut() {
    let quoted = &tcp(VIP_V4, CLIENT_V4, acknowledging, &[], &[5; 1300])[14..];
    let frame = icmp(true, [3, 1], [0; 4], quoted);
    let changed = translate_error(&frame, 40).unwrap();
    assert_valid(&changed);
    assert_eq!(changed.len(), 14 + 1280);
}
