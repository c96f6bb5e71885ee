//! The other kind of memory: hugepages, without a mount. Runs where 64 MiB of them are free. EAL holds them until the
//! process ends, by file descriptors without a name.

use weir_dpdk::{Eal, EalConfig, EalMemory, Error, Mempool, MempoolConfig};

#[test]
fn eal_takes_hugepages() {
    let before = free_pages();
    let eal = match Eal::init(&EalConfig::new(EalMemory::Hugepages { mib: 64 })) {
        Ok(eal) => eal,
        Err(reason @ Error::TooFewHugepages { .. }) => return eprintln!("skipped: {reason}"),
        Err(error) => panic!("{error}"),
    };
    assert!(free_pages() < before, "the memory is hugepages");
    let config = MempoolConfig {
        name: "huge".to_owned(),
        n_buffers: 8191,
        buffer_bytes: 2176,
        cache: 256,
        numa_node: None,
    };
    let pool = Mempool::new(&eal, &config).expect("a pool fits into 64 MiB");
    assert_eq!(pool.n_in_use(), 0);
    let mbuf = pool.allocate().expect("a fresh pool has buffers");
    assert_eq!(pool.n_in_use(), 1);
    drop(mbuf);
}

fn free_pages() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("Linux has it");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("HugePages_Free:"));
    line.and_then(|number| number.trim().parse().ok())
        .expect("a kernel with hugepages")
}
