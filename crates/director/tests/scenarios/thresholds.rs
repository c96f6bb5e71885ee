//! Connection thresholds: a destination that has its number gets no new connections until enough have ended.

use std::time::Duration;

use weir_director::{DropReason, Load, PuntReason, Scheduler, Verdict, WorkerId};
use weir_testkit::{By, FrameBuilder, IPV4, IPV6, Rig, SCHEDULERS, Site, tcp, udp};
use weir_wire::Protocol;

use crate::conversation::{Conversation, client};

const BOTH: [(&str, u32); 2] = [(IPV4.real, 1), (IPV4.other_real, 1)];

/// One TCP service with one real server.
fn rig(upper: u32, lower: u32) -> Rig {
    Rig::new(site(upper, lower))
}

fn site(upper: u32, lower: u32) -> Site {
    Site::new()
        .thresholds(upper, lower)
        .service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &BOTH[..1])
}

fn syn(cport: u16) -> FrameBuilder {
    tcp(client(IPV4, cport), IPV4.vip).syn()
}

#[track_caller]
fn is_refused(rig: &mut Rig, cport: u16) {
    rig.send(&syn(cport)).is_punted(PuntReason::NoDestination);
}

/// Whatever their state, connections count until they are gone.
#[test]
fn connections_count_from_the_first_to_their_end() {
    for family in [IPV4, IPV6] {
        let site = Site::new().thresholds(4, 2).service(
            Protocol::Tcp,
            family.vip,
            Scheduler::Wlc,
            &[(family.real, 1)],
        );
        let mut rig = Rig::new(site);
        let syn = |cport| tcp(client(family, cport), family.vip).syn();
        let closed: Vec<_> = (1..4)
            .map(|cport| Conversation::establish(&mut rig, client(family, cport), family.vip))
            .collect();
        Conversation::establish(&mut rig, client(family, 4), family.vip);
        rig.send(&syn(5)).is_punted(PuntReason::NoDestination);
        // In TIME_WAIT they are inactive, and count all the same.
        for conversation in &closed {
            conversation.close(&mut rig);
        }
        rig.send(&syn(5)).is_punted(PuntReason::NoDestination);
        rig.pass(Duration::from_secs(121));
        assert_eq!(rig.connections().len(), 1);
        rig.forward(&syn(5));
    }
}

/// `lower` is what it has to fall below, not to.
#[test]
fn it_stays_closed_down_to_the_lower_threshold() {
    let mut rig = rig(3, 2);
    let conversations =
        [1, 2, 3].map(|cport| Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip));
    let end = |rig: &mut Rig, n: usize| {
        rig.forward(&conversations[n].inbound(1, 1).rst());
        rig.pass(Duration::from_secs(11));
    };
    end(&mut rig, 0);
    is_refused(&mut rig, 4);
    end(&mut rig, 1);
    rig.forward(&syn(4));
    rig.forward(&syn(5));
    is_refused(&mut rig, 6);
}

/// Of 4, three quarters are 3.
#[test]
fn without_a_lower_threshold_it_is_three_quarters() {
    let mut rig = rig(4, 0);
    let conversations =
        [1, 2, 3, 4].map(|cport| Conversation::establish(&mut rig, client(IPV4, cport), IPV4.vip));
    for conversation in &conversations[..2] {
        is_refused(&mut rig, 9);
        rig.forward(&conversation.inbound(1, 1).rst());
        rig.pass(Duration::from_secs(11));
    }
    rig.forward(&syn(9));
}

/// Thresholds are for new connections.
#[test]
fn living_connections_go_on() {
    let mut rig = rig(1, 0);
    let conversation = Conversation::establish(&mut rig, client(IPV4, 1), IPV4.vip);
    is_refused(&mut rig, 2);
    rig.forward(&conversation.inbound(1, 1).data(b"ask"));
    rig.forward(&conversation.outbound(1, 4).data(b"told"));
}

/// None has more than its number, whoever picks; lblc alone does not ask of the destination that it has cached, as in
/// IPVS.
#[test]
fn no_scheduler_goes_beyond() {
    for scheduler in SCHEDULERS {
        let site = Site::new().thresholds(3, 0);
        let site = site.service(
            Protocol::Tcp,
            IPV4.vip,
            scheduler,
            &[(IPV4.real, 99), (IPV4.other_real, 99)],
        );
        let mut rig = Rig::new(site);
        let sent: Vec<Verdict> = (1..20).map(|cport| rig.send(&syn(cport)).verdict).collect();
        let of = |real| rig.site.destination(Protocol::Tcp, IPV4.vip, real);
        let mut shares = BOTH.map(|(real, _)| rig.totals(of(real)).load.n_connections());
        shares.sort_unstable();
        let due = if scheduler == Scheduler::Dh {
            // The VIP leads to one of them alone.
            [0, 3]
        } else if scheduler == Scheduler::Lblc {
            [0, 19]
        } else {
            [3, 3]
        };
        assert_eq!(shares, due, "{scheduler}");
        let n_refused = sent
            .iter()
            .filter(|verdict| **verdict == Verdict::Punt(PuntReason::NoDestination));
        assert_eq!(n_refused.count() as u64, 19 - shares[0] - shares[1]);
    }
}

