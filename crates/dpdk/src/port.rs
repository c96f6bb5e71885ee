//! A NIC port: opened, asked, started, read, and closed when nobody holds it any more.
//!
//! Promises: capabilities are asked, never assumed; a missing one costs speed, never a start. A port that is dropped
//! is stopped, closed and, when virtual, removed.
//! Does not know: who runs on its queues, or what its addresses are.

use crate::counters::{Link, PortCounters};
use crate::device::{Device, VirtualDevice};
use crate::eal::Eal;
use crate::error::{Error, PortProblem, Refusal};
use crate::mempool::Mempool;
use crate::port_info::{Checksums, PortConfig, PortInfo, PortOptions};
use crate::queue::{RxQueue, TxQueue};
use crate::rss::{self, HashedFields, RssInfo, RssState};
use crate::{interface, log};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use weir_dpdk_sys as sys;

/// The queues of a started port, each to be moved to the worker that runs it.
#[derive(Debug)]
pub struct Queues {
    /// At least one, at most as many as wanted.
    pub receive: Vec<RxQueue>,
    /// At least one, at most as many as wanted.
    pub transmit: Vec<TxQueue>,
}

/// A port.
///
/// Ownership: a counted handle, as are its queues. The last to go stops and closes the port and removes the device
/// that was made for it. It keeps EAL alive.
#[derive(Debug, Clone)]
pub struct Port(Arc<OpenPort>);

/// What the handles share.
#[derive(Debug)]
pub(crate) struct OpenPort {
    /// DPDK's number. Invariant: the port of this number is open, and ours.
    pub(crate) id: u16,
    /// Frames in several buffers that were dropped.
    pub(crate) n_multi_segment: AtomicU64,
    name: String,
    device: Device,
    /// The device's name in DPDK. Invariant: claimed by us.
    dpdk_name: String,
    mtu: u16,
    is_started: AtomicBool,
    /// While it is open, a kernel interface under this port hears all multicast.
    multicast: OnceLock<OwnedFd>,
    /// DPDK's functions that are not for the fast path must not run twice at once on the same port.
    control: Mutex<()>,
    /// Last, so that it goes after everything above.
    eal: Eal,
}

impl Port {
    /// Makes a port of `device`, known as `name` in errors. A PCI device must have been named to [`Eal::init`].
    ///
    /// Errors: the device is not there, or not DPDK's, or not permitted, or refused by its driver.
    pub fn open(
        eal: &Eal,
        name: &str,
        device: &Device,
        options: PortOptions,
    ) -> Result<Self, Error> {
        let refuse = |problem| Error::port(name, problem);
        device.check().map_err(refuse)?;
        let made = device.virtual_device(
            eal.next_device_number(),
            options.n_queues.max(1),
            options.mtu,
        );
        let dpdk_name = match (&made, device.pci_address()) {
            (Some(made), _) => made.name.clone(),
            (None, Some(address)) => address,
            (None, None) => String::new(),
        };
        if !eal.claim_device(&dpdk_name) {
            return Err(refuse(PortProblem::OpenAlready {
                device: device.to_string(),
            }));
        }
        match attach(eal, &dpdk_name, made.as_ref(), device) {
            Ok(id) => Ok(Self(Arc::new(OpenPort {
                id,
                n_multi_segment: AtomicU64::new(0),
                name: name.to_owned(),
                device: device.clone(),
                dpdk_name,
                mtu: options.mtu,
                is_started: AtomicBool::new(false),
                multicast: OnceLock::new(),
                control: Mutex::default(),
                eal: eal.clone(),
            }))),
            Err(problem) => {
                eal.release_device(&dpdk_name);
                Err(refuse(problem))
            }
        }
    }

    /// The name given to [`Self::open`].
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The device given to [`Self::open`].
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// Asks the port what it is and can do.
    pub fn info(&self) -> Result<PortInfo, Error> {
        self.0.info()
    }

    /// Configures queues, MTU, RSS and multicast, and starts the port; received frames lie in buffers of `pool`.
    ///
    /// Errors: the port runs already, the MTU is impossible, or a step is refused by the driver. After one of the
    /// last the port is not to be started again.
    pub fn start(&self, config: &PortConfig, pool: &Mempool) -> Result<Queues, Error> {
        if self.0.is_started.swap(true, Ordering::AcqRel) {
            return Err(Error::port(&self.0.name, PortProblem::AlreadyStarted));
        }
        let (n_rx_queues, n_tx_queues) = self.0.start(config, pool)?;
        Ok(Queues {
            receive: (0..n_rx_queues)
                .map(|queue| RxQueue::new(self.0.clone(), pool.clone(), queue))
                .collect(),
            transmit: (0..n_tx_queues)
                .map(|queue| TxQueue::new(self.0.clone(), queue))
                .collect(),
        })
    }

