//! Fragmented datagrams: all parts reach the real server, or the client, that the whole would have reached.

use std::time::Duration;

use weir_director::{
    ClientAddress, DropReason, Encapsulation, HELD, NextHop, PuntReason, Scheduler, State, Verdict,
    WorkerId,
};
use weir_testkit::{
    By, Decoded, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN_MAC, Part, Random, Rig, Site,
    cut, cut_at, decode, icmp, raw, real_server_mac, reassemble, tcp, udp,
};
use weir_wire::{Endpoint, Protocol};

const FAMILIES: [Family; 2] = [IPV4, IPV6];
const METHODS: [By; 4] = [By::FullNat, By::Nat, By::Dr, By::Tun(Encapsulation::Ipip)];

fn rig(by: By, n_workers: u8) -> Rig {
    let protocols = [Protocol::Tcp, Protocol::Udp];
    Rig::new(Site::with_two_servers(by, &protocols).workers(n_workers))
}

/// Gives workers in turn these frames; returns those that left, in order, out of their tunnels.
#[track_caller]
fn pass(rig: &mut Rig, by: By, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let n_workers = rig.site.n_workers();
    let mut sent = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let outcome = rig.receive(WorkerId(n as u8 % n_workers), frame);
        match outcome.verdict {
            Verdict::Transmit(_) => sent.push(unwrapped(by, outcome.frame)),
            Verdict::Hold(_) => {}
            other => panic!("{other:?} of fragment {n}"),
        }
        for released in rig.take_released() {
            assert!(
                matches!(released.verdict, Verdict::Transmit(_)),
                "{released:?}"
            );
            sent.push(unwrapped(by, released.frame));
        }
    }
    assert_eq!(rig.take_ended(), []);
    sent
}

/// What travels in an outer packet, if the method puts it into one.
fn unwrapped(by: By, frame: Vec<u8>) -> Vec<u8> {
    let By::Tun(_) = by else { return frame };
    let (outer_bytes, protocol) = match frame[14] >> 4 {
        4 => (20, frame[23]),
        _ => (40, frame[20]),
    };
    let ether_type = match protocol {
        4 => [8, 0],
        41 => [0x86, 0xdd],
        other => panic!("not a tunnel's protocol: {other}"),
    };
    [&frame[..12], &ether_type, &frame[14 + outer_bytes..]].concat()
}

/// The datagram that these fragments are, which left one by one, the first one first.
#[track_caller]
fn whole(sent: &[Vec<u8>]) -> Decoded {
    assert_eq!(Part::read(&sent[0]).offset, 0, "the first one first");
    decode(&reassemble(sent).unwrap())
}

fn datagram(family: Family) -> FrameBuilder {
    udp(family.client, family.vip)
        .data_bytes(4000)
        .may_be_fragmented()
}

/// A real server's answer to a packet that it was sent.
fn answer(sent: &Decoded) -> FrameBuilder {
    let macs = (real_server_mac(sent.destination.ip()), LAN_MAC);
    udp(sent.destination, sent.source).macs(macs.0, macs.1)
}

fn orders(frames: &[Vec<u8>]) -> [Vec<Vec<u8>>; 4] {
    let [a, b, c] = frames else {
        panic!("three fragments: {}", frames.len())
    };
    [[a, b, c], [c, b, a], [b, a, c], [a, c, b]].map(|order| order.map(Vec::clone).to_vec())
}

