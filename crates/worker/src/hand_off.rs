//! The ring by which a worker gets packets from other workers.
//!
//! Promises: bounded, never waited for; buffers change hands, no byte is copied.
//! Does not know: who owns a flow (`weir_director::Steering`).

use crossbeam::queue::ArrayQueue;
use weir_director::PortId;

/// What a worker is asked to do with another worker's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Decide on it: it came in by this port and belongs to the receiver.
    Process(PortId),
    /// Send it by this port, on which the sender has no queue.
    Transmit(PortId),
}

/// One worker's ring; all others put into it.
#[derive(Debug)]
pub struct HandOffRing<B> {
    ring: ArrayQueue<(Task, B)>,
}

impl<B> HandOffRing<B> {
    /// Room for `n_packets`, at least one.
    pub fn new(n_packets: usize) -> Self {
        Self {
            ring: ArrayQueue::new(n_packets.max(1)),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Gives a packet to the ring's worker, or back when the ring is full.
    #[inline]
    pub(crate) fn put(&self, task: Task, buffer: B) -> Result<(), B> {
        self.ring.push((task, buffer)).map_err(|(_, buffer)| buffer)
    }

    #[inline]
    pub(crate) fn take(&self) -> Option<(Task, B)> {
        self.ring.pop()
    }
}
