//! The configuration as meant: every default filled in, every text turned into a value, every rule kept.
//!
//! Promises: a [`Config`] that came from [`Config::parse`] satisfies what its fields say they hold.
//! Does not know: how it was written; the order of ports, pools, services and destinations is the written one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
pub use weir_director::{
    Encapsulation, HashOptions, IpvsSettings, RemovedDestination, Reuse, Scheduler,
};

use crate::address::AddressRange;
use crate::check;
use crate::error::Errors;
use crate::ipvs::{MarkedService, Persistence, SchedulerFlags};
use crate::locate::Node;
use crate::{sizing, syntax};

/// Everything a director is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The process itself.
    pub runtime: Runtime,
    /// NIC ports; at least one; names, devices and addresses are each unique.
    pub ports: Vec<Port>,
    /// Ways to what is on no port's subnet; no prefix twice.
    pub routes: Vec<Route>,
    /// Where FULLNAT takes its source addresses from; names are unique, no address is in two places.
    pub local_pools: Vec<LocalPool>,
    /// Virtual services; (protocol, VIP, vport) is unique.
    pub services: Vec<Service>,
    /// Services of firewall marks; their names are unique. They match nothing.
    pub firewall_marks: Vec<MarkedService>,
    /// How long a silent connection is kept.
    pub timeouts: Timeouts,
    /// The L4 ports that each local address lends.
    pub local_ports: LocalPorts,
    /// Kind of the TCP option that carries the client's address.
    pub toa_option: u8,
    /// What IPVS lets its users choose.
    pub ipvs: IpvsSettings,
    /// What becomes of connections to a destination that was removed.
    pub removed_destination: RemovedDestination,
}

impl Config {
    /// Reads, checks and resolves `text`.
    ///
    /// `file_name` is put before each error as given. `allowed_cpus` are the ids of the CPUs on which this process
    /// may run, lowest first, at least one; from them come the workers where the file names none. A syntax or type error comes
    /// alone; errors of meaning come together.
    pub fn parse(text: &str, file_name: &str, allowed_cpus: &[usize]) -> Result<Config, Errors> {
        let spec = syntax::parse(text).map_err(|problem| Errors::new(file_name, vec![problem]))?;
        let index = Node::scan(text);
        let config = check::resolve(&spec, index.place(), allowed_cpus)
            .map_err(|problems| Errors::new(file_name, problems))?;
        match sizing::shortage(&config, index.place().field("runtime").field("memory").at()) {
            Some(problem) => Err(Errors::new(file_name, vec![problem])),
            None => Ok(config),
        }
    }
}

/// What the process takes from the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// CPU ids, one worker each; not empty, none twice.
    pub workers: Vec<usize>,
    /// Where buffers and tables lie.
    pub memory: Memory,
    /// Connections per worker, at least 1; an IPv6 connection counts as two.
    pub connections: u32,
    /// IPv6 connections per worker beside them. `connections` and twice this are 2^30 at most.
    pub ipv6_connections: u32,
    /// What a worker without packets does.
    pub idle: Idle,
    /// Absolute path of the admin socket, at most 107 bytes.
    pub admin_socket: PathBuf,
}

/// Where buffers and tables lie, and how much of it, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Reserved hugepages.
    Hugepages {
        /// In MiB.
        mib: u32,
    },
    /// Ordinary pages; needs no preparation.
    Anonymous {
        /// In MiB.
        mib: u32,
    },
}

/// What a worker without packets does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Pauses, then sleeps for microseconds.
    Backoff,
    /// Asks again at once, always.
    Poll,
}

/// One NIC port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// As the operator calls it: 1 to 32 letters, digits, `_`, `-`, `.`.
    pub name: String,
    /// What DPDK opens.
    pub device: Device,
    /// The port's own addresses, each with its subnet's prefix length (host bits kept); at least one.
    pub addresses: Vec<IpNet>,
    /// Largest IP packet in bytes, 68 to 9216; 1280 at least where an address is IPv6.
    pub mtu: u16,
}

