//! `weir run`: from reading the configuration to the orderly end.
//!
//! Promises: SIGTERM, SIGINT and `weir stop` end it in order, SIGHUP reloads its file. systemd, if it is there, is
//! told when it is ready, reloads, and lives.
//! Does not know: how the appliance is built, or what the admin socket is asked.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::net::UnixDatagram;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};
use weir_admin::{Candidate, Daemon, Limits, ListenError, Listener, Server};
use weir_config::Config;
use weir_config::sizing::Sizing;

use crate::appliance::{Appliance, StartError};
use crate::arguments::{LogFormat, Run};
use crate::daemon::{Running, allowed_cpus};

/// The slow path does what is due at least this often, whether a bell rings or not.
const TURN_AT_LEAST_EVERY: Duration = Duration::from_millis(1);
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// Why the daemon does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The configuration cannot be read.
    #[error("{} cannot be read: {error}; check the name and its rights", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] weir_config::Errors),
    /// The admin socket is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The control thread's runtime.
    #[error("the control thread cannot run: {0}; raise the limit on open files")]
    Runtime(#[from] io::Error),
    /// A worker has ended.
    #[error("a worker ended unexpectedly; please report what it said above")]
    LostWorker,
}

/// Reads and checks a configuration for this machine.
pub(crate) fn read_config(file: &Path) -> Result<Config, RunError> {
    let text = std::fs::read_to_string(file).map_err(|error| RunError::Unreadable {
        file: file.to_owned(),
        error,
    })?;
    Ok(Config::parse(
        &text,
        &file.display().to_string(),
        &allowed_cpus(),
    )?)
}

/// Runs until it is told to end. `socket` takes the place of the configuration's admin socket.
pub(crate) fn run(arguments: &Run, socket: Option<&Path>) -> Result<(), RunError> {
    log_to_standard_error(arguments.log_format);
    let mut config = read_config(&arguments.config)?;
    if let Some(socket) = socket {
        config.runtime.admin_socket = socket.to_owned();
    }
    // A second daemon is refused before anything is touched.
    let listener = Listener::bind(&config.runtime.admin_socket)?;
    let (appliance, bell) = Appliance::start(&config)?;
    log_start(&config, &appliance);
    let appliance = Rc::new(RefCell::new(appliance));
    let running = Running::new(
        Rc::clone(&appliance),
        config,
        absolute(&arguments.config),
        socket.map(Path::to_owned),
    );
    let outcome = serve(&appliance, bell, listener, running);
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
    if let Some(appliance) = Rc::into_inner(appliance) {
        appliance.into_inner().stop();
    }
    info!("ended");
    outcome
}

/// The control thread: slow path, admin socket, signals.
fn serve(
    appliance: &Rc<RefCell<Appliance>>,
    bell: std::os::unix::net::UnixDatagram,
    listener: Listener,
    running: Running,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let running = Rc::new(running);
    let server = Server::new(listener, Rc::clone(&running), Limits::default());
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let bell = UnixDatagram::from_std(bell)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
        info!("ready");
        tokio::select! {
            served = server.serve() => served.map_err(RunError::from),
            outcome = slow_path(appliance, &bell) => outcome,
            outcome = reload_on_hangup(&running) => outcome,
            () = every_second(&running) => Err(RunError::LostWorker),
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })
}

/// Lets the slow path take its turns, for ever.
async fn slow_path(
    appliance: &Rc<RefCell<Appliance>>,
    bell: &UnixDatagram,
) -> Result<(), RunError> {
    let mut byte = [0];
    let mut at_least = interval(TURN_AT_LEAST_EVERY);
    at_least.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            rung = bell.recv(&mut byte) => {
                rung?;
            }
            _ = at_least.tick() => {}
        }
        let mut appliance = appliance.borrow_mut();
        appliance.control.turn(Instant::now());
        while let Some(event) = appliance.control.slow_path.take_event() {
            warn!("{event}");
        }
    }
}

/// Reloads the daemon's own file at every SIGHUP.
async fn reload_on_hangup(running: &Running) -> Result<(), RunError> {
    let mut hangup = signal(SignalKind::hangup())?;
    while hangup.recv().await.is_some() {
        let began = NotifyState::monotonic_usec_now().into_iter();
        let _ = sd_notify::notify(
            false,
            &std::iter::once(NotifyState::Reloading)
                .chain(began)
                .collect::<Vec<_>>(),
        );
        if let Err(refusal) = running.config_apply(Candidate::OwnFile).await {
            error!("not reloaded: {refusal}");
        }
        let _ = sd_notify::notify(false, &[NotifyState::Ready]);
    }
    Ok(())
}

/// Measures (rates every other time), and tells systemd that the daemon lives, as long as its workers do.
async fn every_second(running: &Running) {
    let mut second = interval(MEASURE_EVERY);
    let mut ends_window = false;
    loop {
        second.tick().await;
        running.measure_busy();
        if ends_window {
            running.end_window();
        }
        ends_window = !ends_window;
        if running.has_lost_a_worker() {
            return;
        }
        let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
    }
}

fn log_to_standard_error(format: LogFormat) {
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// What was chosen and why: one line for the whole, one for each port.
fn log_start(config: &Config, appliance: &Appliance) {
    info!(
        workers = ?config.runtime.workers,
        connections = config.runtime.connections,
        memory_mib = appliance.memory_mib,
        "weir {}: {} per worker, {} MiB",
        env!("CARGO_PKG_VERSION"),
        Sizing::of(config).connections(),
        appliance.memory_mib
    );
    for open in &appliance.ports {
        info!(
            port = open.facts.name,
            "{} is {} by {}, MAC {}, MTU {}, {} receive and {} transmit queues: {}",
            open.facts.name,
            open.info.device,
            open.info.driver,
            open.facts.mac,
            open.facts.mtu,
            open.info.n_rx_queues,
            open.info.n_tx_queues,
            open.spread.why
        );
    }
}

/// The file as it is found from anywhere.
fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}
