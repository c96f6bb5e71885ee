//! What stands for the NIC: buffers from a pool, a copy of the next frame in each, and back they go.
//!
//! Promises: the same code with a worker behind it and without, so that the difference is the worker; frames in the
//! tape lie one behind the other, so that the source itself misses no cache line that a NIC would not.
//! Does not know: time.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use weir_director::{BURST, PortId};
use weir_dpdk::{Mbuf, Mempool};
use weir_wire::{FlowKey, Headers, Packet, PacketBuffer};
use weir_worker::{Burst, PacketIo};

use crate::frames::{Frame, LEAST_BYTES, Tape};

/// Where buffers come from and go to.
pub(crate) trait Stock: Clone {
    /// What holds a frame.
    type Buffer: PacketBuffer;

    /// Adds `n_buffers` empty buffers to `burst`, which has room for them; `false`: there are too few.
    fn take(&self, burst: &mut Burst<Self::Buffer>, n_buffers: usize) -> bool;

    /// Gives all of them back.
    fn give(&self, burst: &mut Burst<Self::Buffer>);

    /// What a worker's clock shows, which tells how long bursts take.
    fn cycles() -> u64;

    /// Puts a frame in.
    fn write<const N: usize>(buffer: &mut Self::Buffer, frame: &[u8; N]);
}

/// Real buffers, as the appliance has them.
#[derive(Clone)]
pub(crate) struct Mbufs(pub(crate) Mempool);

impl Stock for Mbufs {
    type Buffer = Mbuf;

    #[inline]
    fn take(&self, burst: &mut Burst<Mbuf>, n_buffers: usize) -> bool {
        self.0.allocate_more(burst, n_buffers)
    }

    #[inline]
    fn give(&self, burst: &mut Burst<Mbuf>) {
        Mbuf::free_burst(burst);
    }

    #[inline]
    fn cycles() -> u64 {
        weir_memory::cycles()
    }

    #[inline]
    fn write<const N: usize>(buffer: &mut Mbuf, frame: &[u8; N]) {
        // A buffer of the pool is longer than any frame here.
        let _ = buffer.write(frame);
    }
}

/// A buffer without DPDK, for counting instructions.
pub(crate) struct HeapBuffer {
    room: Box<[u8; 512]>,
    start: u16,
    len: u16,
}

impl PacketBuffer for HeapBuffer {
    #[inline]
    fn packet(&mut self) -> Packet<'_> {
        Packet::new(&mut self.room[..], &mut self.start, &mut self.len)
    }
}

/// Free bytes before a frame, as many as an mbuf has.
const HEADROOM_BYTES: u16 = 128;

/// Buffers without DPDK.
#[derive(Clone)]
pub(crate) struct Heap(Rc<RefCell<Vec<HeapBuffer>>>);

impl Heap {
    /// Enough for a few bursts.
    pub(crate) fn new() -> Self {
        let buffers = (0..4 * BURST).map(|_| HeapBuffer {
            room: Box::new([0; 512]),
            start: HEADROOM_BYTES,
            len: 0,
        });
        Self(Rc::new(RefCell::new(buffers.collect())))
    }
}

impl Stock for Heap {
    type Buffer = HeapBuffer;

    fn take(&self, burst: &mut Burst<HeapBuffer>, n_buffers: usize) -> bool {
        let mut free = self.0.borrow_mut();
        let Some(kept) = free.len().checked_sub(n_buffers) else {
            return false;
        };
        burst.extend(free.drain(kept..));
        true
    }

    fn give(&self, burst: &mut Burst<HeapBuffer>) {
        self.0.borrow_mut().extend(burst.drain(..));
    }

    /// It stands still, so that instructions do not depend on time.
    fn cycles() -> u64 {
        0
    }

    #[inline]
    fn write<const N: usize>(buffer: &mut HeapBuffer, frame: &[u8; N]) {
        let start = usize::from(HEADROOM_BYTES);
        if let Some(room) = buffer.room.get_mut(start..start + N) {
            room.copy_from_slice(frame);
        }
        (buffer.start, buffer.len) = (HEADROOM_BYTES, N as u16);
    }
}

