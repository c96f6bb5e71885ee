//! Start and end of the appliance, top to bottom: environment, ports, snapshot, workers, slow path.
//!
//! Promises: either everything runs, or nothing is left and one sentence says why. Ended in order, every packet
//! counted is published.
//! Does not know: the admin socket, signals.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use weir_config::compile::Numbers;
use weir_config::sizing::{self, Sizing};
use weir_config::{Config, Memory};
use weir_control::{Control, Limits, SlowPath};
use weir_director::{Director, Generation, Load, NextHopId, Seed, Sizes, Snapshot, Tick, WorkerId};
use weir_dpdk::{Eal, EalConfig, EalMemory};
use weir_memory::Pages;
use weir_worker::{
    Bell, Idle, Links, Listing, Mailbox, PortPlan, Published, Publisher, Worker, frame_ring,
    hand_off_rings,
};

use crate::cycles::CycleRate;
use crate::io::DpdkIo;
use crate::ports::{self, OpenPort, OpenPorts};
use crate::way::{self, Way};

/// Frames that wait for the control thread, per worker, and the other way.
const RING_FRAMES: usize = 1024;
/// Ethernet header with one VLAN tag, in bytes.
const ETHERNET_BYTES: usize = 18;

/// Everything that runs.
pub(crate) struct Appliance {
    /// The slow path and what publishes snapshots.
    pub(crate) control: Control,
    /// Numbers given out to services and destinations.
    pub(crate) numbers: Numbers,
    /// By `PortId`.
    pub(crate) ports: Vec<OpenPort>,
    /// By `WorkerId`.
    pub(crate) published: Arc<[Published]>,
    /// By `WorkerId`.
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    /// By `WorkerId`.
    pub(crate) listings: Vec<Arc<Listing>>,
    /// What the workers' cycles are in microseconds.
    pub(crate) cycle_rate: CycleRate,
    /// The next hops that the running configuration needs.
    pub(crate) needed: Vec<NextHopId>,
    /// MiB taken for buffers and tables.
    pub(crate) memory_mib: u64,
    workers: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    // Last, so that it ends after everything that lives in it.
    _eal: Eal,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// DPDK refuses.
    #[error(transparent)]
    Dpdk(#[from] weir_dpdk::Error),
    /// More than a director holds.
    #[error(transparent)]
    TooMuch(#[from] weir_config::compile::TooMuch),
    /// Something of the system is not to be had.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A worker could not start.
    #[error("worker {worker} on CPU {cpu} does not start: {reason}")]
    Worker {
        /// Which.
        worker: usize,
        /// Where.
        cpu: usize,
        /// Why.
        reason: String,
    },
}

impl StartError {
    fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

/// What a worker's thread is made of.
struct Crew {
    worker: WorkerId,
    cpu: usize,
    io: DpdkIo,
    plan: Vec<PortPlan>,
    links: Links<weir_dpdk::Mbuf>,
}

/// What all workers' threads share.
#[derive(Clone)]
struct Common {
    eal: Eal,
    sizes: Sizes,
    seed: Seed,
    first: Arc<Snapshot>,
    idle: Idle,
    began: Instant,
    stop: Arc<AtomicBool>,
}

impl Appliance {
    /// Starts everything that `config` asks for. The socket gets a byte when a worker punts.
    pub(crate) fn start(config: &Config) -> Result<(Self, UnixDatagram), StartError> {
        let began = Instant::now();
        // (1) Environment and ports.
        let sizing = Sizing::of(config);
        let eal = Eal::init(&EalConfig {
            pci: config
                .ports
                .iter()
                .filter_map(|port| ports::dpdk_device(&port.device).pci_address())
                .collect(),
            ..EalConfig::new(eal_memory(config, &sizing))
        })?;
        let seed = random_seed()?;
        let OpenPorts {
            ports,
            workers,
            steering,
        } = ports::open(&eal, config, seed)?;
        // (2) The slow path and the first snapshot.
        let facts: Vec<_> = ports.iter().map(|port| port.facts.clone()).collect();
        let mut slow_path = SlowPath::new(facts.clone(), Limits::default(), began);
        let mut numbers = Numbers::default();
        let mut way = Way::new(&mut slow_path, began);
        let compiled = numbers.compile(config, &mut way, |_| Load::default())?;
        let needed = way.needed;
        slow_path.set_limits(way::limits(&compiled.settings));
        slow_path.set_addresses(
            facts,
            &compiled.addresses,
            Arc::clone(&compiled.routes),
            began,
        );
        let n_workers = config.runtime.workers.len();
        let first = Arc::new(Snapshot {
            generation: Generation(1),
            next_hops: Arc::new(slow_path.next_hops()),
            steering: Arc::new(steering),
            services: compiled.services,
            routes: compiled.routes,
            tunnels: compiled.tunnels,
            path_mtus: Arc::default(),
            addresses: compiled.addresses,
            counted: compiled.counted,
            settings: compiled.settings,
        });
        // (3) What ties the threads together.
        let (bell, rings) =
            Bell::new().map_err(StartError::system("no socket pair for the control thread"))?;
        let frame_bytes = ports
            .iter()
            .map(|port| usize::from(port.facts.mtu) + ETHERNET_BYTES)
            .max()
            .unwrap_or(0);
        let mailboxes: Vec<_> = (0..n_workers)
            .map(|_| Arc::new(Mailbox::default()))
            .collect();
        let listings: Vec<_> = (0..n_workers)
            .map(|_| Arc::new(Listing::default()))
            .collect();
        let published: Arc<[_]> = (0..n_workers).map(|_| Published::default()).collect();
        let hand_offs = hand_off_rings(
            n_workers as u8,
            sizing::hand_off_ring(n_workers as u32) as usize,
        );
        let (punt_senders, punts): (Vec<_>, Vec<_>) = (0..n_workers)
            .map(|_| frame_ring(RING_FRAMES, frame_bytes, Some(bell.clone())))
            .unzip();
        let (orders, order_receivers): (Vec<_>, Vec<_>) = (0..n_workers)
            .map(|_| frame_ring(RING_FRAMES, frame_bytes, None))
            .unzip();
        let publisher = Publisher::new(mailboxes.clone(), Arc::clone(&first));
        // (4) The workers.
        let common = Common {
            eal: eal.clone(),
            sizes: Sizes {
                connections: config.runtime.connections,
                ipv6_connections: config.runtime.ipv6_connections,
                pages: pages(config),
            },
            seed,
            first: Arc::clone(&first),
            idle: idle(config),
            began,
            stop: Arc::new(AtomicBool::new(false)),
        };
        let links = punt_senders
            .into_iter()
            .zip(order_receivers)
            .zip(hand_offs)
            .enumerate()
            .map(|(worker, ((punts, orders), hand_offs))| Links {
                mailbox: Arc::clone(&mailboxes[worker]),
                punts,
                orders,
                hand_offs,
                published: Arc::clone(&published),
                listing: Arc::clone(&listings[worker]),
            });
        let crews = workers
            .into_iter()
            .zip(links)
            .zip(&config.runtime.workers)
            .enumerate();
        let crews = crews.map(|(worker, (((io, plan), links), cpu))| Crew {
            worker: WorkerId(worker as u8),
            cpu: *cpu,
            io,
            plan,
            links,
        });
        let stop = Arc::clone(&common.stop);
        let workers = start_workers(crews.collect(), &common)?;
        // (5) The control thread's part.
        let control = Control::new(slow_path, publisher, &first, punts, orders);
        let appliance = Self {
            control,
            numbers,
            ports,
            published,
            mailboxes,
            listings,
            cycle_rate: CycleRate::new(),
            needed,
            memory_mib: sizing.mib(),
            workers,
            stop,
            _eal: eal,
        };
        Ok((appliance, rings))
    }

    /// Whether a worker's thread has ended, which none does before `stop`.
    pub(crate) fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().any(JoinHandle::is_finished)
    }

    /// Ends the workers; then the ports are closed.
    pub(crate) fn stop(mut self) {
        stop_workers(&self.stop, &mut self.workers);
    }
}

fn stop_workers(stop: &AtomicBool, workers: &mut Vec<JoinHandle<()>>) {
    stop.store(true, Ordering::Relaxed);
    for worker in workers.drain(..) {
        // One that panicked has said so itself.
        let _ = worker.join();
    }
}

/// Starts one thread a worker and waits until each says that it runs; if one does not, the others are ended.
fn start_workers(crews: Vec<Crew>, common: &Common) -> Result<Vec<JoinHandle<()>>, StartError> {
    let (started, outcomes) = mpsc::channel();
    let n_workers = crews.len();
    let mut workers = Vec::with_capacity(n_workers);
    for crew in crews {
        let (common, started) = (common.clone(), started.clone());
        let name = format!("weir-worker-{}", crew.worker.0);
        let thread = Builder::new()
            .name(name)
            .spawn(move || work(crew, &common, &started));
        workers.push(thread.map_err(StartError::system("no thread for a worker"))?);
    }
    drop(started);
    for _ in 0..n_workers {
        let outcome = outcomes.recv().unwrap_or_else(|_| {
            Err(StartError::system("a worker ended")(std::io::Error::other(
                "it panicked",
            )))
        });
        if let Err(error) = outcome {
            stop_workers(&common.stop, &mut workers);
            return Err(error);
        }
    }
    Ok(workers)
}

/// A worker's thread: pinned, known to DPDK, its table in memory near by; then it runs until it is told to stop.
fn work(crew: Crew, common: &Common, started: &mpsc::Sender<Result<(), StartError>>) {
    let Crew {
        worker,
        cpu,
        io,
        plan,
        links,
    } = crew;
    let refuse = |reason: String| StartError::Worker {
        worker: usize::from(worker.0),
        cpu,
        reason,
    };
    if !core_affinity::set_for_current(core_affinity::CoreId { id: cpu }) {
        let _ = started.send(Err(refuse(
            "the system does not let it run there".to_owned(),
        )));
        return;
    }
    let lcore = common.eal.register_thread();
    let now = Tick(common.began.elapsed().as_millis() as u32);
    let director = Director::new(
        worker,
        common.sizes,
        common.seed,
        Arc::clone(&common.first),
        now,
    );
    match (lcore, director) {
        (Ok(_lcore), Ok(director)) => {
            let _ = started.send(Ok(()));
            Worker::new(worker, io, director, links, plan, common.began).run(
                common.idle,
                &common.stop,
                weir_memory::cycles,
            );
        }
        (Err(error), _) => {
            let _ = started.send(Err(error.into()));
        }
        (_, Err(error)) => {
            let _ = started.send(Err(refuse(error.to_string())));
        }
    }
}

fn eal_memory(config: &Config, sizing: &Sizing) -> EalMemory {
    let mib = sizing.buffer_mib(config.runtime.memory);
    match config.runtime.memory {
        Memory::Hugepages { .. } => EalMemory::Hugepages { mib },
        Memory::Anonymous { .. } => EalMemory::Anonymous { mib },
    }
}

fn pages(config: &Config) -> Pages {
    match config.runtime.memory {
        Memory::Hugepages { .. } => Pages::Huge,
        Memory::Anonymous { .. } => Pages::Anonymous,
    }
}

fn idle(config: &Config) -> Idle {
    match config.runtime.idle {
        weir_config::Idle::Poll => Idle::Poll,
        weir_config::Idle::Backoff => Idle::Backoff,
    }
}

fn random_seed() -> Result<Seed, StartError> {
    let mut seed = [0; 4];
    for word in &mut seed {
        *word = getrandom::u64().map_err(|error| {
            StartError::system("no randomness for the connection table")(std::io::Error::other(
                error.to_string(),
            ))
        })?;
    }
    Ok(Seed(seed))
}
