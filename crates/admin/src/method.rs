//! The names of all methods, and what those take that take something.
//!
//! Promises: one list; the server answers all of it and the client calls nothing else.
//! Does not know: what they return (`rows`, `daemon`).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

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
