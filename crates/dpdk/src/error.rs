//! What can go wrong between weir and its NICs, each as one sentence for the operator.
//!
//! Promises: every sentence says what is wrong and what to do. Does not know: exit codes.

use std::fmt;

/// A refusal. [`fmt::Display`] gives the sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// [`crate::Eal::init`] was called a second time; DPDK cannot begin again in the same process.
    #[error(
        "DPDK is already initialised in this process, or was before; start a new process for another one"
    )]
    AlreadyInitialised,

    /// Too few free hugepages for what was asked.
    #[error(
        "{asked_mib} MiB of hugepages are asked for but {free_mib} MiB are free; reserve them with \
         `sysctl vm.nr_hugepages={pages_needed}` or set memory: Anonymous(...)"
    )]
    TooFewHugepages {
        /// MiB asked for.
        asked_mib: u32,
        /// MiB free now, over all page sizes.
        free_mib: u64,
        /// What `vm.nr_hugepages` would have to be, in pages of the default size, with those in use now.
        pages_needed: u64,
    },

    /// The process lacks a right that the kernel demands.
    #[error("{what} needs root (or {capability}); start weir as root")]
    NotPermitted {
        /// What was to be done.
        what: String,
        /// The Linux capability that would do as well.
        capability: &'static str,
    },

    /// EAL refused to start.
    #[error(
        "DPDK does not start: {reason}; check runtime.memory, runtime.workers and the ports' devices"
    )]
    Eal {
        /// EAL's own words, or those of its error number.
        reason: String,
    },

    /// A pool of buffers could not be had.
    #[error(
        "{n_buffers} buffers of {buffer_bytes} bytes for pool {pool} cannot be had: {reason}; give runtime.memory more MiB"
    )]
    Mempool {
        /// The pool.
        pool: String,
        /// Buffers asked for.
        n_buffers: u32,
        /// Bytes of each.
        buffer_bytes: u16,
        /// Why not.
        reason: String,
    },

    /// The thread could not be made known to DPDK.
    #[error("the thread cannot be registered with DPDK: {reason}; run fewer workers")]
    Thread {
        /// Why not.
        reason: String,
    },

    /// The thread is known to DPDK already.
    #[error("this thread is registered with DPDK already; keep the registration it has")]
    AlreadyRegistered,

    /// Something about one port.
    #[error("port {port}: {problem}")]
    Port {
        /// The port's name in the configuration.
        port: String,
        /// What about it.
        problem: PortProblem,
    },
}

/// What is wrong with one port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// No such kernel interface in this network namespace.
    #[error(
        "there is no interface {interface} in this network namespace; `ip link` lists those there are"
    )]
    NoSuchInterface {
        /// The name that was given.
        interface: String,
    },

    /// The name cannot be an interface's.
    #[error(
        "`{interface}` cannot be an interface's name; give 1 to 15 characters without space, comma, slash or colon"
    )]
    NotAnInterfaceName {
        /// The name that was given.
        interface: String,
    },

    /// The PCI address is not one, or nothing is there.
    #[error("there is no PCI device {address}; `dpdk-devbind.py --status` lists those there are")]
    NoSuchPciDevice {
        /// The address that was given.
        address: String,
    },

    /// The kernel has the device.
    #[error(
        "PCI device {address} belongs to the kernel's driver {driver}, not to DPDK; give it over with \
         `dpdk-devbind.py --bind=vfio-pci {address}`"
    )]
    KernelHasDevice {
        /// The device's address.
        address: String,
        /// The kernel's driver.
        driver: String,
    },

    /// Nobody has the device.
    #[error(
        "PCI device {address} has no driver, and DPDK needs one to reach it; give it one with \
         `dpdk-devbind.py --bind=vfio-pci {address}`"
    )]
    NoDriver {
        /// The device's address.
        address: String,
    },

    /// Another port has the device.
    #[error("{device} is open as another port already; give each port a device of its own")]
    OpenAlready {
        /// The device string.
        device: String,
    },

    /// The device is there, DPDK did not take it.
    #[error(
        "DPDK does not take device {device}: {reason}; check that it is spelled right and that its driver is installed"
    )]
    NotTaken {
        /// The device string.
        device: String,
        /// The driver's own words, or those of its error number.
        reason: String,
    },

    /// The device answered a step of setting it up with an error.
    #[error("{step} fails: {reason}; {advice}")]
    Step {
        /// What was asked of the port.
        step: &'static str,
        /// The driver's own words, or those of its error number.
        reason: String,
        /// What to do.
        advice: &'static str,
    },

    /// The port runs already.
    #[error("it is started already; drop its queues before it is opened again")]
    AlreadyStarted,

    /// The MTU is outside what the port can carry.
    #[error("an MTU of {mtu} is not possible; {device} takes {min} to {max}")]
    Mtu {
        /// Bytes asked for.
        mtu: u16,
        /// The device string.
        device: String,
        /// Smallest possible.
        min: u16,
        /// Largest possible.
        max: u16,
    },

    /// The right to use the device is missing.
    #[error("{device} needs root (or {capability}); start weir as root")]
    NotPermitted {
        /// The device string.
        device: String,
        /// The Linux capability that would do as well.
        capability: &'static str,
    },
}

impl Error {
    pub(crate) fn port(port: &str, problem: PortProblem) -> Self {
        Self::Port {
            port: port.to_owned(),
            problem,
        }
    }
}

/// DPDK's way to fail: a negative error number returned. What was logged meanwhile usually says more.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Positive.
    pub(crate) errno: i32,
    pub(crate) logged: String,
}

impl Refusal {
    pub(crate) fn new(result: i32, logged: String) -> Self {
        Self {
            errno: result.saturating_neg(),
            logged,
        }
    }

    pub(crate) fn from_io(reason: &std::io::Error) -> Self {
        Self {
            errno: reason.raw_os_error().unwrap_or(libc::EIO),
            logged: String::new(),
        }
    }

    /// The port cannot do this at all, as opposed to: it went wrong.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.errno == libc::ENOTSUP || self.errno == libc::ENOSYS
    }
}

impl fmt::Display for Refusal {
    /// The first line logged, which names the cause where later ones name consequences; else the error number's text.
    /// `EAL: ` in front says nothing that the sentence around does not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self
            .logged
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
        {
            Some(line) => f.write_str(
                line.trim_start_matches("EAL: ")
                    .trim_end_matches(['.', '!']),
            ),
            None => write!(f, "{}", std::io::Error::from_raw_os_error(self.errno)),
        }
    }
}
