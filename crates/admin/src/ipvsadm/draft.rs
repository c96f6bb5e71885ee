//! What the options of a command line have said so far.
//!
//! Promises: options are taken in their order, since some read what others have set before them (`-r` after `-t`, `-M`
//! after `-t`, `-6` after `-f`), and the first that is wrong ends it.
//! Does not know: how words are read (`arguments`), or which command they belong to before the end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_config::ipvs::{
    Edit, Encapsulation, Family, Forwarding, Netmask, Persistence, RealServer, SchedulerFlags,
    ServiceName, Timeouts, Transport, TunnelChecksum, VirtualService,
};

use super::command::{Columns, Command, Format, List, Listed, Stop, or_default, refuse};
use super::names::Names;
use super::rules::{Given, Opt, TunnelType, Verb};
use super::value::{self, Endpoint};
use super::word::Saying;

/// What the options have said so far.
pub(super) struct Draft {
    pub(super) given: Given,
    transport: Option<Transport>,
    /// Of the service; `None`: none named yet.
    family: Option<Family>,
    address: IpAddr,
    vport: u16,
    mark: Option<u32>,
    netmask: Netmask,
    pub(super) scheduler: String,
    pub(super) flags: String,
    persistent_s: Option<u32>,
    one_packet: bool,
    persistence_module: Option<String>,
    real: Endpoint,
    forwarding: Method,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: TunnelType,
    tunnel_port: u16,
    local: Option<IpAddr>,
    is_numeric: bool,
    is_exact: bool,
    is_unsorted: bool,
}

/// What `-g`, `-m`, `-i`, `-b` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Masquerade,
    Route,
    Tunnel,
    FullNat,
}

impl Draft {
    pub(super) fn new() -> Self {
        let nowhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self {
            given: Given::default(),
            transport: None,
            family: None,
            address: nowhere,
            vport: 0,
            mark: None,
            netmask: Netmask::host(Family::Ipv4),
            scheduler: String::new(),
            flags: String::new(),
            persistent_s: None,
            one_packet: false,
            persistence_module: None,
            real: Endpoint {
                address: nowhere,
                l4_port: None,
            },
            forwarding: Method::Route,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: TunnelType::Ipip,
            tunnel_port: 0,
            local: None,
            is_numeric: false,
            is_exact: false,
            is_unsorted: false,
        }
    }

