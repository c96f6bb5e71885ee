//! One neighbour: what is known of its MAC address, and what is to be done about it next.
//!
//! Promises: a MAC address is used as long as it is confirmed about every half minute; a neighbour that three
//! requests in a row could not reach has none. There is always a next thing to do, and a time for it.
//! Does not know: how one asks, its number, who waits for it beside the packets it holds.
//!
//! How it works: the states of RFC 4861 §7.3.2, for IPv4 too, less what weir does not need: it has no STALE, for it
//! cannot see which neighbours are in use, and so confirms all of them.
//!
//! But not for ever: one that is not pinned and that no packet has asked for in a long time becomes Idle. It is not
//! asked, and nothing can be sent to it, so that the next packet of a living connection is punted and shows that it is
//! in use after all: then the MAC address of before is used at once. If none comes for as long as a living connection
//! may be silent, there is no connection, and the neighbour is forgotten, whatever it says meanwhile: a host that
//! answers for a thousand addresses does not hold a thousand numbers.
//!
//! ```text
//!             answer                 half a minute
//! Resolving ----------> Reachable ------------------> Probing
//!   |   ^                   ^                          |   |
//!   | 3 | pinned: backoff   |          answer          |   | 3 requests
//!   v   | else: a packet    +--------------------------+   |
//!  Failed <------------------------------------------------+
//!
//! Reachable, Probing --long not asked for--> Idle --a packet--> Probing
//! ```

use std::net::IpAddr;
use std::time::{Duration, Instant};

use weir_director::PortId;
use weir_wire::ethernet::Mac;

/// Requests without an answer after which a neighbour is given up (RFC 4861 §10, `MAX_MULTICAST_SOLICIT`).
const MAX_REQUESTS: u8 = 3;
/// Time between two requests (RFC 4861 §10, `RETRANS_TIMER`).
const RETRY: Duration = Duration::from_secs(1);
/// A neighbour is asked to confirm its MAC address after this time and up to [`CONFIRM_SPREAD_MS`] more
/// (RFC 4861 §10, `REACHABLE_TIME`, which is spread likewise).
const CONFIRM: Duration = Duration::from_secs(25);
/// Neighbours found together must not all be asked together.
const CONFIRM_SPREAD_MS: u64 = 10_000;
/// Longest time after which a pinned neighbour is asked for again.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A packet that needs a neighbour. It is copied only when it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// The port it came in by.
    pub(crate) port: PortId,
    /// The whole frame.
    pub(crate) frame: &'a [u8],
}

/// A packet that waits for a neighbour's MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The port it came in by.
    pub(crate) port: PortId,
    /// The whole frame.
    pub(crate) frame: Vec<u8>,
}

/// What is known of a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing; it was asked for so many times.
    Resolving { n_asked: u8 },
    /// It answered.
    Reachable { mac: Mac },
    /// It answered once; it was asked again so many times.
    Probing { mac: Mac, n_asked: u8 },
    /// It answered, but nothing has needed it for long.
    Idle { mac: Mac },
    /// Nothing, and nobody answers.
    Failed,
}

impl State {
    /// The name that users see.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resolving { .. } => "resolving",
            Self::Reachable { .. } => "reachable",
            Self::Probing { .. } => "probing",
            Self::Idle { .. } => "idle",
            Self::Failed => "failed",
        }
    }
}

/// Whether a message shows that the neighbour receives what we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// It answers a request of ours.
    Answer,
    /// It says so unasked.
    Claim,
}

/// What a message says of its sender's MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The MAC address, where it is said.
    pub(crate) mac: Option<Mac>,
    /// What it is worth.
    pub(crate) evidence: Evidence,
    /// It replaces another that was known.
    pub(crate) is_override: bool,
}

/// What came of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It said nothing that could be used.
    Useless,
    /// The MAC address is the one that was known.
    Unchanged,
    /// The MAC address is known now, or another one.
    Changed(Mac),
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Ask it: at this MAC address, or all on the link.
    Ask(Option<Mac>),
    /// It does not answer: nothing can be sent to it.
    GiveUp,
    /// Nothing is sent to it until a packet asks for it.
    Rest,
    /// Nobody needs it any longer.
    Forget,
}

/// A neighbour.
#[derive(Debug)]
pub(crate) struct Neighbour {
    pub(crate) port: PortId,
    pub(crate) address: IpAddr,
    pub(crate) state: State,
    /// When it last answered; before that, when weir began to ask.
    pub(crate) confirmed: Instant,
    /// When a packet or the configuration last asked for it.
    pub(crate) needed: Instant,
    /// When [`Self::step`] is due.
    pub(crate) deadline: Instant,
    /// A destination or a route needs it.
    pub(crate) is_pinned: bool,
    /// A connection may refer to its number: it was pinned, or its MAC address was known, at some time.
    pub(crate) is_published: bool,
    /// Rounds of requests in a row that nobody answered.
    pub(crate) n_failures: u32,
    /// Invariant: empty while the MAC address is known.
    pub(crate) held: Vec<Held>,
}