/// In any order, by any method, between any workers, in both directions.
#[test]
fn all_fragments_go_the_way_of_the_datagram() {
    for (by, family) in METHODS
        .iter()
        .flat_map(|by| FAMILIES.map(|family| (*by, family)))
    {
        for n_workers in [1, 3] {
            let frames = cut(&datagram(family).bytes(), 7, 1400);
            for order in orders(&frames) {
                let mut rig = rig(by, n_workers);
                let sent = pass(&mut rig, by, &order);
                assert_eq!(sent.len(), 3);
                let there = whole(&sent);
                assert_eq!(there.ttl, 63);
                assert_eq!(there.data(), &frames_data(&frames)[8..]);
                // As a packet that is not cut: it goes on with the connection.
                let small = udp(family.client, family.vip).data(b"small");
                let small = rig.receive(WorkerId(0), &small.bytes());
                let small = decode(&unwrapped(by, small.frame));
                assert_eq!(
                    (there.source, there.destination, there.destination_mac),
                    (small.source, small.destination, small.destination_mac)
                );
                assert_eq!(rig.connections().len(), 1);
                if matches!(by, By::FullNat | By::Nat) {
                    let reply = cut(&answer(&there).data_bytes(3500).bytes(), 9, 1400);
                    for order in orders(&reply) {
                        let back = whole(&pass(&mut rig, by, &order));
                        assert_eq!(
                            (back.source, back.destination),
                            (family.vip.into_endpoint(), family.client.into_endpoint())
                        );
                        assert_eq!(back.data(), &frames_data(&reply)[8..]);
                    }
                }
                assert_eq!(rig.n_held(), 0);
            }
        }
    }
}

/// Of a persistent service: the first fragment may have to travel for the choice, and the others wait for it.
#[test]
fn fragments_follow_the_template() {
    for n_workers in [1, 2, 3] {
        for family in FAMILIES {
            let mask = match family.vip.contains('[') {
                true => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
                false => "255.255.255.255",
            };
            let servers = [(family.real, 1), (family.other_real, 1)];
            let site = Site::new()
                .workers(n_workers)
                .persistent(Duration::from_secs(300), mask)
                .service(Protocol::Udp, family.vip, Scheduler::Rr, &servers);
            let mut rig = Rig::new(site);
            let mut reals = Vec::new();
            for cport in 1000..1008 {
                let from = Endpoint::new(family.client.into_endpoint().ip(), cport);
                let datagram = udp(from, family.vip).data_bytes(4000).may_be_fragmented();
                let frames = cut(&datagram.bytes(), cport.into(), 1400);
                for order in orders(&frames) {
                    let there = whole(&pass(&mut rig, By::FullNat, &order));
                    assert_eq!(there.data(), &frames_data(&frames)[8..]);
                    reals.push(there.destination);
                }
            }
            reals.dedup();
            assert_eq!(reals.len(), 1, "{n_workers} workers: {reals:?}");
            assert_eq!(rig.n_held(), 0);
        }
    }
}

fn frames_data(frames: &[Vec<u8>]) -> Vec<u8> {
    frames
        .iter()
        .flat_map(|frame| Part::read(frame).bytes)
        .collect()
}

/// The transcript "fragments". IPVS has the kernel put the datagram together first, and so sends nothing at the first
/// fragment; weir sends what it has.
#[test]
fn both_fragments_leave_as_in_ipvs_but_the_first_does_not_wait() {
    let mut rig = rig(By::Nat, 1);
    let frames = cut(
        &udp(IPV4.client, IPV4.vip).data_bytes(2000).bytes(),
        7,
        1400,
    );
    assert!(matches!(
        rig.receive(WorkerId(0), &frames[0]).verdict,
        Verdict::Transmit(_)
    ));
    assert!(matches!(
        rig.receive(WorkerId(0), &frames[1]).verdict,
        Verdict::Transmit(_)
    ));
}

