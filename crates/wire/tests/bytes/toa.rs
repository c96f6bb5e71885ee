//! The client's address in a TCP option.

use etherparse::{IpHeaders, Ipv4Extensions};
use proptest::prelude::*;
use weir_wire::toa::{self, Toa};
use weir_wire::{Headers, Packet};

use crate::frames::{self, *};

const KIND: u8 = 254;

/// Inserts into a frame that has `headroom` free bytes before it.
fn insert(frame: &[u8], headroom: u16) -> (Toa, Vec<u8>) {
    let mut room = [vec![0xdd; usize::from(headroom)], frame.to_vec()].concat();
    let (mut start, mut len) = (headroom, frame.len() as u16);
    let mut headers = Headers::parse(frame).unwrap();
    let mut packet = Packet::new(&mut room, &mut start, &mut len);
    let toa = toa::insert(&mut packet, &headers, KIND);
    let changed = packet.frame().to_vec();
    let again = Headers::parse(&changed).unwrap();
    if let Toa::Inserted(n_bytes) = toa {
        headers.end += n_bytes;
        headers.l4_header_bytes += n_bytes as u8;
        headers.tcp_options = weir_wire::tcp::Options::Any;
    }
    assert_eq!(
        format!("{headers:?}"),
        format!("{again:?}"),
        "every header begins where it did"
    );
    (toa, changed)
}

fn header_of(frame: &[u8]) -> &[u8] {
    let headers = Headers::parse(frame).unwrap();
    &frame[usize::from(headers.l4)..][..usize::from(headers.l4_header_bytes)]
}

#[test]
fn it_stands_right_after_the_fixed_header_and_moves_nothing_else() {
    for (client, vip) in FLOWS {
        for options in [&[][..], &NOP_NOP_TIMESTAMPS, &SYN_OPTIONS] {
            let frame = tcp(client, vip, acknowledging, options, b"odd");
            let (toa, changed) = insert(&frame, 64);
            let n_bytes = toa::len_bytes(&Headers::parse(&frame).unwrap());
            assert_eq!(toa, Toa::Inserted(n_bytes));
            assert_eq!(changed.len(), frame.len() + usize::from(n_bytes));
            assert_eq!(toa::read(header_of(&changed), KIND), Some(endpoint(client)));

            let header = tcp_header(&changed);
            let option = &header.options.as_slice()[..usize::from(n_bytes)];
            assert_eq!(&option[..4], &[KIND, n_bytes as u8, 0x9c, 0x40]);
            assert_eq!(&header.options.as_slice()[usize::from(n_bytes)..], options);
            let mut expected = tcp_header(&frame);
            expected.options = header.options.clone();
            expected.checksum = header.checksum;
            assert_eq!(header, expected);
            assert!(changed.ends_with(b"odd"));
            assert_eq!(changed[..14], frame[..14]);
        }
    }
}

#[test]
fn the_lengths_are_those_of_the_interface() {
    let (_, changed) = insert(&tcp(CLIENT_V4, VIP_V4, opening, &[], &[]), 8);
    assert_eq!(
        header_of(&changed)[20..],
        [254, 8, 0x9c, 0x40, 198, 51, 100, 7]
    );
    let (_, changed) = insert(&tcp(CLIENT_V6, VIP_V6, opening, &[], &[]), 20);
    let address = [0x20, 1, 0xd, 0xb8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    assert_eq!(
        header_of(&changed)[20..],
        [&[254, 20, 0x9c, 0x40][..], &address].concat()
    );
}

#[test]
fn ip_options_and_extension_headers_move_along() {
    // With 20 bytes of options an IPv4 header is as long as an IPv6 one.
    let v4 = [4, 12, 20, 40].map(|n_bytes| {
        let IpHeaders::Ipv4(mut header, _) = ip(CLIENT_V4, VIP_V4) else {
            panic!("no IPv4")
        };
        header.options = [1; 40][..n_bytes].try_into().unwrap();
        let ip = IpHeaders::Ipv4(header, Ipv4Extensions::default());
        (ip, (CLIENT_V4, VIP_V4))
    });
    let v6 = (with_extensions(atomic_fragment()), (CLIENT_V6, VIP_V6));
    for (ip, (client, vip)) in v4.into_iter().chain([v6]) {
        let frame = tcp_over(ip, client, vip, acknowledging, &[], b"data");
        let (toa, changed) = insert(&frame, 64);
        assert!(matches!(toa, Toa::Inserted(_)));
        assert_eq!(toa::read(header_of(&changed), KIND), Some(endpoint(client)));
        let l4 = usize::from(Headers::parse(&frame).unwrap().l4);
        assert_eq!(usize::from(Headers::parse(&changed).unwrap().l4), l4);
        assert_eq!(changed[34..l4], frame[34..l4]);
        frames::assert_valid(&changed);
    }
}

#[test]
fn padding_stays_padding() {
    let mut frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], &[]);
    frame.resize(60, 0xee);
    let (_, changed) = insert(&frame, 8);
    assert_eq!(
        (changed.len(), Headers::parse(&changed).unwrap().end),
        (68, 62)
    );
    frames::assert_valid(&changed);
}

