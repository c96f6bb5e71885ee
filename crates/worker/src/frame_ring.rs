//! A bounded ring of frames between a worker and the control thread, with a stock of buffers that circulate.
//!
//! Promises: neither side allocates or waits; when the stock is used up, sending fails, so that a flood of punts can
//! starve nobody. The receiver's bell rings when something is put into an empty ring.
//! Does not know: what the frames are for; each carries a label of type `L`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

/// A frame on its way, with what it is for.
#[derive(Debug)]
pub struct Frame<L> {
    /// What it is for.
    pub label: L,
    room: Box<[u8]>,
    len: usize,
}

impl<L> Frame<L> {
    /// The frame's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

/// Wakes the thread that listens: a datagram of one byte on a socket pair. (An eventfd would do, but waiting for one
/// in an async runtime takes unsafe code.)
#[derive(Clone, Debug)]
pub struct Bell(Arc<UnixDatagram>);

impl Bell {
    /// A bell, and the socket on which its rings arrive, which does not block.
    ///
    /// Errors: the system's, when it is out of descriptors.
    pub fn new() -> io::Result<(Self, UnixDatagram)> {
        let (bell, listener) = UnixDatagram::pair()?;
        bell.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        Ok((Self(Arc::new(bell)), listener))
    }

    /// Wakes whoever listens.
    pub fn ring(&self) {
        // A listener with a full buffer has enough to wake up for; one that is gone needs nothing.
        let _ = self.0.send(&[0]);
    }
}

#[derive(Debug)]
struct Shared<L> {
    full: ArrayQueue<Frame<L>>,
    empty: ArrayQueue<Box<[u8]>>,
}

/// The end that puts frames in.
#[derive(Debug)]
pub struct FrameSender<L> {
    shared: Arc<Shared<L>>,
    bell: Option<Bell>,
}

/// The end that takes frames out.
#[derive(Debug)]
pub struct FrameReceiver<L> {
    shared: Arc<Shared<L>>,
}

/// A ring for `n_frames` of up to `frame_bytes` each; `bell` rings for the receiver.
pub fn frame_ring<L>(
    n_frames: usize,
    frame_bytes: usize,
    bell: Option<Bell>,
) -> (FrameSender<L>, FrameReceiver<L>) {
    let empty = ArrayQueue::new(n_frames.max(1));
    while empty.push(vec![0; frame_bytes].into_boxed_slice()).is_ok() {}
    let shared = Arc::new(Shared {
        full: ArrayQueue::new(n_frames.max(1)),
        empty,
    });
    (
        FrameSender {
            shared: Arc::clone(&shared),
            bell,
        },
        FrameReceiver { shared },
    )
}

impl<L> FrameSender<L> {
    /// How many buffers the stock has.
    pub fn capacity(&self) -> usize {
        self.shared.empty.capacity()
    }

    /// Copies a frame into the ring. `false`: the stock is used up, or the frame larger than its buffers.
    pub fn send(&self, label: L, frame: &[u8]) -> bool {
        self.send_leaving(0, label, frame)
    }

    /// As [`Self::send`], but leaves `n_reserved` buffers of the stock to frames that matter more.
    pub fn send_leaving(&self, n_reserved: usize, label: L, frame: &[u8]) -> bool {
        if self.shared.empty.len() <= n_reserved {
            return false;
        }
        let Some(mut room) = self.shared.empty.pop() else {
            return false;
        };
        let Some(bytes) = room.get_mut(..frame.len()) else {
            let _ = self.shared.empty.push(room);
            return false;
        };
        bytes.copy_from_slice(frame);
        // There are as many places as buffers, so this one has a place.
        let is_sent = self
            .shared
            .full
            .push(Frame {
                label,
                room,
                len: frame.len(),
            })
            .is_ok();
        // Asked afterwards: were the ring looked at before, it might be emptied in between, and the bell not rung for a
        // receiver that has just found nothing left. If there are more, one put in earlier still waits, and whoever
        // takes that one out finds this one behind it.
        let is_only_one = self.shared.full.len() == 1;
        if is_only_one && let Some(bell) = &self.bell {
            bell.ring();
        }
        is_sent
    }
}

impl<L> FrameReceiver<L> {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.shared.full.is_empty()
    }

    /// Lets `handle` look at the oldest frame, whose buffer then goes back into the stock. `None`: nothing waits.
    pub fn receive<R>(&self, handle: impl FnOnce(&Frame<L>) -> R) -> Option<R> {
        let frame = self.shared.full.pop()?;
        let result = handle(&frame);
        let _ = self.shared.empty.push(frame.room);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_stock_bounds_the_ring_and_comes_back() {
        let (sender, receiver) = frame_ring::<u8>(2, 64, None);
        assert!(sender.send(1, b"one") && sender.send(2, b"two"));
        assert!(!sender.send(3, b"three"), "the stock is used up");
        assert_eq!(
            receiver.receive(|frame| (frame.label, frame.bytes().to_vec())),
            Some((1, b"one".to_vec()))
        );
        assert!(sender.send(4, b"four"));
        assert_eq!(receiver.receive(|frame| frame.label), Some(2));
        assert_eq!(receiver.receive(|frame| frame.label), Some(4));
        assert!(receiver.is_empty() && receiver.receive(|_| ()).is_none());
    }

    #[test]
    fn what_is_reserved_is_left_to_frames_that_matter_more() {
        let (sender, _receiver) = frame_ring::<u8>(2, 64, None);
        assert!(sender.send_leaving(1, 1, b"one"));
        assert!(!sender.send_leaving(1, 2, b"two"));
        assert!(sender.send(3, b"three"));
    }

    #[test]
    fn a_frame_larger_than_the_buffers_is_refused_and_costs_none() {
        let (sender, receiver) = frame_ring::<()>(1, 4, None);
        assert!(!sender.send((), b"12345"));
        assert!(sender.send((), b"1234"));
        assert_eq!(receiver.receive(|frame| frame.bytes().len()), Some(4));
    }

    #[test]
    fn the_bell_rings_for_the_first_frame() {
        let (bell, listener) = Bell::new().unwrap();
        let (sender, _receiver) = frame_ring::<()>(4, 4, Some(bell));
        let rings = || listener.recv(&mut [0]).is_ok();
        assert!(!rings());
        sender.send((), b"1");
        assert!(rings());
        sender.send((), b"2");
        assert!(!rings(), "whoever was woken empties the ring");
    }
}
