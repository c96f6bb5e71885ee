//! The slow path, from outside: frames in, frames and counts out. Frames are made and read by an independent encoder
//! and decoder (`etherparse`), time is simulated.

mod arp;
mod discovery;
mod echo;
mod former;
mod hostile;
mod idle;
mod life;
mod path_mtu;
mod publication;
mod reading;
mod refusals;
mod stage;
mod start;
mod waiting;
