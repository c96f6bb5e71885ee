//! The NICs that a guest can be given, in qemu's words.
//!
//! Promises: a NIC's place on the PCI bus follows from its number alone.
//! Does not know: what is plugged into it.

use std::fmt::Write;

/// A kind of emulated NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// virtio-net with this many pairs of queues.
    Virtio {
        /// Pairs of queues, at least one.
        n_queues: u16,
        /// How packets find their queue.
        spread: Spread,
    },
    /// Intel 82574L, with which DPDK does no RSS: the second of its two queues stays empty.
    E1000e,
}

/// How a virtio NIC with several queues spreads packets over them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// RSS: a Toeplitz hash, whose key and table the driver knows, done by qemu.
    Rss,
    /// As the host's tap likes it: by a hash of its own, then to the queue on which the flow was last sent.
    Untold,
}

/// The guest's driver that lets a program in user space have a NIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Any machine; the NIC reads and writes all memory.
    UioPciGeneric,
    /// A machine with an IOMMU, which keeps the NIC to the program's memory.
    VfioPci,
}

impl Driver {
    /// Its name in the kernel.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UioPciGeneric => "uio_pci_generic",
            Self::VfioPci => "vfio-pci",
        }
    }
}

/// Slots 0 to 2 belong to the emulated machine.
const FIRST_SLOT: usize = 3;

impl Nic {
    /// Pairs of queues on the host's side.
    pub(super) fn n_queues(self) -> u16 {
        match self {
            Self::Virtio { n_queues, .. } => n_queues,
            Self::E1000e => 1,
        }
    }

    /// The value of qemu's `-device` for NIC `number`, plugged into the network `netdev`.
    pub(super) fn device(self, driver: Driver, number: usize, netdev: &str, mac: &str) -> String {
        let mut words = match self {
            Self::Virtio {
                n_queues: 0 | 1, ..
            } => "virtio-net-pci".to_owned(),
            Self::Virtio { n_queues, spread } => {
                let rss = match spread {
                    Spread::Rss => "on",
                    Spread::Untold => "off",
                };
                // A vector for each queue, one for changes of the configuration, one for the control queue.
                let vectors = 2 * n_queues + 2;
                format!("virtio-net-pci,mq=on,rss={rss},vectors={vectors}")
            }
            Self::E1000e => "e1000e".to_owned(),
        };
        match (self, driver) {
            // Of its own accord virtio goes past the IOMMU.
            (Self::Virtio { .. }, Driver::VfioPci) => {
                words.push_str(",iommu_platform=on,disable-legacy=on");
            }
            (Self::Virtio { .. }, Driver::UioPciGeneric) | (Self::E1000e, _) => {}
        }
        // No ROM: nothing boots from this NIC.
        let slot = FIRST_SLOT + number;
        let _ = write!(words, ",netdev={netdev},mac={mac},addr={slot:#x},romfile=");
        words
    }
}

/// Where the guest finds NIC `number`: `0000:00:03.0`.
pub fn pci_address(number: usize) -> String {
    format!("0000:00:{:02x}.0", FIRST_SLOT + number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nic_is_where_its_number_says() {
        assert_eq!(pci_address(1), "0000:00:04.0");
        let words = Nic::E1000e.device(Driver::UioPciGeneric, 1, "lan", "02:00:00:00:00:d2");
        assert_eq!(
            words,
            "e1000e,netdev=lan,mac=02:00:00:00:00:d2,addr=0x4,romfile="
        );
    }

    #[test]
    fn queues_and_rss_are_asked_for() {
        let nic = Nic::Virtio {
            n_queues: 2,
            spread: Spread::Rss,
        };
        let words = nic.device(Driver::UioPciGeneric, 0, "wan", "02:00:00:00:00:d1");
        assert!(
            words.starts_with("virtio-net-pci,mq=on,rss=on,vectors=6,"),
            "{words}"
        );
    }
}
