//! All neighbours: the rows of the next-hop table.
//!
//! Promises: a number names the same neighbour as long as a connection may refer to it. Rows and held packets are
//! bounded; a row that no connection can refer to is free as soon as nobody answers for it, so that an outsider
//! with many source addresses cannot fill the table: no row is made for a packet that cannot be held. Nor can a host
//! on the link that answers for them all: what the configuration needs has numbers of its own, and the others become
//! free again when nothing has asked for them in a long time.
//! Does not know: ARP, neighbour discovery, the configuration.
//!
//! How it works: a neighbour that has never had a MAC address and that nothing in the configuration needs has a row
//! but no name in the published table. Its client's packets keep coming here until it is found, and only then
//! does a connection open, so that no connection refers to a row that never was. A neighbour that is lost, or idle,
//! keeps its number for [`Limits::number_is_kept`]; every packet of a living connection to it would be punted
//! and would begin that time anew, so what is still silent then has no living connection. A number whose name is
//! withdrawn names nobody else before that is published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use weir_director::{DropReason, NextHop, NextHopId, NextHops, PortId};
use weir_wire::ethernet::Mac;

use crate::neighbour::{Arrival, Due, Heard, Held, Neighbour, Outcome, State};
use crate::publication::{Publication, Urgency};
use crate::{Event, Limits, NeighbourView, PortFacts};

/// Rows that a table of next hops can have: as many as there are numbers.
const MAX_ROWS: usize = 1 << 16;

/// What is to be done for the neighbours' sake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask a neighbour for its MAC address: at the one that is known, or all on the link.
    Ask {
        port: PortId,
        address: IpAddr,
        unicast: Option<Mac>,
    },
    /// The neighbour that this packet waited for has been found.
    Release(Held),
    /// It has not.
    Abandon(Held),
    /// An operator wants to know.
    Tell(Event),
}

/// What became of a packet that needs a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// It waits.
    Waits,
    /// It need not wait: the neighbour is known by now.
    NeedNot,
}

/// How many packets are held.
#[derive(Debug, Default)]
struct HeldCounts {
    for_pinned: usize,
    for_others: usize,
}

impl HeldCounts {
    /// Those that share one allowance.
    fn of(&mut self, is_pinned: bool) -> &mut usize {
        if is_pinned {
            &mut self.for_pinned
        } else {
            &mut self.for_others
        }
    }
}

/// All neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    limits: Limits,
    /// By number. Invariant: `None` exactly for the numbers in `free` and `withdrawn`.
    rows: Vec<Option<Neighbour>>,
    /// Numbers that name nobody, the one free for longest first.
    free: VecDeque<NextHopId>,
    /// Numbers that name nobody any longer, but still do so in the published table.
    withdrawn: Vec<NextHopId>,
    numbers: BTreeMap<(PortId, IpAddr), NextHopId>,
    /// Invariant: holds each neighbour's deadline, and no other.
    deadlines: BTreeSet<(Instant, NextHopId)>,
    /// Invariant: neighbours that are pinned.
    n_pinned: usize,
    /// Invariant: packets that neighbours hold.
    n_held: HeldCounts,
    publication: Publication,
    effects: Vec<Effect>,
}

