//! Incremental checksums against full recomputation.

use proptest::prelude::*;
use weir_wire::checksum::{self, Delta};
use weir_wire::{Headers, ParseError, ipv4, ipv6, tcp, udp};

use crate::frames::{self, CLIENT_V4, CLIENT_V6, FLOWS, VIP_V4, VIP_V6};

/// The sum as RFC 1071 §4.1 spells it: 16-bit words in network order, carries folded in at the end.
fn naive_sum(bytes: &[u8]) -> u16 {
    let mut total: u64 = 0;
    for pair in bytes.chunks(2) {
        total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    (total as u16).to_be()
}

/// Bytes in which 0x00 and 0xff, where one's complement has its two zeros, are common.
fn bytes(len: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0), Just(0xff), any::<u8>()], len)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_sum_is_the_naive_one(data in bytes(0..200)) {
        prop_assert_eq!(checksum::sum(&data), naive_sum(&data));
    }

    /// RFC 1624 §4 and §5: the mended field is the recomputed one, never the other zero.
    #[test]
    fn an_applied_delta_is_the_recomputed_checksum(
        mut data in bytes(20..80usize),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), bytes(1..9usize)), 1..4),
    ) {
        data[0] |= 1; // All zeros have a checksum that no edit can lead to.
        let before = u16::from_ne_bytes(checksum::of(&[&data]));
        let mut delta = Delta::default();
        for (at, new) in edits {
            let at = 1 + at.index(data.len() - new.len());
            let new = &new[..new.len().min(data.len() - at)];
            delta = delta + Delta::replacing(&data[at..at + new.len()], new).at(at);
            data[at..at + new.len()].copy_from_slice(new);
        }
        let after = u16::from_ne_bytes(checksum::of(&[&data]));
        prop_assert_eq!(delta.apply(before), after);
        prop_assert_eq!((-delta).apply(after), before, "undone");
    }

    #[test]
    fn a_udp_checksum_stays_absent_or_present(old in bytes(8), new in bytes(8), field in any::<u16>()) {
        let delta = Delta::replacing(&old, &new);
        let mut absent = [0, 0];
        delta.apply_to_udp(&mut absent);
        prop_assert_eq!(absent, [0, 0]);
        let leads_to_zero = match (-delta).apply(0) {
            0 => 0xffff,
            other => other,
        };
        let mut zero = leads_to_zero.to_ne_bytes();
        delta.apply_to_udp(&mut zero);
        prop_assert_eq!(zero, [0xff, 0xff], "the zero that says there is a checksum");
        let mut present = field.max(1).to_ne_bytes();
        delta.apply_to_udp(&mut present);
        prop_assert_ne!(present, [0, 0]);
        (-delta).apply_to_udp(&mut present);
        let (there, back) = (field.max(1), u16::from_ne_bytes(present));
        prop_assert!(there == back || (there % 0xffff == 0 && back % 0xffff == 0));
    }

    #[test]
    fn an_ipv4_rewrite_keeps_the_header_valid(addresses in any::<u64>(), ttl in 1u8.., growth in 0u16..60_000) {
        let source = "198.51.100.7".parse().unwrap();
        let destination = "192.0.2.100".parse().unwrap();
        let new = ipv4::NewHeader { source, destination, protocol: 6, ttl, payload_bytes: 77 };
        let mut header = new.write();
        let delta = Delta::replacing(&header[12..], &addresses.to_ne_bytes());
        ipv4::rewrite(&mut header, addresses, delta);
        ipv4::grow(&mut header, growth);
        prop_assert_eq!(header[8], ttl - 1);
        prop_assert_eq!(&header[2..4], &(97 + growth).to_be_bytes());
        prop_assert_eq!(&header[12..], &addresses.to_ne_bytes());
        let (read, _) = etherparse::Ipv4Header::from_slice(&header).unwrap();
        prop_assert_eq!(read.header_checksum, read.calc_header_checksum());
        ipv4::turn(&mut header, 64);
        let (read, _) = etherparse::Ipv4Header::from_slice(&header).unwrap();
        prop_assert_eq!(read.header_checksum, read.calc_header_checksum());
        prop_assert_eq!(read.time_to_live, 64);
        prop_assert_eq!(&[read.destination, read.source].concat()[..], &addresses.to_ne_bytes());
    }

    /// Both ends rewritten as FULLNAT does: one delta for the whole flow, found once, for any packet of it.
    #[test]
    fn a_packet_with_both_ends_rewritten_is_valid(
        data in bytes(0..64usize), addresses in any::<[u8; 8]>(), l4_ports in any::<[u8; 4]>(),
    ) {
        let datagram = frames::udp(CLIENT_V4, VIP_V4, &data);
        let segment = frames::tcp(CLIENT_V4, VIP_V4, frames::acknowledging, &[], &data);
        let of_addresses = Delta::replacing(&datagram[26..34], &addresses);
        let delta = of_addresses + Delta::replacing(&datagram[34..38], &l4_ports);
        for (is_tcp, mut frame) in [(false, datagram), (true, segment)] {
            let addresses = u64::from_ne_bytes(addresses);
            ipv4::rewrite(frame[14..].first_chunk_mut().unwrap(), addresses, of_addresses);
            if is_tcp {
                tcp::rewrite(frame[34..].first_chunk_mut().unwrap(), l4_ports, delta);
            } else {
                udp::rewrite(frame[34..].first_chunk_mut().unwrap(), l4_ports, delta);
            }
            prop_assert_eq!(&frame[34..38], &l4_ports);
            frames::assert_valid(&frame);
        }
    }
}

