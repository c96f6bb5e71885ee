//! A buffer like a NIC's: a frame with free room before it.
//!
//! Promises: as much room as an mbuf has by default. Does not know: pools.

use weir_wire::Packet;

/// Owns a frame and lends it as a [`Packet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBuffer {
    room: Vec<u8>,
    start: u16,
    len: u16,
}

impl TestBuffer {
    /// Free bytes before a frame as it is received.
    pub const HEADROOM: u16 = 128;
    /// Bytes for the frame itself; a longer frame gets as many as it has.
    pub const DATAROOM: usize = 2048;

    /// A buffer that has just received `frame`.
    pub fn new(frame: &[u8]) -> Self {
        Self::with_headroom(frame, Self::HEADROOM)
    }

    /// Likewise, with `headroom` free bytes before the frame.
    pub fn with_headroom(frame: &[u8], headroom: u16) -> Self {
        let start = usize::from(headroom);
        let mut room = vec![0xa5; start + frame.len().max(Self::DATAROOM)];
        room[start..start + frame.len()].copy_from_slice(frame);
        let len = u16::try_from(frame.len()).expect("a frame is shorter than 64 KiB");
        Self {
            room,
            start: headroom,
            len,
        }
    }

    /// Receives another frame, allocating nothing. Its length is at most that of the room.
    pub fn refill(&mut self, frame: &[u8]) {
        let start = usize::from(Self::HEADROOM);
        self.room[start..start + frame.len()].copy_from_slice(frame);
        self.start = Self::HEADROOM;
        self.len = frame.len() as u16;
    }

    /// Lends the frame.
    pub fn packet(&mut self) -> Packet<'_> {
        Packet::new(&mut self.room, &mut self.start, &mut self.len)
    }

    /// The frame.
    pub fn frame(&self) -> &[u8] {
        let start = usize::from(self.start);
        &self.room[start..start + usize::from(self.len)]
    }
}
