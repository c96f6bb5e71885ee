//! What one parse learns of a frame.

use etherparse::{IpHeaders, IpNumber, Ipv6FragmentHeader, PacketHeaders, TransportHeader};
use proptest::prelude::*;
use weir_wire::tcp::Flags;
use weir_wire::{Content, FlowKey, Headers, ParseError, Protocol};

use weir_wire::ethernet::Mac;

use crate::frames::{self, *};

#[test]
fn a_segment_is_read_as_it_was_written() {
    for (client, vip) in FLOWS {
        let frame = tcp(client, vip, acknowledging, &NOP_NOP_TIMESTAMPS, b"data");
        let headers = Headers::parse(&frame).unwrap();
        let key = FlowKey::new(Protocol::Tcp, endpoint(client), endpoint(vip)).unwrap();
        assert_eq!(headers.key, key);
        assert_eq!(headers.content, Content::Tcp);
        assert_eq!((headers.l3, usize::from(headers.end)), (14, frame.len()));
        assert_eq!(usize::from(headers.l4), frame.len() - 4 - 32);
        assert_eq!(
            (headers.l4_header_bytes, headers.ttl, headers.quoted_l4),
            (32, 17, 0)
        );
        assert_eq!(headers.tcp_flags, Flags::ACK);
        assert!(!headers.tcp_flags.is_opening());
        assert_eq!(headers.ip_bytes(), headers.end - 14);
    }
}

#[test]
fn a_datagram_is_read_as_it_was_written() {
    for (client, vip) in FLOWS {
        let frame = udp(client, vip, b"data");
        let headers = Headers::parse(&frame).unwrap();
        let key = FlowKey::new(Protocol::Udp, endpoint(client), endpoint(vip)).unwrap();
        assert_eq!((headers.key, headers.content), (key, Content::Udp));
        assert_eq!(
            (headers.l4_header_bytes, headers.tcp_flags),
            (8, Flags::default())
        );
    }
}

#[test]
fn only_a_plain_syn_opens() {
    let frame = tcp(CLIENT_V4, VIP_V4, opening, &SYN_OPTIONS, &[]);
    assert!(Headers::parse(&frame).unwrap().tcp_flags.is_opening());
    for flags in [Flags::ACK, Flags::RST, Flags::FIN] {
        assert!(!Flags(Flags::SYN.0 | flags.0).is_opening());
    }
    assert!(
        Flags(Flags::SYN.0 | 0xc8).is_opening(),
        "PSH, ECE and CWR are no obstacle (RFC 3168)"
    );
}

#[test]
fn padding_ends_no_packet() {
    let mut frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], &[]);
    frame.resize(60, 0xee);
    assert_eq!(Headers::parse(&frame).unwrap().end, 54);
}

#[test]
fn every_kind_has_its_content() {
    for (kind, frame) in frames::one_of_each_kind() {
        let expected = match kind {
            "syn" | "bare segment" | "segment" | "padded segment" => Content::Tcp,
            "segment with IP options" | "segment with extension headers" => Content::Tcp,
            "datagram" | "priority-tagged datagram" => Content::Udp,
            "sctp packet" | "sctp cookie" => Content::Sctp,
            "icmp error" | "icmp error about sctp" => Content::IcmpError,
            "short icmp error" if frame[14] >> 4 == 6 => Content::IcmpError,
            "arp request" => Content::Arp,
            _ => Content::Icmp,
        };
        assert_eq!(
            Headers::parse(&frame).map(|headers| headers.content),
            Ok(expected),
            "{kind}"
        );
    }
}

#[test]
fn an_error_is_found_by_the_packet_it_quotes_turned_round() {
    for (client, vip) in FLOWS {
        let is_ipv4 = endpoint(client).is_ipv4();
        let quoted = tcp(vip, client, acknowledging, &[], &[]);
        // IP header and 8 bytes: all that RFC 792 promises.
        let quoted = &quoted[14..quoted.len() - 12];
        for kind in if is_ipv4 {
            [3, 4, 11, 12]
        } else {
            [1, 2, 3, 4]
        } {
            let frame = icmp(is_ipv4, [kind, 0], [0; 4], quoted);
            let headers = Headers::parse(&frame).unwrap();
            assert_eq!(headers.content, Content::IcmpError, "type {kind}");
            let key = FlowKey::new(Protocol::Tcp, endpoint(client), endpoint(vip)).unwrap();
            assert_eq!(headers.key, key);
            assert_eq!(usize::from(headers.quoted_l4), frame.len() - 8);
            assert_eq!(usize::from(headers.end), frame.len());
        }
        let redirect = if is_ipv4 { 5 } else { 137 };
        let frame = icmp(is_ipv4, [redirect, 0], [0; 4], quoted);
        assert_eq!(Headers::parse(&frame).unwrap().content, Content::Icmp);
    }
}

