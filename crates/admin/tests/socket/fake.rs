//! A daemon that forwards nothing, and a server for it in a thread or in a process of its own.
//!
//! Promises: its configuration is a real one, so that differences and errors are those of the real thing; a server
//! ends with its value.

use std::cell::{Cell, RefCell};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::{Notify, oneshot};
use weir_admin::ipvsadm::{ListedServer, ListedService, Traffic};
use weir_admin::{
    Applied, Candidate, Client, ConnectionPage, ConnectionRow, Daemon, DestinationRow, Difference,
    DropRow, Limits, Listener, NeighbourRow, PortRow, Refusal, RouteRow, Server, ServiceRow,
    StatusRow, WorkerRow,
};
use weir_config::Config;
use weir_config::ipvs::{Edit, EditError, Timeouts, running};

/// Long enough for a machine that is busy with a compiler.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const CONFIG: &str = r#"(
    runtime: (workers: [0], memory: Anonymous(mib: 256), connections: 1000),
    ports: { "wan": (device: AfPacket("eth1"), addresses: ["192.0.2.10/24"]),
             "lan": (device: AfPacket("eth2"), addresses: ["10.0.0.1/24"]) },
    routes: [(to: "0.0.0.0/0", via: "192.0.2.1")],
    local_pools: { "default": ["10.0.0.200"] },
    services: [(vip: "192.0.2.100:80", protocol: Tcp, scheduler: Wrr, method: FullNat(local_pool: "default", client_address: Toa),
                destinations: [(address: "10.0.0.11:8080", weight: 100), (address: "10.0.0.12:80", weight: 50)])],
)"#;

/// What the daemon reads when it is told to read its own file: one destination less.
pub(crate) fn own_file() -> String {
    CONFIG.replace(r#", (address: "10.0.0.12:80", weight: 50)"#, "")
}

pub(crate) struct Fake {
    n_connections: u32,
    config: RefCell<Config>,
    generation: Cell<u64>,
    /// `neighbours` answers only after `routes` was asked for.
    routes_were_asked_for: Notify,
}

impl Fake {
    pub(crate) fn new(n_connections: u32) -> Self {
        Self {
            n_connections,
            config: RefCell::new(parse(CONFIG, "weir.ron").unwrap()),
            generation: Cell::new(1),
            routes_were_asked_for: Notify::new(),
        }
    }
}

fn parse(text: &str, file_name: &str) -> Result<Config, Refusal> {
    Ok(Config::parse(text, file_name, &[0, 1])?)
}

fn resolve(candidate: Candidate) -> Result<Config, Refusal> {
    match candidate {
        Candidate::OwnFile => parse(&own_file(), "weir.ron"),
        Candidate::Text { text, file_name } => parse(&text, &file_name),
    }
}

pub(crate) fn connection(number: u32) -> ConnectionRow {
    let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 51, 100, 0)) + number % 200);
    ConnectionRow {
        protocol: "tcp".into(),
        client: SocketAddr::from((client, 40000)),
        virtual_endpoint: match number % 2 {
            0 => "192.0.2.100:80".parse().unwrap(),
            _ => "192.0.2.100:443".parse().unwrap(),
        },
        local: Some("10.0.0.200:1024".parse().unwrap()),
        destination: "10.0.0.11:8080".parse().unwrap(),
        state: "ESTABLISHED".into(),
        expires_s: 900,
        worker: number % 2,
        inbound_bytes: u64::from(number),
        outbound_bytes: 0,
    }
}

impl Daemon for Fake {
    async fn status(&self) -> Result<StatusRow, Refusal> {
        Ok(StatusRow {
            version: "0.1.0".into(),
            uptime_s: 3661,
            pid: std::process::id(),
            generation: self.generation.get(),
            config_file: "weir.ron".into(),
            workers: 1,
            ports: 2,
            services: 1,
            destinations: 2,
            connections: self.n_connections.into(),
            capacity: 1000,
            memory_mib: 256,
            warnings: vec!["the port lan has no link; look at the cable".into()],
        })
    }

    async fn ports(&self) -> Result<Vec<PortRow>, Refusal> {
        Ok(vec![PortRow {
            port: "wan".into(),
            device: "net_af_packet0".into(),
            driver: "net_af_packet".into(),
            mac: "02:00:00:00:00:01".into(),
            addresses: vec!["192.0.2.10/24".into()],
            link: "up".into(),
            link_mbits: Some(10000),
            mtu: 1500,
            receive_queues: 1,
            transmit_queues: 1,
            rss: "the port tells no key, so weir's own hash chooses the worker".into(),
            received_packets: 1,
            received_bytes: 64,
            missed_packets: 0,
            receive_errors: 0,
            no_buffer: 0,
            transmitted_packets: 2,
            transmitted_bytes: 128,
            transmit_errors: 0,
        }])
    }

    async fn services(&self) -> Result<Vec<ServiceRow>, Refusal> {
        Ok(vec![ServiceRow {
            service: "tcp/192.0.2.100:80".parse().unwrap(),
            scheduler: "wrr".into(),
            also: Vec::new(),
            persistent: None,
            method: "FullNat".into(),
            local_ports_exhausted: 7,
            destinations: vec![DestinationRow {
                address: "10.0.0.11:8080".parse().unwrap(),
                weight: 100,
                method: "FullNat".into(),
                active: 3,
                inactive: 4,
                connections: 12,
                inbound_packets: 5,
                inbound_bytes: 6,
                outbound_packets: 8,
                outbound_bytes: 9,
            }],
        }])
    }

