//! Edits on a TCP header, judged by etherparse; and the resets that weir sends.

use etherparse::TcpOptionElement;
use etherparse::TcpOptionElement::{
    MaximumSegmentSize, Noop, SelectiveAcknowledgement, Timestamp, WindowScale,
};
use proptest::prelude::*;
use weir_wire::{Headers, tcp};

use crate::frames::{self, *};

/// The header with its options, as the edits take it.
fn header_of(frame: &mut [u8]) -> &mut [u8] {
    let headers = Headers::parse(frame).unwrap();
    &mut frame[usize::from(headers.l4)..][..usize::from(headers.l4_header_bytes)]
}

fn segment(options: &[u8]) -> Vec<u8> {
    tcp(CLIENT_V4, VIP_V4, acknowledging, options, b"data")
}

fn options(frame: &[u8]) -> Vec<TcpOptionElement> {
    tcp_header(frame)
        .options_iterator()
        .map(Result::unwrap)
        .collect()
}

#[test]
fn the_sequence_number_is_shifted_and_wraps() {
    for by in [0, 1, 0x1_0000, 0xffff_ffff, 0x8000_0000] {
        let mut frame = segment(&NOP_NOP_TIMESTAMPS);
        tcp::shift_sequence(header_of(&mut frame), by);
        let header = tcp_header(&frame);
        assert_eq!(header.sequence_number, 0x0102_0304_u32.wrapping_add(by));
        assert_eq!(header.acknowledgment_number, 0x0a0b_0c0d);
    }
}

#[test]
fn the_acknowledgement_is_shifted_with_all_sack_edges_wherever_they_stand() {
    let sack = [
        5, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 3,
    ];
    for n_nops in 0..4 {
        let mut frame = segment(&[&[1].repeat(n_nops), &sack[..]].concat());
        let by = 0xffff_fffb;
        tcp::shift_acknowledgement(header_of(&mut frame), by);
        let header = tcp_header(&frame);
        assert_eq!(header.acknowledgment_number, 0x0a0b_0c08);
        assert_eq!(header.sequence_number, 0x0102_0304);
        let shifted =
            SelectiveAcknowledgement((5, 15), [Some((0xffff_ffeb, 0xffff_fffe)), None, None]);
        assert!(
            options(&frame).contains(&shifted),
            "{n_nops} NOPs before it"
        );
    }
}

#[test]
fn an_acknowledgement_that_is_none_is_not_shifted() {
    let untouched = tcp(CLIENT_V4, VIP_V4, opening, &SYN_OPTIONS, &[]);
    let mut frame = untouched.clone();
    tcp::shift_acknowledgement(header_of(&mut frame), 77);
    assert_eq!(frame, untouched);
}

#[test]
fn the_mss_is_lowered_down_to_64_and_never_raised() {
    for (mss, by, expected) in [
        (1460, 8, 1452),
        (1460, 1460, 64),
        (70, 20, 64),
        (64, 1, 64),
        (40, 8, 40),
        (536, 0, 536),
    ] {
        for n_nops in 0..4 {
            let [high, low] = u16::to_be_bytes(mss);
            let nops = [1].repeat(n_nops);
            let mut frame = segment(&[&nops[..], &[2, 4, high, low, 3, 3, 7]].concat());
            tcp::lower_mss(header_of(&mut frame), by);
            let expected = [MaximumSegmentSize(expected), WindowScale(7)];
            assert_eq!(options(&frame)[n_nops..][..2], expected);
        }
    }
    let untouched = segment(&NOP_NOP_TIMESTAMPS);
    let mut frame = untouched.clone();
    tcp::lower_mss(header_of(&mut frame), 8);
    assert_eq!(frame, untouched, "there is none");
}

#[test]
fn an_option_is_found_and_blanked_wherever_it_stands() {
    for n_nops in 0..5 {
        let nops = [1].repeat(n_nops);
        let mut frame = segment(&[&nops[..], &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 3, 3, 9]].concat());
        let header = header_of(&mut frame);
        assert_eq!(
            tcp::find_option(header, tcp::TIMESTAMPS),
            Some(20 + n_nops..30 + n_nops)
        );
        assert_eq!(tcp::find_option(header, 3), Some(30 + n_nops..33 + n_nops));
        assert_eq!(tcp::find_option(header, 254), None);
        assert_eq!(tcp::blank_option(header, tcp::TIMESTAMPS), 1);
        assert_eq!(tcp::blank_option(header, tcp::TIMESTAMPS), 0);
        assert_eq!(tcp::find_option(header, tcp::TIMESTAMPS), None);
        let options = options(&frame);
        assert_eq!(options[..n_nops + 10], vec![Noop; n_nops + 10]);
        assert_eq!(options[n_nops + 10], WindowScale(9));
    }
}

#[test]
fn every_option_of_a_kind_is_blanked() {
    let mut frame = segment(&[254, 3, 9, 1, 254, 2, 254, 8, 1, 2, 3, 4, 5, 6, 253, 2]);
    assert_eq!(tcp::blank_option(header_of(&mut frame), 254), 3);
    assert_eq!(
        header_of(&mut frame)[20..],
        [[1; 14].as_slice(), &[253, 2]].concat()
    );
    tcp_header(&frame);
}

#[test]
fn the_commonest_layout_is_known_without_a_walk() {
    let mut frame = segment(&NOP_NOP_TIMESTAMPS);
    assert_eq!(options(&frame)[2], Timestamp(0x0102_0304, 0x0506_0708));
    let header = header_of(&mut frame);
    assert_eq!(tcp::find_option(header, tcp::TIMESTAMPS), Some(22..32));
    assert_eq!(tcp::find_option(header, 254), None);
    assert_eq!(tcp::blank_option(header, 254), 0);
    assert_eq!(tcp::blank_option(header, tcp::TIMESTAMPS), 1);
    assert_eq!(options(&frame), vec![Noop; 12]);
}