impl Neighbours {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            rows: Vec::new(),
            free: VecDeque::new(),
            withdrawn: Vec::new(),
            numbers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            n_pinned: 0,
            n_held: HeldCounts::default(),
            publication: Publication::new(),
            effects: Vec::new(),
        }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What is to be done since this was last asked, in this order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Makes the published table be made anew.
    pub(crate) fn touch(&mut self, now: Instant) {
        self.publication.change(Urgency::AtOnce, now);
    }

    /// Whether the published table is out of date.
    pub(crate) fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Says that the published table is the one of [`Self::next_hops`].
    pub(crate) fn mark_published(&mut self) {
        self.publication.mark_published();
        self.free.extend(self.withdrawn.drain(..));
    }

    /// The table to be published: it ends with the last row that has a name.
    pub(crate) fn next_hops(&self, ports: &[PortFacts]) -> NextHops {
        let named = |row: &Option<Neighbour>| row.as_ref().is_some_and(|row| row.is_published);
        let n_rows = self.rows.iter().rposition(named).map_or(0, |last| last + 1);
        NextHops::new(self.rows.iter().take(n_rows).map(|row| match row {
            Some(neighbour) if neighbour.is_published => {
                (neighbour.address, next_hop(neighbour, ports))
            }
            Some(_) | None => (NOBODY, NextHop::unresolved(PortId(0))),
        }))
    }

    /// The neighbour that a number names.
    pub(crate) fn find(&self, id: NextHopId) -> Option<&Neighbour> {
        self.rows.get(usize::from(id.0))?.as_ref()
    }

    /// By port and address.
    pub(crate) fn views(&self, now: Instant) -> Vec<NeighbourView> {
        self.numbers
            .values()
            .filter_map(|id| self.find(*id).map(|neighbour| (*id, neighbour)))
            .map(|(number, neighbour)| NeighbourView {
                port: neighbour.port,
                address: neighbour.address,
                mac: neighbour.mac(),
                state: neighbour.state.name(),
                age_s: now.duration_since(neighbour.confirmed).as_secs(),
                number,
            })
            .collect()
    }

    /// The number of a neighbour that is needed until it is unpinned.
    pub(crate) fn pin(&mut self, port: PortId, address: IpAddr, now: Instant) -> Option<NextHopId> {
        let id = self.number_of(port, address, now).ok()?;
        let newly_pinned = self.update(id, |neighbour| {
            let is_new = !neighbour.is_pinned;
            neighbour.is_pinned = true;
            neighbour.is_published = true;
            neighbour.wake(now);
            is_new.then_some(neighbour.held.len())
        });
        if let Some(n_held) = newly_pinned.flatten() {
            self.n_pinned += 1;
            self.n_held.for_others -= n_held;
            self.n_held.for_pinned += n_held;
            self.publication.change(Urgency::AtOnce, now);
        }
        self.step_if_due(id, now);
        Some(id)
    }

    /// Unpins all but these.
    pub(crate) fn retain_pinned(&mut self, still_needed: &[NextHopId], now: Instant) {
        let still_needed: BTreeSet<&NextHopId> = still_needed.iter().collect();
        let given_up: Vec<NextHopId> = self
            .numbers
            .values()
            .filter(|id| !still_needed.contains(id))
            .copied()
            .collect();
        let number_is_kept = self.limits.number_is_kept;
        for id in given_up {
            let unpinned = self.update(id, |neighbour| {
                let was_pinned = neighbour.is_pinned;
                if was_pinned {
                    neighbour.unpin(number_is_kept, now);
                }
                was_pinned.then_some(neighbour.held.len())
            });
            if let Some(n_held) = unpinned.flatten() {
                self.n_pinned -= 1;
                self.n_held.for_pinned -= n_held;
                self.n_held.for_others += n_held;
            }
        }
    }

    /// Keeps a packet for a neighbour that may not have a number yet.
    pub(crate) fn hold_for(
        &mut self,
        port: PortId,
        address: IpAddr,
        arrival: Arrival<'_>,
        now: Instant,
    ) -> Result<Holding, DropReason> {
        if !self.numbers.contains_key(&(port, address)) {
            self.has_room_for_another()?;
        }
        let id = self.number_of(port, address, now)?;
        self.hold(id, arrival, now)
    }

    /// Whether a neighbour that is not pinned and has no number yet may get one.
    fn has_room_for_another(&self) -> Result<(), DropReason> {
        if self.n_held.for_others >= self.limits.held {
            return Err(DropReason::NeighbourQueueFull);
        }
        let n_others = self.numbers.len() - self.n_pinned + self.withdrawn.len();
        let n_rows = self.limits.neighbours.min(MAX_ROWS);
        if n_others >= n_rows.saturating_sub(self.limits.for_pinned) {
            return Err(DropReason::NextHopsExhausted);
        }
        Ok(())
    }

    /// Keeps a packet for a neighbour.
    pub(crate) fn hold(
        &mut self,
        id: NextHopId,
        arrival: Arrival<'_>,
        now: Instant,
    ) -> Result<Holding, DropReason> {
        let limits = self.limits;
        let is_pinned = self.find(id).is_some_and(|neighbour| neighbour.is_pinned);
        let allowance = if is_pinned {
            limits.held_for_pinned
        } else {
            limits.held
        };
        let has_room = *self.n_held.of(is_pinned) < allowance;
        let mut was_idle = false;
        let holding = self
            .update(id, |neighbour| {
                was_idle = matches!(neighbour.state, State::Idle { .. });
                neighbour.wake(now);
                if neighbour.mac().is_some() {
                    return Ok(Holding::NeedNot);
                }
                if neighbour.held.len() >= limits.held_per_neighbour || !has_room {
                    return Err(DropReason::NeighbourQueueFull);
                }
                neighbour.held.push(Held {
                    port: arrival.port,
                    frame: arrival.frame.to_vec(),
                });
                Ok(Holding::Waits)
            })
            .unwrap_or(Err(DropReason::NeighbourUnreachable))?;
        if was_idle {
            self.publication.change(Urgency::AtOnce, now);
        }
        if holding == Holding::Waits {
            *self.n_held.of(is_pinned) += 1;
        }
        self.step_if_due(id, now);
        Ok(holding)
    }

    /// Takes in what a message says of its sender; [`Outcome::Useless`] too when the sender is no neighbour.
    pub(crate) fn hear(
        &mut self,
        port: PortId,
        address: IpAddr,
        heard: Heard,
        now: Instant,
    ) -> Outcome {
        let Some(id) = self.numbers.get(&(port, address)).copied() else {
            return Outcome::Useless;
        };
        let heard = self.update(id, |neighbour| {
            // What is pinned, or had another MAC address, serves connections that live.
            let urgency = if neighbour.is_pinned || neighbour.mac().is_some() {
                Urgency::AtOnce
            } else {
                Urgency::CanWait
            };
            (neighbour.hear(heard, id.0, now), urgency)
        });
        let (outcome, urgency) = heard.unwrap_or((Outcome::Useless, Urgency::CanWait));
        if let Outcome::Changed(mac) = outcome {
            self.publication.change(urgency, now);
            self.found(id, mac);
        }
        self.step_if_due(id, now);
        outcome
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.step(id, now);
        }
        self.publication.tick(now);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let step = self.deadlines.first().map(|(deadline, _)| *deadline);
        let publication = self.publication.next_deadline();
        step.into_iter().chain(publication).min()
    }

    /// The number of a neighbour; a new one where it has none.
    fn number_of(
        &mut self,
        port: PortId,
        address: IpAddr,
        now: Instant,
    ) -> Result<NextHopId, DropReason> {
        if let Some(id) = self.numbers.get(&(port, address)) {
            return Ok(*id);
        }
        let id = self.free_number().ok_or(DropReason::NextHopsExhausted)?;
        let neighbour = Neighbour::new(port, address, now);
        self.deadlines.insert((neighbour.deadline, id));
        self.numbers.insert((port, address), id);
        self.rows[usize::from(id.0)] = Some(neighbour);
        Ok(id)
    }

    /// A number that names nobody and has a row.
    fn free_number(&mut self) -> Option<NextHopId> {
        if let Some(id) = self.free.pop_front() {
            return Some(id);
        }
        let id = u16::try_from(self.rows.len()).ok().map(NextHopId)?;
        if self.rows.len() >= self.limits.neighbours {
            return None;
        }
        self.rows.push(None);
        Some(id)
    }

    /// Changes a neighbour, and keeps its deadline known.
    fn update<R>(&mut self, id: NextHopId, change: impl FnOnce(&mut Neighbour) -> R) -> Option<R> {
        let neighbour = self.rows.get_mut(usize::from(id.0))?.as_mut()?;
        let before = neighbour.deadline;
        let result = change(neighbour);
        if neighbour.deadline != before {
            self.deadlines.remove(&(before, id));
            self.deadlines.insert((neighbour.deadline, id));
        }
        Some(result)
    }

    fn step_if_due(&mut self, id: NextHopId, now: Instant) {
        if self
            .find(id)
            .is_some_and(|neighbour| neighbour.deadline <= now)
        {
            self.step(id, now);
        }
    }

    fn step(&mut self, id: NextHopId, now: Instant) {
        let number_is_kept = self.limits.number_is_kept;
        let step = self.update(id, |neighbour| {
            let had_mac = neighbour.mac().is_some();
            let due = neighbour.step(number_is_kept, now);
            (due, had_mac, neighbour.port, neighbour.address)
        });
        let Some((due, had_mac, port, address)) = step else {
            return;
        };
        match due {
            Due::Ask(unicast) => self.effects.push(Effect::Ask {
                port,
                address,
                unicast,
            }),
            Due::GiveUp => {
                if had_mac {
                    self.publication.change(Urgency::AtOnce, now);
                }
                self.give_up(id);
            }
            Due::Rest => self.publication.change(Urgency::CanWait, now),
            Due::Forget => {
                self.give_up(id);
                self.forget(id, now);
            }
        }
    }

    /// Its MAC address is known, or another one than before.
    fn found(&mut self, id: NextHopId, mac: Mac) {
        let found = self.update(id, |neighbour| {
            let (port, address) = (neighbour.port, neighbour.address);
            let was_lost = std::mem::take(&mut neighbour.n_failures) > 0 && neighbour.is_pinned;
            let event = was_lost.then_some(Event::NeighbourFound { port, address, mac });
            neighbour.is_published = true;
            let held = std::mem::take(&mut neighbour.held);
            (held, neighbour.is_pinned, event)
        });
        let (held, is_pinned, event) = found.unwrap_or_default();
        *self.n_held.of(is_pinned) -= held.len();
        self.effects.extend(held.into_iter().map(Effect::Release));
        self.effects.extend(event.map(Effect::Tell));
    }

    /// Nobody answers: what waits, waits in vain.
    fn give_up(&mut self, id: NextHopId) {
        let abandoned = self.update(id, |neighbour| {
            let (port, address) = (neighbour.port, neighbour.address);
            let is_news = neighbour.is_pinned && neighbour.n_failures == 1;
            let event = is_news.then_some(Event::NeighbourLost { port, address });
            let held = std::mem::take(&mut neighbour.held);
            (held, neighbour.is_pinned, event)
        });
        let (held, is_pinned, event) = abandoned.unwrap_or_default();
        *self.n_held.of(is_pinned) -= held.len();
        self.effects.extend(held.into_iter().map(Effect::Abandon));
        self.effects.extend(event.map(Effect::Tell));
    }

    /// Frees the row and its number.
    fn forget(&mut self, id: NextHopId, now: Instant) {
        let Some(neighbour) = self.rows.get_mut(usize::from(id.0)).and_then(Option::take) else {
            return;
        };
        self.deadlines.remove(&(neighbour.deadline, id));
        self.numbers.remove(&(neighbour.port, neighbour.address));
        if neighbour.is_published {
            self.withdrawn.push(id);
            self.publication.change(Urgency::CanWait, now);
        } else {
            self.free.push_back(id);
        }
    }
}

/// Stands in the published table for rows that have no name there; no packet comes from this address.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn next_hop(neighbour: &Neighbour, ports: &[PortFacts]) -> NextHop {
    let port = ports.iter().find(|port| port.id == neighbour.port);
    match (neighbour.mac(), port) {
        (Some(mac), Some(port)) => NextHop::resolved(port.id, mac, port.mac, port.mtu),
        (None, _) | (_, None) => NextHop::unresolved(neighbour.port),
    }
}
