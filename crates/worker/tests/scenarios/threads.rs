//! Workers on threads of their own, as they run in earnest.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_director::{DropReason, Generation, PortId, Protocol, PuntReason};
use weir_testkit::{LAN, WAN};
use weir_worker::{Bell, Idle, Punt, frame_ring};

use crate::team::{Plan, Team, answer, datagram, one_server, team_of};

const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `is_so`; panics when that does not come.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}

/// Ends the workers however the test ends.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Frames that all workers have sent by a port.
fn n_sent(team: &Team, port: PortId) -> usize {
    let queues = (0..2).map(|worker| team.nic(worker).ports[usize::from(port.0)].outgoing.len());
    queues.sum()
}

/// Two workers on two threads carry every packet, strays and answers included, and end when told to.
#[test]
fn two_threads_lose_nothing_and_end_when_told_to() {
    const ROUNDS: usize = 40;
    const FLOWS: usize = 50;
    let mut team = team_of(2);
    let clients: Vec<_> = (0..2)
        .flat_map(|owner| team.clients(owner, Protocol::Udp).take(FLOWS / 2))
        .collect();
    let mut workers = std::mem::take(&mut team.workers);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = StopAtEnd(&stop);
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(|| worker.run(Idle::Backoff, &stop, || 0)))
            .collect();
        for round in 0..ROUNDS {
            for (n, client) in clients.iter().enumerate() {
                team.arrive(((n + round) % 2) as u8, WAN, &datagram(*client));
            }
            wait_until("not all came through", || n_sent(&team, LAN) == FLOWS);
            let sent: Vec<_> = (0..2).flat_map(|worker| team.sent(worker, LAN)).collect();
            for (n, sent) in sent.iter().enumerate() {
                team.arrive(((n + round) % 2) as u8, LAN, &answer(sent));
            }
            wait_until("not all came back", || n_sent(&team, WAN) == FLOWS);
            for worker in 0..2 {
                team.sent(worker, WAN);
            }
        }
        let n_packets = (2 * ROUNDS * FLOWS) as u64;
        wait_until("counters are not published while it runs", || {
            let all = team.published.iter();
            all.map(|worker| worker.counters().transmitted).sum::<u64>() == n_packets
        });
        stop.store(true, Ordering::Relaxed);
        wait_until("a worker does not end", || {
            threads.iter().all(|thread| thread.is_finished())
        });
    });
    let all: Vec<_> = team
        .published
        .iter()
        .map(|worker| worker.counters())
        .collect();
    let (first, second) = (all[0], all[1]);
    let n_packets = (2 * ROUNDS * FLOWS) as u64;
    assert_eq!(first.received + second.received, n_packets);
    assert_eq!(first.handed_over, second.taken_over);
    assert_eq!(second.handed_over, first.taken_over);
    assert!(first.handed_over > 0 && second.handed_over > 0);
    for counters in all {
        assert_eq!(counters.dropped.iter().sum::<u64>(), 0);
        assert_eq!(counters.punted.iter().sum::<u64>(), 0);
        assert!(counters.busy_ns > 0 && counters.busy_ns <= counters.elapsed_ns);
    }
    assert_eq!(first.connections + second.connections, FLOWS as u64);
    assert_eq!(team.n_buffers_out(), 0);
}

