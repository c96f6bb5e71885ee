//! A bounded ring of frames between a worker and the control thread, with a stock of buffers that circulate.
//!
//! Promises: neither side allocates, or waits, wherever the other was stopped; when the stock is used up, sending fails,
//! so that a flood of punts can starve nobody. The receiver's bell rings when something is put into an empty ring.
//! Does not know: what the frames are for; each carries a label of type `L`.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

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

/// The end that puts frames in.
#[derive(Debug)]
pub struct FrameSender<L> {
    full: Producer<Frame<L>>,
    empty: Consumer<Box<[u8]>>,
    frame_bytes: usize,
    bell: Option<Bell>,
}

/// The end that takes frames out.
#[derive(Debug)]
pub struct FrameReceiver<L> {
    full: Consumer<Frame<L>>,
    empty: Producer<Box<[u8]>>,
}

/// A ring for `n_frames` of up to `frame_bytes` each; `bell` rings for the receiver.
pub fn frame_ring<L>(
    n_frames: usize,
    frame_bytes: usize,
    bell: Option<Bell>,
) -> (FrameSender<L>, FrameReceiver<L>) {
    let (full_in, full_out) = RingBuffer::new(n_frames.max(1));
    let (mut empty_in, empty_out) = RingBuffer::new(n_frames.max(1));
    while empty_in
        .push(vec![0; frame_bytes].into_boxed_slice())
        .is_ok()
    {}
    (
        FrameSender {
            full: full_in,
            empty: empty_out,
            frame_bytes,
            bell,
        },
        FrameReceiver {
            full: full_out,
            empty: empty_in,
        },
    )
}

impl<L> FrameSender<L> {
    /// How many buffers the stock has.
    pub fn capacity(&self) -> usize {
        self.empty.buffer().capacity()
    }

    /// Bytes of the longest frame that it takes.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// How many frames the receiver has not taken yet.
    pub fn n_waiting(&self) -> usize {
        self.capacity() - self.full.slots()
    }

    /// Copies a frame into the ring. `false`: the stock is used up, or the frame larger than its buffers.
    pub fn send(&mut self, label: L, frame: &[u8]) -> bool {
        self.send_leaving(0, label, frame)
    }

    /// As [`Self::send`], but leaves `n_reserved` buffers of the stock to frames that matter more.
    pub fn send_leaving(&mut self, n_reserved: usize, label: L, frame: &[u8]) -> bool {
        if self.empty.slots() <= n_reserved || frame.len() > self.frame_bytes {
            return false;
        }
        let Ok(mut room) = self.empty.pop() else {
            return false;
        };
        room[..frame.len()].copy_from_slice(frame);
        // There are as many places as buffers, so this one has a place.
        let is_sent = self
            .full
            .push(Frame {
                label,
                room,
                len: frame.len(),
            })
            .is_ok();
        // Asked afterwards: were the ring looked at before, it might be emptied in between, and the bell not rung for a
        // receiver that has just found nothing left. If there are more, one put in earlier still waits, and whoever
        // takes that one out finds this one behind it: each end writes its own place and then reads the other's, and
        // with a fence between the two at both ends one of them sees what the other wrote.
        fence(Ordering::SeqCst);
        if self.n_waiting() == 1
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
        is_sent
    }
}

impl<L> FrameReceiver<L> {
    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Lets `handle` look at the oldest frame, whose buffer then goes back into the stock. `None`: nothing waits.
    pub fn receive<R>(&mut self, handle: impl FnOnce(&Frame<L>) -> R) -> Option<R> {
        // After the frame before was taken out, before it is asked whether there is another.
        fence(Ordering::SeqCst);
        let frame = self.full.pop().ok()?;
        let result = handle(&frame);
        let _ = self.empty.push(frame.room);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_stock_bounds_the_ring_and_comes_back() {
        let (mut sender, mut receiver) = frame_ring::<u8>(2, 64, None);
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
        let (mut sender, _receiver) = frame_ring::<u8>(2, 64, None);
        assert!(sender.send_leaving(1, 1, b"one"));
        assert!(!sender.send_leaving(1, 2, b"two"));
        assert!(sender.send(3, b"three"));
    }

    #[test]
    fn a_frame_larger_than_the_buffers_is_refused_and_costs_none() {
        let (mut sender, mut receiver) = frame_ring::<()>(1, 4, None);
        assert!(!sender.send((), b"12345"));
        assert!(sender.send((), b"1234"));
        assert_eq!(receiver.receive(|frame| frame.bytes().len()), Some(4));
    }

    #[test]
    fn the_bell_rings_for_the_first_frame() {
        let (bell, listener) = Bell::new().unwrap();
        let (mut sender, _receiver) = frame_ring::<()>(4, 4, Some(bell));
        let rings = || listener.recv(&mut [0]).is_ok();
        assert!(!rings());
        sender.send((), b"1");
        assert!(rings());
        sender.send((), b"2");
        assert!(!rings(), "whoever was woken empties the ring");
    }
}
