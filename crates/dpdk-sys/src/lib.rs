//! dpdk-sys: to be written.