/// What is being played.
pub(crate) struct Feed {
    tape: Arc<Tape>,
    port: PortId,
    next: usize,
    /// Frames still to be played.
    n_left: usize,
    /// Frames that came out at the other end.
    pub(crate) n_transmitted: u64,
    /// The keys of the replies to what came out, where somebody wants them.
    pub(crate) replies: Option<Vec<FlowKey>>,
}

impl Feed {
    /// Nothing to be played yet.
    pub(crate) fn empty(tape: Arc<Tape>) -> Self {
        Self {
            tape,
            port: PortId(0),
            next: 0,
            n_left: 0,
            n_transmitted: 0,
            replies: None,
        }
    }

    /// Plays a tape from its beginning, in a circle, `n_frames` in all.
    pub(crate) fn play(&mut self, tape: Arc<Tape>, port: PortId, n_frames: usize) {
        (self.tape, self.port, self.next) = (tape, port, 0);
        (self.n_left, self.n_transmitted) = (n_frames, 0);
    }

    /// Goes on for as long as asked.
    pub(crate) fn play_on(&mut self) {
        self.n_left = usize::MAX;
    }
}

/// A worker's queues: what is received is played, what is transmitted goes back to the pool.
pub(crate) struct Source<S> {
    stock: S,
    feed: Rc<RefCell<Feed>>,
}

impl<S: Stock> Source<S> {
    /// Plays what `feed` says.
    pub(crate) fn new(stock: S, feed: Rc<RefCell<Feed>>) -> Self {
        Self { stock, feed }
    }

    /// Plays a tape on and on.
    pub(crate) fn endless(stock: S, tape: &Arc<Tape>, port: PortId) -> Self {
        let mut feed = Feed::empty(Arc::clone(tape));
        feed.play(Arc::clone(tape), port, usize::MAX);
        Self::new(stock, Rc::new(RefCell::new(feed)))
    }

    /// The next burst from whatever port is being played.
    #[inline]
    pub(crate) fn take(&mut self, burst: &mut Burst<S::Buffer>) {
        let feed = &mut *self.feed.borrow_mut();
        let n_frames = feed.n_left.min(burst.remaining_capacity());
        let first = burst.len();
        if n_frames == 0 || !self.stock.take(burst, n_frames) {
            return;
        }
        feed.n_left -= n_frames;
        let empty = &mut burst[first..];
        match &*feed.tape {
            Tape::Short(frames, len) => fill::<S, LEAST_BYTES>(frames, *len, &mut feed.next, empty),
            Tape::Long(frames, len) => fill::<S, 96>(frames, *len, &mut feed.next, empty),
        }
    }

    /// Gives a burst back.
    #[inline]
    pub(crate) fn give(&mut self, burst: &mut Burst<S::Buffer>) {
        self.stock.give(burst);
    }
}

#[inline]
fn fill<S: Stock, const N: usize>(
    frames: &[Frame<N>],
    len_bytes: u16,
    next: &mut usize,
    empty: &mut [S::Buffer],
) {
    let mut place = *next;
    for buffer in empty {
        S::write(buffer, &frames[place].0);
        if usize::from(len_bytes) < N {
            buffer.packet().truncate(len_bytes);
        }
        place += 1;
        if place == frames.len() {
            place = 0;
        }
    }
    *next = place;
}

impl<S: Stock> PacketIo for Source<S> {
    type Buffer = S::Buffer;

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<S::Buffer>) {
        let is_played = self.feed.borrow().port == port;
        if is_played {
            self.take(burst);
        }
    }

    #[inline]
    fn transmit(&mut self, _port: PortId, burst: &mut Burst<S::Buffer>) {
        let feed = &mut *self.feed.borrow_mut();
        feed.n_transmitted += burst.len() as u64;
        if let Some(replies) = &mut feed.replies {
            note_replies(burst, replies);
        }
        self.stock.give(burst);
    }

    fn allocate(&mut self, _frame: &[u8]) -> Option<S::Buffer> {
        None
    }
}

#[cold]
fn note_replies<B: PacketBuffer>(burst: &mut Burst<B>, replies: &mut Vec<FlowKey>) {
    for buffer in burst.iter_mut() {
        if let Ok(headers) = Headers::parse(buffer.packet().frame()) {
            replies.push(headers.key.turned());
        }
    }
}
