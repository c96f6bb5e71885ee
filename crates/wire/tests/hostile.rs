//! Hostile bytes: every kind of valid frame, cut off anywhere, with bytes changed, with whole fields set to their
//! extremes; and rubbish. Nothing panics, nothing reaches outside the frame, edits leave what was valid valid.
//!
//! The numbers come from fixed seeds: what fails here fails everywhere.

#[path = "bytes/frames.rs"]
mod frames;

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use weir_wire::icmpv6::{listener, neighbour};
use weir_wire::tunnel::{Encapsulation, Tunnel};
use weir_wire::tunnel_error::TunnelError;
use weir_wire::{
    Content, FlowKey, Fragment, Fragmenter, Headers, Packet, arp, checksum, ethernet, icmp, icmpv6,
    ipv4, ipv6, sctp, tcp, toa, translation, udp,
};

const MUTATIONS_PER_KIND: usize = 4000;
const HEADROOM: u16 = 32;

/// Everything that may be done to a frame once it is parsed, as well as to one that is not.
fn exercise(frame: &[u8]) {
    read_loosely(frame);
    exercise_parts(frame);
    let Ok(headers) = Headers::parse(frame) else {
        return;
    };
    assert_promises(frame, &headers);
    let is_right = checksum::l4_is_right(frame, &headers);
    let _ = neighbour::parse(frame, &headers);
    listener::is_query(frame, &headers);
    answer(frame, &headers);
    edit(frame, headers, is_right);
    translate(frame, &headers, is_right);
}

/// The frame as a fragment, and made one: first, in the middle, last.
fn exercise_parts(frame: &[u8]) {
    exercise_part(frame);
    for bits in [[0x20, 0], [0x20, 3], [0, 1], [0x1f, 0xff]] {
        let mut part = frame.to_vec();
        if let Some(field) = part.get_mut(20..22) {
            field.copy_from_slice(&bits);
        }
        exercise_part(&part);
        // The fragment header in place of the first extension header, or of what IPv6 carries.
        if let (Some(20), Some(field)) = (part.get(20).map(|_| 20), frame.get(54..58)) {
            let mut part = frame.to_vec();
            part[20] = 44;
            part[54..58].copy_from_slice(&[field[0], 0, bits[0] << 3, bits[1]]);
            exercise_part(&part);
        }
    }
}

/// What `Fragment` promises.
fn exercise_part(frame: &[u8]) {
    for mtu in [28, 68, 1500] {
        let Some(mut fragmenter) = Fragmenter::new(frame, mtu) else {
            continue;
        };
        let mut room = Vec::new();
        while fragmenter.next_into(&mut room) {
            assert!(room.len() <= usize::from(mtu) + 18);
        }
    }
    let Ok(fragment) = Fragment::parse(frame) else {
        return;
    };
    let headers = &fragment.headers;
    let [l3, l4, end] = [headers.l3, headers.l4, headers.end].map(usize::from);
    assert!(l3 < l4 && l4 < end && end <= frame.len());
    assert!(usize::from(fragment.offset) + usize::from(fragment.part_bytes) < 1 << 16);
    assert!(!fragment.more_follow || fragment.part_bytes.is_multiple_of(8));
    if fragment.is_first() {
        assert!(l4 + usize::from(headers.l4_header_bytes) <= end);
        assert!(headers.l4_header_bytes >= 8);
    }
    let mut renumbered = frame.to_vec();
    fragment.renumber(&mut renumbered, 0x1234_5678);
    let other = Fragment::parse(&renumbered).expect("it is what it was");
    assert_eq!(
        (other.offset, other.part_bytes, other.headers.key),
        (fragment.offset, fragment.part_bytes, headers.key)
    );
    if !headers.is_ipv6() {
        assert_eq!(
            ipv4::checksum_is_right(frame, l3, l4),
            ipv4::checksum_is_right(&renumbered, l3, l4)
        );
    }
}

/// The parsers of each layer, at offsets that no parse found.
fn read_loosely(frame: &[u8]) {
    let _ = (
        ethernet::source(frame),
        ethernet::destination(frame),
        ethernet::parse(frame),
    );
    for l3 in [0, 13, 14, 18, frame.len(), frame.len() + 1] {
        let _ = (
            arp::Arp::parse(frame, l3),
            ipv4::parse(frame, l3),
            ipv6::parse(frame, l3),
        );
        let _ = (ipv4::parse_quoted(frame, l3), ipv6::parse_quoted(frame, l3));
        let _ = (ipv4::addresses(frame, l3), ipv6::addresses(frame, l3));
        ipv4::forbids_fragmentation(frame, l3);
        ipv4::checksum_is_right(frame, l3, l3 + 20);
        let rest = frame.get(l3..).unwrap_or_default();
        let _ = (
            tcp::parse(rest),
            udp::parse(rest),
            sctp::parse(rest),
            icmp::parse(rest),
            icmpv6::parse(rest),
        );
    }
}

