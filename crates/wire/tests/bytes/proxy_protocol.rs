//! The header of the PROXY protocol, read back by the crate `ppp`, and bytes in front of data.

use ppp::{HeaderResult, v1, v2};
use weir_wire::proxy_protocol::{Header, MAX_BYTES, Version};
use weir_wire::{Endpoint, Headers, Packet, payload};

use crate::frames::{self, *};

/// Who the client is and whom it asked, as an independent reader has it, whether over UDP, and the header's bytes.
fn read(bytes: &[u8]) -> (Endpoint, Endpoint, bool, usize) {
    let end = |address: std::net::IpAddr, l4_port| Endpoint::new(address, l4_port);
    match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => {
            let header = header.unwrap();
            let len = header.header.len();
            let (from, to) = match header.addresses {
                v1::Addresses::Tcp4(of) => (
                    end(of.source_address.into(), of.source_port),
                    end(of.destination_address.into(), of.destination_port),
                ),
                v1::Addresses::Tcp6(of) => (
                    end(of.source_address.into(), of.source_port),
                    end(of.destination_address.into(), of.destination_port),
                ),
                v1::Addresses::Unknown => panic!("unknown"),
            };
            (from, to, false, len)
        }
        HeaderResult::V2(header) => {
            let header = header.unwrap();
            assert_eq!(header.command, v2::Command::Proxy);
            assert!(header.tlv_bytes().is_empty());
            let (from, to) = match header.addresses {
                v2::Addresses::IPv4(of) => (
                    end(of.source_address.into(), of.source_port),
                    end(of.destination_address.into(), of.destination_port),
                ),
                v2::Addresses::IPv6(of) => (
                    end(of.source_address.into(), of.source_port),
                    end(of.destination_address.into(), of.destination_port),
                ),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => panic!("no addresses"),
            };
            let is_udp = header.protocol == v2::Protocol::Datagram;
            (from, to, is_udp, header.len())
        }
    }
}

fn header_for(version: Version, frame: &[u8]) -> Header {
    Header::new(version, &Headers::parse(frame).unwrap().key)
}

#[test]
fn it_tells_both_ends_to_an_independent_reader() {
    for (client, vip) in FLOWS {
        let segment = tcp(client, vip, acknowledging, &[], &[]);
        let datagram = udp(client, vip, &[]);
        for (version, frame, is_udp) in [
            (Version::V1, &segment, false),
            (Version::V2, &segment, false),
            (Version::V2, &datagram, true),
        ] {
            let header = header_for(version, frame);
            let followed = [header.bytes(), b"GET /"].concat();
            let len = header.bytes().len();
            let expected = (endpoint(client), endpoint(vip), is_udp, len);
            assert_eq!(read(&followed), expected, "{version:?}");
            assert_eq!(usize::from(header.len_bytes()), len);
        }
    }
}

#[test]
fn version_1_is_a_line_of_text() {
    let line = |client, vip| {
        let header = header_for(Version::V1, &tcp(client, vip, acknowledging, &[], &[]));
        String::from_utf8(header.bytes().to_vec()).unwrap()
    };
    assert_eq!(
        line(CLIENT_V4, VIP_V4),
        "PROXY TCP4 198.51.100.7 192.0.2.100 40000 80\r\n"
    );
    assert_eq!(
        line(CLIENT_V6, VIP_V6),
        "PROXY TCP6 2001:db8:7::7 2001:db8:100::100 40000 80\r\n"
    );
    let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    let longest = line(longest, longest);
    assert!(longest.ends_with(":ffff 65535 65535\r\n") && longest.len() <= MAX_BYTES);
}

/// The packet with `bytes` in front of its data, grown at its front.
fn inserted(frame: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut room = [vec![0xdd; 128], frame.to_vec()].concat();
    let (mut start, mut len) = (128, frame.len() as u16);
    let headers = Headers::parse(frame).unwrap();
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    payload::insert(&mut packet, &headers, bytes).unwrap();
    packet.frame().to_vec()
}

/// Odd and even lengths of both, options or none: the data behind them may change its place in the checksum's words.
#[test]
fn bytes_in_front_of_data_leave_checksums_right() {
    for (client, vip) in FLOWS {
        for data in [&b""[..], b"odd", b"even", &[0xff; 9]] {
            for bytes in [&b"PROXY"[..], b"PROXY!", &[0; 3], &[0xff; 107]] {
                for options in [&[][..], &NOP_NOP_TIMESTAMPS] {
                    let frame = tcp(client, vip, acknowledging, options, data);
                    let changed = inserted(&frame, bytes);
                    let packet = frames::assert_valid(&changed);
                    assert_eq!(packet.payload.slice(), [bytes, data].concat());
                    assert_eq!(changed[..14], frame[..14]);
                }
                let changed = inserted(&udp(client, vip, data), bytes);
                let packet = frames::assert_valid(&changed);
                assert_eq!(packet.payload.slice(), [bytes, data].concat());
            }
        }
    }
}

/// What was corrupted on its way is still known to be.
#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], b"datum");
    *frame.last_mut().unwrap() ^= 1;
    let changed = inserted(&frame, b"odd");
    let headers = Headers::parse(&changed).unwrap();
    assert!(!weir_wire::checksum::l4_is_right(&changed, &headers));
}

/// A datagram without a checksum has none afterwards; padding of the frame is no data.
#[test]
fn no_checksum_and_padding_stay_what_they_are() {
    let mut frame = udp(CLIENT_V4, VIP_V4, b"hi");
    frame[40..42].fill(0);
    frame.resize(60, 0xee);
    let changed = inserted(&frame, b"front ");
    assert_eq!(changed[40..42], [0, 0]);
    let headers = Headers::parse(&changed).unwrap();
    assert_eq!(&changed[42..usize::from(headers.end)], b"front hi");
}

#[test]
fn without_room_nothing_changes() {
    let mut frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], b"data");
    let before = frame.clone();
    let headers = Headers::parse(&frame).unwrap();
    let (mut start, mut len) = (0, frame.len() as u16);
    let mut packet = Packet::new(&mut frame, &mut start, &mut len);
    assert!(payload::insert(&mut packet, &headers, b"x").is_err());
    assert_eq!(packet.frame(), before);
}

#[test]
fn data_is_cut_off() {
    for (client, vip) in FLOWS {
        for data in [&b""[..], b"odd", b"even", &[7; 500]] {
            let mut frame = tcp(client, vip, opening, &SYN_OPTIONS, data);
            let headers = Headers::parse(&frame).unwrap();
            assert_eq!(usize::from(payload::segment_bytes(&headers)), data.len());
            let (mut start, mut len) = (0, frame.len() as u16);
            let mut packet = Packet::new(&mut frame, &mut start, &mut len);
            let cut = payload::cut(&mut packet, &headers);
            assert_eq!(payload::segment_bytes(&cut), 0);
            let bare = tcp(client, vip, opening, &SYN_OPTIONS, &[]);
            assert_eq!(packet.frame(), bare);
        }
    }
}
