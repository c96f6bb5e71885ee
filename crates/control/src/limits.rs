//! How much the slow path remembers.
//!
//! Promises: what the configuration needs has a share that outsiders cannot take.
//! Does not know: who asks.

use std::time::Duration;

/// How much is remembered, and for how long. A neighbour is pinned while the configuration needs it: a real server or
/// a gateway; the others are clients on the link.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Neighbours; no more than 65,536 count.
    pub neighbours: usize,
    /// Of them, those that only pinned ones may be.
    pub for_pinned: usize,
    /// Packets that wait for one neighbour.
    pub held_per_neighbour: usize,
    /// Packets that wait for all neighbours together that are not pinned.
    pub held: usize,
    /// Packets that wait for all pinned neighbours together.
    pub held_for_pinned: usize,
    /// How long a number is kept for a neighbour that cannot be used and that nobody asks for: the longest timeout
    /// of a connection or more, so that no living connection finds another neighbour under the number. Also how long
    /// a neighbour that is not pinned can be used without being asked for.
    pub number_is_kept: Duration,
}

impl Default for Limits {
    /// 65,536 neighbours, 4,096 of them for what is pinned; 8 packets for one, 256 for all that are pinned and 1,024
    /// for all others; half an hour (twice IPVS's longest timeout).
    fn default() -> Self {
        Self {
            neighbours: 1 << 16,
            for_pinned: 4096,
            held_per_neighbour: 8,
            held: 1024,
            held_for_pinned: 256,
            number_is_kept: Duration::from_secs(1800),
        }
    }
}
