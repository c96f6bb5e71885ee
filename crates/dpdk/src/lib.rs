//! dpdk: to be written.
