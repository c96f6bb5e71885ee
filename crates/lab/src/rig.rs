//! A topology with everything running on it: what each scenario starts from.
//!
//! Promises: its parts are dropped in the order in which an operator would end them: director, servers, network.
//! Does not know: the scenario.

use std::path::Path;

use anyhow::{Context, Result};

use crate::config::{self, Service};
use crate::director::{Director, built};
use crate::ipvsadm;
use crate::lab::Lab;
use crate::method::Method;
use crate::server::{PeerProgram, RealServers};
use crate::topology::{Arms, ClientSide, Topology};

/// A lab in operation.
#[derive(Debug)]
pub struct Rig {
    director: Option<Director>,
    /// What runs on the real servers.
    pub servers: RealServers,
    /// Machines and wires.
    pub topology: Topology,
}

impl Rig {
    /// Builds machines and wires and starts the servers; no director yet.
    pub fn lay_out(
        lab: Lab,
        arms: Arms,
        client_side: ClientSide,
        peer: &PeerProgram,
    ) -> Result<Self> {
        Self::on(Topology::build(lab, arms, client_side)?, peer)
    }

    /// The same for the lab in which courses show `method`.
    pub fn course(lab: Lab, method: Method, peer: &PeerProgram) -> Result<Self> {
        Self::on(Topology::course(lab, method)?, peer)
    }

    fn on(topology: Topology, peer: &PeerProgram) -> Result<Self> {
        let servers = RealServers::start(&topology, peer)?;
        Ok(Self {
            director: None,
            servers,
            topology,
        })
    }

    /// The rig of a test: a lab that ends with this process, and the programs that were built with the test.
    pub fn for_test(arms: Arms, client_side: ClientSide) -> Result<Self> {
        let peer = PeerProgram::new(built("weir-lab-peer")?, &[]);
        Self::lay_out(Lab::new()?, arms, client_side, &peer)
    }

    /// The same for the lab in which courses show `method`.
    pub fn course_for_test(method: Method) -> Result<Self> {
        let peer = PeerProgram::new(built("weir-lab-peer")?, &[]);
        Self::course(Lab::new()?, method, &peer)
    }

    /// Starts the binary that was built with the test, with `n_workers` workers and `services`.
    pub fn serve(&mut self, n_workers: usize, services: &[Service]) -> Result<&Director> {
        let config = config::text(&self.topology, &config::last_cpus(n_workers)?, services);
        self.start_director(&built("weir")?, &config)
    }

    /// Starts `binary` without services, with one worker, and makes `services` by ipvsadm. Returns the lines that did
    /// it.
    pub fn serve_by_ipvsadm(&mut self, binary: &Path, services: &[Service]) -> Result<Vec<String>> {
        let config = config::text(&self.topology, &config::last_cpus(1)?, &[]);
        let director = self.start_director(binary, &config)?;
        let lines = ipvsadm::lines(services);
        lines.iter().try_for_each(|line| director.ipvsadm(line))?;
        Ok(lines)
    }

    /// Starts `binary` on `config`.
    pub fn start_director(&mut self, binary: &Path, config: &str) -> Result<&Director> {
        let director = Director::start(&self.topology, binary, config)?;
        Ok(self.director.insert(director))
    }

    /// The running director.
    ///
    /// Errors: none was started.
    pub fn director(&self) -> Result<&Director> {
        self.director
            .as_ref()
            .context("this rig has no director running")
    }

    /// Ends the director in order.
    ///
    /// Errors: none was started, or it did not end with exit code 0.
    pub fn stop_director(&mut self) -> Result<()> {
        self.director
            .take()
            .context("this rig has no director running")?
            .stop()
    }

    /// Leaves everything in operation after this process has ended.
    pub fn leave_running(self) -> Result<()> {
        if let Some(director) = self.director {
            director.leave_running();
        }
        self.servers.leave_running();
        self.topology.lab.leave_running()
    }
}
