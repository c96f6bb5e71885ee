//! A tuple taken over while the real server may still hold its TIME_WAIT: numbers above the last, no timestamps.

use std::time::Duration;

use weir_director::{DropReason, State};
use weir_testkit::{
    Decoded, FAMILIES, Family, IPV4, LAN_MAC, Rig, TcpOption, icmp, real_server_mac, tcp,
};

use crate::conversation::{
    CLIENT_ISN, Conversation, SERVER_ISN, client, rig_with_local_ports, tcp_rig, unreachable_by,
};

/// What follows the last byte of a conversation that `Conversation::close` ended: SYN and FIN take a number each.
const FINAL: u32 = CLIENT_ISN + 2;

fn has_timestamps(sent: &Decoded) -> bool {
    let options = &sent.segment().options;
    options
        .iter()
        .any(|option| matches!(option, TcpOption::Timestamps(..)))
}

/// A rig whose only local port is in TIME_WAIT.
fn rig_in_time_wait(family: Family) -> (Rig, Conversation) {
    let mut rig = rig_with_local_ports(family, 5000, 5000);
    let first = Conversation::establish(&mut rig, client(family, 1), family.vip);
    first.close(&mut rig);
    assert_eq!(rig.connection().state, State::TimeWait);
    (rig, first)
}

/// The whole life of a connection on a tuple taken over: SYN above the final number and without timestamps,
/// acknowledgements and SACK blocks shifted back, later segments shifted and with their timestamps.
#[test]
fn both_ends_see_numbers_that_agree_with_what_they_sent() {
    for family in FAMILIES {
        for initial in [7_000_000, 3, u32::MAX - 5] {
            let (mut rig, first) = rig_in_time_wait(family);
            let (new_client, vip) = (client(family, 2), first.vip);
            let syn = tcp(new_client, vip).syn().seq(initial);
            let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
            assert_eq!((sent.source, sent.destination), (first.local, first.real));
            let above = sent.segment().sequence.wrapping_sub(FINAL);
            assert!((1..1 << 20).contains(&above), "{above} above the last");
            assert!(!has_timestamps(&sent), "{sent}");
            let delta = sent.segment().sequence.wrapping_sub(initial);
            let connection = rig.connection();
            assert_eq!(
                (connection.client, connection.state),
                (new_client, State::SynRecv)
            );

            let outbound = |acknowledgement: u32| {
                tcp(first.real, first.local)
                    .macs(real_server_mac(first.real.ip()), LAN_MAC)
                    .seq(SERVER_ISN)
                    .ack(acknowledgement.wrapping_add(delta))
            };
            let sent = rig.forward(&outbound(initial.wrapping_add(1)).syn());
            assert_eq!(sent.segment().acknowledgement, initial.wrapping_add(1));
            assert_eq!(sent.segment().sequence, SERVER_ISN);

            let inbound = tcp(new_client, vip)
                .seq(initial.wrapping_add(1))
                .ack(SERVER_ISN + 9)
                .options(&TcpOption::timestamps(1, 2))
                .data(b"data");
            let sent = rig.forward(&inbound);
            let expected = initial.wrapping_add(1).wrapping_add(delta);
            assert_eq!(sent.segment().sequence, expected);
            assert_eq!(sent.segment().acknowledgement, SERVER_ISN + 9);
            assert!(has_timestamps(&sent), "only the SYN loses them");

            let edges = |by: u32| {
                let edge = |n: u32| initial.wrapping_add(n).wrapping_add(by);
                TcpOption::Sack(vec![(edge(100), edge(200)), (edge(300), edge(400))])
            };
            let nops = [TcpOption::Nop, TcpOption::Nop];
            let sacking = [&nops[..], &[edges(delta)]].concat();
            let sent = rig.forward(&outbound(initial.wrapping_add(5)).options(&sacking));
            assert_eq!(sent.segment().acknowledgement, initial.wrapping_add(5));
            assert_eq!(sent.segment().options, [&nops[..], &[edges(0)]].concat());
        }
    }
}

