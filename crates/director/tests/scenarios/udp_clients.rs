//! The client's address with datagrams of UDP: a PROXY header in each, or one of DPVS's forms in the first.

use weir_director::{ClientAddress, DropReason, PuntReason, Scheduler};
use weir_testkit::{FAMILIES, Family, IPV4, IPV6, IntoEndpoint, Rig, Site, proxied, udp};
use weir_wire::{Endpoint, Headers, Protocol, checksum};

use crate::conversation::{client, reply};

fn rig(client_address: ClientAddress) -> Rig {
    let families = FAMILIES;
    let site = Site::new().client_address(client_address);
    Rig::new(families.iter().fold(site, |site, family| {
        site.service(
            Protocol::Udp,
            family.vip,
            Scheduler::Rr,
            &[(family.real, 1)],
        )
    }))
}

fn is_ipv4(family: Family) -> bool {
    family.client.into_endpoint().is_ipv4()
}

/// Every datagram has it, not only the first; replies have none.
#[test]
fn a_proxy_header_goes_in_every_datagram() {
    for family in FAMILIES {
        let mut rig = rig(ClientAddress::ProxyV2);
        for data in [&b"odd"[..], b"even", b""] {
            let sent = rig.forward(&udp(family.client, family.vip).data(data));
            let read = proxied(sent.data()).expect("a PROXY header");
            let ends = (family.client.into_endpoint(), family.vip.into_endpoint());
            assert_eq!((read.version, read.is_udp), (2, true));
            assert_eq!((read.source, read.destination), ends);
            assert_eq!(read.data, data);
            let answer = reply(sent.destination, sent.source).data(b"answer");
            assert_eq!(rig.forward(&answer).data(), b"answer");
        }
    }
}

#[test]
fn a_datagram_that_does_not_fit_with_it_is_punted_with_the_right_mtu() {
    for (family, header) in [(IPV4, 28), (IPV6, 52)] {
        let mut rig = rig(ClientAddress::ProxyV2);
        let full = udp(family.client, family.vip).ip_bytes(1500);
        let mtu = 1500 - header;
        rig.send(&full).is_punted(PuntReason::TooBig { mtu });
        let fitting = udp(family.client, family.vip).ip_bytes(mtu.into());
        assert_eq!(rig.forward(&fitting).ip_bytes, 1500);
        let mut rig = rig.headroom(header - 1);
        rig.send(&fitting).is_dropped(DropReason::NoHeadroom);
    }
}

/// What a frame carries between its fixed IP header and UDP's, the number above IP, and the UDP datagram.
struct Read {
    protocol: u8,
    between: Vec<u8>,
    l4_ports: [u16; 2],
    data: Vec<u8>,
}

fn read(frame: &[u8]) -> Read {
    let is_ipv4 = frame[12..14] == [8, 0];
    let (fixed_end, l3_end, protocol) = if is_ipv4 {
        (34, 14 + usize::from(frame[14] & 15) * 4, frame[23])
    } else {
        (54, 54, frame[20])
    };
    let skipped = match protocol {
        17 => 0,
        248 => usize::from(u16::from_be_bytes([frame[l3_end + 2], frame[l3_end + 3]])),
        other => panic!("protocol {other}"),
    };
    let udp = &frame[l3_end + skipped..];
    let word = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    assert_eq!(usize::from(word(4)), udp.len(), "UDP's length");
    let pair = if is_ipv4 {
        &frame[26..34]
    } else {
        &frame[22..54]
    };
    let sum = checksum::pseudo_header(pair, 17, udp.len()) + checksum::Delta(checksum::sum(udp));
    assert_eq!(sum.0, 0xffff, "UDP's checksum");
    if is_ipv4 {
        assert_eq!(checksum::sum(&frame[14..l3_end]), 0xffff, "IP's checksum");
        let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        assert_eq!(total, frame.len() - 14);
    } else {
        let payload = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
        assert_eq!(payload, frame.len() - 54);
    }
    Read {
        protocol,
        between: frame[fixed_end..l3_end + skipped].to_vec(),
        l4_ports: [word(0), word(2)],
        data: udp[8..].to_vec(),
    }
}

fn option(client: Endpoint) -> Vec<u8> {
    let l4_port = client.port().to_be_bytes();
    match client.ip() {
        std::net::IpAddr::V4(ip) => [&[31, 8][..], &l4_port, &ip.octets()].concat(),
        std::net::IpAddr::V6(ip) => [&[31, 20][..], &l4_port, &ip.octets()].concat(),
    }
}

