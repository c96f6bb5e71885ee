//! DPVS's two forms with UDP, read back field by field as its `uoa.c` does; headers and checksums by etherparse.

use etherparse::{IpHeaders, Ipv4Extensions, Ipv4Header, NetHeaders, PacketHeaders};
use weir_wire::uoa::{self, Form};
use weir_wire::{Headers, Packet};

use crate::frames::*;

/// The datagram with the client's address in it, and what is then said to be known of it.
fn insert(frame: &[u8], headroom: u16, form: Form) -> Option<(Vec<u8>, Headers)> {
    let mut room = [vec![0xdd; usize::from(headroom)], frame.to_vec()].concat();
    let (mut start, mut len) = (headroom, frame.len() as u16);
    let headers = Headers::parse(frame).unwrap();
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    let inserted = uoa::insert(&mut packet, &headers, form);
    if inserted.is_none() {
        assert_eq!(packet.frame(), frame);
    }
    inserted.map(|headers| (packet.frame().to_vec(), headers))
}

fn ipv4_header(frame: &[u8]) -> Ipv4Header {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let Some(NetHeaders::Ipv4(header, _)) = packet.net else {
        panic!("no IPv4 packet")
    };
    assert_eq!(header.header_checksum, header.calc_header_checksum());
    header
}

/// As a UDP datagram with IPv4 options.
fn with_options(options: &[u8], data: &[u8]) -> Vec<u8> {
    let IpHeaders::Ipv4(mut header, _) = ip(CLIENT_V4, VIP_V4) else {
        panic!("no IPv4")
    };
    header.options = options.try_into().unwrap();
    let mut frame = Vec::new();
    ethernet()
        .ip(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        .udp(40_000, 53)
        .write(&mut frame, data)
        .unwrap();
    frame
}

/// 31, 8, 40000, 198.51.100.7.
const OPTION: [u8; 8] = [31, 8, 0x9c, 0x40, 198, 51, 100, 7];

#[test]
fn the_option_is_the_first_of_the_ipv4_header() {
    let nops = [1, 1, 1, 0];
    for (frame, others) in [
        (udp(CLIENT_V4, VIP_V4, b"query"), &[][..]),
        (with_options(&nops, b"query"), &nops[..]),
    ] {
        let (changed, headers) = insert(&frame, 8, Form::Option).unwrap();
        let header = ipv4_header(&changed);
        assert_eq!(header.options.as_slice(), [&OPTION[..], others].concat());
        assert_valid(&changed);
        assert!(changed.ends_with(b"query"));
        let again = Headers::parse(&changed).unwrap();
        assert_eq!(format!("{headers:?}"), format!("{again:?}"));
        assert_eq!(changed.len(), frame.len() + 8);
    }
}

/// The header between is taken out as the module of the real server does it; what is left is the client's datagram,
/// its checksum right.
#[test]
fn the_header_stands_between_ip_and_udp() {
    let mut address = vec![31, 20, 0x9c, 0x40, 0x20, 1, 0xd, 0xb8, 0, 7];
    address.resize(19, 0);
    address.push(7);
    for (client, vip, version, option, l4) in [
        (CLIENT_V4, VIP_V4, 0x10, OPTION.to_vec(), 34),
        (CLIENT_V6, VIP_V6, 0x20, address, 54),
    ] {
        let frame = udp(client, vip, b"query");
        let n_bytes = 4 + option.len();
        let (mut changed, headers) = insert(&frame, n_bytes as u16, Form::Header).unwrap();
        assert_eq!(usize::from(headers.l4), l4 + n_bytes);
        assert_eq!(usize::from(headers.end), changed.len());
        let fixed = [version, 17, 0, n_bytes as u8];
        assert_eq!(changed[l4..][..n_bytes], [&fixed[..], &option].concat());
        let is_ipv4 = version == 0x10;
        if is_ipv4 {
            assert_eq!(ipv4_header(&changed).protocol.0, uoa::PROTOCOL);
            let total = u16::from_be_bytes([changed[16], changed[17]]);
            assert_eq!(usize::from(total), changed.len() - 14);
        } else {
            assert_eq!(changed[20], uoa::PROTOCOL);
            let payload = u16::from_be_bytes([changed[18], changed[19]]);
            assert_eq!(usize::from(payload), changed.len() - 54);
        }
        changed.drain(l4..l4 + n_bytes);
        let lengths = if is_ipv4 { 16..26 } else { 18..21 };
        changed[lengths.clone()].copy_from_slice(&frame[lengths]);
        assert_eq!(changed, frame);
    }
}

#[test]
fn without_room_it_is_left_out() {
    let full = with_options(&[1; 36], b"query");
    assert!(insert(&full, 64, Form::Option).is_none());
    assert!(insert(&full, 64, Form::Header).is_some());
    let frame = udp(CLIENT_V4, VIP_V4, b"query");
    assert!(insert(&frame, 7, Form::Option).is_none());
    assert!(insert(&frame, 11, Form::Header).is_none());
    let ipv6 = udp(CLIENT_V6, VIP_V6, b"query");
    assert!(insert(&ipv6, 64, Form::Option).is_none(), "not of IPv6");
    let segment = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], &[]);
    assert!(insert(&segment, 64, Form::Header).is_none());
}

/// A reader that does not stop at the end of the list, as DPVS's does not, finds none either.
#[test]
fn a_clients_own_option_is_blanked() {
    let other = [7, 4, 0, 0];
    for (options, expected) in [
        (
            [&OPTION[..], &other].concat(),
            [&[1; 8][..], &other].concat(),
        ),
        (
            [&other[..], &OPTION].concat(),
            [&other[..], &[1; 8]].concat(),
        ),
        ([&[0][..], &OPTION, &[0; 3]].concat(), vec![0; 12]),
        ([&[1, 1, 1, 1][..], &OPTION].concat(), vec![1; 12]),
        // A length that cannot be ends what can be read.
        ([&[7, 90, 0, 0][..], &OPTION].concat(), vec![1; 12]),
        ([&[7, 0, 0, 0][..], &OPTION].concat(), vec![1; 12]),
        (vec![31, 3, 9, 31], vec![1, 1, 1, 1]),
    ] {
        let mut frame = with_options(&options, b"query");
        let headers = Headers::parse(&frame).unwrap();
        uoa::blank(&mut frame, &headers);
        assert_eq!(ipv4_header(&frame).options.as_slice(), expected);
        assert_valid(&frame);
    }
}
