//! Packets that are larger than their way takes: cut into fragments where they allow it, else answered.

use weir_director::{DropReason, Encapsulation, IpvsSettings, PuntReason, Verdict, WorkerId};
use weir_testkit::{
    By, Decoded, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Outcome, Part, Rig, Site,
    cut, decode, real_server_mac, reassemble, tcp, udp,
};
use weir_wire::{Fragmenter, Protocol};

const MTU: u16 = 700;
const NUMBER: u32 = 0x1234;
const IPIP: By = By::Tun(Encapsulation::Ipip);

/// The ways to both real servers of each family take packets of [`MTU`] bytes.
fn site(by: By) -> Site {
    let site = Site::with_two_servers(by, &[Protocol::Tcp, Protocol::Udp]);
    ["10.0.0.11", "10.0.0.12", "fd00::11", "fd00::12"]
        .iter()
        .fold(site, |site, real| site.mtu(real, MTU))
}

fn rig(by: By) -> Rig {
    Rig::new(site(by))
}

/// A client's datagram of 1,400 bytes that may be fragmented. Its identification is [`NUMBER`].
fn datagram() -> FrameBuilder {
    udp(IPV4.client, IPV4.vip)
        .may_be_fragmented()
        .ip_bytes(1400)
}

/// The frames that leave for a packet that is to be cut.
#[track_caller]
fn parts(outcome: &Outcome) -> Vec<Vec<u8>> {
    assert_eq!(
        outcome.verdict,
        Verdict::Fragment {
            port: LAN,
            mtu: MTU
        }
    );
    let mut fragmenter = Fragmenter::new(&outcome.frame, MTU).unwrap();
    let mut room = Vec::new();
    let mut parts = Vec::new();
    while fragmenter.next_into(&mut room) {
        assert!(room.len() <= 14 + usize::from(MTU));
        parts.push(room.clone());
    }
    parts
}

/// The frames of the packet inside IP in IP, as it is put together behind the tunnel.
fn inner(parts: &[Vec<u8>]) -> Vec<u8> {
    let outer = reassemble(parts).unwrap();
    assert_eq!(outer[23], 4);
    [&outer[..14], &outer[34..]].concat()
}

#[track_caller]
fn whole(parts: &[Vec<u8>]) -> Decoded {
    decode(&reassemble(parts).unwrap())
}

/// As a router does (RFC 1812 §4.2.2.7), once the packet is rewritten.
#[test]
fn what_may_be_fragmented_is() {
    for by in [By::FullNat, By::Nat, By::Dr] {
        let mut rig = rig(by);
        let outcome = rig.send(&datagram());
        let parts = parts(&outcome);
        assert_eq!(parts.len(), 3);
        let there = whole(&parts);
        assert_eq!((there.ttl, there.data().len()), (63, 1400 - 28));
        let small = rig.forward(&udp(IPV4.client, IPV4.vip).data(b"small"));
        assert_eq!(
            (there.source, there.destination, there.destination_mac),
            (small.source, small.destination, small.destination_mac)
        );
        let segment = tcp(IPV4.client, IPV4.vip).syn().may_be_fragmented();
        let outcome = rig.send(&segment.ip_bytes(1000));
        assert_eq!(whole(&self::parts(&outcome)).segment().flags, "S");
    }
}

/// And what the real server sends, which may have a narrower way to the client.
#[test]
fn replies_are_cut_too() {
    for by in [By::FullNat, By::Nat] {
        let mut rig = Rig::new(site(by).mtu("192.0.2.1", MTU));
        let there = rig.forward(&udp(IPV4.client, IPV4.vip).data(b"ask"));
        let reply = udp(there.destination, there.source)
            .macs(real_server_mac(there.destination.ip()), LAN_MAC)
            .may_be_fragmented()
            .ip_bytes(1400);
        let outcome = rig.send(&reply);
        let mtu = MTU;
        assert_eq!(
            outcome.verdict,
            Verdict::Fragment {
                port: weir_testkit::WAN,
                mtu
            }
        );
        let told = decode(&outcome.frame);
        assert_eq!(
            (told.source, told.destination),
            (IPV4.vip.into_endpoint(), IPV4.client.into_endpoint())
        );
    }
}

/// Two clients that use the same identification must not meet at the real server.
#[test]
fn a_datagram_that_is_cut_has_a_number_of_its_own() {
    for (by, is_rewritten) in [(By::FullNat, true), (By::Nat, true), (By::Dr, false)] {
        let mut rig = rig(by);
        let mut numbers: Vec<u32> = ["198.51.100.7:1", "198.51.100.8:1", "198.51.100.7:2"]
            .iter()
            .map(|client| {
                let frame = udp(*client, IPV4.vip).may_be_fragmented().ip_bytes(1400);
                Part::read(&parts(&rig.send(&frame))[0]).datagram.1
            })
            .collect();
        numbers.sort_unstable();
        if is_rewritten {
            numbers.dedup();
            assert_eq!(numbers.len(), 3);
        } else {
            assert_eq!(numbers, [NUMBER; 3], "nothing is rewritten");
        }
    }
}

