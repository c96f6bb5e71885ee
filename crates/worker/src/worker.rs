//! One worker: its turn of the loop, from receiving a burst to publishing what it counted.
//!
//! Promises: run to completion; a turn never waits. Verdicts are carried out, and drops counted, here and nowhere
//! else.
//! Does not know: why a verdict is what it is (`weir_director`).
//!
//! How it works: a turn (1) adopts a new snapshot, (2) takes a burst from each of its queues, (3) takes what other
//! workers handed over and tell, (4) carries out the control thread's orders, (5) takes up fragments that have waited,
//! (6) ends connections whose time is over, (7) lists connections if somebody asks, (8) now and then publishes its
//! counters.
//!
//! Two clocks are arguments: nanoseconds, read once a turn, by which everything is decided, and cycles, read where a
//! burst comes in and where it leaves, by which nothing is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arrayvec::ArrayVec;
use weir_director::{
    Arrival, BURST, Choice, DestinationId, Director, DropReason, HELD, HoldPlace, Load, PortId,
    PuntReason, Settled, Tick, Verdict, WorkerId,
};
use weir_wire::ethernet::Mac;
use weir_wire::{Fragmenter, Packet, PacketBuffer};

use crate::hand_off::Task;
use crate::idle::Backoff;
use crate::{
    Burst, BurstTimes, Counters, FrameReceiver, FrameSender, HandOffs, Idle, Listing, Mailbox,
    PacketIo, Published,
};

/// Connections looked at for expiry in one turn, at most.
const EXPIRY_BUDGET: usize = 64;
/// How often counters are published.
const PUBLISH_EVERY_NS: u64 = 2_000_000;
/// Over how long the times of bursts are told.
const SUM_UP_EVERY_NS: u64 = 1_000_000_000;
/// Destinations whose totals are published at a time; of more, each waits for its turn.
const DESTINATIONS_A_TIME: usize = 256;
/// Packets taken over from other workers in one turn, at most, but a burst from each: more than one worker's queues may
/// bring in meanwhile.
const HAND_OFFS_A_TURN: usize = 8 * BURST;
/// Notes taken from each other worker in one turn, at most.
const NOTES_A_TURN: usize = 1024;
/// Bytes of a frame with the largest IP packet, at most.
const MAX_FRAME_BYTES: usize = (1 << 16) + 18;
/// The control thread's orders carried out in one turn, at most.
const ORDERS_A_TURN: usize = BURST;

/// What a worker knows of a port.
#[derive(Clone, Copy, Debug)]
pub struct PortPlan {
    /// The port.
    pub id: PortId,
    /// Its MAC address.
    pub mac: Mac,
    /// Whether this worker has a receive queue on it.
    pub receives: bool,
    /// Whose transmit queue takes this worker's packets: its own, or another's on a port with too few.
    pub transmits_by: WorkerId,
}

/// Why the control thread gets a frame.
#[derive(Clone, Copy, Debug)]
pub struct Punt {
    /// The port by which it came in.
    pub port: PortId,
    /// Why.
    pub reason: PuntReason,
}

/// What the control thread wants done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send it by this port.
    Transmit(PortId),
    /// Treat it as if it came in by this port now.
    Process(PortId),
}

/// What ties a worker to the others and to the control thread.
pub struct Links<B> {
    /// Where snapshots arrive.
    pub mailbox: Arc<Mailbox>,
    /// Frames for the control thread.
    pub punts: FrameSender<Punt>,
    /// Frames from the control thread.
    pub orders: FrameReceiver<Order>,
    /// Packets to and from other workers.
    pub hand_offs: HandOffs<B>,
    /// What everybody has published, by `WorkerId`.
    pub published: Arc<[Published]>,
    /// Where connections are listed.
    pub listing: Arc<Listing>,
}

/// What waits to be transmitted by a port. Aligned, so that nothing of another thread's lies on its lines.
#[repr(align(64))]
struct Staged<B>(Burst<B>);

/// A place for a packet that the director holds, with the port it came in by.
type Held<B> = Option<(PortId, B)>;