/// Any datagram, cut anywhere, its parts in any order and some of them twice, among those of others.
#[test]
fn any_datagram_arrives_as_it_was_sent() {
    for seed in 0..300 {
        let mut random = Random(seed + 1);
        let by = METHODS[random.below(4)];
        let family = FAMILIES[random.below(2)];
        let mut rig = rig(by, 1 + random.below(4) as u8);
        let mut clients = Vec::new();
        let mut mixed = Vec::new();
        for n in 0..1 + random.below(4) as u16 {
            let mut client = family.client.into_endpoint();
            client.set_port(2000 + n);
            let n_bytes = 100 + random.below(5000);
            let data = random.bytes(n_bytes);
            let mut frame = udp(client, family.vip).data(&data).may_be_fragmented();
            if random.percent(20) && family.ip_header_bytes == 40 {
                frame = frame.extensions();
            }
            let mut bounds: Vec<usize> = (0..1 + random.below(6))
                .map(|_| 8 * (2 + random.below((n_bytes / 8).min(170)) + 100 * random.below(3)))
                .collect();
            bounds.sort_unstable();
            bounds.dedup();
            // No part may be larger than the way.
            let mut edges: Vec<usize> = (1400..n_bytes + 40).step_by(1400).collect();
            edges.extend(bounds);
            edges.sort_unstable();
            edges.dedup();
            let frames = cut_at(&frame.bytes(), 1 + u32::from(n), &edges);
            if frames.len() == 1 {
                continue;
            }
            clients.push((client, data));
            mixed.extend(frames);
        }
        // No part twice: what comes behind the last one is of no datagram that is remembered.
        for n in (1..mixed.len()).rev() {
            mixed.swap(n, random.below(n + 1));
        }
        let sent = pass(&mut rig, by, &mixed);
        assert_eq!(sent.len(), mixed.len(), "seed {seed}");
        let mut datagrams: Vec<_> = sent
            .iter()
            .map(|frame| Part::read(frame).datagram)
            .collect();
        datagrams.sort();
        datagrams.dedup();
        assert_eq!(datagrams.len(), clients.len(), "seed {seed}");
        let mut arrived: Vec<Vec<u8>> = Vec::new();
        for datagram in datagrams {
            let of_it = sent
                .iter()
                .filter(|frame| Part::read(frame).datagram == datagram);
            let of_it: Vec<Vec<u8>> = of_it.cloned().collect();
            arrived.push(whole(&of_it).data().to_vec());
        }
        let mut expected: Vec<Vec<u8>> = clients.into_iter().map(|(_, data)| data).collect();
        arrived.sort();
        expected.sort();
        assert_eq!(arrived, expected, "seed {seed}");
    }
}

/// Two clients that happen to use the same identification, and one that uses two.
#[test]
fn no_two_datagrams_meet_at_the_real_server() {
    for family in FAMILIES {
        for (by, n_workers) in [(By::FullNat, 1), (By::FullNat, 3), (By::Nat, 1)] {
            let mut rig = rig(by, n_workers);
            let mut other = family.client.into_endpoint();
            other.set_ip(if family.ip_header_bytes == 20 {
                "198.51.100.8".parse().unwrap()
            } else {
                "2001:db8:7::8".parse().unwrap()
            });
            let frames: [Vec<Vec<u8>>; 3] = [
                (family.client.into_endpoint(), 7, 1),
                (other, 7, 2),
                (family.client.into_endpoint(), 8, 3),
            ]
            .map(|(client, identification, filling)| {
                let whole = udp(client, family.vip).data(&[filling; 3000]);
                cut(&whole.bytes(), identification, 1400)
            });
            let all: Vec<Vec<u8>> = (0..3)
                .flat_map(|n| [0, 1, 2].map(|client: usize| frames[client][n].clone()))
                .collect();
            let sent = pass(&mut rig, by, &all);
            let sent: [Vec<Vec<u8>>; 3] =
                [0, 1, 2].map(|client| sent.iter().skip(client).step_by(3).cloned().collect());
            let identifications = sent.each_ref().map(|sent| Part::read(&sent[0]).datagram.1);
            let [a, b, c] = identifications;
            assert!(a != b && b != c && a != c, "{identifications:?}");
            for (sent, filling) in sent.iter().zip(1..) {
                assert_eq!(whole(sent).data(), [filling; 3000]);
            }
        }
    }
}

