//! What changes from one configuration to another, as an operator wants to read it before it happens.
//!
//! Promises: pure; empty if and only if the two are equal; in the order of the file, removals before additions.
//! Does not know: the running state, or how a change is carried out.

use std::fmt::{self, Display};

use crate::config::{Config, Destination, LocalPool, Port, Runtime, Service, Timeouts};
use crate::ipvs::MarkedService;
use crate::{duration, save};

/// Whether something comes, goes or becomes different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// `+`
    Added,
    /// `-`
    Removed,
    /// `~`
    Changed,
}

/// One line of a diff: `- destination 10.0.0.12:80 of tcp 192.0.2.100:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    sign: Sign,
    what: String,
    needs_restart: bool,
}

impl Change {
    /// Whether it comes, goes or becomes different.
    pub fn sign(&self) -> Sign {
        self.sign
    }

    /// Whether only a restart can bring it about: workers, memory, sockets and devices are taken at the start.
    pub fn needs_restart(&self) -> bool {
        self.needs_restart
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Added => '+',
            Sign::Removed => '-',
            Sign::Changed => '~',
        };
        write!(f, "{sign} {}", self.what)
    }
}

/// Whether what is in both, and what was added behind it, stands in another order.
fn is_reordered<T>(old: &[T], new: &[T], is_same: impl Fn(&T, &T) -> bool) -> bool {
    let stay = old
        .iter()
        .filter(|item| new.iter().any(|other| is_same(item, other)));
    let added = new
        .iter()
        .filter(|item| !old.iter().any(|other| is_same(item, other)));
    !stay
        .chain(added)
        .zip(new)
        .all(|(expected, item)| is_same(expected, item))
}

/// The changes that lead from `old` to `new`.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Changes::default();
    changes.runtime(&old.runtime, &new.runtime);
    changes.ports(&old.ports, &new.ports);
    changes.plain("route", "", "routes", &old.routes, &new.routes);
    changes.pools(&old.local_pools, &new.local_pools);
    changes.services(&old.services, &new.services);
    changes.timeouts(&old.timeouts, &new.timeouts);
    changes.value(
        "the range of local L4 ports",
        &old.local_ports,
        &new.local_ports,
    );
    changes.marks(&old.firewall_marks, &new.firewall_marks);
    changes.value("the option kind of TOA", &old.toa_option, &new.toa_option);
    let [was, is] = [old, new].map(|config| save::ipvs_numbers(&config.ipvs));
    for ((key, was), (_, is)) in was.iter().zip(&is) {
        changes.value(key, was, is);
    }
    let [was, is] = [old, new].map(|config| save::write_removed(config.removed_destination));
    changes.value("removed_destination", &was, &is);
    changes.0
}

/// Why a reload with these changes is refused, in one sentence; `None` if it is not.
pub fn refusal(changes: &[Change]) -> Option<String> {
    let needing: Vec<String> = changes
        .iter()
        .filter(|change| change.needs_restart)
        .map(|change| format!("`{change}`"))
        .collect();
    match needing.is_empty() {
        true => None,
        false => Some(format!(
            "a running weir cannot make these changes, and nothing was changed: {}; restart it with the new file, or take them back",
            needing.join(", ")
        )),
    }
}

#[derive(Default)]
struct Changes(Vec<Change>);

impl Changes {
    fn live(&mut self, sign: Sign, what: impl Into<String>) {
        self.0.push(Change {
            sign,
            what: what.into(),
            needs_restart: false,
        });
    }

    fn restart(&mut self, sign: Sign, what: impl Into<String>) {
        self.0.push(Change {
            sign,
            what: what.into(),
            needs_restart: true,
        });
    }

    /// A value that can change while weir runs.
    fn value<T: PartialEq + Display>(&mut self, what: &str, old: &T, new: &T) {
        if old != new {
            self.live(Sign::Changed, format!("{what}: {old} → {new}"));
        }
    }

