//! The neighbours.

use std::time::Duration;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Neighbours, at most 65,536.
    pub neighbours: usize,
    /// Packets that wait for one neighbour.
    pub held_per_neighbour: usize,
    /// Packets that wait for all neighbours together.
    pub held: usize,
    /// How long a number is kept for a neighbour that does not answer and that nobody uses: the longest timeout of
    /// a connection or more, so that no living connection finds another neighbour under the number.
    pub number_is_kept: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            neighbours: 1 << 16,
            held_per_neighbour: 8,
            held: 1024,
            number_is_kept: Duration::from_secs(1800),
        }
    }
}
