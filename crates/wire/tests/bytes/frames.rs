//! Frames made and judged by etherparse, an encoder and decoder that knows nothing of this crate.
#![allow(
    dead_code,
    reason = "two test programs share this file, each needs a part of it"
)]

use std::net::IpAddr;

use etherparse::{
    Ethernet2Header, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions,
    Ipv6FragmentHeader, Ipv6Header, NetHeaders, PacketBuilder, PacketBuilderStep, PacketHeaders,
    TcpHeader, TransportHeader, VlanId,
};
use weir_wire::Endpoint;
use weir_wire::ethernet::Mac;
use weir_wire::icmpv6::{listener, neighbour};

pub(crate) const CLIENT_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(crate) const OUR_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

pub(crate) const CLIENT_V4: &str = "198.51.100.7:40000";
pub(crate) const VIP_V4: &str = "192.0.2.100:80";
pub(crate) const CLIENT_V6: &str = "[2001:db8:7::7]:40000";
pub(crate) const VIP_V6: &str = "[2001:db8:100::100]:80";

/// Client and VIP of each family.
pub(crate) const FLOWS: [(&str, &str); 2] = [(CLIENT_V4, VIP_V4), (CLIENT_V6, VIP_V6)];

pub(crate) const NOP_NOP_TIMESTAMPS: [u8; 12] = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
/// What Linux puts on a SYN: MSS 1460, SACK permitted, timestamps, NOP, window scale.
pub(crate) const SYN_OPTIONS: [u8; 20] = [
    2, 4, 5, 180, 4, 2, 8, 10, 9, 9, 9, 9, 0, 0, 0, 0, 1, 3, 3, 7,
];

pub(crate) fn endpoint(text: &str) -> Endpoint {
    text.parse().unwrap()
}

pub(crate) fn ethernet() -> PacketBuilderStep<Ethernet2Header> {
    PacketBuilder::ethernet2(CLIENT_MAC.0, OUR_MAC.0)
}

/// An IP header without options, hop count 17.
pub(crate) fn ip(from: &str, to: &str) -> IpHeaders {
    match (endpoint(from).ip(), endpoint(to).ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => IpHeaders::Ipv4(
            Ipv4Header::new(0, 17, IpNumber::TCP, from.octets(), to.octets()).unwrap(),
            Ipv4Extensions::default(),
        ),
        (IpAddr::V6(from), IpAddr::V6(to)) => IpHeaders::Ipv6(
            Ipv6Header {
                source: from.octets(),
                destination: to.octets(),
                hop_limit: 17,
                ..Ipv6Header::default()
            },
            Ipv6Extensions::default(),
        ),
        _ => panic!("two families"),
    }
}

/// A segment; `edit` sets flags and numbers.
pub(crate) fn tcp(
    from: &str,
    to: &str,
    edit: impl FnOnce(&mut TcpHeader),
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    tcp_over(ip(from, to), from, to, edit, options, data)
}

pub(crate) fn tcp_over(
    ip: IpHeaders,
    from: &str,
    to: &str,
    edit: impl FnOnce(&mut TcpHeader),
    options: &[u8],
    data: &[u8],
) -> Vec<u8> {
    let mut header = TcpHeader::new(
        endpoint(from).port(),
        endpoint(to).port(),
        0x0102_0304,
        4096,
    );
    header.set_options_raw(options).unwrap();
    edit(&mut header);
    let mut frame = Vec::new();
    ethernet()
        .ip(ip)
        .tcp_header(header)
        .write(&mut frame, data)
        .unwrap();
    frame
}

pub(crate) fn acknowledging(header: &mut TcpHeader) {
    header.ack = true;
    header.acknowledgment_number = 0x0a0b_0c0d;
}

pub(crate) fn opening(header: &mut TcpHeader) {
    header.syn = true;
}

pub(crate) fn udp(from: &str, to: &str, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let step = ethernet()
        .ip(ip(from, to))
        .udp(endpoint(from).port(), endpoint(to).port());
    step.write(&mut frame, data).unwrap();
    frame
}