/// Protocol and bytes in between that a form has.
fn expected(form: ClientAddress, family: Family) -> (u8, Vec<u8>) {
    let option = option(family.client.into_endpoint());
    match (form, is_ipv4(family)) {
        (ClientAddress::UdpOption, true) => (17, option),
        (_, true) => (248, [&[0x10, 17, 0, 12][..], &option].concat()),
        (_, false) => (248, [&[0x20, 17, 0, 24][..], &option].concat()),
    }
}

const FORMS: [ClientAddress; 2] = [ClientAddress::UdpOption, ClientAddress::UdpHeader];

/// The first three datagrams of a flow have it, and of every other flow; replies never.
#[test]
fn the_first_three_datagrams_of_a_flow_tell() {
    for form in FORMS {
        for family in [IPV4, IPV6] {
            let mut rig = rig(form);
            for n in 0..6 {
                let query = udp(family.client, family.vip).data(b"query");
                let outcome = rig.send(&query);
                let sent = read(&outcome.frame);
                let told = (sent.protocol, sent.between);
                let nothing = (17, Vec::new());
                let right = if n < 3 {
                    expected(form, family)
                } else {
                    nothing
                };
                assert_eq!(told, right, "{form:?}, datagram {n}");
                assert_eq!(sent.data, b"query");
                assert_eq!(sent.l4_ports[1], family.real.into_endpoint().port());
                let real = family.real.into_endpoint();
                let local = Endpoint::new(family.local.into_endpoint().ip(), sent.l4_ports[0]);
                let answer = rig.forward(&reply(real, local).data(b"answer"));
                assert_eq!(answer.destination, family.client.into_endpoint());
            }
            let other = rig.send(&udp(client(family, 4242), family.vip));
            assert_ne!(read(&other.frame).between, b"");
        }
    }
}

/// A client's own option says nothing to a real server that would believe it, in no datagram.
#[test]
fn a_forged_option_does_not_pass() {
    let forged = option("203.0.113.66:666".into_endpoint());
    for kind in [
        ClientAddress::UdpOption,
        ClientAddress::UdpHeader,
        ClientAddress::ProxyV2,
        ClientAddress::None,
    ] {
        let mut rig = rig(kind);
        for _ in 0..5 {
            let query = udp(IPV4.client, IPV4.vip).ip_options(&forged);
            let sent = read(&rig.send(&query).frame);
            let is_there = sent.between.windows(8).any(|bytes| bytes == forged);
            assert!(!is_there, "{kind:?}");
        }
    }
}

/// What has no room in the IP header goes without, and is counted; it is not one of the three.
#[test]
fn without_room_it_is_left_out_and_counted() {
    let mut rig = rig(ClientAddress::UdpOption);
    let full = udp(IPV4.client, IPV4.vip).ip_options(&[1; 36]);
    assert_eq!(read(&rig.send(&full).frame).between, [1; 36]);
    assert_eq!(rig.directors[0].n_toa_omitted(), 1);
    for n in 0..4 {
        let sent = read(&rig.send(&udp(IPV4.client, IPV4.vip)).frame);
        assert_eq!(sent.between.is_empty(), n == 3);
    }
    let mut rig = rig.headroom(7);
    rig.send(&udp(client(IPV4, 7), IPV4.vip));
    assert_eq!(rig.directors[0].n_toa_omitted(), 2);
}

#[test]
fn a_datagram_that_does_not_fit_with_a_form_is_punted_with_the_right_mtu() {
    for form in FORMS {
        for family in [IPV4, IPV6] {
            let mut rig = rig(form);
            let growth = expected(form, family).1.len() as u16;
            let full = udp(family.client, family.vip).ip_bytes(1500);
            let mtu = 1500 - growth;
            rig.send(&full).is_punted(PuntReason::TooBig { mtu });
            let fitting = udp(family.client, family.vip).ip_bytes(mtu.into());
            for _ in 0..3 {
                assert_eq!(rig.send(&fitting).frame.len(), 1514);
            }
            assert_eq!(rig.forward(&full).ip_bytes, 1500, "no more is told");
        }
    }
}

/// Where nothing is said UDP goes as it came.
#[test]
fn toa_has_no_form_for_datagrams() {
    let mut rig = rig(ClientAddress::Toa);
    let sent = rig.send(&udp(IPV4.client, IPV4.vip).data(b"query"));
    let headers = Headers::parse(&sent.frame).unwrap();
    assert_eq!((headers.l4, sent.frame.len()), (34, 47));
}
