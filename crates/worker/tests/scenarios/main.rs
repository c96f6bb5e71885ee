//! What a worker does, one behaviour a test: frames and orders in, frames, punts and counters out.

#[path = "../team/mod.rs"]
mod team;

mod burst_times;
mod bursts;
mod cache_lines;
mod conservation;
mod expiry;
mod fragments;
mod hand_offs;
mod kinds_of_ports;
mod listings;
mod orders;
mod persistence;
mod publishing;
mod punts;
mod snapshots;
mod threads;
