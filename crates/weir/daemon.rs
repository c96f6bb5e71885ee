//! What the admin socket asks of the appliance, answered.
//!
//! Promises: a question reads what is published and disturbs no worker; a configuration is applied all or nothing.
//! Does not know: JSON, sockets, tables.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tracing::{info, warn};
use weir_admin::ipvsadm::ListedService;
use weir_admin::{
    Applied, Candidate, ConnectionPage, Daemon, Difference, DropRow, NeighbourRow, PortRow,
    Refusal, RouteRow, ServiceRow, StatusRow, WorkerRow,
};
use weir_config::ipvs::{Edit, EditError, Timeouts, running};
use weir_config::{Change, Config, compile};
use weir_director::DropReason;
use weir_worker::{Counters, DestinationCounters};

use crate::appliance::Appliance;
use crate::statistics::Statistics;
use crate::way::{self, Way};
use crate::{ports, rows};

/// How long a worker may take to fill a page of connections, or to adopt a snapshot.
const WORKER_PATIENCE: Duration = Duration::from_secs(2);
const POLL_EVERY: Duration = Duration::from_millis(1);

/// The appliance as the admin socket sees it.
pub(crate) struct Running {
    appliance: Rc<RefCell<Appliance>>,
    config: RefCell<Config>,
    file: PathBuf,
    /// The admin socket that the command line named in the place of the configuration's.
    socket: Option<PathBuf>,
    began: Instant,
    busy: RefCell<Vec<Busy>>,
    statistics: RefCell<Statistics>,
    /// Only one page of connections is filled at a time.
    listing: Mutex<()>,
}

/// How busy a worker was in the second that ended last.
#[derive(Clone, Copy, Default)]
struct Busy {
    busy_ns: u64,
    elapsed_ns: u64,
    percent: f64,
    /// Whether there was a measurement before.
    is_measured: bool,
    /// It has published nothing since the measurement before: it is stopped, or starved.
    is_stalled: bool,
}

impl Running {
    /// The appliance that was started with `config` from `file`.
    pub(crate) fn new(
        appliance: Rc<RefCell<Appliance>>,
        config: Config,
        file: PathBuf,
        socket: Option<PathBuf>,
    ) -> Self {
        let busy = vec![Busy::default(); config.runtime.workers.len()];
        let running = Self {
            appliance,
            config: RefCell::new(config),
            file,
            socket,
            began: Instant::now(),
            busy: RefCell::new(busy),
            statistics: RefCell::default(),
            listing: Mutex::new(()),
        };
        running.count();
        running
    }

    /// Measures how busy the workers were since it was called last; to be called every second.
    pub(crate) fn measure_busy(&self) {
        let appliance = self.appliance.borrow();
        for (busy, published) in self
            .busy
            .borrow_mut()
            .iter_mut()
            .zip(appliance.published.iter())
        {
            let Counters {
                busy_ns,
                elapsed_ns,
                ..
            } = published.counters();
            let elapsed = elapsed_ns.saturating_sub(busy.elapsed_ns).max(1);
            let share = busy_ns.saturating_sub(busy.busy_ns) as f64 / elapsed as f64;
            *busy = Busy {
                busy_ns,
                elapsed_ns,
                percent: (share * 1000.0).round().min(1000.0) / 10.0,
                is_stalled: busy.is_measured && elapsed_ns == busy.elapsed_ns,
                is_measured: true,
            };
        }
    }

    /// Ends a window of the rates that ipvsadm shows; to be called every two seconds.
    pub(crate) fn end_window(&self) {
        self.count();
        self.statistics.borrow_mut().end_window();
    }

