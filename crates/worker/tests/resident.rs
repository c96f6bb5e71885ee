//! Published counters cost memory for the destinations in use, not for all there could be.
//!
//! A test program of its own, for what is resident is the whole program's.

use weir_director::DestinationId;
use weir_worker::Published;

/// KiB of memory that this program has touched.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().trim_end_matches("kB").trim();
    number.parse().unwrap()
}

/// 64 bytes for each of a million destinations would be 64 MiB a worker.
#[test]
fn published_counters_are_zero_pages_until_used() {
    let before = resident_kib();
    let published: Vec<_> = (0..4).map(|_| Published::default()).collect();
    let last = DestinationId(DestinationId::LIMIT - 1);
    assert!(
        published
            .iter()
            .all(|published| published.destination(last).connections == 0)
    );
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB for nothing");
}
