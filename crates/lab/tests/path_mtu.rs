//! A link behind weir that takes less than weir's own: routers complain to weir, and the client's upload goes through.

use std::time::Duration;

use anyhow::Result;
use weir_lab::address::{BACK, Family};
use weir_lab::client;
use weir_lab::config::{Protocol, Service};
use weir_lab::method::Encapsulation;
use weir_lab::topology::Route;
use weir_lab::{Method, Rig, server};

const UPLOAD_LEN: usize = 5_000_000;
/// What the way takes: less than the client's segments with the tunnel's header, however weir has told it of its own MTU.
const PATH_MTU: u16 = 1400;
const LIMIT: Duration = Duration::from_secs(60);

/// rs1 is reached at an address behind rs2, whose route there is narrow.
fn rig(encapsulation: Encapsulation) -> Result<Rig> {
    let mut rig = Rig::course_for_test(Method::Tun(encapsulation))?;
    let inside = BACK.machine(2);
    let [rs1, rs2] = &rig.topology.real_servers[..] else {
        anyhow::bail!("not two real servers");
    };
    for scope in ["all", "eth0"] {
        rs2.namespace
            .sysctl(&format!("net.ipv4.conf.{scope}.send_redirects"), "0")?;
    }
    for setting in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"] {
        rs2.namespace.sysctl(setting, "1")?;
    }
    rs1.namespace
        .ip(&format!("addr add {}/32 dev lo", inside.ipv4))?;
    rs1.namespace
        .ip(&format!("addr add {}/128 dev lo nodad", inside.ipv6))?;
    for family in Family::ALL {
        let (to, via) = (BACK.prefix(family), rs1.addresses.of(family));
        rs2.namespace
            .ip(&format!("route add {to} via {via} mtu lock {PATH_MTU}"))?;
    }
    let via = rs2.addresses;
    rig.topology.routes.push(Route {
        to: Some(BACK),
        via,
    });
    let services = Service::on_both(&rig.topology, Protocol::Tcp, server::PEER, "Rr", [1, 1]);
    let services = Family::ALL.map(|family| {
        let [v4, v6] = &services;
        let mut service = match family {
            Family::Ipv4 => v4.clone(),
            Family::Ipv6 => v6.clone(),
        }
        .with_first_destination_only();
        service.destinations[0].0.set_ip(inside.of(family));
        service
    });
    rig.serve(1, &services)?;
    Ok(rig)
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn an_upload_finds_what_the_way_through_a_tunnel_takes() -> Result<()> {
    for encapsulation in [Encapsulation::Ipip, Encapsulation::Gue] {
        let mut rig = rig(encapsulation)?;
        let upload = rig.topology.lab.folder().join("upload");
        let uploaded = server::write_payload(&upload, UPLOAD_LEN, 2)?;
        for family in Family::ALL {
            let url = client::url(rig.topology.vip.of(family), server::PEER);
            let client = &rig.topology.client.namespace;
            let (_, answer) = client::upload(client, &url, &upload, LIMIT)?;
            let arrived = (answer.uploaded_len, answer.uploaded_sha256);
            assert_eq!(arrived, (UPLOAD_LEN as u64, uploaded.clone()), "{family}");
        }
        rig.stop_director()?;
    }
    Ok(())
}
