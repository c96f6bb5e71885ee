//! The names of all methods, and what those take that take something.
//!
//! Promises: one list; the server answers all of it and the client calls nothing else.
//! Does not know: what they return (`rows`, `daemon`).

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use weir_config::ipvs::{Edit, RealServer};

use crate::label::ServiceLabel;

macro_rules! methods {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// A method, `noun.verb`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Method {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name on the wire.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

methods! {
    /// The daemon at a glance. Returns one `StatusRow` in an array.
    StatusShow = "status.show",
    /// All NIC ports. Returns `PortRow`s.
    PortList = "port.list",
    /// All services with their destinations. Returns `ServiceRow`s.
    ServiceList = "service.list",
    /// A page of the living connections. Takes [`ConnectionParams`], returns a `ConnectionPage`.
    ConnectionList = "connection.list",
    /// All neighbours. Returns `NeighbourRow`s.
    NeighbourList = "neighbour.list",
    /// All routes. Returns `RouteRow`s.
    RouteList = "route.list",
    /// Packets dropped, by reason. Returns `DropRow`s.
    DropList = "drop.list",
    /// All workers. Returns `WorkerRow`s.
    WorkerList = "worker.list",
    /// The running configuration as RON. Returns a string.
    ConfigShow = "config.show",
    /// What applying a configuration would change. Takes [`ConfigParams`], returns a `Difference`.
    ConfigDiff = "config.diff",
    /// Makes a configuration the running one, all or nothing. Takes [`ConfigParams`], returns an `Applied`.
    ConfigApply = "config.apply",
    /// All services in IPVS's words. Returns `ListedService`s.
    IpvsList = "ipvs.list",
    /// Changes in IPVS's words, each after the one before it. Takes [`EditParams`], returns an array with null or an
    /// `EditError` for each.
    IpvsEdit = "ipvs.edit",
    /// Adds a service. Takes a `VirtualService`, returns `true`, as all below.
    ServiceAdd = "service.add",
    /// Changes a service. Takes a `VirtualService`.
    ServiceEdit = "service.edit",
    /// Removes a service. Takes [`ServiceParams`].
    ServiceDelete = "service.delete",
    /// Adds a real server to a service. Takes [`DestinationParams`].
    DestinationAdd = "destination.add",
    /// Changes a real server of a service. Takes [`DestinationParams`].
    DestinationEdit = "destination.edit",
    /// Removes a real server from a service. Takes [`DestinationAddressParams`].
    DestinationDelete = "destination.delete",
    /// Changes the weight of a real server alone. Takes [`WeightParams`].
    DestinationSetWeight = "destination.set_weight",
    /// How long silent connections are kept. Returns `Timeouts`.
    TimeoutList = "timeout.list",
    /// Sets them, those that are not 0. Takes `Timeouts`.
    TimeoutSet = "timeout.set",
    /// Ends the daemon in order, after the answer. Returns `true`.
    DaemonStop = "daemon.stop",
}

impl Method {
    /// The method called `name`.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|method| method.name() == name)
    }
}

/// What `connection.list` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionParams {
    /// Where to go on: 0, or the `next` of the page before.
    pub cursor: u64,
    /// How many to look at, 1 to [`Self::MAX_LIMIT`]; left out: that many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those of this service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceLabel>,
    /// Only those of this client, whatever its cport.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
}

impl ConnectionParams {
    /// The largest page: about a megabyte of text.
    pub const MAX_LIMIT: usize = 4096;
}

/// What `ipvs.edit` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditParams {
    /// In their order.
    pub edits: Vec<Edit>,
}

/// What `service.delete` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceParams {
    /// Which.
    pub service: ServiceLabel,
}

/// What `destination.add` and `destination.edit` take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationParams {
    /// Whose.
    pub service: ServiceLabel,
    /// What it is to be.
    pub destination: RealServer,
}

/// What `destination.delete` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestinationAddressParams {
    /// Whose.
    pub service: ServiceLabel,
    /// RIP and rport.
    pub address: SocketAddr,
}

/// What `destination.set_weight` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightParams {
    /// Whose.
    pub service: ServiceLabel,
    /// RIP and rport.
    pub address: SocketAddr,
    /// 0: no new connections.
    pub weight: u32,
}

/// What `config.diff` and `config.apply` take: both fields, or neither for the file the daemon was started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigParams {
    /// The configuration as RON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What errors call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
}
