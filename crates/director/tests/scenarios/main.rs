//! What a director does, one behaviour a test: packets in, verdicts and packets out, checksums judged by etherparse.

mod conversation;
mod counters;
mod drops;
mod eviction;
mod fragments;
mod hostile;
mod icmp_errors;
mod life_cycle;
mod local_ports;
mod methods;
mod next_hops;
mod one_packet;
mod proxy;
mod punts;
mod removed;
mod reuse;
mod schedulers;
mod sctp;
mod sloppy;
mod snapshots;
mod takeover;
mod thresholds;
mod toa;
mod translation;
mod udp_clients;
mod workers;
