//! What a reload would change, in the operator's words.

use weir_config::{Change, Config, diff, refusal};

const OLD: &str = r#"(
    runtime: (workers: [1]),
    ports: {
        "wan": (device: AfPacket("eth1"), addresses: ["192.0.2.10/24"]),
        "lan": (device: AfPacket("eth2"), addresses: ["10.0.0.1/24"]),
    },
    routes: [(to: "0.0.0.0/0", via: "192.0.2.1")],
    local_pools: {"default": ["10.0.0.200"], "other": ["10.0.0.210"]},
    services: [
        (
            vip: "192.0.2.100:80",
            protocol: Tcp,
            destinations: [(address: "10.0.0.11:8080", weight: 100), (address: "10.0.0.12:80", weight: 50)],
        ),
    ],
)"#;

fn parse(text: &str) -> Config {
    Config::parse(text, "d.ron", &[0, 1, 2]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn changes(from: &str, to: &str) -> Vec<Change> {
    assert_eq!(OLD.matches(from).count(), 1, "{from} must stand once");
    diff(&parse(OLD), &parse(&OLD.replace(from, to)))
}

#[test]
fn live_changes() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "weight: 100",
            "weight: 50",
            &["~ weight of 10.0.0.11:8080 of tcp 192.0.2.100:80: 100 → 50"],
        ),
        (
            "(address: \"10.0.0.12:80\", weight: 50)",
            "(address: \"10.0.0.13:80\", weight: 7)",
            &[
                "- destination 10.0.0.12:80 of tcp 192.0.2.100:80",
                "+ destination 10.0.0.13:80 of tcp 192.0.2.100:80 (weight 7)",
            ],
        ),
        (
            "(address: \"10.0.0.11:8080\", weight: 100), (address: \"10.0.0.12:80\", weight: 50)",
            "(address: \"10.0.0.12:80\", weight: 50), (address: \"10.0.0.11:8080\", weight: 100)",
            &["~ the order of the destinations of tcp 192.0.2.100:80"],
        ),
        (
            "protocol: Tcp",
            "protocol: Tcp, scheduler: Rr",
            &["~ scheduler of tcp 192.0.2.100:80: wlc → rr"],
        ),
        (
            "protocol: Tcp",
            "protocol: Tcp, scheduler: Sh(port: true, fallback: true)",
            &["~ scheduler of tcp 192.0.2.100:80: wlc → sh (sh-fallback,sh-port)"],
        ),
        (
            "protocol: Tcp",
            "protocol: Tcp, method: FullNat(local_pool: \"other\")",
            &[
                "~ method of tcp 192.0.2.100:80: FullNat(local_pool: \"default\", client_address: Toa) → \
                 FullNat(local_pool: \"other\", client_address: Toa)",
            ],
        ),
        (
            "    services: [\n",
            "    services: [(vip: \"192.0.2.100:53\", protocol: Udp, destinations: [(address: \"10.0.0.11:53\")]),\n",
            &[
                "+ service udp 192.0.2.100:53 (wlc, FullNat(local_pool: \"default\", client_address: Toa))",
                "+ destination 10.0.0.11:53 of udp 192.0.2.100:53 (weight 1)",
                "~ the order of the services",
            ],
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vips: [\"192.0.2.100:80\", \"192.0.2.100:443\"]",
            &[
                "~ vips of tcp 192.0.2.100:80: [\"tcp/192.0.2.100:80\"] → [\"tcp/192.0.2.100:80\", \"tcp/192.0.2.100:443\"]",
            ],
        ),
        (
            "    services: [\n",
            "    services: [(vips: [\"udp/192.0.2.100:53\", \"tcp/192.0.2.100:53\"], destinations: [(address: \"10.0.0.11:0\")]),\n",
            &[
                "+ service udp 192.0.2.100:53 (wlc, FullNat(local_pool: \"default\", client_address: Toa), vips [\"udp/192.0.2.100:53\", \"tcp/192.0.2.100:53\"])",
                "+ destination 10.0.0.11:0 of udp 192.0.2.100:53 (weight 1)",
                "~ the order of the services",
            ],
        ),
        (
            "protocol: Tcp",
            "protocol: Udp",
            &[
                "- service tcp 192.0.2.100:80",
                "+ service udp 192.0.2.100:80 (wlc, FullNat(local_pool: \"default\", client_address: Toa))",
                "+ destination 10.0.0.11:8080 of udp 192.0.2.100:80 (weight 100)",
                "+ destination 10.0.0.12:80 of udp 192.0.2.100:80 (weight 50)",
            ],
        ),
        (
            "\"0.0.0.0/0\", via: \"192.0.2.1\"",
            "\"0.0.0.0/0\", via: \"192.0.2.2\"",
            &[
                "- route 0.0.0.0/0 via 192.0.2.1",
                "+ route 0.0.0.0/0 via 192.0.2.2",
            ],
        ),
        (
            "[\"10.0.0.200\"]",
            "[\"10.0.0.200\", \"10.0.0.202\"]",
            &["+ local address 10.0.0.202 of pool default"],
        ),
        (", \"other\": [\"10.0.0.210\"]", "", &["- pool other"]),
        (
            "[\"10.0.0.1/24\"]",
            "[\"10.0.0.1/24\", \"10.1.0.1/24\"]",
            &["+ address 10.1.0.1/24 of port lan"],
        ),
        (
            "runtime: (",
            "timeouts: (udp: \"5s\"), runtime: (",
            &["~ timeout udp: 300s → 5s"],
        ),
        (
            "weight: 100",
            "weight: 100, upper_threshold: 9, lower_threshold: 3",
            &[
                "~ upper_threshold of 10.0.0.11:8080 of tcp 192.0.2.100:80: 0 → 9",
                "~ lower_threshold of 10.0.0.11:8080 of tcp 192.0.2.100:80: 0 → 3",
            ],
        ),
        (
            "runtime: (",
            "ipvs: (sloppy_tcp: 1, sloppy_sctp: 1, schedule_icmp: 1, conn_reuse_mode: 3, expire_nodest_conn: 1, expire_quiescent_template: 1, pmtu_disc: 0), removed_destination: Ipvs, runtime: (",
            &[
                "~ sloppy_tcp: 0 → 1",
                "~ sloppy_sctp: 0 → 1",
                "~ schedule_icmp: 0 → 1",
                "~ conn_reuse_mode: 1 → 3",
                "~ expire_nodest_conn: 0 → 1",
                "~ expire_quiescent_template: 0 → 1",
                "~ pmtu_disc: 1 → 0",
                "~ removed_destination: Finish → Ipvs",
            ],
        ),
        (
            "runtime: (",
            "toa_option: 253, runtime: (",
            &["~ the option kind of TOA: 254 → 253"],
        ),
        (
            "runtime: (",
            "local_ports: \"5000-5999\", runtime: (",
            &["~ the range of local L4 ports: 1024-65535 → 5000-5999"],
        ),
    ];
    for (from, to, expected) in cases {
        let changes = changes(from, to);
        let lines: Vec<String> = changes.iter().map(Change::to_string).collect();
        assert_eq!(lines, *expected);
        assert_eq!(refusal(&changes), None, "{lines:?}");
    }
}