/// The same number again, once all of a datagram went on, is another datagram's.
#[test]
fn an_identification_may_be_used_again() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 2);
        for filling in 0..20 {
            let datagram = udp(family.client, family.vip).data(&[filling; 3000]);
            let mut frames = cut(&datagram.bytes(), 7, 1400);
            frames.rotate_left(usize::from(filling) % 3);
            assert_eq!(
                whole(&pass(&mut rig, By::FullNat, &frames)).data(),
                [filling; 3000]
            );
        }
    }
}

/// A first fragment that comes twice keeps its number, or its followers would belong to neither.
#[test]
fn a_first_fragment_that_comes_twice_is_the_same() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 1);
        let frames = cut(&datagram(family).bytes(), 7, 1400);
        let twice = [0, 1, 0, 2].map(|n: usize| frames[n].clone());
        assert_eq!(
            whole(&pass(&mut rig, By::FullNat, &twice)).data().len(),
            4000
        );
    }
}

/// Without the first one the others wait for a second, and go by name.
#[test]
fn fragments_without_the_first_one_end_after_a_second() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 2);
        let frames = cut(&datagram(family).bytes(), 7, 1400);
        assert_eq!(
            pass(&mut rig, By::FullNat, &frames[1..]),
            Vec::<Vec<u8>>::new()
        );
        assert_eq!(rig.n_held(), 2);
        rig.pass(Duration::from_millis(999));
        assert_eq!((rig.n_held(), rig.take_ended().len()), (2, 0));
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.n_held(), 0);
        assert_eq!(rig.take_ended(), [DropReason::FragmentFirstMissing; 2]);
        // It comes too late for those, and alone.
        assert_eq!(pass(&mut rig, By::FullNat, &frames[..1]).len(), 1);
    }
}

/// However many come, the newest wait, and no more than there are places.
#[test]
fn a_flood_of_fragments_is_bounded() {
    let mut rig = rig(By::FullNat, 1);
    let n_flood = 3 * HELD as u32;
    for identification in 0..n_flood {
        let frames = cut(&datagram(IPV4).bytes(), identification, 1400);
        assert!(matches!(
            rig.receive(WorkerId(0), &frames[1]).verdict,
            Verdict::Hold(_)
        ));
        assert!(rig.n_held() <= HELD);
    }
    let ended = rig.take_ended();
    assert_eq!(ended.len(), 2 * HELD);
    assert!(
        ended
            .iter()
            .all(|reason| *reason == DropReason::FragmentStoreFull)
    );
    // A datagram whose parts come one soon after the other goes through all the same.
    let mut frames = cut(&datagram(IPV4).bytes(), n_flood, 1400);
    frames.reverse();
    let mut sent = Vec::new();
    for frame in &frames {
        let outcome = rig.receive(WorkerId(0), frame);
        sent.extend(matches!(outcome.verdict, Verdict::Transmit(_)).then_some(outcome.frame));
        sent.extend(rig.take_released().into_iter().map(|outcome| outcome.frame));
    }
    assert_eq!(whole(&sent).data().len(), 4000);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.n_held(), 0);
}

/// So many datagrams that never end: the oldest are forgotten, and what waits of them ends.
#[test]
fn a_flood_of_datagrams_is_bounded() {
    let mut rig = rig(By::FullNat, 1);
    for identification in 0..10_000 {
        let frames = cut(&datagram(IPV6).bytes(), identification, 1400);
        let first = rig.receive(WorkerId(0), &frames[0]);
        assert!(matches!(first.verdict, Verdict::Transmit(_)));
        if identification % 50 == 0 {
            let other = cut(&datagram(IPV6).bytes(), identification + 100_000, 1400);
            rig.receive(WorkerId(0), &other[1]);
        }
    }
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.n_held(), 0);
    assert_eq!(rig.take_ended().len(), 200, "each is told of once");
}

