//! ARP packets that arrive.

use etherparse::ArpOperation;
use weir_director::{DropReason, PortId, PuntReason};

use crate::stage::{LAN, LIP, Stage, VIP, WAN, arp, mac, port_mac};

const ALL: [u8; 6] = [0xff; 6];

fn request(target: &str) -> Vec<u8> {
    arp(ArpOperation::REQUEST, mac(9), ALL, ["192.0.2.9", target])
}

#[test]
fn vips_are_answered_everywhere_and_other_addresses_where_they_belong() {
    let mut stage = Stage::new();
    let cases: [(&str, &[PortId]); 5] = [
        (VIP, &[WAN, LAN]),
        (LIP, &[LAN]),
        ("192.0.2.10", &[WAN]),
        ("10.0.0.1", &[LAN]),
        ("192.0.2.77", &[]),
    ];
    for (target, places) in cases {
        for port in [WAN, LAN] {
            let counted = stage.counted(PuntReason::Arp, port, &request(target));
            if places.contains(&port) {
                let name = ["wan", "lan"][usize::from(port.0)];
                assert_eq!(
                    stage.sent(),
                    [format!(
                        "{} arp {target} answers 192.0.2.9 [{name} > host9]",
                        port.0
                    )]
                );
                assert!(counted.is_empty());
            } else {
                assert!(stage.sent().is_empty());
                assert_eq!(counted, [DropReason::ArpNotForUs], "{target} on {port:?}");
            }
        }
    }
    assert_eq!(
        stage.slow_path.neighbours(stage.now),
        [],
        "who asks is not remembered"
    );
}

#[test]
fn a_prober_is_answered() {
    let mut stage = Stage::new();
    let probe = arp(ArpOperation::REQUEST, mac(9), ALL, ["0.0.0.0", VIP]);
    stage.punt(PuntReason::Arp, WAN, &probe);
    assert_eq!(
        stage.sent(),
        [format!("0 arp {VIP} answers 0.0.0.0 [wan > host9]")]
    );
}

#[test]
fn answers_that_nobody_asked_for_are_refused() {
    let mut stage = Stage::new();
    let reply = arp(
        ArpOperation::REPLY,
        mac(9),
        mac(1),
        ["192.0.2.9", "192.0.2.10"],
    );
    assert_eq!(
        stage.counted(PuntReason::Arp, WAN, &reply),
        [DropReason::ArpNotForUs]
    );
    assert_eq!(stage.slow_path.neighbours(stage.now), []);
}

#[test]
fn our_own_announcement_heard_on_another_port_is_refused() {
    let mut stage = Stage::new();
    let announcement = arp(ArpOperation::REQUEST, port_mac(LAN), ALL, [VIP, VIP]);
    assert_eq!(
        stage.counted(PuntReason::Arp, WAN, &announcement),
        [DropReason::ArpNotForUs]
    );
    assert!(stage.sent().is_empty());
}

#[test]
fn what_is_no_arp_is_malformed() {
    let mut stage = Stage::new();
    let whole = request(VIP);
    let mut of_another_kind = whole.clone();
    of_another_kind[17] = 6;
    for frame in [&whole[..40], &of_another_kind[..]] {
        assert_eq!(
            stage.counted(PuntReason::Arp, WAN, frame),
            [DropReason::ArpMalformed]
        );
    }
    assert_eq!(
        stage.counted(PuntReason::Arp, WAN, &whole[..13]),
        [DropReason::EthernetTruncated]
    );
}