#[test]
fn changes_that_need_a_restart() {
    let cases: &[(&str, &str, &str)] = &[
        ("workers: [1]", "workers: [1, 2]", "~ workers: [1] → [1, 2]"),
        (
            "workers: [1]",
            "workers: [1], memory: Hugepages(mib: 512)",
            "~ memory: Anonymous(mib: 256) → Hugepages(mib: 512)",
        ),
        (
            "workers: [1]",
            "workers: [1], connections: 5",
            "~ connections: 100000 → 5",
        ),
        (
            "workers: [1]",
            "workers: [1], ipv6_connections: 5",
            "~ ipv6_connections: 0 → 5",
        ),
        (
            "workers: [1]",
            "workers: [1], idle: Poll",
            "~ idle: Backoff → Poll",
        ),
        (
            "workers: [1]",
            "workers: [1], admin_socket: \"/a\"",
            "~ admin_socket: \"/run/weir/admin.sock\" → \"/a\"",
        ),
        (
            "AfPacket(\"eth2\")",
            "AfXdp(\"eth2\")",
            "~ device of port lan: AfPacket(\"eth2\") → AfXdp(\"eth2\")",
        ),
        (
            "[\"10.0.0.1/24\"]",
            "[\"10.0.0.1/24\"], mtu: 9000",
            "~ mtu of port lan: 1500 → 9000",
        ),
        (
            "    },\n    routes",
            "        \"dmz\": (device: Tap(\"t0\"), addresses: [\"10.3.0.1/24\"]),\n    },\n    routes",
            "+ port dmz (Tap(\"t0\"))",
        ),
    ];
    for (from, to, expected) in cases {
        let changes = changes(from, to);
        assert_eq!(
            changes.iter().map(Change::to_string).collect::<Vec<_>>(),
            [*expected]
        );
        assert!(changes[0].needs_restart(), "{expected}");
        assert_eq!(
            refusal(&changes),
            Some(format!(
                "a running weir cannot make these changes, and nothing was changed: `{expected}`; \
                 restart it with the new file, or take them back"
            ))
        );
    }
}