#[test]
fn fragments_that_cannot_be_are_dropped_by_name() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 1);
        let udp_frame = udp(family.client, family.vip).data_bytes(64).bytes();
        let segment = tcp(family.client, family.vip).syn().data_bytes(64).bytes();
        let mut check = |frame: &[u8], reason| {
            rig.receive(WorkerId(0), frame).is_dropped(reason);
            assert!(
                rig.connections().is_empty(),
                "a refused packet opens nothing"
            );
        };
        // RFC 1858 §3.1: the flags are in the second fragment.
        let tiny = cut_at(&segment, 7, &[8, 16, 24]);
        check(&tiny[0], DropReason::FragmentTooShort);
        check(&tiny[1], DropReason::FragmentOverlaps);
        check(&tiny[2], DropReason::FragmentOverlaps);
        // A length that only the last may have, or that no datagram has, or none.
        let mut uneven = cut_at(&udp_frame, 8, &[24])[0].clone();
        let (length_at, n_bytes) = match family.ip_header_bytes {
            20 => (16, 20 + 23),
            _ => (18, 8 + 23),
        };
        let set_length = |frame: &mut Vec<u8>, n_bytes: u16| {
            frame[length_at..length_at + 2].copy_from_slice(&n_bytes.to_be_bytes());
            mend(frame);
        };
        set_length(&mut uneven, n_bytes);
        check(&uneven, DropReason::FragmentMalformed);
        let mut empty = cut_at(&udp_frame, 8, &[24])[1].clone();
        set_length(&mut empty, n_bytes - 23);
        check(&empty, DropReason::FragmentMalformed);
        let beyond = udp(family.client, family.vip)
            .data_bytes(64)
            .fragment(65_528, false);
        check(&beyond.bytes(), DropReason::FragmentMalformed);
        // Neither TCP nor UDP.
        let echo = if family.ip_header_bytes == 20 { 1 } else { 58 };
        let ping = raw(family.client, family.vip, echo).data(&[0; 64]).bytes();
        for fragment in cut(&ping, 9, 32) {
            check(&fragment, DropReason::Fragment);
        }
        // To nobody here, or not to us at all.
        let nobody = if family.ip_header_bytes == 20 {
            "203.0.113.9:9"
        } else {
            "[2001:db8:9::9]:9"
        };
        let elsewhere = udp(family.client, nobody).data_bytes(64).bytes();
        let mut astray = udp_frame.clone();
        astray[5] ^= 0x40;
        for fragment in cut(&elsewhere, 10, 32) {
            check(&fragment, DropReason::AddressNotOurs);
        }
        for fragment in cut(&astray, 11, 32) {
            check(&fragment, DropReason::MacNotOurs);
        }
        assert_eq!(rig.n_held(), 0);
    }
    let mut rig = rig(By::FullNat, 1);
    let mut wrong = cut(&datagram(IPV4).bytes(), 7, 1400)[1].clone();
    wrong[24] ^= 1;
    rig.receive(WorkerId(0), &wrong)
        .is_dropped(DropReason::Ipv4ChecksumWrong);
}

/// Writes an IPv4 header's checksum afresh.
fn mend(frame: &mut [u8]) {
    if frame[14] != 0x45 {
        return;
    }
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2);
    let mut sum: u32 = words
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !(sum as u16);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}

/// RFC 3128: what reaches into the options of the first one would change them behind our back.
#[test]
fn a_fragment_that_reaches_into_the_options_is_dropped() {
    use weir_testkit::TcpOption;
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 1);
        let syn = tcp(family.client, family.vip)
            .syn()
            .options(&TcpOption::of_syn())
            .data_bytes(64);
        let frames = cut_at(&syn.bytes(), 7, &[64]);
        assert_eq!(pass(&mut rig, By::FullNat, &frames[..1]).len(), 1);
        let overlapping = cut_at(&syn.bytes(), 7, &[24]);
        rig.receive(WorkerId(0), &overlapping[1])
            .is_dropped(DropReason::FragmentOverlaps);
    }
}

