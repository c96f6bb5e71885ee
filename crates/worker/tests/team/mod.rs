//! Workers on a bench: real directors and rings, NICs made of queues that fail when told to.
//!
//! Promises: a frame is where a test put it, in a pool, in a queue or in a worker, and nowhere else; time passes only
//! when told to. Once built, nothing here allocates but what returns a `Vec`.
//! Does not know: threads (but may be shared with them), DPDK.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use weir_director::{
    AddressUse, DestinationId, Director, DropReason, Endpoint, PortId, Protocol, PuntReason, Sizes,
    Steering, Tick, WorkerId,
};
use weir_memory::Pages;
use weir_testkit::{
    Decoded, FrameBuilder, IPV4, IntoEndpoint, LAN, LAN_MAC, Site, TestBuffer, WAN, WAN_MAC,
    decode, real_server_mac, udp,
};
use weir_wire::{FlowKey, Packet, PacketBuffer};
use weir_worker::{
    Bell, Burst, Counters, FrameReceiver, FrameSender, Idle, Links, Listing, Mailbox, Order,
    PacketIo, PortPlan, Published, Publisher, Punt, Worker, frame_ring, hand_off_rings,
};

pub(crate) type Pool = Arc<ArrayQueue<TestBuffer>>;

/// A buffer that goes back to its pool when it is dropped, as an mbuf does.
pub(crate) struct Buffer {
    /// Always there but while it is dropped.
    inner: Option<TestBuffer>,
    pool: Pool,
}

impl Buffer {
    fn new(pool: &Pool, frame: &[u8]) -> Option<Self> {
        let mut inner = pool.pop()?;
        inner.refill(frame);
        Some(Self {
            inner: Some(inner),
            pool: Arc::clone(pool),
        })
    }

    pub(crate) fn frame(&self) -> &[u8] {
        self.inner.as_ref().unwrap().frame()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let is_back = self.pool.push(self.inner.take().unwrap()).is_ok();
        assert!(is_back, "more buffers came back than there are");
    }
}

impl PacketBuffer for Buffer {
    fn packet(&mut self) -> Packet<'_> {
        self.inner.as_mut().unwrap().packet()
    }
}

/// One worker's queues on one port.
pub(crate) struct Queues {
    plan: PortPlan,
    me: WorkerId,
    pub(crate) incoming: VecDeque<Buffer>,
    pub(crate) outgoing: VecDeque<Buffer>,
    /// How many frames the transmit queue still takes.
    pub(crate) room: usize,
}

/// One worker's queues on all ports.
pub(crate) struct Nic {
    pub(crate) ports: Vec<Queues>,
    /// Whether there are buffers for orders.
    pub(crate) may_allocate: bool,
}

pub(crate) struct TestIo {
    nic: Arc<Mutex<Nic>>,
    pool: Pool,
}

impl PacketIo for TestIo {
    type Buffer = Buffer;

    fn receive(&mut self, port: PortId, burst: &mut Burst<Buffer>) {
        let queues = &mut self.nic.lock().unwrap().ports[usize::from(port.0)];
        assert!(queues.plan.receives, "no receive queue on {port:?}");
        while !burst.is_full()
            && let Some(buffer) = queues.incoming.pop_front()
        {
            burst.push(buffer);
        }
    }

    fn transmit(&mut self, port: PortId, burst: &mut Burst<Buffer>) {
        let queues = &mut self.nic.lock().unwrap().ports[usize::from(port.0)];
        assert_eq!(queues.plan.transmits_by, queues.me, "no queue on {port:?}");
        let n_taken = queues.room.min(burst.len());
        queues.room -= n_taken;
        queues.outgoing.extend(burst.drain(..n_taken));
    }

    fn allocate(&mut self, frame: &[u8]) -> Option<Buffer> {
        let may_allocate = self.nic.lock().unwrap().may_allocate;
        let is_small = frame.len() <= TestBuffer::DATAROOM;
        (may_allocate && is_small)
            .then(|| Buffer::new(&self.pool, frame))
            .flatten()
    }
}

/// What a team is made of.
pub(crate) struct Plan {
    pub(crate) site: Site,
    /// Connections a worker has room for.
    pub(crate) connections: u32,
    /// Packets each hand-off ring has room for.
    pub(crate) hand_off_packets: usize,
    /// Frames the rings from and to the control thread have room for.
    pub(crate) control_frames: usize,
    /// Bytes of such a frame, at most.
    pub(crate) control_frame_bytes: usize,
    pub(crate) n_buffers: usize,
    /// Changes which queues a worker has on a port; it has all, at first.
    pub(crate) queues: fn(WorkerId, PortPlan) -> PortPlan,
}

impl Plan {
    pub(crate) fn new(site: Site) -> Self {
        Self {
            site,
            connections: 1024,
            hand_off_packets: 256,
            control_frames: 64,
            control_frame_bytes: 4096,
            n_buffers: 1024,
            queues: |_, plan| plan,
        }
    }

