//! How large a packet gets through a tunnel: learned from errors, published, and forgotten.

use weir_director::{DropReason, PathMtus, PuntReason, TunnelId};
use weir_testkit::{FrameBuilder, icmp, raw};

use weir_control::Action;

use crate::stage::{LAN, Stage};

const TUNNEL: TunnelId = TunnelId(7);

/// A router says that an outer packet of 1,500 bytes was too big for a link of `mtu`.
fn too_big(mtu: u16) -> FrameBuilder {
    let [high, low] = mtu.to_be_bytes();
    let outer = raw("10.0.0.1:0", "10.0.0.11:0", 4).data(&[0x45; 1480]);
    icmp("10.0.0.9:0", "10.0.0.1:0", [3, 4], [0, 0, high, low]).data(&outer.packet_bytes()[..60])
}

fn punt(stage: &mut Stage, frame: &FrameBuilder) {
    stage.punt(PuntReason::PathMtu(TUNNEL), LAN, &frame.bytes());
}

fn mtus(mtu: Option<u16>) -> PathMtus {
    mtu.map(|mtu| (TUNNEL, mtu)).into_iter().collect()
}

/// The error goes back to the workers once they have what it says, and not before.
#[test]
fn a_path_mtu_is_published_before_its_error_goes_back() {
    let mut stage = Stage::new();
    let frame = too_big(1400);
    punt(&mut stage, &frame);
    assert_eq!(stage.slow_path.take_action(), None);
    let published = stage.slow_path.take_changed_path_mtus();
    assert_eq!(published, Some(mtus(Some(1400))));
    let again = Action::Process {
        port: LAN,
        frame: frame.bytes(),
    };
    assert_eq!(stage.slow_path.take_action(), Some(again.clone()));
    // From a worker that did not know yet, and from one that has a larger one to tell.
    for mtu in [1400, 1450] {
        punt(&mut stage, &too_big(mtu));
        assert_eq!(stage.slow_path.take_changed_path_mtus(), None);
        assert!(stage.slow_path.take_action().is_some());
    }
    punt(&mut stage, &too_big(68));
    let published = stage.slow_path.take_changed_path_mtus();
    assert_eq!(published, Some(mtus(Some(576))), "what every host takes");
}

#[test]
fn a_path_mtu_is_forgotten_after_ten_minutes() {
    let mut stage = Stage::new();
    punt(&mut stage, &too_big(1400));
    stage.slow_path.take_changed_path_mtus();
    stage.pass(300_000);
    punt(&mut stage, &too_big(1300));
    stage.slow_path.take_changed_path_mtus();
    stage.pass(599_000);
    assert_eq!(stage.slow_path.take_changed_path_mtus(), None);
    stage.pass(2_000);
    let published = stage.slow_path.take_changed_path_mtus();
    assert_eq!(published, Some(mtus(None)));
}

/// Each is published to all workers: no flood of them is.
#[test]
fn no_more_are_learned_than_a_hundred_in_a_second() {
    let mut stage = Stage::new();
    for mtu in (600..1400).rev() {
        punt(&mut stage, &too_big(mtu));
    }
    let published = stage.slow_path.take_changed_path_mtus();
    assert_eq!(published, Some(mtus(Some(1300))));
    let n_ignored = stage.slow_path.drops()[DropReason::IcmpIgnored.index()];
    assert_eq!(n_ignored, 700);
}

#[test]
fn what_names_no_mtu_teaches_none() {
    let mut stage = Stage::new();
    let unreachable =
        icmp("10.0.0.9:0", "10.0.0.1:0", [3, 1], [0; 4]).data(&too_big(1400).packet_bytes()[..60]);
    punt(&mut stage, &unreachable);
    assert_eq!(stage.slow_path.take_changed_path_mtus(), None);
    assert_eq!(stage.slow_path.take_action(), None);
}
