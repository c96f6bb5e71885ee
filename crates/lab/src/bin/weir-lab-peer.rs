//! The door to the lab's own servers, for tests: see [`weir_lab::peer`]. It has a second use: a lab's owner that a test
//! can kill.

use anyhow::Result;
use clap::{Parser, Subcommand};
use weir_lab::peer::Peer;
use weir_lab::server::PeerProgram;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Lab, Rig};

#[derive(Parser)]
#[command(about = "A server of weir's lab", version)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    #[command(flatten)]
    Peer(Peer),
    /// Lay out a lab, print its prefix, and hold it until killed
    HoldLab,
}

fn main() -> Result<()> {
    match Arguments::parse().role {
        Role::Peer(peer) => peer.serve(),
        Role::HoldLab => hold_lab(),
    }
}

fn hold_lab() -> Result<()> {
    let peer = PeerProgram::new(std::env::current_exe()?, &[]);
    let rig = Rig::lay_out(Lab::new()?, Arms::Two, ClientSide::OnLink, &peer)?;
    println!("{}", rig.topology.lab.prefix());
    loop {
        std::thread::park();
    }
}