/// What `Headers` promises.
fn assert_promises(frame: &[u8], headers: &Headers) {
    assert!(headers.l3 <= headers.l4 && headers.l4 <= headers.end);
    assert!(usize::from(headers.end) <= frame.len());
    assert!(headers.l4 + u16::from(headers.l4_header_bytes) <= headers.end);
    match headers.content {
        Content::Tcp => assert!((20..=60).contains(&headers.l4_header_bytes)),
        Content::Sctp => {
            assert_eq!(headers.l4_header_bytes, 12);
            assert!(headers.l4 + 16 <= headers.end, "a chunk");
        }
        Content::Udp | Content::Icmp => assert_eq!(headers.l4_header_bytes, 8),
        Content::IcmpError => {
            assert!(headers.quoted_l4 > headers.l4 && headers.quoted_l4 + 8 <= headers.end);
        }
        Content::Arp => assert_eq!(headers.l4_header_bytes, 0),
    }
}

/// Each answer that is made must itself be understood, and never be answered by a reset or an error in turn.
fn answer(frame: &[u8], headers: &Headers) {
    let v4 = "192.0.2.10".parse().unwrap();
    let v6 = "2001:db8::10".parse().unwrap();
    let errors = [
        icmp::error(
            frame,
            headers,
            v4,
            icmp::ErrorKind::FragmentationNeeded { mtu: 68 },
        ),
        icmpv6::error(
            frame,
            headers,
            v6,
            icmpv6::ErrorKind::PacketTooBig { mtu: 1280 },
        ),
    ];
    for error in errors.into_iter().flatten() {
        let read = Headers::parse(&error);
        assert!(headers.content == Content::Icmp || read.is_ok(), "{read:?}");
        if let Ok(headers) = read {
            assert!(checksum::l4_is_right(&error, &headers));
            let again = icmp::error(&error, &headers, v4, icmp::ErrorKind::PortUnreachable);
            assert_eq!(again, None);
            let again = icmpv6::error(&error, &headers, v6, icmpv6::ErrorKind::PortUnreachable);
            assert_eq!(again, None);
        }
    }
    if let Some(reset) = tcp::reset(frame, headers) {
        let headers = Headers::parse(&reset).unwrap();
        assert!(headers.tcp_flags.has(tcp::Flags::RST) && checksum::l4_is_right(&reset, &headers));
        assert_eq!(tcp::reset(&reset, &headers), None);
    }
    let mut reply = frame.to_vec();
    if icmp::echo_reply_in_place(&mut reply, headers)
        || icmpv6::echo_reply_in_place(&mut reply, headers)
    {
        assert!(checksum::l4_is_right(&reply, headers));
    }
}

/// Edits keep a right checksum right (and a wrong one wrong: what was damaged on the way stays noticeable).
fn edit(frame: &[u8], mut headers: Headers, is_right: bool) {
    let mut room = [&[0; HEADROOM as usize], frame].concat();
    let (mut start, mut len) = (HEADROOM, frame.len() as u16);
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    let toa = toa::insert(&mut packet, &headers, 254);
    if let toa::Toa::Inserted(n_bytes) = toa {
        headers.end += n_bytes;
        headers.l4_header_bytes += n_bytes as u8;
        headers.tcp_options = tcp::Options::Any;
    }
    assert!(headers.content == Content::Tcp || toa == toa::Toa::NoSpace);
    if headers.content == Content::Tcp {
        let l4 = usize::from(headers.l4);
        let header = &mut packet.frame_mut()[l4..l4 + usize::from(headers.l4_header_bytes)];
        tcp::shift_sequence(header, 0x1234_5678);
        tcp::shift_acknowledgement(header, 0x8765_4321);
        tcp::lower_mss(header, 8);
        tcp::blank_option(header, tcp::TIMESTAMPS);
    }
    if headers.content == Content::Sctp {
        let packet = &mut packet.frame_mut()[usize::from(headers.l4)..];
        let len_bytes = headers.end - headers.l4;
        sctp::rewrite(packet.first_chunk_mut().unwrap(), [1, 2, 3, 4], len_bytes);
    }
    assert_promises(packet.frame(), &headers);
    assert_eq!(checksum::l4_is_right(packet.frame(), &headers), is_right);
    let mut filled = packet.frame().to_vec();
    checksum::fill_l4(&mut filled, &headers);
    assert!(checksum::l4_is_right(&filled, &headers));
}