    /// A value that is taken at the start, as it is written in the file.
    fn fixed(&mut self, what: &str, old: String, new: String) {
        if old != new {
            self.restart(Sign::Changed, format!("{what}: {old} → {new}"));
        }
    }

    /// An ordered set of things that either are there or not; `of` says whose they are.
    fn plain<T: PartialEq + Display>(
        &mut self,
        one: &str,
        of: &str,
        many: &str,
        old: &[T],
        new: &[T],
    ) {
        for gone in old.iter().filter(|item| !new.contains(item)) {
            self.live(Sign::Removed, format!("{one} {gone}{of}"));
        }
        for added in new.iter().filter(|item| !old.contains(item)) {
            self.live(Sign::Added, format!("{one} {added}{of}"));
        }
        self.order(&format!("{many}{of}"), old, new, |a, b| a == b);
    }

    /// Says so where what stays stands in another order, or where something new stands before something old.
    fn order<T>(&mut self, what: &str, old: &[T], new: &[T], is_same: impl Fn(&T, &T) -> bool) {
        if is_reordered(old, new, is_same) {
            self.live(Sign::Changed, format!("the order of {what}"));
        }
    }

    fn runtime(&mut self, old: &Runtime, new: &Runtime) {
        let [was, is] = [old, new].map(|runtime| save::write_workers(&runtime.workers));
        self.fixed("workers", was, is);
        let [was, is] = [old, new].map(|runtime| save::write_memory(&runtime.memory));
        self.fixed("memory", was, is);
        self.fixed(
            "connections",
            old.connections.to_string(),
            new.connections.to_string(),
        );
        self.fixed(
            "ipv6_connections",
            old.ipv6_connections.to_string(),
            new.ipv6_connections.to_string(),
        );
        let [was, is] = [old, new].map(|runtime| save::write_idle(&runtime.idle));
        self.fixed("idle", was, is);
        let [was, is] = [old, new].map(|runtime| save::write_path(&runtime.admin_socket));
        self.fixed("admin_socket", was, is);
    }

    fn ports(&mut self, old: &[Port], new: &[Port]) {
        let is_same = |a: &Port, b: &Port| a.name == b.name;
        for gone in old
            .iter()
            .filter(|port| !new.iter().any(|other| is_same(port, other)))
        {
            self.restart(Sign::Removed, format!("port {}", gone.name));
        }
        for port in new {
            let Some(before) = old.iter().find(|other| is_same(port, other)) else {
                self.restart(
                    Sign::Added,
                    format!("port {} ({})", port.name, save::write_device(&port.device)),
                );
                continue;
            };
            let name = &port.name;
            let [was, is] = [before, port].map(|port| save::write_device(&port.device));
            self.fixed(&format!("device of port {name}"), was, is);
            self.fixed(
                &format!("mtu of port {name}"),
                before.mtu.to_string(),
                port.mtu.to_string(),
            );
            self.plain(
                "address",
                &format!(" of port {name}"),
                "the addresses",
                &before.addresses,
                &port.addresses,
            );
        }
        if is_reordered(old, new, is_same) {
            // Ports are numbered in their order when they are opened.
            self.restart(Sign::Changed, "the order of the ports".to_owned());
        }
    }

    fn pools(&mut self, old: &[LocalPool], new: &[LocalPool]) {
        let is_same = |a: &LocalPool, b: &LocalPool| a.name == b.name;
        for gone in old
            .iter()
            .filter(|pool| !new.iter().any(|other| is_same(pool, other)))
        {
            self.live(Sign::Removed, format!("pool {}", gone.name));
        }
        for pool in new {
            let before = old.iter().find(|other| is_same(pool, other));
            if before.is_none() {
                self.live(Sign::Added, format!("pool {}", pool.name));
            }
            let before = before.map_or(&[][..], |before| &before.ranges);
            let of = format!(" of pool {}", pool.name);
            self.plain(
                "local address",
                &of,
                "the local addresses",
                before,
                &pool.ranges,
            );
        }
        self.order("the pools", old, new, is_same);
    }

