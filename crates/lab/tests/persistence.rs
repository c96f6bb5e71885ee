//! Persistence with real clients and servers, over two workers: who is one client gets one real server.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use weir_lab::address::{Addresses, Family};
use weir_lab::config::{self, Protocol, Service};
use weir_lab::director::built;
use weir_lab::peer::Answer;
use weir_lab::topology::{Arms, ClientSide};
use weir_lab::{Rig, client, server};

const REQUESTS: usize = 50;
/// Beside the client's own.
const CLIENT_ADDRESSES: std::ops::RangeInclusive<u8> = 20..=27;

/// The configuration with `key` in each service of `family`.
fn with_key(text: &str, family: Family, key: &str) -> String {
    let is_ipv6 = |vip: &str| vip.contains('[');
    let mut with_key = String::new();
    for line in text.lines() {
        with_key.push_str(line);
        with_key.push('\n');
        if line.contains(" vip: ") && is_ipv6(line) == (family == Family::Ipv6) {
            with_key.push_str(&format!("            {key},\n"));
        }
    }
    with_key
}

/// A rig with two workers and a service on both families, which keeps clients by these netmasks.
fn rig(netmasks: [u8; 2]) -> Result<(Rig, Vec<Addresses>)> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let addresses = rig.topology.add_client_addresses(CLIENT_ADDRESSES)?;
    let services = Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Rr", [1, 1]);
    let mut text = config::text(&rig.topology, &config::last_cpus(2)?, &services);
    for (family, netmask) in Family::ALL.into_iter().zip(netmasks) {
        let key = format!("persistence: (timeout: \"60s\", netmask: {netmask})");
        text = with_key(&text, family, &key);
    }
    rig.start_director(&built("weir")?, &text)?;
    Ok((rig, addresses))
}

/// Who answered requests from an address.
fn servers_of(rig: &Rig, source: IpAddr, count: usize) -> Result<Vec<String>> {
    let family = match source {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    };
    let url = client::url(rig.topology.vip.of(family), server::HTTP);
    let client = &rig.topology.client.namespace;
    let answers = client::curl_from(client, source, &url, count)?;
    let shares = client::shares(answers.iter().map(|answer| answer.body.as_str()));
    Ok(shares.into_keys().collect())
}

