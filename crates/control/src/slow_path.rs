//! The slow path's front: takes in packets, time and configurations, and sends each to the file that knows it.
//!
//! Promises: each packet that ends here is counted once under one [`DropReason`]; one that asks for an answer and
//! gets it is not counted. Does not know: what ARP, neighbour discovery or ICMP say.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use weir_director::{
    AddressUse, DropReason, LocalAddresses, NextHopId, NextHops, PathMtus, PortId, PuntReason,
    RouteTarget, Routes, TunnelId,
};
use weir_wire::ethernet::Mac;
use weir_wire::tunnel_error::TunnelError;
use weir_wire::{Content, Headers, ethernet};

use crate::address::is_one_host;
use crate::announce::{Announcer, Claim, Standing};
use crate::answer::Refusal;
use crate::neighbour::{Arrival, Held};
use crate::neighbours::{Effect, Holding, Neighbours};
use crate::outbox::{NextHopsAre, Outbox};
use crate::path_mtu::LearnedMtus;
use crate::port::Link;
use crate::rate_limit::Rates;
use crate::{Action, Event, Limits, NeighbourView, PortFacts, RouteView};

/// Everything that the control thread decides about punted packets and neighbours.
///
/// Used in turns: any number of [`Self::handle`], [`Self::tick`] and the like; then, if
/// [`Self::take_changed_next_hops`] or [`Self::take_changed_path_mtus`] has some, publish them; then [`Self::take_action`] until there is none. In this
/// order a packet that waited for a neighbour meets workers that know it, and so does an error about a tunnel.
#[derive(Debug)]
pub struct SlowPath {
    pub(crate) ports: Vec<PortFacts>,
    pub(crate) announcer: Announcer,
    pub(crate) neighbours: Neighbours,
    pub(crate) rates: Rates,
    pub(crate) outbox: Outbox,
    path_mtus: LearnedMtus,
    routes: Arc<Routes>,
    drops: [u64; DropReason::COUNT],
}

impl SlowPath {
    /// A slow path that knows its ports and begins to announce their own addresses. It has no routes yet.
    pub fn new(ports: Vec<PortFacts>, limits: Limits, now: Instant) -> Self {
        let mut slow_path = Self {
            ports: Vec::new(),
            announcer: Announcer::default(),
            neighbours: Neighbours::new(limits),
            rates: Rates::new(),
            outbox: Outbox::default(),
            path_mtus: LearnedMtus::default(),
            routes: Arc::default(),
            drops: [0; DropReason::COUNT],
        };
        slow_path.set_addresses(ports, &LocalAddresses::default(), Arc::default(), now);
        slow_path
    }

    /// From now on these are the addresses that are ours, and the routes. What is new is announced, what is gone is
    /// no longer answered; neighbours are kept. The ports' own addresses are those in `ports`; of `addresses` the
    /// VIPs and LIPs are taken, those too that were such: of them nothing is told but to a neighbour that asks us
    /// alone, for it uses them through us already.
    ///
    /// An own address belongs to its port; a LIP to the ports whose subnets hold it, for only there anyone can ask
    /// for it; a VIP to every port: it need not be in any subnet of ours, clients and real servers may be on any
    /// side, and IPVS on Linux answers for it everywhere (`arp_ignore` 0). A LIP that no subnet holds is treated
    /// like a VIP.
    pub fn set_addresses(
        &mut self,
        ports: Vec<PortFacts>,
        addresses: &LocalAddresses,
        routes: Arc<Routes>,
        now: Instant,
    ) {
        self.ports = ports;
        self.routes = routes;
        self.neighbours.touch(now);
        let claims = claims(&self.ports, addresses);
        self.announcer.set(&claims, now);
        self.tick(now);
    }

