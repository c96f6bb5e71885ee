//! The director under test: the real binary in the director's namespace, spoken to as an operator would.
//!
//! Promises: [`Director::start`] returns when `weir status` answers; [`Director::stop`] succeeds only if the daemon
//! ended in order on SIGTERM; a daemon that is dropped without it is killed.
//! Does not know: anything about weir that its command line does not show.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Map, Value};

use crate::command;
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::Topology;

/// DPDK's start takes a second or two; a machine shared with a compiler takes longer.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A row of one of the binary's tables.
pub type Row = Map<String, Value>;

/// A running daemon.
#[derive(Debug)]
pub struct Director {
    process: Process,
    binary: PathBuf,
    config: PathBuf,
    socket: PathBuf,
}

/// Where the daemon of a lab has its admin socket.
pub fn socket_path(lab: &Lab) -> PathBuf {
    lab.folder().join("admin.sock")
}

/// Where the configuration of a lab's daemon is written.
pub fn config_path(lab: &Lab) -> PathBuf {
    lab.folder().join("weir.ron")
}

/// A program of this workspace that was built together with the running one: in the same folder or, for tests, which
/// run from `deps/`, in the one above. `WEIR_BINARY` overrules it for `weir`.
pub fn built(name: &str) -> Result<PathBuf> {
    if let (Some(path), "weir") = (std::env::var_os("WEIR_BINARY"), name) {
        return Ok(path.into());
    }
    let program = std::env::current_exe().context("the running program has no path")?;
    let beside = program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name));
    match beside.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "the binary {name} is not built; run `cargo build` first, or all of it by `cargo xtask test`"
        ),
    }
}

impl Director {
    /// Writes `config` into the lab's folder, starts `binary run` on it and waits until it answers.
    pub fn start(topology: &Topology, binary: &Path, config: &str) -> Result<Self> {
        Self::start_in(&topology.lab, &topology.director, binary, config)
    }

    /// The same in `namespace`, whatever machines there are around it.
    pub fn start_in(lab: &Lab, namespace: &Namespace, binary: &Path, config: &str) -> Result<Self> {
        let folder = lab.folder();
        let config_path = config_path(lab);
        write_config(&config_path, config)?;
        let socket = socket_path(lab);
        let mut command = namespace.command(binary);
        command
            .args(["run", "--config"])
            .arg(&config_path)
            .env("WEIR_SOCKET", &socket);
        let process = Process::start(&mut command, folder.join("weir.log"))?;
        let mut director = Self {
            process,
            binary: binary.to_owned(),
            config: config_path,
            socket,
        };

        let mut status = director.command(&["status", "--json"]);
        director
            .process
            .wait_until("weir to answer `weir status`", START_LIMIT, || {
                let answer = command::output(&mut status)?;
                Ok(serde_json::from_slice::<Vec<Row>>(&answer.stdout)
                    .ok()
                    .map(drop))
            })
            .with_context(|| format!("weir did not start with this configuration:\n{config}"))?;
        Ok(director)
    }

    /// A `weir` command with `words`, addressed to this daemon.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).arg("--socket").arg(&self.socket);
        command
    }

    /// Runs a `weir` command to its end, whatever its exit code.
    pub fn output(&self, words: &[&str]) -> Result<Output> {
        command::output(&mut self.command(words))
    }

    /// One of the tables: `weir NAME --json`.
    pub fn table(&self, name: &str) -> Result<Vec<Row>> {
        let text = command::run(&mut self.command(&[name, "--json"]))?;
        serde_json::from_str(&text)
            .with_context(|| format!("`weir {name} --json` printed no array of objects: {text}"))
    }

    /// The counts of `weir drops`, by reason; reasons never met may be missing.
    pub fn drops(&self) -> Result<std::collections::BTreeMap<String, u64>> {
        self.table("drops")?
            .into_iter()
            .map(|row| {
                let reason = row
                    .get("reason")
                    .and_then(Value::as_str)
                    .context("a drop without a reason")?;
                let count = row
                    .get("count")
                    .and_then(Value::as_u64)
                    .context("a drop without a count")?;
                Ok((reason.to_owned(), count))
            })
            .collect()
    }

    /// Has `line`, without the word `ipvsadm`, done: `weir ipvsadm LINE`.
    ///
    /// Errors: it was refused, or had something to say.
    pub fn ipvsadm(&self, line: &str) -> Result<()> {
        let said = self.listed(line)?;
        ensure!(said.is_empty(), "`ipvsadm {line}` said: {said}");
        Ok(())
    }

    /// What `weir ipvsadm LINE` prints, for lines that list something.
    ///
    /// Errors: it was refused.
    pub fn listed(&self, line: &str) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command
            .arg("--socket")
            .arg(&self.socket)
            .arg("ipvsadm")
            .args(line.split_whitespace());
        command::run(&mut command)
    }

    /// Makes `config` the running configuration: `weir reload`.
    pub fn reload(&self, config: &str) -> Result<()> {
        write_config(&self.config, config)?;
        let config = self.config.display().to_string();
        command::run(&mut self.command(&["reload", "--config", &config])).map(drop)
    }

    /// Gives a key of the running configuration, one that stands there once and whose value is one word, another value,
    /// by a reload.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let running = command::run(&mut self.command(&["config", "save"]))?;
        let (before, after) = running
            .split_once(&format!("{key}: "))
            .with_context(|| format!("there is no {key} in what runs:\n{running}"))?;
        let after = after.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric());
        self.reload(&format!("{before}{key}: {value}{after}"))
    }

    /// What the daemon has logged.
    pub fn log(&self) -> String {
        self.process.printed()
    }

    /// The daemon's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for the daemon to end by itself.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait_for_end(limit)
    }

    /// Ends the daemon by SIGTERM.
    ///
    /// Errors: it did not end in time, or not with exit code 0.
    pub fn stop(self) -> Result<()> {
        let log = self.process.printed();
        let status = self.process.stop(Signal::SIGTERM, STOP_LIMIT)?;
        ensure!(
            status.success(),
            "weir ended with {status} on SIGTERM; its log:\n{log}"
        );
        Ok(())
    }

    /// Lets the daemon run on after its value is gone.
    pub fn leave_running(self) {
        self.process.leave_running();
    }
}

fn write_config(path: &Path, config: &str) -> Result<()> {
    std::fs::write(path, config).with_context(|| format!("{} cannot be written", path.display()))
}
