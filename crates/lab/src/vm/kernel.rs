//! The guest's kernel, as it lies unpacked in a folder.
//!
//! Promises: image and modules are of one version.
//! Does not know: where it was had from; `cargo xtask test` fetches the distribution's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names the folder to programs that `cargo xtask test` starts.
pub const FOLDER_VARIABLE: &str = "WEIR_GUEST_KERNEL";

/// The modules that the guest loads, in this order: what gives a PCI device to a program in user space, with and
/// without an IOMMU.
const MODULES: [&str; 8] = [
    "drivers/uio/uio.ko",
    "drivers/uio/uio_pci_generic.ko",
    "virt/lib/irqbypass.ko",
    "drivers/vfio/vfio.ko",
    "drivers/vfio/vfio_virqfd.ko",
    "drivers/vfio/vfio_iommu_type1.ko",
    "drivers/vfio/pci/vfio-pci-core.ko",
    "drivers/vfio/pci/vfio-pci.ko",
];

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What qemu boots.
    pub image: PathBuf,
    /// What the guest loads, in this order.
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The kernel of the package that is unpacked in `folder`.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let boot = folder.join("boot");
        let images = std::fs::read_dir(&boot)
            .with_context(|| format!("{} cannot be listed", boot.display()))?;
        let version = images
            .flatten()
            .find_map(|file| {
                Some(
                    file.file_name()
                        .to_str()?
                        .strip_prefix("vmlinuz-")?
                        .to_owned(),
                )
            })
            .with_context(|| format!("no kernel lies in {}", boot.display()))?;
        let kernel = folder.join(format!("lib/modules/{version}/kernel"));
        let modules: Vec<_> = MODULES.iter().map(|module| kernel.join(module)).collect();
        for module in &modules {
            ensure!(module.is_file(), "the kernel has no {}", module.display());
        }
        Ok(Self {
            image: boot.join(format!("vmlinuz-{version}")),
            modules,
        })
    }

    /// The kernel that `cargo xtask test` has fetched for the tests it runs.
    pub fn fetched() -> Result<Self> {
        let folder = std::env::var_os(FOLDER_VARIABLE).with_context(|| {
            format!("{FOLDER_VARIABLE} names no folder; run `cargo xtask test --vm`")
        })?;
        Self::in_folder(Path::new(&folder))
    }
}