/// One worker.
pub struct Worker<Io: PacketIo> {
    me: WorkerId,
    io: Io,
    director: Director,
    links: Links<Io::Buffer>,
    ports: Vec<PortPlan>,
    /// By `PortId`.
    staged: Vec<Staged<Io::Buffer>>,
    /// By `HoldPlace`.
    held: Box<[Held<Io::Buffer>]>,
    /// Where the next fragment is written of a packet that is cut: room for the frame of the largest packet there is.
    cutting_board: Vec<u8>,
    counters: Counters,
    burst_times: BurstTimes,
    began: Instant,
    published_at_ns: u64,
    summed_up_at_ns: u64,
    next_destination: usize,
}

impl<Io: PacketIo> Worker<Io> {
    /// A worker that has not run yet. `ports[i].id` is *i*.
    pub fn new(
        me: WorkerId,
        io: Io,
        director: Director,
        links: Links<Io::Buffer>,
        ports: Vec<PortPlan>,
        began: Instant,
    ) -> Self {
        let staged = ports.iter().map(|_| Staged(ArrayVec::new())).collect();
        Self {
            me,
            io,
            director,
            links,
            ports,
            staged,
            held: (0..HELD).map(|_| None).collect(),
            cutting_board: Vec::with_capacity(MAX_FRAME_BYTES),
            counters: Counters::default(),
            burst_times: BurstTimes::default(),
            began,
            published_at_ns: 0,
            summed_up_at_ns: 0,
            next_destination: 0,
        }
    }

