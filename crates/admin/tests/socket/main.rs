//! The admin socket from outside: a daemon made up for the purpose, real sockets, real processes.

mod commands;
mod fake;
mod garbage;
mod protocol;
mod server;
mod taking;
