//! Ties the compiler of configurations to whoever knows the way on the wire.
//!
//! Promises: remembers which numbers a configuration needs, so that the others can be given up.
//! Does not know: MAC addresses.

use std::net::IpAddr;
use std::time::Instant;

use weir_config::compile::NextHopNumbers;
use weir_control::SlowPath;
use weir_director::{NextHopId, PortId};

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

impl NextHopNumbers for Way<'_> {
    fn number(&mut self, port: PortId, address: IpAddr) -> Option<NextHopId> {
        let number = self.slow_path.next_hop_for(port, address, self.now)?;
        self.needed.push(number);
        Some(number)
    }
}
