//! What the server asks of the process it runs in.
//!
//! Promises: nothing is asked for that would need an answer of unbounded size but the configuration itself.
//! Does not know: JSON, sockets, clients.

use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};
use weir_config::ipvs::{Edit, EditError, Timeouts};
use weir_config::{Change, Errors};

use crate::ipvsadm::ListedService;
use crate::rows::{
    ConnectionPage, DropRow, NeighbourRow, PortRow, RouteRow, ServiceRow, StatusRow, WorkerRow,
};

/// The daemon as the admin socket sees it. Implementations may write the methods as `async fn`.
///
/// All calls come from one thread. Questions may overlap; of `config_diff`, `config_apply` and `edit` only one runs
/// at a time. A call whose client hangs up is still carried to its end.
pub trait Daemon: 'static {
    /// The daemon at a glance.
    fn status(&self) -> impl Future<Output = Result<StatusRow, Refusal>>;
    /// All NIC ports.
    fn ports(&self) -> impl Future<Output = Result<Vec<PortRow>, Refusal>>;
    /// All services, in the order of the configuration.
    fn services(&self) -> impl Future<Output = Result<Vec<ServiceRow>, Refusal>>;
    /// Up to `limit` living connections from `cursor` on: 0, or the `next` that an earlier page held. `limit` is 1 to
    /// [`crate::ConnectionParams::MAX_LIMIT`]; any `cursor` may come, as users write what they like.
    fn connections(
        &self,
        cursor: u64,
        limit: usize,
    ) -> impl Future<Output = Result<ConnectionPage, Refusal>>;
    /// All neighbours.
    fn neighbours(&self) -> impl Future<Output = Result<Vec<NeighbourRow>, Refusal>>;
    /// All routes.
    fn routes(&self) -> impl Future<Output = Result<Vec<RouteRow>, Refusal>>;
    /// All reasons, those never met included.
    fn drops(&self) -> impl Future<Output = Result<Vec<DropRow>, Refusal>>;
    /// All workers.
    fn workers(&self) -> impl Future<Output = Result<Vec<WorkerRow>, Refusal>>;
    /// The running configuration as RON.
    fn config(&self) -> impl Future<Output = Result<String, Refusal>>;
    /// What `config_apply` would change, changing nothing. Refused: a candidate that is not valid.
    fn config_diff(
        &self,
        candidate: Candidate,
    ) -> impl Future<Output = Result<Difference, Refusal>>;
    /// Makes the running state that of the candidate, all or nothing.
    fn config_apply(&self, candidate: Candidate) -> impl Future<Output = Result<Applied, Refusal>>;
    /// All services in IPVS's words, those of firewall marks included, in the order of the configuration.
    fn ipvs(&self) -> impl Future<Output = Result<Vec<ListedService>, Refusal>>;
    /// How long silent connections are kept.
    fn timeouts(&self) -> impl Future<Output = Result<Timeouts, Refusal>>;
    /// Makes changes in their order, and tells of each what came of it. They are live when this returns.
    fn edit(
        &self,
        edits: Vec<Edit>,
    ) -> impl Future<Output = Result<Vec<Result<(), EditError>>, Refusal>>;
}

/// A configuration that is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The file that the daemon was started with, as it is now.
    OwnFile,
    /// Text that somebody sent.
    Text {
        /// RON.
        text: String,
        /// What errors call it; nothing is read from there.
        file_name: String,
    },
}

/// What applying a candidate would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// One line each: `- destination 10.0.0.12:80 of tcp 192.0.2.100:80`. Empty: nothing.
    pub changes: Vec<String>,
    /// Why a running daemon would refuse them although the candidate is valid; null: it would not.
    pub refusal: Option<String>,
}

impl From<&[Change]> for Difference {
    fn from(changes: &[Change]) -> Self {
        Self {
            changes: changes.iter().map(Change::to_string).collect(),
            refusal: weir_config::refusal(changes),
        }
    }
}

/// What applying a candidate has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// As in [`Difference`]. Empty: nothing was published.
    pub changes: Vec<String>,
    /// The generation that runs now.
    pub generation: u64,
    /// Workers that do not run it yet, for they have not answered for a while.
    #[serde(default)]
    pub not_adopted_by: Vec<u32>,
}

/// Why something is not done: a sentence for people; for a configuration one line per error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// `sentence` says what is wrong and what to do.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Errors> for Refusal {
    /// `FILE:LINE:COLUMN: sentence`, one line each.
    fn from(errors: Errors) -> Self {
        Self(errors.to_string())
    }
}
