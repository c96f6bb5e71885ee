//! The connection table against a `HashMap` that does the same by brute force.
//!
//! Promises: whatever is inserted, seen, changed, removed, evicted and expired in whatever order, both hold the same
//! connections, and no line and no place of the index is lost.
//! Does not know: the table's insides.

use std::collections::HashMap;

use proptest::prelude::*;
use weir_memory::Pages;
use weir_wire::{Endpoint, FlowKey, Protocol};

use super::{Direction, EntryId, Flags, Found, Keys, NewConnection, State, Table};
use super::{Room, TableUsage};
use crate::{DestinationId, NextHopId, Seed, Sizes, Tick, Timeouts};

const N_KEYS: u16 = 48;
/// A connection is looked at no later than one slot of the wheel after it expired.
const SLOT_TICKS: u32 = 256;
const STATES: [State; 6] = [
    State::Established,
    State::SynRecv,
    State::FinWait,
    State::TimeWait,
    State::Close,
    State::Udp,
];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Opens the connection of this number, unless it is there.
    Insert { number: u16, state: usize },
    /// A packet of one of those that are there.
    See(u16),
    /// A packet that changes the state.
    Change { pick: u16, state: usize },
    /// Ends one of those that are there.
    Remove(u16),
    /// Ends the one that is worth least.
    Evict,
    /// Time passes, and only a few are looked at.
    Dawdle { ticks: u32, budget: usize },
    /// Time passes, and all that are due are looked at.
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let state = 0..STATES.len();
    prop_oneof![
        8 => (0..2 * N_KEYS, state.clone()).prop_map(|(number, state)| Step::Insert { number, state }),
        2 => any::<u16>().prop_map(Step::See),
        2 => (any::<u16>(), state).prop_map(|(pick, state)| Step::Change { pick, state }),
        2 => any::<u16>().prop_map(Step::Remove),
        1 => Just(Step::Evict),
        1 => (0..100_000u32, 0..4usize).prop_map(|(ticks, budget)| Step::Dawdle { ticks, budget }),
        1 => prop_oneof![0..2_000u32, 0..400_000u32, 0..3_000_000u32].prop_map(Step::Pass),
    ]
}

/// The keys of a connection; those of even numbers are IPv4, the others IPv6, at least on the client's side.
fn keys(number: u16) -> Keys {
    let (client, vip) = if number.is_multiple_of(2) {
        ("198.51.100.7", "192.0.2.100")
    } else {
        ("2001:db8:7::7", "2001:db8:2::100")
    };
    let (real, local) = if number % 4 == 1 {
        ("fd00::11", "fd00::200")
    } else {
        ("10.0.0.11", "10.0.0.200")
    };
    let key = |from: &str, source_port, to: &str, destination_port| {
        let source = Endpoint::new(from.parse().unwrap(), source_port);
        let destination = Endpoint::new(to.parse().unwrap(), destination_port);
        FlowKey::new(Protocol::Tcp, source, destination).unwrap()
    };
    let inbound = key(client, 1000 + number, vip, 80);
    Keys([inbound, key(real, 8080, local, 2000 + number)])
}

#[derive(Clone, Copy, Debug)]
struct TwinConnection {
    id: EntryId,
    state: State,
    last_seen: Tick,
}

/// The table, and the same by brute force.
struct Both {
    table: Table,
    n_lines: u32,
    max_connections: usize,
    timeouts: Timeouts,
    now: Tick,
    twin: HashMap<u16, TwinConnection>,
}