    fn services(&mut self, old: &[Service], new: &[Service]) {
        let is_same = |a: &Service, b: &Service| a.protocol == b.protocol && a.vip == b.vip;
        for gone in old
            .iter()
            .filter(|service| !new.iter().any(|other| is_same(service, other)))
        {
            self.live(Sign::Removed, format!("service {gone}"));
        }
        for service in new {
            match old.iter().find(|other| is_same(service, other)) {
                Some(before) => {
                    let [from, to] = [before, service].map(save::write_vips);
                    self.value(&format!("vips of {service}"), &from, &to);
                    self.value(
                        &format!("scheduler of {service}"),
                        &before.scheduler,
                        &service.scheduler,
                    );
                    let [from, to] =
                        [before, service].map(|service| save::write_flags(service.scheduler_flags));
                    self.value(&format!("scheduler_flags of {service}"), &from, &to);
                    let [from, to] = [before, service].map(|service| {
                        let persistence = service.persistence.as_ref();
                        persistence.map_or_else(|| "none".to_owned(), save::write_persistence)
                    });
                    self.value(&format!("persistence of {service}"), &from, &to);
                    self.value(
                        &format!("one_packet of {service}"),
                        &before.one_packet,
                        &service.one_packet,
                    );
                    let [from, to] =
                        [before, service].map(|service| save::write_method(&service.method));
                    self.value(&format!("method of {service}"), &from, &to);
                    self.destinations(service, &before.destinations, &service.destinations);
                }
                None => {
                    let method = save::write_method(&service.method);
                    let further = match service.further.is_empty() {
                        true => String::new(),
                        false => format!(", vips {}", save::write_vips(service)),
                    };
                    self.live(
                        Sign::Added,
                        format!(
                            "service {service} ({}, {method}{further})",
                            service.scheduler
                        ),
                    );
                    self.destinations(service, &[], &service.destinations);
                }
            }
        }
        self.order("the services", old, new, is_same);
    }

    fn destinations(&mut self, service: &Service, old: &[Destination], new: &[Destination]) {
        let is_same = |a: &Destination, b: &Destination| a.address == b.address;
        for gone in old
            .iter()
            .filter(|destination| !new.iter().any(|other| is_same(destination, other)))
        {
            self.live(
                Sign::Removed,
                format!("destination {} of {service}", gone.address),
            );
        }
        for destination in new {
            let Destination {
                address,
                weight,
                upper_threshold,
                lower_threshold,
                method,
            } = destination;
            match old.iter().find(|other| other.address == *address) {
                Some(before) => {
                    let of = format!("of {address} of {service}");
                    self.value(&format!("weight {of}"), &before.weight, weight);
                    let upper = format!("upper_threshold {of}");
                    self.value(&upper, &before.upper_threshold, upper_threshold);
                    let lower = format!("lower_threshold {of}");
                    self.value(&lower, &before.lower_threshold, lower_threshold);
                    let [was, is] = [&before.method, method].map(|method| match method {
                        Some(method) => save::write_method(method),
                        None => "the service's".to_owned(),
                    });
                    self.value(&format!("method {of}"), &was, &is);
                }
                None => self.live(
                    Sign::Added,
                    format!("destination {address} of {service} (weight {weight})"),
                ),
            }
        }
        self.order(&format!("the destinations of {service}"), old, new, is_same);
    }

    fn marks(&mut self, old: &[MarkedService], new: &[MarkedService]) {
        let [old, new] =
            [old, new].map(|marks| marks.iter().map(save::write_marked).collect::<Vec<_>>());
        self.plain("firewall mark", "", "the firewall marks", &old, &new);
    }

    fn timeouts(&mut self, old: &Timeouts, new: &Timeouts) {
        for (key, old, new) in [
            ("tcp_established", old.tcp_established, new.tcp_established),
            ("tcp_fin", old.tcp_fin, new.tcp_fin),
            ("udp", old.udp, new.udp),
        ] {
            self.value(
                &format!("timeout {key}"),
                &duration::write(old),
                &duration::write(new),
            );
        }
    }
}
