//! Neighbour discovery messages that arrive.

use weir_director::{DropReason, NextHopId, PuntReason};

use crate::stage::{
    LAN, LIP6, Stage, VIP6, WAN, WAN_LINK_LOCAL, advertisement, icmpv6, ip, mac, solicitation,
};

const SERVER: &str = "2001:db8:2::50";
const US: &str = "2001:db8:2::1";

#[test]
fn a_question_is_answered_to_the_asker_and_a_probe_to_all() {
    let mut stage = Stage::new();
    for target in [VIP6, "2001:db8:1::10", WAN_LINK_LOCAL] {
        let question = solicitation(mac(9), "2001:db8:1::9", target);
        assert!(stage.counted(PuntReason::Icmp, WAN, &question).is_empty());
        let probe = solicitation(mac(9), "::", target);
        assert!(stage.counted(PuntReason::Icmp, WAN, &probe).is_empty());
        assert_eq!(
            stage.sent(),
            [
                format!("0 {target} > 2001:db8:1::9 na {target} at wan so [wan > host9]"),
                format!("0 {target} > ff02::1 na {target} at wan o [wan > group]"),
            ]
        );
    }
    assert_eq!(stage.slow_path.neighbours(stage.now), []);
}

#[test]
fn what_is_not_ours_or_not_right_is_refused() {
    let mut stage = Stage::new();
    let target = crate::stage::v6(VIP6);
    let foreign = solicitation(mac(9), "2001:db8:1::9", "2001:db8:1::77");
    let elsewhere = solicitation(mac(9), "2001:db8:1::9", LIP6);
    let ends = ["2001:db8:1::9", VIP6];
    let macs = [mac(9), mac(1)];
    let from_afar = icmpv6(macs, ends, 64, [135, 0], [0; 4], &target);
    let cut_off = icmpv6(macs, ends, 255, [135, 0], [0; 4], &target[..12]);
    let unasked = advertisement(macs, "2001:db8:1::9", "ff02::1", "om");
    for frame in [foreign, elsewhere, from_afar, cut_off, unasked] {
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &frame),
            [DropReason::NeighbourDiscoveryInvalid]
        );
    }
    let mut garbled = solicitation(mac(9), "2001:db8:1::9", VIP6);
    let last = garbled.len() - 1;
    garbled[last] ^= 1;
    assert_eq!(
        stage.counted(PuntReason::Icmp, WAN, &garbled),
        [DropReason::IcmpChecksumWrong]
    );
    assert!(stage.sent().is_empty());
}

#[test]
fn routers_advice_is_ignored() {
    let mut stage = Stage::new();
    for kind in [133, 134, 137] {
        let ends = ["fe80::9", WAN_LINK_LOCAL];
        let advice = icmpv6([mac(9), mac(1)], ends, 255, [kind, 0], [0; 4], &[0; 32]);
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &advice),
            [DropReason::IcmpIgnored],
            "type {kind}"
        );
    }
}

/// A stage with a server that has answered from host 50.
fn acquainted() -> (Stage, NextHopId) {
    let mut stage = Stage::new();
    let id = stage
        .slow_path
        .next_hop_for(LAN, ip(SERVER), stage.now)
        .unwrap();
    assert_eq!(
        stage.sent(),
        ["1 2001:db8:2::1 > ff02::1:ff00:50 ns 2001:db8:2::50 by lan [lan > group]"]
    );
    hear(&mut stage, 50, "som");
    assert_eq!(stage.mac_of(id), Some(mac(50)));
    assert_eq!(stage.state_of(SERVER), Some("reachable"));
    (stage, id)
}

/// The server speaks from host `n`.
fn hear(stage: &mut Stage, n: u8, flags: &str) {
    let to = if flags.contains('s') { US } else { "ff02::1" };
    let frame = advertisement([mac(n), mac(2)], SERVER, to, flags);
    assert!(stage.counted(PuntReason::Icmp, LAN, &frame).is_empty());
}

#[test]
fn an_answer_resolves_only_when_it_says_where() {
    let mut stage = Stage::new();
    let id = stage
        .slow_path
        .next_hop_for(LAN, ip(SERVER), stage.now)
        .unwrap();
    let frame = advertisement([mac(50), mac(2)], SERVER, US, "so");
    assert_eq!(
        stage.counted(PuntReason::Icmp, LAN, &frame),
        [DropReason::NeighbourDiscoveryInvalid]
    );
    assert_eq!(stage.mac_of(id), None);
    hear(&mut stage, 50, "om");
    assert_eq!(
        stage.mac_of(id),
        Some(mac(50)),
        "unasked, but better than nothing"
    );
    assert_eq!(stage.state_of(SERVER), Some("probing"));
}

#[test]
fn a_neighbour_that_overrides_has_moved() {
    let (mut stage, id) = acquainted();
    stage.sent();
    hear(&mut stage, 51, "om");
    assert_eq!(stage.mac_of(id), Some(mac(51)));
    assert_eq!(
        stage.state_of(SERVER),
        Some("probing"),
        "it is asked to confirm"
    );
    assert_eq!(
        stage.sent(),
        ["1 2001:db8:2::1 > 2001:db8:2::50 ns 2001:db8:2::50 by lan [lan > host51]"]
    );
    hear(&mut stage, 51, "s");
    assert_eq!(stage.mac_of(id), Some(mac(51)));
    assert_eq!(stage.state_of(SERVER), Some("reachable"));
}

#[test]
fn one_that_does_not_override_is_doubted() {
    let (mut stage, id) = acquainted();
    stage.sent();
    hear(&mut stage, 51, "sm");
    assert_eq!(stage.mac_of(id), Some(mac(50)));
    assert_eq!(stage.state_of(SERVER), Some("probing"));
    assert_eq!(
        stage.sent(),
        ["1 2001:db8:2::1 > 2001:db8:2::50 ns 2001:db8:2::50 by lan [lan > host50]"]
    );
}

#[test]
fn a_neighbour_that_asks_from_elsewhere_has_moved() {
    let (mut stage, id) = acquainted();
    let question = solicitation(mac(52), SERVER, "2001:db8:2::99");
    assert!(stage.counted(PuntReason::Icmp, LAN, &question).is_empty());
    assert_eq!(stage.mac_of(id), Some(mac(52)));
    assert_eq!(stage.state_of(SERVER), Some("probing"));
}

#[test]
fn a_link_local_neighbour_is_asked_from_the_link_local_address() {
    let mut stage = Stage::new();
    stage
        .slow_path
        .next_hop_for(WAN, ip("fe80::1"), stage.now)
        .unwrap();
    assert_eq!(
        stage.sent(),
        ["0 fe80::ff:fe00:1 > ff02::1:ff00:1 ns fe80::1 by wan [wan > group]"]
    );
}