    /// The link as it is now.
    pub fn link(&self) -> Result<Link, Error> {
        let (mut speed, mut is_up, mut is_full_duplex) = (0, 0, 0);
        let port = &self.0;
        // SAFETY: the port is open; the three are writable.
        let get = || unsafe {
            sys::shim_eth_link_get(
                port.id,
                &raw mut speed,
                &raw mut is_up,
                &raw mut is_full_duplex,
            )
        };
        port.call(get)
            .map_err(|refusal| port.step("reading the link's state", &refusal))?;
        let is_known = speed != 0 && speed != sys::RTE_ETH_SPEED_NUM_UNKNOWN;
        // Drivers for packet sockets call every link up.
        let is_running = self
            .device()
            .interface()
            .is_none_or(|name| interface::is_running(name).unwrap_or(true));
        Ok(Link {
            is_up: is_up != 0 && is_running,
            is_full_duplex: is_full_duplex != 0,
            mbit_per_s: is_known.then_some(speed),
        })
    }

    /// What the port has counted so far.
    pub fn counters(&self) -> Result<PortCounters, Error> {
        let port = &self.0;
        // SAFETY: a plain C struct for which all zeroes are valid.
        let mut stats: sys::rte_eth_stats = unsafe { std::mem::zeroed() };
        // SAFETY: the port is open; `stats` is writable.
        port.call(|| unsafe { sys::rte_eth_stats_get(port.id, &raw mut stats) })
            .map_err(|refusal| port.step("reading the counters", &refusal))?;
        Ok(PortCounters {
            received: stats.ipackets,
            received_bytes: stats.ibytes,
            transmitted: stats.opackets,
            transmitted_bytes: stats.obytes,
            missed: stats.imissed,
            receive_errors: stats.ierrors,
            transmit_errors: stats.oerrors,
            no_buffer: stats.rx_nombuf,
            multi_segment: port.n_multi_segment.load(Ordering::Relaxed),
        })
    }

    /// The RSS key, table and fields in use; `None` where the port cannot tell, or hashes nothing.
    pub fn rss(&self) -> Result<Option<RssState>, Error> {
        rss::read(&self.0, &self.0.device_info()?)
    }

    /// Gives the running port an RSS key, with the fields to hash as far as it can. `false` where it cannot take one, or
    /// none of this length.
    pub fn set_rss_key(&self, key: &[u8], fields: HashedFields) -> Result<bool, Error> {
        rss::write_key(&self.0, &self.0.device_info()?, key, fields)
    }

    /// Gives the running port a redirection table (queue numbers), whole. `false` where it cannot take one.
    pub fn set_rss_table(&self, table: &[u16]) -> Result<bool, Error> {
        rss::write_table(&self.0, table)
    }

    /// Gives the port another MAC address. `false` where it cannot take one.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<bool, Error> {
        let port = &self.0;
        let mut address = sys::rte_ether_addr { addr_bytes: mac };
        // SAFETY: the port is open; the address is copied.
        let set = || unsafe { sys::rte_eth_dev_default_mac_addr_set(port.id, &raw mut address) };
        match port.call(set) {
            Ok(_) => Ok(true),
            Err(refusal) if refusal.is_unsupported() => Ok(false),
            Err(refusal) => Err(port.step("setting the MAC address", &refusal)),
        }
    }
}

impl OpenPort {
    /// One call of a control function: alone on this port, and quiet.
    pub(crate) fn call(&self, function: impl FnOnce() -> i32) -> Result<i32, Refusal> {
        let _alone = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        call(function)
    }

    /// The error of a step that has no better advice.
    pub(crate) fn step(&self, step: &'static str, refusal: &Refusal) -> Error {
        self.advise(
            step,
            refusal,
            "check the port's device, mtu and number of workers against what its driver can do",
        )
    }

    fn advise(&self, step: &'static str, refusal: &Refusal, advice: &'static str) -> Error {
        Error::port(
            &self.name,
            PortProblem::Step {
                step,
                reason: refusal.to_string(),
                advice,
            },
        )
    }

