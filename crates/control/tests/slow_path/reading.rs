//! Reads frames with an independent decoder into lines that tests compare. Every checksum and multicast MAC address is
//! verified on the way.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::{
    ArpOperation, Icmpv4Slice, Icmpv6Slice, LinkSlice, NetSlice, SlicedPacket, TcpSlice,
    TransportSlice,
};

/// A MAC address as tests call it.
fn mac_name(mac: [u8; 6]) -> String {
    match mac {
        [2, 0, 0, 0, 0, 1] => "wan".into(),
        [2, 0, 0, 0, 0, 2] => "lan".into(),
        [2, 0, 0, 0, 0, n] => format!("host{n}"),
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff] => "all".into(),
        [0x33, 0x33, ..] => "group".into(),
        [0, 0, 0, 0, 0, 0] => "nobody".into(),
        other => panic!("no test uses {other:x?}"),
    }
}

/// One line that says what a frame says, and who sends it to whom.
pub(crate) fn read(frame: &[u8]) -> String {
    let packet = SlicedPacket::from_ethernet(frame).expect("weir sends whole frames");
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else {
        panic!("no Ethernet header")
    };
    let (from, to) = (ethernet.source(), ethernet.destination());
    let body = match packet.net.as_ref().expect("an ARP or IP packet") {
        NetSlice::Arp(arp) => {
            assert!(frame.len() >= 60, "padded");
            let arp = arp.to_packet().try_eth_ipv4().expect("IPv4 over Ethernet");
            assert_eq!(arp.sender_mac, from);
            let [sender, target] = [arp.sender_ipv4, arp.target_ipv4].map(Ipv4Addr::from);
            match arp.operation {
                ArpOperation::REQUEST => format!("arp {sender} asks for {target}"),
                ArpOperation::REPLY => {
                    assert_eq!(arp.target_mac, to);
                    format!("arp {sender} answers {target}")
                }
                other => panic!("{other:?}"),
            }
        }
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let (source, destination) = (header.source, header.destination);
            let ends = format!(
                "{} > {}",
                Ipv4Addr::from(source),
                Ipv4Addr::from(destination)
            );
            match packet.transport.as_ref().expect("whole") {
                TransportSlice::Tcp(tcp) => {
                    let checksum = tcp.calc_checksum_ipv4(source, destination);
                    assert_eq!(Ok(tcp.checksum()), checksum);
                    format!("{ends} {}", read_tcp(tcp))
                }
                TransportSlice::Icmpv4(icmp) => format!("{ends} {}", read_icmp(icmp)),
                other => panic!("{other:?}"),
            }
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header().to_header();
            let (source, destination) = (header.source, header.destination);
            let [a, b, c, d] = *destination.last_chunk().expect("16 bytes");
            assert_eq!(to == [0x33, 0x33, a, b, c, d], destination[0] == 0xff);
            let ends = format!(
                "{} > {}",
                Ipv6Addr::from(source),
                Ipv6Addr::from(destination)
            );
            match packet.transport.as_ref().expect("whole") {
                TransportSlice::Tcp(tcp) => {
                    let checksum = tcp.calc_checksum_ipv6(source, destination);
                    assert_eq!(Ok(tcp.checksum()), checksum);
                    format!("{ends} {}", read_tcp(tcp))
                }
                TransportSlice::Icmpv6(icmp) => {
                    assert!(icmp.is_checksum_valid(source, destination));
                    format!("{ends} {}", read_icmpv6(icmp, header.hop_limit))
                }
                other => panic!("{other:?}"),
            }
        }
    };
    format!("{body} [{} > {}]", mac_name(from), mac_name(to))
}

fn read_tcp(tcp: &TcpSlice<'_>) -> String {
    let mut line = format!("tcp {} > {}", tcp.source_port(), tcp.destination_port());
    for (is_set, name) in [(tcp.rst(), "RST"), (tcp.syn(), "SYN"), (tcp.fin(), "FIN")] {
        if is_set {
            write!(line, " {name}").unwrap();
        }
    }
    write!(line, " seq {}", tcp.sequence_number()).unwrap();
    if tcp.ack() {
        write!(line, " ack {}", tcp.acknowledgment_number()).unwrap();
    }
    line
}

fn read_icmp(icmp: &Icmpv4Slice<'_>) -> String {
    let words = icmp.slice().chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(sum, 0xffff, "the checksum of ICMP");
    let [_, _, high, low] = icmp.bytes5to8();
    match (icmp.type_u8(), icmp.code_u8()) {
        (0, 0) => format!("echo reply of {} bytes", icmp.payload().len()),
        (3, 1) => "host unreachable".into(),
        (3, 3) => "port unreachable".into(),
        (3, 4) => format!("fragmentation needed {}", u16::from_be_bytes([high, low])),
        (11, 0) => "time exceeded".into(),
        other => panic!("{other:?}"),
    }
}

fn read_icmpv6(icmp: &Icmpv6Slice<'_>, hop_limit: u8) -> String {
    let body = icmp.payload();
    let address = |at: usize| Ipv6Addr::from(*body[at..].first_chunk::<16>().expect("an address"));
    let word = icmp.bytes5to8();
    match (icmp.type_u8(), icmp.code_u8()) {
        (129, 0) => format!("echo reply of {} bytes", body.len()),
        (1, 3) => "address unreachable".into(),
        (1, 4) => "port unreachable".into(),
        (2, 0) => format!("too big {}", u32::from_be_bytes(word)),
        (3, 0) => "time exceeded".into(),
        (135, 0) => {
            assert_eq!(hop_limit, 255);
            let says = match body[16..] {
                [] => "nobody".into(),
                [1, 1, a, b, c, d, e, f] => mac_name([a, b, c, d, e, f]),
                _ => panic!("options"),
            };
            format!("ns {} by {says}", address(0))
        }
        (136, 0) => {
            assert_eq!(hop_limit, 255);
            let [2, 1, a, b, c, d, e, f] = body[16..] else {
                panic!("options")
            };
            let mut flags = String::new();
            for (bit, name) in [(0x80, 'r'), (0x40, 's'), (0x20, 'o')] {
                if word[0] & bit != 0 {
                    flags.push(name);
                }
            }
            let mac = mac_name([a, b, c, d, e, f]);
            format!("na {} at {mac} {flags}", address(0))
        }
        (143, 0) => {
            assert_eq!(hop_limit, 1);
            let mut line = String::from("report");
            for record in body.chunks(20) {
                let group = Ipv6Addr::from(*record.last_chunk::<16>().expect("a record"));
                write!(line, " {}:{group}", record[0]).unwrap();
            }
            line
        }
        other => panic!("{other:?}"),
    }
}
