//! A PROXY header before the first byte of a client's stream.

use weir_director::{ClientAddress, DropReason, PuntReason, Scheduler, State};
use weir_testkit::{
    Decoded, FAMILIES, Family, IPV4, IntoEndpoint, LAN_MAC, Rig, Site, TcpOption, icmp, proxied,
    real_server_mac, tcp,
};
use weir_wire::Protocol;

use crate::conversation::{CLIENT_ISN, Conversation, SERVER_ISN, client};

const KINDS: [(u8, ClientAddress); 2] = [(1, ClientAddress::ProxyV1), (2, ClientAddress::ProxyV2)];

fn rig(client_address: ClientAddress) -> Rig {
    let families = FAMILIES;
    let site = Site::new().client_address(client_address);
    Rig::new(families.iter().fold(site, |site, family| {
        site.service(
            Protocol::Tcp,
            family.vip,
            Scheduler::Rr,
            &[(family.real, 1)],
        )
    }))
}

/// Each version with each family.
fn each(test: impl Fn(u8, Rig, Family)) {
    for (version, kind) in KINDS {
        for family in FAMILIES {
            test(version, rig(kind), family);
        }
    }
}

/// Bytes of the header of a version for clients of the tests' family.
fn header_bytes(version: u8, family: Family) -> u32 {
    let is_ipv4 = family.client.into_endpoint().is_ipv4();
    match (version, is_ipv4) {
        (2, true) => 28,
        (2, false) => 52,
        _ => {
            let (client, vip) = (family.client.into_endpoint(), family.vip.into_endpoint());
            let (source, destination) = (client.port(), vip.port());
            let line = format!(
                "PROXY TCP4 {} {} {source} {destination}\r\n",
                client.ip(),
                vip.ip()
            );
            line.len() as u32
        }
    }
}

/// The MSS that a client is offered where nothing is inserted.
fn without_header(family: Family) -> u16 {
    family.mss[1] + family.toa_bytes
}

/// The header tells the truth, and what follows it is `data`.
#[track_caller]
fn assert_headed(sent: &Decoded, version: u8, conversation: &Conversation, data: &[u8]) {
    let read = proxied(&sent.segment().data).expect("a PROXY header");
    assert_eq!(
        (read.version, read.is_udp, read.source, read.destination),
        (version, false, conversation.client, conversation.vip)
    );
    assert_eq!(read.data, data);
    assert_eq!(sent.segment().sequence, CLIENT_ISN + 1, "at the first byte");
}

/// What a segment's numbers count from the SYN.
fn sequence(sent: &Decoded) -> u32 {
    sent.segment().sequence.wrapping_sub(CLIENT_ISN)
}

fn acknowledged(sent: &Decoded) -> u32 {
    sent.segment().acknowledgement.wrapping_sub(CLIENT_ISN)
}

/// SYN, SYN-ACK.
fn answered(rig: &mut Rig, family: Family) -> Conversation {
    let conversation = Conversation::begin(rig, family.client, family.vip);
    rig.forward(&conversation.syn_ack());
    conversation
}

/// Likewise, and the real server has acknowledged the header and `n` bytes of the client's.
fn arrived(rig: &mut Rig, family: Family, version: u8, n: u32) -> Conversation {
    let conversation = answered(rig, family);
    rig.forward(&conversation.inbound(1, 1).data_bytes(n as usize));
    let acknowledgement = 1 + header_bytes(version, family) + n;
    let sent = rig.forward(&conversation.outbound(1, acknowledgement));
    assert_eq!(acknowledged(&sent), 1 + n);
    conversation
}

/// The SYN and its answer pass with the numbers that their senders chose; the MSS leaves room.
#[test]
fn the_handshake_is_left_alone_but_for_the_mss() {
    each(|version, mut rig, family| {
        let syn = tcp(family.client, family.vip).syn().seq(CLIENT_ISN);
        let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
        assert_eq!((sequence(&sent), sent.data()), (0, &b""[..]));
        let mut options = TcpOption::of_syn();
        options[0] = TcpOption::Mss(family.mss[0]);
        assert_eq!(sent.segment().options, options);
        let conversation = Conversation::begin(&mut rig, family.client, family.vip);
        let sent = rig.forward(&conversation.syn_ack());
        assert_eq!(acknowledged(&sent), 1);
        let mss = without_header(family) - header_bytes(version, family) as u16;
        assert_eq!(sent.segment().options[0], TcpOption::Mss(mss));
        assert_eq!(sent.segment().client_addresses(), []);
    });
}