impl Both {
    fn new([connections, ipv6_connections]: [u32; 2], seed: u64, now: Tick) -> Self {
        let seed = Seed([seed, seed ^ 0x5555, !seed, seed.rotate_left(17)]);
        let sizes = Sizes {
            connections,
            ipv6_connections,
            pages: Pages::Sparse,
        };
        let n_lines = (connections + 2 * ipv6_connections).next_multiple_of(2);
        Self {
            table: Table::new(sizes, seed, now).unwrap(),
            n_lines,
            max_connections: (n_lines - ipv6_connections) as usize,
            timeouts: Timeouts::default(),
            now,
            twin: HashMap::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Insert { number, state } => {
                self.insert(number, STATES[state]);
            }
            Step::See(pick) => {
                if let Some(number) = self.pick(pick) {
                    self.see(number);
                }
            }
            Step::Change { pick, state } => {
                if let Some(number) = self.pick(pick) {
                    self.see(number);
                    let twin = self.twin.get_mut(&number).unwrap();
                    twin.state = STATES[state];
                    self.table
                        .set_state(twin.id, twin.state, self.now, &self.timeouts);
                }
            }
            Step::Remove(pick) => {
                if let Some(number) = self.pick(pick) {
                    let twin = self.twin.remove(&number).unwrap();
                    let removed = self.table.remove(twin.id);
                    assert_eq!(removed.destination, u32::from(number));
                    assert_eq!(removed.state(), Some(twin.state));
                }
            }
            Step::Evict => self.evict(),
            Step::Dawdle { ticks, budget } => self.expire(ticks, budget),
            Step::Pass(ticks) => self.pass(ticks),
        }
    }

    /// One of those that are there.
    fn pick(&self, pick: u16) -> Option<u16> {
        let mut numbers: Vec<u16> = self.twin.keys().copied().collect();
        numbers.sort_unstable();
        let place = usize::from(pick).checked_rem(numbers.len())?;
        Some(numbers[place])
    }

    /// Returns whether it is there now.
    fn insert(&mut self, number: u16, state: State) -> bool {
        if self.twin.contains_key(&number) {
            return true;
        }
        let has_room = self.has_room(number);
        let new = NewConnection {
            keys: keys(number),
            hashes: self.table.hashes(&keys(number)),
            state,
            flags: Flags::default(),
            next_hops: [NextHopId(1), NextHopId(2)],
            destination: DestinationId(u32::from(number)),
        };
        match self.table.insert(&new, self.now, &self.timeouts) {
            Ok(id) => {
                assert!(has_room, "more than there is room for");
                let last_seen = self.now;
                let twin = TwinConnection {
                    id,
                    state,
                    last_seen,
                };
                self.twin.insert(number, twin);
                true
            }
            Err(_) => {
                assert!(!has_room, "no room in {:?}", self.table.usage());
                false
            }
        }
    }

    /// Whether the index has room, and the slab a line, or an even-odd pair of lines.
    fn has_room(&self, number: u16) -> bool {
        if self.twin.len() == self.max_connections {
            return false;
        }
        let is_free = |line: u32| {
            !self.twin.iter().any(|(number, twin)| {
                let is_pair = !number.is_multiple_of(2);
                twin.id.0 == line || is_pair && twin.id.0 + 1 == line
            })
        };
        if number.is_multiple_of(2) {
            (0..self.n_lines).any(is_free)
        } else {
            (0..self.n_lines)
                .step_by(2)
                .any(|even| is_free(even) && is_free(even + 1))
        }
    }

    fn see(&mut self, number: u16) {
        let twin = self.twin.get_mut(&number).unwrap();
        twin.last_seen = self.now;
        self.table
            .get_mut(twin.id)
            .saw(Direction::Inbound, 1, self.now);
    }

    /// The victim is worth least of all (the table is smaller than what is looked at), and unseen for longest.
    fn evict(&mut self) {
        let worth = |twin: &TwinConnection| match twin.state {
            State::SynRecv => Some(0),
            State::TimeWait | State::Close => Some(1),
            State::Udp if self.now.since(twin.last_seen) >= 5000 => Some(2),
            _ => None,
        };
        let rank = |twin: &TwinConnection| {
            worth(twin).map(|worth| (worth, u32::MAX - self.now.since(twin.last_seen)))
        };
        let least = self.twin.values().filter_map(rank).min();
        let [victim, second] = self.table.evict(Room::Line, self.now);
        assert_eq!(
            (victim.is_some(), second.is_some()),
            (least.is_some(), false)
        );
        if let Some(victim) = victim {
            let twin = self.twin.remove(&(victim.destination as u16)).unwrap();
            let unseen = u32::MAX - self.now.since(twin.last_seen);
            let of_victim = worth(&twin).map(|worth| (worth, unseen));
            assert_eq!(of_victim, least);
        }
    }

    /// Nothing may end before its time.
    fn expire(&mut self, ticks: u32, budget: usize) {
        self.now = self.now.after(ticks);
        let Self {
            table,
            timeouts,
            now,
            twin,
            ..
        } = self;
        table.expire(*now, timeouts, budget, |ended| {
            let twin = twin.remove(&(ended.destination as u16)).unwrap();
            let unseen = now.since(twin.last_seen);
            assert!(unseen >= timeouts.ticks(twin.state), "ended too early");
        });
    }

