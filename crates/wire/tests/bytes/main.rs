//! What this crate reads and writes, judged by etherparse.

mod answers;
mod checksums;
mod fragmenting;
mod fragments;
mod frames;
mod neighbours;
mod parse;
mod proxy_protocol;
mod sctp;
mod tcp_edits;
mod toa;
mod translation;
mod uoa;