    /// Runs until `stop` is set. `cycles` tells how long bursts take; nothing else depends on it.
    pub fn run(&mut self, idle: Idle, stop: &AtomicBool, cycles: impl Fn() -> u64) {
        let mut backoff = Backoff::new(idle);
        let mut previous_ns = self.now_ns();
        while !stop.load(Ordering::Relaxed) {
            let now_ns = self.now_ns();
            let was_busy = self.turn(now_ns, &cycles);
            if was_busy {
                self.counters.busy_ns += self.now_ns() - now_ns;
            }
            self.counters.elapsed_ns += now_ns - previous_ns;
            previous_ns = now_ns;
            backoff.after_turn(was_busy);
        }
        self.publish_all();
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// One turn of the loop at `now_ns` nanoseconds after the start; whether there was anything to do.
    pub fn turn(&mut self, now_ns: u64, cycles: impl Fn() -> u64) -> bool {
        let now = Tick((now_ns / 1_000_000) as u32);
        self.links.mailbox.adopt(&mut self.director);
        let mut was_busy = false;
        for place in 0..self.ports.len() {
            was_busy |= self.receive(place, now, &cycles);
        }
        was_busy |= self.take_hand_offs(now);
        self.exchange_notes();
        was_busy |= self.take_orders(now);
        was_busy |= self.take_settled(now);
        self.flush();
        self.burst_times.transmitted(&cycles);
        was_busy |= self.director.expire(now, EXPIRY_BUDGET) != 0;
        was_busy |= self.links.listing.fill(&self.director, now);
        if now_ns.wrapping_sub(self.published_at_ns) >= PUBLISH_EVERY_NS {
            self.published_at_ns = now_ns;
            self.sum_up_bursts(now_ns);
            self.publish();
        }
        was_busy
    }

    /// The times of bursts, which are forgotten every second.
    pub fn burst_times(&mut self) -> &mut BurstTimes {
        &mut self.burst_times
    }

    fn receive(&mut self, place: usize, now: Tick, cycles: impl Fn() -> u64) -> bool {
        let PortPlan {
            id, mac, receives, ..
        } = self.ports[place];
        if !receives {
            return false;
        }
        let mut burst = Burst::new();
        self.io.receive(id, &mut burst);
        if burst.is_empty() {
            return false;
        }
        self.burst_times.received(cycles);
        self.counters.received += burst.len() as u64;
        self.process(&mut burst, id, Arrival::Wire { port: id, mac }, now);
        true
    }

    /// Asks the director about each packet of a burst, all from one port, and carries the verdicts out.
    fn process(
        &mut self,
        burst: &mut Burst<Io::Buffer>,
        port: PortId,
        arrival: Arrival,
        now: Tick,
    ) {
        let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
        let mut packets: ArrayVec<Packet<'_>, BURST> =
            burst.iter_mut().map(PacketBuffer::packet).collect();
        self.director
            .process(&mut packets, arrival, now, &mut verdicts);
        drop(packets);
        if let Some(port) = self.common_way(&verdicts[..burst.len()]) {
            return self.transmit_whole(port, burst);
        }
        for (buffer, verdict) in burst.drain(..).zip(verdicts) {
            self.carry_out(verdict, port, buffer);
        }
    }

    /// Carries out the verdict on a packet that came in by `port`.
    #[inline]
    fn carry_out(&mut self, verdict: Verdict, port: PortId, buffer: Io::Buffer) {
        match verdict {
            Verdict::Transmit(by) => self.stage(by, buffer),
            Verdict::Fragment { port: by, mtu } => self.cut(by, mtu, buffer),
            Verdict::HandOff(owner) => self.hand_off(owner, Task::Process(port), buffer),
            Verdict::Hold(place) => self.hold(place, port, buffer),
            Verdict::Consult(other) => self.hand_off(other, Task::Choose(port, self.me), buffer),
            Verdict::Punt(reason) => self.punt(Punt { port, reason }, buffer),
            Verdict::Drop(reason) => self.drop_one(reason),
        }
    }

    /// Chooses a destination for another worker's packet, which goes back with it.
    #[cold]
    fn choose(&mut self, port: PortId, asker: WorkerId, mut buffer: Io::Buffer, now: Tick) {
        let choice = match self.director.choose(&buffer.packet(), now) {
            Ok(choice) => choice,
            Err(verdict) => return self.carry_out(verdict, port, buffer),
        };
        let task = Task::ProcessChosen(port, choice);
        match self.links.hand_offs.put(asker, task, buffer) {
            Ok(()) => self.counters.handed_over += 1,
            Err(_) => {
                self.director.give_back(choice);
                self.drop_one(DropReason::HandOffRingFull);
            }
        }
    }

    /// Decides on a packet that comes back with a choice.
    #[cold]
    fn process_chosen(&mut self, port: PortId, choice: Choice, mut buffer: Io::Buffer, now: Tick) {
        let verdict = self
            .director
            .process_chosen(&mut buffer.packet(), choice, now);
        self.carry_out(verdict, port, buffer);
    }

    /// Tells other workers what they have to know of their templates' connections, and hears what they tell.
    #[inline]
    fn exchange_notes(&mut self) {
        while let Some(note) = self.director.next_note()
            && self.links.hand_offs.put_note(note)
        {
            self.director.note_is_sent();
        }
        for ring in 0..self.links.hand_offs.n_rings() {
            for _ in 0..NOTES_A_TURN {
                let Some(note) = self.links.hand_offs.take_note(ring) else {
                    break;
                };
                self.director.take_note(note);
            }
        }
    }

    /// The port by which all packets of a burst leave, if this worker itself transmits there and nothing waits before
    /// them: the common case, in which no buffer needs to be looked at one by one.
    #[inline]
    fn common_way(&self, verdicts: &[Verdict]) -> Option<PortId> {
        let Verdict::Transmit(port) = *verdicts.first()? else {
            return None;
        };
        let plan = self.ports.get(usize::from(port.0))?;
        let is_free = plan.transmits_by == self.me && self.staged[usize::from(port.0)].0.is_empty();
        let is_common = verdicts
            .iter()
            .all(|verdict| matches!(verdict, Verdict::Transmit(other) if *other == port));
        (is_free && is_common).then_some(port)
    }

    /// Transmits a whole burst; what the queue does not take waits for the end of the turn.
    #[inline]
    fn transmit_whole(&mut self, port: PortId, burst: &mut Burst<Io::Buffer>) {
        let n_before = burst.len();
        self.io.transmit(port, burst);
        self.counters.transmitted += (n_before - burst.len()) as u64;
        self.staged[usize::from(port.0)].0.extend(burst.drain(..));
    }

    fn drop_one(&mut self, reason: DropReason) {
        self.counters.dropped[reason.index()] += 1;
    }

    fn stage(&mut self, port: PortId, buffer: Io::Buffer) {
        let Some(plan) = self.ports.get(usize::from(port.0)) else {
            return self.drop_one(DropReason::NoRoute);
        };
        if plan.transmits_by != self.me {
            return self.hand_off(plan.transmits_by, Task::Transmit(port), buffer);
        }
        let Staged(staged) = &mut self.staged[usize::from(port.0)];
        if staged.is_full() {
            let n_before = staged.len();
            self.io.transmit(port, staged);
            self.counters.transmitted += (n_before - staged.len()) as u64;
        }
        if staged.try_push(buffer).is_err() {
            self.drop_one(DropReason::TransmitQueueFull);
        }
    }

    /// Transmits what is staged; what a queue does not take waits for the next turn.
    fn flush(&mut self) {
        for (plan, Staged(staged)) in self.ports.iter().zip(&mut self.staged) {
            if !staged.is_empty() {
                let n_before = staged.len();
                self.io.transmit(plan.id, staged);
                self.counters.transmitted += (n_before - staged.len()) as u64;
            }
        }
    }

    fn hand_off(&mut self, owner: WorkerId, task: Task, buffer: Io::Buffer) {
        match self.links.hand_offs.put(owner, task, buffer) {
            Ok(()) => self.counters.handed_over += 1,
            Err(_) => self.drop_one(DropReason::HandOffRingFull),
        }
    }

    /// Sends a packet in fragments, in buffers of their own. Where those run out the rest ends, and with it the datagram.
    #[cold]
    fn cut(&mut self, port: PortId, mtu: u16, mut buffer: Io::Buffer) {
        let mut fragment = std::mem::take(&mut self.cutting_board);
        let packet = buffer.packet();
        let mut n_frames = 0;
        if let Some(mut fragmenter) = Fragmenter::new(packet.frame(), mtu) {
            while fragmenter.next_into(&mut fragment) {
                n_frames += 1;
                let Some(part) = self.io.allocate(&fragment) else {
                    self.drop_one(DropReason::NoBuffer);
                    break;
                };
                self.stage(port, part);
            }
        } else {
            n_frames = 1;
            self.drop_one(DropReason::TooBig);
        }
        self.counters.made += n_frames - 1;
        self.cutting_board = fragment;
    }

    fn hold(&mut self, place: HoldPlace, port: PortId, buffer: Io::Buffer) {
        let place = &mut self.held[usize::from(place.0)];
        if place.replace((port, buffer)).is_some() {
            self.drop_one(DropReason::FragmentStoreFull);
        }
    }

    fn punt(&mut self, punt: Punt, mut buffer: Io::Buffer) {
        let index = punt.reason.index();
        let punts = &mut self.links.punts;
        let n_reserved = reserved(punt.reason, punts.capacity());
        let packet = buffer.packet();
        let is_too_long = packet.frame().len() > punts.frame_bytes();
        if punts.send_leaving(n_reserved, punt, packet.frame()) {
            self.counters.punted[index] += 1;
        } else if is_too_long {
            self.drop_one(DropReason::PuntTooLong);
        } else {
            self.drop_one(DropReason::PuntRingFull);
        }
    }

    fn take_hand_offs(&mut self, now: Tick) -> bool {
        let n_rings = self.links.hand_offs.n_rings();
        let mut was_busy = false;
        for ring in 0..n_rings {
            was_busy |= self.take_from(ring, (HAND_OFFS_A_TURN / n_rings).max(BURST), now);
        }
        was_busy
    }

    /// Takes up to `n_packets` from one of the rings.
    #[inline]
    fn take_from(&mut self, ring: usize, n_packets: usize, now: Tick) -> bool {
        let mut burst = Burst::new();
        let mut came_by = PortId(0);
        let mut was_busy = false;
        for _ in 0..n_packets {
            let Some((task, buffer)) = self.links.hand_offs.take(ring) else {
                break;
            };
            was_busy = true;
            self.counters.taken_over += 1;
            match task {
                Task::Transmit(port) => self.stage(port, buffer),
                Task::Choose(port, asker) => self.choose(port, asker, buffer, now),
                Task::ProcessChosen(port, choice) => {
                    // What came before it stays before it.
                    if !burst.is_empty() {
                        self.process(&mut burst, came_by, Arrival::HandedOver, now);
                    }
                    self.process_chosen(port, choice, buffer, now);
                }
                Task::Process(port) => {
                    // A burst is of one port.
                    if burst.is_full() || port != came_by && !burst.is_empty() {
                        self.process(&mut burst, came_by, Arrival::HandedOver, now);
                    }
                    came_by = port;
                    burst.push(buffer);
                }
            }
        }
        if !burst.is_empty() {
            self.process(&mut burst, came_by, Arrival::HandedOver, now);
        }
        was_busy
    }

    /// Takes up what was held and need not be any longer.
    #[inline]
    fn take_settled(&mut self, now: Tick) -> bool {
        let mut was_busy = false;
        while let Some((place, settled)) = self.director.settle(now) {
            was_busy = true;
            self.take_up(place, settled, now);
        }
        was_busy
    }

    #[cold]
    fn take_up(&mut self, place: HoldPlace, settled: Settled, now: Tick) {
        let Some((port, buffer)) = self.held[usize::from(place.0)].take() else {
            return;
        };
        match settled {
            Settled::Released => {
                let mut burst = Burst::new();
                burst.push(buffer);
                self.process(&mut burst, port, Arrival::HandedOver, now);
            }
            Settled::Dropped(reason) => self.drop_one(reason),
        }
    }

    fn take_orders(&mut self, now: Tick) -> bool {
        let mut was_busy = false;
        for _ in 0..ORDERS_A_TURN {
            if self.links.orders.is_empty() {
                break;
            }
            let io = &mut self.io;
            let Some((order, buffer)) = self
                .links
                .orders
                .receive(|frame| (frame.label, io.allocate(frame.bytes())))
            else {
                break;
            };
            was_busy = true;
            match (order, buffer) {
                (_, None) => self.drop_one(DropReason::NoBuffer),
                (Order::Transmit(port), Some(buffer)) => self.stage(port, buffer),
                (Order::Process(port), Some(buffer)) => {
                    let mac = self
                        .ports
                        .get(usize::from(port.0))
                        .map_or(Mac::default(), |plan| plan.mac);
                    let mut burst = Burst::new();
                    burst.push(buffer);
                    self.process(&mut burst, port, Arrival::Wire { port, mac }, now);
                }
            }
        }
        was_busy
    }

    /// Once a second: what is told of its bursts.
    fn sum_up_bursts(&mut self, now_ns: u64) {
        if now_ns.wrapping_sub(self.summed_up_at_ns) >= SUM_UP_EVERY_NS {
            self.summed_up_at_ns = now_ns;
            self.counters.bursts = self.burst_times.summary();
            self.burst_times.forget();
        }
    }

    /// Publishes the worker's counters and some destinations' totals, and reads the others' loads of the same.
    fn publish(&mut self) {
        let usage = self.director.usage();
        self.counters.capacity = u64::from(usage.capacity);
        self.counters.connections = u64::from(usage.used);
        self.counters.evicted = self.director.n_evicted();
        self.counters.toa_omitted = self.director.n_toa_omitted();
        let Some(mine) = self.links.published.get(usize::from(self.me.0)) else {
            return;
        };
        mine.publish(&self.counters);
        let n_destinations = self.director.snapshot().counted.len();
        for _ in 0..DESTINATIONS_A_TIME.min(n_destinations) {
            self.next_destination = (self.next_destination + 1) % n_destinations;
            let id = self.director.snapshot().counted[self.next_destination];
            mine.publish_destination(id, self.director.destination_totals(id));
            let elsewhere = load_elsewhere(&self.links.published, self.me, id);
            self.director.set_load_elsewhere(id, elsewhere);
        }
    }

    /// At the end: everything, so that nothing counted is lost.
    fn publish_all(&mut self) {
        let n_times = self.director.snapshot().counted.len() / DESTINATIONS_A_TIME + 1;
        for _ in 0..n_times {
            self.publish();
        }
    }
}

/// How many buffers of the punt ring, of `capacity`, a reason leaves to those that matter more: a flood of refused
/// packets keeps no ARP from the control thread, or all next hops would soon be lost.
fn reserved(reason: PuntReason, capacity: usize) -> usize {
    match reason {
        PuntReason::Arp => 0,
        PuntReason::Icmp => capacity / 4,
        PuntReason::NoService
        | PuntReason::NoConnection
        | PuntReason::NoDestination
        | PuntReason::TtlExceeded
        | PuntReason::TooBig { .. }
        | PuntReason::PathMtu(_)
        | PuntReason::NeighbourUnresolved(_)
        | PuntReason::NeighbourUnknown => capacity / 2,
    }
}

/// The load of a destination that all workers but `me` have published.
fn load_elsewhere(published: &[Published], me: WorkerId, id: DestinationId) -> Load {
    let others = published
        .iter()
        .enumerate()
        .filter(|(worker, _)| *worker != usize::from(me.0));
    others.map(|(_, published)| published.load(id)).sum()
}
