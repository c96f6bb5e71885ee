//! Several workers: one owner for both directions of a flow, whatever queue its packets come in by.

use weir_director::{Arrival, BURST, DropReason, PuntReason, Verdict, WorkerId};
use weir_testkit::{
    FAMILIES, Family, IPV4, IntoEndpoint, LAN_MAC, Rig, Site, TestBuffer, icmp, real_server_mac,
    tcp, udp,
};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client, reply, unreachable_by};

const N_WORKERS: u8 = 3;

fn rig(protocol: Protocol) -> Rig {
    Rig::new(Site::with_one_server(protocol).workers(N_WORKERS))
}

/// From whatever worker each packet comes, the whole conversation is one worker's.
#[test]
fn every_packet_of_a_flow_ends_at_one_owner() {
    for family in FAMILIES {
        let mut n_handed_off = 0;
        for cport in 1..40 {
            let mut rig = rig(Protocol::Tcp);
            let client = client(family, cport);
            let syn = tcp(client, family.vip).syn().seq(1000).bytes();
            let opened = rig.receive(WorkerId(cport as u8 % N_WORKERS), &syn);
            let owner = opened.worker;
            let vip = family.vip.into_endpoint();
            let conversation = Conversation::seen_by_both(client, vip, &opened.sent());
            assert_eq!(
                conversation.local.port() % u16::from(N_WORKERS),
                u16::from(owner.0)
            );
            for frame in [
                conversation.syn_ack(),
                conversation.inbound(1, 1),
                conversation.outbound(1, 1).fin(),
                conversation.inbound(1, 2).fin(),
            ] {
                for worker in (0..N_WORKERS).map(WorkerId) {
                    let outcome = rig.receive(worker, &frame.bytes());
                    outcome.sent();
                    assert_eq!(outcome.worker, owner);
                    assert_eq!(outcome.was_handed_off, worker != owner);
                    n_handed_off += usize::from(outcome.was_handed_off);
                }
            }
            assert_eq!(rig.connections().len(), 1);
        }
        assert_ne!(n_handed_off, 0);
    }
}

/// Clients are spread over all workers.
#[test]
fn every_worker_owns_some() {
    let mut rig = rig(Protocol::Udp);
    for cport in 1..60 {
        rig.forward(&udp(client(IPV4, cport), IPV4.vip));
    }
    for director in &rig.directors {
        assert!(director.usage().used > 5, "{:?}", director.usage());
    }
}

/// Datagrams likewise, and their replies.
#[test]
fn replies_find_their_worker_by_local_port() {
    for family in FAMILIES {
        for cport in 1..20 {
            let mut rig = rig(Protocol::Udp);
            let opened = rig.send(&udp(client(family, cport), family.vip));
            let sent = opened.sent();
            let answer = reply(sent.destination, sent.source).bytes();
            for worker in (0..N_WORKERS).map(WorkerId) {
                assert_eq!(rig.receive(worker, &answer).worker, opened.worker);
            }
        }
    }
}

/// An ICMP error goes to the owner of the flow that it quotes, from either side.
#[test]
fn icmp_errors_reach_the_flows_owner() {
    for Family {
        client: client_text,
        vip,
        ..
    } in FAMILIES
    {
        for cport in 1..20 {
            let mut rig = rig(Protocol::Udp);
            let client = weir_wire::Endpoint::new(client_text.into_endpoint().ip(), cport);
            let opened = rig.send(&udp(client, vip).data(b"12345678"));
            let sent = opened.sent();
            let (local, real) = (sent.source, sent.destination);
            let from_server = icmp(real, local, unreachable_by(real), [0; 4])
                .macs(real_server_mac(real.ip()), LAN_MAC)
                .data(&udp(local, real).packet_bytes());
            let from_client = icmp(client, vip, unreachable_by(client), [0; 4])
                .data(&udp(vip, client).packet_bytes());
            for worker in (0..N_WORKERS).map(WorkerId) {
                for error in [&from_server, &from_client] {
                    let outcome = rig.receive(worker, &error.bytes());
                    outcome.sent();
                    assert_eq!(outcome.worker, opened.worker);
                }
            }
        }
    }
}

/// What was handed over is never handed over again: what misses there is new there, or has no connection.
#[test]
fn nothing_is_handed_over_twice() {
    let mut rig = rig(Protocol::Tcp);
    let stray = tcp(IPV4.client, IPV4.vip).ack(1);
    let syn = tcp(IPV4.client, IPV4.vip).syn();
    let lost_reply = tcp(IPV4.real, IPV4.local).ack(1);
    let quoted = tcp(IPV4.local, IPV4.real).packet_bytes();
    let error = icmp(IPV4.real, IPV4.local, [3, 3], [0; 4]).data(&quoted);
    let no_connection = Verdict::Punt(PuntReason::NoConnection);
    for worker in 0..N_WORKERS {
        for (frame, expected) in [
            (&stray, Some(no_connection)),
            (&lost_reply, Some(no_connection)),
            (&error, Some(Verdict::Drop(DropReason::IcmpUnrelated))),
            (&syn, None),
        ] {
            let mut buffer = TestBuffer::new(&frame.bytes());
            let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
            let director = &mut rig.directors[usize::from(worker)];
            let arrival = Arrival::HandedOver;
            director.process(&mut [buffer.packet()], arrival, rig.now, &mut verdicts);
            match expected {
                Some(expected) => assert_eq!(verdicts[0], expected),
                None => assert!(matches!(verdicts[0], Verdict::Transmit(_))),
            }
        }
    }
}

/// A frame handed over is not asked for its MAC address again.
#[test]
fn what_was_handed_over_had_its_mac_address_checked() {
    let mut rig = Rig::new(Site::with_one_server(Protocol::Tcp));
    let other = weir_wire::ethernet::Mac([2, 9, 9, 9, 9, 9]);
    let frame = tcp(IPV4.client, IPV4.vip).syn().macs(other, other);
    rig.send(&frame).is_dropped(DropReason::MacNotOurs);
    let mut buffer = TestBuffer::new(&frame.bytes());
    let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
    let packets = &mut [buffer.packet()];
    rig.directors[0].process(packets, Arrival::HandedOver, rig.now, &mut verdicts);
    assert!(matches!(verdicts[0], Verdict::Transmit(_)));
}