    /// Takes what the workers have published into the statistics.
    fn count(&self) {
        let config = self.config.borrow();
        let appliance = self.appliance.borrow();
        let counted = config.services.iter().flat_map(|service| {
            let name = running::name(service.protocol, service.vip);
            service.destinations.iter().map(move |destination| {
                let address = destination.address;
                (name, address, (compile::key(service), address))
            })
        });
        let counted = counted.map(|(name, address, (key, _))| {
            (name, address, rows::traffic(&key, address, &appliance))
        });
        let mut statistics = self.statistics.borrow_mut();
        statistics.count(counted);
        let there: HashSet<_> = config
            .services
            .iter()
            .flat_map(|service| {
                let name = running::name(service.protocol, service.vip);
                let servers = service
                    .destinations
                    .iter()
                    .map(move |destination| (name, Some(destination.address)));
                servers.chain([(name, None)])
            })
            .collect();
        statistics.retain(|name, address| there.contains(&(*name, address.copied())));
    }

    /// Whether a worker's thread has ended.
    pub(crate) fn has_lost_a_worker(&self) -> bool {
        self.appliance.borrow().has_lost_a_worker()
    }

    /// Reads the candidate and finds what it would change.
    async fn read(&self, candidate: Candidate) -> Result<(Config, Vec<Change>), Refusal> {
        let file = self.file.clone();
        let parsed = tokio::task::spawn_blocking(move || {
            let (text, name) = match candidate {
                Candidate::Text { text, file_name } => (text, file_name),
                Candidate::OwnFile => (read_file(&file)?, file.display().to_string()),
            };
            Config::parse(&text, &name, &allowed_cpus()).map_err(Refusal::from)
        });
        let mut config = parsed.await.map_err(|_| {
            Refusal::new("the configuration could not be read; this is a bug in weir")
        })??;
        if let Some(socket) = &self.socket {
            config.runtime.admin_socket.clone_from(socket);
        }
        let changes = weir_config::diff(&self.config.borrow(), &config);
        Ok((config, changes))
    }

    /// Publishes `config`; on failure everything stays as it is.
    fn publish(&self, config: &Config) -> Result<u64, Refusal> {
        let mut appliance = self.appliance.borrow_mut();
        let Appliance {
            control,
            numbers,
            ports,
            published,
            needed,
            ..
        } = &mut *appliance;
        let now = Instant::now();
        let mut way = Way::new(&mut control.slow_path, now);
        let compiled = numbers.compile(config, &mut way, |id| {
            let counted = published.iter().map(|it| it.destination(id)).sum();
            let DestinationCounters {
                mut load,
                templates,
                ..
            } = counted;
            // What a template leads to is in use too.
            load.inactive = load.inactive.saturating_add(templates as u32);
            load
        });
        let newly_needed = way.needed;
        if compiled.is_ok() {
            *needed = newly_needed;
        }
        control.slow_path.retain_pinned(needed, now);
        let compiled = compiled.map_err(|error| Refusal::new(error.to_string()))?;
        for (open, port) in ports.iter_mut().zip(&config.ports) {
            open.facts.addresses.clone_from(&port.addresses);
        }
        let facts = ports.iter().map(|port| port.facts.clone()).collect();
        control.slow_path.set_addresses(
            facts,
            &compiled.addresses,
            Arc::clone(&compiled.routes),
            now,
        );
        control
            .slow_path
            .set_limits(way::limits(&compiled.settings));
        let generation = control.publish_changed(|snapshot| {
            snapshot.services = compiled.services;
            snapshot.routes = compiled.routes;
            snapshot.tunnels = compiled.tunnels;
            snapshot.addresses = compiled.addresses;
            snapshot.counted = compiled.counted;
            snapshot.settings = compiled.settings;
        });
        Ok(generation.0)
    }