/// An SACK option at an odd offset, whose words straddle the checksum's.
#[test]
fn sack_blocks_at_odd_offsets_are_shifted_too() {
    let (mut rig, first) = rig_in_time_wait(IPV4);
    let initial = 0x0102_0304;
    let sent = rig.forward(&tcp(client(IPV4, 2), first.vip).syn().seq(initial));
    let delta = sent.segment().sequence.wrapping_sub(initial);
    let block = |by: u32| {
        let left = initial.wrapping_add(by);
        TcpOption::Sack(vec![(left, left.wrapping_add(0xff))])
    };
    let segment = first.outbound(1, 0).ack(initial.wrapping_add(delta));
    let sent = rig.forward(&segment.options(&[TcpOption::Nop, block(delta)]));
    assert_eq!(sent.segment().options[1], block(0));
}

/// A SYN sent again is shifted by as much.
#[test]
fn a_retransmitted_syn_gets_the_same_number() {
    let (mut rig, first) = rig_in_time_wait(IPV4);
    let syn = tcp(client(IPV4, 2), first.vip).syn().seq(99);
    let sequences = [0; 2].map(|_| rig.forward(&syn).segment().sequence);
    assert_eq!(sequences[0], sequences[1]);
    assert_ne!(sequences[0], 99);
}

/// An RST that the real server sends in answer acknowledges what the client sent.
#[test]
fn a_reset_acknowledges_the_clients_own_number() {
    let (mut rig, first) = rig_in_time_wait(IPV4);
    let sent = rig.forward(&tcp(client(IPV4, 2), first.vip).syn().seq(99));
    let acknowledgement = sent.segment().sequence.wrapping_add(1);
    let reset = first.outbound(0, 0).ack(acknowledgement).rst();
    assert_eq!(rig.forward(&reset).segment().acknowledgement, 100);
}

/// Tuples are taken over again and again; each time above the number before, as the real server saw it.
#[test]
fn a_chain_of_takeovers_keeps_rising() {
    for family in FAMILIES {
        let (mut rig, first) = rig_in_time_wait(family);
        let mut last = FINAL;
        for cport in 2..20 {
            let new_client = client(family, cport);
            // Each client begins where it likes; every other one below the last.
            let initial = if cport % 2 == 0 { 5 } else { 0xf000_0000 };
            let inbound = |n: u32| tcp(new_client, first.vip).seq(initial + n);
            let sent = rig.forward(&inbound(0).syn());
            let above = sent.segment().sequence.wrapping_sub(last);
            assert_eq!(above, 1 << 16, "by a gap that passes a window");
            rig.forward(&first.outbound(0, 0).syn());
            rig.forward(&inbound(1).ack(SERVER_ISN + 1));
            rig.forward(&first.outbound(1, 0).fin());
            let fin = rig.forward(&inbound(1).ack(SERVER_ISN + 2).data(b"bye").fin());
            last = fin.segment().sequence.wrapping_add(3 + 1);
            assert_eq!(rig.connection().state, State::TimeWait);
        }
    }
}

/// What follows the client's last byte is not forgotten for a late copy of the real server's SYN.
#[test]
fn a_late_syn_ack_does_not_touch_the_final_number() {
    let (mut rig, first) = rig_in_time_wait(IPV4);
    rig.forward(&first.syn_ack());
    rig.forward(&first.inbound(2, 2).rst());
    assert_eq!(rig.connection().state, State::Close);
    let sent = rig.forward(&tcp(client(IPV4, 2), first.vip).syn().seq(99));
    assert_eq!(sent.segment().sequence, FINAL + (1 << 16));
}

/// A free pair is used, and nothing shifted, as long as there is one.
#[test]
fn ordinary_connections_are_not_shifted() {
    let mut rig = rig_with_local_ports(IPV4, 5000, 5001);
    Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip).close(&mut rig);
    let syn = tcp(client(IPV4, 2), IPV4.vip).syn().seq(99);
    let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
    assert_eq!(sent.segment().sequence, 99);
    assert!(has_timestamps(&sent));
    assert_eq!(rig.connections().len(), 2);
}

