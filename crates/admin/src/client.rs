//! The other end of the admin socket, for programs that may wait.
//!
//! Promises: every failure is one sentence that says what to do; nothing waits for ever.
//! Does not know: what to make of the answers.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::listener;
use crate::method::Method;
use crate::protocol::{self, Reply};

/// How long a configuration may take: one of ten thousand services takes seconds on a busy machine.
const PATIENCE_FOR_CHANGES: Duration = Duration::from_secs(60);
/// How long anything else may take; it may wait for a configuration that is being published.
const PATIENCE_FOR_ANSWERS: Duration = Duration::from_secs(10);

/// Why there is no answer, or not the one hoped for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No daemon is there, or none that lets us speak.
    #[error("{0}")]
    Unreachable(String),
    /// The daemon says no; its own words.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    last_id: u64,
}

impl Client {
    /// Connects to the daemon whose admin socket is `path`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = listener::connect(path)
            .map_err(|error| ClientError::Unreachable(no_connection(path, error)))?;
        let set_up = stream
            .set_nonblocking(false)
            .and_then(|()| wait_no_longer(&stream, PATIENCE_FOR_CHANGES));
        set_up.map_err(|error| unusable(path, &error))?;
        Ok(Self {
            stream: BufReader::new(stream),
            path: path.to_owned(),
            last_id: 0,
        })
    }

    /// The daemon's process, if it has a number here.
    pub fn process(&self) -> Option<i32> {
        listener::process_of(self.stream.get_ref())
    }

    /// Has `method` done and returns what it returns; `params` is a struct, `()` for none is written as `null`.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        method: Method,
        params: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.last_id += 1;
        let line = protocol::call(method.name(), params, self.last_id).map_err(|error| {
            ClientError::Refused(format!("{} cannot be asked for: {error}", method.name()))
        })?;
        let patience = patience(method);
        wait_no_longer(self.stream.get_ref(), patience)
            .map_err(|error| unusable(&self.path, &error))?;
        // A server that hangs up has usually said why: a failed write is told only if there is nothing to read.
        let written = self.stream.get_mut().write_all(line.as_bytes());
        let mut answer = Vec::new();
        let read = self.stream.read_until(b'\n', &mut answer);
        if answer.is_empty() {
            return Err(self.silent(written.and(read.map(drop)).err(), patience));
        }
        let reply: Reply = serde_json::from_slice(&answer).map_err(|_| self.foreign())?;
        match reply {
            Reply {
                error: Some(error), ..
            } if error.code == protocol::TURNED_AWAY => {
                Err(ClientError::Unreachable(error.message))
            }
            Reply {
                error: Some(error), ..
            } => Err(ClientError::Refused(error.message)),
            Reply {
                result: Some(result),
                id: Some(id),
                ..
            } if id == self.last_id => {
                serde_json::from_str(result.get()).map_err(|_| self.foreign())
            }
            Reply { .. } => Err(self.foreign()),
        }
    }

    /// Waits until the daemon hangs up, or for as long as a configuration may take.
    pub(crate) fn wait_for_end(mut self) {
        // As it was before, should it not be possible.
        let _ = wait_no_longer(self.stream.get_ref(), PATIENCE_FOR_CHANGES);
        // Whatever comes first, the end or an error, there is nobody to speak to any more.
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    fn silent(&self, error: Option<io::Error>, patience: Duration) -> ClientError {
        let path = self.path.display();
        let seconds = patience.as_secs();
        ClientError::Unreachable(match error.map(|error| error.kind()) {
            Some(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                format!(
                    "the weir at {path} has not answered for {seconds} s; see whether it is stopped, and its log"
                )
            }
            Some(_) | None => {
                format!(
                    "the weir at {path} has hung up without an answer; see whether it still runs, and its log"
                )
            }
        })
    }

    fn foreign(&self) -> ClientError {
        ClientError::Unreachable(format!(
            "what answers at {} does not speak as this weir does; use the binary that the daemon was started from",
            self.path.display()
        ))
    }
}

/// How long an answer may take.
fn patience(method: Method) -> Duration {
    match method {
        Method::ConfigDiff
        | Method::ConfigApply
        | Method::IpvsEdit
        | Method::ServiceAdd
        | Method::ServiceEdit
        | Method::ServiceDelete
        | Method::DestinationAdd
        | Method::DestinationEdit
        | Method::DestinationDelete
        | Method::DestinationSetWeight
        | Method::TimeoutSet => PATIENCE_FOR_CHANGES,
        Method::StatusShow
        | Method::PortList
        | Method::ServiceList
        | Method::ConnectionList
        | Method::NeighbourList
        | Method::RouteList
        | Method::DropList
        | Method::WorkerList
        | Method::ConfigShow
        | Method::IpvsList
        | Method::TimeoutList
        | Method::DaemonStop => PATIENCE_FOR_ANSWERS,
    }
}

fn wait_no_longer(stream: &UnixStream, patience: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))
}

fn no_connection(path: &Path, error: Errno) -> String {
    let path = path.display();
    match error {
        Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR => format!(
            "no weir answers at {path}; start it with `weir run --config FILE`, or name its socket with --socket"
        ),
        Errno::ACCESS | Errno::PERM => format!(
            "you may not speak to the weir at {path}; try as root, or as the user or group that it runs as"
        ),
        Errno::AGAIN => {
            format!("the weir at {path} is too busy to answer; try again, or look at its log")
        }
        other => {
            format!("{path} cannot be connected to: {other}; name weir's socket with --socket")
        }
    }
}

fn unusable(path: &Path, error: &io::Error) -> ClientError {
    ClientError::Unreachable(format!(
        "{} cannot be used: {error}; name weir's socket with --socket",
        path.display()
    ))
}
