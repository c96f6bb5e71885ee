//! From the configuration's ports to DPDK's: opened, started, their queues dealt out to the workers.
//!
//! Promises: a port gets one receive and one transmit queue per worker, or as many as it has; what was chosen is one
//! line a port. Does not know: what runs on the queues.

use weir_config::sizing;
use weir_config::{Config, Device};
use weir_control::PortFacts;
use weir_director::{PortId, Seed, Steering, WorkerId};
use weir_dpdk::{Eal, Error, Mempool, MempoolConfig, Port, PortConfig, PortInfo, PortOptions};
use weir_wire::ethernet::Mac;
use weir_worker::PortPlan;

use crate::io::DpdkIo;
use crate::spread::{self, Spread, Told};

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

/// All ports, and each worker's queues and plan.
pub(crate) struct OpenPorts {
    /// By `PortId`.
    pub(crate) ports: Vec<OpenPort>,
    /// By `WorkerId`.
    pub(crate) workers: Vec<(DpdkIo, Vec<PortPlan>)>,
    /// Which worker owns a flow.
    pub(crate) steering: Steering,
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

/// Opens and starts every port of the configuration. Where none tells how it spreads packets, `seed` does it.
pub(crate) fn open(eal: &Eal, config: &Config, seed: Seed) -> Result<OpenPorts, Error> {
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
    let clients = spread::client_port(config);
    spread_packets(&mut ports, clients, n_workers)?;
    let subnets = config.ports.iter().map(|port| port.addresses.as_slice());
    let spreads = ports.iter().map(|open| &open.spread).zip(subnets);
    let steering = spread::steering(spreads, clients, n_workers, seed);
    // The control thread's frames may be any port's: the pool of the largest buffers holds them all.
    let largest = ports.iter().max_by_key(|port| port.facts.mtu);
    let Some(pool) = largest.map(|port| port.pool.clone()) else {
        return Ok(OpenPorts {
            ports,
            workers: Vec::new(),
            steering,
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
    Ok(OpenPorts {
        ports,
        workers,
        steering,
    })
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
            spread: Spread::default(),
            pool,
        },
        queues,
    ))
}

/// Makes the ports agree with the one by which most clients come, as far as they can, and chooses by what their packets
/// find their worker.
fn spread_packets(ports: &mut [OpenPort], clients: usize, n_workers: usize) -> Result<(), Error> {
    let mut told: Vec<_> = ports
        .iter()
        .map(|open| tell(open, n_workers))
        .collect::<Result<_, _>>()?;
    if let Some(Told::Rss(of_clients)) = told.get(clients) {
        let of_clients = of_clients.clone();
        for (open, told) in ports.iter().zip(&mut told) {
            let Told::Rss(state) = &*told else { continue };
            let Some(wanted) = spread::wanted(&of_clients, state) else {
                continue;
            };
            // What it does not take, or takes and does not do, is seen when it is asked again.
            let _ = open.port.set_rss_key(&wanted.key, wanted.fields);
            let _ = open.port.set_rss_table(&wanted.table);
            *told = tell(open, n_workers)?;
        }
    }
    let names: Vec<_> = ports.iter().map(|open| open.facts.name.clone()).collect();
    let rows: Vec<_> = names.iter().map(String::as_str).zip(told).collect();
    for (open, spread) in ports
        .iter_mut()
        .zip(spread::choose(&rows, clients, n_workers))
    {
        open.spread = spread;
    }
    Ok(())
}

/// What a port tells of how it spreads packets over the workers' queues.
fn tell(open: &OpenPort, n_workers: usize) -> Result<Told, Error> {
    if n_workers == 1 {
        return Ok(Told::OneWorker);
    }
    let n_queues = usize::from(open.info.n_rx_queues);
    if n_queues < n_workers {
        let why = format!("{n_queues} queue(s) for {n_workers} workers");
        return Ok(Told::Nothing(why));
    }
    Ok(match open.port.rss()? {
        Some(state) => Told::Rss(state),
        None => Told::Nothing("the device does not tell its RSS key".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_dpdk::{EalConfig, EalMemory, HashedFields};

    /// Two ports that keep key, table and fields as NICs do.
    const TWO: &str = "(
        runtime: (workers: [0, 1]),
        ports: {
            \"wan\": (device: Vdev(\"net_null0\"), addresses: [\"192.0.2.10/24\"]),
            \"wan2\": (device: Vdev(\"net_null1\"), addresses: [\"198.51.100.10/24\"]),
        },
    )";

    #[test]
    fn a_second_port_is_given_the_firsts_key_and_table() {
        let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: 128 })).unwrap();
        let config = Config::parse(TWO, "two.ron", &[0, 1]).unwrap();
        let mut ports = open(&eal, &config, Seed([1; 4])).unwrap().ports;
        let told = |open: &OpenPort| open.port.rss().unwrap().unwrap();
        let first = told(&ports[0]);
        // Each has its own, as two NICs from two makers would.
        let other_key: Vec<u8> = first.key.iter().map(|byte| byte ^ 0x5a).collect();
        let other_table: Vec<u16> = first.table.iter().map(|queue| 1 - queue).collect();
        assert_eq!(
            ports[1].port.set_rss_key(&other_key, HashedFields::ALL),
            Ok(true)
        );
        assert_eq!(ports[1].port.set_rss_table(&other_table), Ok(true));
        assert_ne!(told(&ports[1]), first);

        spread_packets(&mut ports, 0, 2).unwrap();
        assert_eq!((told(&ports[0]), told(&ports[1])), (first.clone(), first));
        let whys = ports.iter().map(|open| open.spread.why.as_str());
        assert!(
            whys.clone()
                .all(|why| why.contains("its queue names the owner")),
            "{:?}",
            whys.collect::<Vec<_>>()
        );
    }
}
