//! Lazy timers: a packet only notes when it came; a wheel slot that comes due looks at the connection and re-arms
//! or ends it.
//!
//! Promises: a connection is looked at no later than one slot after it may have expired; work a turn is bounded.
//! Does not know: what a connection's timeout is (the table does).

use super::links::{Links, Ring};
use super::slab;
use crate::Tick;

/// Ticks of one slot, a power of two: 256 ms.
const SLOT_TICKS: u32 = 256;
/// Slots of the wheel, a power of two: 17 minutes, a little more than IPVS's longest timeout. What is due later is
/// looked at once a turn.
const N_SLOTS: u32 = 4096;
/// Rings that the wheel needs.
pub(crate) const N_RINGS: u32 = N_SLOTS;

/// The wheel. Its slots are rings of [`Links`].
pub(crate) struct Timers {
    /// Slot number, counted on without wrapping to the wheel, up to which all that was due has been looked at.
    done: u32,
}

impl Timers {
    pub(crate) fn new(now: Tick) -> Self {
        Self {
            done: now.0 / SLOT_TICKS,
        }
    }

    /// The ring in which a node belongs that is due at `due`.
    #[inline]
    fn ring(&self, due: Tick) -> Ring {
        // Rounded up, so that the slot's end lies behind what is due; wrapping with the tick itself.
        let slot = (due.0 / SLOT_TICKS).wrapping_add(1) & (u32::MAX / SLOT_TICKS);
        let ahead = slot.wrapping_sub(self.done) & (u32::MAX / SLOT_TICKS);
        let is_past = ahead > u32::MAX / SLOT_TICKS / 2;
        let ahead = if is_past {
            1
        } else {
            ahead.clamp(1, N_SLOTS - 1)
        };
        Ring(slab::N_RINGS + (self.done.wrapping_add(ahead) & (N_SLOTS - 1)))
    }

    /// Arms a node that is in no ring.
    #[inline]
    pub(crate) fn arm(&self, links: &mut Links, node: u32, due: Tick) {
        links.push(self.ring(due), node);
    }

    /// Takes the next node whose slot has come out of its ring; `None` when none is left at `now`.
    #[inline]
    pub(crate) fn next_due(&mut self, links: &mut Links, now: Tick) -> Option<u32> {
        let reached = now.0 / SLOT_TICKS;
        loop {
            if let Some(node) = links.first(Ring(slab::N_RINGS + (self.done & (N_SLOTS - 1)))) {
                links.unlink(node);
                return Some(node);
            }
            if self.done == reached {
                return None;
            }
            self.done = self.done.wrapping_add(1) & (u32::MAX / SLOT_TICKS);
        }
    }
}