/// What DPDK opens as a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// PCI address in full, lower case: `0000:01:00.0`.
    Pci(String),
    /// Name of a kernel interface, read through AF_PACKET.
    AfPacket(String),
    /// Name of a kernel interface, read through AF_XDP.
    AfXdp(String),
    /// Name of a tap interface to be made.
    Tap(String),
    /// Any DPDK device string.
    Vdev(String),
}

/// A way to what is on no port's subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Destination prefix, without host bits.
    pub to: IpNet,
    /// The next hop: on a port's subnet, of the same family.
    pub via: IpAddr,
}

/// Local addresses (LIPs) under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPool {
    /// As services name it.
    pub name: String,
    /// Each inside a port's subnet; none overlaps another of any pool, a VIP, a real server or a port's own address.
    pub ranges: Vec<AddressRange>,
}

/// The L4 ports from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPorts {
    /// At least 1.
    pub first: u16,
    /// At least `first`.
    pub last: u16,
}

/// One virtual service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which transport it is for.
    pub protocol: Protocol,
    /// VIP and vport. 0 stands for all that no other service has; then there is persistence.
    pub vip: SocketAddr,
    /// What else clients reach it by, as one with the first (a service group): of the same family, none twice.
    pub further: Vec<Vip>,
    /// Who picks the destination of a new connection.
    pub scheduler: Scheduler,
    /// Flags that ipvsadm was given and the scheduler makes nothing of.
    pub scheduler_flags: SchedulerFlags,
    /// How long a client keeps its destination; `None`: it does not. The netmask is of the VIP's family.
    pub persistence: Option<Persistence>,
    /// Each datagram is scheduled for itself. For UDP alone, and under FULLNAT for no destination.
    pub one_packet: bool,
    /// How packets get to the destination.
    pub method: Method,
    /// The real servers, in the order written; no endpoint twice. Under NAT and DR of the VIP's family, under DR and TUN
    /// of its L4 port. L4 port 0 stands for the one that the client chose.
    pub destinations: Vec<Destination>,
}

/// What clients reach a service by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    /// Which transport it is for.
    pub protocol: Protocol,
    /// VIP and vport.
    pub endpoint: SocketAddr,
}

/// A transport protocol with services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Forwarding method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// The destination is rewritten; replies come back through the director.
    Nat,
    /// MAC addresses are rewritten; the real server answers by itself.
    Dr,
    /// The packet is put into another; the real server answers by itself.
    Tun(Tun),
    /// Source and destination are rewritten.
    FullNat(FullNat),
}

/// What TUN needs to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tun {
    /// What stands between the outer header and the packet.
    pub encapsulation: Encapsulation,
    /// Each flow has an outer source address of its own in this prefix, which is on no port's subnet; `None`: all have the
    /// port's own. Of the real server's family.
    pub sources: Option<IpNet>,
}

/// What FULLNAT needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullNat {
    /// Name of a pool that exists and holds an address of each destination's family.
    pub local_pool: String,
    /// How the real server learns the client's address.
    pub client_address: ClientAddress,
}

/// How the real server learns the client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// In a TCP option; without effect for UDP and SCTP.
    Toa,
    /// In a line of text before the client's first byte (PROXY protocol, version 1). Of TCP alone.
    ProxyV1,
    /// In binary before the client's first byte (PROXY protocol, version 2); over UDP before each datagram's data.
    ProxyV2,
    /// In option 31 of the IPv4 header of a flow's first datagrams, from IPv6 clients as `UdpHeader`. Of UDP alone.
    UdpOption,
    /// In a header of protocol 248 between IP and UDP, of a flow's first datagrams. Of UDP alone.
    UdpHeader,
    /// Not at all.
    None,
}

