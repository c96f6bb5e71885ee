//! Datagrams that are larger than any link: kernels cut them and put them together, and weir stands between.
//!
//! The ports are AF_XDP sockets: an AF_PACKET one gets from the kernel what that has put together already.

use anyhow::{Context, Result};
use weir_lab::address::Family;
use weir_lab::config::{self, Protocol, Service, Setting};
use weir_lab::director::{built, socket_path};
use weir_lab::method::{Encapsulation, Method};
use weir_lab::{Rig, client, server};

const REQUESTS: u16 = 50;
const DATAGRAM_BYTES: usize = 4000;

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn datagrams_of_4000_bytes_are_answered_by_every_method() -> Result<()> {
    for method in [
        Method::FullNat,
        Method::Nat,
        Method::Dr,
        Method::Tun(Encapsulation::Ipip),
    ] {
        let mut rig = Rig::course_for_test(method)?;
        let topology = &rig.topology;
        let setting = Setting {
            workers: config::last_cpus(1)?,
            memory: "Anonymous(mib: 256)",
            admin_socket: socket_path(&topology.lab),
            devices: topology
                .ports
                .iter()
                .map(|port| format!("AfXdp({:?})", port.name))
                .collect(),
        };
        let services = Service::on_both(topology, Protocol::Udp, server::ECHO, "Rr", [1, 1]);
        let text = config::text_in(topology, &setting, &services);
        rig.start_director(&built("weir")?, &text)?;
        for family in Family::ALL {
            let vip = (rig.topology.vip.of(family), server::ECHO).into();
            let length = |number: u16| DATAGRAM_BYTES + usize::from(number);
            let namespace = &rig.topology.client.namespace;
            if (family, method) == (Family::Ipv6, Method::Tun(Encapsulation::Ipip)) {
                // Its outer headers leave less room than the link. weir cuts no packet of IPv6 and says so, and from then on
                // the client's kernel makes smaller fragments.
                let first = client::udp_echo_of(namespace, vip, 1, length);
                let told = format!("{:?}", first.expect_err("it does not fit"));
                assert!(told.contains("Message too long"), "{told}");
            }
            let names = client::udp_echo_of(namespace, vip, REQUESTS, length)
                .with_context(|| format!("{method:?}, {family:?}"))?;
            assert_eq!(names.len(), usize::from(REQUESTS));
        }
        rig.stop_director()?;
    }
    Ok(())
}
