//! The slow path's front: takes in packets and time, sends each to the file that knows it.
//!
//! Promises: each packet that ends here is counted once under one [`DropReason`]; what asks for an answer and gets
//! one is not counted. Does not know: what ARP, neighbour discovery or ICMP say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use weir_director::{DropReason, LocalAddresses, NextHopId, NextHops, PortId, PuntReason, Routes};

use crate::outbox::{NextHopsAre, Outbox};
use crate::{Action, Event, Limits, NeighbourView, PortFacts, RouteView};

/// Everything that the control thread decides about punted packets and neighbours.
///
/// Used in turns: any number of [`Self::handle`], [`Self::tick`] and the like; then, if
/// [`Self::take_changed_next_hops`] has some, publish them; then [`Self::take_action`] until there is none.
pub struct SlowPath {
    ports: Vec<PortFacts>,
    limits: Limits,
    drops: [u64; DropReason::COUNT],
    outbox: Outbox,
}

impl SlowPath {
    /// A slow path that knows its ports and begins to announce their own addresses.
    pub fn new(ports: Vec<PortFacts>, limits: Limits, now: Instant) -> Self {
        let _ = now;
        Self {
            ports,
            limits,
            drops: [0; DropReason::COUNT],
            outbox: Outbox::default(),
        }
    }

    /// From now on these are the addresses that are ours, and the routes. What is new is announced, what is gone is
    /// no longer answered; neighbours are kept. The ports' own addresses are those in `ports`; of `addresses` the
    /// VIPs and LIPs are taken.
    pub fn set_addresses(
        &mut self,
        ports: Vec<PortFacts>,
        addresses: &LocalAddresses,
        routes: Arc<Routes>,
        now: Instant,
    ) {
        let _ = (addresses, routes, now);
        self.ports = ports;
    }

    /// How much is remembered from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Deals with a packet that was punted.
    pub fn handle(&mut self, reason: PuntReason, port: PortId, frame: &[u8], now: Instant) {
        let _ = (reason, port, frame, now);
    }

    /// The number of a neighbour that a destination or a route needs: asked for now, and again and again until it is
    /// given up by [`Self::retain_pinned`]. `None`: no number is left, or there is no such port.
    pub fn next_hop_for(
        &mut self,
        port: PortId,
        address: IpAddr,
        now: Instant,
    ) -> Option<NextHopId> {
        let _ = (port, address, now);
        None
    }

    /// Gives up the neighbours that [`Self::next_hop_for`] was asked for, but for these. Their numbers stay theirs
    /// as long as anything may refer to them.
    pub fn retain_pinned(&mut self, still_needed: &[NextHopId], now: Instant) {
        let _ = (still_needed, now);
    }

    /// Does what is due: asks, asks again, gives up, confirms, announces. To be called when
    /// [`Self::next_deadline`] has come; more often does no harm.
    pub fn tick(&mut self, now: Instant) {
        let _ = now;
    }

    /// When there will next be something to do without a packet.
    pub fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// The next hops to be published, if they have changed since they were last taken. Packets that waited for them
    /// come out of [`Self::take_action`] only after this was called.
    pub fn take_changed_next_hops(&mut self) -> Option<NextHops> {
        None
    }

    /// The next hops as they are.
    pub fn next_hops(&self) -> NextHops {
        NextHops::default()
    }

    /// The next thing to do with a frame.
    pub fn take_action(&mut self) -> Option<Action> {
        self.outbox.take(NextHopsAre::Published)
    }

    /// The next thing worth telling. Those that nobody takes are forgotten beyond a bound.
    pub fn take_event(&mut self) -> Option<Event> {
        self.outbox.take_event()
    }

    /// Packets that ended here, by [`DropReason::index`].
    pub fn drops(&self) -> &[u64; DropReason::COUNT] {
        &self.drops
    }

    /// All neighbours, by port and address.
    pub fn neighbours(&self, now: Instant) -> Vec<NeighbourView> {
        let _ = now;
        Vec::new()
    }

    /// All routes, the longest prefixes first.
    pub fn routes(&self) -> Vec<RouteView> {
        Vec::new()
    }
}