/// What crosses to the other IP version is understood there, and its checksum is right if it was.
fn translate(frame: &[u8], headers: &Headers, is_right: bool) {
    let (source, destination) = if headers.is_ipv6() {
        ("10.0.0.200:1024", "10.0.0.11:8080")
    } else {
        ("[fd00::200]:1024", "[fd00::11]:8080")
    };
    let [source, destination] = [source, destination].map(frames::endpoint);
    let ends = FlowKey::new(headers.key.protocol(), source, destination).unwrap();
    let mut room = [&[0; 40], frame].concat();
    let (mut start, mut len) = (40, frame.len() as u16);
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    match headers.content {
        Content::Tcp | Content::Udp | Content::Sctp
            if translation::is_translatable(frame, headers) =>
        {
            let sum = |key: &FlowKey| key.addresses_sum() + key.l4_ports_sum();
            let delta = sum(&ends) + -sum(&headers.key);
            translation::packet(&mut packet, headers, 0, &ends, delta, 1).unwrap();
            let after = Headers::parse(packet.frame()).unwrap();
            assert_eq!(after.key, ends);
            assert_eq!(checksum::l4_is_right(packet.frame(), &after), is_right);
        }
        Content::IcmpError => {
            let path = translation::PathMtu {
                n_inserted: 8,
                most: 1500,
            };
            if let Some(header) = translation::error_header(frame, headers, path) {
                let quoted = ends.turned();
                translation::error(&mut packet, headers, header, &ends, &quoted, 1).unwrap();
                let after = Headers::parse(packet.frame()).unwrap();
                assert_eq!(after.content, Content::IcmpError);
                assert_eq!(after.key.source().ip(), ends.source().ip());
                assert!(checksum::l4_is_right(packet.frame(), &after));
            }
        }
        Content::Tcp | Content::Udp | Content::Sctp | Content::Icmp | Content::Arp => {}
    }
}

/// An ICMP error from a router about each kind of frame in a tunnel over IPv4, and over IPv6.
fn errors_about(tunnels: &[Tunnel; 2], inner: &[u8]) -> [Vec<u8>; 2] {
    tunnels.map(|tunnel| {
        let headers = Headers::parse(inner).unwrap();
        let mut room = [&[0; 128], inner].concat();
        let (mut start, mut len) = (128, inner.len() as u16);
        let mut packet = Packet::new(&mut room, &mut start, &mut len);
        tunnel.encapsulate(&mut packet, &headers, 1, || 1).unwrap();
        let outer = &packet.frame()[14..];
        let payload_bytes = 8 + outer.len() as u16;
        let mac = [[0; 12].as_slice(), &packet.frame()[12..14]].concat();
        let (header, message) = match (tunnel.local(), tunnel.remote()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let header = ipv4::NewHeader {
                    source: remote,
                    destination: local,
                    protocol: icmp::PROTOCOL,
                    ttl: 64,
                    payload_bytes,
                };
                (header.write().to_vec(), [3, 4, 0, 0, 0, 0, 0, 30])
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let header = ipv6::NewHeader {
                    source: remote,
                    destination: local,
                    next_header: icmpv6::PROTOCOL,
                    hop_limit: 64,
                    payload_bytes,
                };
                (header.write().to_vec(), [2, 0, 0, 0, 0, 0, 0, 50])
            }
            _ => panic!("two families"),
        };
        [&mac, &header, &message[..], outer].concat()
    })
}

/// Everything that may be done with an error about a tunnel's packet; whether all of it could be done.
fn exercise_error(frame: &[u8], tunnel: &Tunnel) -> bool {
    let Some(error) = TunnelError::parse(frame) else {
        return false;
    };
    error.checksums_are_right(frame);
    let is_about = error.is_about(tunnel, frame);
    let Some(inner) = error.inner(tunnel, frame) else {
        return false;
    };
    for mtu in [None, error.path_mtu()] {
        let mut room = frame.to_vec();
        let (mut start, mut len) = (0, frame.len() as u16);
        let mut packet = Packet::new(&mut room, &mut start, &mut len);
        if error.tell_client(&mut packet, &inner, mtu).is_ok() {
            let told = packet.frame();
            let headers = Headers::parse(told).unwrap();
            assert!(checksum::l4_is_right(told, &headers));
            assert!(headers.content != Content::IcmpError || headers.key == inner.key.turned());
        }
    }
    is_about
}

