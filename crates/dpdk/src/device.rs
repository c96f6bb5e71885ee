//! Names of devices, as an operator gives them and as DPDK wants them.
//!
//! Promises: what can be known to be wrong before DPDK is asked is refused in clearer words than DPDK's.
//! Does not know: what the device will turn out to be able to do.

use crate::error::PortProblem;
use crate::{HEADROOM_BYTES, eal, interface};
use std::fmt;
use std::fs;
use std::path::Path;

/// A device that DPDK can make a port of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Device {
    /// A PCI NIC or virtual function by its address, `0000:01:00.0` or `01:00.0`.
    Pci(String),
    /// A kernel interface through a packet socket.
    AfPacket(String),
    /// A kernel interface through an AF_XDP socket.
    AfXdp(String),
    /// A new tap interface of this name.
    Tap(String),
    /// Any other virtual device in DPDK's own words: `net_memif0,role=client,socket=/run/memif.sock`.
    Vdev(String),
}

/// A virtual device as `rte_eal_hotplug_add` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VirtualDevice {
    pub(crate) name: String,
    pub(crate) arguments: String,
}

/// Bytes of each of the two rings that the kernel shares with a packet socket, per queue: 8,192 frames of the usual
/// MTU, 32 ms at 3 Gbit/s. DPDK's default of 512 frames overflows whenever the worker is away for one time slice.
const AF_PACKET_RING_BYTES: u32 = 16 << 20;
/// Rings are made of blocks of this many physically contiguous bytes, each a whole number of frames.
const AF_PACKET_BLOCK_BYTES: u32 = 65_536;
/// Bytes before the frame in a ring slot: `struct tpacket2_hdr`, `struct sockaddr_ll`, alignment, less than this.
const AF_PACKET_SLOT_OVERHEAD: u32 = 96;
/// Ethernet header with one VLAN tag, in bytes.
const ETHERNET_BYTES: u32 = 18;

impl Device {
    /// The address as EAL's list of allowed devices wants it, for a PCI device.
    #[must_use]
    pub fn pci_address(&self) -> Option<String> {
        match self {
            Self::Pci(address) => Some(full_pci_address(address)),
            Self::AfPacket(_) | Self::AfXdp(_) | Self::Tap(_) | Self::Vdev(_) => None,
        }
    }

    /// The kernel interface that it reads through a socket.
    pub(crate) fn interface(&self) -> Option<&str> {
        match self {
            Self::AfPacket(interface) | Self::AfXdp(interface) => Some(interface),
            Self::Pci(_) | Self::Tap(_) | Self::Vdev(_) => None,
        }
    }

    /// Bytes that each buffer of a pool for this device must have, headroom included, to hold any frame of `mtu`
    /// bytes of payload in one piece.
    #[must_use]
    pub fn buffer_bytes(&self, mtu: u16) -> u16 {
        let room = match self {
            // The driver insists that a whole slot of its ring would fit.
            Self::AfPacket(_) => af_packet_slot_bytes(mtu),
            // NICs round the size of their buffers down, most of them to whole KiB.
            Self::Pci(_) | Self::AfXdp(_) | Self::Tap(_) | Self::Vdev(_) => (u32::from(mtu)
                + 2 * ETHERNET_BYTES)
                .next_multiple_of(1024)
                .max(2048),
        };
        u16::try_from(room + u32::from(HEADROOM_BYTES)).unwrap_or(u16::MAX)
    }

    /// Refuses what cannot work.
    pub(crate) fn check(&self) -> Result<(), PortProblem> {
        match self {
            Self::Pci(_) | Self::Vdev(_) => Ok(()),
            Self::AfPacket(interface) | Self::AfXdp(interface) => {
                interface::check_name(interface)?;
                if !interface::exists(interface) {
                    return Err(PortProblem::NoSuchInterface {
                        interface: interface.clone(),
                    });
                }
                self.check_right("CAP_NET_RAW")
            }
            Self::Tap(interface) => {
                interface::check_name(interface)?;
                self.check_right("CAP_NET_ADMIN")
            }
        }
    }

