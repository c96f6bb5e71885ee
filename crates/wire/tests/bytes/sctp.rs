//! SCTP: what is read of a packet, and its CRC32c against another's.

use proptest::prelude::*;
use weir_wire::sctp::{self, Chunk};
use weir_wire::{Content, FlowKey, Headers, ParseError, Protocol};

use crate::frames::{self, CLIENT_V4, FLOWS, VIP_V4, endpoint, icmp};

fn parse(frame: &[u8]) -> Result<Headers, ParseError> {
    Headers::parse(frame)
}

/// What the chunks of a packet are understood to ask for.
fn chunk(chunks: &[u8]) -> Result<Chunk, ParseError> {
    let mut frame = frames::sctp(CLIENT_V4, VIP_V4, chunks);
    let headers = Headers::parse(&frame)?;
    // Padding is no part of the packet.
    frame.extend([6; 40]);
    Ok(sctp::chunk(&frame, &headers))
}

#[test]
fn a_packet_is_read_as_it_was_written() {
    for (client, vip) in FLOWS {
        let frame = frames::sctp(client, vip, &[1, 0, 0, 8, 1, 2, 3, 4]);
        let headers = parse(&frame).unwrap();
        let key = FlowKey::new(Protocol::Sctp, endpoint(client), endpoint(vip)).unwrap();
        assert_eq!((headers.key, headers.content), (key, Content::Sctp));
        assert_eq!(
            (headers.l3, usize::from(headers.end), headers.ttl),
            (14, frame.len(), 17)
        );
        assert_eq!(usize::from(headers.l4), frame.len() - 20);
        assert_eq!(headers.l4_header_bytes, 12);
        assert_eq!(weir_wire::sctp::chunk(&frame, &headers), Chunk::Init);
        assert!(!headers.tcp_flags.is_opening());
    }
}

/// RFC 9260 §3.2, and what IPVS takes for data.
#[test]
fn every_type_of_chunk_has_its_meaning() {
    for kind in 0..=u8::MAX {
        let expected = match kind {
            1 => Chunk::Init,
            2 => Chunk::InitAck,
            6 => Chunk::Abort,
            7 => Chunk::Shutdown,
            8 => Chunk::ShutdownAck,
            9 => Chunk::Error,
            10 => Chunk::CookieEcho,
            11 => Chunk::CookieAck,
            14 => Chunk::ShutdownComplete,
            _ => Chunk::Data,
        };
        assert_eq!(chunk(&[kind, 0, 0, 4]), Ok(expected), "{kind}");
    }
}

/// Behind COOKIE ECHO and COOKIE ACK alone, and only where it stands behind the chunk with its padding.
#[test]
fn an_abort_behind_a_cookie_is_an_abort() {
    const ABORT: [u8; 4] = [6, 0, 0, 4];
    let behind = |first: &[u8]| chunk(&[first, &ABORT].concat());
    assert_eq!(behind(&[10, 0, 0, 4]), Ok(Chunk::Abort));
    assert_eq!(behind(&[11, 0, 0, 4]), Ok(Chunk::Abort));
    assert_eq!(
        behind(&[10, 0, 0, 5, 9, 0, 0, 0]),
        Ok(Chunk::Abort),
        "padded"
    );
    assert_eq!(behind(&[1, 0, 0, 4]), Ok(Chunk::Init));
    assert_eq!(behind(&[0, 0, 0, 4]), Ok(Chunk::Data));
    for len in [0, 3, 5, 200] {
        assert_eq!(behind(&[10, 0, 0, len]), Ok(Chunk::CookieEcho), "{len}");
    }
    assert_eq!(
        chunk(&[10, 0, 0, 4, 0, 0, 0, 4]),
        Ok(Chunk::CookieEcho),
        "data goes with it"
    );
    assert_eq!(
        chunk(&[10, 0, 0, 4, 6, 0, 0]),
        Ok(Chunk::CookieEcho),
        "cut off"
    );
    assert_eq!(chunk(&[10, 0, 0xff, 0xff]), Ok(Chunk::CookieEcho));
}

#[test]
fn a_header_without_a_chunk_is_refused() {
    for (client, vip) in FLOWS {
        for n_bytes in 0..4 {
            let frame = frames::sctp(client, vip, &[0, 0, 0, 4][..n_bytes]);
            assert_eq!(parse(&frame).unwrap_err(), ParseError::SctpMalformed);
        }
        let mut frame = frames::sctp(client, vip, &[0, 0, 0, 4]);
        let l3_bytes = if frame[14] >> 4 == 4 { 2..4 } else { 4..6 };
        // The IP packet ends before the common header does; more bytes follow in the frame.
        frame[14 + l3_bytes.start + 1] -= 8;
        assert_eq!(parse(&frame).unwrap_err(), ParseError::SctpMalformed);
    }
}

