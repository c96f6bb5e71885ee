//! The virtual machine: weir on emulated PCI NICs, in the place of the director of a [`crate::Topology`].
//!
//! ```text
//! client ── wan [bridge] wan-tap ══ 00:03.0 ┐
//!                                           │ guest: Linux, hugepages, vfio-pci, weir
//! switch ── lan [bridge] lan-tap ══ 00:04.0 ┘
//! ```
//!
//! What it is: a kernel of the distribution ([`Kernel`]), an archive of busybox and the statically linked binary to boot
//! from ([`initramfs`]), taps in the director's namespace ([`tap`]), qemu between them, and a serial line on which the
//! guest runs `weir` commands ([`Guest`]). All that is outside the guest is the lab's: clients, servers, captures.
//!
//! Promises: qemu runs inside the director's namespace, its files lie in the lab's folder, so all of it goes when the
//! lab goes. No acceleration by hardware is needed.
//!
//! Does not know: what is tested.

pub mod guest;
pub mod initramfs;
pub mod kernel;
pub mod nic;
pub mod tap;

pub use guest::{Guest, Shape};
pub use kernel::Kernel;
pub use nic::{Driver, Nic, Spread};
