//! Nothing appears or vanishes: whatever comes in leaves in exactly one way, under any faults.

use std::time::Duration;

use weir_director::{DropReason, PortId, Protocol, Scheduler, WorkerId};
use weir_testkit::{
    FAMILIES, FrameBuilder, IntoEndpoint, LAN, LAN_MAC, ROUTER_MAC, Random, Site, WAN,
    echo_request, tcp, udp,
};
use weir_worker::{Counters, Order, PortPlan};

use crate::team::{Plan, Queues, Team};

const N_WORKERS: u8 = 2;
const STEPS: usize = 400;

fn site() -> Site {
    let site = Site::with_one_server(Protocol::Tcp).workers(N_WORKERS);
    // Networks of clients: families' masks differ in kind, and a mask of the other family is none.
    let site = site.persistent(Duration::from_secs(300), "255.255.255.0");
    FAMILIES.iter().fold(site, |site, family| {
        let destinations = [(family.real, 1), (family.other_real, 2)];
        site.service(Protocol::Udp, family.vip, Scheduler::Wlc, &destinations)
    })
}

/// Small rings, few buffers; worker 1 sends on LAN through worker 0 and receives nothing on WAN.
fn team() -> Team {
    Team::new(Plan {
        connections: 64,
        hand_off_packets: 16,
        control_frames: 8,
        n_buffers: 256,
        queues: |worker, plan| match (worker, plan.id) {
            (WorkerId(1), LAN) => PortPlan {
                transmits_by: WorkerId(0),
                ..plan
            },
            (WorkerId(1), WAN) => PortPlan {
                receives: false,
                ..plan
            },
            (_, _) => plan,
        },
        ..Plan::new(site())
    })
}

/// A packet of a client or a real server, now and then one that must be refused, punted, or makes no sense.
fn frame(random: &mut Random) -> Vec<u8> {
    let family = FAMILIES[random.below(FAMILIES.len())];
    let mut client = family.client.into_endpoint();
    client.set_port(1000 + random.below(60) as u16);
    let mut local = family.local.into_endpoint();
    local.set_port(1024 + random.below(60) as u16);
    let from_real = |frame: FrameBuilder| frame.macs(ROUTER_MAC, LAN_MAC);
    let builder = match random.below(14) {
        0..3 => udp(client, family.vip),
        3 | 4 => tcp(client, family.vip).syn(),
        5 => tcp(client, family.vip).ack(1),
        6 => from_real(udp(family.real, local)),
        7 => from_real(tcp(family.real, local).ack(1)),
        8 => echo_request(client, family.vip),
        9 => tcp(client, family.vip)
            .fin()
            .ack(1)
            .ttl(1 + random.below(2) as u8),
        10 => udp(client, family.vip).vlan(random.below(2) as u16),
        // Any part of a datagram, of which there are few, so that some meet.
        11 => udp(client, family.vip).fragment(8 * random.below(4) as u16, random.percent(70)),
        12 => from_real(udp(family.real, local)).fragment(8 * random.below(3) as u16, true),
        _ => {
            let n_bytes = random.below(100);
            return random.bytes(n_bytes);
        }
    };
    let n_bytes = if random.percent(10) { 1520 } else { 8 };
    let mut builder = builder.data_bytes(n_bytes);
    if random.percent(50) {
        builder = builder.may_be_fragmented();
    }
    let mut bytes = builder.bytes();
    if random.percent(5) {
        bytes.truncate(random.below(60));
    }
    bytes
}

fn port(random: &mut Random) -> PortId {
    if random.percent(50) { WAN } else { LAN }
}

/// What the test itself has seen, over all workers.
#[derive(Debug, Default)]
struct Seen {
    arrived: usize,
    /// By worker.
    ordered: [usize; N_WORKERS as usize],
    transmitted: usize,
    punted: usize,
}

fn sum(all: &[Counters], count: impl Fn(&Counters) -> u64) -> usize {
    all.iter().map(count).sum::<u64>() as usize
}

fn n_queued(team: &Team, worker: u8, queue: impl Fn(&Queues) -> usize) -> usize {
    team.nic(worker).ports.iter().map(queue).sum()
}

/// Every frame that came in is in one place or was counted in one way. What waits in a worker is known from the
/// pool: it is what is neither there nor in a queue or ring.
fn check(team: &mut Team, seen: &Seen) {
    let all: Vec<_> = (0..N_WORKERS).map(|worker| team.counters(worker)).collect();
    let n_incoming: usize = (0..N_WORKERS)
        .map(|worker| n_queued(team, worker, |queues| queues.incoming.len()))
        .sum();
    assert_eq!(
        team.n_buffers_out(),
        n_incoming + n_outgoing(team) + n_inside(&all, seen)
    );
    assert_eq!(
        sum(&all, |counters| counters.received),
        seen.arrived - n_incoming
    );
}

fn n_outgoing(team: &Team) -> usize {
    (0..N_WORKERS)
        .map(|worker| n_queued(team, worker, |queues| queues.outgoing.len()))
        .sum()
}