#[test]
fn an_error_may_quote_a_first_fragment_but_no_later_one() {
    let mut first = udp(VIP_V4, CLIENT_V4, &[0; 16]);
    first[20] = 0x20;
    assert!(Headers::parse(&icmp(true, [3, 4], [0; 4], &first[14..])).is_ok());
    first[21] = 1;
    let later = icmp(true, [3, 4], [0; 4], &first[14..]);
    assert_eq!(
        Headers::parse(&later).unwrap_err(),
        ParseError::IcmpMalformed
    );

    for (offset, is_readable) in [(0, true), (3, false)] {
        let offset = etherparse::IpFragOffset::try_new(offset).unwrap();
        let fragment = Ipv6FragmentHeader::new(IpNumber(0), offset, true, 77);
        let frame = tcp_over(
            with_extensions(fragment),
            VIP_V6,
            CLIENT_V6,
            opening,
            &[],
            &[],
        );
        let frame = icmp(false, [2, 0], [0; 4], &frame[14..]);
        assert_eq!(Headers::parse(&frame).is_ok(), is_readable);
    }
}

#[test]
fn every_refusal_has_its_name() {
    let segment = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], b"data");
    let segment_v6 = tcp(CLIENT_V6, VIP_V6, acknowledging, &[], b"data");
    let datagram = udp(CLIENT_V4, VIP_V4, b"data");
    let edited = |frame: &[u8], edits: &[(usize, u8)]| {
        let mut frame = Vec::from(frame);
        edits.iter().for_each(|(at, byte)| frame[*at] = *byte);
        frame
    };
    let quoted_icmp = echo_request(VIP_V4, CLIENT_V4, &[]);
    let more = Ipv6FragmentHeader::new(IpNumber(0), etherparse::IpFragOffset::ZERO, true, 7);
    let mut tagged = segment.clone();
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    for (frame, refusal) in [
        (vec![0; 13], ParseError::EthernetTruncated),
        (
            edited(&segment[..16], &[(12, 0x81), (13, 0)]),
            ParseError::EthernetTruncated,
        ),
        (tagged, ParseError::VlanNotOurs),
        (
            edited(&segment, &[(12, 0x88), (13, 0xcc)]),
            ParseError::EtherTypeUnknown,
        ),
        (
            edited(&arp().write(OUR_MAC), &[(21, 9)]),
            ParseError::ArpMalformed,
        ),
        (edited(&segment, &[(14, 0x55)]), ParseError::Ipv4Malformed),
        (edited(&segment, &[(14, 0x44)]), ParseError::Ipv4Malformed),
        (edited(&segment, &[(17, 19)]), ParseError::Ipv4Malformed),
        (
            segment[..segment.len() - 1].to_vec(),
            ParseError::Ipv4Truncated,
        ),
        (
            edited(&segment_v6, &[(14, 0x45)]),
            ParseError::Ipv6Malformed,
        ),
        (segment_v6[..53].to_vec(), ParseError::Ipv6Malformed),
        (
            segment_v6[..segment_v6.len() - 1].to_vec(),
            ParseError::Ipv6Truncated,
        ),
        (
            edited(&segment_v6, &[(20, 60), (54, 6), (55, 9)]),
            ParseError::Ipv6ExtensionMalformed,
        ),
        (edited(&segment, &[(20, 0x20)]), ParseError::Fragment),
        (edited(&segment, &[(21, 0x08)]), ParseError::Fragment),
        (
            tcp_over(with_extensions(more), CLIENT_V6, VIP_V6, opening, &[], &[]),
            ParseError::Fragment,
        ),
        (edited(&segment, &[(23, 136)]), ParseError::ProtocolUnknown),
        (
            edited(&segment_v6, &[(20, 136)]),
            ParseError::ProtocolUnknown,
        ),
        (
            icmp(true, [3, 1], [0; 4], &quoted_icmp[14..]),
            ParseError::ProtocolUnknown,
        ),
        (edited(&segment, &[(46, 0x40)]), ParseError::TcpMalformed),
        (edited(&segment, &[(46, 0x70)]), ParseError::TcpMalformed),
        (sctp(CLIENT_V4, VIP_V4, &[0; 3]), ParseError::SctpMalformed),
        (edited(&datagram, &[(39, 7)]), ParseError::UdpMalformed),
        (edited(&datagram, &[(39, 13)]), ParseError::UdpMalformed),
        (
            icmp(true, [3, 1], [0; 4], &segment[14..41]),
            ParseError::IcmpMalformed,
        ),
        (
            icmp(false, [1, 1], [0; 4], &segment_v6[14..61]),
            ParseError::IcmpMalformed,
        ),
    ] {
        assert_eq!(
            Headers::parse(&frame).map(|h| h.content),
            Err(refusal),
            "{frame:02x?}"
        );
    }
}

