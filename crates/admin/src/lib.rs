//! The local admin socket: JSON-RPC 2.0, one object per line, over a Unix stream socket.
//!
//! Promises: nothing that is sent there panics, stops the daemon or holds it up; whoever is neither root nor the
//! daemon's own user or group is turned away; a person gets tables, a program gets one array of flat objects, and
//! whoever gets neither gets one sentence that says what is wrong and what to do.
//!
//! Does not know: what the daemon is made of; it asks through [`Daemon`] and gets rows.
//!
//! # How it works
//!
//! | file | holds |
//! |---|---|
//! | `method` | the names of all methods and what each takes |
//! | `rows` | what they return: one type per table |
//! | `daemon` | what the server asks of the process |
//! | `protocol` | JSON-RPC 2.0: one line to requests, answers to one line |
//! | `dispatch` | a line in, its answer out |
//! | `listener` | taking the socket, and who may speak on it |
//! | `server` | the connected clients, each bounded in everything |
//! | `client` | the other end |
//! | `show` | `weir status`, `weir services` and the other tables |
//! | `people`, `table` | what a person sees of each table, in columns |
//! | `ipvsadm` | the commands of ipvsadm |
//! | `command` | `weir reload`, `weir config save`, `weir stop`, and why a command fails |

mod client;
mod command;
mod daemon;
mod dispatch;
pub mod ipvsadm;
mod label;
mod listener;
mod method;
mod people;
mod protocol;
mod rows;
mod server;
mod show;
mod table;

pub use client::{Client, ClientError};
pub use command::{Attempt, Failure, config_save, reload, stop};
pub use daemon::{Applied, Candidate, Daemon, Difference, Refusal};
pub use dispatch::{Answer, Dispatcher};
pub use label::ServiceLabel;
pub use listener::{ListenError, Listener};
pub use method::{
    ConfigParams, ConnectionParams, DestinationAddressParams, DestinationParams, EditParams,
    Method, ServiceParams, WeightParams,
};
pub use rows::{
    ConnectionPage, ConnectionRow, DestinationRow, DropRow, NeighbourRow, PortRow, RouteRow,
    ServiceRow, StatusRow, WorkerRow,
};
pub use server::{Limits, Server};
pub use show::{Format, Table, View, show};

/// Where the admin socket is unless something else is said.
pub const DEFAULT_SOCKET: &str = "/run/weir/admin.sock";