    fn ports(&self, worker: WorkerId) -> Vec<PortPlan> {
        let plan = |id, mac| PortPlan {
            id,
            mac,
            receives: true,
            transmits_by: worker,
        };
        [plan(WAN, WAN_MAC), plan(LAN, LAN_MAC)]
            .map(|plan| (self.queues)(worker, plan))
            .to_vec()
    }
}

/// Workers, everything they are tied to, and the time.
pub(crate) struct Team {
    pub(crate) workers: Vec<Worker<TestIo>>,
    pub(crate) nics: Vec<Arc<Mutex<Nic>>>,
    pub(crate) pool: Pool,
    pub(crate) published: Arc<[Published]>,
    pub(crate) listings: Vec<Arc<Listing>>,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) publisher: Publisher,
    pub(crate) punts: Vec<FrameReceiver<Punt>>,
    pub(crate) orders: Vec<FrameSender<Order>>,
    /// Where the bell for punts is heard.
    pub(crate) listener: UnixDatagram,
    pub(crate) site: Site,
    pub(crate) now_ns: u64,
    /// How often a worker looked at the clock that tells how long bursts take.
    pub(crate) n_looks: Cell<u64>,
    /// So many cycles pass from one look to the next.
    pub(crate) cycles_a_look: u64,
    steering: Arc<Steering>,
}

impl Team {
    pub(crate) fn new(mut plan: Plan) -> Self {
        let snapshot = plan.site.snapshot();
        let ids = || (0..plan.site.n_workers()).map(WorkerId);
        let pool: Pool = Arc::new(ArrayQueue::new(plan.n_buffers));
        while pool.push(TestBuffer::new(&[])).is_ok() {}
        let hand_offs = hand_off_rings(plan.site.n_workers(), plan.hand_off_packets);
        let published: Arc<[_]> = ids().map(|_| Published::default()).collect();
        let mailboxes: Vec<_> = ids().map(|_| Arc::new(Mailbox::default())).collect();
        let listings: Vec<_> = ids().map(|_| Arc::new(Listing::default())).collect();
        let (bell, listener) = Bell::new().unwrap();
        let (frames, bytes) = (plan.control_frames, plan.control_frame_bytes);
        let (punt_senders, punts): (Vec<_>, _) = ids()
            .map(|_| frame_ring(frames, bytes, Some(bell.clone())))
            .unzip();
        let (orders, order_receivers): (_, Vec<_>) =
            ids().map(|_| frame_ring(frames, bytes, None)).unzip();
        let nics: Vec<_> = ids()
            .map(|me| {
                let ports = plan.ports(me).into_iter().map(|plan_of_port| Queues {
                    plan: plan_of_port,
                    me,
                    incoming: VecDeque::with_capacity(plan.n_buffers),
                    outgoing: VecDeque::with_capacity(plan.n_buffers),
                    room: usize::MAX,
                });
                Arc::new(Mutex::new(Nic {
                    ports: ports.collect(),
                    may_allocate: true,
                }))
            })
            .collect();
        let publisher = Publisher::new(mailboxes.clone(), Arc::clone(&snapshot));
        let sizes = Sizes {
            connections: plan.connections,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let ends = punt_senders.into_iter().zip(order_receivers).zip(hand_offs);
        let workers = ids().zip(ends).map(|(me, ((punts, orders), hand_offs))| {
            let place = usize::from(me.0);
            let snapshot = Arc::clone(&snapshot);
            let director = Director::new(me, sizes, Site::SEED, snapshot, Tick(0)).unwrap();
            let io = TestIo {
                nic: Arc::clone(&nics[place]),
                pool: Arc::clone(&pool),
            };
            let links = Links {
                mailbox: Arc::clone(&mailboxes[place]),
                punts,
                orders,
                hand_offs,
                published: Arc::clone(&published),
                listing: Arc::clone(&listings[place]),
            };
            Worker::new(me, io, director, links, plan.ports(me), Instant::now())
        });
        Self {
            workers: workers.collect(),
            nics,
            pool,
            published,
            listings,
            mailboxes,
            publisher,
            punts,
            orders,
            listener,
            site: plan.site,
            now_ns: 0,
            n_looks: Cell::new(0),
            cycles_a_look: 0,
            steering: Arc::clone(&snapshot.steering),
        }
    }

    pub(crate) fn nic(&self, worker: u8) -> MutexGuard<'_, Nic> {
        self.nics[usize::from(worker)].lock().unwrap()
    }

    /// A frame comes in by a worker's receive queue; `false`: there is no buffer for it.
    pub(crate) fn try_arrive(&self, worker: u8, port: PortId, frame: &[u8]) -> bool {
        let buffer = Buffer::new(&self.pool, frame);
        let is_there = buffer.is_some();
        self.nic(worker).ports[usize::from(port.0)]
            .incoming
            .extend(buffer);
        is_there
    }

    #[track_caller]
    pub(crate) fn arrive(&self, worker: u8, port: PortId, frame: &FrameBuilder) {
        let is_there = self.try_arrive(worker, port, &frame.bytes());
        assert!(is_there, "the pool is empty");
    }

