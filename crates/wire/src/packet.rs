//! A frame inside a buffer with free room before it. Borrowed, mutable, nothing else known.
//!
//! Promises: the frame never reaches outside its buffer.
//! Does not know: what the bytes mean (`Headers`), nor who owns the buffer.

/// A window on a buffer: `room[start..start + len]` is the frame, what lies before it is headroom.
///
/// `start` and `len` are borrowed from the buffer's owner, so that a frame that grows or shrinks here has
/// grown or shrunk there too, with nothing to write back.
///
/// Invariant: `start + len <= room.len()`.
#[derive(Debug)]
pub struct Packet<'a> {
    room: &'a mut [u8],
    start: &'a mut u16,
    len: &'a mut u16,
}

/// A buffer that holds a frame, owned. Dropping it gives it back to where it came from.
pub trait PacketBuffer: Send {
    /// The frame.
    fn packet(&mut self) -> Packet<'_>;
}

/// The buffer has too few free bytes before (or behind) the frame for what was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl<'a> Packet<'a> {
    /// Borrows the frame `room[*start..*start + *len]`, all in bytes.
    ///
    /// A frame that would reach outside `room` is cut to what is inside.
    #[inline]
    pub fn new(room: &'a mut [u8], start: &'a mut u16, len: &'a mut u16) -> Self {
        let end = usize::from(*start) + usize::from(*len);
        if end > room.len() {
            *start = (*start).min(u16::try_from(room.len()).unwrap_or(u16::MAX));
            *len = u16::try_from(room.len() - usize::from(*start)).unwrap_or(u16::MAX);
        }
        Self { room, start, len }
    }

    /// The frame, from its Ethernet header.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        let start = usize::from(*self.start);
        &self.room[start..start + usize::from(*self.len)]
    }

    /// The frame, to be edited in place.
    #[inline]
    pub fn frame_mut(&mut self) -> &mut [u8] {
        let start = usize::from(*self.start);
        &mut self.room[start..start + usize::from(*self.len)]
    }

    /// Length of the frame in bytes.
    #[inline]
    pub fn len_bytes(&self) -> usize {
        usize::from(*self.len)
    }

    /// Free bytes before the frame.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(*self.start)
    }

    /// Lets the frame begin `n_bytes` earlier and returns it; the new bytes hold whatever was there.
    #[inline]
    pub fn grow_front(&mut self, n_bytes: u16) -> Result<&mut [u8], NoRoom> {
        let start = self.start.checked_sub(n_bytes).ok_or(NoRoom)?;
        *self.len = self.len.checked_add(n_bytes).ok_or(NoRoom)?;
        *self.start = start;
        Ok(self.frame_mut())
    }

    /// Replaces the frame's first `n_bytes`, at most all of it, by `front`, which may be longer or shorter; what is
    /// behind stays where it is.
    pub fn replace_front(&mut self, n_bytes: u16, front: &[u8]) -> Result<(), NoRoom> {
        let n_bytes = n_bytes.min(*self.len);
        let n_new = u16::try_from(front.len()).map_err(|_| NoRoom)?;
        let start = (*self.start + n_bytes).checked_sub(n_new).ok_or(NoRoom)?;
        let len = (*self.len - n_bytes).checked_add(n_new).ok_or(NoRoom)?;
        (*self.start, *self.len) = (start, len);
        self.frame_mut()[..front.len()].copy_from_slice(front);
        Ok(())
    }

    /// Cuts the frame off behind its first `len_bytes` bytes; longer than the frame changes nothing.
    #[inline]
    pub fn truncate(&mut self, len_bytes: u16) {
        *self.len = (*self.len).min(len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_the_front_uses_headroom_and_stops_at_the_buffer() {
        let mut room = [0u8; 32];
        let (mut start, mut len) = (8u16, 10u16);
        let mut packet = Packet::new(&mut room, &mut start, &mut len);
        packet.frame_mut().fill(7);
        assert_eq!(packet.grow_front(8).map(|frame| frame.len()), Ok(18));
        assert_eq!(packet.grow_front(1), Err(NoRoom));
        assert_eq!((packet.headroom(), packet.len_bytes()), (0, 18));
        assert_eq!((start, len), (0, 18), "the owner sees the change");
        assert_eq!(room[8..18], [7; 10]);
    }

    #[test]
    fn another_front_may_be_longer_or_shorter_and_moves_nothing_else() {
        let mut room = [0u8; 16];
        room[4..12].copy_from_slice(b"frontend");
        let (mut start, mut len) = (4u16, 8u16);
        let mut packet = Packet::new(&mut room, &mut start, &mut len);
        assert_eq!(packet.replace_front(5, b"a longer "), Ok(()));
        assert_eq!(packet.frame(), b"a longer end");
        assert_eq!(packet.replace_front(9, b"week"), Ok(()));
        assert_eq!((packet.frame(), packet.headroom()), (&b"weekend"[..], 5));
        assert_eq!(packet.replace_front(4, b"much too long"), Err(NoRoom));
        assert_eq!(packet.frame(), b"weekend");
        assert_eq!(packet.replace_front(99, b"all"), Ok(()));
        assert_eq!((packet.frame(), packet.headroom()), (&b"all"[..], 9));
    }

    #[test]
    fn a_window_larger_than_its_buffer_is_cut() {
        let mut room = [0u8; 4];
        let (mut start, mut len) = (2u16, 10u16);
        assert_eq!(
            Packet::new(&mut room, &mut start, &mut len).frame().len(),
            2
        );
    }
}
