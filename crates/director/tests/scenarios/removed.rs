//! What becomes of connections to a destination that was removed (`removed_destination`, `expire_nodest_conn`).

use weir_director::{DropReason, IpvsSettings, PuntReason, RemovedDestination, Scheduler, State};
use weir_testkit::{By, IPV4, IPV6, Rig, Site, icmp, tcp, udp};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client};

const BOTH: [(&str, u32); 2] = [(IPV4.real, 1), (IPV4.other_real, 1)];

fn rig(removed: RemovedDestination, ends_with_destination: bool) -> Rig {
    let site = Site::new().removed_destination(removed).ipvs(IpvsSettings {
        ends_with_destination,
        ..IpvsSettings::default()
    });
    Rig::new(with(site, &BOTH))
}

/// TCP and UDP.
fn with(site: Site, destinations: &[(&str, u32)]) -> Site {
    [Protocol::Tcp, Protocol::Udp]
        .into_iter()
        .fold(site, |site, protocol| {
            site.service(protocol, IPV4.vip, Scheduler::Rr, destinations)
        })
}

fn publish(rig: &mut Rig, destinations: &[(&str, u32)]) {
    rig.publish(|site| with(site, destinations));
}

/// The default, whatever `expire_nodest_conn` says.
#[test]
fn finish_lets_connections_run_on() {
    for ends_with_destination in [false, true] {
        let mut rig = rig(RemovedDestination::Finish, ends_with_destination);
        let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
        let flow = rig.forward(&udp(IPV4.client, IPV4.vip));
        publish(&mut rig, &BOTH[..1]);
        rig.forward(&conversation.inbound(1, 1).data(b"still"));
        assert_eq!(
            rig.forward(&udp(IPV4.client, IPV4.vip)).destination,
            flow.destination
        );
        conversation.close(&mut rig);
    }
}

/// Dropped while it is gone, and forwarded again once it is back.
#[test]
fn ipvs_drops_what_the_client_sends_while_the_destination_is_gone() {
    let mut rig = rig(RemovedDestination::Ipvs, false);
    let gone = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    let kept = Conversation::establish(&mut rig, client(IPV4, 2), IPV4.vip);
    let flow = rig.forward(&udp(IPV4.client, IPV4.vip));
    assert_eq!(gone.real.to_string(), IPV4.other_real);
    publish(&mut rig, &BOTH[..1]);
    rig.send(&gone.inbound(1, 1).data(b"lost"))
        .is_dropped(DropReason::DestinationRemoved);
    let ask = udp(IPV4.client, IPV4.vip);
    rig.send(&ask).is_dropped(DropReason::DestinationRemoved);
    rig.forward(&kept.inbound(1, 1).data(b"kept"));
    // What the real server sends is forwarded, and so are errors.
    rig.forward(&gone.outbound(1, 1).data(b"late"));
    let error = icmp(gone.client, gone.vip, [3, 3], [0; 4])
        .data(&tcp(gone.vip, gone.client).ack(1).packet_bytes());
    rig.forward(&error);
    // A SYN in a living connection is its packet; in one that is over it begins a new one, elsewhere.
    rig.send(&gone.inbound(0, 0).syn())
        .is_dropped(DropReason::DestinationRemoved);
    publish(&mut rig, &BOTH);
    rig.forward(&gone.inbound(1, 1).data(b"back"));
    assert_eq!(rig.forward(&ask).destination, flow.destination);
    gone.close(&mut rig);
    publish(&mut rig, &BOTH[..1]);
    rig.send(&gone.inbound(2, 2))
        .is_dropped(DropReason::DestinationRemoved);
    let anew = Conversation::begin(&mut rig, gone.client, gone.vip);
    assert_eq!(anew.real.to_string(), IPV4.real);
    assert_eq!(rig.connections().len(), 3);
}

/// So it is when the whole service is gone.
#[test]
fn ipvs_drops_packets_of_a_removed_service() {
    let mut rig = rig(RemovedDestination::Ipvs, false);
    let gone = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let others = Site::new()
        .removed_destination(RemovedDestination::Ipvs)
        .service(Protocol::Tcp, IPV6.vip, Scheduler::Rr, &[]);
    rig.publish(|_| others);
    rig.send(&gone.inbound(1, 1))
        .is_dropped(DropReason::DestinationRemoved);
}

/// The connection ends; what may open one is scheduled anew, all else is a stray.
#[test]
fn under_expire_nodest_the_connection_ends_with_its_next_packet() {
    let mut rig = rig(RemovedDestination::Ipvs, true);
    let gone = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    let ask = udp(IPV4.client, IPV4.vip);
    assert_eq!(rig.forward(&ask).destination.to_string(), IPV4.other_real);
    publish(&mut rig, &BOTH[..1]);
    rig.send(&gone.inbound(1, 1))
        .is_punted(PuntReason::NoConnection);
    assert_eq!(rig.connections().len(), 1);
    assert_eq!(rig.forward(&ask).destination.to_string(), IPV4.real);
    let id = rig
        .site
        .destination(Protocol::Udp, IPV4.vip, IPV4.other_real);
    assert_eq!(rig.totals(id).load.n_connections(), 0);
    // A SYN at once.
    let mut rig = self::rig(RemovedDestination::Ipvs, true);
    let gone = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    publish(&mut rig, &BOTH[..1]);
    let anew = Conversation::begin(&mut rig, gone.client, gone.vip);
    assert_eq!(anew.real.to_string(), IPV4.real);
    assert_eq!(rig.connection().state, State::SynRecv);
}

/// `expire_nodest_conn` says as much of a destination of weight 0, to which a SYN comes.
#[test]
fn under_expire_nodest_a_syn_to_one_that_drains_is_scheduled_anew() {
    for (removed, ends_with_destination) in [
        (RemovedDestination::Finish, true),
        (RemovedDestination::Ipvs, true),
        (RemovedDestination::Ipvs, false),
    ] {
        for by in [By::FullNat, By::Nat] {
            let mut rig = rig(removed, ends_with_destination);
            rig.publish(|site| with(site.by(by), &BOTH));
            let syn = tcp(IPV4.client, IPV4.vip).syn();
            let first = rig.forward(&syn).destination;
            publish(&mut rig, &[BOTH[0], (IPV4.other_real, 0)]);
            // Data goes on in any case.
            let data = tcp(IPV4.client, IPV4.vip).ack(1).data(b"still");
            assert_eq!(rig.forward(&data).destination, first);
            let is_moved = rig.forward(&syn).destination != first;
            assert_eq!(is_moved, ends_with_destination);
            assert_eq!(rig.connections().len(), 1);
        }
    }
}
