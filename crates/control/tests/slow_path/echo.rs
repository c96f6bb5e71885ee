//! Echo requests, and ICMP that is none.

use etherparse::PacketBuilder;
use weir_director::{DropReason, PortId, PuntReason};

use crate::stage::{
    LAN, LIP, LIP6, Stage, VIP, VIP6, WAN, WAN_LINK_LOCAL, icmpv6, mac, port_mac, v4,
};

fn ping(to: [u8; 6], [source, destination]: [&str; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac(9), to)
        .ipv4(v4(source), v4(destination), 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn ping6(port: PortId, ends: [&str; 2]) -> Vec<u8> {
    icmpv6(
        [mac(9), port_mac(port)],
        ends,
        64,
        [128, 0],
        [0, 1, 0, 2],
        b"weir?",
    )
}

#[test]
fn every_address_of_ours_answers() {
    let mut stage = Stage::new();
    for (port, name, ours) in [
        (WAN, "wan", VIP),
        (WAN, "wan", "192.0.2.10"),
        (LAN, "lan", LIP),
        (LAN, "lan", VIP),
        (LAN, "lan", "192.0.2.10"),
    ] {
        let frame = ping(port_mac(port), ["198.51.100.7", ours], &[7; 1400]);
        assert!(stage.counted(PuntReason::Icmp, port, &frame).is_empty());
        let n = port.0;
        let line = format!("{n} {ours} > 198.51.100.7 echo reply of 1400 bytes [{name} > host9]");
        assert_eq!(stage.sent(), [line]);
    }
    for (port, name, ours) in [
        (WAN, "wan", VIP6),
        (WAN, "wan", WAN_LINK_LOCAL),
        (LAN, "lan", LIP6),
    ] {
        let frame = ping6(port, ["2001:db8::7", ours]);
        assert!(stage.counted(PuntReason::Icmp, port, &frame).is_empty());
        let n = port.0;
        let line = format!("{n} {ours} > 2001:db8::7 echo reply of 5 bytes [{name} > host9]");
        assert_eq!(stage.sent(), [line]);
    }
}

#[test]
fn the_reply_carries_what_was_sent() {
    let mut stage = Stage::new();
    let frame = ping(mac(1), ["198.51.100.7", VIP], b"payload");
    stage.punt(PuntReason::Icmp, WAN, &frame);
    let [weir_control::Action::Transmit { frame: reply, .. }] = &stage.actions()[..] else {
        panic!("one reply")
    };
    assert_eq!(
        reply[14 + 20 + 4..],
        frame[14 + 20 + 4..],
        "identifier, number, payload"
    );
}

#[test]
fn what_may_not_be_answered_is_refused_by_name() {
    let mut stage = Stage::new();
    let client = "198.51.100.7";
    let whole = ping(mac(1), [client, VIP], b"");
    let garbled = |at: usize| {
        let mut frame = whole.clone();
        frame[at] ^= 1;
        frame
    };
    let mut reply = whole.clone();
    reply[34] = 0;
    reply[36] ^= 8;
    let group6 = icmpv6(
        [mac(9), mac(1)],
        ["2001:db8::7", "ff02::1"],
        64,
        [128, 0],
        [0; 4],
        &[],
    );
    for (frame, reason) in [
        (garbled(34 + 7), DropReason::IcmpChecksumWrong),
        (garbled(14 + 8), DropReason::Ipv4ChecksumWrong),
        (reply, DropReason::IcmpIgnored),
        (
            ping([0xff; 6], [client, "192.0.2.255"], b""),
            DropReason::IcmpIgnored,
        ),
        (
            ping([1, 0, 0x5e, 0, 0, 1], [client, "224.0.0.1"], b""),
            DropReason::IcmpIgnored,
        ),
        (group6, DropReason::IcmpIgnored),
        (
            ping(mac(1), [client, "192.0.2.55"], b""),
            DropReason::AddressNotOurs,
        ),
        (ping(mac(1), [VIP, VIP], b""), DropReason::SourceInvalid),
        (
            ping(mac(1), ["127.0.0.1", VIP], b""),
            DropReason::SourceInvalid,
        ),
        (ping6(WAN, ["::", VIP6]), DropReason::SourceInvalid),
        (
            ping6(WAN, ["2001:db8::7", "2001:db8::8"]),
            DropReason::AddressNotOurs,
        ),
        (whole[..37].to_vec(), DropReason::Ipv4Truncated),
    ] {
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &frame),
            [reason],
            "{frame:x?}"
        );
    }
    assert!(stage.sent().is_empty());
}

#[test]
fn a_flood_is_answered_at_a_limited_rate() {
    let mut stage = Stage::new();
    let frame = ping(mac(1), ["198.51.100.7", VIP], b"");
    let mut n_answered = 0;
    for _ in 0..10_000 {
        stage.punt(PuntReason::Icmp, WAN, &frame);
        n_answered += stage.sent().len();
        stage.now += std::time::Duration::from_micros(100);
    }
    assert!(
        (1000..=1101).contains(&n_answered),
        "{n_answered} in a second"
    );
    let n_ignored = stage.slow_path.drops()[DropReason::IcmpIgnored.index()];
    assert_eq!(n_ignored as usize + n_answered, 10_000);
}