    fn check_right(&self, capability: &'static str) -> Result<(), PortProblem> {
        let number = match capability {
            "CAP_NET_ADMIN" => 12,
            _ => 13,
        };
        if eal::is_root() || effective_capabilities() & (1 << number) != 0 {
            return Ok(());
        }
        Err(PortProblem::NotPermitted {
            device: self.to_string(),
            capability,
        })
    }

    /// Why DPDK has made no port of a PCI device, as far as the kernel knows.
    pub(crate) fn why_not_probed(address: &str) -> Option<PortProblem> {
        Self::why_not_probed_in(Path::new("/sys/bus/pci/devices"), address)
    }

    fn why_not_probed_in(devices: &Path, address: &str) -> Option<PortProblem> {
        let folder = devices.join(address);
        if !folder.exists() {
            return Some(PortProblem::NoSuchPciDevice {
                address: address.to_owned(),
            });
        }
        let Ok(driver) = fs::read_link(folder.join("driver")) else {
            return Some(PortProblem::NoDriver {
                address: address.to_owned(),
            });
        };
        let driver = driver.file_name()?.to_string_lossy().into_owned();
        let is_for_user_space =
            ["vfio-pci", "uio_pci_generic", "igb_uio"].contains(&driver.as_str());
        (!is_for_user_space).then(|| PortProblem::KernelHasDevice {
            address: address.to_owned(),
            driver,
        })
    }

    /// The device with its options, for all but PCI. `number` is unique in the process.
    pub(crate) fn virtual_device(
        &self,
        number: u32,
        n_queues: u16,
        mtu: u16,
    ) -> Option<VirtualDevice> {
        let (name, arguments) = match self {
            Self::Pci(_) => return None,
            Self::AfPacket(interface) => {
                let slot = af_packet_slot_bytes(mtu);
                let block = AF_PACKET_BLOCK_BYTES.max(slot);
                let n_frames = AF_PACKET_RING_BYTES / slot;
                // Not past the qdisc: there tcpdump on the interface would not see what is sent.
                (
                    format!("net_af_packet{number}"),
                    format!(
                        "iface={interface},qpairs={n_queues},qdisc_bypass=0,blocksz={block},framesz={slot},\
                         framecnt={n_frames}"
                    ),
                )
            }
            Self::AfXdp(interface) => {
                let n_queues = n_queues.min(interface::n_queues(interface));
                (
                    format!("net_af_xdp{number}"),
                    format!("iface={interface},start_queue=0,queue_count={n_queues}"),
                )
            }
            Self::Tap(interface) => (format!("net_tap{number}"), format!("iface={interface}")),
            Self::Vdev(text) => {
                let (name, arguments) = text.split_once(',').unwrap_or((text, ""));
                (name.to_owned(), arguments.to_owned())
            }
        };
        Some(VirtualDevice { name, arguments })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Pci(name) => ("Pci", name),
            Self::AfPacket(name) => ("AfPacket", name),
            Self::AfXdp(name) => ("AfXdp", name),
            Self::Tap(name) => ("Tap", name),
            Self::Vdev(name) => ("Vdev", name),
        };
        write!(f, "{kind}({name:?})")
    }
}

/// Bytes of one ring slot: a power of two, because blocks must be whole numbers of slots.
fn af_packet_slot_bytes(mtu: u16) -> u32 {
    (u32::from(mtu) + ETHERNET_BYTES + AF_PACKET_SLOT_OVERHEAD)
        .next_power_of_two()
        .max(2048)
}

/// The domain may be left out by people, not by DPDK.
fn full_pci_address(address: &str) -> String {
    match address.matches(':').count() {
        1 => format!("0000:{address}"),
        _ => address.to_owned(),
    }
}

