//! The ready-made files in `configs/` and the manual's example.

use std::fs;
use std::path::Path;

use weir_config::{Config, Memory, Runtime, Timeouts, to_ron};

const CPUS: [usize; 4] = [0, 1, 2, 3];

#[test]
fn every_file_in_configs_loads_and_survives_a_save() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut n_files = 0;
    for entry in fs::read_dir(&folder).expect("the folder configs") {
        let path = entry.expect("an entry of configs").path();
        if path.extension().is_none_or(|extension| extension != "ron") {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable file");
        let config = Config::parse(&text, &path.to_string_lossy(), &CPUS)
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert!(
            config.services.iter().any(|service| service.vip.is_ipv6()),
            "{}: no IPv6 service",
            path.display()
        );
        assert_eq!(
            Config::parse(&to_ron(&config), "saved", &CPUS).as_ref(),
            Ok(&config),
            "{}",
            path.display()
        );
        n_files += 1;
    }
    assert!(
        n_files >= 2,
        "configs holds one file per forwarding method and arm"
    );
}

/// What is measured with Pktgen is measured on a valid configuration.
#[test]
fn the_configuration_for_pktgen_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../perf/pktgen/weir.ron");
    let text = fs::read_to_string(&path).expect("a readable file");
    Config::parse(&text, &path.to_string_lossy(), &CPUS)
        .unwrap_or_else(|errors| panic!("{errors}"));
}

/// The whole language, features to come included.
const EXAMPLE: &str = r#"#![enable(implicit_some)]
(
    runtime: (
        workers: [1, 2],                 // CPU ids, one worker each; left out: every allowed CPU but the first
        memory: Hugepages(mib: 1024),    // buffers and tables; or Anonymous(mib: 256), which needs no hugepages
        connections: 1000000,            // per worker; an IPv6 connection counts as two
        idle: Backoff,                   // or Poll
        admin_socket: "/run/weir/admin.sock",
        metrics: "127.0.0.1:9101",       // left out: none
    ),
    ports: {
        "wan": (device: Pci("0000:01:00.0"), addresses: ["192.0.2.10/24"], mtu: 1500),
        "lan": (device: AfPacket("eth1"),    addresses: ["10.0.0.1/24"]),
    },
    routes: [(to: "0.0.0.0/0", via: "192.0.2.1")],
    local_pools: {
        "default": ["10.0.0.200", "10.0.0.201-10.0.0.203"],
    },
    services: [
        (
            vip: "192.0.2.100:80",
            protocol: Tcp,               // Tcp, Udp, Sctp
            scheduler: Wlc,              // Rr Wrr Lc Wlc Sed Nq Sh Dh Mh Fo Ovf ...; options as in Sh(port: true, fallback: true)
            method: FullNat(local_pool: "default", client_address: Toa),  // Nat, Dr, Tun(...), FullNat(...)
            persistence: (timeout: "300s", netmask: 32),
            health: Tcp(interval: "2s", timeout: "1s", fall: 3, rise: 2),
            destinations: [
                (address: "10.0.0.11:8080", weight: 100),
                (address: "10.0.0.12:80", weight: 50, method: Dr),        // a destination may differ from its service
            ],
        ),
    ],
    timeouts: (tcp_established: "900s", tcp_fin: "120s", udp: "300s"),
)
"#;

#[test]
fn the_manual_s_example_lacks_only_what_is_to_come() {
    let errors = Config::parse(EXAMPLE, "example.ron", &CPUS).expect_err("keys that are not built");
    assert_eq!(
        errors.to_string(),
        "example.ron:9:9: `metrics` is not built yet; remove it\n\
         example.ron:26:13: `health` is not built yet; remove it"
    );
    let built = EXAMPLE.replace("metrics: \"127.0.0.1:9101\",", "").replace(
        "health: Tcp(interval: \"2s\", timeout: \"1s\", fall: 3, rise: 2),",
        "",
    );
    let config =
        Config::parse(&built, "example.ron", &CPUS).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.runtime.workers, [1, 2]);
    assert_eq!(config.runtime.memory, Memory::Hugepages { mib: 1024 });
    let without_extension = built.replace("#![enable(implicit_some)]", "");
    assert_eq!(
        Config::parse(&without_extension, "example.ron", &CPUS).as_ref(),
        Ok(&config)
    );
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let text = "(ports: {\"wan\": (device: Tap(\"t0\"), addresses: [\"192.0.2.10/24\"])})";
    let config =
        Config::parse(text, "small.ron", &CPUS).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(
        config.runtime,
        Runtime {
            workers: vec![1, 2, 3],
            memory: Memory::Anonymous { mib: 256 },
            connections: 100_000,
            ipv6_connections: 0,
            idle: weir_config::Idle::Backoff,
            admin_socket: "/run/weir/admin.sock".into(),
        }
    );
    assert_eq!(config.ports[0].mtu, 1500);
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(
        (
            config.local_ports.first,
            config.local_ports.last,
            config.toa_option
        ),
        (1024, 65535, 254)
    );
    assert!(
        config.routes.is_empty() && config.local_pools.is_empty() && config.services.is_empty()
    );
}

#[test]
fn a_service_needs_little() {
    let text = "(
        ports: {\"wan\": (device: Tap(\"t0\"), addresses: [\"192.0.2.10/24\"])},
        local_pools: {\"default\": [\"192.0.2.200\"]},
        services: [(vip: \"192.0.2.100:80\", protocol: Tcp, destinations: [(address: \"192.0.2.11:80\")])],
    )";
    let config =
        Config::parse(text, "small.ron", &CPUS).unwrap_or_else(|errors| panic!("{errors}"));
    let service = &config.services[0];
    assert_eq!(service.scheduler, weir_config::Scheduler::Wlc);
    assert_eq!(
        service.method,
        weir_config::Method::FullNat(weir_config::FullNat::default())
    );
    assert_eq!(service.destinations[0].weight, 1);
    for method in [
        "FullNat",
        "FullNat()",
        "FullNat(client_address: Toa)",
        "Some(FullNat(client_address: Some(Toa)))",
        "/* why */ FullNat(local_pool: \"default\")",
    ] {
        let text = text.replace("protocol: Tcp", &format!("protocol: Tcp, method: {method}"));
        assert_eq!(
            Config::parse(&text, "small.ron", &CPUS).as_ref(),
            Ok(&config),
            "{method}"
        );
    }
}