/// What the counters say is in rings or waits to be transmitted.
fn n_inside(all: &[Counters], seen: &Seen) -> usize {
    let came_in = sum(all, |counters| counters.received) + seen.ordered.iter().sum::<usize>();
    came_in + sum(all, |counters| counters.made) - sum(all, ended)
}

/// Frames that ended at a worker, in whatever way.
fn ended(counters: &Counters) -> u64 {
    counters.transmitted
        + counters.dropped.iter().sum::<u64>()
        + counters.punted.iter().sum::<u64>()
}

fn collect(team: &Team, worker: u8, seen: &mut Seen) {
    for port in [WAN, LAN] {
        seen.transmitted += team.frames(worker, port).len();
    }
}

/// Random traffic and orders over two workers, while queues, rings and pools fail at random.
#[test]
fn every_frame_leaves_in_exactly_one_way() {
    for seed in 0..16 {
        let mut random = Random(seed);
        let mut team = team();
        let mut seen = Seen::default();
        for _ in 0..STEPS {
            for _ in 0..random.below(24) {
                let worker = random.below(2) as u8;
                let port = if worker == 1 { LAN } else { port(&mut random) };
                let mut frame = frame(&mut random);
                // Half of those that come in by LAN are addressed to it, whatever they are.
                if port == LAN && frame.len() > 6 && random.percent(50) {
                    frame[..6].copy_from_slice(&LAN_MAC.0);
                }
                seen.arrived += usize::from(team.try_arrive(worker, port, &frame));
            }
            for worker in 0..N_WORKERS {
                if random.percent(40) {
                    // It is slow: others' packets pile up in its ring.
                    continue;
                }
                for port in [WAN, LAN] {
                    // A fault lasts for some turns.
                    if random.percent(15) {
                        let room = [usize::MAX, random.below(8)][random.below(2)];
                        team.set_room(worker, port, room);
                    }
                }
                team.nic(worker).may_allocate = random.percent(80);
                for _ in 0..random.below(4) {
                    let order = if random.percent(50) {
                        Order::Process(port(&mut random))
                    } else {
                        Order::Transmit(port(&mut random))
                    };
                    let frame = frame(&mut random);
                    // Until the turn that follows the ring holds them; it takes them all.
                    seen.ordered[usize::from(worker)] +=
                        usize::from(team.order(worker, order, &frame));
                }
                team.turn(worker);
                if random.percent(50) {
                    seen.punted += team.punts(worker).len();
                }
                if random.percent(80) {
                    collect(&team, worker, &mut seen);
                }
                check(&mut team, &seen);
            }
            team.now_ns += random.below(500_000_000) as u64;
        }
        // The faults end: what waits leaves.
        for worker in 0..N_WORKERS {
            team.set_room(worker, WAN, usize::MAX);
            team.set_room(worker, LAN, usize::MAX);
            team.nic(worker).may_allocate = true;
        }
        team.settle();
        // What has waited for the rest of its datagram.
        team.pass(Duration::from_secs(2));
        team.settle();
        for worker in 0..N_WORKERS {
            collect(&team, worker, &mut seen);
            seen.punted += team.punts(worker).len();
        }
        check(&mut team, &seen);
        assert_eq!(team.n_buffers_out(), 0, "a buffer is lost");
        check_totals(&mut team, &seen);
        // Templates end too: none waits for a connection that nobody told it of.
        for _ in 0..60 {
            team.pass(Duration::from_secs(61));
            team.settle();
        }
        for worker in 0..N_WORKERS {
            assert_eq!(team.counters(worker).connections, 0, "seed {seed}");
        }
    }
}

/// At rest: what one worker handed over another took; what was counted as sent or punted was seen outside; each
/// worker's own sum comes out.
fn check_totals(team: &mut Team, seen: &Seen) {
    let all: Vec<_> = (0..N_WORKERS).map(|worker| team.counters(worker)).collect();
    assert_eq!(n_inside(&all, seen), 0);
    assert_eq!(sum(&all, |counters| counters.received), seen.arrived);
    assert_eq!(sum(&all, |counters| counters.transmitted), seen.transmitted);
    assert_eq!(
        sum(&all, |counters| counters.punted.iter().sum()),
        seen.punted
    );
    let [first, second] = &all[..] else {
        panic!("two workers");
    };
    assert_eq!(first.handed_over, second.taken_over);
    assert_eq!(second.handed_over, first.taken_over);
    for (counters, ordered) in all.iter().zip(seen.ordered) {
        let came_in = counters.received + counters.made + counters.taken_over + ordered as u64;
        assert_eq!(came_in, ended(counters) + counters.handed_over);
    }
    // The faults did happen.
    for reason in [
        DropReason::TransmitQueueFull,
        DropReason::HandOffRingFull,
        DropReason::PuntRingFull,
        DropReason::NoBuffer,
        DropReason::MacNotOurs,
        DropReason::FragmentFirstMissing,
    ] {
        let n_dropped = sum(&all, |counters| counters.dropped[reason.index()]);
        assert_ne!(n_dropped, 0, "{reason}");
    }
    assert_ne!(sum(&all, |counters| counters.made), 0);
    assert_ne!(first.handed_over, 0);
    assert_ne!(second.handed_over, 0);
}
