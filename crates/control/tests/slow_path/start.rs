//! What the link is told when weir starts and when addresses come and go.

use weir_control::{Event, Limits, SlowPath};
use weir_director::{AddressUse, DropReason, LocalAddresses, PuntReason};
use weir_wire::ethernet::Mac;

use crate::stage::{
    LAN, LIP6, Stage, VIP, VIP6, WAN, WAN_LINK_LOCAL, advertisement, arp, icmpv6, ip, mac, ports,
    routes, solicitation, solicited_node,
};

#[test]
fn an_ipv4_address_is_announced_twice_a_second_apart() {
    let mut stage = Stage::just_started(Limits::default());
    let announcement = format!("0 arp {VIP} asks for {VIP} [wan > all]");
    let count = |stage: &mut Stage| {
        let sent = stage.sent();
        sent.iter().filter(|line| **line == announcement).count()
    };
    stage.pass(10);
    assert_eq!(count(&mut stage), 1);
    stage.pass(980);
    assert_eq!(count(&mut stage), 0);
    stage.pass(20);
    assert_eq!(count(&mut stage), 1);
    stage.pass(100_000);
    assert_eq!(count(&mut stage), 0);
    assert_eq!(stage.slow_path.next_deadline(), None);
}

#[test]
fn an_ipv6_address_is_joined_and_probed_and_announced_a_second_later() {
    let mut stage = Stage::just_started(Limits::default());
    let about_vip = |stage: &mut Stage| -> Vec<String> {
        let group = solicited_node(VIP6);
        let sent = stage.sent();
        sent.into_iter()
            .filter(|line| line.starts_with("0 "))
            .filter(|line| line.contains(VIP6) || line.contains(&group))
            .collect()
    };
    let group = solicited_node(VIP6);
    let probe = format!("0 :: > {group} ns {VIP6} by nobody [wan > group]");
    let announcement = format!("0 {VIP6} > ff02::1 na {VIP6} at wan o [wan > group]");
    stage.pass(10);
    let early = about_vip(&mut stage);
    assert!(early[0].starts_with("0 :: > ff02::16 report "), "{early:?}");
    assert!(early[0].contains(&format!(" 4:{group}")));
    assert_eq!(early[1..], [probe]);
    stage.pass(980);
    assert!(about_vip(&mut stage).is_empty(), "it waits a second");
    stage.pass(20);
    let late = about_vip(&mut stage);
    assert!(late[0].starts_with(&format!("0 {WAN_LINK_LOCAL} > ff02::16 report ")));
    assert_eq!(late[1..], *std::slice::from_ref(&announcement));
    stage.pass(1000);
    assert_eq!(about_vip(&mut stage), [announcement]);
}

#[test]
fn an_address_that_another_node_has_is_never_announced_nor_answered() {
    let defend = advertisement([mac(9), mac(1)], VIP6, "ff02::1", "om");
    let want_too = solicitation(mac(9), "::", VIP6);
    for conflict in [defend, want_too] {
        let mut stage = Stage::just_started(Limits::default());
        stage.pass(500);
        assert!(stage.counted(PuntReason::Icmp, WAN, &conflict).is_empty());
        assert_eq!(
            stage.slow_path.take_event(),
            Some(Event::DuplicateAddress {
                port: WAN,
                address: VIP6.parse().unwrap(),
                mac: Mac(mac(9)),
            })
        );
        stage.pass(5000);
        let sent = stage.sent();
        assert!(
            !sent
                .iter()
                .any(|line| line.contains("na 2001:db8:1::100 at wan"))
        );
        assert!(
            sent.iter()
                .any(|line| line.contains("na 2001:db8:1::100 at lan"))
        );
        let query = query("fe80::9", 1);
        assert!(stage.counted(PuntReason::Icmp, WAN, &query).is_empty());
        assert!(!stage.sent()[0].contains(&solicited_node(VIP6)));
        let question = solicitation(mac(9), "2001:db8:1::9", VIP6);
        assert_eq!(
            stage.counted(PuntReason::Icmp, WAN, &question),
            [DropReason::NeighbourDiscoveryInvalid]
        );
        assert!(stage.sent().is_empty());
        assert_eq!(stage.slow_path.take_event(), None);
    }
}