    pub(crate) fn device_info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        // SAFETY: a plain C struct for which all zeroes are valid.
        let mut info: sys::rte_eth_dev_info = unsafe { std::mem::zeroed() };
        // SAFETY: the port is open; `info` is writable.
        self.call(|| unsafe { sys::rte_eth_dev_info_get(self.id, &raw mut info) })
            .map_err(|refusal| self.step("asking what the port can do", &refusal))?;
        Ok(info)
    }

    fn info(&self) -> Result<PortInfo, Error> {
        let info = self.device_info()?;
        let mut mac = sys::rte_ether_addr { addr_bytes: [0; 6] };
        // SAFETY: the port is open; `mac` is writable.
        self.call(|| unsafe { sys::rte_eth_macaddr_get(self.id, &raw mut mac) })
            .map_err(|refusal| self.step("reading the MAC address", &refusal))?;
        let rss = (info.flow_type_rss_offloads != 0).then(|| RssInfo {
            key_bytes: rss::key_bytes(&info),
            table_entries: info.reta_size,
            fields: HashedFields::from_bits(info.flow_type_rss_offloads),
        });
        Ok(PortInfo {
            driver: text(info.driver_name),
            device: self.dpdk_name.clone(),
            numa_node: self.numa_node(),
            mac: mac.addr_bytes,
            mtu: self.mtu()?,
            min_mtu: info.min_mtu,
            max_mtu: info.max_mtu,
            max_rx_queues: info.max_rx_queues,
            max_tx_queues: info.max_tx_queues,
            n_rx_queues: info.nb_rx_queues,
            n_tx_queues: info.nb_tx_queues,
            receive_checksums: Checksums {
                ipv4: info.rx_offload_capa & sys::RTE_ETH_RX_OFFLOAD_IPV4_CKSUM != 0,
                tcp: info.rx_offload_capa & sys::RTE_ETH_RX_OFFLOAD_TCP_CKSUM != 0,
                udp: info.rx_offload_capa & sys::RTE_ETH_RX_OFFLOAD_UDP_CKSUM != 0,
            },
            transmit_checksums: Checksums {
                ipv4: info.tx_offload_capa & sys::RTE_ETH_TX_OFFLOAD_IPV4_CKSUM != 0,
                tcp: info.tx_offload_capa & sys::RTE_ETH_TX_OFFLOAD_TCP_CKSUM != 0,
                udp: info.tx_offload_capa & sys::RTE_ETH_TX_OFFLOAD_UDP_CKSUM != 0,
            },
            rss,
        })
    }

    fn numa_node(&self) -> Option<u32> {
        // SAFETY: the port is open.
        u32::try_from(unsafe { sys::rte_eth_dev_socket_id(self.id) }).ok()
    }

    /// The steps in the order that DPDK demands. Returns how many queues of each kind there are.
    fn start(&self, config: &PortConfig, pool: &Mempool) -> Result<(u16, u16), Error> {
        let info = self.device_info()?;
        self.check_mtu(&info)?;
        let n_rx_queues = config.n_rx_queues.clamp(1, info.max_rx_queues.max(1));
        let n_tx_queues = config.n_tx_queues.clamp(1, info.max_tx_queues.max(1));

        // (1) Offloads stay off: no scattered reception, checksums are weir's own. RSS is on where it has a choice.
        // SAFETY: a plain C struct for which all zeroes are valid.
        let mut conf: sys::rte_eth_conf = unsafe { std::mem::zeroed() };
        let hashed = config.hashed_fields.bits() & info.flow_type_rss_offloads;
        let mut key = config
            .rss_key
            .clone()
            .filter(|key| key.len() == usize::from(rss::key_bytes(&info)));
        if n_rx_queues > 1 && hashed != 0 {
            conf.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = hashed;
            if let Some(key) = &mut key {
                conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
                conf.rx_adv_conf.rss_conf.rss_key_len = rss::key_bytes(&info);
            }
        }
        // Buffers are sized from the MTU when queues are set up, so the port hears of it here; those that understate
        // what they carry (net_af_packet) keep their default and are told by `set_mtu`.
        if u32::from(self.mtu) + FRAME_OVERHEAD_BYTES <= info.max_rx_pktlen {
            conf.rxmode.mtu = self.mtu.into();
        }
        // SAFETY: the port is open and stopped; `conf`, and the key behind it, are only read.
        self.call(|| unsafe {
            sys::rte_eth_dev_configure(self.id, n_rx_queues, n_tx_queues, &raw const conf)
        })
        .map_err(|refusal| self.step("configuring", &refusal))?;

        // (2) Queues, on the port's own node.
        let (mut rx_descriptors, mut tx_descriptors) =
            (config.rx_descriptors, config.tx_descriptors);
        let (rx, tx) = (&raw mut rx_descriptors, &raw mut tx_descriptors);
        // SAFETY: the port is open; both numbers are writable.
        self.call(|| unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, rx, tx) })
            .map_err(|refusal| self.step("choosing the number of descriptors", &refusal))?;
        let node = self
            .numa_node()
            .unwrap_or(sys::SOCKET_ID_ANY.cast_unsigned());
        for queue in 0..n_rx_queues {
            let pool = pool.as_ptr();
            // SAFETY: the port is open and stopped; the pool lives as long as EAL; without a configuration the
            // driver's default is taken.
            self.call(|| unsafe {
                sys::rte_eth_rx_queue_setup(
                    self.id,
                    queue,
                    rx_descriptors,
                    node,
                    std::ptr::null(),
                    pool,
                )
            })
            .map_err(|refusal| {
                self.advise(
                    "setting up a receive queue",
                    &refusal,
                    "give runtime.memory more MiB or the port a smaller mtu",
                )
            })?;
        }
        for queue in 0..n_tx_queues {
            // SAFETY: as above.
            self.call(|| unsafe {
                sys::rte_eth_tx_queue_setup(self.id, queue, tx_descriptors, node, std::ptr::null())
            })
            .map_err(|refusal| {
                self.advise(
                    "setting up a transmit queue",
                    &refusal,
                    "give runtime.memory more MiB or run fewer workers",
                )
            })?;
        }

        self.set_mtu()?;

        // (3) Start, and hear multicast: IPv6 neighbours speak to groups.
        // SAFETY: the port is open and configured.
        self.call(|| unsafe { sys::rte_eth_dev_start(self.id) })
            .map_err(|refusal| self.step("starting", &refusal))?;
        self.hear_multicast()?;

        // (4) Some drivers take no notice of a key in the configuration, and take one afterwards.
        if let Some(key) = key.filter(|_| conf.rxmode.mq_mode == sys::RTE_ETH_MQ_RX_RSS)
            && rss::read(self, &info)?.is_some_and(|state| state.key != key)
        {
            rss::write_key(self, &info, &key, config.hashed_fields)?;
        }
        Ok((n_rx_queues, n_tx_queues))
    }

    /// All multicast groups, or else everything: a filter that cannot be widened must not hide neighbours.
    fn hear_multicast(&self) -> Result<(), Error> {
        match &self.device {
            Device::AfPacket(name) | Device::AfXdp(name) => {
                let socket = interface::hear_multicast(name).map_err(|reason| {
                    self.step("listening to multicast", &Refusal::from_io(&reason))
                })?;
                // A port starts once, so there was none.
                let _ = self.multicast.set(socket);
                return Ok(());
            }
            Device::Pci(_) | Device::Tap(_) | Device::Vdev(_) => {}
        }
        // SAFETY: the port is open.
        let all_groups = self.call(|| unsafe { sys::rte_eth_allmulticast_enable(self.id) });
        if all_groups.is_ok() {
            return Ok(());
        }
        // SAFETY: the port is open.
        match self.call(|| unsafe { sys::rte_eth_promiscuous_enable(self.id) }) {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.is_unsupported() => Ok(()),
            Err(refusal) => Err(self.step("listening to multicast", &refusal)),
        }
    }

    fn check_mtu(&self, info: &sys::rte_eth_dev_info) -> Result<(), Error> {
        if (info.min_mtu..=info.max_mtu).contains(&self.mtu) {
            return Ok(());
        }
        let device = self.device.to_string();
        let problem = PortProblem::Mtu {
            mtu: self.mtu,
            device,
            min: info.min_mtu,
            max: info.max_mtu,
        };
        Err(Error::port(&self.name, problem))
    }

    /// Tells those that learn their MTU only so. Virtual ports have none and carry what fits a buffer. The limit of a
    /// packet socket is its interface's; its driver would check against a frame size that is not the ring's.
    fn set_mtu(&self) -> Result<(), Error> {
        let result = match &self.device {
            Device::AfPacket(interface) => {
                interface::set_mtu(interface, self.mtu).map_err(|reason| Refusal::from_io(&reason))
            }
            Device::Pci(_) | Device::AfXdp(_) | Device::Tap(_) | Device::Vdev(_) => {
                // SAFETY: the port is open.
                self.call(|| unsafe { sys::rte_eth_dev_set_mtu(self.id, self.mtu) })
                    .map(|_| ())
            }
        };
        match result {
            Err(refusal) if !refusal.is_unsupported() => {
                Err(self.step("setting the MTU", &refusal))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The MTU in use, in bytes.
    fn mtu(&self) -> Result<u16, Error> {
        match self.device {
            Device::AfPacket(_) => Ok(self.mtu),
            Device::Pci(_) | Device::AfXdp(_) | Device::Tap(_) | Device::Vdev(_) => {
                let mut mtu = 0;
                // SAFETY: the port is open; `mtu` is writable.
                self.call(|| unsafe { sys::rte_eth_dev_get_mtu(self.id, &raw mut mtu) })
                    .map_err(|refusal| self.step("reading the MTU", &refusal))?;
                Ok(mtu)
            }
        }
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        // There is nobody to tell of a failure, and nothing left to do about one.
        log::capture(|| {
            if *self.is_started.get_mut() {
                // SAFETY: the port is open, and no queue handle is left that could be polling it.
                unsafe { sys::rte_eth_dev_stop(self.id) };
            }
            // SAFETY: the port is open and stopped; its number is not used again.
            unsafe { sys::rte_eth_dev_close(self.id) };
            if self.device.pci_address().is_none() {
                detach(&self.dpdk_name);
            }
        });
        self.eal.release_device(&self.dpdk_name);
    }
}

/// Makes a virtual device, if it is one, and finds DPDK's number for the port. The name is claimed.
fn attach(
    eal: &Eal,
    name: &str,
    made: Option<&VirtualDevice>,
    device: &Device,
) -> Result<u16, PortProblem> {
    let not_taken = |reason| PortProblem::NotTaken {
        device: device.to_string(),
        reason,
    };
    let c_name = c_string(name).map_err(not_taken)?;
    if let Some(made) = made {
        let arguments = c_string(&made.arguments).map_err(not_taken)?;
        // SAFETY: EAL runs; the strings are copied.
        let add = || unsafe {
            sys::rte_eal_hotplug_add(c"vdev".as_ptr(), c_name.as_ptr(), arguments.as_ptr())
        };
        call(add).map_err(|refusal| not_taken(refusal.to_string()))?;
    }
    let mut id = 0;
    // SAFETY: EAL runs; `id` is writable.
    match call(|| unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) }) {
        Ok(_) => Ok(id),
        Err(refusal) => {
            // The driver took it, but it is no NIC (a crypto device, say).
            log::capture(|| made.map(|_| detach(name)));
            let kernel_knows = device
                .pci_address()
                .and_then(|address| Device::why_not_probed(&address));
            Err(kernel_knows.unwrap_or_else(|| {
                not_taken(match eal.why_refused(name) {
                    Some(words) => Refusal::new(-refusal.errno, words.to_owned()).to_string(),
                    None => refusal.to_string(),
                })
            }))
        }
    }
}

/// Takes a virtual device away. It was there, so there is nothing to be done about a failure.
fn detach(name: &str) {
    if let Ok(name) = c_string(name) {
        // SAFETY: EAL runs; the string is copied; the device is claimed and no port of it is open.
        unsafe { sys::rte_eal_hotplug_remove(c"vdev".as_ptr(), name.as_ptr()) };
    }
}

/// Ethernet header and frame check sequence, in bytes, as DPDK reckons where a driver does not say.
const FRAME_OVERHEAD_BYTES: u32 = 18;

/// A DPDK function that returns a negative error number.
fn call(function: impl FnOnce() -> i32) -> Result<i32, Refusal> {
    match log::capture(function) {
        (result, said) if result < 0 => Err(Refusal::new(result, said)),
        (result, _) => Ok(result),
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "it contains a zero byte".to_owned())
}

fn text(string: *const std::ffi::c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: DPDK's strings have their terminator.
    unsafe { CStr::from_ptr(string) }
        .to_string_lossy()
        .into_owned()
}