    /// Waits until every worker runs `generation` or a later one, but not for ever: returns those that do not.
    async fn wait_until_adopted(&self, generation: u64) -> Vec<u32> {
        let deadline = Instant::now() + WORKER_PATIENCE;
        loop {
            let behind: Vec<_> = (0..)
                .zip(&self.appliance.borrow().mailboxes)
                .filter(|(_, mailbox)| mailbox.adopted().0 < generation)
                .map(|(worker, _)| worker)
                .collect();
            if behind.is_empty() || Instant::now() > deadline {
                return behind;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Makes `config`, which differs by `changes`, the running one; returns when the workers run it.
    async fn apply(&self, config: Config, changes: &[Change]) -> Result<Applied, Refusal> {
        if let Some(refusal) = weir_config::refusal(changes) {
            return Err(Refusal::new(refusal));
        }
        let (generation, not_adopted_by) = if changes.is_empty() {
            let generation = self.appliance.borrow().control.current().generation.0;
            (generation, Vec::new())
        } else {
            self.count();
            let generation = self.publish(&config)?;
            *self.config.borrow_mut() = config;
            // What is new is seen before anything passes through it.
            self.count();
            let not_adopted_by = self.wait_until_adopted(generation).await;
            info!(generation, changes = changes.len(), "reloaded");
            for worker in &not_adopted_by {
                warn!("worker {worker} does not answer and runs what it ran before the reload");
            }
            (generation, not_adopted_by)
        };
        Ok(Applied {
            changes: changes.iter().map(Change::to_string).collect(),
            generation,
            not_adopted_by,
        })
    }

    fn port_name(&self, id: weir_director::PortId) -> String {
        let appliance = self.appliance.borrow();
        appliance
            .ports
            .get(usize::from(id.0))
            .map_or_else(String::new, |port| port.facts.name.clone())
    }

    /// What an operator should look at.
    fn warnings(&self) -> Vec<String> {
        let appliance = self.appliance.borrow();
        let slow_path = &appliance.control.slow_path;
        let neighbours = slow_path.neighbours(Instant::now());
        let silent = neighbours
            .iter()
            .filter(|neighbour| neighbour.state == "failed")
            .map(|neighbour| {
                format!(
                    "{} does not answer ARP or neighbour discovery",
                    neighbour.address
                )
            });
        let duplicates = slow_path.duplicates().into_iter().map(|(port, address)| {
            format!(
                "{address} is in use by another node on {}; remove it from one of the two",
                self.port_name(port)
            )
        });
        let is_down = |open: &&ports::OpenPort| open.port.link().is_ok_and(|link| !link.is_up);
        let down = appliance.ports.iter().filter(is_down);
        let down = down.map(|open| format!("the link of {} is down", open.facts.name));
        let n_lost = appliance.control.n_lost();
        let lost = (n_lost > 0).then(|| {
            format!("{n_lost} frames of the control thread were lost, for no worker took them")
        });
        let busy = self.busy.borrow();
        let stalled = busy.iter().enumerate().filter(|(_, busy)| busy.is_stalled);
        let stalled = stalled.map(|(worker, _)| {
            format!("worker {worker} does not run; its packets wait or are lost until it does")
        });
        let config = self.config.borrow();
        let n_marks = config.firewall_marks.len();
        let marks = (n_marks > 0).then(|| {
            format!(
                "{n_marks} services of firewall marks match no packet; give them virtual addresses"
            )
        });
        silent
            .chain(duplicates)
            .chain(down)
            .chain(lost)
            .chain(stalled)
            .chain(marks)
            .collect()
    }
}

impl Daemon for Running {
    async fn status(&self) -> Result<StatusRow, Refusal> {
        let warnings = self.warnings();
        let appliance = self.appliance.borrow();
        let config = self.config.borrow();
        let counters: Vec<_> = appliance
            .published
            .iter()
            .map(|published| published.counters())
            .collect();
        Ok(StatusRow {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: self.began.elapsed().as_secs(),
            pid: std::process::id(),
            generation: appliance.control.current().generation.0,
            config_file: self.file.display().to_string(),
            workers: config.runtime.workers.len() as u32,
            ports: config.ports.len() as u32,
            services: config.services.len() as u32,
            destinations: config
                .services
                .iter()
                .map(|service| service.destinations.len() as u32)
                .sum(),
            connections: counters.iter().map(|counters| counters.connections).sum(),
            capacity: counters.iter().map(|counters| counters.capacity).sum(),
            memory_mib: appliance.memory_mib,
            warnings,
        })
    }

    async fn ports(&self) -> Result<Vec<PortRow>, Refusal> {
        let appliance = self.appliance.borrow();
        let rows = appliance.ports.iter().map(rows::port);
        rows.map(|row| row.map_err(|error| Refusal::new(error.to_string())))
            .collect()
    }

    async fn services(&self) -> Result<Vec<ServiceRow>, Refusal> {
        let appliance = self.appliance.borrow();
        Ok(self
            .config
            .borrow()
            .services
            .iter()
            .map(|service| rows::service(service, &appliance))
            .collect())
    }

    async fn connections(&self, cursor: u64, limit: usize) -> Result<ConnectionPage, Refusal> {
        let _turn = self.listing.lock().await;
        let worker = (cursor >> 32) as usize;
        let listings = self.appliance.borrow().listings.clone();
        let Some(listing) = listings.get(worker) else {
            return Ok(ConnectionPage {
                connections: Vec::new(),
                next: None,
            });
        };
        let deadline = Instant::now() + WORKER_PATIENCE;
        let mut is_asked = false;
        let page = loop {
            is_asked = is_asked || listing.ask(cursor as u32, limit);
            if is_asked && let Some(page) = listing.take() {
                break page;
            }
            if Instant::now() > deadline {
                return Err(Refusal::new(format!(
                    "worker {worker} does not answer; see `weir workers`"
                )));
            }
            tokio::time::sleep(POLL_EVERY).await;
        };
        let next = match page.next {
            Some(place) => Some((worker as u64) << 32 | u64::from(place)),
            None if worker + 1 < listings.len() => Some((worker as u64 + 1) << 32),
            None => None,
        };
        let connections = page
            .rows
            .iter()
            .map(|view| rows::connection(view, worker))
            .collect();
        Ok(ConnectionPage { connections, next })
    }

    async fn neighbours(&self) -> Result<Vec<NeighbourRow>, Refusal> {
        let neighbours = self
            .appliance
            .borrow()
            .control
            .slow_path
            .neighbours(Instant::now());
        let rows = neighbours.into_iter().map(|neighbour| NeighbourRow {
            address: neighbour.address,
            mac: neighbour.mac.map(|mac| mac.to_string()),
            port: self.port_name(neighbour.port),
            state: neighbour.state.to_owned(),
            confirmed_s: neighbour.mac.map(|_| neighbour.age_s),
        });
        Ok(rows.collect())
    }

    async fn routes(&self) -> Result<Vec<RouteRow>, Refusal> {
        let routes = self.appliance.borrow().control.slow_path.routes();
        let rows = routes.into_iter().map(|route| RouteRow {
            to: route.prefix.to_string(),
            via: route.via,
            port: self.port_name(route.port),
            origin: if route.via.is_some() {
                "static"
            } else {
                "connected"
            }
            .to_owned(),
        });
        Ok(rows.collect())
    }

    async fn drops(&self) -> Result<Vec<DropRow>, Refusal> {
        let appliance = self.appliance.borrow();
        let by_workers: Vec<_> = appliance
            .published
            .iter()
            .map(|published| published.counters().dropped)
            .collect();
        let by_control = appliance.control.slow_path.drops();
        let rows = DropReason::ALL.iter().map(|reason| {
            let by_workers: u64 = by_workers
                .iter()
                .map(|dropped| dropped[reason.index()])
                .sum();
            DropRow {
                reason: reason.name().to_owned(),
                count: by_workers + by_control[reason.index()],
                explanation: reason.explanation().to_owned(),
            }
        });
        Ok(rows.collect())
    }

    async fn workers(&self) -> Result<Vec<WorkerRow>, Refusal> {
        let appliance = self.appliance.borrow();
        let cpus = self.config.borrow().runtime.workers.clone();
        let busy = self.busy.borrow();
        let burst_us = |span| (span != 0).then(|| appliance.cycle_rate.microseconds(span));
        let rows = cpus.iter().enumerate().map(|(worker, cpu)| {
            let counters = appliance.published[worker].counters();
            WorkerRow {
                worker: worker as u32,
                cpu: *cpu as u32,
                packets: counters.received,
                busy_percent: busy[worker].percent,
                handed_over: counters.handed_over,
                generation: appliance.mailboxes[worker].adopted().0,
                connections: counters.connections,
                capacity: counters.capacity,
                evicted: counters.evicted,
                toa_omitted: counters.toa_omitted,
                drops: counters.dropped.iter().sum(),
                burst_us_p50: burst_us(counters.bursts.p50),
                burst_us_p999: burst_us(counters.bursts.p999),
                burst_us_max: burst_us(counters.bursts.longest),
            }
        });
        Ok(rows.collect())
    }

    async fn config(&self) -> Result<String, Refusal> {
        Ok(weir_config::to_ron(&self.config.borrow()))
    }

    async fn config_diff(&self, candidate: Candidate) -> Result<Difference, Refusal> {
        let (_, changes) = self.read(candidate).await?;
        Ok(Difference::from(changes.as_slice()))
    }

    async fn config_apply(&self, candidate: Candidate) -> Result<Applied, Refusal> {
        let (config, changes) = self.read(candidate).await?;
        self.apply(config, &changes).await
    }

    async fn ipvs(&self) -> Result<Vec<ListedService>, Refusal> {
        self.count();
        let config = self.config.borrow();
        let statistics = self.statistics.borrow();
        let table = running::table(&config);
        Ok(table
            .entries()
            .map(|entry| rows::listed(entry, &self.appliance.borrow(), &statistics))
            .collect())
    }

    async fn timeouts(&self) -> Result<Timeouts, Refusal> {
        Ok(running::table(&self.config.borrow()).timeouts)
    }

    async fn edit(&self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, Refusal> {
        // (1) What is asked for, as far as it is not refused, as a whole configuration.
        let before = self.config.borrow().clone();
        let edited = tokio::task::spawn_blocking(move || {
            let (config, outcomes) = running::edit(&before, &edits, &allowed_cpus());
            let changes = weir_config::diff(&before, &config);
            (edits, config, outcomes, changes)
        });
        let (edits, config, outcomes, changes) = edited
            .await
            .map_err(|_| Refusal::new("the changes could not be made; this is a bug in weir"))?;
        // (2) The same way as a reload.
        self.apply(config, &changes).await?;
        // (3) What is new, and what `-Z` names, is counted from zero.
        self.count();
        let mut statistics = self.statistics.borrow_mut();
        for (edit, _) in edits.iter().zip(&outcomes).filter(|(_, it)| it.is_ok()) {
            match edit {
                Edit::Zero(service) => statistics.zero(*service),
                Edit::AddService(service) => statistics.zero_new(service.name, None),
                Edit::AddServer { service, server } => {
                    statistics.zero_new(*service, Some(server.address));
                }
                Edit::EditService(_)
                | Edit::DeleteService(_)
                | Edit::Clear
                | Edit::EditServer { .. }
                | Edit::SetWeight { .. }
                | Edit::DeleteServer { .. }
                | Edit::SetTimeouts(_)
                | Edit::AddLocal { .. }
                | Edit::DeleteLocal { .. } => {}
            }
        }
        Ok(outcomes)
    }
}

fn read_file(file: &std::path::Path) -> Result<String, Refusal> {
    std::fs::read_to_string(file).map_err(|error| {
        Refusal::new(format!(
            "{} cannot be read: {error}; check the name and its rights",
            file.display()
        ))
    })
}

/// The CPUs on which this process may run, lowest first.
pub(crate) fn allowed_cpus() -> Vec<usize> {
    let mut cpus: Vec<_> = core_affinity::get_core_ids()
        .unwrap_or_default()
        .into_iter()
        .map(|core| core.id)
        .collect();
    cpus.sort_unstable();
    cpus
}