#[test]
fn an_ipv6_rewrite_replaces_addresses_and_counts_down() {
    let mut frame = frames::udp(CLIENT_V6, VIP_V6, &[1, 2, 3]);
    let [source, destination] = [[1u64, 2], [3, 4]];
    let new = [source, destination]
        .concat()
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect::<Vec<_>>();
    let delta = Delta::replacing(&frame[22..54], &new);
    ipv6::rewrite(frame[14..].first_chunk_mut().unwrap(), source, destination);
    delta.apply_to_udp(frame[60..].first_chunk_mut().unwrap());
    assert_eq!((&frame[22..54], frame[21]), (&new[..], 16));
    frames::assert_valid(&frame);
}

#[test]
fn full_verification_agrees_with_etherparse_and_sees_every_single_bit() {
    for (kind, frame) in frames::one_of_each_kind() {
        let headers = Headers::parse(&frame).unwrap();
        assert!(checksum::l4_is_right(&frame, &headers), "{kind}");
        if kind == "arp request" {
            continue;
        }
        for at in usize::from(headers.l4)..usize::from(headers.end) {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            let Ok(headers) = Headers::parse(&flipped) else {
                continue;
            };
            assert!(
                !checksum::l4_is_right(&flipped, &headers),
                "{kind}: byte {at}"
            );
            checksum::fill_l4(&mut flipped, &headers);
            assert!(
                checksum::l4_is_right(&flipped, &headers),
                "{kind}: byte {at}, filled"
            );
        }
    }
}

#[test]
fn filling_writes_what_etherparse_wrote() {
    for (client, vip) in FLOWS {
        for (field, frame) in [
            (
                16,
                frames::tcp(client, vip, frames::acknowledging, &[], b"odd"),
            ),
            (6, frames::udp(client, vip, b"odd")),
            (2, frames::echo_request(client, vip, b"odd")),
        ] {
            let headers = Headers::parse(&frame).unwrap();
            let mut filled = frame.clone();
            filled[usize::from(headers.l4) + field..][..2].fill(0x5a);
            checksum::fill_l4(&mut filled, &headers);
            assert_eq!(filled, frame);
        }
    }
}

#[test]
fn udp_without_checksum_is_right_over_ipv4_only() -> Result<(), ParseError> {
    for ((client, vip), is_right) in FLOWS.into_iter().zip([true, false]) {
        let mut frame = frames::udp(client, vip, b"data");
        let headers = Headers::parse(&frame)?;
        frame[usize::from(headers.l4) + 6..][..2].fill(0);
        assert_eq!(checksum::l4_is_right(&frame, &headers), is_right);
    }
    Ok(())
}