impl ClientAddress {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Toa,
        Self::ProxyV1,
        Self::ProxyV2,
        Self::UdpOption,
        Self::UdpHeader,
        Self::None,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Toa => "Toa",
            Self::ProxyV1 => "ProxyV1",
            Self::ProxyV2 => "ProxyV2",
            Self::UdpOption => "UdpOption",
            Self::UdpHeader => "UdpHeader",
            Self::None => "None",
        }
    }

    /// Whether services of a protocol may have it.
    pub fn is_for(self, protocol: Protocol) -> bool {
        match (self, protocol) {
            (Self::Toa | Self::ProxyV2 | Self::None, Protocol::Tcp | Protocol::Udp) => true,
            // Left out where there is no form for it, and so the default may stand there too.
            (Self::Toa | Self::None, Protocol::Sctp) => true,
            (Self::ProxyV2, Protocol::Sctp) => false,
            (Self::ProxyV1, protocol) => protocol == Protocol::Tcp,
            (Self::UdpOption | Self::UdpHeader, protocol) => protocol == Protocol::Udp,
        }
    }
}

/// A real server in its role inside a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// RIP and rport, which is not zero.
    pub address: SocketAddr,
    /// Its share, 0 to 65535; 0 drains it.
    pub weight: u16,
    /// With so many connections it gets no new ones, at most 2^31 - 1; 0: never so.
    pub upper_threshold: u32,
    /// With fewer it gets some again, at most `upper_threshold`; 0: with fewer than three quarters of that.
    pub lower_threshold: u32,
    /// How packets get there, where it differs from its service.
    pub method: Option<Method>,
}

/// How long a silent connection is kept; each more than zero, at most 31 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_established: Duration,
    /// TCP, after a FIN.
    pub tcp_fin: Duration,
    /// UDP.
    pub udp: Duration,
}

impl Service {
    /// How packets get to a destination of this service.
    pub fn method_of<'a>(&'a self, destination: &'a Destination) -> &'a Method {
        destination.method.as_ref().unwrap_or(&self.method)
    }
}

impl Memory {
    /// Used where the file says nothing.
    pub const DEFAULT: Memory = Memory::Anonymous { mib: 256 };
}

impl Runtime {
    /// Connections per worker where the file says nothing.
    pub const DEFAULT_CONNECTIONS: u32 = 100_000;
    /// The admin socket where the file says nothing.
    pub const DEFAULT_ADMIN_SOCKET: &str = "/run/weir/admin.sock";
}

impl Port {
    /// The MTU where the file says nothing.
    pub const DEFAULT_MTU: u16 = 1500;
}

impl Config {
    /// TOA's option kind where the file says nothing; existing `toa` modules expect it.
    pub const DEFAULT_TOA_OPTION: u8 = 254;
}

impl LocalPorts {
    /// Lent where the file says nothing.
    pub const DEFAULT: LocalPorts = LocalPorts {
        first: 1024,
        last: 65535,
    };
}

impl Default for FullNat {
    /// The pool `default`, and TOA.
    fn default() -> Self {
        Self {
            local_pool: "default".to_owned(),
            client_address: ClientAddress::Toa,
        }
    }
}

impl Default for Timeouts {
    /// Those of IPVS.
    fn default() -> Self {
        Self {
            tcp_established: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}

impl fmt::Display for Protocol {
    /// As users write it on the command line: `tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

impl fmt::Display for LocalPorts {
    /// `1024-65535`: the form of the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl fmt::Display for Route {
    /// As `ip route` would put it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} via {}", self.to, self.via)
    }
}

impl Service {
    /// All that clients reach it by, the first of which names it.
    pub fn vips(&self) -> impl Iterator<Item = Vip> {
        let first = Vip {
            protocol: self.protocol,
            endpoint: self.vip,
        };
        std::iter::once(first).chain(self.further.iter().copied())
    }
}

impl fmt::Display for Vip {
    /// Two words: `tcp 192.0.2.100:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.endpoint)
    }
}

impl fmt::Display for Service {
    /// The two words that name a service: `tcp 192.0.2.100:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.vip)
    }
}