#[test]
fn an_error_about_a_packet_is_found_by_its_flow() {
    for (client, vip) in FLOWS {
        let is_ipv4 = endpoint(client).is_ipv4();
        let quoted = frames::sctp(vip, client, &[0, 0, 0, 4]);
        // L4 ports and verification tag: all that RFC 792 promises.
        let quoted = &quoted[14..quoted.len() - 8];
        let kind = if is_ipv4 { [3, 3] } else { [1, 4] };
        let headers = parse(&icmp(is_ipv4, kind, [0; 4], quoted)).unwrap();
        let key = FlowKey::new(Protocol::Sctp, endpoint(client), endpoint(vip)).unwrap();
        assert_eq!((headers.content, headers.key), (Content::IcmpError, key));
    }
}

#[test]
fn the_checksum_is_the_one_of_rfc_9260() {
    for n_bytes in [4, 8, 244, 248, 1468, 65_516] {
        let mut packet = vec![7; 12];
        packet.extend((0..n_bytes).map(|n| (n % 251) as u8));
        sctp::fill_checksum(&mut packet);
        assert_eq!(packet[8..12], frames::crc32c(&packet));
        assert!(sctp::checksum_is_right(&packet));
        packet[0] ^= 1;
        assert!(!sctp::checksum_is_right(&packet));
    }
    assert!(!sctp::checksum_is_right(&[0; 11]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Of any length, chunks of whole words or not: right if and only if it was.
    #[test]
    fn a_rewritten_packet_has_a_right_checksum_if_it_had_one(
        mut packet in prop_oneof![
            proptest::collection::vec(any::<u8>(), 16..2000usize),
            proptest::collection::vec(any::<u8>(), 65_000..=65_515usize),
        ],
        l4_ports in any::<[u8; 4]>(),
        damage in prop_oneof![Just([0; 4]), any::<[u8; 4]>()],
    ) {
        let right = frames::crc32c(&packet);
        packet[8..12].copy_from_slice(&right);
        for (byte, damage) in packet[8..].iter_mut().zip(damage) {
            *byte ^= damage;
        }
        let before = packet.clone();
        let len_bytes = packet.len() as u16;
        sctp::rewrite(packet.first_chunk_mut().unwrap(), l4_ports, len_bytes);
        prop_assert_eq!(&packet[..4], &l4_ports);
        prop_assert_eq!(&packet[4..8], &before[4..8]);
        prop_assert_eq!(&packet[12..], &before[12..]);
        let is_right = packet[8..12] == frames::crc32c(&packet);
        prop_assert_eq!(is_right, damage == [0; 4]);
        sctp::rewrite(
            packet.first_chunk_mut().unwrap(),
            *before.first_chunk().unwrap(),
            len_bytes,
        );
        prop_assert_eq!(packet, before, "and back");
    }
}

/// Every other parameter stays, and so does everything in a packet that is cut off anywhere.
#[test]
fn addresses_in_init_are_hidden() {
    let parameters: [(u16, &[u8]); 5] = [
        (5, &[192, 0, 2, 1]),
        (6, &[1; 16]),
        (12, &[0, 5, 0, 6]),
        (11, b"host\0"),
        (7, &[9; 30]),
    ];
    let mut chunks = vec![1, 0, 0, 0];
    chunks.extend([7; 16]);
    for (kind, value) in parameters {
        chunks.extend(kind.to_be_bytes());
        chunks.extend((4 + value.len() as u16).to_be_bytes());
        chunks.extend(value);
        chunks.resize(chunks.len().next_multiple_of(4), 0);
    }
    let frame = frames::sctp(CLIENT_V4, VIP_V4, &chunks);
    let l4 = usize::from(parse(&frame).unwrap().l4);
    let mut packet = frame[l4..].to_vec();
    assert!(sctp::checksum_is_right(&packet));
    sctp::hide_addresses(&mut packet);
    assert!(sctp::checksum_is_right(&packet));
    let mut expected = frame[l4..].to_vec();
    for at in [32, 40, 68] {
        expected[at] = 0x80;
    }
    sctp::fill_checksum(&mut expected);
    assert_eq!(packet, expected);
    for len in 12..frame.len() - l4 {
        let mut cut = frame[l4..][..len].to_vec();
        sctp::hide_addresses(&mut cut);
        assert!(!sctp::checksum_is_right(&cut), "what was wrong stays wrong");
    }
}
