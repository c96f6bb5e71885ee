//! The slow path's place among the threads: between the workers' rings and the snapshots they run.
//!
//! Promises: a turn takes a bounded number of frames and never waits. New next hops are published before the packets
//! that waited for them go back to a worker.
//! Does not know: what a frame means ([`SlowPath`]), where configurations come from.

use std::sync::Arc;
use std::time::Instant;

use weir_director::{Generation, Snapshot};
use weir_worker::{FrameReceiver, FrameSender, Order, Publisher, Punt};

use crate::{Action, SlowPath};

/// Frames taken from each worker in one turn, at most.
const PUNTS_A_TURN: usize = 1024;

/// The slow path, its rings, and the snapshot that runs.
pub struct Control {
    /// What it decides by.
    pub slow_path: SlowPath,
    publisher: Publisher,
    /// The snapshot published last, to be changed in parts.
    current: Snapshot,
    punts: Vec<FrameReceiver<Punt>>,
    orders: Vec<FrameSender<Order>>,
    next_worker: usize,
    n_lost: u64,
}

impl Control {
    /// For workers that start with `first`, which the publisher keeps; `punts[i]` and `orders[i]` are those of worker *i*.
    pub fn new(
        slow_path: SlowPath,
        publisher: Publisher,
        first: &Snapshot,
        punts: Vec<FrameReceiver<Punt>>,
        orders: Vec<FrameSender<Order>>,
    ) -> Self {
        Self {
            slow_path,
            publisher,
            current: first.clone(),
            punts,
            orders,
            next_worker: 0,
            n_lost: 0,
        }
    }

    /// Takes what was punted, does what is due, publishes next hops and path MTUs that have changed, and sends what is to be sent.
    pub fn turn(&mut self, now: Instant) {
        for punts in &mut self.punts {
            for _ in 0..PUNTS_A_TURN {
                let slow_path = &mut self.slow_path;
                let taken = punts.receive(|frame| {
                    slow_path.handle(frame.label.reason, frame.label.port, frame.bytes(), now);
                });
                if taken.is_none() {
                    break;
                }
            }
        }
        self.slow_path.tick(now);
        if self.take_changed() {
            self.publish();
        }
        while let Some(action) = self.slow_path.take_action() {
            let (order, frame) = match action {
                Action::Transmit { port, frame } => (Order::Transmit(port), frame),
                Action::Process { port, frame } => (Order::Process(port), frame),
            };
            self.order(order, &frame);
        }
        self.publisher.reap();
    }

    /// Gives an order to the worker for which the fewest wait; of several to the next in turn. One that is stopped so
    /// keeps no more of them to itself than the others have before them.
    fn order(&mut self, order: Order, frame: &[u8]) {
        let n_workers = self.orders.len();
        let least_busy = (0..n_workers)
            .map(|step| (self.next_worker + step) % n_workers)
            .min_by_key(|worker| self.orders[*worker].n_waiting());
        match least_busy {
            Some(worker) if self.orders[worker].send(order, frame) => {
                self.next_worker = (worker + 1) % n_workers;
            }
            Some(_) | None => self.n_lost += 1,
        }
    }

    /// Takes what the slow path has found out since into the current snapshot; whether there was anything.
    fn take_changed(&mut self) -> bool {
        let next_hops = self.slow_path.take_changed_next_hops();
        let path_mtus = self.slow_path.take_changed_path_mtus();
        let has_changed = next_hops.is_some() || path_mtus.is_some();
        if let Some(next_hops) = next_hops {
            self.current.next_hops = Arc::new(next_hops);
        }
        if let Some(path_mtus) = path_mtus {
            self.current.path_mtus = Arc::new(path_mtus);
        }
        has_changed
    }

    /// Publishes what `change` makes of the current snapshot, with what the slow path has found out, under a new number.
    pub fn publish_changed(&mut self, change: impl FnOnce(&mut Snapshot)) -> Generation {
        change(&mut self.current);
        self.take_changed();
        self.publish()
    }

    fn publish(&mut self) -> Generation {
        self.current.generation = Generation(self.current.generation.0 + 1);
        self.publisher.publish(Arc::new(self.current.clone()));
        self.current.generation
    }

    /// The snapshot published last.
    pub fn current(&self) -> &Snapshot {
        &self.current
    }

    /// Frames that no worker's ring took.
    pub fn n_lost(&self) -> u64 {
        self.n_lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use weir_director::PortId;
    use weir_worker::frame_ring;

    #[test]
    fn a_worker_that_is_stopped_keeps_one_order_and_the_others_get_the_rest() {
        let first = Arc::new(Snapshot::default());
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..3).map(|_| frame_ring::<Order>(8, 64, None)).unzip();
        let slow_path = SlowPath::new(Vec::new(), Limits::default(), Instant::now());
        let publisher = Publisher::new(Vec::new(), Arc::clone(&first));
        let mut control = Control::new(slow_path, publisher, &first, Vec::new(), senders);
        let mut n_taken = [0; 3];
        for _ in 0..100 {
            control.order(Order::Transmit(PortId(0)), b"frame");
            for worker in [0, 2] {
                n_taken[worker] += u32::from(receivers[worker].receive(|_| ()).is_some());
            }
        }
        while receivers[1].receive(|_| ()).is_some() {
            n_taken[1] += 1;
        }
        assert_eq!((n_taken[1], n_taken.iter().sum::<u32>()), (1, 100));
        assert!(n_taken[0] > 40 && n_taken[2] > 40, "{n_taken:?}");
        assert_eq!(control.n_lost(), 0);
    }
}