    /// Takes one option.
    pub(super) fn take(
        &mut self,
        saying: Saying,
        argument: Option<String>,
        names: &impl Names,
    ) -> Result<(), Stop> {
        if let Some(opt) = counted_as(saying) {
            self.given.note(opt).map_err(Stop::Refused)?;
        }
        let text = argument.as_deref().unwrap_or_default();
        match saying {
            Saying::TcpService => self.service(text, Transport::Tcp, names)?,
            Saying::UdpService => self.service(text, Transport::Udp, names)?,
            Saying::SctpService => self.service(text, Transport::Sctp, names)?,
            Saying::FwmarkService => {
                self.family = Some(Family::Ipv4);
                self.transport = Some(Transport::Tcp);
                let Some(mark) = value::mark(text) else {
                    return refuse(format!("invalid fwmark value `{text}' specified"));
                };
                self.mark = Some(mark);
            }
            // IPVS's names have 15 letters at most.
            Saying::Scheduler => self.scheduler = text.chars().take(15).collect(),
            Saying::Persistent => {
                self.persistent_s = Some(match &argument {
                    None => value::PERSISTENT_TIMEOUT_S,
                    Some(text) => timeout(text, 1)?,
                });
            }
            Saying::Netmask => self.netmask = self.netmask(text, names)?,
            Saying::RealServer => {
                let Some(real) = value::endpoint(text, self.transport, names) else {
                    return refuse("illegal real server address[:port] specified");
                };
                self.real = Endpoint {
                    l4_port: real.l4_port.or(Some(self.vport)),
                    ..real
                };
            }
            Saying::Masquerading => self.forwarding = Method::Masquerade,
            Saying::Ipip => self.forwarding = Method::Tunnel,
            Saying::Gatewaying => self.forwarding = Method::Route,
            Saying::FullNat => self.forwarding = Method::FullNat,
            // As Debian builds it; the kernel takes them all.
            Saying::Weight => {
                self.weight = bounded(text, 0, i32::MAX.into(), "illegal weight specified")?;
            }
            Saying::UpperThreshold => {
                let what = "illegal u_threshold specified";
                self.upper_threshold = bounded(text, 0, i32::MAX.into(), what)?;
            }
            Saying::LowerThreshold => {
                let what = "illegal l_threshold specified";
                self.lower_threshold = bounded(text, 0, i32::MAX.into(), what)?;
            }
            Saying::SyncId => bounded(text, 0, 255, "illegal syncid specified").map(drop)?,
            Saying::Ipv6 => {
                if self.mark.is_none() {
                    // The second line break is ipvsadm's.
                    return refuse("-6 used before -f\n");
                }
                self.family = Some(Family::Ipv6);
                self.netmask = Netmask::host(Family::Ipv6);
            }
            Saying::OnePacket => self.one_packet = true,
            Saying::PersistenceModule => {
                self.persistence_module = Some(text.to_owned()).filter(|name| !name.is_empty());
            }
            // ipvsadm keeps 127 letters of it.
            Saying::SchedulerFlags => self.flags = text.chars().take(127).collect(),
            Saying::McastGroup => require_multicast(text)?,
            Saying::McastPort => {
                bounded(text, 1, 65_535, "illegal mcast-port specified").map(drop)?
            }
            Saying::McastTtl => bounded(text, 1, 255, "illegal mcast-ttl specified").map(drop)?,
            Saying::SyncMaxlen => {
                bounded(text, 1, 65_535 - 28, "illegal sync-maxlen specified").map(drop)?;
            }
            Saying::TunType => match TunnelType::find(text) {
                Some(tunnel) => self.tunnel = tunnel,
                None => return refuse("illegal tunnel type specified"),
            },
            Saying::TunPort => {
                self.tunnel_port =
                    bounded(text, 1, 65_535, "illegal tunnel port specified")? as u16;
            }
            Saying::LocalAddress => {
                let Some(local) = value::endpoint(text, None, names) else {
                    return refuse("illegal local address specified");
                };
                self.local = Some(local.address);
            }
            Saying::Numeric => self.is_numeric = true,
            Saying::Exact => self.is_exact = true,
            Saying::NoSort => self.is_unsorted = true,
            Saying::Sort
            | Saying::Connection
            | Saying::McastInterface
            | Saying::Timeout
            | Saying::Daemon
            | Saying::Stats
            | Saying::Rate
            | Saying::Thresholds
            | Saying::PersistentConnections
            | Saying::TunInfo
            | Saying::TunNocsum
            | Saying::TunCsum
            | Saying::TunRemcsum
            | Saying::LocalInterface => {}
        }
        Ok(())
    }

    fn service(
        &mut self,
        text: &str,
        transport: Transport,
        names: &impl Names,
    ) -> Result<(), Stop> {
        self.transport = Some(transport);
        let Some(found) = value::endpoint(text, Some(transport), names) else {
            return refuse("illegal virtual server address[:port] specified");
        };
        let family = Family::of(found.address);
        if family == Family::Ipv6 {
            self.netmask = Netmask::host(family);
        }
        self.family = Some(family);
        self.address = found.address;
        self.vport = found.l4_port.unwrap_or(0);
        Ok(())
    }

    fn netmask(&self, text: &str, names: &impl Names) -> Result<Netmask, Stop> {
        if self.family == Some(Family::Ipv6) {
            let length = value::lenient_number(text);
            return match (1..=128).contains(&length) {
                true => Ok(Netmask::V6(length as u8)),
                false => refuse("illegal ipv6 netmask specified"),
            };
        }
        match value::inet_aton(text).or_else(|| names.address(text)) {
            Some(mask) => Ok(Netmask::V4(mask)),
            None => refuse("illegal virtual server persistent mask specified"),
        }
    }

    fn name(&self) -> ServiceName {
        match (self.mark, self.transport) {
            (Some(mark), _) => ServiceName::Mark {
                mark,
                family: self.family.unwrap_or(Family::Ipv4),
            },
            (None, transport) => ServiceName::Virtual {
                protocol: transport.unwrap_or(Transport::Tcp),
                endpoint: SocketAddr::new(self.address, self.vport),
            },
        }
    }

