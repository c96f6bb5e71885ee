//! Names of hosts and services, as the system knows them.
//!
//! Promises: an unknown name is none; nothing fails for lack of a file or a name server.
//! Does not know: when names are wanted.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use weir_config::ipvs::Transport;

/// Who knows names.
pub trait Names {
    /// The name of a host.
    fn host(&self, address: IpAddr) -> Option<String>;
    /// The IPv4 address of a host.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The name of an L4 port.
    fn service(&self, l4_port: u16, transport: Transport) -> Option<String>;
    /// The L4 port of a service.
    fn l4_port(&self, service: &str, transport: Transport) -> Option<u16>;
}

/// The system: its resolver, and `/etc/services`.
#[derive(Clone, Debug, Default)]
pub struct SystemNames {
    services: Services,
}

/// What a file like `/etc/services` says; of what it says twice, the first.
#[derive(Clone, Debug, Default)]
pub struct Services {
    names: HashMap<(u16, String), String>,
    l4_ports: HashMap<(String, String), u16>,
}

impl SystemNames {
    /// Reads `/etc/services`.
    pub fn read() -> Self {
        let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
        Self {
            services: Services::parse(&text),
        }
    }
}

impl Services {
    /// `name  80/tcp  alias …  # comment`, a line each.
    pub fn parse(text: &str) -> Self {
        let mut services = Self::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(port)) = (words.next(), words.next()) else {
                continue;
            };
            let Some((Ok(number), transport)) = port
                .split_once('/')
                .map(|(number, transport)| (number.parse::<u16>(), transport))
            else {
                continue;
            };
            services
                .names
                .entry((number, transport.to_owned()))
                .or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services
                    .l4_ports
                    .entry((name.to_owned(), transport.to_owned()))
                    .or_insert(number);
            }
        }
        services
    }

    /// The name of an L4 port.
    pub fn name(&self, l4_port: u16, transport: Transport) -> Option<String> {
        self.names.get(&(l4_port, transport.to_string())).cloned()
    }

    /// The L4 port of a name.
    pub fn l4_port(&self, name: &str, transport: Transport) -> Option<u16> {
        let key = (name.to_owned(), transport.to_string());
        self.l4_ports.get(&key).copied()
    }
}

impl Names for SystemNames {
    fn host(&self, address: IpAddr) -> Option<String> {
        let socket = SocketAddr::new(address, 0);
        let (host, _) = dns_lookup::getnameinfo(&socket, NAME_REQUIRED).ok()?;
        Some(host)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        if host.is_empty() {
            return None;
        }
        (host, 0)
            .to_socket_addrs()
            .ok()?
            .find_map(|found| match found.ip() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            })
    }

    fn service(&self, l4_port: u16, transport: Transport) -> Option<String> {
        self.services.name(l4_port, transport)
    }

    fn l4_port(&self, service: &str, transport: Transport) -> Option<u16> {
        self.services.l4_port(service, transport)
    }
}

/// `NI_NAMEREQD`: no name rather than the address in figures.
const NAME_REQUIRED: i32 = 8;
