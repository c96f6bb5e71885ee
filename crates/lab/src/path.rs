//! The way of one request, hop by hop, as captures on every wire saw it.
//!
//! What it is: captures at every interface that a request may pass ([`Watch`]), and out of them the connection's first
//! packet on its way to the real server and the answer to it on its way back ([`Path`]).
//!
//! Promises: every sighting is a frame that was captured; what leaves one machine and what arrives at the next are the
//! same, or there is no path; a machine that a method leaves out has not been sent the packet; every checksum of every
//! frame captured is right.
//! Does not know: how it is told or drawn.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::hop::Hop;
use crate::method::Method;
use crate::peer::TUNNEL;
use crate::topology::{Host, Topology};
use crate::{Capture, Namespace, checksum};

const LIMIT: Duration = Duration::from_secs(10);

/// What a machine does with a packet at one of its interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It sends it.
    Sends,
    /// It receives it.
    Receives,
    /// The packet has come out of the one that it travelled in.
    Unpacks,
}

impl Way {
    fn reversed(self) -> Option<Self> {
        match self {
            Self::Sends => Some(Self::Receives),
            Self::Receives => Some(Self::Sends),
            Self::Unpacks => None,
        }
    }
}

/// A packet as it was seen at one interface.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The machine: `client`, `weir`, `router`, `rs1`, `rs2`.
    pub machine: &'static str,
    /// Its interface.
    pub interface: &'static str,
    /// What it does with the packet there.
    pub way: Way,
    /// What the packet looks like.
    pub hop: Hop,
}

/// The ends of one connection, before and behind the director.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// CIP and cport.
    pub client: SocketAddr,
    /// VIP and vport.
    pub vip: SocketAddr,
    /// The other end as the real server sees it.
    pub peer: SocketAddr,
    /// RIP and rport, or what the real server takes for its own.
    pub own: SocketAddr,
}

impl Ends {
    fn are_of(&self, one: SocketAddr, other: SocketAddr) -> bool {
        (one, other) == (self.client, self.vip) || (one, other) == (self.peer, self.own)
    }
}

/// The way of one request and of the answer to it.
#[derive(Clone, Debug)]
pub struct Path {
    /// The SYN, from the client to the real server.
    pub there: Vec<Sighting>,
    /// The SYN, ACK, from the real server to the client.
    pub back: Vec<Sighting>,
    /// How many checksums were computed again, and right.
    pub n_checksums: usize,
}

/// An interface that is looked at.
struct Place {
    machine: &'static str,
    interface: &'static str,
    /// Nothing where the interface has no MAC address.
    mac: Option<&'static str>,
    namespace: Namespace,
    capture: Capture,
}

/// Captures under way at every interface of a topology that a request may pass.
pub struct Watch {
    places: Vec<Place>,
    method: Method,
    n_ports: usize,
    has_router: bool,
}

impl Watch {
    /// Starts to look.
    pub fn start(topology: &Topology) -> Result<Self> {
        let mut watch = Self {
            places: Vec::new(),
            method: topology.method,
            n_ports: topology.ports.len(),
            has_router: topology.inner_router.is_some(),
        };
        watch.look_at_host(topology, "client", &topology.client)?;
        for port in &topology.ports {
            watch.look_at(
                topology,
                "weir",
                (port.name, Some(port.mac)),
                &topology.director,
            )?;
        }
        if let Some(router) = &topology.inner_router {
            watch.look_at_host(topology, "router", &router.front)?;
            watch.look_at_host(topology, "router", &router.back)?;
        }
        for (host, name) in topology.real_servers.iter().zip(["rs1", "rs2"]) {
            watch.look_at_host(topology, name, host)?;
            if let Method::Tun(_) = topology.method {
                watch.look_at(topology, name, (TUNNEL, None), &host.namespace)?;
            }
        }
        Ok(watch)
    }

    fn look_at_host(
        &mut self,
        topology: &Topology,
        machine: &'static str,
        host: &Host,
    ) -> Result<()> {
        let interface = (host.interface, Some(host.mac));
        self.look_at(topology, machine, interface, &host.namespace)
    }

    fn look_at(
        &mut self,
        topology: &Topology,
        machine: &'static str,
        (interface, mac): (&'static str, Option<&'static str>),
        namespace: &Namespace,
    ) -> Result<()> {
        self.places.push(Place {
            machine,
            interface,
            mac,
            namespace: namespace.clone(),
            capture: Capture::start(&topology.lab, namespace, interface, "ip or ip6")?,
        });
        Ok(())
    }

