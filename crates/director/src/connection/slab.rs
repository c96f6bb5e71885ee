//! The entries: cache lines by number, single ones for IPv4 connections, even-odd pairs for IPv6 ones.
//!
//! Promises: a line is given out once until it is given back; two free neighbours of a pair become a pair again.
//! Does not know: what the lines hold beyond "no connection" and "takes two lines".

use weir_memory::{MapError, MappedSlice, Pages};

use super::EntryId;
use super::links::{Links, Ring};
use super::record::{Connection, Line};

/// Free lines whose neighbour is in use.
const SINGLES: Ring = Ring(0);
/// Even lines that are free together with the odd one behind.
const PAIRS: Ring = Ring(1);
/// Rings that the slab keeps for itself; the timers' come behind.
pub(crate) const N_RINGS: u32 = 2;

/// All lines.
pub(crate) struct Slab {
    lines: MappedSlice<Line>,
    /// Even lines from this one on were never used and are in no ring.
    untouched: u32,
    n_used: u32,
}

impl Slab {
    /// `n_lines` lines, an even number, none in use.
    pub(crate) fn new(n_lines: u32, pages: Pages) -> Result<Self, MapError> {
        Ok(Self {
            lines: MappedSlice::new(n_lines as usize, pages)?,
            untouched: 0,
            n_used: 0,
        })
    }

    pub(crate) fn n_lines(&self) -> u32 {
        self.lines.len() as u32
    }

    /// Lines in use.
    pub(crate) fn n_used(&self) -> u32 {
        self.n_used
    }

    #[inline]
    pub(crate) fn line(&self, number: u32) -> &Line {
        &self.lines[number as usize]
    }

    #[inline]
    pub(crate) fn get(&self, id: EntryId) -> &Connection {
        self.lines[id.0 as usize].connection()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: EntryId) -> &mut Connection {
        self.lines[id.0 as usize].connection_mut()
    }

    pub(crate) fn set_line(&mut self, number: u32, line: impl Into<Line>) {
        self.lines[number as usize] = line.into();
    }

    /// Whether two lines that make a pair are free.
    pub(crate) fn has_pair(&self, links: &Links) -> bool {
        links.first(PAIRS).is_some() || self.untouched + 1 < self.n_lines()
    }

    /// Takes one line, or two; `None` when there are none left.
    #[inline(always)]
    pub(crate) fn allocate(&mut self, links: &mut Links, is_pair: bool) -> Option<EntryId> {
        let id = if is_pair {
            self.take_pair(links)
        } else {
            self.take_single(links)
        }?;
        self.n_used += 1 + u32::from(is_pair);
        Some(EntryId(id))
    }

    fn take_single(&mut self, links: &mut Links) -> Option<u32> {
        if let Some(line) = links.first(SINGLES) {
            links.unlink(line);
            return Some(line);
        }
        let even = self.take_pair(links)?;
        links.push(SINGLES, even + 1);
        Some(even)
    }

    fn take_pair(&mut self, links: &mut Links) -> Option<u32> {
        if let Some(even) = links.first(PAIRS) {
            links.unlink(even);
            return Some(even);
        }
        let even = self.untouched;
        if even + 1 >= self.n_lines() {
            return None;
        }
        self.untouched += 2;
        Some(even)
    }

    /// Gives back what `allocate` gave, which is in no ring now, and makes it "no connection".
    pub(crate) fn free(&mut self, links: &mut Links, id: EntryId, is_pair: bool) {
        self.lines[id.0 as usize] = bytemuck::Zeroable::zeroed();
        self.n_used -= 1 + u32::from(is_pair);
        if is_pair {
            self.lines[id.0 as usize + 1] = bytemuck::Zeroable::zeroed();
            links.push(PAIRS, id.0);
            return;
        }
        // A free single is all zero; so is the second line of nothing else, for a pair's first line says IPV6.
        let (even, neighbour) = (id.0 & !1, id.0 ^ 1);
        if self.is_free(neighbour) {
            links.unlink(neighbour);
            links.push(PAIRS, even);
        } else {
            links.push(SINGLES, id.0);
        }
    }

    /// Whether a line holds no connection. Only asked of the neighbour of a single, which is a single itself.
    fn is_free(&self, number: u32) -> bool {
        self.lines[number as usize].connection().state().is_none()
    }
}