    /// How much is remembered from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.neighbours.set_limits(limits);
    }

    /// Deals with a packet that was punted, having come in by `port`; `frame` is whole, from its Ethernet header.
    pub fn handle(&mut self, reason: PuntReason, port: PortId, frame: &[u8], now: Instant) {
        if let Err(reason) = self.decide(reason, port, frame, now) {
            self.drops[reason.index()] += 1;
        }
        self.carry_out(now);
    }

    /// The number of a neighbour that a destination or a route needs: asked for now, and again and again until it is
    /// given up by [`Self::retain_pinned`]. `None`: no number is left, or there is no such port.
    pub fn next_hop_for(
        &mut self,
        port: PortId,
        address: IpAddr,
        now: Instant,
    ) -> Option<NextHopId> {
        self.link(port)?;
        let id = self.neighbours.pin(port, address, now);
        self.carry_out(now);
        id
    }

    /// Gives up the neighbours that [`Self::next_hop_for`] was asked for, but for these. Their numbers stay theirs
    /// as long as anything may refer to them.
    pub fn retain_pinned(&mut self, still_needed: &[NextHopId], now: Instant) {
        self.neighbours.retain_pinned(still_needed, now);
    }

    /// Does what is due: asks, asks again, gives up, confirms, announces. To be called when
    /// [`Self::next_deadline`] has come; more often does no harm.
    pub fn tick(&mut self, now: Instant) {
        let announcements = self.announcer.tick(now);
        self.announce(&announcements);
        self.neighbours.tick(now);
        self.path_mtus.tick(now);
        self.carry_out(now);
    }

    /// When there will next be something to do without a packet.
    pub fn next_deadline(&self) -> Option<Instant> {
        let deadlines = [
            self.announcer.next_deadline(),
            self.neighbours.next_deadline(),
            self.path_mtus.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// The next hops to be published, if they have changed since they were last taken. What concerns only clients on
    /// the link is offered up to 10 ms later, many changes together; [`Self::next_deadline`] tells when. Packets
    /// that waited for them come out of [`Self::take_action`] only after they were taken.
    pub fn take_changed_next_hops(&mut self) -> Option<NextHops> {
        if !self.neighbours.publication().is_due() {
            return None;
        }
        self.neighbours.mark_published();
        Some(self.next_hops())
    }

    /// The next hops as they are, rows by number.
    pub fn next_hops(&self) -> NextHops {
        self.neighbours.next_hops(&self.ports)
    }

    /// The path MTUs of tunnels to be published, if they have changed since they were last taken.
    pub fn take_changed_path_mtus(&mut self) -> Option<PathMtus> {
        self.path_mtus.take_changed()
    }

    /// The next thing to do with a frame.
    pub fn take_action(&mut self) -> Option<Action> {
        let is_current =
            self.neighbours.publication().is_current() && !self.path_mtus.has_changed();
        self.outbox.take(if is_current {
            NextHopsAre::Published
        } else {
            NextHopsAre::Changed
        })
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
        self.neighbours.views(now)
    }

    /// The addresses that another node was found to have and that are therefore neither announced nor answered on
    /// these ports, by port and address. Every 5 minutes it is asked anew.
    pub fn duplicates(&self) -> Vec<(PortId, Ipv6Addr)> {
        self.announcer.duplicates().collect()
    }

    /// All routes, the longest prefixes first.
    pub fn routes(&self) -> Vec<RouteView> {
        let view = |route: &weir_director::Route| match route.target {
            RouteTarget::OnLink(port) => Some(RouteView {
                prefix: route.prefix,
                port,
                via: None,
                is_usable: true,
            }),
            RouteTarget::Gateway(id) => self.neighbours.find(id).map(|gateway| RouteView {
                prefix: route.prefix,
                port: gateway.port,
                via: Some(gateway.address),
                is_usable: gateway.mac().is_some(),
            }),
        };
        self.routes.iter().filter_map(view).collect()
    }

    /// This side of a port's link.
    pub(crate) fn link(&self, port: PortId) -> Option<Link> {
        self.ports
            .iter()
            .find(|facts| facts.id == port)
            .map(PortFacts::link)
    }

    /// This side of all ports' links.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.ports.iter().map(PortFacts::link).collect()
    }

    /// Whether it is a MAC address of one of our ports.
    pub(crate) fn is_own_mac(&self, mac: Mac) -> bool {
        self.ports.iter().any(|port| port.mac == mac)
    }

    /// Whether a question about an address is answered. Of one that was ours only who uses it through us already may
    /// make sure, and such a neighbour asks us alone (RFC 4861 §7.3.3, as Linux does for IPv4): whoever asks all may
    /// find the node that has it now.
    pub(crate) fn answers_for(&self, link: Link, address: IpAddr, frame: &[u8]) -> bool {
        match self.announcer.standing(link.port, address) {
            Standing::Ours => true,
            Standing::Former => ethernet::destination(frame) == Some(link.mac),
            Standing::Tentative | Standing::Duplicate | Standing::Foreign => false,
        }
    }

    /// Deals with a packet; why it ends here, unless it was answered, learned from, or waits.
    fn decide(
        &mut self,
        reason: PuntReason,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let headers = Headers::parse_with_fragments(frame);
        // No port has this number: it came in by none of ours.
        let link = self.link(port).ok_or(DropReason::MacNotOurs)?;
        let refusal = match reason {
            // Of a protocol that is not forwarded, it did not parse.
            PuntReason::PathMtu(tunnel) => return self.learn_path_mtu(tunnel, port, frame, now),
            PuntReason::Arp => return self.handle_arp(link, frame, &headers?, now),
            PuntReason::Icmp => return self.handle_icmp(link, frame, &headers?, now),
            PuntReason::NeighbourUnresolved(id) => return self.hold(id, port, frame, now),
            PuntReason::NeighbourUnknown => return self.hold_for_end(port, frame, &headers?, now),
            PuntReason::NoService => Refusal::NoService,
            PuntReason::NoConnection => Refusal::NoConnection,
            PuntReason::NoDestination => Refusal::NoDestination,
            PuntReason::TtlExceeded => Refusal::TtlExceeded,
            PuntReason::TooBig { mtu } => Refusal::TooBig { mtu },
        };
        Err(self.refuse(refusal, link, frame, &headers?, now))
    }

    /// Remembers how large a packet gets through a tunnel, and sends the error that said so back to the workers, who tell
    /// the client once they know it too.
    fn learn_path_mtu(
        &mut self,
        tunnel: TunnelId,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let mtu = TunnelError::parse(frame).and_then(|error| error.path_mtu());
        let mtu = mtu.ok_or(DropReason::IcmpUnrelated)?;
        let rate = if self.path_mtus.is_news(tunnel, mtu) {
            &mut self.rates.path_mtus
        } else {
            &mut self.rates.repeats
        };
        if !rate.allows(now) {
            return Err(DropReason::IcmpIgnored);
        }
        self.path_mtus.learn(tunnel, mtu, now);
        self.outbox.process(port, frame.to_vec());
        Ok(())
    }

    /// Keeps a packet until the neighbour is known for want of which it came here: its receiver's if it is routed (NAT),
    /// else its sender's, for the way back.
    fn hold_for_end(
        &mut self,
        port: PortId,
        frame: &[u8],
        headers: &Headers,
        now: Instant,
    ) -> Result<(), DropReason> {
        let (sender, receiver) = headers
            .ip_addresses(frame)
            .ok_or(DropReason::SourceInvalid)?;
        let (end, refusal) = if self.is_foreign(receiver) {
            (receiver, DropReason::AddressNotOurs)
        } else if headers.content == Content::IcmpError {
            // It opens a connection for whom it quotes (`schedule_icmp`), whoever has sent it.
            (headers.key.source().ip(), DropReason::SourceInvalid)
        } else {
            (sender, DropReason::SourceInvalid)
        };
        if !is_one_host(end) || self.stands(end, Standing::Ours) {
            return Err(refusal);
        }
        let on_link = match self.routes.find(end).ok_or(DropReason::NoRoute)? {
            RouteTarget::Gateway(id) => return self.hold(id, port, frame, now),
            RouteTarget::OnLink(on_link) => on_link,
        };
        let arrival = Arrival { port, frame };
        let holding = self.neighbours.hold_for(on_link, end, arrival, now)?;
        self.process_unless_waiting(holding, arrival, now)
    }

    /// Whether an address is ours on no port, nor was.
    fn is_foreign(&self, address: IpAddr) -> bool {
        let standing = |port: &PortFacts| self.announcer.standing(port.id, address);
        self.ports
            .iter()
            .all(|port| standing(port) == Standing::Foreign)
    }

    /// Keeps a packet until a next hop is known.
    fn hold(
        &mut self,
        id: NextHopId,
        port: PortId,
        frame: &[u8],
        now: Instant,
    ) -> Result<(), DropReason> {
        let arrival = Arrival { port, frame };
        let holding = self.neighbours.hold(id, arrival, now)?;
        self.process_unless_waiting(holding, arrival, now)
    }

    fn process_unless_waiting(
        &mut self,
        holding: Holding,
        arrival: Arrival<'_>,
        now: Instant,
    ) -> Result<(), DropReason> {
        match holding {
            Holding::Waits => {}
            Holding::NeedNot if self.rates.repeats.allows(now) => {
                self.outbox.process(arrival.port, arrival.frame.to_vec());
            }
            Holding::NeedNot => return Err(DropReason::NeighbourQueueFull),
        }
        Ok(())
    }

    /// Does what the neighbours have asked for.
    fn carry_out(&mut self, now: Instant) {
        for effect in self.neighbours.take_effects() {
            match effect {
                Effect::Ask {
                    port,
                    address,
                    unicast,
                } => self.ask(port, address, unicast),
                Effect::Release(held) => self.outbox.process(held.port, held.frame),
                Effect::Abandon(held) => self.abandon(&held, now),
                Effect::Tell(event) => self.outbox.tell(event),
            }
        }
    }

    /// Tells the sender of a packet that its next hop does not answer.
    fn abandon(&mut self, held: &Held, now: Instant) {
        self.drops[DropReason::NeighbourUnreachable.index()] += 1;
        if let (Ok(headers), Some(link)) = (
            Headers::parse_with_fragments(&held.frame),
            self.link(held.port),
        ) {
            self.refuse(Refusal::Unreachable, link, &held.frame, &headers, now);
        }
    }
}