#[test]
fn a_duplicate_is_asked_for_anew_until_its_owner_has_given_it_up() {
    let defend = advertisement([mac(9), mac(1)], VIP6, "ff02::1", "om");
    let probe = format!(
        "0 :: > {} ns {VIP6} by nobody [wan > group]",
        solicited_node(VIP6)
    );
    let announcement = format!("0 {VIP6} > ff02::1 na {VIP6} at wan o [wan > group]");
    let count = |sent: &[String], line: &str| sent.iter().filter(|sent| *sent == line).count();
    let duplicates = [(WAN, VIP6.parse().unwrap())];
    let mut stage = Stage::just_started(Limits::default());
    stage.pass(500);
    assert_eq!(stage.slow_path.duplicates(), []);
    stage.punt(PuntReason::Icmp, WAN, &defend);
    assert!(stage.slow_path.take_event().is_some());
    stage.pass(10_000);
    stage.sent();
    for _ in 0..3 {
        assert_eq!(stage.slow_path.duplicates(), duplicates);
        stage.pass(280_000);
        assert_eq!(stage.sent(), [""; 0]);
        stage.pass(10_500);
        let sent = stage.sent();
        assert_eq!(count(&sent, &probe), 1, "{sent:?}");
        assert_eq!(stage.slow_path.duplicates(), duplicates, "while it asks");
        stage.punt(PuntReason::Icmp, WAN, &defend);
        stage.pass(9500);
        assert_eq!(count(&stage.sent(), &announcement), 0);
        assert_eq!(stage.slow_path.take_event(), None, "it is told once");
    }
    stage.pass(310_000);
    assert_eq!(count(&stage.sent(), &announcement), 2);
    assert_eq!(stage.slow_path.duplicates(), []);
    let question = solicitation(mac(9), "2001:db8:1::9", VIP6);
    assert!(stage.counted(PuntReason::Icmp, WAN, &question).is_empty());
    assert_eq!(stage.slow_path.next_deadline(), None);
}

#[test]
fn a_duplicate_that_is_no_longer_wanted_is_forgotten() {
    let defend = advertisement([mac(9), mac(1)], VIP6, "ff02::1", "om");
    let left_out = [
        LocalAddresses::default(),
        [(ip(VIP6), AddressUse::FormerlyVirtual)]
            .into_iter()
            .collect(),
    ];
    for addresses in left_out {
        let mut stage = Stage::just_started(Limits::default());
        stage.pass(500);
        stage.punt(PuntReason::Icmp, WAN, &defend);
        assert_eq!(stage.slow_path.duplicates().len(), 1);
        let now = stage.now;
        stage
            .slow_path
            .set_addresses(ports(), &addresses, routes(None), now);
        assert_eq!(stage.slow_path.duplicates(), []);
        stage.pass(3000);
        stage.sent();
        stage.pass(600_000);
        assert_eq!(stage.sent(), [""; 0]);
    }
}

#[test]
fn what_we_send_and_hear_again_is_no_duplicate() {
    let mut stage = Stage::just_started(Limits::default());
    stage.pass(500);
    let ours_by_the_other_port = solicitation(mac(2), "::", VIP6);
    assert_eq!(
        stage.counted(PuntReason::Icmp, WAN, &ours_by_the_other_port),
        [DropReason::NeighbourDiscoveryInvalid]
    );
    assert_eq!(stage.slow_path.take_event(), None);
}

#[test]
fn a_tentative_address_is_not_answered() {
    let mut stage = Stage::just_started(Limits::default());
    stage.pass(500);
    stage.sent();
    let question = solicitation(mac(9), "2001:db8:1::9", VIP6);
    assert_eq!(
        stage.counted(PuntReason::Icmp, WAN, &question),
        [DropReason::NeighbourDiscoveryInvalid]
    );
    assert!(stage.sent().is_empty());
}

#[test]
fn a_new_address_is_announced_and_an_old_one_no_longer_answered() {
    let mut stage = Stage::new();
    let changed: LocalAddresses = [(ip("192.0.2.101"), AddressUse::Virtual)]
        .into_iter()
        .collect();
    let now = stage.now;
    stage
        .slow_path
        .set_addresses(ports(), &changed, routes(None), now);
    stage.pass(1);
    assert_eq!(
        stage.sent(),
        [
            "0 arp 192.0.2.101 asks for 192.0.2.101 [wan > all]",
            "1 arp 192.0.2.101 asks for 192.0.2.101 [lan > all]",
        ],
        "and nothing that was announced before"
    );
    let request = |target| {
        let operation = etherparse::ArpOperation::REQUEST;
        arp(operation, mac(9), [0xff; 6], ["192.0.2.9", target])
    };
    assert_eq!(
        stage.counted(PuntReason::Arp, WAN, &request(VIP)),
        [DropReason::ArpNotForUs]
    );
    assert!(
        stage
            .counted(PuntReason::Arp, WAN, &request("192.0.2.101"))
            .is_empty()
    );
    assert_eq!(stage.sent().len(), 1);
}

#[test]
fn ten_thousand_new_addresses_are_spread_over_time() {
    let mut stage = Stage::new();
    let many: LocalAddresses = (0..10_000u16)
        .map(|n| [198, 18, n.to_be_bytes()[0], n.to_be_bytes()[1]].into())
        .map(|address: std::net::IpAddr| (address, AddressUse::Virtual))
        .collect();
    let now = stage.now;
    stage
        .slow_path
        .set_addresses(ports(), &many, routes(None), now);
    stage.pass(1);
    assert!(stage.sent().len() <= 11);
    stage.pass(10_000);
    assert_eq!(stage.sent().len(), 2 * 20_000 - 11, "twice on both ports");
}

/// A question of a multicast router for all groups.
fn query(source: &str, hop_limit: u8) -> Vec<u8> {
    let body = [[0; 16].as_slice(), &[2, 125, 0, 0]].concat();
    let ends = [source, "ff02::1"];
    icmpv6(
        [mac(9), mac(1)],
        ends,
        hop_limit,
        [130, 0],
        [39, 16, 0, 0],
        &body,
    )
}