    async fn connections(&self, cursor: u64, limit: usize) -> Result<ConnectionPage, Refusal> {
        let end = cursor
            .saturating_add(limit as u64)
            .min(self.n_connections.into());
        Ok(ConnectionPage {
            connections: (cursor..end)
                .map(|number| connection(number as u32))
                .collect(),
            next: (end < self.n_connections.into()).then_some(end),
        })
    }

    async fn neighbours(&self) -> Result<Vec<NeighbourRow>, Refusal> {
        self.routes_were_asked_for.notified().await;
        Ok(vec![NeighbourRow {
            address: "10.0.0.11".parse().unwrap(),
            mac: None,
            port: "lan".into(),
            state: "incomplete".into(),
            confirmed_s: None,
        }])
    }

    async fn routes(&self) -> Result<Vec<RouteRow>, Refusal> {
        self.routes_were_asked_for.notify_one();
        Ok(vec![RouteRow {
            to: "0.0.0.0/0".into(),
            via: Some("192.0.2.1".parse().unwrap()),
            port: "wan".into(),
            origin: "static".into(),
        }])
    }

    async fn drops(&self) -> Result<Vec<DropRow>, Refusal> {
        let row = |reason: &str, count| DropRow {
            reason: reason.into(),
            count,
            explanation: format!("What {reason} means."),
        };
        Ok(vec![row("no_service", 3), row("too_big", 0)])
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Refusal> {
        Err(Refusal::new("the workers do not answer; look at the log"))
    }

    async fn config(&self) -> Result<String, Refusal> {
        Ok(weir_config::to_ron(&self.config.borrow()))
    }

    async fn config_diff(&self, candidate: Candidate) -> Result<Difference, Refusal> {
        let new = resolve(candidate)?;
        let changes = weir_config::diff(&self.config.borrow(), &new);
        Ok(Difference::from(&changes[..]))
    }

    async fn config_apply(&self, candidate: Candidate) -> Result<Applied, Refusal> {
        let new = resolve(candidate)?;
        let changes = weir_config::diff(&self.config.borrow(), &new);
        let Difference { changes, refusal } = Difference::from(&changes[..]);
        if let Some(refusal) = refusal {
            return Err(Refusal::new(refusal));
        }
        if !changes.is_empty() {
            self.config.replace(new);
            self.generation.set(self.generation.get() + 1);
        }
        let generation = self.generation.get();
        Ok(Applied {
            changes,
            generation,
            not_adopted_by: Vec::new(),
        })
    }

    async fn ipvs(&self) -> Result<Vec<ListedService>, Refusal> {
        let table = running::table(&self.config.borrow());
        let listed = table.entries().map(|entry| ListedService {
            service: entry.service.clone(),
            totals: Traffic::default(),
            rates: Traffic::default(),
            locals: Vec::new(),
            servers: entry
                .servers
                .iter()
                .map(|server| ListedServer {
                    server: *server,
                    active: 0,
                    inactive: 0,
                    persistent: 0,
                    totals: Traffic::default(),
                    rates: Traffic::default(),
                })
                .collect(),
        });
        Ok(listed.collect())
    }

    async fn timeouts(&self) -> Result<Timeouts, Refusal> {
        Ok(running::table(&self.config.borrow()).timeouts)
    }

    async fn edit(&self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, Refusal> {
        let (config, outcomes) = running::edit(&self.config.borrow(), &edits, &[0]);
        self.config.replace(config);
        Ok(outcomes)
    }
}

/// A server in a thread of this process.
pub(crate) struct Running {
    pub(crate) socket: PathBuf,
    folder: TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn new() -> Self {
        Self::start(10, Limits::default())
    }

    pub(crate) fn with_connections(n_connections: u32) -> Self {
        Self::start(n_connections, Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::start(10, limits)
    }

    fn start(n_connections: u32, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let listener = Listener::bind(&socket).unwrap();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            block_on(async move {
                let daemon = Rc::new(Fake::new(n_connections));
                tokio::select! {
                    served = Server::new(listener, daemon, limits).serve() => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self {
            socket,
            folder,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.socket).unwrap()
    }

    /// For files of the test's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until `serve` has returned by itself.
    pub(crate) fn join(mut self) -> PathBuf {
        self.thread.take().unwrap().join().unwrap();
        self.socket.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "the server panicked");
        }
    }
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Asks again and again until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

const SOCKET_OF_PROCESS: &str = "WEIR_TEST_SOCKET";

/// A server in a process of its own: this test program again, running one test only.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(socket: &Path) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "fake::a_daemon_for_other_tests"])
            .env(SOCKET_OF_PROCESS, socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        wait_for("the daemon to answer", || {
            assert_eq!(process.0.try_wait().unwrap(), None, "the daemon has ended");
            Client::connect(socket).ok()
        });
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_for_other_tests() {
    let Some(socket) = env::var_os(SOCKET_OF_PROCESS) else {
        return;
    };
    let listener = Listener::bind(Path::new(&socket)).unwrap();
    let server = Server::new(listener, Rc::new(Fake::new(10)), Limits::default());
    block_on(server.serve()).unwrap();
}
