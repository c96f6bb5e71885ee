//! Addresses that a reload left out while connections through them live.

use etherparse::{ArpOperation, PacketBuilder};
use weir_director::{AddressUse, DropReason, LocalAddresses, PuntReason};

use crate::stage::{
    LAN, LIP, LIP6, Stage, VIP, VIP6, WAN, addresses, arp, icmpv6, ip, mac, ports, routes,
    solicitation, solicited_node, v4, v6,
};

const ALL: [u8; 6] = [0xff; 6];

fn set(stage: &mut Stage, addresses: &LocalAddresses) {
    let now = stage.now;
    stage
        .slow_path
        .set_addresses(ports(), addresses, routes(None), now);
}

/// A stage that was told to leave out all VIPs and LIPs.
fn left_out() -> Stage {
    let mut stage = Stage::new();
    let former = [
        (VIP, AddressUse::FormerlyVirtual),
        (VIP6, AddressUse::FormerlyVirtual),
        (LIP, AddressUse::FormerlyLocal),
        (LIP6, AddressUse::FormerlyLocal),
    ];
    set(
        &mut stage,
        &former
            .map(|(address, address_use)| (ip(address), address_use))
            .into_iter()
            .collect(),
    );
    stage
}

fn request(to: [u8; 6], target: &str) -> Vec<u8> {
    arp(ArpOperation::REQUEST, mac(9), to, ["192.0.2.9", target])
}

/// A solicitation for `target` to the target itself.
fn unicast_solicitation(target: &str) -> Vec<u8> {
    let ends = ["2001:db8:1::9", target];
    let body = [&v6(target)[..], &[1, 1], &mac(9)].concat();
    icmpv6([mac(9), mac(1)], ends, 255, [135, 0], [0; 4], &body)
}

#[test]
fn a_neighbour_that_asks_us_alone_is_answered_and_one_that_asks_all_is_not() {
    let mut stage = left_out();
    for target in [VIP, "192.0.2.10"] {
        let counted = stage.counted(PuntReason::Arp, WAN, &request(mac(1), target));
        assert!(counted.is_empty());
        assert_eq!(
            stage.sent(),
            [format!("0 arp {target} answers 192.0.2.9 [wan > host9]")]
        );
    }
    for to in [ALL, mac(2)] {
        assert_eq!(
            stage.counted(PuntReason::Arp, WAN, &request(to, VIP)),
            [DropReason::ArpNotForUs]
        );
    }
    let counted = stage.counted(PuntReason::Icmp, WAN, &unicast_solicitation(VIP6));
    assert!(counted.is_empty());
    assert_eq!(
        stage.sent(),
        [format!(
            "0 {VIP6} > 2001:db8:1::9 na {VIP6} at wan so [wan > host9]"
        )]
    );
    let mut probe_to_us = solicitation(mac(9), "::", VIP6);
    probe_to_us[..6].copy_from_slice(&mac(1));
    for frame in [
        solicitation(mac(9), "2001:db8:1::9", VIP6),
        solicitation(mac(9), "::", VIP6),
        probe_to_us,
    ] {
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &frame),
            [DropReason::NeighbourDiscoveryInvalid]
        );
    }
    assert!(stage.sent().is_empty());
    assert_eq!(stage.slow_path.take_event(), None, "it is no duplicate");
}

#[test]
fn a_former_local_address_is_answered_where_it_belonged() {
    let mut stage = left_out();
    let to_wan = request(mac(1), LIP);
    assert_eq!(
        stage.counted(PuntReason::Arp, WAN, &to_wan),
        [DropReason::ArpNotForUs]
    );
    let to_lan = request(mac(2), LIP);
    assert!(stage.counted(PuntReason::Arp, LAN, &to_lan).is_empty());
    assert_eq!(
        stage.sent(),
        [format!("1 arp {LIP} answers 192.0.2.9 [lan > host9]")]
    );
}

#[test]
fn nothing_is_told_of_it_and_nobody_asked() {
    let mut stage = left_out();
    stage.pass(5000);
    assert!(stage.sent().is_empty());
    let body = [[0; 16].as_slice(), &[2, 125, 0, 0]].concat();
    let query = icmpv6(
        [mac(9), mac(1)],
        ["fe80::9", "ff02::1"],
        1,
        [130, 0],
        [39, 16, 0, 0],
        &body,
    );
    stage.punt(PuntReason::Icmp, WAN, &query);
    let sent = stage.sent();
    assert!(sent[0].contains("report"), "{sent:?}");
    assert!(!sent[0].contains(&solicited_node(VIP6)), "{sent:?}");
    // One that was not announced when it was left out is not announced later either.
    let mut stage = Stage::just_started(weir_control::Limits::default());
    stage.pass(500);
    let former = [(ip(VIP6), AddressUse::FormerlyVirtual)];
    set(&mut stage, &former.into_iter().collect());
    stage.sent();
    stage.pass(5000);
    let sent = stage.sent();
    assert!(!sent.iter().any(|line| line.contains(VIP6)), "{sent:?}");
}

#[test]
fn echo_to_it_is_ignored() {
    let mut stage = left_out();
    let mut ping = Vec::new();
    PacketBuilder::ethernet2(mac(9), mac(1))
        .ipv4(v4("198.51.100.7"), v4(VIP), 64)
        .icmpv4_echo_request(1, 2)
        .write(&mut ping, b"weir?")
        .unwrap();
    let ends = ["2001:db8::7", VIP6];
    let ping6 = icmpv6([mac(9), mac(1)], ends, 64, [128, 0], [0; 4], b"weir?");
    for frame in [ping, ping6] {
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &frame),
            [DropReason::IcmpIgnored]
        );
    }
    assert!(stage.sent().is_empty());
}

#[test]
fn when_it_is_ours_again_it_is_announced_as_new() {
    let mut stage = left_out();
    set(&mut stage, &addresses());
    stage.pass(100);
    let early = stage.sent();
    let has = |sent: &[String], line: &str| sent.iter().any(|sent| sent == line);
    assert!(has(
        &early,
        &format!("0 arp {VIP} asks for {VIP} [wan > all]")
    ));
    let group = solicited_node(VIP6);
    let probe = format!("0 :: > {group} ns {VIP6} by nobody [wan > group]");
    assert!(has(&early, &probe));
    let question = solicitation(mac(9), "2001:db8:1::9", VIP6);
    assert_eq!(
        stage.counted(PuntReason::Icmp, WAN, &question),
        [DropReason::NeighbourDiscoveryInvalid],
        "not before its second is over"
    );
    stage.pass(1000);
    let announcement = format!("0 {VIP6} > ff02::1 na {VIP6} at wan o [wan > group]");
    assert!(has(&stage.sent(), &announcement));
}

#[test]
fn an_own_address_that_was_a_vip_is_ours() {
    let mut stage = Stage::new();
    let former = [(ip("192.0.2.10"), AddressUse::FormerlyVirtual)];
    set(&mut stage, &former.into_iter().collect());
    let counted = stage.counted(PuntReason::Arp, WAN, &request(ALL, "192.0.2.10"));
    assert!(counted.is_empty());
}