/// An SCTP packet with verification tag 7 and these bytes behind the common header.
pub(crate) fn sctp(from: &str, to: &str, chunks: &[u8]) -> Vec<u8> {
    let l4_ports = [from, to].map(|end| endpoint(end).port().to_be_bytes());
    let mut packet = [l4_ports.as_flattened(), &[0, 0, 0, 7, 0, 0, 0, 0], chunks].concat();
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum);
    let mut frame = Vec::new();
    let step = ethernet().ip(ip(from, to));
    step.write(&mut frame, IpNumber::SCTP, &packet).unwrap();
    frame
}

/// The checksum that an SCTP packet should have (RFC 9260 §6.8), by the crate `crc`.
pub(crate) fn crc32c(packet: &[u8]) -> [u8; 4] {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
    let mut digest = crc.digest();
    digest.update(&packet[..8]);
    digest.update(&[0; 4]);
    digest.update(&packet[12..]);
    digest.finalize().to_le_bytes()
}

pub(crate) fn echo_request(from: &str, to: &str, data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let step = ethernet().ip(ip(from, to));
    if endpoint(from).is_ipv4() {
        step.icmpv4_echo_request(7, 9)
            .write(&mut frame, data)
            .unwrap();
    } else {
        step.icmpv6_echo_request(7, 9)
            .write(&mut frame, data)
            .unwrap();
    }
    frame
}

/// An ICMP or ICMPv6 message of any type from a router to the VIP.
pub(crate) fn icmp(is_ipv4: bool, [kind, code]: [u8; 2], rest: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    if is_ipv4 {
        let step = ethernet().ip(ip("203.0.113.1:0", VIP_V4));
        step.icmpv4_raw(kind, code, rest)
            .write(&mut frame, data)
            .unwrap();
    } else {
        let step = ethernet().ip(ip("[2001:db8:f::1]:0", VIP_V6));
        step.icmpv6_raw(kind, code, rest)
            .write(&mut frame, data)
            .unwrap();
    }
    frame
}

pub(crate) fn with_extensions(fragment: Ipv6FragmentHeader) -> IpHeaders {
    let IpHeaders::Ipv6(header, _) = ip(CLIENT_V6, VIP_V6) else {
        panic!("no IPv6")
    };
    let options = etherparse::Ipv6RawExtHeader::new_raw(IpNumber(0), &[1, 4, 0, 0, 0, 0]).unwrap();
    let extensions = Ipv6Extensions {
        hop_by_hop_options: Some(options.clone()),
        destination_options: Some(options),
        fragment: Some(fragment),
        ..Ipv6Extensions::default()
    };
    IpHeaders::Ipv6(header, extensions)
}

pub(crate) fn atomic_fragment() -> Ipv6FragmentHeader {
    Ipv6FragmentHeader::new(IpNumber(0), etherparse::IpFragOffset::ZERO, false, 77)
}