/// Those behind a first one that is refused need not wait.
#[test]
fn fragments_of_a_refused_datagram_are_refused() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 2);
        let mut vip = family.vip.into_endpoint();
        vip.set_port(4321);
        let frames = cut(&udp(family.client, vip).data_bytes(4000).bytes(), 7, 1400);
        let late = rig.receive(WorkerId(0), &frames[2]);
        assert!(matches!(late.verdict, Verdict::Hold(_)));
        rig.receive(WorkerId(0), &frames[0])
            .is_punted(PuntReason::NoService);
        let released = rig.take_released();
        assert_eq!(released.len(), 1);
        released[0].is_dropped(DropReason::FragmentFirstRefused);
        rig.receive(WorkerId(1), &frames[1])
            .is_dropped(DropReason::FragmentFirstRefused);
    }
}

/// TCP in fragments: states follow the first one, and TOA is left out and counted.
#[test]
fn a_segment_in_fragments_is_a_segment() {
    for family in FAMILIES {
        for by in METHODS {
            let mut rig = rig(by, 1);
            let (client, vip) = (family.client, family.vip);
            let send = |rig: &mut Rig, frame: FrameBuilder, identification| {
                whole(&pass(rig, by, &cut(&frame.bytes(), identification, 1024)))
            };
            let there = send(&mut rig, tcp(client, vip).syn().seq(1).data_bytes(2000), 1);
            assert_eq!(there.segment().flags, "S");
            assert!(there.segment().client_addresses().is_empty());
            let n_omitted = u64::from(by == By::FullNat);
            assert_eq!(rig.directors[0].n_toa_omitted(), n_omitted);
            assert_eq!(rig.connection().state, State::SynRecv);
            if matches!(by, By::FullNat | By::Nat) {
                let (real, local) = (there.destination, there.source);
                let reply = |frame: FrameBuilder| frame.macs(real_server_mac(real.ip()), LAN_MAC);
                let syn_ack = reply(tcp(real, local).syn().seq(9).ack(2).data_bytes(1500));
                let back = send(&mut rig, syn_ack, 2);
                assert_eq!(
                    (back.source, back.destination),
                    (vip.into_endpoint(), client.into_endpoint())
                );
            }
            let segment = tcp(client, vip).seq(2).ack(10).data_bytes(3000);
            assert_eq!(send(&mut rig, segment, 3).data().len(), 3000);
            assert_eq!(rig.connection().state, State::Established);
            let fin = tcp(client, vip).fin().seq(3002).ack(10).data_bytes(1500);
            send(&mut rig, fin, 4);
            assert_ne!(rig.connection().state, State::Established);
        }
    }
}

/// The first one waits at the control thread for the real server's MAC address, the others here.
#[test]
fn fragments_wait_with_the_first_one_for_a_neighbour() {
    for family in FAMILIES {
        for n_workers in [1, 2, 3] {
            let real = family.real.into_endpoint().ip().to_string();
            let site = Site::new()
                .service(
                    Protocol::Udp,
                    family.vip,
                    Scheduler::Rr,
                    &[(family.real, 1)],
                )
                .workers(n_workers);
            let mut rig = Rig::new(site.unresolved(&real));
            let frames = cut(&datagram(family).bytes(), 7, 1400);
            let id = rig.site.hop_id(&real);
            let first = rig.receive(WorkerId(0), &frames[0]);
            first.is_punted(PuntReason::NeighbourUnresolved(id));
            for frame in &frames[1..] {
                let outcome = rig.receive(WorkerId(0), frame);
                assert!(matches!(outcome.verdict, Verdict::Hold(_)), "{outcome:?}");
            }
            rig.publish(|site| {
                let mac = real_server_mac(real.parse().unwrap());
                let hop = NextHop::resolved(weir_testkit::LAN, mac, LAN_MAC, 1500);
                site.neighbour(&real, hop)
            });
            // The control thread gives it back to the worker that punted it, as from the wire.
            let outcome = rig.receive(first.worker, &frames[0]);
            let mut sent = vec![outcome.frame];
            sent.extend(rig.take_released().into_iter().map(|outcome| outcome.frame));
            assert_eq!(whole(&sent).data().len(), 4000);
            assert_eq!(rig.n_held(), 0);
        }
    }
}