/// A worker that is stopped in the midst of a turn stops neither the other nor whoever publishes and lists; packets for it
/// wait while there is room and are counted as dropped beyond. When it goes on, so does everything.
#[test]
fn a_worker_that_is_stuck_stops_nobody() {
    const ROOM: usize = 64;
    const STRAYS: usize = 100;
    let mut team = Team::new(Plan {
        hand_off_packets: ROOM,
        ..Plan::new(one_server(2))
    });
    let [mine, its] = [0, 1].map(|owner| team.client(owner));
    let mut workers = std::mem::take(&mut team.workers);
    // A worker that finds its queues locked waits: that is where this one is stuck.
    let nics = team.nics.clone();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = StopAtEnd(&stop);
        let stuck = nics[1].lock().unwrap();
        for worker in &mut workers {
            scope.spawn(|| worker.run(Idle::Backoff, &stop, || 0));
        }
        let counters = |team: &Team, worker: usize| team.published[worker].counters();
        // (1) The other goes on, and the ring to the stuck one runs over.
        for _ in 0..STRAYS {
            team.arrive(0, WAN, &datagram(its));
        }
        wait_until("the ring does not run over", || {
            counters(&team, 0).dropped[DropReason::HandOffRingFull.index()]
                == (STRAYS - ROOM) as u64
        });
        assert_eq!(counters(&team, 0).handed_over, ROOM as u64);
        for _ in 0..10 {
            team.arrive(0, WAN, &datagram(mine));
            wait_until("the other stands still", || {
                team.nic(0).ports[1].outgoing.len() == 1
            });
            let sent = team.sent(0, LAN);
            team.arrive(0, LAN, &answer(&sent[0]));
            wait_until("the other stands still", || {
                team.nic(0).ports[0].outgoing.len() == 1
            });
            team.sent(0, WAN);
        }
        // (2) Snapshots are published over and over, and kept for the stuck one.
        for generation in 2..10 {
            team.publish(|site| site);
            wait_until("the other does not adopt", || {
                team.mailboxes[0].adopted() == Generation(generation)
            });
        }
        assert_eq!(team.mailboxes[1].adopted(), Generation(1));
        assert_eq!(
            team.publisher.reap(),
            2,
            "what the stuck one runs, and the newest"
        );
        // (3) The other's connections are listed; whoever asks the stuck one is not held up.
        assert!(team.listings[0].ask(0, 2000) && team.listings[1].ask(0, 2000));
        let mut page = None;
        wait_until("the other does not list", || {
            page = team.listings[0].take();
            page.is_some()
        });
        assert_eq!(page.unwrap().rows.len(), 1);
        assert!(team.listings[1].take().is_none());
        // (4) It goes on: what waited is forwarded, the newest snapshot adopted, the page filled.
        drop(stuck);
        wait_until("what waited is lost", || {
            team.nic(1).ports[1].outgoing.len() == ROOM
        });
        wait_until("it does not adopt", || {
            team.mailboxes[1].adopted() == Generation(9)
        });
        let mut page = None;
        wait_until("it does not list", || {
            page = team.listings[1].take();
            page.is_some()
        });
        assert!(page.unwrap().rows.len() <= 1);
        let sent = team.sent(1, LAN);
        team.arrive(0, LAN, &answer(&sent[0]));
        wait_until("its answers are lost", || {
            team.nic(1).ports[0].outgoing.len() == 1
        });
        assert_eq!(team.publisher.reap(), 1);
    });
    let dropped = |worker: u8| team.published[usize::from(worker)].counters().dropped;
    assert_eq!(dropped(0).iter().sum::<u64>(), (STRAYS - ROOM) as u64);
    assert_eq!(dropped(1), [0; DropReason::COUNT]);
}

/// Whoever sleeps until the bell rings, and then empties the ring, never sleeps over a frame.
#[test]
fn a_frame_put_into_a_ring_that_is_just_being_emptied_rings() {
    const FRAMES: usize = 1_000_000;
    let (bell, listener) = Bell::new().unwrap();
    let (mut sender, mut receiver) = frame_ring::<Punt>(64, 64, Some(bell));
    listener.set_nonblocking(false).unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = StopAtEnd(&stop);
        scope.spawn(|| {
            let punt = Punt {
                port: WAN,
                reason: PuntReason::Arp,
            };
            let mut n_sent = 0;
            while n_sent < FRAMES && !stop.load(Ordering::Relaxed) {
                if sender.send(punt, b"frame") {
                    n_sent += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let mut n_received = 0;
        while n_received < FRAMES {
            if let Err(error) = listener.recv(&mut [0]) {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                panic!(
                    "slept with {n_received} frames received, ring empty: {}",
                    receiver.is_empty()
                );
            }
            while receiver.receive(|_| ()).is_some() {
                n_received += 1;
            }
        }
    });
}