#[test]
fn a_multicast_router_is_told_of_every_group() {
    let mut stage = Stage::new();
    assert!(
        stage
            .counted(PuntReason::Icmp, LAN, &query("fe80::9", 1))
            .is_empty()
    );
    let sent = stage.sent();
    let [report] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert!(report.starts_with("1 fe80::ff:fe00:2 > ff02::16 report "));
    for address in [LIP6, VIP6, "2001:db8:2::1", "fe80::ff:fe00:2"] {
        let record = format!(" 2:{}", solicited_node(address));
        assert!(report.contains(&record), "{record} in {report}");
    }
    for from_afar in [query("2001:db8::9", 1), query("fe80::9", 2)] {
        assert_eq!(
            stage.counted(PuntReason::Icmp, LAN, &from_afar),
            [DropReason::IcmpIgnored]
        );
    }
    let n_answered = (0..100)
        .filter(|_| {
            stage
                .counted(PuntReason::Icmp, LAN, &query("fe80::9", 1))
                .is_empty()
        })
        .count();
    assert!((1..=10).contains(&n_answered), "{n_answered} at once");
}

#[test]
fn an_address_that_goes_before_it_was_announced_does_not_come_back() {
    let mut stage = Stage::just_started(Limits::default());
    stage.pass(500);
    let (now, none) = (stage.now, LocalAddresses::default());
    stage
        .slow_path
        .set_addresses(ports(), &none, routes(None), now);
    stage.sent();
    stage.pass(5000);
    let sent = stage.sent();
    assert!(!sent.iter().any(|line| line.contains(VIP)), "{sent:?}");
    let question = solicitation(mac(9), "2001:db8:1::9", VIP6);
    assert_eq!(
        stage.counted(PuntReason::Icmp, WAN, &question),
        [DropReason::NeighbourDiscoveryInvalid]
    );
}

#[test]
fn nobody_is_asked_from_an_address_that_may_not_be_ours() {
    let mut stage = Stage::just_started(Limits::default());
    let now = stage.now;
    stage.slow_path.next_hop_for(LAN, ip("2001:db8:2::50"), now);
    let asked = |stage: &mut Stage| {
        let sent = stage.sent();
        sent.iter()
            .filter(|line| line.contains("ns 2001:db8:2::50"))
            .count()
    };
    stage.pass(990);
    assert_eq!(asked(&mut stage), 0);
    stage.pass(1020);
    assert!(asked(&mut stage) >= 1);
}

#[test]
fn a_neighbour_is_asked_from_its_own_subnet() {
    let mut two_subnets = ports();
    two_subnets[1]
        .addresses
        .insert(0, "10.9.0.1/24".parse().unwrap());
    let now = std::time::Instant::now();
    let slow_path = SlowPath::new(two_subnets, Limits::default(), now);
    let mut stage = Stage { slow_path, now };
    stage.pass(3000);
    stage.sent();
    for neighbour in ["10.0.0.50", "10.9.0.50", "10.7.0.50"] {
        let now = stage.now;
        stage.slow_path.next_hop_for(LAN, ip(neighbour), now);
    }
    assert_eq!(
        stage.sent(),
        [
            "1 arp 10.0.0.1 asks for 10.0.0.50 [lan > all]",
            "1 arp 10.9.0.1 asks for 10.9.0.50 [lan > all]",
            "1 arp 10.9.0.1 asks for 10.7.0.50 [lan > all]",
        ]
    );
}

#[test]
fn a_port_without_an_address_asks_as_a_prober() {
    let mut bare = ports();
    bare[1].addresses.clear();
    let now = std::time::Instant::now();
    let slow_path = SlowPath::new(bare, Limits::default(), now);
    let mut stage = Stage { slow_path, now };
    stage.pass(3000);
    stage.sent();
    let now = stage.now;
    stage.slow_path.next_hop_for(LAN, ip("10.0.0.50"), now);
    stage.slow_path.next_hop_for(LAN, ip("2001:db8:2::50"), now);
    assert_eq!(
        stage.sent(),
        [
            "1 arp 0.0.0.0 asks for 10.0.0.50 [lan > all]",
            "1 fe80::ff:fe00:2 > ff02::1:ff00:50 ns 2001:db8:2::50 by lan [lan > group]",
        ]
    );
}

#[test]
fn an_address_that_goes_and_comes_back_waits_its_second_anew() {
    let mut stage = Stage::just_started(Limits::default());
    stage.pass(500);
    for wanted in [LocalAddresses::default(), crate::stage::addresses()] {
        let now = stage.now;
        stage
            .slow_path
            .set_addresses(ports(), &wanted, routes(None), now);
    }
    let is_told = |stage: &mut Stage| {
        let sent = stage.sent();
        sent.iter().any(|line| line.contains("na 2001:db8:1::100"))
    };
    stage.pass(900);
    assert!(!is_told(&mut stage));
    stage.pass(200);
    assert!(is_told(&mut stage));
}