/// Of several that are over the one goes that was last seen first, whatever the order of the cursor.
#[test]
fn the_oldest_goes_first() {
    let mut rig = rig_with_local_ports(IPV4, 5000, 5002);
    let conversations =
        [1, 2, 3].map(|cport| Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip));
    let order = [1, 2, 0];
    for place in order {
        rig.pass(Duration::from_secs(1));
        conversations[place].close(&mut rig);
    }
    rig.pass(Duration::from_secs(1));
    let taken = [11, 12, 13].map(|cport| {
        rig.pass(Duration::from_secs(1));
        Conversation::begin(&mut rig, client(IPV4, cport), IPV4.vip).local
    });
    assert_eq!(taken, order.map(|place| conversations[place].local));
}

/// A connection that was reset left nothing at the real server to be above of.
#[test]
fn what_was_reset_is_taken_over_unshifted() {
    let mut rig = rig_with_local_ports(IPV4, 5000, 5000);
    let first = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    rig.forward(&first.outbound(1, 1).rst());
    assert_eq!(rig.connection().state, State::Close);
    let sent = rig.forward(&tcp(client(IPV4, 2), IPV4.vip).syn().seq(99));
    assert_eq!((sent.source, sent.segment().sequence), (first.local, 99));
}

/// Living connections are never taken over.
#[test]
fn a_connection_that_is_not_over_is_left_alone() {
    let mut rig = rig_with_local_ports(IPV4, 5000, 5000);
    let first = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    let syn = tcp(client(IPV4, 2), IPV4.vip).syn();
    for frame in [None, Some(first.outbound(1, 1).fin())] {
        if let Some(frame) = frame {
            rig.forward(&frame);
        }
        rig.send(&syn).is_dropped(DropReason::LocalPortsExhausted);
    }
    assert_eq!(rig.connection().client, first.client);
}

/// The quoted number is the one that the error's receiver sent.
#[test]
fn an_icmp_error_quotes_the_number_that_was_sent() {
    for family in FAMILIES {
        let (mut rig, first) = rig_in_time_wait(family);
        let inbound = tcp(client(family, 2), first.vip).syn().seq(99);
        let shifted = rig.forward(&inbound).segment().sequence;
        let quoted = tcp(first.local, first.real).syn().seq(shifted);
        let error = icmp(first.real, first.local, unreachable_by(first.real), [0; 4])
            .macs(real_server_mac(first.real.ip()), LAN_MAC)
            .data(&quoted.packet_bytes());
        let sent = rig.forward(&error);
        assert_eq!(sent.icmp().quoted.as_ref().unwrap().sequence, Some(99));

        let answer = first.outbound(0, 0).ack(shifted.wrapping_add(1)).syn();
        let sent = rig.forward(&answer);
        assert_eq!(sent.segment().acknowledgement, 100);
        let quoted = tcp(first.vip, client(family, 2)).seq(SERVER_ISN).ack(100);
        let error = icmp(
            client(family, 2),
            first.vip,
            unreachable_by(first.vip),
            [0; 4],
        );
        let sent = rig.forward(&error.data(&quoted.packet_bytes()));
        let quoted = sent.icmp().quoted.as_ref().unwrap();
        assert_eq!(quoted.acknowledgement, Some(shifted.wrapping_add(1)));
    }
}

/// In a fresh rig nothing is ever shifted: the comparison for the tests above.
#[test]
fn a_first_connection_keeps_its_numbers() {
    let mut rig = tcp_rig();
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn().seq(99));
    assert_eq!(sent.segment().sequence, 99);
}

/// The client that closed opens the same flow again while the only local port is still in TIME_WAIT: its own connection
/// is taken over like any other.
#[test]
fn the_same_client_takes_over_from_itself() {
    for family in FAMILIES {
        let (mut rig, first) = rig_in_time_wait(family);
        let syn = tcp(first.client, first.vip).syn().seq(1);
        let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
        assert_eq!(sent.source, first.local);
        let above = sent.segment().sequence.wrapping_sub(FINAL);
        assert!((1..1 << 20).contains(&above), "{above} above the last");
        assert!(!has_timestamps(&sent), "{sent}");
        assert_eq!(rig.connection().state, State::SynRecv);
    }
}
