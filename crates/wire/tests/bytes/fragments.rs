//! Fragments, byte by byte.

use weir_wire::{Content, Endpoint, Fragment, Headers, ParseError, Protocol, ipv4};

/// Ethernet and an IPv4 header without options, its checksum right, before `data`.
fn v4(protocol: u8, flags_and_offset: u16, data: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 20 + data.len() as u8, 0xab, 0xcd];
    ip.extend(flags_and_offset.to_be_bytes());
    ip.extend([64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 100]);
    let words = ip.chunks(2);
    let sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    [&[0; 12], &[8, 0][..], &ip, data].concat()
}

/// Ethernet, IPv6, perhaps hop-by-hop options, a fragment header, and `data`.
fn v6(has_options: bool, next_header: u8, bits: u16, data: &[u8]) -> Vec<u8> {
    let options: &[u8] = if has_options {
        &[44, 0, 1, 4, 0, 0, 0, 0]
    } else {
        &[]
    };
    let first = if has_options { 0 } else { 44 };
    let payload_bytes = (options.len() + 8 + data.len()) as u8;
    let mut frame = [
        &[0; 12],
        &[0x86, 0xdd, 0x60, 0, 0, 0, 0, payload_bytes, first, 64][..],
    ]
    .concat();
    frame.extend(1..=32);
    frame.extend(options);
    frame.extend([next_header, 0]);
    frame.extend(bits.to_be_bytes());
    frame.extend([0xde, 0xad, 0xbe, 0xef]);
    frame.extend(data);
    frame
}

/// The first 24 bytes of a datagram of 4,008: cport 40000, vport 80.
fn udp() -> Vec<u8> {
    let mut data = vec![0x9c, 0x40, 0, 80, 0x0f, 0xa8, 0, 0];
    data.extend([7; 16]);
    data
}

#[test]
fn a_first_fragment_has_the_headers_of_its_datagram() {
    for (frame, l4) in [
        (v4(17, 0x2000, &udp()), 34),
        (v6(false, 17, 1, &udp()), 62),
        (v6(true, 17, 1, &udp()), 70),
    ] {
        assert_eq!(Headers::parse(&frame).err(), Some(ParseError::Fragment));
        let fragment = Fragment::parse(&frame).unwrap();
        assert!(fragment.is_first() && fragment.more_follow);
        assert_eq!((fragment.offset, fragment.part_bytes), (0, 24));
        let headers = fragment.headers;
        assert_eq!((headers.l3, headers.l4, headers.end), (14, l4, l4 + 24));
        assert_eq!(
            (headers.content, headers.l4_header_bytes),
            (Content::Udp, 8)
        );
        let ends = (
            headers.key.source().port(),
            headers.key.destination().port(),
        );
        assert_eq!((ends, headers.ttl), ((40000, 80), 64));
        let parsed = Headers::parse_with_fragments(&frame).unwrap();
        assert_eq!(parsed.key, headers.key);
    }
}

/// Extension headers may stand behind the fragment header too: all in the first fragment (RFC 7112).
#[test]
fn what_is_behind_the_fragment_header_belongs_to_the_first() {
    let behind = [&[17, 0, 1, 4, 0, 0, 0, 0], &udp()[..]].concat();
    let fragment = Fragment::parse(&v6(true, 60, 1, &behind)).unwrap();
    assert_eq!((fragment.headers.l4, fragment.part_bytes), (78, 32));
    assert_eq!(fragment.headers.key.source().port(), 40000);
    let cut_off = [60, 0, 1, 4, 0, 0, 0, 0];
    assert_eq!(
        Fragment::parse(&v6(true, 60, 1, &cut_off)).err(),
        Some(ParseError::Ipv6ExtensionMalformed)
    );
    let twice = [&[17, 0, 0, 1, 0, 0, 0, 1], &udp()[..]].concat();
    assert_eq!(
        Fragment::parse(&v6(true, 44, 1, &twice)).err(),
        Some(ParseError::Ipv6ExtensionMalformed)
    );
}

