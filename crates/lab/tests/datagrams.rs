//! UDP through weir: every datagram is answered, whole, and the real servers share the work.

use anyhow::Result;
use weir_lab::address::Family;
use weir_lab::config::{Protocol, Service};
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, client, server};

const REQUESTS: u16 = 1000;

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_thousand_datagrams_are_answered() -> Result<()> {
    for n_workers in [1, 2] {
        let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        rig.serve(
            n_workers,
            &Service::on_both(&rig.topology, Protocol::Udp, server::ECHO, "Rr", [1, 1]),
        )?;
        for family in Family::ALL {
            let vip = (rig.topology.vip.of(family), server::ECHO).into();
            let names = client::udp_echo(&rig.topology.client.namespace, vip, REQUESTS)?;
            let shares = client::shares(names.iter().map(String::as_str));
            // Each worker takes turns by itself; each may be one off.
            for name in ["rs1", "rs2"] {
                let share = shares.get(name).copied().unwrap_or(0);
                assert!(
                    share.abs_diff(usize::from(REQUESTS / 2)) <= n_workers,
                    "{n_workers} workers, {family:?}: {shares:?}"
                );
            }
        }
        rig.stop_director()?;
    }
    Ok(())
}
