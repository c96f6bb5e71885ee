//! A packet that is cut, byte by byte.

use weir_wire::{Fragmenter, ipv4};

/// Ethernet and an IPv4 packet with these options and this word of flags and offset, its checksum right.
fn packet(options: &[u8], bits: u16, n_bytes: usize) -> Vec<u8> {
    let header_bytes = 20 + options.len();
    let total_bytes = (header_bytes + n_bytes) as u16;
    let mut ip = vec![0x40 | (header_bytes / 4) as u8, 0x2e];
    ip.extend(total_bytes.to_be_bytes());
    ip.extend([0xab, 0xcd]);
    ip.extend(bits.to_be_bytes());
    ip.extend([63, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 100]);
    ip.extend(options);
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    ip.extend((0..n_bytes).map(|n| n as u8));
    [&[7; 12], &[8, 0][..], &ip].concat()
}

/// All fragments, each of which must be a right packet that fits: header, flags and offset, data.
fn cut(frame: &[u8], mtu: u16) -> Vec<(Vec<u8>, u16, Vec<u8>)> {
    let mut fragmenter = Fragmenter::new(frame, mtu).expect("it can be cut");
    let mut room = b"what was there before".to_vec();
    let mut parts = Vec::new();
    while fragmenter.next_into(&mut room) {
        assert_eq!(room[..14], frame[..14], "the Ethernet header");
        let ip = &room[14..];
        assert!(ip.len() <= usize::from(mtu));
        assert_eq!(u16::from_be_bytes([ip[2], ip[3]]), ip.len() as u16);
        assert_eq!((&ip[4..6], &ip[8..10]), (&frame[18..20], &frame[22..24]));
        assert_eq!((ip[1], &ip[12..20]), (0x2e, &frame[26..34]));
        let header_bytes = usize::from(ip[0] & 15) * 4;
        assert!(ipv4::checksum_is_right(ip, 0, header_bytes));
        let bits = u16::from_be_bytes([ip[6], ip[7]]);
        parts.push((
            ip[..header_bytes].to_vec(),
            bits,
            ip[header_bytes..].to_vec(),
        ));
    }
    parts
}

fn bits_and_lengths(parts: &[(Vec<u8>, u16, Vec<u8>)]) -> Vec<(u16, usize)> {
    parts
        .iter()
        .map(|(_, bits, data)| (*bits, data.len()))
        .collect()
}

fn data(parts: &[(Vec<u8>, u16, Vec<u8>)]) -> Vec<u8> {
    parts.iter().flat_map(|(.., data)| data.clone()).collect()
}

#[test]
fn all_but_the_last_are_multiples_of_eight() {
    let frame = packet(&[], 0, 3000);
    let parts = cut(&frame, 1500);
    assert_eq!(
        bits_and_lengths(&parts),
        [(0x2000, 1480), (0x2000 | 185, 1480), (370, 40)]
    );
    assert_eq!(data(&parts), frame[34..]);
    // What is left over of the MTU is not used, but for the last.
    let parts = cut(&packet(&[], 0, 105), 73);
    assert_eq!(
        bits_and_lengths(&parts),
        [(0x2000, 48), (0x2000 | 6, 48), (12, 9)]
    );
    let parts = cut(&packet(&[], 0, 101), 73);
    assert_eq!(bits_and_lengths(&parts), [(0x2000, 48), (6, 53)]);
    // As it is, if it fits.
    assert_eq!(
        bits_and_lengths(&cut(&packet(&[], 0, 100), 120)),
        [(0, 100)]
    );
}

/// A fragment is cut in the middle of its datagram; padding behind the packet is left out.
#[test]
fn a_fragment_keeps_its_place() {
    let mut middle = packet(&[], 0x2000 | 185, 1480);
    middle.extend([0xee; 6]);
    let parts = cut(&middle, 1000);
    assert_eq!(
        bits_and_lengths(&parts),
        [(0x2000 | 185, 976), (0x2000 | 307, 504)]
    );
    let last = packet(&[], 370, 1001);
    let parts = cut(&last, 1000);
    assert_eq!(bits_and_lengths(&parts), [(0x2000 | 370, 976), (492, 25)]);
    assert_eq!(data(&parts), last[34..]);
}

/// RFC 791 §3.1: those whose kind has the copied bit stand in every fragment, the others in the first.
#[test]
fn options_that_are_to_be_copied_are() {
    // No operation, record route (not copied), security (copied), end.
    let options = [1, 7, 7, 4, 1, 2, 3, 4, 0x82, 3, 9, 0];
    let frame = packet(&options, 0, 200);
    let parts = cut(&frame, 100);
    assert_eq!(parts[0].0[20..], options);
    for (header, ..) in &parts[1..] {
        assert_eq!(header[20..], [0x82, 3, 9, 0]);
    }
    assert_eq!(
        bits_and_lengths(&parts),
        [(0x2000, 64), (0x2000 | 8, 72), (17, 64)]
    );
    assert_eq!(data(&parts), frame[46..]);
    // Options that make no sense end the walk over them.
    for options in [
        [0x82, 0, 1, 2],
        [0x82, 9, 1, 2],
        [7, 1, 0x88, 2],
        [0, 0x82, 2, 0],
    ] {
        let frame = packet(&options, 0, 100);
        let parts = cut(&frame, 80);
        assert_eq!(data(&parts), frame[38..]);
        assert!(parts[1..].iter().all(|(header, ..)| header.len() <= 24));
    }
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let frame = packet(&[], 0, 100);
    assert!(Fragmenter::new(&frame, 27).is_none());
    assert!(Fragmenter::new(&frame, 28).is_some());
    assert!(Fragmenter::new(&frame[..100], 1000).is_none(), "cut off");
    let mut ipv6 = frame.clone();
    ipv6[12..14].copy_from_slice(&[0x86, 0xdd]);
    assert!(Fragmenter::new(&ipv6, 1000).is_none());
}