    /// The path of the connection between `ends`, which the real server called `server` has answered.
    ///
    /// Errors: a machine that should have seen the request did not, or not as its neighbour on the wire did; one that
    /// should not, did; a checksum is wrong.
    pub fn path(mut self, ends: &Ends, server: &str) -> Result<Path> {
        let route_there = self.route(server)?;
        let route_back = self.route_back(&route_there)?;
        let there = self.follow(&route_there, "request", |hop| {
            hop.is_opening() && ends.are_of(hop.source, hop.destination)
        })?;
        let back = self.follow(&route_back, "answer", |hop| {
            hop.is_consent() && ends.are_of(hop.destination, hop.source)
        })?;
        check_wires(&there)?;
        check_wires(&back)?;
        let mut n_checksums = 0;
        for place in self.places {
            let is_on_the_way = back
                .iter()
                .any(|seen| (seen.machine, seen.interface) == (place.machine, place.interface));
            n_checksums += place.end(|hop| {
                let is_answer = hop.is_consent() && ends.are_of(hop.destination, hop.source);
                is_answer && !is_on_the_way
            })?;
        }
        Ok(Path {
            there,
            back,
            n_checksums,
        })
    }

    /// Places by number, and what is done there, on the way to `server`.
    fn route(&self, server: &str) -> Result<Vec<(usize, Way)>> {
        let last = self.places.iter().position(|place| place.machine == server);
        let last = last.with_context(|| format!("an unknown server answered: {server}"))?;
        let mut route = vec![
            (0, Way::Sends),
            (1, Way::Receives),
            (self.n_ports, Way::Sends),
        ];
        if self.has_router {
            let front = self.n_ports + 1;
            route.extend([(front, Way::Receives), (front + 1, Way::Sends)]);
        }
        route.push((last, Way::Receives));
        if let Method::Tun(_) = self.method {
            route.push((last + 1, Way::Unpacks));
        }
        Ok(route)
    }

    /// The way back: the same turned round, or straight to the client.
    fn route_back(&self, there: &[(usize, Way)]) -> Result<Vec<(usize, Way)>> {
        let mut back: Vec<(usize, Way)> = there
            .iter()
            .rev()
            .filter_map(|&(place, way)| Some((place, way.reversed()?)))
            .collect();
        if !self.method.replies_pass_the_director() {
            let (Some(&first), Some(&last)) = (back.first(), back.last()) else {
                bail!("a way without ends");
            };
            back = vec![first, last];
        }
        Ok(back)
    }

    /// Waits until the packet that `is_wanted` has been seen at each place of `route`.
    fn follow(
        &mut self,
        route: &[(usize, Way)],
        what: &str,
        is_wanted: impl Fn(&Hop) -> bool,
    ) -> Result<Vec<Sighting>> {
        route
            .iter()
            .map(|&(number, way)| {
                let place = &mut self.places[number];
                let (machine, interface, mac) = (place.machine, place.interface, place.mac);
                let is_here = |hop: &Hop| match way {
                    Way::Sends => mac == Some(hop.source_mac.as_str()),
                    Way::Receives => mac == Some(hop.destination_mac.as_str()),
                    Way::Unpacks => true,
                };
                let read = |frame: &Vec<u8>| match way {
                    Way::Sends | Way::Receives => Hop::read(frame),
                    Way::Unpacks => Hop::read_ip(frame),
                };
                let what = format!("the {what} to be seen at {machine} {interface} ({way:?})");
                let hop = place.capture.wait_for(&what, LIMIT, |frames| {
                    frames
                        .iter()
                        .filter_map(read)
                        .find(|hop| is_wanted(hop) && is_here(hop))
                })?;
                Ok(Sighting {
                    machine,
                    interface,
                    way,
                    hop,
                })
            })
            .collect()
    }
}

impl Place {
    /// Ends the capture. Returns how many checksums were right.
    ///
    /// Errors: one was wrong, or the interface was sent something that `is_astray`.
    fn end(self, is_astray: impl Fn(&Hop) -> bool) -> Result<usize> {
        let (machine, interface) = (self.machine, self.interface);
        let frames = self.capture.stop()?;
        let Some(mac) = self.mac else {
            // What a tun device shows was looked at on the wire, inside the packet around it.
            return Ok(0);
        };
        let mut hops = frames.iter().filter_map(|frame| Hop::read(frame));
        ensure!(
            !hops.any(|hop| hop.destination_mac == mac && is_astray(&hop)),
            "the answer came by {machine} {interface}, where it has no business"
        );
        let report = checksum::verify(&frames);
        ensure!(
            report.wrong.is_empty(),
            "wrong checksums at {machine} {interface}: {}",
            report.wrong.join("; ")
        );
        Ok(report.right.values().sum())
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: BTreeSet<_> = self
            .places
            .iter()
            .map(|place| place.namespace.name())
            .collect();
        write!(f, "Watch at {names:?}")
    }
}

/// What one machine sends is what the next receives: a wire and a switch change nothing.
fn check_wires(sightings: &[Sighting]) -> Result<()> {
    for pair in sightings.windows(2) {
        let [one, next] = pair else { continue };
        if (one.way, next.way) == (Way::Sends, Way::Receives) {
            ensure!(
                one.hop == next.hop,
                "{} sent {} and {} received {}",
                one.machine,
                one.hop,
                next.machine,
                next.hop
            );
        }
    }
    Ok(())
}

