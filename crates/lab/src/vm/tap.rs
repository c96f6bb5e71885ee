//! The wires between the lab and a guest: taps beside the director's interfaces, joined to them.
//!
//! Promises: what arrives on an interface of the director goes into the guest's NIC as it is, and the other way round;
//! the interface's MAC address is the guest's from then on.
//! Does not know: who reads the taps.

use anyhow::Result;

use super::Nic;
use crate::namespace::Namespace;
use crate::topology::{DirectorPort, Topology};
use crate::wiring::bridge;

/// Joins each of the director's interfaces with a tap for a NIC like `nic`, and returns the taps' names, by port.
pub(super) fn plug(topology: &Topology, nic: Nic) -> Result<Vec<String>> {
    topology
        .ports
        .iter()
        .zip(1..)
        .map(|(port, number)| plug_one(&topology.director, port, number, nic.n_queues()))
        .collect()
}

fn plug_one(
    director: &Namespace,
    port: &DirectorPort,
    number: u8,
    n_queues: u16,
) -> Result<String> {
    let (interface, tap, joint) = (
        port.name,
        format!("{}-tap", port.name),
        format!("{}-joint", port.name),
    );
    let multi_queue = match n_queues {
        0 | 1 => "",
        2.. => "multi_queue",
    };
    director.ip(&format!("tuntap add dev {tap} mode tap {multi_queue}"))?;
    // A bridge keeps frames to the addresses of its own interfaces, and this one is to be the guest's.
    director.ip(&format!(
        "link set {interface} address 02:00:00:00:01:{number:02x}"
    ))?;
    bridge(director, &joint)?;
    for end in [interface, &tap] {
        director.ip(&format!("link set {end} master {joint} up"))?;
    }
    Ok(tap)
}
