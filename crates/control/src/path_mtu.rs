//! How large a packet gets through tunnels whose way was found to be narrower than the link.
//!
//! Promises: only a smaller path MTU is news; each is forgotten ten minutes after it was learned, for ways change
//! (RFC 1191 §6.3, RFC 8201 §5.3).
//! Does not know: who says so and whether it is to be believed (the workers).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use weir_director::{PathMtus, TunnelId};

/// How long a path MTU is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(600);

/// What is remembered; one of each tunnel at most.
#[derive(Debug, Default)]
pub(crate) struct LearnedMtus {
    by_tunnel: HashMap<TunnelId, Learned>,
    /// What is to be forgotten when, the first first; of a tunnel that was learned of twice the later counts.
    forget: VecDeque<(Instant, TunnelId)>,
    has_changed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Learned {
    mtu: u16,
    until: Instant,
}

impl LearnedMtus {
    /// Whether a tunnel was thought to take larger packets.
    pub(crate) fn is_news(&self, tunnel: TunnelId, mtu: u16) -> bool {
        let known = self.by_tunnel.get(&tunnel);
        known.is_none_or(|known| mtu < known.mtu)
    }

    /// Remembers a path MTU, if it is news.
    pub(crate) fn learn(&mut self, tunnel: TunnelId, mtu: u16, now: Instant) {
        if self.is_news(tunnel, mtu) {
            let until = now + REMEMBERED_FOR;
            self.by_tunnel.insert(tunnel, Learned { mtu, until });
            self.forget.push_back((until, tunnel));
            self.has_changed = true;
        }
    }

    /// Forgets those that are too old.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((until, tunnel)) = self.forget.front().copied()
            && until <= now
        {
            self.forget.pop_front();
            let learned = self.by_tunnel.get(&tunnel);
            if learned.is_some_and(|learned| learned.until == until) {
                self.by_tunnel.remove(&tunnel);
                self.has_changed = true;
            }
        }
    }

    /// When the next is to be forgotten.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.forget.front().map(|(until, _)| *until)
    }

    /// Whether they have changed since they were last taken.
    pub(crate) fn has_changed(&self) -> bool {
        self.has_changed
    }

    /// All of them, if they have changed since they were last taken.
    pub(crate) fn take_changed(&mut self) -> Option<PathMtus> {
        let all = self
            .by_tunnel
            .iter()
            .map(|(tunnel, learned)| (*tunnel, learned.mtu));
        std::mem::take(&mut self.has_changed).then(|| all.collect())
    }
}
