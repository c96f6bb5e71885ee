//! Hostile bytes: no packet ends without a verdict, and none ends the process.

use std::collections::BTreeMap;

use weir_director::{ClientAddress, Verdict, WorkerId};
use weir_testkit::{
    FAMILIES, FrameBuilder, IPV4, IPV6, LAN_MAC, Random, Rig, Site, TcpOption, echo_request, icmp,
    tcp, try_decode, udp,
};
use weir_wire::Protocol;

use crate::conversation::Conversation;

fn rig(over_tcp: ClientAddress, over_udp: ClientAddress) -> Rig {
    let mut site = Site::new().workers(2).client_address(over_tcp);
    for family in FAMILIES {
        let rr = weir_director::Scheduler::Rr;
        site = site.service(Protocol::Tcp, family.vip, rr, &[(family.real, 1)]);
    }
    site = site.client_address(over_udp);
    for family in FAMILIES {
        let destinations = [(family.real, 1), (family.other_real, 1)];
        let wrr = weir_director::Scheduler::Wrr;
        site = site.service(Protocol::Udp, family.vip, wrr, &destinations);
    }
    Rig::with_connections(site, 64)
}

/// One of each kind of packet that a living rig gets, among them those of connections that are open in it.
fn valid_frames(rig: &mut Rig) -> Vec<Vec<u8>> {
    let mut frames: Vec<FrameBuilder> = Vec::new();
    for family in FAMILIES {
        let conversation = Conversation::establish(rig, family.client, family.vip);
        let toa = TcpOption::ClientAddress(254, conversation.client);
        let timestamps = TcpOption::timestamps(1, 2);
        let quoted = tcp(conversation.local, conversation.real).data_bytes(40);
        let quoted_outbound = tcp(conversation.vip, conversation.client).data_bytes(40);
        let is_ipv6 = conversation.client.is_ipv6();
        let too_big = if is_ipv6 { [2, 0] } else { [3, 4] };
        frames.extend([
            tcp("198.51.100.9:9", IPV4.vip)
                .syn()
                .options(&TcpOption::of_syn()),
            tcp("[2001:db8:9::9]:9", IPV6.vip).syn().options(&[toa]),
            conversation
                .inbound(1, 1)
                .data(b"data")
                .options(&timestamps),
            conversation
                .outbound(1, 1)
                .data(b"data")
                .options(&timestamps),
            conversation.inbound(1, 1).fin(),
            udp(family.client, family.vip).data(b"datagram"),
            echo_request(family.client, family.vip).data(b"ping"),
            icmp(conversation.real, conversation.local, too_big, [0, 0, 5, 0])
                .macs(LAN_MAC, LAN_MAC)
                .data(&quoted.packet_bytes()),
            icmp(conversation.client, conversation.vip, too_big, [0, 0, 5, 0])
                .data(&quoted_outbound.packet_bytes()),
            tcp(family.client, family.vip).ack(1).vlan(0),
        ]);
    }
    frames.push(tcp(IPV4.client, IPV4.vip).syn().ip_options(&[1; 8]));
    frames.push(tcp(IPV6.client, IPV6.vip).syn().extensions());
    frames.iter().map(FrameBuilder::bytes).collect()
}

fn name(verdict: Verdict) -> String {
    match verdict {
        Verdict::Transmit(_) => "transmit".into(),
        Verdict::Fragment { .. } => "fragment".into(),
        Verdict::HandOff(_) => "hand_off".into(),
        Verdict::Hold(_) => "hold".into(),
        Verdict::Consult(_) => "consult".into(),
        Verdict::Punt(reason) => format!("punt {reason}"),
        Verdict::Drop(reason) => format!("drop {reason}"),
    }
}

/// Every packet, cut off at every length.
#[test]
fn every_truncation_has_a_verdict() {
    let mut rig = rig(ClientAddress::Toa, ClientAddress::Toa);
    for frame in valid_frames(&mut rig) {
        for len in 0..frame.len() {
            for worker in [0, 1].map(WorkerId) {
                let outcome = rig.receive(worker, &frame[..len]);
                // All that a frame may lose is what nobody announced.
                assert!(
                    !matches!(outcome.verdict, Verdict::Transmit(_)),
                    "cut to {len}"
                );
            }
        }
    }
}

#[test]
fn a_hundred_thousand_mutations_have_verdicts() {
    mutations_have_verdicts(ClientAddress::Toa, ClientAddress::Toa, 100_000);
}

#[test]
fn mutations_have_verdicts_however_the_server_is_told() {
    use ClientAddress::{None, ProxyV1, ProxyV2, UdpOption};
    for (over_tcp, over_udp) in [(ProxyV1, UdpOption), (ProxyV2, ProxyV2), (None, None)] {
        mutations_have_verdicts(over_tcp, over_udp, 40_000);
    }
}

/// Mutations of valid packets: bytes set, flipped, exchanged, cut and added. What is transmitted with right checksums is
/// what came with right checksums.
fn mutations_have_verdicts(over_tcp: ClientAddress, over_udp: ClientAddress, n_frames: usize) {
    let mut rig = rig(over_tcp, over_udp);
    let frames = valid_frames(&mut rig);
    let mut random = Random(20_26);
    let mut verdicts = BTreeMap::<String, usize>::new();
    for n in 0..n_frames {
        let mut frame = frames[random.below(frames.len())].clone();
        for _ in 0..1 + random.below(4) {
            mutate(&mut frame, &mut random);
        }
        let worker = WorkerId(random.below(2) as u8);
        let was_right = try_decode(&frame).is_ok();
        let outcome = rig.receive(worker, &frame);
        *verdicts.entry(name(outcome.verdict)).or_default() += 1;
        // What DPVS's header stands before, etherparse does not read.
        let is_read = try_decode(&outcome.frame) != Err("nothing known above IP".into());
        if matches!(outcome.verdict, Verdict::Transmit(_)) && was_right && is_read {
            outcome.sent();
        }
        if n % 1000 == 0 {
            rig.pass(std::time::Duration::from_secs(7));
        }
    }
    assert!(
        verdicts.len() > 20,
        "the mutations reach many verdicts: {verdicts:?}"
    );
    assert!(verdicts["transmit"] > 1000, "{verdicts:?}");
}

fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    if frame.is_empty() {
        return;
    }
    // Most changes hit headers.
    let limit = if random.percent(80) { 70 } else { frame.len() };
    let at = random.below(limit.min(frame.len()));
    match random.below(6) {
        0 => frame[at] = random.number() as u8,
        1 => frame[at] ^= 1 << random.below(8),
        2 => frame[at] = [0, 0xff, 0x7f, 0x80, 1][random.below(5)],
        3 => {
            let other = random.below(frame.len());
            frame.swap(at, other);
        }
        4 if random.percent(20) => frame.truncate(at),
        4 => frame[at] = frame[at].wrapping_add(1),
        _ if random.percent(20) => frame.extend(random.bytes(16)),
        _ => frame[at] = frame[at].wrapping_sub(1),
    }
}
