//! Services and real servers in the words of IPVS: what ipvsadm says, and what it may ask.
//!
//! Promises: whatever ipvsadm 1.31 can say about a service has a value here, whether weir can do it or not; a
//! [`Table`] accepts and refuses changes as the kernel does, with the sentences that ipvsadm prints for it.
//! Does not know: how a change reaches packets. [`running`] makes a `Config` of a table, and says what weir lacks.

mod method;
pub mod running;
mod table;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

pub use table::{Entry, Table};

/// A transport protocol as IPVS knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Transport {
    /// Its number in IP headers.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Transport {
    /// `tcp`, as in `/etc/services`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// That of `address`.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

/// What names a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceName {
    /// A virtual address; vport 0 stands for all.
    Virtual {
        /// Its transport.
        protocol: Transport,
        /// VIP and vport.
        endpoint: SocketAddr,
    },
    /// A firewall mark, which no packet carries on a machine without the kernel's firewall.
    Mark {
        /// More than zero.
        mark: u32,
        /// What its packets would be.
        family: Family,
    },
}

impl ServiceName {
    /// What its packets are.
    pub fn family(self) -> Family {
        match self {
            Self::Virtual { endpoint, .. } => Family::of(endpoint.ip()),
            Self::Mark { family, .. } => family,
        }
    }
}

/// The three scheduler flags, as bits 0 to 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchedulerFlags(pub u8);

impl SchedulerFlags {
    /// `flag-1`; `sh-fallback` of sh, `mh-fallback` of mh.
    pub const FIRST: Self = Self(1);
    /// `flag-2`; `sh-port` of sh, `mh-port` of mh.
    pub const SECOND: Self = Self(2);
    /// `flag-3`.
    pub const THIRD: Self = Self(4);

    /// Whether `flag` is set.
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    /// These but not `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// These and `flag`.
    #[must_use]
    pub fn with(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }
}

/// Which clients persistence takes for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Netmask {
    /// A mask, whether its ones stand together or not.
    V4(Ipv4Addr),
    /// A prefix length, 1 to 128.
    V6(u8),
}

impl Netmask {
    /// Each client for itself.
    pub fn host(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::V4(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::V6(128),
        }
    }
}

/// How long a client keeps its real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistence {
    /// In seconds.
    pub timeout_s: u32,
    /// Who is one client.
    pub netmask: Netmask,
}

/// A service without its real servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualService {
    /// What names it.
    pub name: ServiceName,
    /// IPVS's name of it: `wlc`.
    pub scheduler: String,
    /// What the scheduler makes of them is its own affair.
    pub flags: SchedulerFlags,
    /// None: each connection for itself.
    pub persistence: Option<Persistence>,
    /// A persistence module (`--pe`), which weir has none of.
    pub persistence_module: Option<String>,
    /// Each packet for itself.
    pub one_packet: bool,
}

/// How packets get to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forwarding {
    /// NAT.
    Masquerade,
    /// Direct routing.
    Route,
    /// A tunnel.
    Tunnel(Encapsulation),
    /// FULLNAT.
    FullNat,
}

/// What a tunnel wraps packets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encapsulation {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// UDP port of the far end.
        destination_port: u16,
        /// Of the outer UDP header.
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Of the GRE header.
        checksum: TunnelChecksum,
    },
}

/// Whether the wrapping carries a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TunnelChecksum {
    /// It does not.
    None,
    /// It does.
    Full,
    /// The far end fills in the inner one (GUE only).
    Remote,
}

/// A real server in its role in a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServer {
    /// RIP and rport.
    pub address: SocketAddr,
    /// How packets get there.
    pub forwarding: Forwarding,
    /// 0 to 2147483647; 0: no new connections.
    pub weight: u32,
    /// At this many connections it gets no more; 0: no limit.
    pub upper_threshold: u32,
    /// Below this many it gets connections again; 0: three quarters of the upper one.
    pub lower_threshold: u32,
}

/// A service of a firewall mark, with its real servers. It is kept as it was said; no packet belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkedService {
    /// Named by its mark.
    pub service: VirtualService,
    /// In the order in which they were added.
    #[serde(default)]
    pub servers: Vec<RealServer>,
    /// LIPs of its own.
    #[serde(default)]
    pub locals: Vec<IpAddr>,
}

/// A change that ipvsadm may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit {
    /// `-A`.
    AddService(VirtualService),
    /// `-E`.
    EditService(VirtualService),
    /// `-D`.
    DeleteService(ServiceName),
    /// `-C`.
    Clear,
    /// `-a`.
    AddServer {
        /// Whose.
        service: ServiceName,
        /// Which.
        server: RealServer,
    },
    /// `-e`.
    EditServer {
        /// Whose.
        service: ServiceName,
        /// Which, by its address, and what it becomes.
        server: RealServer,
    },
    /// A new weight, and the rest as it is.
    SetWeight {
        /// Whose.
        service: ServiceName,
        /// Which.
        address: SocketAddr,
        /// 0: no new connections.
        weight: u32,
    },
    /// `-d`.
    DeleteServer {
        /// Whose.
        service: ServiceName,
        /// Which.
        address: SocketAddr,
    },
    /// `--set`, in seconds; 0 leaves a timeout as it is.
    SetTimeouts(Timeouts),
    /// `-P`.
    AddLocal {
        /// Whose.
        service: ServiceName,
        /// LIP.
        address: IpAddr,
    },
    /// `-Q`.
    DeleteLocal {
        /// Whose.
        service: ServiceName,
        /// LIP.
        address: IpAddr,
    },
    /// `-Z`: counters and rates begin at zero again, of one service or of all.
    Zero(Option<ServiceName>),
}

/// The three timeouts that ipvsadm knows, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// TCP, established.
    pub tcp_s: u32,
    /// TCP, after a FIN.
    pub tcp_fin_s: u32,
    /// UDP.
    pub udp_s: u32,
}

/// Why a change is refused; ipvsadm's words, or one sentence of weir's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditError {
    /// There is one of that name.
    #[error("Service already exists")]
    ServiceExists,
    /// A name that is none.
    #[error("Scheduler or persistence engine not found")]
    UnknownScheduler,
    /// The service that is to change.
    #[error("No such service")]
    NoService,
    /// The service whose real servers are to change.
    #[error("Service not defined")]
    ServiceNotDefined,
    /// There is one of that address.
    #[error("Destination already exists")]
    ServerExists,
    /// None of that address.
    #[error("No such destination")]
    NoServer,
    /// A lower threshold above the upper one.
    #[error("Numerical result out of range")]
    OutOfRange,
    /// An address that no host can have, and the like.
    #[error("Invalid operation.  Possibly wrong module version, address not unicast, ...")]
    Invalid,
    /// The service has this local address.
    #[error("Local address already exists")]
    LocalExists,
    /// The service does not have this local address.
    #[error("No such local address")]
    NoLocal,
    /// IPVS would do it, weir does not.
    #[error("{0}")]
    Refused(String),
}