/// A datagram of a real server whose gateway we are, and one to it.
#[test]
fn fragments_of_no_connection_are_routed() {
    for family in FAMILIES {
        let mut rig = rig(By::Nat, 2);
        let real = family.real.into_endpoint();
        let elsewhere: Endpoint = family.client.into_endpoint();
        let out = udp(real, elsewhere)
            .macs(real_server_mac(real.ip()), LAN_MAC)
            .data_bytes(4000);
        for (frame, from, to) in [
            (out, real, elsewhere),
            (udp(elsewhere, real).data_bytes(4000), elsewhere, real),
        ] {
            for order in orders(&cut(&frame.bytes(), 7, 1400)) {
                let sent = pass(&mut rig, By::Nat, &order);
                let there = whole(&sent);
                assert_eq!((there.source, there.destination, there.ttl), (from, to, 63));
                let identification = Part::read(&sent[0]).datagram.1;
                assert_eq!(identification, 7, "nothing is rewritten");
            }
        }
        assert!(rig.connections().is_empty());
    }
}

/// The connection is over with the first fragment; the others still go where that one went.
#[test]
fn fragments_of_one_packet_go_to_one_real_server() {
    for family in FAMILIES {
        for by in METHODS {
            let site = Site::with_two_servers(by, &[]).one_packet(true);
            let reals = [family.real, family.other_real].map(|real| by.endpoint(real, family.vip));
            let destinations = reals.each_ref().map(|real| (real.as_str(), 1));
            let site = site.service(Protocol::Udp, family.vip, Scheduler::Rr, &destinations);
            let mut rig = Rig::new(site);
            let mut macs = Vec::new();
            for identification in 0..4 {
                let frames = cut(&datagram(family).bytes(), identification, 1400);
                let there = whole(&pass(&mut rig, by, &frames));
                assert!(rig.connections().is_empty());
                macs.push(there.destination_mac);
            }
            assert!(macs[0] == macs[2] && macs[1] == macs[3] && macs[0] != macs[1]);
        }
    }
}

/// What a fragment has above its IP header is counted, and the destination's totals with it.
#[test]
fn all_fragments_are_counted_for_the_destination() {
    let site = Site::with_one_server(Protocol::Udp);
    let mut rig = Rig::new(site);
    let frames = cut(&datagram(IPV4).bytes(), 7, 1400);
    let n_bytes: usize = frames.iter().map(|frame| frame.len() - 14).sum();
    pass(&mut rig, By::FullNat, &frames);
    let id = rig.site.destination(Protocol::Udp, IPV4.vip, IPV4.real);
    let totals = rig.totals(id);
    assert_eq!(
        (totals.inbound_packets, totals.inbound_bytes),
        (3, n_bytes as u64)
    );
}

/// An ICMP error that quotes the first fragment finds its connection, and reaches who sent the datagram.
#[test]
fn errors_about_first_fragments_are_translated() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 1);
        let sent = pass(
            &mut rig,
            By::FullNat,
            &cut(&datagram(family).bytes(), 7, 1400),
        );
        let there = whole(&sent);
        let kind = if family.ip_header_bytes == 20 {
            [3, 3]
        } else {
            [1, 4]
        };
        let error = icmp(there.destination, there.source, kind, [0; 4])
            .macs(real_server_mac(there.destination.ip()), LAN_MAC)
            .data(&sent[0][14..14 + 64]);
        let told = rig.send(&error);
        assert!(matches!(told.verdict, Verdict::Transmit(_)), "{told:?}");
        let addresses = (
            family.vip.into_endpoint().ip(),
            family.client.into_endpoint().ip(),
        );
        let told = decode(&told.frame);
        assert_eq!((told.source.ip(), told.destination.ip()), addresses);
    }
}

