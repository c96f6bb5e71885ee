//! What a new snapshot does to connections: nothing, unless it is about them.

use weir_director::{PuntReason, Scheduler};
use weir_testkit::{IPV4, Rig, SCHEDULERS, Site, tcp};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client};

const BOTH: [(&str, u32); 2] = [(IPV4.real, 1), (IPV4.other_real, 1)];

fn site(destinations: &[(&str, u32)]) -> Site {
    let site = Site::new();
    site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, destinations)
}

fn publish(rig: &mut Rig, destinations: &[(&str, u32)]) {
    rig.publish(|site| site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, destinations));
}

/// Weight 0: no new connection, while the old ones go on.
#[test]
fn weight_0_drains() {
    let mut rig = Rig::new(site(&BOTH));
    let old = [1, 2].map(|cport| Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip));
    let drained = old[0].real.to_string();
    let weights = BOTH.map(|(real, _)| (real, u32::from(real != drained)));
    publish(&mut rig, &weights);
    for cport in 10..14 {
        let new = Conversation::begin(&mut rig, client(IPV4, cport), IPV4.vip);
        assert_ne!(new.real, old[0].real);
    }
    let sent = rig.forward(&old[0].inbound(1, 2).data(b"still"));
    assert_eq!(
        (sent.destination, sent.data()),
        (old[0].real, &b"still"[..])
    );
    rig.forward(&old[0].outbound(1, 6));
}

/// A connection whose real server was removed runs on to its end, and is still counted for it.
#[test]
fn a_removed_destinations_connection_goes_on() {
    let mut rig = Rig::new(site(&BOTH));
    let old = [1, 2].map(|cport| Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip));
    let (removed, kept) = (old[0], old[1]);
    publish(&mut rig, &[(&kept.real.to_string(), 1)]);
    rig.forward(&removed.inbound(1, 2).data(b"still"));
    let id = rig.connections()[0].destination;
    assert_eq!(rig.totals(id).load.active, 1);
    removed.close(&mut rig);
    assert_eq!(rig.totals(id).load.inactive, 1);
}

/// So does one whose whole service was removed.
#[test]
fn a_removed_services_connection_goes_on() {
    let mut rig = Rig::new(site(&BOTH));
    let conversation = Conversation::establish(&mut rig, IPV4.client, IPV4.vip);
    let others = Site::new().service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &BOTH);
    rig.publish(|_| others);
    rig.forward(&conversation.inbound(1, 2));
    let syn = tcp(client(IPV4, 9), IPV4.vip).syn();
    rig.send(&syn).is_punted(PuntReason::NoService);
}

/// All destinations drained, or none there.
#[test]
fn nobody_to_serve_is_punted() {
    for destinations in [&[(IPV4.real, 0)][..], &[]] {
        for scheduler in SCHEDULERS {
            let site = Site::new().service(Protocol::Tcp, IPV4.vip, scheduler, destinations);
            Rig::new(site)
                .send(&tcp(IPV4.client, IPV4.vip).syn())
                .is_punted(PuntReason::NoDestination);
        }
    }
}

/// wlc weighs the connections that there are, here and elsewhere.
#[test]
fn schedulers_see_the_load_elsewhere() {
    let destinations = [(IPV4.real, 1), (IPV4.other_real, 1)];
    let site = Site::new().service(Protocol::Tcp, IPV4.vip, Scheduler::Wlc, &destinations);
    let mut rig = Rig::new(site);
    let busy = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    let load = weir_director::Load {
        active: 10,
        inactive: 0,
    };
    rig.directors[0].set_load_elsewhere(busy, load);
    for cport in 0..10 {
        let conversation = Conversation::begin(&mut rig, client(IPV4, cport + 1), IPV4.vip);
        assert_eq!(conversation.real.to_string(), IPV4.other_real);
    }
}

/// Shares follow the weights exactly under wrr.
#[test]
fn wrr_shares_by_weight() {
    let destinations = [(IPV4.real, 3), (IPV4.other_real, 1)];
    let site = Site::new().service(Protocol::Tcp, IPV4.vip, Scheduler::Wrr, &destinations);
    let mut rig = Rig::new(site);
    for cport in 0..40 {
        Conversation::begin(&mut rig, client(IPV4, cport + 1), IPV4.vip);
    }
    let of = |real| rig.site.destination(Protocol::Tcp, IPV4.vip, real);
    let connections = [IPV4.real, IPV4.other_real].map(|real| rig.totals(of(real)).connections);
    assert_eq!(connections, [30, 10]);
}