#[test]
fn a_later_fragment_has_addresses_and_its_datagram() {
    let first = Fragment::parse(&v4(17, 0x2000, &udp())).unwrap();
    let later = Fragment::parse(&v4(17, 3, &[7; 5])).unwrap();
    assert_eq!(later.datagram, first.datagram);
    assert_eq!(
        (later.offset, later.part_bytes, later.more_follow),
        (24, 5, false)
    );
    assert_eq!(
        later.headers.key.source(),
        "192.0.2.1:0".parse::<Endpoint>().unwrap()
    );
    let other = Fragment::parse(&v4(6, 3, &[7; 5])).unwrap();
    assert_ne!(other.datagram, first.datagram, "of another protocol");

    let first = Fragment::parse(&v6(true, 17, 1, &udp())).unwrap();
    let later = Fragment::parse(&v6(true, 60, 24 | 1, &[7; 8])).unwrap();
    assert_eq!(later.datagram, first.datagram, "whatever the next header");
    assert_eq!(
        (later.offset, later.part_bytes, later.more_follow),
        (24, 8, true)
    );
    assert_eq!(later.headers.key.protocol(), Protocol::Udp);
}

#[test]
fn another_identification_keeps_the_header_checksum_right() {
    let mut frame = v4(17, 0x2000, &udp());
    let fragment = Fragment::parse(&frame).unwrap();
    fragment.renumber(&mut frame, 0x0007_1234);
    assert_eq!(frame[18..20], [0x12, 0x34]);
    assert!(ipv4::checksum_is_right(&frame, 14, 34));
    let mut frame = v6(true, 17, 1, &udp());
    let fragment = Fragment::parse(&frame).unwrap();
    fragment.renumber(&mut frame, 0x0007_1234);
    assert_eq!(frame[66..70], [0, 7, 0x12, 0x34]);
}

#[test]
fn what_no_datagram_is_cut_into_is_refused_by_name() {
    use ParseError::*;
    let tcp = |header_bytes: usize| {
        let mut data = vec![0; header_bytes];
        if let Some(offset) = data.get_mut(12) {
            *offset = 0x80;
        }
        data
    };
    for (frame, expected) in [
        (v4(17, 0x2000, &[0; 7]), FragmentMalformed),
        (v4(17, 0x2000, &[]), FragmentMalformed),
        (v4(17, 0x1fff, &[0; 8]), FragmentMalformed),
        (v4(17, 3, &[]), FragmentMalformed),
        (v6(false, 17, 1, &[0; 7]), FragmentMalformed),
        (v6(false, 17, 0xfff8, &[0; 8]), FragmentMalformed),
        // A TCP header with options of 12 bytes, cut off; UDP's fits into the smallest part there is.
        (v4(6, 0x2000, &tcp(8)), FragmentTooShort),
        (v4(6, 0x2000, &tcp(24)), FragmentTooShort),
        (v6(false, 6, 1, &tcp(24)), FragmentTooShort),
        (v4(17, 0x2000, &[0; 8]), UdpMalformed),
        (v4(6, 1, &[0; 8]), FragmentOverlaps),
        (v4(6, 2, &[0; 8]), FragmentOverlaps),
        (v6(false, 6, 16, &[0; 8]), FragmentOverlaps),
        // ICMP, SCTP.
        (v4(1, 0x2000, &[0; 8]), Fragment),
        (v4(132, 3, &[0; 8]), Fragment),
        (v6(false, 58, 1, &[0; 8]), Fragment),
        (v6(false, 58, 24, &[0; 8]), Fragment),
        (v4(17, 3, &[0; 8])[..41].to_vec(), Ipv4Truncated),
        (v6(true, 17, 1, &udp())[..80].to_vec(), Ipv6Truncated),
    ] {
        let parsed = weir_wire::Fragment::parse(&frame);
        assert_eq!(parsed.err(), Some(expected), "{frame:02x?}");
    }
    assert!(weir_wire::Fragment::parse(&v4(6, 0x2000, &tcp(32))).is_ok());
}