/// With the first data, of odd or even length, and with a FIN in it.
#[test]
fn it_goes_before_the_first_data() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        for data in [&b"GET /"[..], b"GET / "] {
            let first = conversation.inbound(1, 1).data(data);
            assert_headed(&rig.forward(&first), version, &conversation, data);
        }
        let first = conversation.inbound(1, 1).data(b"all").fin();
        let sent = rig.forward(&first);
        assert_headed(&sent, version, &conversation, b"all");
        assert!(sent.segment().flags.contains('F'));
    });
}

/// The bare acknowledgement carries it too: the real server may be the first to speak. So does a FIN without data.
#[test]
fn it_goes_with_the_third_segment_of_the_handshake() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let third = rig.forward(&conversation.inbound(1, 1));
        assert_headed(&third, version, &conversation, b"");
        let greeting = conversation.outbound(1, 1 + header_bytes(version, family));
        let sent = rig.forward(&greeting.data(b"220 hello"));
        assert_eq!((acknowledged(&sent), sent.data()), (1, &b"220 hello"[..]));
        let sent = rig.forward(&conversation.inbound(1, 10).data(b"HELO"));
        let behind = 1 + header_bytes(version, family);
        assert_eq!((sequence(&sent), sent.data()), (behind, &b"HELO"[..]));
    });
}

/// Lost and lost again: it comes with every segment at the first byte until the real server has all of it.
#[test]
fn it_comes_again_until_it_is_acknowledged() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let first = conversation.inbound(1, 1).data(b"first");
        for _ in 0..3 {
            assert_headed(&rig.forward(&first), version, &conversation, b"first");
        }
        // A part of it is not enough: the client hears that nothing came, and sends again.
        for part in [1, 1 + header / 2, header] {
            let sent = rig.forward(&conversation.outbound(1, part));
            assert_eq!(acknowledged(&sent), 1, "{part}");
            assert_headed(&rig.forward(&first), version, &conversation, b"first");
        }
        let sent = rig.forward(&conversation.outbound(1, 1 + header));
        assert_eq!(acknowledged(&sent), 1);
        let sent = rig.forward(&first);
        assert_eq!((sequence(&sent), sent.data()), (1 + header, &b"first"[..]));
    });
}

/// What overtakes the first segment, or follows it, has its place behind the header, before and after it arrived.
#[test]
fn what_follows_is_shifted_by_it() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let second = conversation.inbound(6, 1).data(b"second");
        for _ in 0..2 {
            let sent = rig.forward(&second);
            assert_eq!((sequence(&sent), sent.data()), (6 + header, &b"second"[..]));
            rig.forward(&conversation.inbound(1, 1).data(b"first"));
            let sent = rig.forward(&conversation.outbound(1, 12 + header));
            assert_eq!(acknowledged(&sent), 12);
        }
        let fin = rig.forward(&conversation.inbound(12, 1).fin());
        assert_eq!(sequence(&fin), 12 + header);
    });
}

/// Selective acknowledgements as the client counts; one of the header alone it is not told.
#[test]
fn sack_blocks_are_shifted_back() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let at = |n: u32| CLIENT_ISN + n;
        let blocks = |edges: &[(u32, u32)]| {
            [
                TcpOption::Nop,
                TcpOption::Nop,
                TcpOption::Sack(edges.to_vec()),
            ]
        };
        let told = blocks(&[
            (at(1), at(1 + header)),
            (at(6 + header), at(12 + header)),
            (at(1 + header / 2), at(3 + header)),
        ]);
        let sent = rig.forward(&conversation.outbound(1, 1).options(&told));
        assert_eq!(acknowledged(&sent), 1);
        let expected = blocks(&[(at(6), at(12)), (at(1), at(3))]);
        assert_eq!(sent.segment().options[..3], expected);
        let blank = |option: &TcpOption| matches!(option, TcpOption::Nop | TcpOption::End);
        assert!(sent.segment().options[3..].iter().all(blank));
        let alone = blocks(&[(at(1), at(1 + header))]);
        let sent = rig.forward(&conversation.outbound(1, 9 + header).options(&alone));
        assert_eq!(acknowledged(&sent), 9);
        assert!(sent.segment().options.iter().all(blank));
        let told = blocks(&[(at(20 + header), at(30 + header))]);
        let sent = rig.forward(&conversation.outbound(1, 9 + header).options(&told));
        assert_eq!(sent.segment().options, blocks(&[(at(20), at(30))]));
    });
}