/// The transcript "TUN ipip", "same, no DF": it is the outer packet that is cut, as in IPVS.
#[test]
fn of_what_goes_through_a_tunnel_the_outer_packet_is_cut() {
    let kinds = [
        Encapsulation::Ipip,
        Encapsulation::Gre { checksum: true },
        Encapsulation::Gue {
            destination_port: 6080,
            checksum: true,
        },
    ];
    for (encapsulation, shim_bytes) in kinds.into_iter().zip([0, 8, 12]) {
        let mut rig = rig(By::Tun(encapsulation));
        // It fits but for the outer headers.
        let frame = udp(IPV4.client, IPV4.vip)
            .may_be_fragmented()
            .ip_bytes(usize::from(MTU));
        let parts = parts(&rig.send(&frame));
        assert_eq!(parts.len(), 2);
        let outer = reassemble(&parts).unwrap();
        assert_eq!(outer.len(), 14 + 20 + shim_bytes + usize::from(MTU));
        let inner = [&outer[..14], &outer[34 + shim_bytes..]].concat();
        let mut expected = frame.clone().ttl(63).bytes();
        expected[..14].copy_from_slice(&inner[..14]);
        assert_eq!(inner, expected, "untouched but for its TTL");
    }
}

#[test]
fn what_must_not_be_fragmented_is_answered() {
    for (by, growth) in [(By::FullNat, 0), (By::Nat, 0), (By::Dr, 0), (IPIP, 20)] {
        let mut rig = rig(by);
        let too_big = PuntReason::TooBig { mtu: MTU - growth };
        rig.send(&udp(IPV4.client, IPV4.vip).ip_bytes(1400))
            .is_punted(too_big);
        // Nobody but its sender cuts a packet of IPv6 (RFC 8200 §4.5).
        let growth = if growth == 0 { 0 } else { 40 };
        rig.send(&udp(IPV6.client, IPV6.vip).ip_bytes(1400))
            .is_punted(PuntReason::TooBig { mtu: MTU - growth });
    }
    // Nor what is inside one.
    let real = "[fd00::11]:80";
    let site = Site::new().by(IPIP).service(
        Protocol::Udp,
        IPV4.vip,
        weir_director::Scheduler::Rr,
        &[(real, 1)],
    );
    let mut rig = Rig::new(site.mtu("fd00::11", MTU));
    rig.send(&datagram())
        .is_punted(PuntReason::TooBig { mtu: MTU - 40 });
}

/// The transcript "DF, pmtu_disc=0": what TUN carries is fragmented whatever it says, and may be on its way.
#[test]
fn without_pmtu_disc_tunnels_take_everything() {
    let ipvs = IpvsSettings {
        fragments_tunnelled: true,
        ..IpvsSettings::default()
    };
    let mut rig = Rig::new(site(IPIP).ipvs(ipvs));
    let large = tcp(IPV4.client, IPV4.vip).syn().ip_bytes(1400);
    let inner = inner(&parts(&rig.send(&large)));
    assert_eq!(decode(&inner).ip_bytes, 1400);
    assert_eq!(inner[20] & 0x40, 0x40, "it says so still");
    // Whole ones may be fragmented elsewhere: they too are told apart.
    let numbers = [1, 2].map(|sequence| {
        let small = tcp(IPV4.client, IPV4.vip).seq(sequence).ack(1);
        let outcome = rig.send(&small);
        assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
        let outer = &outcome.frame[14..];
        assert_eq!(outer[6], 0, "no DF");
        assert!(weir_wire::ipv4::checksum_is_right(outer, 0, 20));
        [outer[4], outer[5]]
    });
    assert_ne!(numbers[0], numbers[1]);
    // Not what is inside another family's packet, nor what goes without a tunnel.
    rig.send(&udp(IPV6.client, IPV6.vip).ip_bytes(1400))
        .is_punted(PuntReason::TooBig { mtu: MTU - 40 });
    let mut rig = Rig::new(site(By::Dr).ipvs(ipvs));
    rig.send(&large).is_punted(PuntReason::TooBig { mtu: MTU });
}

/// Fragments may be too large themselves; what they are cut into is still of their datagram.
#[test]
fn fragments_are_cut_into_fragments() {
    for by in [By::FullNat, By::Nat, By::Dr] {
        let mut rig = rig(by);
        let whole_datagram = udp(IPV4.client, IPV4.vip).data_bytes(4000);
        let frames = cut(&whole_datagram.bytes(), NUMBER, 1400);
        let mut sent = Vec::new();
        for frame in &frames {
            let outcome = rig.receive(WorkerId(0), frame);
            if outcome.verdict == Verdict::Transmit(LAN) {
                sent.push(outcome.frame);
            } else {
                sent.extend(parts(&outcome));
            }
        }
        assert!(sent.len() > 6, "{}", sent.len());
        let there = whole(&sent);
        let expected: Vec<u8> = (0..4000).map(|n| n as u8).collect();
        assert_eq!(there.data(), expected);
    }
}

#[test]
fn what_is_wrong_is_not_cut_into_something_right() {
    let mut rig = rig(By::Dr);
    rig.forward(&udp(IPV4.client, IPV4.vip).data(b"small"));
    let mut wrong = datagram().bytes();
    wrong[24] ^= 1;
    rig.receive(WorkerId(0), &wrong)
        .is_dropped(DropReason::Ipv4ChecksumWrong);
    rig.send(&datagram().ttl(1))
        .is_punted(PuntReason::TtlExceeded);
    // A way on which not even eight bytes fit behind the header.
    rig.publish(|site| site.mtu("10.0.0.11", 27).mtu("10.0.0.12", 27));
    rig.send(&datagram())
        .is_punted(PuntReason::TooBig { mtu: 27 });
}
