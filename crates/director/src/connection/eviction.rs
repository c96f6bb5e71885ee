//! A full table: who goes to make room.
//!
//! Promises: no living TCP or SCTP connection ever goes for a new one; the search is bounded.
//! Does not know: why there is no room.

use weir_memory::prefetch;

use super::{Connection, State, Table};
use crate::Tick;

/// How many lines are looked at to find one that may be evicted.
const EVICTION_SCAN: u32 = 128;
/// How many half-open connections are compared: the oldest of so many is old enough. A table that is full of them is
/// being flooded, and reading lines is what an opening there costs.
const ENOUGH_HALF_OPEN: u32 = 32;
/// How many lines ahead of the one that is looked at are asked for.
const EVICTION_PREFETCH: u32 = 16;
/// After this time without a packet a datagram flow is idle.
const IDLE_TICKS: u32 = 5 * Tick::PER_SECOND;

/// What a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// IPv4.
    Line,
    /// IPv6.
    Pair,
}

/// What a connection is worth when room is needed; less goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    kind: u8,
    /// Smaller for those unseen longer.
    freshness: u32,
}

impl Worth {
    const LEAST: Self = Self {
        kind: 0,
        freshness: 0,
    };

    /// Or as good as that.
    fn is_half_open(self) -> bool {
        self.kind == Self::LEAST.kind
    }
}

/// What a connection is worth; `None`: it may not be evicted.
fn worth(connection: &Connection, now: Tick) -> Option<Worth> {
    let unseen_ticks = now.since(connection.last_seen());
    let kind = match connection.state()? {
        State::SynRecv
        | State::SctpNone
        | State::SctpInit1
        | State::SctpInit
        | State::SctpCookieSent
        | State::SctpCookieReplied
        | State::SctpCookieWait
        | State::SctpCookie
        | State::SctpCookieEchoed => 0,
        // What a flood of opening packets leaves behind.
        State::Template if connection.n_sponsored() == 0 => 0,
        State::TimeWait | State::Close | State::SctpRejected | State::SctpClosed => 1,
        State::Udp if unseen_ticks >= IDLE_TICKS => 2,
        State::AssuredTemplate if connection.n_sponsored() == 0 => 3,
        State::Template
        | State::AssuredTemplate
        | State::Udp
        | State::Established
        | State::SynSent
        | State::FinWait
        | State::CloseWait
        | State::LastAck
        | State::Listen
        | State::SynAck
        | State::SctpEstablished
        | State::SctpShutdownSent
        | State::SctpShutdownReceived
        | State::SctpShutdownAckSent => return None,
    };
    Some(Worth {
        kind,
        freshness: u32::MAX - unseen_ticks,
    })
}

impl Table {
    /// Makes room by ending what is worth least among the places that come next: half-open connections first, and templates
    /// that never had more than such ones, then those that are over, then idle datagram flows, then
    /// templates without connections; within each the one unseen for longest. Once enough half-open ones are among them it looks no further. For an IPv6 connection it takes a whole pair
    /// of lines, or nothing; where a pair is free, it is connections that have run out, and any one will do. Returns what
    /// was ended.
    pub(crate) fn evict(&mut self, room: Room, now: Tick) -> [Option<Connection>; 2] {
        let n_lines = self.slab.n_lines();
        let room = if self.slab.has_pair(&self.links) {
            Room::Line
        } else {
            room
        };
        let (step, mut best) = match room {
            Room::Line => (1, None),
            Room::Pair => (2, None),
        };
        let mut n_half_open = 0;
        let on_from = |line| if line < n_lines { line } else { line - n_lines };
        let ahead = EVICTION_PREFETCH.min(n_lines - step);
        for _ in 0..EVICTION_SCAN.min(n_lines / step) {
            let line = self.eviction_hand & !(step - 1);
            self.eviction_hand = on_from(line + step);
            prefetch(self.slab.line(on_from(line + ahead)));
            let worth = match room {
                Room::Line => self
                    .connection_at(line)
                    .and_then(|(_, connection)| worth(connection, now)),
                Room::Pair => self.pair_worth(line, now),
            };
            let Some(worth) = worth else {
                continue;
            };
            if best.is_none_or(|(least, _)| worth < least) {
                best = Some((worth, line));
            }
            n_half_open += u32::from(worth.is_half_open());
            if n_half_open == ENOUGH_HALF_OPEN {
                break;
            }
        }
        let Some((_, line)) = best else {
            return [None; 2];
        };
        let second = match room {
            Room::Line => line,
            Room::Pair => line + 1,
        };
        let first = self
            .connection_at(line)
            .map(|(id, _)| id)
            .map(|id| self.remove(id));
        let second = self
            .connection_at(second)
            .map(|(id, _)| id)
            .map(|id| self.remove(id));
        [first, second]
    }

    /// What the worthier of the connections in a pair of lines is worth; `None`: one of them must stay.
    fn pair_worth(&self, even: u32, now: Tick) -> Option<Worth> {
        [even, even + 1]
            .into_iter()
            .filter_map(|line| self.connection_at(line))
            .try_fold(Worth::LEAST, |most, (_, connection)| {
                Some(most.max(worth(connection, now)?))
            })
    }
}
