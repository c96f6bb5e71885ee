//! Ties the compiler of configurations to the slow path, which knows the way on the wire.
//!
//! Promises: remembers which numbers a configuration needs, so that the others can be given up.
//! Does not know: MAC addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_config::compile::NextHopNumbers;
use weir_control::{Limits, SlowPath};
use weir_director::{NextHopId, PortId, Settings};

/// Asks the slow path for the numbers of next hops.
pub(crate) struct Way<'a> {
    slow_path: &'a mut SlowPath,
    now: Instant,
    /// The numbers asked for.
    pub(crate) needed: Vec<NextHopId>,
}

impl<'a> Way<'a> {
    /// Will ask at `now`.
    pub(crate) fn new(slow_path: &'a mut SlowPath, now: Instant) -> Self {
        Self {
            slow_path,
            now,
            needed: Vec::new(),
        }
    }
}

/// What the slow path may remember under `settings`: the number of a next hop must outlive the connections that may
/// still use it.
pub(crate) fn limits(settings: &Settings) -> Limits {
    let longest = Duration::from_millis(u64::from(settings.timeouts.longest_ticks()));
    let default = Limits::default();
    Limits {
        number_is_kept: default.number_is_kept.max(longest * 2),
        ..default
    }
}

impl NextHopNumbers for Way<'_> {
    fn number(&mut self, port: PortId, address: IpAddr) -> Option<NextHopId> {
        let number = self.slow_path.next_hop_for(port, address, self.now)?;
        self.needed.push(number);
        Some(number)
    }
}