/// Keep-alives stand one before what is expected, before and after it arrived; one byte of rubbish may be in them.
#[test]
fn keep_alives_are_answered() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let keep_alive = rig.forward(&conversation.inbound(0, 1));
        assert_eq!((sequence(&keep_alive), keep_alive.data()), (0, &b""[..]));
        let rubbish = rig.forward(&conversation.inbound(0, 1).data(b"?"));
        assert_eq!((sequence(&rubbish), rubbish.data()), (0, &b"?"[..]));
        let header = header_bytes(version, family);
        rig.forward(&conversation.outbound(1, 1 + header));
        assert_eq!(sequence(&rig.forward(&conversation.inbound(0, 1))), header);
    });
}

/// A reset has the number that the real server expects, and no data.
#[test]
fn resets_are_bare() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let reset = rig.forward(&conversation.inbound(1, 1).rst());
        assert_eq!((sequence(&reset), reset.data()), (1, &b""[..]));
        let reset = rig.forward(&conversation.inbound(9, 1).rst());
        assert_eq!(sequence(&reset), 9 + header);
    });
    each(|version, mut rig, family| {
        let conversation = arrived(&mut rig, family, version, 0);
        let reset = rig.forward(&conversation.inbound(1, 1).rst());
        let header = header_bytes(version, family);
        assert_eq!((sequence(&reset), reset.data()), (1 + header, &b""[..]));
        assert_eq!(rig.connection().state, State::Close);
    });
}

/// What the real server acknowledges in a reset it has not kept.
#[test]
fn a_reset_from_the_server_is_no_evidence() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let sent = rig.forward(&conversation.outbound(1, 4 + header).rst());
        assert_eq!(acknowledged(&sent), 4);
        let first = rig.forward(&conversation.inbound(1, 1).data(b"abc"));
        assert_headed(&first, version, &conversation, b"abc");
    });
}

/// The client is done first; the real server goes on sending.
#[test]
fn a_half_closed_stream_goes_on() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let request = conversation.inbound(1, 1).data(b"GET").fin();
        assert_headed(&rig.forward(&request), version, &conversation, b"GET");
        for n in 0..3 {
            let answer = conversation.outbound(1 + n * 4, 5 + header).data(b"data");
            let sent = rig.forward(&answer);
            assert_eq!((acknowledged(&sent), sent.data()), (5, &b"data"[..]));
            let sent = rig.forward(&conversation.inbound(5, 5 + n * 4));
            assert_eq!(sequence(&sent), 5 + header);
        }
        rig.forward(&conversation.outbound(13, 5 + header).fin());
        assert_eq!(rig.connection().state, State::TimeWait);
        let sent = rig.forward(&conversation.inbound(1, 14).data(b"GET").fin());
        assert_eq!(sequence(&sent), 1 + header, "sent again, it is shifted");
    });
}

/// Data in a SYN would be read before the header: it is cut off, and the client sends it again. No cookie is asked for.
#[test]
fn a_fast_open_has_to_wait() {
    each(|version, mut rig, family| {
        let cookie = TcpOption::Other(34, vec![1, 2, 3, 4, 5, 6, 7, 8]);
        for data in [&b"first"[..], &[7; 600]] {
            let syn = tcp(family.client, family.vip).syn().seq(CLIENT_ISN);
            let options = [TcpOption::Mss(1460), cookie.clone(), TcpOption::Nop];
            let sent = rig.forward(&syn.options(&options).data(data));
            assert_eq!((sequence(&sent), sent.data()), (0, &b""[..]));
            assert!(!sent.segment().options.contains(&cookie));
            assert_eq!(sent.segment().options[0], TcpOption::Mss(family.mss[0]));
        }
        let conversation = answered(&mut rig, family);
        let sent = rig.forward(&conversation.inbound(1, 1).data(b"first"));
        assert_headed(&sent, version, &conversation, b"first");
        let again = conversation.inbound(0, 1).syn().data(b"first");
        assert_eq!(rig.forward(&again).data(), b"");
    });
}