    /// The transmit queue takes that many frames more, and then none.
    pub(crate) fn set_room(&self, worker: u8, port: PortId, n_frames: usize) {
        self.nic(worker).ports[usize::from(port.0)].room = n_frames;
    }

    /// Takes what a worker has sent by a port off the wire.
    pub(crate) fn frames(&self, worker: u8, port: PortId) -> Vec<Vec<u8>> {
        let outgoing = &mut self.nic(worker).ports[usize::from(port.0)].outgoing;
        let frames = outgoing.drain(..);
        frames.map(|buffer| buffer.frame().to_vec()).collect()
    }

    /// Likewise, read, with every checksum verified.
    pub(crate) fn sent(&self, worker: u8, port: PortId) -> Vec<Decoded> {
        let frames = self.frames(worker, port);
        frames.iter().map(|frame| decode(frame)).collect()
    }

    /// One turn of one worker; whether it was busy.
    pub(crate) fn turn(&mut self, worker: u8) -> bool {
        let cycles = || {
            self.n_looks.set(self.n_looks.get() + 1);
            self.n_looks.get() * self.cycles_a_look
        };
        self.workers[usize::from(worker)].turn(self.now_ns, cycles)
    }

    /// Turns until no worker has anything to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let turns = self.workers.iter_mut();
            let n_busy = turns.filter_map(|worker| worker.turn(self.now_ns, || 0).then_some(()));
            if n_busy.count() == 0 {
                return;
            }
        }
        panic!("the workers find no end");
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now_ns += time.as_nanos() as u64;
    }

    /// What a worker has counted up to now: it is run with the stop flag set, so that it publishes all and no more.
    pub(crate) fn counters(&mut self, worker: u8) -> Counters {
        let place = usize::from(worker);
        self.workers[place].run(Idle::Poll, &AtomicBool::new(true), || 0);
        self.published[place].counters()
    }

    pub(crate) fn dropped(&mut self, worker: u8, reason: DropReason) -> u64 {
        self.counters(worker).dropped[reason.index()]
    }

    /// Frames that were dropped, for whatever reason.
    pub(crate) fn all_dropped(&mut self, worker: u8) -> u64 {
        self.counters(worker).dropped.iter().sum()
    }

    pub(crate) fn punted(&mut self, worker: u8, reason: PuntReason) -> u64 {
        self.counters(worker).punted[reason.index()]
    }

    /// What the control thread gets from a worker.
    pub(crate) fn punts(&mut self, worker: u8) -> Vec<(Punt, Vec<u8>)> {
        let ring = &mut self.punts[usize::from(worker)];
        std::iter::from_fn(|| ring.receive(|frame| (frame.label, frame.bytes().to_vec()))).collect()
    }

    /// Gives a worker an order; `false` when the ring is full.
    pub(crate) fn order(&mut self, worker: u8, order: Order, frame: &[u8]) -> bool {
        self.orders[usize::from(worker)].send(order, frame)
    }

    /// Publishes a snapshot of the site as `change` makes it.
    pub(crate) fn publish(&mut self, change: impl FnOnce(Site) -> Site) {
        self.site = change(self.site.clone());
        self.publisher.publish(self.site.snapshot());
    }

    /// Clients of [`IPV4`]'s network whose packets to its VIP belong to a worker.
    pub(crate) fn clients(
        &self,
        worker: u8,
        protocol: Protocol,
    ) -> impl Iterator<Item = Endpoint> + use<> {
        let steering = Arc::clone(&self.steering);
        let (ip, vip) = (IPV4.client.into_endpoint().ip(), IPV4.vip.into_endpoint());
        let clients = (1..=u16::MAX).map(move |cport| Endpoint::new(ip, cport));
        clients.filter(move |client| {
            let key = FlowKey::new(protocol, *client, vip).unwrap();
            steering.owner(&key, AddressUse::Virtual) == WorkerId(worker)
        })
    }

    /// The first of them, over UDP.
    pub(crate) fn client(&self, worker: u8) -> Endpoint {
        self.clients(worker, Protocol::Udp).next().unwrap()
    }

    /// The id of one of the site's destinations of a service over UDP.
    pub(crate) fn destination(&self, real: &str) -> DestinationId {
        self.site.destination(Protocol::Udp, IPV4.vip, real)
    }

    /// Buffers that are not in the pool.
    pub(crate) fn n_buffers_out(&self) -> usize {
        self.pool.capacity() - self.pool.len()
    }
}

/// A datagram from a client.
pub(crate) fn datagram(client: Endpoint) -> FrameBuilder {
    udp(client, IPV4.vip)
}

/// The real server's answer to a datagram as the director sent it.
pub(crate) fn answer(sent: &Decoded) -> FrameBuilder {
    udp(sent.destination, sent.source).macs(real_server_mac(sent.destination.ip()), LAN_MAC)
}

/// That many workers and a service over UDP with one real server.
pub(crate) fn team_of(n_workers: u8) -> Team {
    Team::new(Plan::new(one_server(n_workers)))
}

/// A service over UDP with one real server.
pub(crate) fn one_server(n_workers: u8) -> Site {
    Site::with_one_server(Protocol::Udp).workers(n_workers)
}