/// Datagrams' flows count too, and every method's connections.
#[test]
fn every_method_and_protocol_counts() {
    for by in [By::FullNat, By::Nat, By::Dr] {
        let real = "10.0.0.11:80";
        let site = Site::new().by(by).thresholds(2, 0);
        let site = site.service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &[(real, 1)]);
        let mut rig = Rig::new(site);
        for cport in [1, 2, 1, 2] {
            rig.forward(&udp(client(IPV4, cport), IPV4.vip));
        }
        let third = udp(client(IPV4, 3), IPV4.vip);
        rig.send(&third).is_punted(PuntReason::NoDestination);
        rig.pass(Duration::from_secs(301));
        rig.forward(&third);
    }
}

/// What other workers have published counts as one's own.
#[test]
fn connections_of_all_workers_count() {
    let mut rig = rig(4, 3);
    let id = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    let publish = |rig: &mut Rig, active, inactive| {
        rig.directors[0].set_load_elsewhere(id, Load { active, inactive });
    };
    publish(&mut rig, 1, 2);
    rig.forward(&syn(1));
    is_refused(&mut rig, 2);
    publish(&mut rig, 1, 1);
    is_refused(&mut rig, 2);
    publish(&mut rig, 1, 0);
    rig.forward(&syn(2));
    // Another worker may fill it up as well.
    publish(&mut rig, 2, 0);
    is_refused(&mut rig, 3);
}

/// Three workers, each with its own connections, see the same destination closed and open.
#[test]
fn all_workers_close_and_open_together() {
    let mut rig = Rig::new(site(6, 0).workers(3));
    let id = rig.site.destination(Protocol::Tcp, IPV4.vip, IPV4.real);
    let publish = |rig: &mut Rig| {
        let loads: Vec<Load> = rig
            .directors
            .iter()
            .map(|director| director.destination_totals(id).load)
            .collect();
        for (me, director) in rig.directors.iter_mut().enumerate() {
            let others = loads.iter().enumerate().filter(|(other, _)| *other != me);
            director.set_load_elsewhere(id, others.map(|(_, load)| *load).sum());
        }
    };
    let mut n_open = 0;
    for cport in 1..60 {
        let outcome = rig.receive(WorkerId(0), &syn(cport).bytes());
        n_open += u32::from(matches!(outcome.verdict, Verdict::Transmit(_)));
        publish(&mut rig);
    }
    assert_eq!(n_open, 6);
    assert!(
        rig.directors
            .iter()
            .all(|director| director.usage().used < 6)
    );
    rig.pass(Duration::from_secs(61));
    publish(&mut rig);
    for cport in 1..60 {
        let outcome = rig.receive(WorkerId(0), &syn(cport).bytes());
        n_open += u32::from(matches!(outcome.verdict, Verdict::Transmit(_)));
        publish(&mut rig);
    }
    assert_eq!(n_open, 12);
}

/// A connection that makes room for another ends as well.
#[test]
fn evicted_connections_count_no_more() {
    let site = site(3, 0).thresholds(0, 0);
    let other = "192.0.2.101:80";
    let site = site.service(Protocol::Tcp, other, Scheduler::Rr, &BOTH[1..]);
    let mut rig = Rig::with_connections(site, 4);
    for cport in 1..4 {
        rig.forward(&syn(cport));
    }
    is_refused(&mut rig, 9);
    for cport in 1..4 {
        rig.forward(&tcp(client(IPV4, cport), other).syn());
    }
    assert_eq!(rig.directors[0].n_evicted(), 2);
    rig.forward(&syn(9));
}

/// As `ipvsadm -e -x` has it: a higher number, or none, opens at once.
#[test]
fn a_reload_that_raises_the_threshold_opens() {
    for (upper, lower) in [(3, 1), (0, 0)] {
        let mut rig = rig(2, 1);
        rig.forward(&syn(1));
        rig.forward(&syn(2));
        is_refused(&mut rig, 3);
        let publish = |rig: &mut Rig, upper, lower| {
            rig.publish(|site| {
                let site = site.thresholds(upper, lower);
                site.service(Protocol::Tcp, IPV4.vip, Scheduler::Rr, &BOTH[..1])
            });
        };
        publish(&mut rig, 2, 1);
        is_refused(&mut rig, 3);
        publish(&mut rig, upper, lower);
        rig.forward(&syn(3));
    }
}

/// The port unreachable that IPVS answers with is control's to send; a client's stray segment is still a stray.
#[test]
fn nobody_but_newcomers_hears_of_it() {
    let mut rig = rig(1, 0);
    rig.forward(&syn(1));
    is_refused(&mut rig, 2);
    let stray = tcp(client(IPV4, 3), IPV4.vip).ack(1);
    rig.send(&stray).is_punted(PuntReason::NoConnection);
    let forged = tcp("127.0.0.1:9", IPV4.vip).syn();
    rig.send(&forged).is_dropped(DropReason::SourceInvalid);
}