impl Path {
    /// Checks that the director has done to the packet what `method` says, and nothing else. `rip` is the real
    /// server's own address and L4 port, `ends` are those of the connection.
    ///
    /// Errors: it has not.
    pub fn check(&self, method: Method, ends: &Ends, rip: SocketAddr) -> Result<()> {
        let (before, after) = at_director(&self.there).context("the request missed weir")?;
        ensure!(
            before.ttl.checked_sub(after.ttl) == Some(1),
            "weir turned a TTL of {} into {}",
            before.ttl,
            after.ttl
        );
        ensure!(
            (before.source, before.destination) == (ends.client, ends.vip)
                && before.outer.is_none(),
            "the request reached weir as {before}"
        );
        let (source, destination) = match method {
            Method::Nat => (ends.client, rip),
            Method::Dr | Method::Tun(_) => (ends.client, ends.vip),
            Method::FullNat => (ends.peer, rip),
        };
        ensure!(
            (after.source, after.destination) == (source, destination),
            "the request left weir as {after}"
        );
        match (method, &after.outer) {
            (Method::Nat | Method::Dr | Method::FullNat, None) => {}
            (Method::Tun(encapsulation), Some(outer)) => ensure!(
                outer.destination == rip.ip() && encapsulation.carriers().contains(&outer.carrier),
                "the request left weir in {outer:?}"
            ),
            (_, outer) => bail!("the request left weir in {outer:?}"),
        }
        match (method.replies_pass_the_director(), at_director(&self.back)) {
            (true, Some((before, after))) => ensure!(
                (before.source, before.destination) == (rip, source)
                    && (after.source, after.destination) == (ends.vip, ends.client)
                    && before.ttl.checked_sub(after.ttl) == Some(1),
                "weir turned the answer {before} into {after}"
            ),
            (false, None) => {}
            (_, seen) => bail!("weir and the answer: {seen:?}"),
        }
        Ok(())
    }
}

/// A packet as the director received it and as it sent it.
fn at_director(sightings: &[Sighting]) -> Option<(&Hop, &Hop)> {
    let at = |way| {
        sightings
            .iter()
            .find(|seen| seen.machine == "weir" && seen.way == way)
            .map(|seen| &seen.hop)
    };
    Some((at(Way::Receives)?, at(Way::Sends)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::Transport;

    const CLIENT: &str = "8.8.8.4:40000";
    const VIP: &str = "8.8.8.8:80";
    const RIP: &str = "192.168.10.2:80";

    fn ends() -> Ends {
        let end = |text: &str| text.parse().unwrap();
        Ends {
            client: end(CLIENT),
            vip: end(VIP),
            peer: end(CLIENT),
            own: end(RIP),
        }
    }

    fn hop(source: &str, destination: &str, ttl: u8) -> Hop {
        Hop {
            source_mac: String::new(),
            destination_mac: String::new(),
            outer: None,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ttl,
            transport: Transport::Udp,
            payload_len: 0,
        }
    }

    /// What weir did to the packet that it received as `before` and sent as `after`.
    fn at_weir(before: Hop, after: Hop) -> Vec<Sighting> {
        [(Way::Receives, before), (Way::Sends, after)]
            .map(|(way, hop)| Sighting {
                machine: "weir",
                interface: "lan",
                way,
                hop,
            })
            .to_vec()
    }

    fn under_nat() -> Path {
        Path {
            there: at_weir(hop(CLIENT, VIP, 64), hop(CLIENT, RIP, 63)),
            back: at_weir(hop(RIP, CLIENT, 64), hop(VIP, CLIENT, 63)),
            n_checksums: 0,
        }
    }

    fn check(path: &Path, method: Method) -> Result<()> {
        path.check(method, &ends(), RIP.parse().unwrap())
    }

    #[test]
    fn a_path_under_nat_is_one_of_nat_and_of_no_other_method() {
        let path = under_nat();
        check(&path, Method::Nat).unwrap();
        for method in [Method::Dr, Method::Tun(crate::method::Encapsulation::Ipip)] {
            assert!(check(&path, method).is_err(), "{method:?}");
        }
    }

    #[test]
    fn what_weir_should_not_have_done_is_found() {
        let changes: [fn(&mut Path); 5] = [
            |path| path.there[1].hop.ttl = 64,
            |path| path.there[1].hop.source = "8.8.8.5:40000".parse().unwrap(),
            |path| path.there[1].hop.destination = "192.168.10.3:80".parse().unwrap(),
            |path| path.back[1].hop.source = RIP.parse().unwrap(),
            |path| path.back.clear(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut path = under_nat();
            change(&mut path);
            assert!(check(&path, Method::Nat).is_err(), "change {number}");
        }
    }

    #[test]
    fn a_wire_that_changes_a_packet_is_found() {
        let mut seen = at_weir(hop(CLIENT, VIP, 64), hop(CLIENT, VIP, 64));
        seen.reverse();
        check_wires(&seen).unwrap();
        seen[1].hop.ttl = 63;
        assert!(check_wires(&seen).is_err());
    }
}