/// The numbers in the column PersistConn.
fn persistent_connections(rig: &Rig) -> Result<usize> {
    let listing = rig.director()?.listed("-Ln --persistent-conn")?;
    let servers = listing
        .lines()
        .filter(|line| line.starts_with("  -> 10.") || line.starts_with("  -> [fd"));
    let counts = servers.map(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    counts
        .sum::<Option<usize>>()
        .with_context(|| format!("no counts: {listing}"))
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn one_client_has_one_server_by_either_worker() -> Result<()> {
    let (mut rig, others) = rig([32, 128])?;
    for family in Family::ALL {
        let own = rig.topology.client.addresses.of(family);
        assert_eq!(servers_of(&rig, own, REQUESTS)?.len(), 1);
        // Clients are spread all the same: one goes where the other does not.
        let mut used = BTreeSet::new();
        for other in &others {
            let [server] = &servers_of(&rig, other.of(family), 5)?[..] else {
                panic!("{} has two servers", other.of(family));
            };
            used.insert(server.clone());
        }
        assert_eq!(used.len(), 2, "everybody at {used:?}");
    }
    assert_eq!(persistent_connections(&rig)?, 2 * (1 + others.len()));
    let listing = rig.director()?.listed("-Lnc")?;
    for (family, from, to) in [
        (
            Family::Ipv4,
            format!("{}:0", rig.topology.client.addresses.ipv4),
            format!("{}:80", rig.topology.vip.ipv4),
        ),
        (
            Family::Ipv6,
            format!("[{}]:0", rig.topology.client.addresses.ipv6),
            format!("[{}]:80", rig.topology.vip.ipv6),
        ),
    ] {
        let is_it = |line: &&str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.len() == 6 && words[3] == from && words[4] == to
        };
        let template = listing.lines().find(is_it);
        let template = template.with_context(|| format!("no template over {family}: {listing}"))?;
        assert!(template.contains(" ASSURED "), "{template}");
    }
    for worker in rig.director()?.table("workers")? {
        let packets = worker.get("packets").and_then(serde_json::Value::as_u64);
        assert!(packets.is_some_and(|packets| packets > 0), "{worker:?}");
    }
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn by_a_netmask_a_network_is_one_client() -> Result<()> {
    let (mut rig, others) = rig([24, 64])?;
    for family in Family::ALL {
        let mut used = BTreeSet::new();
        for other in &others {
            used.extend(servers_of(&rig, other.of(family), 5)?);
        }
        assert_eq!(used.len(), 1, "{used:?}");
    }
    assert_eq!(persistent_connections(&rig)?, 2);
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn ipvsadm_makes_services_persistent_and_no_more() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let others = rig.topology.add_client_addresses(CLIENT_ADDRESSES)?;
    rig.serve(2, &[])?;
    let vip = format!("{}:80", rig.topology.vip.ipv4);
    let director = rig.director()?;
    director.ipvsadm(&format!("-A -t {vip} -s rr -p -M 255.255.255.0"))?;
    for host in &rig.topology.real_servers {
        let real = host.addresses.ipv4;
        director.ipvsadm(&format!("-a -t {vip} -r {real}:80 -b"))?;
    }
    let used = |source: &Addresses| servers_of(&rig, source.ipv4.into(), 4);
    let first = used(&others[0])?;
    assert_eq!((first.len(), &first), (1, &used(&others[1])?));
    let saved = director.listed("-S -n")?;
    let line = format!("-A -t {vip} -s rr -p 360 -M 255.255.255.0\n");
    assert!(saved.contains(&line), "{saved}");
    let saved = weir_lab::command::run(&mut director.command(&["config", "save"]))?;
    assert!(
        saved.contains("persistence: (timeout: \"360s\", netmask: 24),"),
        "{saved}"
    );
    // No more, and the scheduler is asked for each connection.
    director.ipvsadm(&format!("-E -t {vip} -s rr"))?;
    assert_eq!(used(&others[0])?.len(), 2);
    rig.stop_director()
}

/// Asserts that each client finds one real server on both L4 ports, and that not all clients find the same.
fn assert_one_server_each(rig: &Rig, clients: &[Addresses]) -> Result<()> {
    let client = &rig.topology.client.namespace;
    let mut used = BTreeSet::new();
    for family in Family::ALL {
        let vip = rig.topology.vip.of(family);
        for source in clients.iter().map(|addresses| addresses.of(family)) {
            let mut names = BTreeSet::new();
            for answered in client::curl_from(client, source, &client::url(vip, server::HTTP), 5)? {
                names.insert(answered.body);
            }
            for answered in client::curl_from(client, source, &client::url(vip, server::PEER), 5)? {
                let answer: Answer = serde_json::from_str(&answered.body)?;
                names.insert(answer.server);
            }
            assert_eq!(names.len(), 1, "{source}: {names:?}");
            used.extend(names);
        }
    }
    assert_eq!(used.len(), 2, "everybody at {used:?}");
    // One template for each client, not for each L4 port.
    assert_eq!(persistent_connections(rig)?, 2 * clients.len());
    Ok(())
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn on_every_l4_port_a_client_has_the_same_server() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let others = rig.topology.add_client_addresses(CLIENT_ADDRESSES)?;
    let services = Service::on_both(&rig.topology, Protocol::Tcp, 0, "Rr", [1, 1]);
    let mut text = config::text(&rig.topology, &config::last_cpus(2)?, &services);
    for family in Family::ALL {
        text = with_key(&text, family, "persistence: (timeout: \"60s\")");
    }
    rig.start_director(&built("weir")?, &text)?;
    assert_one_server_each(&rig, &others)?;
    rig.stop_director()
}

#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn in_a_service_group_a_client_has_the_same_server() -> Result<()> {
    let mut rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
    let others = rig.topology.add_client_addresses(CLIENT_ADDRESSES)?;
    let services = Service::on_both(&rig.topology, Protocol::Tcp, 0, "Rr", [1, 1]);
    let mut text = config::text(&rig.topology, &config::last_cpus(2)?, &services);
    for service in &services {
        let vip = service.vip.ip();
        let [http, peer] = [server::HTTP, server::PEER].map(|port| SocketAddr::new(vip, port));
        let one = format!("vip: \"{}\"", service.vip);
        let all =
            format!("persistence: (timeout: \"60s\"), vips: [\"tcp/{http}\", \"tcp/{peer}\"]");
        text = text.replace(&one, &all);
    }
    rig.start_director(&built("weir")?, &text)?;
    assert_one_server_each(&rig, &others)?;
    rig.stop_director()
}
