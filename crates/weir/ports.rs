//! From the configuration's ports to DPDK's: opened, started, their queues dealt out to the workers.
//!
//! Promises: a port gets one receive and one transmit queue per worker, or as many as it has; what was chosen is one
//! line a port. Does not know: what runs on the queues.

use weir_config::sizing;
use weir_config::{Config, Device};
use weir_control::PortFacts;
use weir_director::{HashedL4Ports, PortId, Rss, WorkerId};
use weir_dpdk::{
    Eal, Error, Mempool, MempoolConfig, Port, PortConfig, PortInfo, PortOptions, RssState,
};
use weir_wire::ethernet::Mac;
use weir_worker::PortPlan;

use crate::io::DpdkIo;

/// An open port, and what it turned out to be.
pub(crate) struct OpenPort {
    /// The port itself.
    pub(crate) port: Port,
    /// As asked after it was started.
    pub(crate) info: PortInfo,
    /// What the slow path knows of it.
    pub(crate) facts: PortFacts,
    /// How its packets find their worker.
    pub(crate) spread: Spread,
    pool: Mempool,
}

/// How a port's packets find their worker.
#[derive(Clone)]
pub(crate) struct Spread {
    /// What the director computes with; `None`: it goes by its own hash.
    pub(crate) rss: Option<Rss>,
    /// What was chosen and why, in words.
    pub(crate) why: String,
}

/// All ports, and each worker's queues and plan.
pub(crate) struct OpenPorts {
    /// By `PortId`.
    pub(crate) ports: Vec<OpenPort>,
    /// By `WorkerId`.
    pub(crate) workers: Vec<(DpdkIo, Vec<PortPlan>)>,
}

/// DPDK's word for a device.
pub(crate) fn dpdk_device(device: &Device) -> weir_dpdk::Device {
    match device.clone() {
        Device::Pci(address) => weir_dpdk::Device::Pci(address),
        Device::AfPacket(interface) => weir_dpdk::Device::AfPacket(interface),
        Device::AfXdp(interface) => weir_dpdk::Device::AfXdp(interface),
        Device::Tap(interface) => weir_dpdk::Device::Tap(interface),
        Device::Vdev(arguments) => weir_dpdk::Device::Vdev(arguments),
    }
}

/// Opens and starts every port of the configuration.
pub(crate) fn open(eal: &Eal, config: &Config) -> Result<OpenPorts, Error> {
    let n_workers = config.runtime.workers.len();
    let mut ports = Vec::new();
    let mut queues = Vec::new();
    for (number, port) in (0..).zip(&config.ports) {
        let (open, its_queues) = open_one(eal, PortId(number), port, n_workers)?;
        ports.push(open);
        queues.push((
            its_queues.receive.into_iter(),
            its_queues.transmit.into_iter(),
        ));
    }
    // The control thread's frames may be any port's: the pool of the largest buffers holds them all.
    let largest = ports.iter().max_by_key(|port| port.facts.mtu);
    let Some(pool) = largest.map(|port| port.pool.clone()) else {
        return Ok(OpenPorts {
            ports,
            workers: Vec::new(),
        });
    };
    let workers = (0..n_workers)
        .map(|worker| {
            let receive: Vec<_> = queues
                .iter_mut()
                .map(|(receive, _)| receive.next())
                .collect();
            let transmit = queues
                .iter_mut()
                .map(|(_, transmit)| transmit.next())
                .collect();
            let plan = ports
                .iter()
                .zip(&receive)
                .map(|(port, queue)| PortPlan {
                    id: port.facts.id,
                    mac: port.facts.mac,
                    receives: queue.is_some(),
                    transmits_by: WorkerId(
                        (worker % usize::from(port.info.n_tx_queues.max(1))) as u8,
                    ),
                })
                .collect();
            (
                DpdkIo {
                    receive,
                    transmit,
                    pool: pool.clone(),
                },
                plan,
            )
        })
        .collect();
    Ok(OpenPorts { ports, workers })
}

fn open_one(
    eal: &Eal,
    id: PortId,
    port: &weir_config::Port,
    n_workers: usize,
) -> Result<(OpenPort, weir_dpdk::Queues), Error> {
    let n_queues = n_workers as u16;
    let device = dpdk_device(&port.device);
    let buffer_bytes = device.buffer_bytes(port.mtu);
    let open = Port::open(
        eal,
        &port.name,
        &device,
        PortOptions {
            n_queues,
            mtu: port.mtu,
        },
    )?;
    let pool = Mempool::new(
        eal,
        &MempoolConfig {
            name: format!("port-{}", id.0),
            n_buffers: sizing::n_buffers(&port.device, n_workers as u32),
            buffer_bytes,
            cache: sizing::BUFFER_CACHE,
            numa_node: open.info()?.numa_node,
        },
    )?;
    let descriptors = sizing::descriptors(&port.device);
    let queues = open.start(
        &PortConfig {
            rx_descriptors: descriptors,
            tx_descriptors: descriptors,
            ..PortConfig::for_workers(n_queues)
        },
        &pool,
    )?;
    let info = open.info()?;
    let spread = spread(&open, &info, n_workers)?;
    let facts = PortFacts {
        id,
        name: port.name.clone(),
        mac: Mac(info.mac),
        mtu: info.mtu.min(port.mtu),
        addresses: port.addresses.clone(),
    };
    Ok((
        OpenPort {
            port: open,
            info,
            facts,
            spread,
            pool,
        },
        queues,
    ))
}

/// How flows find their worker on a port: by RSS if the port tells all there is to know about it.
fn spread(port: &Port, info: &PortInfo, n_workers: usize) -> Result<Spread, Error> {
    if n_workers == 1 {
        return Ok(Spread::unknown("one worker owns every flow"));
    }
    let n_queues = usize::from(info.n_rx_queues);
    if n_queues < n_workers {
        let why =
            format!("{n_queues} queue(s) for {n_workers} workers; weir's own hash names the owner");
        return Ok(Spread::unknown(why));
    }
    let Some(RssState { key, table, fields }) = port.rss()? else {
        return Ok(Spread::unknown(
            "the device does not tell its RSS key; weir's own hash names the owner",
        ));
    };
    let hashed = HashedL4Ports {
        tcp_v4: fields.ipv4_tcp,
        udp_v4: fields.ipv4_udp,
        tcp_v6: fields.ipv6_tcp,
        udp_v6: fields.ipv6_udp,
    };
    Ok(match Rss::new(&key, &table, hashed, n_workers as u8) {
        Some(rss) => Spread {
            rss: Some(rss),
            why: "RSS: its queue names the owner, local ports are chosen to match".to_owned(),
        },
        None => Spread::unknown(
            "the device's RSS key or table cannot be computed with; weir's own hash names the owner",
        ),
    })
}

impl Spread {
    fn unknown(why: impl Into<String>) -> Self {
        Self {
            rss: None,
            why: why.into(),
        }
    }
}