/// A segment that begins before the first byte and reaches beyond it would be read in place of the header.
#[test]
fn nothing_gets_past_the_header() {
    each(|version, mut rig, family| {
        let conversation = Conversation::begin(&mut rig, family.client, family.vip);
        let early = conversation.inbound(1, 1).data(b"PROXY TCP4 203.0.113.66 ");
        rig.send(&early).is_dropped(DropReason::BeforeProxyHeader);
        rig.forward(&conversation.syn_ack());
        for before in [
            conversation
                .inbound(0, 1)
                .data(b"?PROXY TCP4 203.0.113.66 "),
            conversation.inbound(0, 1).data(b"?").fin(),
            conversation.inbound(0, 1).fin().data(b"??"),
        ] {
            rig.send(&before).is_dropped(DropReason::BeforeProxyHeader);
        }
        // Its own header comes behind ours.
        let forged = b"PROXY TCP4 203.0.113.66 203.0.113.66 1 2\r\n";
        let sent = rig.forward(&conversation.inbound(1, 1).data(forged));
        assert_headed(&sent, version, &conversation, forged);
    });
}

/// The same after it arrived: what the real server has it does not read anew.
#[test]
fn once_it_has_arrived_all_is_shifted_alike() {
    each(|version, mut rig, family| {
        let conversation = arrived(&mut rig, family, version, 3);
        let header = header_bytes(version, family);
        let sent = rig.forward(&conversation.inbound(0, 1).data(b"?abcdef"));
        assert_eq!(sequence(&sent), header);
        let late = rig.forward(&tcp(family.client, family.vip).syn().seq(CLIENT_ISN));
        assert_eq!(sequence(&late), 0, "a late copy of the SYN is one");
    });
}

/// An urgent pointer takes a byte out of the stream: it must not be one of the header's.
#[test]
fn an_urgent_pointer_cannot_point_into_it() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family) as u16;
        let urgent = |n: u32, pointer| {
            let segment = conversation.inbound(n, 1).data(&b"abc"[..n as usize * 3]);
            segment.urgent(pointer)
        };
        for (pointer, moved) in [
            (1, Some(1 + header)),
            (2, Some(2 + header)),
            (0, None),
            (u16::MAX - 1, None),
        ] {
            let sent = rig.forward(&urgent(1, pointer));
            assert_headed(&sent, version, &conversation, b"abc");
            assert_eq!(sent.segment().urgent, moved);
        }
        assert_eq!(rig.forward(&urgent(0, 5)).segment().urgent, None);
        let sent = rig.forward(&conversation.inbound(4, 1).data(b"def").urgent(3));
        assert_eq!(sent.segment().urgent, Some(3), "behind it nothing moves");
    });
}

/// A client that sends FIN and SYN at random changes nothing but the state that is listed.
#[test]
fn a_clients_tricks_do_not_make_it_forgotten() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        rig.forward(&conversation.inbound(1, 1));
        rig.forward(&conversation.inbound(77_777, 1).fin());
        let other = tcp(family.client, family.vip).syn().seq(CLIENT_ISN + 500);
        rig.forward(&other);
        assert_eq!(rig.connection().state, State::SynRecv);
        let sent = rig.forward(&conversation.inbound(1, 1).data(b"evil"));
        assert_headed(&sent, version, &conversation, b"evil");
    });
}

/// The real server takes a SYN of the same flow again, weir having kept the connection: the header goes anew.
#[test]
fn the_servers_syn_begins_it_anew() {
    each(|version, mut rig, family| {
        let old = arrived(&mut rig, family, version, 10);
        for fresh in [CLIENT_ISN, CLIENT_ISN + 70_000] {
            let segment = || tcp(old.client, old.vip);
            let syn = rig.forward(&segment().syn().seq(fresh));
            assert_eq!(syn.segment().sequence, fresh);
            let from_server = |n: u32| {
                tcp(old.real, old.local)
                    .macs(real_server_mac(old.real.ip()), LAN_MAC)
                    .ack(fresh + n)
            };
            rig.forward(&from_server(1).seq(77).syn());
            let sent = rig.forward(&segment().seq(fresh + 1).ack(78).data(b"anew"));
            assert_eq!(sent.segment().sequence, fresh + 1);
            assert_eq!(proxied(sent.data()).expect("a header").data, b"anew");
            let header = header_bytes(version, family);
            let sent = rig.forward(&from_server(5 + header).seq(78));
            assert_eq!(sent.segment().acknowledgement, fresh + 5);
            let sent = rig.forward(&segment().seq(fresh + 5).ack(78).data(b"more"));
            assert_eq!(sent.segment().sequence, fresh + 5 + header);
        }
    });
}

