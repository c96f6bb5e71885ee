//! The same client tuple again (`conn_reuse_mode` of IPVS; 1 where nothing is said).

use weir_director::{IpvsSettings, Reuse, Scheduler, State};
use weir_testkit::{By, IPV4, IPV6, LAN_MAC, Rig, Site, tcp};
use weir_wire::Protocol;

use crate::conversation::Conversation;

fn rig_with_two_servers() -> Rig {
    let site = [IPV4, IPV6].iter().fold(Site::new(), |site, family| {
        let destinations = [(family.real, 1), (family.other_real, 1)];
        site.service(Protocol::Tcp, family.vip, Scheduler::Rr, &destinations)
    });
    Rig::new(site)
}

/// A SYN in TIME_WAIT opens a new connection in place of the old one, scheduled anew.
#[test]
fn a_syn_in_time_wait_is_scheduled_anew() {
    for family in [IPV4, IPV6] {
        let mut rig = rig_with_two_servers();
        let first = Conversation::establish(&mut rig, family.client, family.vip);
        first.close(&mut rig);
        assert_eq!(rig.connection().state, State::TimeWait);
        let second = Conversation::begin(&mut rig, family.client, family.vip);
        assert_ne!(second.real, first.real);
        let connection = rig.connection();
        assert_eq!(
            (connection.state, connection.real),
            (State::SynRecv, second.real)
        );
    }
}

/// Likewise in CLOSE.
#[test]
fn a_syn_in_close_is_scheduled_anew() {
    for family in [IPV4, IPV6] {
        let mut rig = rig_with_two_servers();
        let first = Conversation::establish(&mut rig, family.client, family.vip);
        rig.forward(&first.inbound(1, 1).rst());
        assert_eq!(rig.connection().state, State::Close);
        let second = Conversation::begin(&mut rig, family.client, family.vip);
        assert_ne!(second.real, first.real);
        assert_eq!(rig.connection().state, State::SynRecv);
    }
}

/// Any other state: the SYN goes to the real server, which answers as it sees fit.
#[test]
fn a_syn_in_a_living_connection_passes_through() {
    let mut rig = rig_with_two_servers();
    let first = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    assert_eq!((sent.source, sent.destination), (first.local, first.real));
    assert_eq!(rig.connection().state, State::Established);
    rig.forward(&first.outbound(1, 1).fin());
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    assert_eq!((sent.source, sent.destination), (first.local, first.real));
    assert_eq!(
        rig.connection().state,
        State::SynRecv,
        "as tcp_states has it"
    );
}

/// Nothing but a SYN of the client's begins anything.
#[test]
fn only_a_clients_syn_begins_anew() {
    let mut rig = rig_with_two_servers();
    let first = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    first.close(&mut rig);
    let servers_syn = tcp(first.real, first.local).syn();
    for frame in [
        first.inbound(2, 2),
        servers_syn.macs(LAN_MAC, LAN_MAC),
        first.inbound(2, 2).syn(),
    ] {
        rig.forward(&frame);
        assert_eq!(rig.connection().local, first.local);
    }
}

/// The end of the transcript "DR": a SYN in FIN_WAIT, in modes 1 and 3.
#[test]
fn a_syn_in_fin_wait_of_a_one_way_connection_begins_anew_in_mode_3() {
    for (reuse, is_anew) in [
        (Reuse::Over, false),
        (Reuse::OverOrFinWait, true),
        (Reuse::Never, false),
    ] {
        for family in [IPV4, IPV6] {
            let mut rig = rig_by(By::Dr, reuse);
            let segment = || tcp(family.client, family.vip);
            let first = rig.forward(&segment().syn()).destination_mac;
            rig.forward(&segment().ack(1));
            rig.forward(&segment().fin().ack(1));
            assert_eq!(rig.connection().state, State::FinWait);
            let second = rig.forward(&segment().syn()).destination_mac;
            assert_eq!(second != first, is_anew, "{reuse:?}");
            assert_eq!(rig.connection().state, State::SynRecv);
        }
    }
}

/// Where the real server's packets are seen, FIN_WAIT is not the end.
#[test]
fn a_syn_in_fin_wait_under_nat_passes_through_in_mode_3() {
    let mut rig = rig_by(By::FullNat, Reuse::OverOrFinWait);
    let first = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    rig.forward(&first.outbound(1, 1).fin());
    assert_eq!(rig.connection().state, State::FinWait);
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    assert_eq!(sent.destination, first.real);
}

/// Mode 0: a SYN is a packet of the connection that there is, whatever its state.
#[test]
fn in_mode_0_nothing_begins_anew() {
    let mut rig = rig_by(By::FullNat, Reuse::Never);
    let first = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    first.close(&mut rig);
    let sent = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    assert_eq!((sent.source, sent.destination), (first.local, first.real));
    assert_eq!(rig.connection().state, State::SynRecv);
}

fn rig_by(by: By, reuse: Reuse) -> Rig {
    let site = Site::with_two_servers(by, &[Protocol::Tcp]);
    Rig::new(site.ipvs(IpvsSettings {
        reuse,
        ..IpvsSettings::default()
    }))
}