    /// Nor live on after it.
    fn pass(&mut self, ticks: u32) {
        self.expire(ticks, usize::MAX);
        for (number, twin) in &self.twin {
            let unseen = self.now.since(twin.last_seen);
            let limit = self.timeouts.ticks(twin.state) + SLOT_TICKS;
            assert!(unseen < limit, "{number} lives on: {twin:?}");
        }
    }

    fn compare(&self) {
        let lines = |number: &u16| 1 + u32::from(!number.is_multiple_of(2));
        let n_lines_used: u32 = self.twin.keys().map(lines).sum();
        let n_indexable = self.max_connections - self.twin.len();
        let n_more = (self.n_lines - n_lines_used).min(n_indexable as u32);
        let used = self.twin.len() as u32;
        let capacity = used + n_more;
        assert_eq!(self.table.usage(), TableUsage { capacity, used });
        for number in 0..2 * N_KEYS {
            let expected = self.twin.get(&number).map(|twin| twin.id);
            let Keys([client, server]) = keys(number);
            for (key, direction) in [(client, Direction::Inbound), (server, Direction::Outbound)] {
                let expected = expected.map(|id| Found { id, direction });
                let hash = self.table.hash(&key);
                assert_eq!(self.table.find(&key, hash), expected, "{key:?}");
                let candidate = self.table.guess(hash, matches!(key, FlowKey::V6(_)));
                assert_eq!(self.table.confirm(candidate, &key, hash), expected);
            }
            if let Some(id) = expected {
                assert_eq!(self.table.keys(id).0, [client, server]);
            }
        }
        let mut listed = Vec::new();
        let mut from = Some(0);
        while let Some(place) = from {
            from = self.table.list(place, 5, self.now, &self.timeouts, |view| {
                listed.push((view.destination.0 as u16, view.state));
            });
        }
        listed.sort_unstable_by_key(|(number, _)| *number);
        let mut expected: Vec<(u16, State)> = self
            .twin
            .iter()
            .map(|(number, twin)| (*number, twin.state))
            .collect();
        expected.sort_unstable_by_key(|(number, _)| *number);
        assert_eq!(listed, expected);
    }