/// What fits the way but not with the header is answered with what would fit.
#[test]
fn a_segment_that_does_not_fit_with_it_is_punted_with_the_right_mtu() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let without = (1500 - family.growth()) as usize;
        let mtu = without as u16 - header_bytes(version, family) as u16;
        let full = conversation.inbound(1, 1).ip_bytes(without);
        rig.send(&full).is_punted(PuntReason::TooBig { mtu });
        let fitting = conversation.inbound(1, 1).ip_bytes(usize::from(mtu));
        assert_eq!(rig.forward(&fitting).ip_bytes, 1500);
        let later = conversation.inbound(9, 1).ip_bytes(without);
        assert_eq!(rig.forward(&later).ip_bytes, 1500);
    });
}

/// Without it no data may go on.
#[test]
fn without_headroom_the_segment_is_dropped() {
    for (version, kind) in KINDS {
        let header = header_bytes(version, IPV4) as u16;
        let mut rig = rig(kind).headroom(header - 1);
        let conversation = answered(&mut rig, IPV4);
        let first = conversation.inbound(1, 1).data(b"data");
        rig.send(&first).is_dropped(DropReason::NoHeadroom);
        let mut rig = rig.headroom(header);
        assert_headed(&rig.forward(&first), version, &conversation, b"data");
    }
}

/// A client's own TOA says nothing to a real server that would believe it.
#[test]
fn a_forged_toa_is_blanked() {
    let kinds = KINDS.map(|(_, kind)| kind);
    for kind in [kinds[0], kinds[1], ClientAddress::None] {
        let forged = TcpOption::ClientAddress(254, "203.0.113.66:666".into_endpoint());
        let mut rig = rig(kind);
        let syn = tcp(IPV4.client, IPV4.vip).syn().seq(CLIENT_ISN);
        let sent = rig.forward(&syn.options(std::slice::from_ref(&forged)));
        assert_eq!(sent.segment().client_addresses(), []);
        let conversation = answered(&mut rig, IPV4);
        for n in [1, 50] {
            let segment = conversation
                .inbound(n, 1)
                .options(std::slice::from_ref(&forged));
            let sent = rig.forward(&segment.data(b"x"));
            assert_eq!(sent.segment().client_addresses(), []);
        }
    }
}

/// `None`: nothing is added, shifted or lowered; fast open passes.
#[test]
fn with_none_the_real_server_is_told_nothing() {
    for family in FAMILIES {
        let mut rig = rig(ClientAddress::None);
        let syn = tcp(family.client, family.vip).syn().seq(CLIENT_ISN);
        assert_eq!(rig.forward(&syn.data(b"fast")).data(), b"fast");
        let conversation = Conversation::begin(&mut rig, family.client, family.vip);
        let sent = rig.forward(&conversation.syn_ack());
        let mss = TcpOption::Mss(without_header(family));
        assert_eq!(sent.segment().options[0], mss);
        let without = (1500 - family.growth()) as usize;
        let first = rig.forward(&conversation.inbound(1, 1).ip_bytes(without));
        assert_eq!((sequence(&first), first.ip_bytes), (1, 1500));
        let sent = rig.forward(&conversation.outbound(1, 9).data(b"hello"));
        assert_eq!(acknowledged(&sent), 9);
        assert_eq!(sequence(&rig.forward(&conversation.inbound(9, 6))), 9);
    }
}

/// A rig whose only local port is in TIME_WAIT, the real server having seen so many numbers.
fn in_time_wait(kind: ClientAddress, version: u8, family: Family) -> (Rig, Conversation, u32) {
    let local = family.local.into_endpoint().ip().to_string();
    let site = Site::new()
        .client_address(kind)
        .local(&[&local], 5000, 5000);
    let mut rig = Rig::new(site.service(
        Protocol::Tcp,
        family.vip,
        Scheduler::Rr,
        &[(family.real, 1)],
    ));
    let header = if version == 0 {
        0
    } else {
        header_bytes(version, family)
    };
    let first = answered(&mut rig, family);
    // The last that is seen of the client may be its FIN in the very first segment.
    rig.forward(&first.outbound(1, 1).fin());
    rig.forward(&first.inbound(1, 2).data(&[7; 300]).fin());
    rig.forward(&first.outbound(2, 302 + header));
    assert_eq!(rig.connection().state, State::TimeWait);
    (rig, first, CLIENT_ISN + 302 + header)
}

