//! IPVS's table: services by name, real servers in the order in which they were added.
//!
//! Promises: a change is made as a whole or refused as the kernel (6.1) refuses it, in the kernel's order of
//! questions; a refused one leaves no trace.
//! Does not know: what of it weir can do (`running`), counters, connections.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::{
    Edit, EditError, Encapsulation, Forwarding, RealServer, ServiceName, Timeouts, VirtualService,
};

/// The schedulers of IPVS, and twos, which Linux has since 5.16.
const SCHEDULERS: [&str; 14] = [
    "rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "fo", "ovf", "twos",
];

/// A service with its real servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The service itself.
    pub service: VirtualService,
    /// In the order in which they were added; no address twice.
    pub servers: Vec<RealServer>,
    /// LIPs of its own; empty: those of the pool `default`.
    pub locals: Vec<IpAddr>,
    /// Where it stands in the configuration that the table was made of; `None`: added since.
    pub origin: Option<usize>,
}

/// All services, and the timeouts.
#[derive(Clone, Debug)]
pub struct Table {
    /// In the order in which they were added; `None`: deleted.
    entries: Vec<Option<Entry>>,
    /// Invariant: the place of every living entry, by its name.
    places: HashMap<ServiceName, usize>,
    /// None of them is 0.
    pub timeouts: Timeouts,
}

impl Table {
    /// `entries`, whose names differ.
    pub fn new(entries: Vec<Entry>, timeouts: Timeouts) -> Self {
        let places = entries
            .iter()
            .enumerate()
            .map(|(place, entry)| (entry.service.name, place))
            .collect();
        Self {
            entries: entries.into_iter().map(Some).collect(),
            places,
            timeouts,
        }
    }

    /// All services, in the order in which they were added.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The service of that name.
    pub fn find(&self, name: &ServiceName) -> Option<&Entry> {
        self.places
            .get(name)
            .and_then(|place| self.entries[*place].as_ref())
    }

    fn find_mut(&mut self, name: &ServiceName) -> Option<&mut Entry> {
        self.places
            .get(name)
            .and_then(|place| self.entries[*place].as_mut())
    }

    /// Makes one change.
    pub fn apply(&mut self, edit: &Edit) -> Result<(), EditError> {
        match edit {
            Edit::AddService(service) => self.add_service(service),
            Edit::EditService(service) => {
                let entry = self.find_mut(&service.name).ok_or(EditError::NoService)?;
                require_scheduler(service)?;
                entry.service = service.clone();
                Ok(())
            }
            Edit::DeleteService(name) => {
                let place = self.places.remove(name).ok_or(EditError::NoService)?;
                self.entries[place] = None;
                Ok(())
            }
            Edit::Clear => {
                self.entries.clear();
                self.places.clear();
                Ok(())
            }
            Edit::AddServer { service, server } => {
                let entry = self.servers_of(service)?;
                require_possible(server)?;
                if position(entry, server.address).is_some() {
                    return Err(EditError::ServerExists);
                }
                require_host(server.address.ip())?;
                entry.servers.push(*server);
                Ok(())
            }
            Edit::EditServer { service, server } => {
                let entry = self.servers_of(service)?;
                require_possible(server)?;
                let place = position(entry, server.address).ok_or(EditError::NoServer)?;
                entry.servers[place] = *server;
                Ok(())
            }
            Edit::SetWeight {
                service,
                address,
                weight,
            } => {
                let entry = self.servers_of(service)?;
                let place = position(entry, *address).ok_or(EditError::NoServer)?;
                entry.servers[place].weight = *weight;
                Ok(())
            }
            Edit::DeleteServer { service, address } => {
                let entry = self.servers_of(service)?;
                let place = position(entry, *address).ok_or(EditError::NoServer)?;
                entry.servers.remove(place);
                Ok(())
            }
            Edit::SetTimeouts(timeouts) => {
                let keep_zero = |new: u32, old: &mut u32| {
                    if new > 0 {
                        *old = new;
                    }
                };
                keep_zero(timeouts.tcp_s, &mut self.timeouts.tcp_s);
                keep_zero(timeouts.tcp_fin_s, &mut self.timeouts.tcp_fin_s);
                keep_zero(timeouts.udp_s, &mut self.timeouts.udp_s);
                Ok(())
            }
            Edit::AddLocal { service, address } => {
                let entry = self.servers_of(service)?;
                require_host(*address)?;
                if entry.locals.contains(address) {
                    return Err(EditError::LocalExists);
                }
                entry.locals.push(*address);
                Ok(())
            }
            Edit::DeleteLocal { service, address } => {
                let entry = self.servers_of(service)?;
                let place = entry.locals.iter().position(|local| local == address);
                entry.locals.remove(place.ok_or(EditError::NoLocal)?);
                Ok(())
            }
            Edit::Zero(None) => Ok(()),
            Edit::Zero(Some(name)) => match self.find(name) {
                Some(_) => Ok(()),
                None => Err(EditError::NoService),
            },
        }
    }

    fn add_service(&mut self, service: &VirtualService) -> Result<(), EditError> {
        if self.places.contains_key(&service.name) {
            return Err(EditError::ServiceExists);
        }
        require_scheduler(service)?;
        self.places.insert(service.name, self.entries.len());
        self.entries.push(Some(Entry {
            service: service.clone(),
            servers: Vec::new(),
            locals: Vec::new(),
            origin: None,
        }));
        Ok(())
    }

    fn servers_of(&mut self, name: &ServiceName) -> Result<&mut Entry, EditError> {
        self.find_mut(name).ok_or(EditError::ServiceNotDefined)
    }
}

fn require_scheduler(service: &VirtualService) -> Result<(), EditError> {
    let is_known = SCHEDULERS.contains(&service.scheduler.as_str());
    match is_known && service.persistence_module.is_none() {
        true => Ok(()),
        false => Err(EditError::UnknownScheduler),
    }
}

fn require_possible(server: &RealServer) -> Result<(), EditError> {
    if server.lower_threshold > server.upper_threshold {
        return Err(EditError::OutOfRange);
    }
    match server.forwarding {
        Forwarding::Tunnel(Encapsulation::Gue {
            destination_port: 0,
            ..
        }) => Err(EditError::Invalid),
        Forwarding::Tunnel(_)
        | Forwarding::Masquerade
        | Forwarding::Route
        | Forwarding::FullNat => Ok(()),
    }
}

/// Where a real server stands.
fn position(entry: &Entry, address: SocketAddr) -> Option<usize> {
    entry
        .servers
        .iter()
        .position(|server| server.address == address)
}

/// What a host may have.
fn require_host(address: IpAddr) -> Result<(), EditError> {
    let is_host = match address {
        IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !v6.is_unicast_link_local(),
    };
    match is_host {
        true => Ok(()),
        false => Err(EditError::Invalid),
    }
}
