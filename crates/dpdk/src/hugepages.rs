//! Whether the kernel has the hugepages that are asked for, before EAL says so less clearly.
//!
//! Promises: reads `/sys/kernel/mm/hugepages` and nothing else, changes nothing. Does not know: NUMA nodes.

use crate::Error;
use std::fs;
use std::path::Path;

/// One size of hugepage that this kernel knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pages {
    size_kib: u64,
    n_total: u64,
    n_free: u64,
}

/// Refuses when fewer than `asked_mib` MiB are free, over all sizes of hugepage.
pub(crate) fn check_free(asked_mib: u32) -> Result<(), Error> {
    check(asked_mib, &read(Path::new("/sys/kernel/mm/hugepages")))
}

fn check(asked_mib: u32, sizes: &[Pages]) -> Result<(), Error> {
    let free_kib: u64 = sizes
        .iter()
        .map(|pages| pages.size_kib * pages.n_free)
        .sum();
    let asked_kib = u64::from(asked_mib) * 1024;
    if free_kib >= asked_kib {
        return Ok(());
    }
    // `vm.nr_hugepages` counts pages of the default size, on x86-64 the smallest; those in use stay in use.
    let (size_kib, n_total) = sizes
        .iter()
        .min_by_key(|pages| pages.size_kib)
        .map_or((2048, 0), |pages| (pages.size_kib, pages.n_total));
    let pages_needed = n_total + (asked_kib - free_kib).div_ceil(size_kib);
    Err(Error::TooFewHugepages {
        asked_mib,
        free_mib: free_kib / 1024,
        pages_needed,
    })
}

fn read(folder: &Path) -> Vec<Pages> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse().ok();
    entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let size_kib = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            let n_total = number(&entry.path().join("nr_hugepages"))?;
            let n_free = number(&entry.path().join("free_hugepages"))?;
            Some(Pages {
                size_kib,
                n_total,
                n_free,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_MIB: Pages = Pages {
        size_kib: 2048,
        n_total: 10,
        n_free: 4,
    };
    const ONE_GIB: Pages = Pages {
        size_kib: 1 << 20,
        n_total: 1,
        n_free: 1,
    };

    #[test]
    fn free_pages_of_all_sizes_count() {
        assert_eq!(check(1032, &[ONE_GIB, TWO_MIB]), Ok(()));
        assert!(check(1033, &[ONE_GIB, TWO_MIB]).is_err());
    }

    #[test]
    fn the_advice_leaves_pages_in_use_alone() {
        let error = check(1024, &[TWO_MIB]).unwrap_err();
        assert_eq!(
            error,
            Error::TooFewHugepages {
                asked_mib: 1024,
                free_mib: 8,
                pages_needed: 10 + 508
            }
        );
        assert!(
            error.to_string().contains("sysctl vm.nr_hugepages=518"),
            "{error}"
        );
    }

    #[test]
    fn a_kernel_without_hugepages_has_none_free() {
        assert!(check(1, &read(Path::new("/nonexistent"))).is_err());
    }
}