    /// What it comes to, once the options have been held against `verb`.
    pub(super) fn into_command(
        self,
        verb: Verb,
        flags: SchedulerFlags,
        timeouts: Option<Timeouts>,
    ) -> Result<Command, Stop> {
        let service = self.name();
        let edit = match verb {
            Verb::AddService => Edit::AddService(self.virtual_service(flags)?),
            Verb::EditService => Edit::EditService(self.virtual_service(flags)?),
            Verb::DeleteService => Edit::DeleteService(service),
            Verb::Flush => Edit::Clear,
            Verb::AddServer => Edit::AddServer {
                service,
                server: self.server()?,
            },
            Verb::EditServer => Edit::EditServer {
                service,
                server: self.server()?,
            },
            Verb::DeleteServer => Edit::DeleteServer {
                service,
                address: self.real(),
            },
            Verb::Set => match timeouts {
                Some(timeouts) => Edit::SetTimeouts(timeouts),
                None => return refuse("--set option requires 3 timeout values"),
            },
            Verb::Zero => Edit::Zero(self.zeroed()),
            Verb::AddLocal | Verb::DeleteLocal => match (verb, self.local) {
                (_, None) => return Err(Stop::TryHelp),
                (Verb::AddLocal, Some(address)) => Edit::AddLocal { service, address },
                (_, Some(address)) => Edit::DeleteLocal { service, address },
            },
            Verb::List => return self.list().map(Command::List),
            Verb::Save => return Ok(Command::Save(self.format())),
            Verb::Restore => return Ok(Command::Restore),
            Verb::GetLocals => return Ok(Command::GetLocals(service)),
            Verb::StartDaemon => return Ok(Command::StartDaemon),
            Verb::StopDaemon => return Ok(Command::StopDaemon),
        };
        Ok(Command::Edit(edit))
    }

    fn virtual_service(self, flags: SchedulerFlags) -> Result<VirtualService, Stop> {
        let name = self.name();
        if self.mark.is_none() {
            if self.vport == 0 && self.persistent_s.is_none() {
                return refuse("Zero port specified for non-persistent service");
            }
            if self.one_packet && self.transport != Some(Transport::Udp) {
                return refuse("One-Packet Scheduling is only for UDP virtual services");
            }
        }
        Ok(VirtualService {
            name,
            scheduler: or_default(&self.scheduler).to_owned(),
            flags,
            persistence: self.persistent_s.map(|timeout_s| Persistence {
                timeout_s,
                netmask: self.netmask,
            }),
            persistence_module: self.persistence_module,
            one_packet: self.one_packet,
        })
    }

    fn real(&self) -> SocketAddr {
        SocketAddr::new(self.real.address, self.real.l4_port.unwrap_or(0))
    }

    fn server(&self) -> Result<RealServer, Stop> {
        let mut address = self.real();
        let is_one_way = match self.forwarding {
            Method::Tunnel | Method::Route => true,
            Method::Masquerade | Method::FullNat => false,
        };
        if is_one_way && self.mark.is_none() {
            address.set_port(self.vport);
        }
        let is_same_family = Some(Family::of(address.ip())) == self.family;
        if !is_same_family && !matches!(self.forwarding, Method::Tunnel | Method::FullNat) {
            return refuse("Different address family is allowed only for tunneling servers");
        }
        let about_tunnels = [
            Opt::TunType,
            Opt::TunPort,
            Opt::TunNocsum,
            Opt::TunCsum,
            Opt::TunRemcsum,
        ];
        if self.given.has_any(&about_tunnels) && self.forwarding != Method::Tunnel {
            return refuse("Tunnel options conflict with forward method");
        }
        self.given
            .check_tunnel(self.tunnel)
            .map_err(Stop::Refused)?;
        Ok(RealServer {
            address,
            forwarding: match self.forwarding {
                Method::Masquerade => Forwarding::Masquerade,
                Method::Route => Forwarding::Route,
                Method::FullNat => Forwarding::FullNat,
                Method::Tunnel => Forwarding::Tunnel(self.encapsulation()),
            },
            weight: self.weight,
            upper_threshold: self.upper_threshold,
            lower_threshold: self.lower_threshold,
        })
    }

    fn encapsulation(&self) -> Encapsulation {
        let checksum = if self.given.has(Opt::TunRemcsum) {
            TunnelChecksum::Remote
        } else if self.given.has(Opt::TunCsum) {
            TunnelChecksum::Full
        } else {
            TunnelChecksum::None
        };
        match self.tunnel {
            TunnelType::Ipip => Encapsulation::Ipip,
            TunnelType::Gre => Encapsulation::Gre { checksum },
            TunnelType::Gue => Encapsulation::Gue {
                destination_port: self.tunnel_port,
                checksum,
            },
        }
    }

    /// Which service `-Z` means: all of them if none is named, or 0.0.0.0 without an L4 port.
    fn zeroed(&self) -> Option<ServiceName> {
        let is_named = self.mark.is_some() || !self.address.is_unspecified() || self.vport != 0;
        is_named.then(|| self.name())
    }

