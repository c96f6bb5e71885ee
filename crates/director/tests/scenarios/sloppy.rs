//! TCP segments in mid-stream that belong to no connection (`sloppy_tcp` of IPVS).

use weir_director::{IpvsSettings, PuntReason, State, Verdict};
use weir_testkit::{By, IPV4, IPV6, LAN, Rig, Site, decode, tcp};
use weir_wire::Protocol;

use crate::conversation::client;

/// Two real servers in turn.
fn rig(by: By, sloppy_tcp: bool) -> Rig {
    let site = Site::with_two_servers(by, &[Protocol::Tcp]);
    Rig::new(site.ipvs(IpvsSettings {
        sloppy_tcp,
        ..IpvsSettings::default()
    }))
}

fn states(rig: &Rig) -> Vec<(State, u32)> {
    let mut views = rig.connections();
    views.sort_by_key(|view| view.client.port());
    views
        .iter()
        .map(|view| (view.state, view.expires_ticks / 1000))
        .collect()
}

/// The transcript "mid-stream ACK without connection (sloppy_tcp 0 / 1)".
#[test]
fn segments_in_mid_stream_open_connections_as_in_ipvs() {
    for family in [IPV4, IPV6] {
        let segment = |cport| tcp(client(family, cport), family.vip).seq(1).ack(1);
        let mut rig = rig(By::Nat, false);
        rig.send(&segment(1114)).is_punted(PuntReason::NoConnection);
        assert!(rig.connections().is_empty());

        let mut rig = self::rig(By::Nat, true);
        let sent = rig.forward(&segment(1115));
        let to = family.other_real;
        assert!(
            sent.to_string()
                .starts_with(&format!("tcp A {}>{to} ttl63", client(family, 1115))),
            "{sent}"
        );
        assert_eq!(states(&rig), [(State::Established, 900)]);
        let sent = rig.forward(&segment(1116).fin());
        let to = family.real;
        assert!(
            sent.to_string()
                .starts_with(&format!("tcp FA {}>{to} ttl63", client(family, 1116))),
            "{sent}"
        );
        rig.send(&segment(1117).rst())
            .is_punted(PuntReason::NoConnection);
        assert_eq!(
            states(&rig),
            [(State::Established, 900), (State::Close, 10)]
        );
    }
}

/// Under every method; the connection goes on as any other.
#[test]
fn a_connection_taken_up_in_mid_stream_goes_on() {
    for by in [By::FullNat, By::Nat, By::Dr] {
        let mut rig = rig(by, true);
        let segment = || tcp(IPV4.client, IPV4.vip).seq(1).ack(1);
        let first = rig.send(&segment());
        assert_eq!(first.verdict, Verdict::Transmit(LAN));
        for _ in 0..3 {
            let again = rig.send(&segment().data(b"more"));
            assert_eq!(
                decode(&again.frame).destination_mac,
                decode(&first.frame).destination_mac
            );
        }
        assert_eq!(states(&rig), [(State::Established, 900)]);
        rig.send(&segment().rst());
        assert_eq!(states(&rig), [(State::Close, 10)]);
    }
}

/// A segment with SYN and ACK begins in SYN_RECV, one without any flag in CLOSE.
#[test]
fn the_flags_say_in_which_state_it_begins() {
    let segment = || tcp(IPV4.client, IPV4.vip);
    for (segment, state) in [
        (segment().syn().ack(1), State::SynRecv),
        (segment().fin(), State::Close),
        (segment(), State::Close),
        (segment().ack(1), State::Established),
    ] {
        let mut rig = rig(By::Dr, true);
        rig.send(&segment).sent();
        assert_eq!(rig.connection().state, state);
    }
}