#[test]
fn a_clients_own_option_never_passes() {
    let own = [254, 8, 0x11, 0x11, 10, 9, 8, 7];
    for n_nops in 0..4 {
        // Of the same length: overwritten; the rest of them blanked.
        let nops = [1].repeat(n_nops);
        let options = [&nops[..], &[254, 4, 6, 6], &own, &own, &[254, 2]].concat();
        let frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &options, b"data");
        let (toa, changed) = insert(&frame, 64);
        assert_eq!((toa, changed.len()), (Toa::Overwritten, frame.len()));
        assert_eq!(
            toa::read(header_of(&changed), KIND),
            Some(endpoint(CLIENT_V4))
        );
        let kinds = tcp_header(&changed)
            .options
            .as_slice()
            .iter()
            .filter(|b| **b == 254)
            .count();
        assert_eq!(kinds, 1, "the others are NOPs");
        frames::assert_valid(&changed);

        // Of another length: blanked, ours inserted.
        let frame = tcp(
            CLIENT_V6,
            VIP_V6,
            acknowledging,
            &[&nops[..], &own].concat(),
            b"data",
        );
        let (toa, changed) = insert(&frame, 64);
        assert_eq!(toa, Toa::Inserted(20));
        assert_eq!(
            toa::read(header_of(&changed), KIND),
            Some(endpoint(CLIENT_V6))
        );
        assert!(
            header_of(&changed)[40..]
                .iter()
                .all(|byte| [0, 1].contains(byte))
        );
        frames::assert_valid(&changed);
    }
}

#[test]
fn without_room_it_is_left_out_and_the_rest_is_as_it_was() {
    let full = [1; 36];
    let frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &full, b"data");
    assert_eq!(insert(&frame, 64), (Toa::NoSpace, frame), "in the header");
    let almost = [1; 32];
    let frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &almost, b"data");
    assert_eq!(insert(&frame, 64).0, Toa::Inserted(8));
    assert_eq!(insert(&frame, 7), (Toa::NoSpace, frame), "before the frame");

    let frame = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], &vec![0; 65_530 - 54]);
    assert_eq!(
        insert(&frame, 64),
        (Toa::NoSpace, frame),
        "in the IP packet"
    );

    let own = [[1; 28].as_slice(), &[254, 8, 1, 1, 10, 9, 8, 7]].concat();
    let frame = tcp(CLIENT_V6, VIP_V6, acknowledging, &own, b"data");
    let (toa, changed) = insert(&frame, 64);
    assert_eq!(toa, Toa::NoSpace);
    assert_eq!(
        header_of(&changed)[20..],
        [1; 36],
        "a forged one is blanked all the same"
    );
    frames::assert_valid(&changed);
}

#[test]
fn what_is_no_tcp_gets_none() {
    let frame = udp(CLIENT_V4, VIP_V4, b"a datagram of more than twenty bytes");
    assert_eq!(insert(&frame, 64), (Toa::NoSpace, frame));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Any options, any data: every length and checksum is right afterwards, data is as it was, and a reader finds
    /// the client or no option at all.
    #[test]
    fn any_segment_is_valid_afterwards(
        is_ipv4: bool,
        options in proptest::collection::vec(prop_oneof![Just(1u8), Just(254), Just(8), Just(20), any::<u8>()], 0..=40usize),
        data in proptest::collection::vec(any::<u8>(), 0..50usize),
        headroom in 0u16..40,
    ) {
        let (client, vip) = FLOWS[usize::from(!is_ipv4)];
        let frame = tcp(client, vip, acknowledging, &options, &data);
        let (toa, changed) = insert(&frame, headroom);
        prop_assert!(changed.ends_with(&data));
        let packet = frames::assert_valid(&changed);
        prop_assert_eq!(packet.payload.slice(), &data[..]);
        let read = toa::read(header_of(&changed), KIND);
        match toa {
            Toa::Inserted(n_bytes) => {
                prop_assert_eq!(changed.len(), frame.len() + usize::from(n_bytes));
                prop_assert_eq!(read, Some(endpoint(client)));
            }
            Toa::Overwritten => {
                prop_assert_eq!(changed.len(), frame.len());
                prop_assert_eq!(read, Some(endpoint(client)));
            }
            Toa::NoSpace => prop_assert_eq!(read, None),
        }
    }
}