    fn list(&self) -> Result<List, Stop> {
        let given = self.given;
        let is_no_table = given.has_any(&[Opt::Connection, Opt::Timeout, Opt::Daemon]);
        let has_counts = given.has_any(&[Opt::Stats, Opt::Rate, Opt::Thresholds]);
        let is_short = given.has_any(&[Opt::Timeout, Opt::Daemon]);
        if (is_no_table && has_counts) || (is_short && given.has(Opt::PersistentConnections)) {
            return refuse("options conflicts in the list command");
        }
        let what = if given.has(Opt::Connection) {
            Listed::Connections
        } else if given.has(Opt::Service) {
            Listed::Service(self.name())
        } else if given.has(Opt::Timeout) {
            Listed::Timeouts
        } else if given.has(Opt::Daemon) {
            Listed::Daemon
        } else {
            Listed::All
        };
        Ok(List {
            what,
            format: self.format(),
        })
    }

    fn format(&self) -> Format {
        let columns = [
            (Opt::Stats, Columns::Stats),
            (Opt::Rate, Columns::Rate),
            (Opt::Thresholds, Columns::Thresholds),
            (Opt::PersistentConnections, Columns::PersistentConnections),
            (Opt::TunInfo, Columns::TunnelInfo),
        ];
        let wanted = columns.iter().find(|(opt, _)| self.given.has(*opt));
        Format {
            is_numeric: self.is_numeric,
            is_exact: self.is_exact,
            is_unsorted: self.is_unsorted,
            columns: wanted.map_or(Columns::Plain, |(_, columns)| *columns),
        }
    }
}

/// A timeout in seconds.
pub(super) fn timeout(text: &str, low: i64) -> Result<u32, Stop> {
    match value::number(text, low, value::MAX_TIMEOUT_S) {
        Some(seconds) => Ok(seconds as u32),
        None => refuse(format!("invalid timeout value `{text}' specified")),
    }
}

fn bounded(text: &str, low: i64, high: i64, otherwise: &str) -> Result<u32, Stop> {
    match value::number(text, low, high) {
        Some(number) => Ok(number as u32),
        None => refuse(otherwise),
    }
}

/// The group of a synchronisation daemon, which weir has none of; refused as ipvsadm would.
fn require_multicast(text: &str) -> Result<(), Stop> {
    let (family, address) = match text.contains(':') {
        true => ("IPv6", text.parse().map(IpAddr::V6)),
        false => ("IPv4", text.parse().map(IpAddr::V4)),
    };
    match address {
        Ok(address) if address.is_multicast() => Ok(()),
        Ok(_) | Err(_) => refuse(format!("invalid {family} mcast-group `{text}'")),
    }
}

/// What an option counts as. What may come as often as one likes counts as nothing.
fn counted_as(saying: Saying) -> Option<Opt> {
    Some(match saying {
        Saying::TcpService | Saying::UdpService | Saying::SctpService | Saying::FwmarkService => {
            Opt::Service
        }
        Saying::Scheduler => Opt::Scheduler,
        Saying::Persistent => Opt::Persistent,
        Saying::Netmask => Opt::Netmask,
        Saying::RealServer => Opt::Server,
        Saying::Masquerading | Saying::Ipip | Saying::Gatewaying | Saying::FullNat => Opt::Forward,
        Saying::Weight => Opt::Weight,
        Saying::UpperThreshold => Opt::UpperThreshold,
        Saying::LowerThreshold => Opt::LowerThreshold,
        Saying::Numeric => Opt::Numeric,
        Saying::Connection => Opt::Connection,
        Saying::McastInterface => Opt::Mcast,
        Saying::SyncId => Opt::SyncId,
        Saying::Timeout => Opt::Timeout,
        Saying::Daemon => Opt::Daemon,
        Saying::Stats => Opt::Stats,
        Saying::Rate => Opt::Rate,
        Saying::Thresholds => Opt::Thresholds,
        Saying::PersistentConnections => Opt::PersistentConnections,
        Saying::NoSort => Opt::NoSort,
        Saying::Exact => Opt::Exact,
        Saying::OnePacket => Opt::OnePacket,
        Saying::PersistenceModule => Opt::PersistenceModule,
        Saying::SchedulerFlags => Opt::SchedulerFlags,
        Saying::McastGroup => Opt::McastGroup,
        Saying::McastPort => Opt::McastPort,
        Saying::McastTtl => Opt::McastTtl,
        Saying::SyncMaxlen => Opt::SyncMaxlen,
        Saying::TunInfo => Opt::TunInfo,
        Saying::TunType => Opt::TunType,
        Saying::TunPort => Opt::TunPort,
        Saying::TunNocsum => Opt::TunNocsum,
        Saying::TunCsum => Opt::TunCsum,
        Saying::TunRemcsum => Opt::TunRemcsum,
        Saying::LocalAddress => Opt::LocalAddress,
        Saying::LocalInterface => Opt::LocalInterface,
        Saying::Sort | Saying::Ipv6 => return None,
    })
}