/// One valid frame of each kind that is understood.
pub(crate) fn one_of_each_kind() -> Vec<(&'static str, Vec<u8>)> {
    let mut kinds = Vec::new();
    for (client, vip) in FLOWS {
        let is_ipv4 = endpoint(client).is_ipv4();
        let segment = tcp(
            client,
            vip,
            acknowledging,
            &NOP_NOP_TIMESTAMPS,
            b"GET / HTTP/1.1\r\n\r\n",
        );
        let quoted = &tcp(vip, client, acknowledging, &[], &[5; 40])[14..];
        let error = if is_ipv4 { [3, 4] } else { [2, 0] };
        kinds.push(("syn", tcp(client, vip, opening, &SYN_OPTIONS, &[])));
        kinds.push(("bare segment", tcp(client, vip, acknowledging, &[], &[])));
        kinds.push(("segment", segment));
        kinds.push(("datagram", udp(client, vip, &[3; 33])));
        kinds.push(("sctp packet", sctp(client, vip, &[0, 3, 0, 7, 1, 2, 3, 0])));
        kinds.push((
            "sctp cookie",
            sctp(client, vip, &[10, 0, 0, 6, 1, 2, 0, 0, 0, 3, 0, 4]),
        ));
        let quoted_sctp = &sctp(vip, client, &[6, 0, 0, 4])[14..];
        kinds.push((
            "icmp error about sctp",
            icmp(is_ipv4, error, [0, 0, 5, 100], quoted_sctp),
        ));
        kinds.push(("echo request", echo_request(client, vip, &[4; 56])));
        kinds.push(("icmp error", icmp(is_ipv4, error, [0, 0, 5, 100], quoted)));
        kinds.push((
            "short icmp error",
            icmp(is_ipv4, [1, 0], [0; 4], &quoted[..48.min(quoted.len())]),
        ));
    }
    let IpHeaders::Ipv4(mut header, _) = ip(CLIENT_V4, VIP_V4) else {
        panic!("no IPv4")
    };
    header.options = [1; 8].into();
    let with_options = IpHeaders::Ipv4(header, Ipv4Extensions::default());
    kinds.push((
        "segment with IP options",
        tcp_over(with_options, CLIENT_V4, VIP_V4, acknowledging, &[], &[6; 7]),
    ));
    kinds.push((
        "segment with extension headers",
        tcp_over(
            with_extensions(atomic_fragment()),
            CLIENT_V6,
            VIP_V6,
            acknowledging,
            &[],
            &[6; 7],
        ),
    ));
    let mut tagged = Vec::new();
    ethernet()
        .single_vlan(VlanId::ZERO)
        .ip(ip(CLIENT_V4, VIP_V4))
        .udp(40000, 80)
        .write(&mut tagged, &[8; 8])
        .unwrap();
    kinds.push(("priority-tagged datagram", tagged));
    let mut padded = tcp(CLIENT_V4, VIP_V4, acknowledging, &[], &[]);
    padded.resize(60, 0xee);
    kinds.push(("padded segment", padded));
    kinds.push(("arp request", arp().write(Mac::BROADCAST)));
    let solicitation = neighbour::Solicitation {
        source: "fe80::7".parse().unwrap(),
        target: "2001:db8:100::100".parse().unwrap(),
        source_mac: None,
    };
    kinds.push((
        "neighbour solicitation",
        solicitation.write(CLIENT_MAC, None),
    ));
    kinds.push((
        "neighbour advertisement",
        solicitation.answer(OUR_MAC, CLIENT_MAC),
    ));
    let reports = listener::reports(
        listener::Occasion::Joined,
        CLIENT_MAC,
        "fe80::7".parse().unwrap(),
        &["ff02::1:ff00:100".parse().unwrap()],
    );
    kinds.extend(
        reports
            .into_iter()
            .map(|report| ("listener report", report)),
    );
    kinds
}

pub(crate) fn arp() -> weir_wire::arp::Arp {
    weir_wire::arp::Arp {
        operation: weir_wire::arp::Operation::Request,
        sender_mac: CLIENT_MAC,
        sender: "192.0.2.1".parse().unwrap(),
        target_mac: Mac::default(),
        target: "192.0.2.100".parse().unwrap(),
    }
}

/// Panics unless etherparse can read the frame and finds every checksum in it right.
pub(crate) fn assert_valid(frame: &[u8]) -> PacketHeaders<'_> {
    let packet = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = packet.payload.slice();
    let found = packet.transport.clone();
    let mut right = found.clone();
    match (&packet.net, &mut right) {
        (Some(NetHeaders::Ipv4(ip, _)), Some(transport)) => {
            assert_eq!(
                ip.header_checksum,
                ip.calc_header_checksum(),
                "IPv4 header checksum"
            );
            transport.update_checksum_ipv4(ip, payload).unwrap();
        }
        (Some(NetHeaders::Ipv6(ip, _)), Some(transport)) => {
            transport.update_checksum_ipv6(ip, payload).unwrap();
        }
        _ => panic!("no IP packet"),
    }
    assert_eq!(found, right, "checksum above IP");
    packet
}

pub(crate) fn tcp_header(frame: &[u8]) -> TcpHeader {
    let Some(TransportHeader::Tcp(header)) = assert_valid(frame).transport else {
        panic!("no TCP segment");
    };
    header
}
