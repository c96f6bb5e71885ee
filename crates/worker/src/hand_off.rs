//! The rings by which workers give each other packets, and notes without one: two for each way between any two.
//!
//! Promises: bounded; neither end ever waits for the other, wherever the other was stopped; buffers change hands, no
//! byte is copied; every cache line is written by one worker only.
//! Does not know: who owns a flow (`weir_director::Steering`).
//!
//! A queue into which several may put is cheaper in memory, but there whoever is stopped between claiming a place and
//! filling it stops all others at that place, and both ends write to the places.

use rtrb::{Consumer, Producer, RingBuffer};
use weir_director::{Choice, Note, PortId, WorkerId};

/// What a worker is asked to do with another worker's packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Decide on it: it came in by this port and belongs to the receiver.
    Process(PortId),
    /// Choose a destination for it, which came in by this port and belongs to the sender: it goes back to this worker.
    Choose(PortId, WorkerId),
    /// Decide on it, by this choice that was asked for: it came in by this port and belongs to the receiver.
    ProcessChosen(PortId, Choice),
    /// Send it by this port, on which the sender has no queue.
    Transmit(PortId),
}

/// One worker's ends of the rings to and from all others.
#[derive(Debug)]
pub struct HandOffs<B> {
    /// By `WorkerId`; none to itself.
    to: Vec<To<B>>,
    /// By `WorkerId`, itself left out.
    from: Vec<From<B>>,
    /// By `WorkerId`; none to itself.
    notes_to: Vec<NotesTo>,
    /// By `WorkerId`, itself left out.
    notes_from: Vec<NotesFrom>,
}

/// Notes that a ring has room for; the rest waits in the director.
const N_NOTES: usize = 1024;

/// Aligned, for the end itself keeps count, and those of other workers may lie beside.
#[derive(Debug)]
#[repr(align(64))]
struct To<B>(Option<Producer<(Task, B)>>);

/// Likewise.
#[derive(Debug)]
#[repr(align(64))]
struct From<B>(Consumer<(Task, B)>);

/// Likewise.
#[derive(Debug)]
#[repr(align(64))]
struct NotesTo(Option<Producer<Note>>);

/// Likewise.
#[derive(Debug)]
#[repr(align(64))]
struct NotesFrom(Consumer<Note>);

/// Every worker's ends, by `WorkerId`, of rings with room for `n_packets` each, at least one.
pub fn hand_off_rings<B>(n_workers: u8, n_packets: usize) -> Vec<HandOffs<B>> {
    let mut all: Vec<_> = (0..n_workers)
        .map(|_| HandOffs {
            to: Vec::with_capacity(n_workers.into()),
            from: Vec::with_capacity(n_workers.into()),
            notes_to: Vec::with_capacity(n_workers.into()),
            notes_from: Vec::with_capacity(n_workers.into()),
        })
        .collect();
    for sender in 0..usize::from(n_workers) {
        for receiver in 0..usize::from(n_workers) {
            let end = (sender != receiver).then(|| {
                let (producer, consumer) = RingBuffer::new(n_packets.max(1));
                all[receiver].from.push(From(consumer));
                producer
            });
            all[sender].to.push(To(end));
            let end = (sender != receiver).then(|| {
                let (producer, consumer) = RingBuffer::new(N_NOTES);
                all[receiver].notes_from.push(NotesFrom(consumer));
                producer
            });
            all[sender].notes_to.push(NotesTo(end));
        }
    }
    all
}

impl<B> HandOffs<B> {
    /// How many rings packets may come by.
    #[inline]
    pub(crate) fn n_rings(&self) -> usize {
        self.from.len()
    }

    /// Gives a packet to another worker, or back when the ring to it is full.
    #[inline]
    pub(crate) fn put(&mut self, owner: WorkerId, task: Task, buffer: B) -> Result<(), B> {
        let Some(To(Some(ring))) = self.to.get_mut(usize::from(owner.0)) else {
            return Err(buffer);
        };
        ring.push((task, buffer))
            .map_err(|rtrb::PushError::Full((_, buffer))| buffer)
    }

    /// The oldest packet of a ring.
    #[inline]
    pub(crate) fn take(&mut self, ring: usize) -> Option<(Task, B)> {
        self.from.get_mut(ring)?.0.pop().ok()
    }

    /// Gives another worker a note; `false` when the ring to it is full.
    pub(crate) fn put_note(&mut self, note: Note) -> bool {
        let Some(NotesTo(Some(ring))) = self.notes_to.get_mut(usize::from(note.owner().0)) else {
            return false;
        };
        ring.push(note).is_ok()
    }

    /// The oldest note of a ring.
    #[inline]
    pub(crate) fn take_note(&mut self, ring: usize) -> Option<Note> {
        self.notes_from.get_mut(ring)?.0.pop().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_two_workers_share_no_line() {
        for (size, align) in [
            (size_of::<To<u64>>(), align_of::<To<u64>>()),
            (size_of::<From<u64>>(), align_of::<From<u64>>()),
        ] {
            assert_eq!((size % 64, align % 64), (0, 0));
        }
    }

    #[test]
    fn every_way_between_two_workers_has_a_ring_of_its_own() {
        let mut all = hand_off_rings::<u32>(3, 2);
        let task = Task::Process(PortId(0));
        for sender in 0..3u8 {
            for receiver in 0..3u8 {
                let label = u32::from(10 * sender + receiver);
                let given = all[usize::from(sender)].put(WorkerId(receiver), task, label);
                assert_eq!(given.is_ok(), sender != receiver);
            }
        }
        assert_eq!(all[0].put(WorkerId(3), task, 7), Err(7), "nobody");
        assert_eq!(all[0].put(WorkerId(1), task, 8), Ok(()));
        assert_eq!(
            all[0].put(WorkerId(1), task, 9),
            Err(9),
            "this ring is full"
        );
        assert_eq!(all[0].put(WorkerId(2), task, 10), Ok(()), "and no other");
        let taken: Vec<_> = (0..all[1].n_rings())
            .flat_map(|ring| std::iter::from_fn(|| all[1].take(ring)).collect::<Vec<_>>())
            .map(|(_, label)| label)
            .collect();
        assert_eq!(taken, [1, 8, 21]);
    }
}