#[test]
fn eight_extension_headers_are_enough_for_anybody() {
    for (n_extensions, is_ok) in [(8, true), (9, false)] {
        let mut frame = udp(CLIENT_V6, VIP_V6, &[]);
        let mut extensions = [[60, 0, 1, 4, 0, 0, 0, 0]].repeat(n_extensions);
        extensions[n_extensions - 1][0] = 17;
        frame[20] = 60;
        frame[19] += 8 * n_extensions as u8;
        frame.splice(54..54, extensions.into_iter().flatten());
        assert_eq!(Headers::parse(&frame).is_ok(), is_ok, "{n_extensions}");
    }
}

#[test]
fn offsets_do_not_wrap_in_a_frame_longer_than_they_can_say() {
    let mut frame = udp(CLIENT_V4, VIP_V4, &[0; 65_535 - 28]);
    assert_eq!(frame.len(), 65_535 + 14);
    assert_eq!(
        Headers::parse(&frame).unwrap_err(),
        ParseError::Ipv4Truncated
    );
    frame.truncate(40);
    assert_eq!(
        Headers::parse(&frame).unwrap_err(),
        ParseError::Ipv4Truncated
    );
}

#[test]
fn arp_is_read_as_it_was_written() {
    for operation in [
        weir_wire::arp::Operation::Request,
        weir_wire::arp::Operation::Reply,
    ] {
        let written = weir_wire::arp::Arp { operation, ..arp() };
        let frame = written.write(Mac([0xff; 6]));
        assert_eq!(frame.len(), 60);
        assert_eq!(&frame[..12], &[[0xff; 6], CLIENT_MAC.0].concat());
        assert_eq!(weir_wire::arp::Arp::parse(&frame, 14), Ok(written));
        assert_eq!(
            weir_wire::arp::Arp::parse(&frame[..41], 14),
            Err(ParseError::ArpMalformed)
        );
        let packet = PacketHeaders::from_ethernet_slice(&frame).unwrap();
        let Some(etherparse::NetHeaders::Arp(read)) = packet.net else {
            panic!("no ARP")
        };
        let read = etherparse::ArpEthIpv4Packet::try_from(read).unwrap();
        assert_eq!(read.sender_mac, CLIENT_MAC.0);
        assert_eq!(read.sender_ipv4, [192, 0, 2, 1]);
        assert_eq!(read.target_ipv4, [192, 0, 2, 100]);
        assert_eq!(
            read.operation == etherparse::ArpOperation::REQUEST,
            frame[21] == 1
        );
    }
    let mut by_a_group = arp().write(OUR_MAC);
    by_a_group[22] |= 1;
    assert_eq!(
        Headers::parse(&by_a_group).unwrap_err(),
        ParseError::ArpMalformed
    );
}

proptest! {
    /// Whatever etherparse can build, both read alike.
    #[test]
    fn etherparse_agrees(
        is_ipv4: bool, is_tcp: bool,
        l4_ports: (u16, u16),
        options in proptest::collection::vec(any::<u8>(), 0..=40usize),
        ip_options in 0..=10usize,
        data in proptest::collection::vec(any::<u8>(), 0..100usize),
        padding in 0..20usize,
    ) {
        let (client, vip) = FLOWS[usize::from(!is_ipv4)];
        let mut from = endpoint(client);
        let mut to = endpoint(vip);
        from.set_port(l4_ports.0);
        to.set_port(l4_ports.1);
        let mut ip = ip(client, vip);
        if let IpHeaders::Ipv4(header, _) = &mut ip {
            header.options = vec![1; ip_options * 4][..].try_into().unwrap();
        }
        let (from, to) = (from.to_string(), to.to_string());
        let mut frame = Vec::new();
        if is_tcp {
            frame = tcp_over(ip, &from, &to, acknowledging, &options, &data);
        } else {
            ethernet().ip(ip).udp(l4_ports.0, l4_ports.1).write(&mut frame, &data).unwrap();
        }
        let end = frame.len();
        frame.resize(end + padding, 0xee);

        let headers = Headers::parse(&frame).unwrap();
        let packet = frames::assert_valid(&frame);
        prop_assert_eq!(headers.key.source(), endpoint(&from));
        prop_assert_eq!(headers.key.destination(), endpoint(&to));
        prop_assert_eq!(usize::from(headers.end), end);
        prop_assert_eq!(packet.payload.slice(), &data[..]);
        let payload = usize::from(headers.l4) + usize::from(headers.l4_header_bytes);
        prop_assert_eq!(&frame[payload..end], &data[..]);
        match packet.transport {
            Some(TransportHeader::Tcp(_)) => prop_assert_eq!(headers.content, Content::Tcp),
            Some(TransportHeader::Udp(_)) => prop_assert_eq!(headers.content, Content::Udp),
            _ => prop_assert!(false),
        }
    }
}