impl Neighbour {
    /// One that has not been asked for; it is due at once.
    pub(crate) fn new(port: PortId, address: IpAddr, now: Instant) -> Self {
        Self {
            port,
            address,
            state: State::Resolving { n_asked: 0 },
            confirmed: now,
            needed: now,
            deadline: now,
            is_pinned: false,
            is_published: false,
            n_failures: 0,
            held: Vec::new(),
        }
    }

    /// Its MAC address, where it can be used.
    pub(crate) fn mac(&self) -> Option<Mac> {
        match self.state {
            State::Reachable { mac } | State::Probing { mac, .. } => Some(mac),
            State::Resolving { .. } | State::Idle { .. } | State::Failed => None,
        }
    }

    /// A packet or the configuration needs it: one that failed is asked for again, at once; one that is idle can be
    /// used again, and is asked to confirm that, at once.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.needed = now;
        self.state = match self.state {
            State::Failed => State::Resolving { n_asked: 0 },
            State::Idle { mac } => State::Probing { mac, n_asked: 0 },
            State::Resolving { .. } | State::Reachable { .. } | State::Probing { .. } => return,
        };
        self.deadline = now;
    }

    /// Nothing needs it any longer but, perhaps, living connections.
    pub(crate) fn unpin(&mut self, number_is_kept: Duration, now: Instant) {
        self.is_pinned = false;
        self.needed = now;
        if self.state == State::Failed {
            self.deadline = now + number_is_kept;
        }
    }

    /// Does what is due at [`Self::deadline`].
    pub(crate) fn step(&mut self, number_is_kept: Duration, now: Instant) -> Due {
        let is_needed =
            self.is_pinned || now.saturating_duration_since(self.needed) < number_is_kept;
        if let Some(mac) = self.mac().filter(|_| !is_needed) {
            self.state = State::Idle { mac };
            self.deadline = now + number_is_kept;
            return Due::Rest;
        }
        let (next, unicast) = match self.state {
            State::Resolving {
                n_asked: MAX_REQUESTS..,
            }
            | State::Probing {
                n_asked: MAX_REQUESTS..,
                ..
            } => return self.fail(number_is_kept, now),
            State::Resolving { n_asked } => {
                let n_asked = n_asked + 1;
                (State::Resolving { n_asked }, None)
            }
            State::Reachable { mac } => (State::Probing { mac, n_asked: 1 }, Some(mac)),
            // The first question goes to the neighbour alone, the others to all: it may have moved.
            State::Probing { mac, n_asked } => {
                let unicast = (n_asked == 0).then_some(mac);
                let n_asked = n_asked + 1;
                (State::Probing { mac, n_asked }, unicast)
            }
            State::Failed if self.is_pinned => (State::Resolving { n_asked: 1 }, None),
            State::Idle { .. } | State::Failed => return Due::Forget,
        };
        self.state = next;
        self.deadline = now + RETRY;
        Due::Ask(unicast)
    }

    fn fail(&mut self, number_is_kept: Duration, now: Instant) -> Due {
        self.state = State::Failed;
        self.n_failures = self.n_failures.saturating_add(1);
        if !self.is_published {
            return Due::Forget;
        }
        let pause = if self.is_pinned {
            (RETRY * (1 << self.n_failures.min(6))).min(MAX_BACKOFF)
        } else {
            number_is_kept
        };
        self.deadline = now + pause;
        Due::GiveUp
    }

    /// Takes in what a message says (RFC 4861 §7.2.5, appendix C). `spread` is any number of its own.
    pub(crate) fn hear(&mut self, heard: Heard, spread: u16, now: Instant) -> Outcome {
        if let State::Idle { mac } = self.state {
            // What it says does not show that anything needs it.
            let said = heard.mac.filter(|_| heard.is_override);
            self.state = State::Idle {
                mac: said.unwrap_or(mac),
            };
            return Outcome::Unchanged;
        }
        let known = self.mac();
        let Some(mac) = heard.mac.or(known) else {
            return Outcome::Useless;
        };
        let has_moved = known.is_some_and(|known| known != mac);
        if let Some(known) = known.filter(|_| has_moved && !heard.is_override) {
            // Another node says that it is there as well; who is right is asked, not believed.
            self.probe(known, now);
            return Outcome::Unchanged;
        }
        match heard.evidence {
            Evidence::Answer => {
                // One that nobody asked for does not put off the next step.
                if !matches!(self.state, State::Reachable { .. }) {
                    let spread_ms = u64::from(spread) * 7919 % CONFIRM_SPREAD_MS;
                    self.deadline = now + CONFIRM + Duration::from_millis(spread_ms);
                }
                self.state = State::Reachable { mac };
                self.confirmed = now;
            }
            Evidence::Claim if known.is_none() || has_moved => {
                self.state = State::Probing { mac, n_asked: 0 };
                self.deadline = now;
            }
            Evidence::Claim => {}
        }
        if known == Some(mac) {
            Outcome::Unchanged
        } else {
            Outcome::Changed(mac)
        }
    }

    fn probe(&mut self, mac: Mac, now: Instant) {
        if matches!(self.state, State::Reachable { .. }) {
            self.state = State::Probing { mac, n_asked: 0 };
            self.deadline = now;
        }
    }
}