#[test]
fn the_walk_ends_at_the_end_mark_and_at_lengths_that_cannot_be() {
    for hidden in [
        [0, 1, 254, 2],
        [7, 0, 254, 2],
        [7, 1, 254, 2],
        [7, 5, 254, 2],
    ] {
        let mut frame = segment(&hidden);
        let untouched = frame.clone();
        assert_eq!(
            tcp::find_option(header_of(&mut frame), 254),
            None,
            "{hidden:?}"
        );
        assert_eq!(tcp::blank_option(header_of(&mut frame), 254), 0);
        assert_eq!(frame, untouched);
    }
    let mut frame = segment(&[1, 1, 1, 254]);
    assert_eq!(
        tcp::find_option(header_of(&mut frame), 254),
        None,
        "a kind without a length"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Rubbish in the options: nothing panics, every checksum stays right, data stays as it was.
    #[test]
    fn any_options_keep_the_checksum_right(
        options in proptest::collection::vec(prop_oneof![0u8..12, Just(254), any::<u8>()], 0..=40usize),
        by: u32,
        kind in 2u8..,
    ) {
        let mut frame = segment(&options);
        let header = header_of(&mut frame);
        tcp::shift_sequence(header, by);
        tcp::shift_acknowledgement(header, by);
        tcp::lower_mss(header, by as u16);
        let found = tcp::find_option(header, kind);
        let n_blanked = tcp::blank_option(header, kind);
        prop_assert_eq!(found.is_some(), n_blanked > 0);
        prop_assert_eq!(tcp::find_option(header, kind), None);
        prop_assert!(frame.ends_with(b"data"));
        frames::assert_valid(&frame);
    }

    /// A header of any bytes and any length, as no parse would hand it over.
    #[test]
    fn no_header_is_too_short(mut header in proptest::collection::vec(any::<u8>(), 0..70usize), kind: u8) {
        tcp::shift_sequence(&mut header, 1);
        tcp::shift_acknowledgement(&mut header, 1);
        tcp::lower_mss(&mut header, 1);
        tcp::find_option(&header, kind);
        tcp::blank_option(&mut header, kind);
        weir_wire::toa::read(&header, kind);
    }
}

#[test]
fn a_reset_answers_an_acknowledgement_with_its_number() {
    for (client, vip) in FLOWS {
        let frame = tcp(client, vip, acknowledging, &NOP_NOP_TIMESTAMPS, b"data");
        let reset = tcp::reset(&frame, &Headers::parse(&frame).unwrap()).unwrap();
        assert_eq!(&reset[..12], &[CLIENT_MAC.0, OUR_MAC.0].concat());
        let header = tcp_header(&reset);
        assert!(header.rst && !header.ack && !header.syn && !header.fin);
        assert_eq!(
            (header.sequence_number, header.acknowledgment_number),
            (0x0a0b_0c0d, 0)
        );
        let headers = Headers::parse(&reset).unwrap();
        assert_eq!(headers.key, Headers::parse(&frame).unwrap().key.turned());
        assert_eq!((headers.ttl, usize::from(headers.end)), (64, reset.len()));
    }
}

#[test]
fn a_reset_acknowledges_all_of_what_acknowledged_nothing() {
    for (client, vip) in FLOWS {
        for (is_syn, is_fin, data, occupied) in [
            (true, false, "", 1),
            (true, false, "fast open", 10),
            (false, true, "bye", 4),
            (false, false, "x", 1),
        ] {
            let edit = |header: &mut etherparse::TcpHeader| {
                (header.syn, header.fin) = (is_syn, is_fin);
            };
            let frame = tcp(client, vip, edit, &SYN_OPTIONS, data.as_bytes());
            let reset = tcp::reset(&frame, &Headers::parse(&frame).unwrap()).unwrap();
            let header = tcp_header(&reset);
            assert!(header.rst && header.ack);
            assert_eq!(header.sequence_number, 0);
            assert_eq!(header.acknowledgment_number, 0x0102_0304 + occupied);
        }
    }
}

#[test]
fn padding_is_not_counted_as_data() {
    let mut frame = tcp(CLIENT_V4, VIP_V4, opening, &[], &[]);
    frame.resize(60, 0);
    let reset = tcp::reset(&frame, &Headers::parse(&frame).unwrap()).unwrap();
    assert_eq!(tcp_header(&reset).acknowledgment_number, 0x0102_0305);
}

#[test]
fn what_must_not_be_reset_is_not() {
    for (client, vip) in FLOWS {
        let nothing = |frame: &[u8]| {
            assert_eq!(tcp::reset(frame, &Headers::parse(frame).unwrap()), None);
        };
        nothing(&tcp(client, vip, |header| header.rst = true, &[], &[]));
        nothing(&udp(client, vip, &[]));
        let mut to_a_group = tcp(client, vip, opening, &[], &[]);
        to_a_group[0] |= 1;
        nothing(&to_a_group);
    }
    for (client, vip) in [
        ("0.0.0.0:1", VIP_V4),
        ("127.0.0.1:1", VIP_V4),
        ("224.0.0.1:1", VIP_V4),
        ("255.255.255.255:1", VIP_V4),
        (CLIENT_V4, "239.1.1.1:1"),
        ("[::]:1", VIP_V6),
        ("[ff02::1]:1", VIP_V6),
        (CLIENT_V6, "[ff02::1]:1"),
    ] {
        let frame = tcp(client, vip, opening, &[], &[]);
        assert_eq!(
            tcp::reset(&frame, &Headers::parse(&frame).unwrap()),
            None,
            "{client} {vip}"
        );
    }
}