    /// After all have expired there is room for as many as at first, of either family.
    fn assert_nothing_leaked(&mut self) {
        let mut wait = || self.pass(1_000_000);
        wait();
        wait();
        assert_eq!((self.table.usage().used, self.twin.len()), (0, 0));
        for (family, n_lines_each) in [(1, 2), (0, 1)] {
            let n_fit = self
                .max_connections
                .min((self.n_lines / n_lines_each) as usize);
            for number in (family..).step_by(2).take(n_fit) {
                assert!(self.insert(number, State::Established));
            }
            for number in [1000, 1001] {
                assert!(!self.insert(number, State::Established));
            }
            for twin in std::mem::take(&mut self.twin).into_values() {
                self.table.remove(twin.id);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_a_map_does(
        // So small an index has room for every key, for a key may stand in any of its buckets.
        connections in 2..17u32,
        ipv6_connections in prop_oneof![Just(0), 0..9u32],
        seed in any::<u64>(),
        // Two starts in three lie before the tick's wrap.
        start in prop_oneof![Just(0u32), u32::MAX - 3_000_000..u32::MAX, any::<u32>()],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut both = Both::new([connections, ipv6_connections], seed, Tick(start));
        for step in steps {
            both.take(step);
            both.compare();
        }
        both.assert_nothing_leaked();
    }
}

/// IPv4 connections split pairs of lines, and their ends join them again, in whatever order.
#[test]
fn pairs_split_and_join() {
    let mut both = Both::new([8, 0], 1, Tick(0));
    for number in [0, 2, 4, 6, 8, 10, 12, 14] {
        assert!(both.insert(number, State::Established));
    }
    // Every other line free: no pair.
    for number in [0, 4, 8, 12] {
        let twin = both.twin.remove(&number).unwrap();
        both.table.remove(twin.id);
    }
    assert!(!both.insert(1, State::Established));
    for number in [2, 6] {
        let twin = both.twin.remove(&number).unwrap();
        both.table.remove(twin.id);
    }
    assert!(both.insert(1, State::Established) && both.insert(3, State::Established));
    assert!(!both.insert(5, State::Established));
    assert!(both.insert(16, State::Established) && both.insert(18, State::Established));
    both.compare();
}

/// Room for four of IPv4 and four of IPv6 beside them: twelve lines, eight connections.
fn mixed() -> Both {
    Both::new([4, 4], 1, Tick(0))
}

#[test]
fn both_families_fill_a_table_made_for_both() {
    let mut both = mixed();
    for number in 0..8 {
        assert_eq!(
            (both.table.usage().used, both.has_room(number)),
            (u32::from(number), true)
        );
        assert!(both.insert(number, State::Established));
    }
    let full = TableUsage {
        capacity: 8,
        used: 8,
    };
    assert_eq!(both.table.usage(), full);
    assert!(!both.insert(8, State::Established) && !both.insert(9, State::Established));
    both.compare();
}

/// Of IPv4 alone the index runs out first, of IPv6 alone the lines do.
#[test]
fn a_table_is_full_by_either_limit() {
    let mut both = mixed();
    for number in (0..16).step_by(2) {
        assert!(both.insert(number, State::Established));
    }
    assert_eq!(both.table.slab.n_used(), 8, "lines are left");
    assert!(!both.insert(16, State::Established) && !both.insert(1, State::Established));
    assert_eq!(both.table.usage().capacity, 8);

    let mut both = mixed();
    for number in (1..13).step_by(2) {
        assert!(both.insert(number, State::Established));
    }
    assert_eq!(both.table.slab.n_used(), 12, "no line is left");
    assert!(!both.insert(13, State::Established) && !both.insert(0, State::Established));
    let full = TableUsage {
        capacity: 6,
        used: 6,
    };
    assert_eq!(both.table.usage(), full);
}

/// Where a pair of lines is free, an IPv6 connection needs one other's place only: the one that is worth least, whatever
/// stands beside it.
#[test]
fn where_connections_run_out_one_goes_for_one_of_ipv6() {
    let mut both = mixed();
    for number in (0..16).step_by(2) {
        let state = if number == 6 {
            State::SynRecv
        } else {
            State::Established
        };
        assert!(both.insert(number, state));
    }
    assert!(!both.insert(1, State::Established));
    let ended = both.table.evict(Room::Pair, both.now);
    let destinations = ended.map(|ended| ended.map(|ended| ended.destination));
    assert_eq!(destinations, [Some(6), None]);
    both.twin.remove(&6);
    assert!(both.insert(1, State::Established));
    both.compare();
}

/// Under a flood the oldest of 32 half-open connections goes, wherever the oldest of all is; where there are few of them
/// 128 lines are looked at for them.
#[test]
fn where_half_open_connections_abound_no_more_than_32_are_compared() {
    for (n_half_open_lines, line_of_the_victim, n_looked_at) in [(128, 5, 32), (20, 127, 128)] {
        let mut both = Both::new([256, 0], 1, Tick(0));
        for line in 0..256 {
            // The oldest of all is in line 127; of the first 32 it is the one in line 5.
            both.now = Tick(match line {
                127 => 0,
                5 => 1,
                _ => 2,
            });
            let state = if line == 127 || line < n_half_open_lines {
                State::SynRecv
            } else {
                State::Established
            };
            assert!(both.insert(2 * line, state));
        }
        let [victim, none] = both.table.evict(Room::Line, Tick(10));
        let destination = victim.map(|victim| victim.destination);
        assert_eq!(
            (destination, none.is_some()),
            (Some(2 * line_of_the_victim), false)
        );
        assert_eq!(both.table.eviction_hand, n_looked_at);
    }
}

/// What a connection costs is what was reckoned with when the table was laid out: 93⅓ bytes and 165⅓.
#[test]
fn bytes_of_a_connection_by_family() {
    let bytes = |connections, ipv6_connections| {
        crate::bytes_needed(connections, ipv6_connections) as f64 / 1e6
    };
    assert!(bytes(1_000_000, 0) < 94.0);
    assert!(bytes(0, 1_000_000) < 166.0);
    assert!(bytes(1_000_000, 1_000_000) < 94.0 + 166.0);
}