/// Which addresses belong on which ports, and which did: each port's own first, so that nothing else is sent before
/// the port has an address to send it from.
fn claims(ports: &[PortFacts], addresses: &LocalAddresses) -> Vec<(PortId, IpAddr, Claim)> {
    let mut claims = Vec::new();
    for port in ports {
        let given = port.addresses.iter().map(|net| net.addr());
        let own = std::iter::once(IpAddr::V6(port.link_local())).chain(given);
        claims.extend(own.map(|address| (port.id, address, Claim::Ours)));
    }
    let mut shared: Vec<(IpAddr, AddressUse)> = addresses.iter().collect();
    shared.sort_by_key(|(address, _)| *address);
    for (address, address_use) in shared {
        let is_held = ports.iter().any(|port| port.holds(address));
        let (is_local, claim) = match address_use {
            AddressUse::Virtual => (false, Claim::Ours),
            AddressUse::Local => (is_held, Claim::Ours),
            AddressUse::FormerlyVirtual => (false, Claim::Former),
            AddressUse::FormerlyLocal => (is_held, Claim::Former),
            AddressUse::Own => continue,
        };
        claims.extend(
            ports
                .iter()
                .filter(|port| !is_local || port.holds(address))
                .map(|port| (port.id, address, claim)),
        );
    }
    claims
}