fn effective_capabilities() -> u64 {
    let Ok(status) = fs::read_to_string("/proc/thread-self/status") else {
        return 0;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(device: &Device, n_queues: u16, mtu: u16) -> String {
        let device = device
            .virtual_device(7, n_queues, mtu)
            .expect("not a PCI device");
        format!("{},{}", device.name, device.arguments)
    }

    #[test]
    fn af_packet_rings_hold_the_mtu_and_the_same_time_of_traffic() {
        let device = Device::AfPacket("eth1".to_owned());
        assert_eq!(
            arguments(&device, 2, 1500),
            "net_af_packet7,iface=eth1,qpairs=2,qdisc_bypass=0,blocksz=65536,framesz=2048,framecnt=8192"
        );
        assert_eq!(
            arguments(&device, 1, 9000),
            "net_af_packet7,iface=eth1,qpairs=1,qdisc_bypass=0,blocksz=65536,framesz=16384,framecnt=1024"
        );
    }

    #[test]
    fn a_slot_has_room_for_the_largest_frame_of_any_mtu() {
        // 66: where the kernel puts the frame in a slot of TPACKET_V2 (net/packet/af_packet.c, `macoff`).
        for mtu in 68..=9728 {
            assert!(
                af_packet_slot_bytes(mtu) >= u32::from(mtu) + ETHERNET_BYTES + 66,
                "{mtu}"
            );
        }
    }

    #[test]
    fn any_device_string_passes_unchanged() {
        let text = "net_memif0,role=client,id=0,socket=/run/memif.sock";
        assert_eq!(arguments(&Device::Vdev(text.to_owned()), 1, 1500), text);
    }

    #[test]
    fn a_name_cannot_smuggle_options() {
        for name in ["", "eth1,qpairs=8", "a name", "sixteen-letters-", "a/b"] {
            let problem = Device::AfPacket(name.to_owned()).check().unwrap_err();
            assert_eq!(
                problem,
                PortProblem::NotAnInterfaceName {
                    interface: name.to_owned()
                }
            );
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        let problem = Device::AfPacket("weir-none".to_owned())
            .check()
            .unwrap_err();
        assert!(
            problem
                .to_string()
                .starts_with("there is no interface weir-none"),
            "{problem}"
        );
    }

    #[test]
    fn a_missing_pci_device_is_named() {
        let problem = Device::why_not_probed("ffff:ff:1f.7");
        assert_eq!(
            problem,
            Some(PortProblem::NoSuchPciDevice {
                address: "ffff:ff:1f.7".to_owned()
            })
        );
    }

    #[test]
    fn a_pci_device_is_refused_by_whose_it_is() {
        let devices = std::env::temp_dir().join(format!("weir-pci-{}", std::process::id()));
        let address = "0000:00:03.0";
        let why_with = |driver: Option<&str>| {
            let folder = devices.join(address);
            fs::create_dir_all(&folder).unwrap();
            if let Some(driver) = driver {
                let target = Path::new("/sys/bus/pci/drivers").join(driver);
                std::os::unix::fs::symlink(target, folder.join("driver")).unwrap();
            }
            let problem = Device::why_not_probed_in(&devices, address);
            fs::remove_dir_all(&devices).unwrap();
            problem.map(|problem| problem.to_string())
        };
        assert_eq!(why_with(Some("vfio-pci")), None);
        let of_the_kernel = why_with(Some("virtio-pci")).unwrap();
        assert!(
            of_the_kernel.contains("kernel's driver virtio-pci"),
            "{of_the_kernel}"
        );
        let of_nobody = why_with(None).unwrap();
        assert!(of_nobody.contains("has no driver"), "{of_nobody}");
    }

    #[test]
    fn the_pci_domain_may_be_left_out() {
        assert_eq!(
            Device::Pci("01:00.0".to_owned()).pci_address().as_deref(),
            Some("0000:01:00.0")
        );
        assert_eq!(
            Device::Pci("0001:01:00.0".to_owned())
                .pci_address()
                .as_deref(),
            Some("0001:01:00.0")
        );
        assert_eq!(Device::Tap("t".to_owned()).pci_address(), None);
    }

    #[test]
    fn buffers_hold_the_frame_and_the_headroom() {
        assert_eq!(
            Device::AfPacket("a".to_owned()).buffer_bytes(1500),
            2048 + 128
        );
        assert_eq!(
            Device::AfPacket("a".to_owned()).buffer_bytes(9000),
            16384 + 128
        );
        assert_eq!(Device::Pci("a".to_owned()).buffer_bytes(1500), 2048 + 128);
        assert_eq!(Device::Pci("a".to_owned()).buffer_bytes(9000), 9216 + 128);
    }
}