/// Too many hops, or too few left, as of any packet.
#[test]
fn a_fragment_with_its_last_ttl_goes_no_further() {
    for family in FAMILIES {
        let mut rig = rig(By::FullNat, 1);
        let frames = cut(&datagram(family).ttl(1).bytes(), 7, 1400);
        rig.receive(WorkerId(0), &frames[0])
            .is_punted(PuntReason::TtlExceeded);
        rig.receive(WorkerId(0), &frames[1])
            .is_dropped(DropReason::FragmentFirstRefused);
    }
}

/// What is to be read before the data cannot be put into a fragment, and the client's own must not take its place.
#[test]
fn no_fragment_goes_where_a_proxy_header_is_read_first() {
    for family in FAMILIES {
        for (client_address, is_refused) in [
            (ClientAddress::ProxyV2, true),
            (ClientAddress::ProxyV1, false),
            (ClientAddress::None, false),
            (ClientAddress::UdpHeader, false),
        ] {
            let mut rig = told_by(client_address);
            let frames = cut(&datagram(family).bytes(), 7, 1400);
            if is_refused {
                rig.receive(WorkerId(0), &frames[0])
                    .is_dropped(DropReason::FragmentBeforeHeader);
                rig.receive(WorkerId(0), &frames[1])
                    .is_dropped(DropReason::FragmentFirstRefused);
                continue;
            }
            let there = whole(&pass(&mut rig, By::FullNat, &frames));
            assert_eq!(there.data(), &frames_data(&frames)[8..]);
            let n_omitted = u64::from(client_address == ClientAddress::UdpHeader);
            assert_eq!(rig.directors[0].n_toa_omitted(), n_omitted);
            let reply = cut(&answer(&there).data_bytes(3000).bytes(), 9, 1400);
            assert_eq!(
                whole(&pass(&mut rig, By::FullNat, &reply)).data().len(),
                3000
            );
        }
    }
}

/// A stream has its header once: behind that its segments may be in fragments, with numbers as the real server counts.
#[test]
fn segments_behind_a_proxy_header_may_be_in_fragments() {
    for family in FAMILIES {
        let mut rig = told_by(ClientAddress::ProxyV2);
        let (client, vip) = (family.client, family.vip);
        let fragments = |frame: FrameBuilder| cut(&frame.bytes(), 7, 1024);
        let syn = rig.forward(&tcp(client, vip).syn().seq(100));
        let (real, local) = (syn.destination, syn.source);
        let reply = |frame: FrameBuilder| frame.macs(real_server_mac(real.ip()), LAN_MAC);
        rig.forward(&reply(tcp(real, local).syn().seq(900).ack(101)));
        let data = tcp(client, vip).seq(101).ack(901).data_bytes(2000);
        rig.receive(WorkerId(0), &fragments(data)[0])
            .is_dropped(DropReason::FragmentBeforeHeader);
        let headed = rig.forward(&tcp(client, vip).seq(101).ack(901).data(b"hello"));
        let header_bytes = headed.data().len() as u32 - 5;
        rig.forward(&reply(tcp(real, local).seq(901).ack(106 + header_bytes)));
        let data = tcp(client, vip).seq(106).ack(901).data_bytes(2000);
        let there = whole(&pass(&mut rig, By::FullNat, &fragments(data)));
        assert_eq!(there.segment().sequence, 106 + header_bytes);
        assert_eq!(there.data().len(), 2000);
        let answered = reply(
            tcp(real, local)
                .seq(901)
                .ack(2106 + header_bytes)
                .data_bytes(2000),
        );
        let back = whole(&pass(&mut rig, By::FullNat, &fragments(answered)));
        assert_eq!(back.segment().acknowledgement, 2106);
    }
}

/// One real server of each family, told of the client so.
fn told_by(client_address: ClientAddress) -> Rig {
    let site = Site::new().client_address(client_address);
    let protocols = [Protocol::Tcp, Protocol::Udp];
    let services = FAMILIES
        .iter()
        .flat_map(|family| protocols.map(|protocol| (family, protocol)));
    Rig::new(services.fold(site, |site, (family, protocol)| {
        site.service(protocol, family.vip, Scheduler::Rr, &[(family.real, 1)])
    }))
}