/// A tuple is taken over above the number that the real server saw last, header included; both shifts add up.
#[test]
fn a_local_port_is_taken_over_above_what_the_server_saw() {
    for family in FAMILIES {
        for (version, kind) in [KINDS[0], KINDS[1], (0, ClientAddress::None)] {
            let (mut rig, first, last) = in_time_wait(kind, version, family);
            let (new_client, vip) = (client(family, 40_002), first.vip);
            let initial = 99;
            let syn = tcp(new_client, vip).syn().seq(initial);
            let sent = rig.forward(&syn.options(&TcpOption::of_syn()));
            assert_eq!((sent.source, sent.destination), (first.local, first.real));
            let shifted = sent.segment().sequence;
            assert_eq!(shifted.wrapping_sub(last), 1 << 16, "{kind:?}");
            let is_timestamp = |option: &TcpOption| matches!(option, TcpOption::Timestamps(..));
            assert!(!sent.segment().options.iter().any(is_timestamp));

            let outbound = |n: u32| first.outbound(1, 0).ack(shifted.wrapping_add(n));
            let sent = rig.forward(&outbound(1).seq(SERVER_ISN).syn());
            assert_eq!(sent.segment().acknowledgement, initial + 1);
            let inbound = |n: u32| tcp(new_client, vip).seq(initial + n).ack(SERVER_ISN + 1);
            let sent = rig.forward(&inbound(1).data(b"first"));
            assert_eq!(sent.segment().sequence, shifted + 1);
            let header = sent.data().len() as u32 - 5;
            assert_eq!(header == 0, kind == ClientAddress::None);
            let sent = rig.forward(&inbound(6).data(b"second"));
            assert_eq!(sent.segment().sequence, shifted + 6 + header);
            let sent = rig.forward(&outbound(12 + header));
            assert_eq!(sent.segment().acknowledgement, initial + 12);
            let sent = rig.forward(&inbound(12).data(b"third"));
            assert_eq!(sent.segment().sequence, shifted + 12 + header);
        }
    }
}

/// The sequence number, counted from the SYN's, and the MTU with which the client hears of a segment that was too big
/// for a link of 1,400 bytes.
fn too_big(rig: &mut Rig, family: Family, conversation: &Conversation, n: u32) -> (u32, u16) {
    let is_ipv4 = family.real.into_endpoint().is_ipv4();
    let kind = if is_ipv4 { [3, 4] } else { [2, 0] };
    let about = tcp(conversation.local, conversation.real).seq(CLIENT_ISN + n);
    let error = icmp(
        conversation.real,
        conversation.local,
        kind,
        [0, 0, 0x05, 0x78],
    );
    let sent = rig.forward(
        &error
            .macs(real_server_mac(conversation.real.ip()), LAN_MAC)
            .data(&about.ack(1).packet_bytes()),
    );
    let message = sent.icmp();
    let quoted = message.quoted.as_ref().unwrap().sequence.unwrap();
    let mtu = u16::from_be_bytes([message.rest[2], message.rest[3]]);
    (quoted - CLIENT_ISN, mtu)
}

/// Errors about a client's segment quote its own numbers, and an MTU that leaves room for the header while it goes.
#[test]
fn icmp_errors_quote_the_clients_numbers() {
    each(|version, mut rig, family| {
        let conversation = answered(&mut rig, family);
        let header = header_bytes(version, family);
        let without = (1400 - family.growth()) as u16;
        let with_room = without - header as u16;
        for (n, quoted) in [(0, 0), (1, 1), (header / 2, 1), (9 + header, 9)] {
            let told = too_big(&mut rig, family, &conversation, n);
            assert_eq!(told, (quoted, with_room));
        }
        rig.forward(&conversation.outbound(1, 9 + header));
        let told = too_big(&mut rig, family, &conversation, 9 + header);
        assert_eq!(told, (9, without));
    });
}