#[test]
fn errors_about_every_kind_in_every_tunnel() {
    let ends = [("10.0.0.1", "10.0.0.11"), ("fd00::1", "fd00::11")];
    let gue = Encapsulation::Gue {
        destination_port: 6080,
        checksum: false,
    };
    let gre = Encapsulation::Gre { checksum: true };
    let mut n_whole = 0;
    for encapsulation in [Encapsulation::Ipip, gre, gue] {
        let tunnels = ends.map(|(local, remote)| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            Tunnel::new(local, remote, encapsulation).unwrap()
        });
        for (_, inner) in frames::one_of_each_kind() {
            let is_forwarded = Headers::parse(&inner)
                .is_ok_and(|headers| matches!(headers.content, Content::Tcp | Content::Udp));
            if !is_forwarded {
                continue;
            }
            let errors = errors_about(&tunnels, &inner);
            for (tunnel, whole) in tunnels.iter().zip(errors) {
                assert!(exercise_error(&whole, tunnel));
                n_whole += 1;
                for len in 0..whole.len() {
                    exercise_error(&whole[..len], tunnel);
                }
                for at in 0..whole.len() {
                    for value in [0, 1, 0x0f, 0x45, 0x60, 0x7f, 0x80, 0xff] {
                        let mut changed = whole.clone();
                        changed[at] = value;
                        exercise_error(&changed, tunnel);
                    }
                }
            }
        }
    }
    assert!(n_whole > 20, "{n_whole}");
}

#[test]
fn every_kind_unharmed() {
    for (_, frame) in frames::one_of_each_kind() {
        exercise(&frame);
    }
}

#[test]
fn every_kind_at_every_truncation() {
    for (kind, frame) in frames::one_of_each_kind() {
        let needed = Headers::parse(&frame).unwrap();
        for len in 0..frame.len() {
            exercise(&frame[..len]);
            let is_whole = len >= usize::from(needed.end);
            let is_arp = needed.content == Content::Arp && len >= 14 + arp::PACKET_BYTES;
            assert_eq!(
                Headers::parse(&frame[..len]).is_ok(),
                is_whole || is_arp,
                "{kind}: {len}"
            );
        }
    }
}

#[test]
fn every_kind_with_every_byte_at_its_extremes() {
    for (_, frame) in frames::one_of_each_kind() {
        for at in 0..frame.len() {
            for byte in [
                0,
                1,
                0x7f,
                0x80,
                0xfe,
                0xff,
                frame[at] ^ 1,
                frame[at].wrapping_add(1),
            ] {
                let mut changed = frame.clone();
                changed[at] = byte;
                exercise(&changed);
            }
        }
    }
}

#[test]
fn every_kind_mutated_thousands_of_times() {
    let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    for (_, frame) in frames::one_of_each_kind() {
        for _ in 0..MUTATIONS_PER_KIND {
            let mut changed = frame.clone();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..changed.len());
                match random.random_range(0..4) {
                    0 => changed[at] = random.random(),
                    1 => changed[at] ^= 1 << random.random_range(0..8),
                    2 => changed.insert(at, random.random()),
                    _ => changed.truncate(at.max(1)),
                }
            }
            exercise(&changed);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Rubbish behind an Ethernet header that lets it in.
    #[test]
    fn rubbish(
        ether_type in prop_oneof![Just([8, 0]), Just([0x86, 0xdd]), Just([8, 6]), Just([0x81, 0]), any::<[u8; 2]>()],
        first in prop_oneof![Just(0x45u8), Just(0x60), 0x45u8..0x50, any::<u8>()],
        protocol in prop_oneof![Just(1u8), Just(6), Just(17), Just(132), Just(58), Just(0), Just(43), Just(44), Just(60)],
        mut rest in proptest::collection::vec(any::<u8>(), 0..300usize),
        has_true_length: bool,
    ) {
        let len_bytes = rest.len();
        if let [version, _, len @ .., _, _] = &mut rest[..6.min(len_bytes)] && len.len() == 2 {
            *version = first;
            if has_true_length {
                len.copy_from_slice(&(len_bytes as u16).to_be_bytes());
            }
        }
        if len_bytes > 40 {
            rest[if first >> 4 == 6 { 6 } else { 9 }] = protocol;
            if has_true_length && first >> 4 == 6 {
                rest[4..6].copy_from_slice(&(len_bytes as u16 - 40).to_be_bytes());
            } else if has_true_length {
                rest[6..8].fill(0);
            }
        }
        let mut frame = vec![2; 12];
        frame.extend(ether_type);
        frame.extend(rest);
        exercise(&frame);
    }

    #[test]
    fn bytes_of_any_kind(frame in proptest::collection::vec(any::<u8>(), 0..200usize)) {
        exercise(&frame);
    }
}
