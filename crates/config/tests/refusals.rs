//! Wrong files, each wrong in its own way, and what is said about each: the whole line.

use weir_config::Config;

/// A file that is right. Each case changes one thing of it.
const RIGHT: &str = r#"(
    runtime: (workers: [1], memory: Anonymous(mib: 64), connections: 1000),
    ports: {
        "wan": (device: AfPacket("eth1"), addresses: ["192.0.2.10/24"], mtu: 1500),
        "lan": (device: AfPacket("eth2"), addresses: ["10.0.0.1/24", "2001:db8::1/64"]),
    },
    routes: [(to: "0.0.0.0/0", via: "192.0.2.1")],
    local_pools: {
        "default": ["10.0.0.200", "10.0.0.201-10.0.0.203"],
    },
    services: [
        (
            vip: "192.0.2.100:80",
            protocol: Tcp,
            scheduler: Wlc,
            method: FullNat(local_pool: "default", client_address: Toa),
            destinations: [
                (address: "10.0.0.11:80", weight: 100),
                (address: "10.0.0.12:80", weight: 50),
            ],
        ),
    ],
    timeouts: (udp: "300s"),
)
"#;

fn refusal(text: &str) -> String {
    match Config::parse(text, "w.ron", &[0, 1, 2]) {
        Ok(_) => "accepted".to_owned(),
        Err(errors) => errors.to_string(),
    }
}

/// What stands in the right file, what stands there instead, and what is said.
type Case = (&'static str, &'static str, &'static str);

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (from, to, expected) in cases {
        assert_eq!(
            RIGHT.matches(from).count(),
            1,
            "{from} must stand once in the right file"
        );
        let said = refusal(&RIGHT.replace(from, to));
        if said != *expected {
            wrong.push(format!(
                "{from}  =>  {to}\n  expected {expected}\n  said     {said}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_right_file_is_right() {
    assert_eq!(refusal(RIGHT), "accepted");
}

#[test]
fn syntax_and_types() {
    check(&[
        (
            "weight: 100)",
            "weight: 100",
            "w.ron:19:17: a key belongs here; write its name without quotes, or close the ( that is open before",
        ),
        (
            "protocol: Tcp,",
            "protocol: Tcp",
            "w.ron:15:13: two values stand side by side; write a comma between them, or the quote missing before",
        ),
        (
            "timeouts: (udp: \"300s\"),\n)",
            "timeouts: (udp: \"300s\"),\n",
            "w.ron:25:1: the file ends too early; close every (, [ and { that is open",
        ),
        (
            "timeouts: (udp: \"300s\"),\n)",
            "timeouts: (udp: \"300s\"),\n))",
            "w.ron:24:2: the configuration has ended before this; remove what follows, or a ) too many before it",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.200\" ",
            "w.ron:9:34: two values stand side by side; write a comma between them, or the quote missing before",
        ),
        (
            "[\"192.0.2.10/24\"]",
            "\"192.0.2.10/24\"",
            "w.ron:4:54: a list belongs here; write it in brackets, as in [\"…\", \"…\"]",
        ),
        (
            "\"wan\": (device",
            "wan: (device",
            "w.ron:4:9: text belongs here; write it in double quotes, as in \"10.0.0.1\"",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: 192.0.2.100:80",
            "w.ron:13:18: text belongs here; write it in double quotes, as in \"10.0.0.1\"",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"192.0.2.100:80",
            "w.ron:16:42: two values stand side by side; write a comma between them, or the quote missing before",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip \"192.0.2.100:80\"",
            "w.ron:13:17: a key is not followed by its value; write : and the value here",
        ),
        (
            "scheduler: Wlc",
            "shceduler: Wlc",
            "w.ron:15:13: `shceduler` is no key here; the keys of `service` are vip, vips, protocol, scheduler, scheduler_flags, method, destinations, persistence, one_packet",
        ),
        (
            "connections: 1000",
            "conections: 1000",
            "w.ron:2:57: `conections` is no key here; the keys of `runtime` are workers, memory, connections, ipv6_connections, idle, admin_socket",
        ),
        (
            "weight: 100",
            "wieght: 100",
            "w.ron:18:43: `wieght` is no key here; the keys of `destination` are address, weight, method, upper_threshold, lower_threshold",
        ),
        (
            "timeouts: (udp",
            "timeout: (udp",
            "w.ron:23:5: `timeout` is no key here; the keys of `configuration` are runtime, ports, routes, local_pools, services, firewall_marks, timeouts, local_ports, toa_option, ipvs, removed_destination",
        ),
        (
            "(udp: \"300s\")",
            "(tcp: \"300s\")",
            "w.ron:23:16: `tcp` is no key here; the keys of `timeouts` are tcp_established, tcp_fin, udp",
        ),
        (
            "to: \"0.0.0.0/0\"",
            "prefix: \"0.0.0.0/0\"",
            "w.ron:7:15: `prefix` is no key here; the keys of `route` are to, via",
        ),
        (
            "mtu: 1500",
            "vlan: 5",
            "w.ron:4:73: `vlan` is no key here; the keys of `port` are device, addresses, mtu",
        ),
        (
            "Anonymous(mib: 64)",
            "Anonymous(gib: 1)",
            "w.ron:2:47: `gib` is no key here; the keys of `Anonymous` are mib",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Wlc, scheduler: Rr",
            "w.ron:15:29: `scheduler` is given twice; keep one of the two",
        ),
        (
            "mtu: 1500",
            "mtu: \"1500\"",
            "w.ron:4:78: a whole number belongs here; write it with digits alone",
        ),
        (
            "mtu: 1500",
            "mtu: 99999999999999999999",
            "w.ron:4:78: this number is too large for any setting; write a smaller one",
        ),
        (
            "mtu: 1500",
            "mtu: 15x0",
            "w.ron:4:80: two values stand side by side; write a comma between them, or the quote missing before",
        ),
        (
            "Anonymous(mib: 64)",
            "Anon(mib: 64)",
            "w.ron:2:37: `Anon` is none of the choices here; write Hugepages or Anonymous",
        ),
        (
            "Anonymous(mib: 64)",
            "Anonymous(64)",
            "w.ron:2:47: a key belongs before `64`; write it with a colon, as in (key: 64)",
        ),
        (
            "AfPacket(\"eth1\")",
            "AfPacket(eth1)",
            "w.ron:4:34: text belongs here; write it in double quotes, as in \"10.0.0.1\"",
        ),
        (
            "AfPacket(\"eth1\")",
            "Bridge(\"eth1\")",
            "w.ron:4:25: `Bridge` is none of the choices here; write Pci, AfPacket, AfXdp, Tap or Vdev",
        ),
        (
            "(local_pool: \"default\", client_address: Toa)",
            "(pool: \"default\")",
            "w.ron:16:29: `pool` is no key here; the keys of `FullNat` are local_pool, client_address",
        ),
        (
            "(local_pool: \"default\", client_address: Toa)",
            "(\n    local_pool: 7)",
            "w.ron:17:17: text belongs here; write it in double quotes, as in \"10.0.0.1\"",
        ),
        (
            "routes: [(to",
            "routes: /* [(to",
            "w.ron:25:1: a /* is not closed; write */ where the comment ends",
        ),
        (
            "(udp: \"300s\")",
            "[\"300s\"]",
            "w.ron:23:15: keys with values belong here; write them in parentheses, as in (key: value)",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0\\q200\", ",
            "w.ron:9:28: a backslash in text is followed by something it cannot stand before; write \\\\ for a backslash",
        ),
    ]);
}

#[test]
fn service_groups() {
    const VIP: &str = "vip: \"192.0.2.100:80\",";
    check(&[
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"udp/192.0.2.101:53\", \"tcp/192.0.2.100:443\"],",
            "accepted",
        ),
        (
            VIP,
            "vip: \"192.0.2.100:80\", vips: [],",
            "w.ron:13:36: a service has `vip` or `vips`; remove one of them",
        ),
        (
            VIP,
            "vips: [],",
            "w.ron:13:19: `vips` is empty; write one VIP at least",
        ),
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"tcp/192.0.2.100:80\"],",
            "w.ron:13:38: the service tcp 192.0.2.100:80 stands in line 13 already; make them one, or change one",
        ),
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"tcp/[2001:db8:9::9]:80\"],",
            "w.ron:13:38: [2001:db8:9::9]:80 is of IPv6 and 192.0.2.100:80 of IPv4, and one service speaks one of them; make two services",
        ),
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"10.0.0.12:80\"],",
            "w.ron:19:27: the real server 10.0.0.12 is the VIP of tcp 192.0.2.100:80; write the address of another host",
        ),
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"192.0.2.10:80\"],",
            "w.ron:13:38: the VIP 192.0.2.10 is port \"wan\"'s own address; give the service an address of its own",
        ),
        (
            VIP,
            "vips: [\"192.0.2.100:80\", \"192.0.2.100:0\"],",
            "w.ron:13:38: 192.0.2.100:0 stands for all L4 ports, and without `persistence` a client's connections to them would go to several real servers; add it, or write an L4 port from 1 to 65535",
        ),
        (
            VIP,
            "one_packet: true, vips: [\"udp/192.0.2.100:80\", \"192.0.2.100:80\"],",
            "w.ron:13:25: one-packet scheduling is for datagrams, and this service is of TCP; write protocol: Udp, or remove it",
        ),
        (
            "vip: \"192.0.2.100:80\",\n            protocol: Tcp,",
            "vips: [\"tcp/192.0.2.100:80\", \"192.0.2.101:80\"],",
            "w.ron:13:42: `192.0.2.101:80` has no protocol; write tcp/, udp/ or sctp/ before it, or give the service a `protocol`",
        ),
        (
            "vip: \"192.0.2.100:80\",\n            protocol: Tcp,",
            "vips: [\"tcp/192.0.2.100:80\", \"udp/192.0.2.101:80\"],",
            "accepted",
        ),
    ]);
}

/// Real servers that get packets as clients sent them.
#[test]
fn a_group_under_dr_takes_l4_port_0_or_the_one_that_all_have() {
    const VIP: &str = "vip: \"192.0.2.100:80\",";
    let refusal_of = |vips: &str, server: &str| {
        refusal(&RIGHT.replace(VIP, vips).replace(
            "(address: \"10.0.0.12:80\", weight: 50)",
            &format!("(address: \"{server}\", method: Dr)"),
        ))
    };
    let alike = "vips: [\"192.0.2.100:80\", \"192.0.2.101:80\"],";
    let unlike = "vips: [\"192.0.2.100:80\", \"192.0.2.101:443\"],";
    for (vips, server) in [
        (alike, "10.0.0.12:80"),
        (alike, "10.0.0.12:0"),
        (unlike, "10.0.0.12:0"),
    ] {
        assert_eq!(refusal_of(vips, server), "accepted", "{vips} {server}");
    }
    assert_eq!(
        refusal_of(unlike, "10.0.0.12:80"),
        "w.ron:19:27: the real server gets packets as clients sent them, to whatever L4 port they chose, and 10.0.0.12:80 names another; write 10.0.0.12:0"
    );
}

#[test]
fn not_built_yet() {
    check(&[
        (
            "connections: 1000",
            "metrics: \"127.0.0.1:9101\"",
            "w.ron:2:57: `metrics` is not built yet; remove it",
        ),
        (
            "connections: 1000",
            "metrics: None",
            "w.ron:2:57: `metrics` is not built yet; remove it",
        ),
        (
            "protocol: Tcp",
            "protocol: Sctp, one_packet: true",
            "w.ron:14:41: one-packet scheduling is for datagrams, and this service is of SCTP; write protocol: Udp, or remove it",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Conhash",
            "w.ron:15:24: `Conhash` is not built yet; write Rr, Wrr, Lc, Wlc, Sed, Nq, Sh, Dh, Mh, Fo, Ovf, Lblc, Lblcr or Twos",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Random(seed: 1)",
            "w.ron:15:24: `Random` is not built yet; write Rr, Wrr, Lc, Wlc, Sed, Nq, Sh, Dh, Mh, Fo, Ovf, Lblc, Lblcr or Twos",
        ),
        (
            "client_address: Toa",
            "client_address: UdpHeader",
            "w.ron:16:68: `UdpHeader` is not for services of TCP; write Toa, ProxyV1, ProxyV2 or None",
        ),
        (
            "protocol: Tcp,\n            scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: Toa",
            "protocol: Udp,\n            scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: ProxyV1",
            "w.ron:16:68: `ProxyV1` is not for services of UDP; write Toa, ProxyV2, UdpOption, UdpHeader or None",
        ),
        (
            "protocol: Tcp,\n            scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: Toa",
            "protocol: Sctp,\n            scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: ProxyV2",
            "w.ron:16:68: `ProxyV2` is not for services of SCTP; write Toa or None",
        ),
        (
            "scheduler: Wlc",
            "persistence: (netmask: 33)",
            "w.ron:15:26: 33 is no netmask for IPv4; write a prefix length from 0 to 32, or a mask like \"255.255.255.0\"",
        ),
        (
            "scheduler: Wlc",
            "persistence: (timeout: \"1500ms\")",
            "w.ron:15:26: a client cannot keep its destination for 1500ms; write whole seconds, from 1s to 744h",
        ),
        (
            "scheduler: Wlc",
            "health: Tcp(interval: \"2s\")",
            "w.ron:15:13: `health` is not built yet; remove it",
        ),
    ]);
}

#[test]
fn meaning() {
    check(&[
        (
            "workers: [1]",
            "workers: []",
            "w.ron:2:24: `workers` names no CPU; name one at least, or leave it out",
        ),
        (
            "workers: [1]",
            "workers: [1, 1]",
            "w.ron:2:28: CPU 1 is named twice; each worker needs one of its own",
        ),
        (
            "workers: [1]",
            "workers: [1, 7]",
            "w.ron:2:28: this process may not run on CPU 7; choose from 0-2",
        ),
        (
            "mib: 64",
            "mib: 8",
            "w.ron:2:52: the memory in MiB is 8; write a number from 32 to 16777216",
        ),
        (
            "Anonymous(mib: 64)",
            "Hugepages()",
            "w.ron:2:37: the memory has no size; write one in MiB, as in Anonymous(mib: 256)",
        ),
        (
            "connections: 1000",
            "connections: 0",
            "w.ron:2:70: the number of connections per worker is 0; write a number from 1 to 1073741824",
        ),
        (
            "connections: 1000",
            "connections: 2147483648",
            "w.ron:2:70: the number of connections per worker is 2147483648; write a number from 1 to 1073741824",
        ),
        (
            "connections: 1000",
            "ipv6_connections: -1",
            "w.ron:2:75: the number of IPv6 connections per worker is -1; write a number from 0 to 536820912",
        ),
        (
            "connections: 1000",
            "connections: 1073741822, ipv6_connections: 2",
            "w.ron:2:100: the number of IPv6 connections per worker is 2; write a number from 0 to 1",
        ),
        (
            "connections: 1000",
            "connections: 1073741823, ipv6_connections: 2",
            "w.ron:2:100: 1073741823 connections leave no room for IPv6 connections beside them, of which each takes that of two; write fewer `connections`, at most 1073741822",
        ),
        (
            "connections: 1000",
            "admin_socket: \"weir.sock\"",
            "w.ron:2:71: \"weir.sock\" is no absolute path; begin it with /, as in /run/weir/admin.sock",
        ),
        (
            "\"lan\": (device",
            "\"wan\": (device",
            "w.ron:5:9: two ports are called \"wan\"; rename one",
        ),
        (
            "\"wan\": (device",
            "\"the wan\": (device",
            "w.ron:4:9: \"the wan\" is no name for a port; write 1 to 32 letters, digits, _, - or .",
        ),
        (
            "device: AfPacket(\"eth2\"), ",
            "",
            "w.ron:5:9: this port has no `device`; write one, as in device: Pci(\"0000:01:00.0\") or device: AfPacket(\"eth1\")",
        ),
        (
            "AfPacket(\"eth2\")",
            "AfXdp(\"eth1\")",
            "w.ron:5:25: port \"wan\" has this device already; a device can be one port",
        ),
        (
            "AfPacket(\"eth2\")",
            "Pci(\"01:00\")",
            "w.ron:5:29: \"01:00\" is no PCI address; write one as lspci -D does, like 0000:01:00.0",
        ),
        (
            "AfPacket(\"eth2\")",
            "Tap(\"a-very-long-name\")",
            "w.ron:5:29: \"a-very-long-name\" is no name of an interface; write 1 to 15 characters as `ip link` shows them",
        ),
        (
            "AfPacket(\"eth2\")",
            "Vdev(\"\")",
            "w.ron:5:30: \"\" is no DPDK device string; write one without spaces, like net_memif0,role=server",
        ),
        (
            "[\"192.0.2.10/24\"]",
            "[]",
            "w.ron:4:43: port \"wan\" has no address; write one at least, as in addresses: [\"192.0.2.10/24\"]",
        ),
        (
            "[\"192.0.2.10/24\"]",
            "[\"192.0.2.300/24\"]",
            "w.ron:4:55: `192.0.2.300/24` is no address with a prefix length; write one like 192.0.2.10/24 or 2001:db8::10/64",
        ),
        (
            "[\"192.0.2.10/24\"]",
            "[\"192.0.2.0/24\"]",
            "w.ron:4:55: 192.0.2.0/24 is not a host's address in its own subnet; write one between its ends",
        ),
        (
            "[\"192.0.2.10/24\"]",
            "[\"192.0.2.10/24\", \"192.0.2.10/25\"]",
            "w.ron:4:72: 192.0.2.10 is given twice to port \"wan\"; keep one",
        ),
        (
            "\"10.0.0.1/24\"",
            "\"10.0.0.1/24\", \"192.0.2.10/32\"",
            "w.ron:5:70: 192.0.2.10 belongs to port \"wan\" already; give this port another",
        ),
        (
            "\"10.0.0.1/24\"",
            "\"10.0.0.1/24\", \"192.0.2.11/24\"",
            "w.ron:5:70: port \"wan\" is on 192.0.2.0/24 already, and one subnet cannot lead out of two ports; give this port an address of its own subnet",
        ),
        (
            "mtu: 1500",
            "mtu: 20",
            "w.ron:4:78: the MTU is 20; write a number from 68 to 9216",
        ),
        (
            "\"2001:db8::1/64\"]",
            "\"2001:db8::1/64\"], mtu: 1000",
            "w.ron:5:94: the MTU is 1000, and IPv6 needs 1280; raise it, or remove the IPv6 addresses",
        ),
        (
            "to: \"0.0.0.0/0\"",
            "to: \"10.9.0.1/16\"",
            "w.ron:7:19: `10.9.0.1/16` has bits set behind its prefix length; write 10.9.0.0/16",
        ),
        (
            "to: \"0.0.0.0/0\"",
            "to: \"10.9.0.1\"",
            "w.ron:7:19: `10.9.0.1` has no prefix length; for this one address write 10.9.0.1/32",
        ),
        (
            "to: \"0.0.0.0/0\", ",
            "",
            "w.ron:7:14: this route has no `to`; write one, as in to: \"0.0.0.0/0\"",
        ),
        (
            "via: \"192.0.2.1\"",
            "via: \"198.51.100.1\"",
            "w.ron:7:37: the next hop 198.51.100.1 is on no port's subnet; write a router that is, or give a port an address there",
        ),
        (
            "via: \"192.0.2.1\"",
            "via: \"192.0.2.10\"",
            "w.ron:7:37: the next hop 192.0.2.10 is port \"wan\" itself; write the router's address",
        ),
        (
            "via: \"192.0.2.1\"",
            "via: \"2001:db8::9\"",
            "w.ron:7:37: the IPv4 prefix 0.0.0.0/0 has the IPv6 next hop 2001:db8::9; write an IPv4 address",
        ),
        (
            "via: \"192.0.2.1\")",
            "via: \"192.0.2.1\"), (to: \"0.0.0.0/0\", via: \"192.0.2.2\")",
            "w.ron:7:56: 0.0.0.0/0 has a route via 192.0.2.1 already; keep one of the two",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.9.200\", ",
            "w.ron:9:21: the local address 10.0.9.200 is in no port's subnet; choose from 192.0.2.0/24, 10.0.0.0/24",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.256\", ",
            "w.ron:9:21: `10.0.0.256` is no IP address; write one like 192.0.2.1 or 2001:db8::1",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.202\", ",
            "w.ron:9:35: 10.0.0.201-10.0.0.203 overlaps 10.0.0.202 of pool \"default\"; an address may be given once",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.209-10.0.0.208\", ",
            "w.ron:9:21: the range 10.0.0.209-10.0.0.208 runs backwards; write 10.0.0.208-10.0.0.209",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.192/28\", ",
            "w.ron:9:21: `10.0.0.192/28` is a prefix; write a range, as in 10.0.0.200-10.0.0.203, or a single address",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.250-10.0.0.255\", ",
            "w.ron:9:21: 10.0.0.255 is an end of the subnet 10.0.0.0/24; leave it out",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.1\", ",
            "w.ron:9:21: the local address 10.0.0.1 is port \"lan\"'s own address; leave it out of the pool",
        ),
        (
            "\"10.0.0.200\", ",
            "\"10.0.0.11\", ",
            "w.ron:18:27: the real server 10.0.0.11 is a local address of pool \"default\"; write the address of another host",
        ),
        (
            "\"10.0.0.200\", ",
            "\"192.0.2.100\", ",
            "w.ron:9:21: the local address 192.0.2.100 is the VIP of tcp 192.0.2.100:80; leave it out of the pool",
        ),
        (
            "\"10.0.0.201-10.0.0.203\"],",
            "\"10.0.0.201-10.0.0.203\"], \"other\": [\"10.0.0.203\"],",
            "w.ron:9:71: 10.0.0.203 overlaps 10.0.0.201-10.0.0.203 of pool \"default\"; an address may be given once",
        ),
        (
            "\"10.0.0.200\", \"10.0.0.201-10.0.0.203\"",
            "",
            "w.ron:18:27: the pool \"default\" has no IPv4 address for the real server 10.0.0.11:80; add one to it\n\
             w.ron:19:27: the pool \"default\" has no IPv4 address for the real server 10.0.0.12:80; add one to it",
        ),
        (
            "\"10.0.0.200\", \"10.0.0.201-10.0.0.203\"",
            "\"2001:db8::200\"",
            "w.ron:18:27: the pool \"default\" has no IPv4 address for the real server 10.0.0.11:80; add one to it\n\
             w.ron:19:27: the pool \"default\" has no IPv4 address for the real server 10.0.0.12:80; add one to it",
        ),
        (
            "local_pool: \"default\"",
            "local_pool: \"public\"",
            "w.ron:16:41: FullNat takes its source addresses from the pool \"public\", which is not in local_pools; choose from \"default\", or add it",
        ),
        (
            "vip: \"192.0.2.100:80\",",
            "",
            "w.ron:12:9: this service has no `vip`; write one, as in vip: \"192.0.2.100:80\"",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"192.0.2.100\"",
            "w.ron:13:18: `192.0.2.100` has no L4 port; write one after it, as in 192.0.2.100:80",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"192.0.2.100:0\"",
            "w.ron:13:18: 192.0.2.100:0 stands for all L4 ports, and without `persistence` a client's connections to them would go to several real servers; add it, or write an L4 port from 1 to 65535",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"web:80\"",
            "w.ron:13:18: `web:80` is no IP address with an L4 port; write one like 192.0.2.100:80 or [2001:db8::100]:80",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"224.0.0.1:80\"",
            "w.ron:13:18: 224.0.0.1 is a multicast address; write the address of one host",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"192.0.2.255:80\"",
            "w.ron:13:18: 192.0.2.255 is an end of the subnet 192.0.2.0/24; write the address of a host in it",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"2001:db8::100\"",
            "w.ron:13:18: `2001:db8::100` has no L4 port; an IPv6 address stands in brackets before it, as in [2001:db8::100]:80",
        ),
        (
            "vip: \"192.0.2.100:80\"",
            "vip: \"192.0.2.10:80\"",
            "w.ron:13:18: the VIP 192.0.2.10 is port \"wan\"'s own address; give the service an address of its own",
        ),
        (
            "protocol: Tcp,",
            "",
            "w.ron:12:9: this service has no `protocol`; write protocol: Tcp, protocol: Udp or protocol: Sctp",
        ),
        (
            "protocol: Tcp",
            "protocol: Icmp",
            "w.ron:14:23: `Icmp` is none of the choices here; write Tcp, Udp or Sctp",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Wlc(port: true)",
            "w.ron:15:24: `Wlc` takes no options; write Wlc alone",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Dh(port: true)",
            "w.ron:15:24: `Dh` takes no options; write Dh alone",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Sh(cport: true)",
            "w.ron:15:27: `cport` is no key here; the keys of `Sh` are port, fallback",
        ),
        (
            "scheduler: Wlc",
            "scheduler: Mh(fallback: 1)",
            "w.ron:15:37: a yes or no belongs here; write true or false",
        ),
        (
            "scheduler: Wlc",
            "scheduler: \"wlc\"",
            "w.ron:15:24: `\"wlc\"` is none of the choices here; write Rr, Wrr, Lc, Wlc, Sed, Nq, Sh, Dh, Mh, Fo, Ovf, Lblc, Lblcr or Twos",
        ),
        (
            "client_address: Toa",
            "client_address: Header",
            "w.ron:16:68: `Header` is none of the choices here; write Toa, ProxyV1, ProxyV2 or None",
        ),
        (
            "        ),\n    ],\n    timeouts",
            "        ),\n        (vip: \"192.0.2.100:80\", protocol: Tcp),\n    ],\n    timeouts",
            "w.ron:22:15: the service tcp 192.0.2.100:80 stands in line 13 already; make them one, or change one",
        ),
        (
            "address: \"10.0.0.12:80\", ",
            "",
            "w.ron:19:17: this destination has no `address`; write one, as in address: \"10.0.0.11:8080\"",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"10.0.0.12\"",
            "w.ron:19:27: `10.0.0.12` has no L4 port; write one after it, as in 10.0.0.12:80",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"10.0.0.11:80\"",
            "w.ron:19:27: the destination 10.0.0.11:80 stands in this service already; keep one, with the sum of the weights",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"[2001:db8::12]:80\"",
            "w.ron:19:27: the pool \"default\" has no IPv6 address for the real server [2001:db8::12]:80; add one to it",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"10.0.0.255:80\"",
            "w.ron:19:27: 10.0.0.255 is an end of the subnet 10.0.0.0/24; write the address of a host in it",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"127.0.0.1:80\"",
            "w.ron:19:27: 127.0.0.1 is a loopback address; write the address of one host",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"192.0.2.100:81\"",
            "w.ron:19:27: the real server 192.0.2.100 is the VIP of tcp 192.0.2.100:80; write the address of another host",
        ),
        (
            "address: \"10.0.0.12:80\"",
            "address: \"[fe80::12]:80\"",
            "w.ron:19:27: fe80::12 is a link-local address; write one that is known beyond its link",
        ),
        (
            "weight: 50",
            "weight: 65536",
            "w.ron:19:51: the weight is 65536; write a number from 0 to 65535",
        ),
        (
            "weight: 50",
            "weight: -1",
            "w.ron:19:51: the weight is -1; write a number from 0 to 65535",
        ),
        (
            "\"300s\"",
            "\"300\"",
            "w.ron:23:21: `300` is no duration; write a whole number and a unit, as in \"300s\", \"500ms\", \"5m\" or \"1h\"",
        ),
        (
            "\"300s\"",
            "\"0s\"",
            "w.ron:23:21: the timeout is 0s; write more than nothing and at most 2678400s",
        ),
        (
            "\"300s\"",
            "\"800h\"",
            "w.ron:23:21: the timeout is 2880000s; write more than nothing and at most 2678400s",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "local_ports: \"0-100\"",
            "w.ron:23:18: `0-100` is no range of L4 ports; write the lowest and the highest, as in 1024-65535",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "toa_option: 2",
            "w.ron:23:17: the TCP option kind 2 has a meaning of its own; write 254, or another that is free",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "toa_option: 256",
            "w.ron:23:17: the option kind of TOA is 256; write a number from 0 to 255",
        ),
    ]);
}

#[test]
fn settings_of_ipvs() {
    check(&[
        (
            "protocol: Tcp",
            "protocol: Tcp, one_packet: true",
            "w.ron:14:40: one-packet scheduling is for datagrams, and this service is of TCP; write protocol: Udp, or remove it",
        ),
        (
            "protocol: Tcp,\n            scheduler: Wlc,\n            method: FullNat(local_pool: \"default\", client_address: Toa),\n            destinations: [\n                (address: \"10.0.0.11:80\"",
            "protocol: Udp,\n            one_packet: true,\n            destinations: [\n                (method: Dr, address: \"10.0.0.11:80\"",
            "w.ron:18:17: one-packet scheduling keeps no connection, without which no reply under FullNat finds its client; write method: Nat, Dr or Tun",
        ),
        (
            "weight: 100",
            "upper_threshold: -1",
            "w.ron:18:60: the threshold is -1; write a number from 0 to 2147483647",
        ),
        (
            "weight: 100",
            "lower_threshold: 2147483648",
            "w.ron:18:60: the threshold is 2147483648; write a number from 0 to 2147483647",
        ),
        (
            "weight: 100",
            "upper_threshold: 9, lower_threshold: 10",
            "w.ron:18:80: the lower threshold 10 is above the upper one, which is 9; write no more than that",
        ),
        (
            "weight: 100",
            "lower_threshold: 10",
            "w.ron:18:60: the lower threshold 10 is above the upper one, which is 0; write no more than that",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "ipvs: (sloppy_tcp: 2, conn_reuse_mode: 4, expire_nodest_conn: -1)",
            "w.ron:23:24: `sloppy_tcp` is 2; write a number from 0 to 1\n\
             w.ron:23:44: `conn_reuse_mode` is 4; write a number from 0 to 3\n\
             w.ron:23:67: `expire_nodest_conn` is -1; write a number from 0 to 1",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "ipvs: (schedule_icmp: 2, pmtu_disc: 2, nat_icmp_send: 1, sync_ports: 2)",
            "w.ron:23:27: `schedule_icmp` is 2; write a number from 0 to 1\n\
             w.ron:23:41: `pmtu_disc` is 2; write a number from 0 to 1\n\
             w.ron:23:59: `nat_icmp_send` is 1, and what a real server sends without a connection is routed, not answered: weir is its gateway; write 0, IPVS's default, or remove it\n\
             w.ron:23:74: `sync_ports` is 2, and weir does not synchronise connections with another director; write 1, IPVS's default, or remove it",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "ipvs: (sync_retries: 0, pmtu_disc: 1, sloppy_tcp: 1, sloppy_sctp: 1, conn_reuse_mode: 2), removed_destination: Ipvs",
            "accepted",
        ),
        (
            "timeouts: (udp: \"300s\")",
            "removed_destination: Drop",
            "w.ron:23:26: `Drop` is none of the choices here; write Finish or Ipvs",
        ),
    ]);
}

#[test]
fn all_errors_of_meaning_come_together_in_order() {
    let text = RIGHT
        .replace("\"300s\"", "\"300\"")
        .replace("mib: 64", "mib: 1")
        .replace("10.0.0.12:80", "172.16.0.1:80")
        .replace("0.0.0.0/0", "10.9.0.0/16")
        .replace("scheduler: Wlc", "scheduler: Conhash(port: true)")
        .replace("weight: 100", "weight: 100, upper_threshold: -3")
        .replace("192.0.2.100:80", "192.0.2.10:80")
        .replace("mtu: 1500", "mtu: 1");
    let said = refusal(&text);
    let places: Vec<&str> = said
        .lines()
        .map(|line| line.split(": ").next().expect("a place"))
        .collect();
    assert_eq!(
        places,
        [
            "w.ron:2:52",
            "w.ron:4:78",
            "w.ron:13:18",
            "w.ron:15:24",
            "w.ron:18:73",
            "w.ron:19:27",
            "w.ron:23:21"
        ],
        "{said}"
    );
}

#[test]
fn a_real_server_that_no_route_reaches() {
    let text = RIGHT.replace("0.0.0.0/0", "10.9.0.0/16");
    assert_eq!(refusal(&text), "accepted");
    assert_eq!(
        refusal(&text.replace("10.0.0.12:80", "10.9.0.12:80")),
        "accepted"
    );
    assert_eq!(
        refusal(&text.replace("10.0.0.12:80", "172.16.0.1:80")),
        "w.ron:19:27: no port's subnet and no route leads to the real server 172.16.0.1; add a route, or correct the address"
    );
}

#[test]
fn a_fullnat_service_without_any_pool() {
    assert_eq!(
        refusal(&RIGHT.replace(
            "\"default\": [\"10.0.0.200\", \"10.0.0.201-10.0.0.203\"],",
            ""
        )),
        "w.ron:16:41: FullNat takes its source addresses from the pool \"default\", and there is none; \
         write one, as in local_pools: {\"default\": [\"10.0.0.200\"]}"
    );
}

#[test]
fn a_local_range_keeps_to_one_subnet() {
    let text = RIGHT.replace("\"10.0.0.1/24\"", "\"10.0.0.1/24\", \"10.0.1.1/24\"");
    assert_eq!(
        refusal(&text.replace("10.0.0.201-10.0.0.203", "10.0.0.250-10.0.1.0")),
        "w.ron:9:35: the range 10.0.0.250-10.0.1.0 does not fit into one subnet; split it"
    );
}

#[test]
fn one_error_does_not_cause_others() {
    // Without the lan's address nobody can tell where local addresses and real servers are.
    assert_eq!(
        refusal(&RIGHT.replace("\"10.0.0.1/24\"", "\"10.0.0.1\"")),
        "w.ron:5:55: `10.0.0.1` has no prefix length; write one after it, as in 10.0.0.1/24"
    );
}

#[test]
fn the_file_s_name_is_given_back_as_it_came() {
    let errors =
        Config::parse("", "/etc/weir/a b.ron", &[0]).expect_err("nothing is no configuration");
    assert!(
        errors.to_string().starts_with("/etc/weir/a b.ron:1:1: "),
        "{errors}"
    );
}

#[test]
fn memory_that_does_not_hold_what_is_asked_for() {
    let refused = refusal(&RIGHT.replace("connections: 1000)", "connections: 1000000)"));
    assert!(
        refused.starts_with(
            "w.ron:2:37: 64 MiB are less than 1 worker(s) with 1000000 connections each"
        ),
        "{refused}"
    );
    let ipv6 = "connections: 1000, ipv6_connections: 1000000)";
    let refused = refusal(&RIGHT.replace("connections: 1000)", ipv6));
    assert_eq!(
        refused,
        "w.ron:2:37: 64 MiB are less than 1 worker(s) with 1000 connections and 1000000 of IPv6 each and their buffers \
         take; give at least 182 MiB, or lower `connections`"
    );
}

#[test]
fn more_workers_and_ports_than_dpdk_has_room_for() {
    let cpus: Vec<usize> = (0..200).collect();
    let list: Vec<_> = cpus.iter().map(usize::to_string).collect();
    let text = RIGHT.replace("workers: [1]", &format!("workers: [{}]", list.join(",")));
    let errors = Config::parse(&text, "w.ron", &cpus).expect_err("128 is the limit");
    assert!(
        errors
            .to_string()
            .contains("there are more than 128 workers"),
        "{errors}"
    );

    let port = |n: usize| {
        format!("\"p{n}\": (device: AfPacket(\"p{n}\"), addresses: [\"10.{n}.0.1/24\"]),")
    };
    let ports: String = (1..=33).map(port).collect();
    let text = format!("(ports: {{{ports}}})");
    let errors = Config::parse(&text, "w.ron", &[0]).expect_err("32 is the limit");
    assert!(
        errors.to_string().contains("\"p33\" is one port too many"),
        "{errors}"
    );
}

#[test]
fn mh_has_room_for_so_many_destinations() {
    let with = |scheduler: &str, n: usize| {
        let destinations: String = (0..n)
            .map(|n| format!("(address: \"10.0.{}.{}:80\"),", n / 250 + 8, n % 250 + 1))
            .collect();
        let ports = r#""wan": (device: AfPacket("a"), addresses: ["10.0.0.1/16"])"#;
        let pools = r#""default": ["10.0.0.200"]"#;
        let service = format!("vip: \"192.0.2.100:80\", protocol: Tcp, scheduler: {scheduler}");
        format!(
            "(ports: {{{ports}}}, local_pools: {{{pools}}}, services: [({service}, destinations: [{destinations}])])"
        )
    };
    assert!(Config::parse(&with("Mh", 4093), "w.ron", &[0]).is_ok());
    assert!(Config::parse(&with("Sh", 4094), "w.ron", &[0]).is_ok());
    let errors = Config::parse(&with("Mh(port: true)", 4094), "w.ron", &[0]);
    let said = errors.expect_err("one too many").to_string();
    assert!(
        said.ends_with(
            "Mh has room for 4093 destinations, and this service has 4094; write Wlc, or leave some out"
        ),
        "{said}"
    );
}

/// DPVS's forms for UDP are of one IP version.
#[test]
fn udp_forms_between_versions() {
    let with = |vip: &str, told: &str| {
        let ports =
            r#""lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24", "2001:db8::1/64"])"#;
        let method = format!("method: FullNat(client_address: {told})");
        let service = format!(
            r#"vip: "{vip}", protocol: Udp, {method}, destinations: [(address: "10.0.0.11:53")]"#
        );
        let pools = r#""default": ["10.0.0.200"]"#;
        refusal(&format!(
            "(ports: {{{ports}}}, local_pools: {{{pools}}}, services: [({service})])"
        ))
    };
    for told in ["UdpOption", "UdpHeader"] {
        assert_eq!(with("192.0.2.100:53", told), "accepted");
        let said = with("[2001:db8::100]:53", told);
        let expected = format!(
            "the real server 10.0.0.11:53 and the VIP are of different IP versions, and {told} is for one; write ProxyV2 or None"
        );
        assert!(said.ends_with(&expected), "{said}");
    }
    for told in ["Toa", "ProxyV2", "None"] {
        assert_eq!(with("[2001:db8::100]:53", told), "accepted");
    }
}

/// What an IPv6 client makes no smaller has to fit its way as IPv4.
#[test]
fn ipv6_clients_of_ipv4_real_servers() {
    let with = |vip: &str, mtu: u16| {
        let ports = format!(
            r#""wan": (device: AfPacket("a"), addresses: ["2001:db8::1/64"]),
               "lan": (device: AfPacket("b"), addresses: ["10.0.0.1/24"], mtu: {mtu})"#
        );
        let service =
            format!(r#"vip: "{vip}", protocol: Tcp, destinations: [(address: "10.0.0.11:80")]"#);
        let pools = r#""default": ["10.0.0.200"]"#;
        refusal(&format!(
            "(ports: {{{ports}}}, local_pools: {{{pools}}}, services: [({service})])"
        ))
    };
    assert_eq!(with("[2001:db8::100]:80", 1280), "accepted");
    assert_eq!(with("192.0.2.100:80", 1279), "accepted");
    let said = with("[2001:db8::100]:80", 1279);
    assert!(
        said.ends_with(
            "port \"lan\" takes packets of 1279 bytes, and IPv6 clients of the real server 10.0.0.11 send up to 1280 however little fits; raise its mtu to 1280 at least"
        ),
        "{said}"
    );
}

/// What a method asks of a real server.
#[test]
fn methods() {
    const METHOD: &str = "FullNat(local_pool: \"default\", client_address: Toa)";
    const SERVER: &str = "(address: \"10.0.0.12:80\", weight: 50)";
    check(&[
        (
            METHOD,
            "Snat",
            "w.ron:16:21: `Snat` is none of the choices here; write Nat, Dr, Tun or FullNat",
        ),
        (
            METHOD,
            "Nat(local_pool: \"default\")",
            "w.ron:16:21: `Nat` takes no options; write Nat alone",
        ),
        (
            METHOD,
            "Tun(encapsulation: Vxlan)",
            "w.ron:16:40: `Vxlan` is none of the choices here; write Ipip, Gre or Gue",
        ),
        (
            METHOD,
            "Tun(encapsulation: Gre(sum: true))",
            "w.ron:16:44: `sum` is no key here; the keys of `Gre` are checksum",
        ),
        (
            METHOD,
            "Tun(encapsulation: Gue(destination_port: 0))",
            "w.ron:16:62: the UDP port is 0; write a number from 1 to 65535",
        ),
        (
            SERVER,
            "(address: \"10.0.0.12:8080\", method: Dr)",
            "w.ron:19:27: the real server gets packets as clients sent them, to L4 port 80, and 10.0.0.12:8080 names another; write 10.0.0.12:80",
        ),
        (
            SERVER,
            "(address: \"198.51.100.9:80\", method: Dr)",
            "w.ron:19:27: Dr changes nothing but MAC addresses, and the real server 198.51.100.9 is on no port's subnet; write one that is, or another method",
        ),
        (
            SERVER,
            "(address: \"[2001:db8::7]:80\", method: Nat)",
            "w.ron:19:27: the real server [2001:db8::7]:80 speaks IPv6 and the VIP IPv4, and only FullNat and Tun reach from one to the other; write an IPv4 address, or another method",
        ),
        (
            SERVER,
            "(address: \"[2001:db8::7]:80\", method: Tun())",
            "accepted",
        ),
        (
            SERVER,
            "(address: \"[2001:db8::7]:80\", method: FullNat())",
            "w.ron:19:27: the pool \"default\" has no IPv6 address for the real server [2001:db8::7]:80; add one to it",
        ),
        (
            "\"default\": [",
            "\"default\": [\"2001:db8::200\", ",
            "accepted",
        ),
        (
            SERVER,
            "(address: \"198.51.100.9:80\", method: Tun(encapsulation: Gue()))",
            "accepted",
        ),
        (
            SERVER,
            "(address: \"10.0.0.12:8080\", method: Nat)",
            "accepted",
        ),
        (
            SERVER,
            "(address: \"10.0.0.12:80\", method: Dr)",
            "accepted",
        ),
    ]);
}

#[test]
fn a_tunnel_has_room_for_what_every_link_takes() {
    let by_tunnel = |vip: &str, real: &str, mtu: u16| {
        format!(
            r#"(
    ports: {{ "lan": (device: AfPacket("a"), addresses: [{}], mtu: {mtu}) }},
    services: [(vip: "{vip}", protocol: Tcp, method: Tun(encapsulation: Gre()), destinations: [
        (address: "{real}"),
    ])],
)"#,
            if real.starts_with('[') {
                r#""2001:db8::1/64""#
            } else {
                r#""10.0.0.1/24""#
            }
        )
    };
    for (vip, real, least, sentence) in [
        (
            "192.0.2.100:80",
            "10.0.0.11:80",
            92,
            "the tunnel to 10.0.0.11 adds 24 to the 68 below which IPv4 never goes",
        ),
        (
            "[2001:db8:2::100]:80",
            "10.0.0.11:80",
            1304,
            "the tunnel to 10.0.0.11 adds 24 to the 1280 below which IPv6 never goes",
        ),
        (
            "[2001:db8:2::100]:80",
            "[2001:db8::11]:80",
            1324,
            "the tunnel to 2001:db8::11 adds 44 to the 1280 below which IPv6 never goes",
        ),
    ] {
        assert_eq!(refusal(&by_tunnel(vip, real, least)), "accepted");
        let too_small = least - 1;
        assert_eq!(
            refusal(&by_tunnel(vip, real, too_small)),
            format!(
                "w.ron:4:19: port \"lan\" takes packets of {too_small} bytes, and {sentence}; raise its mtu to {least} at least"
            )
        );
    }
}

#[test]
fn the_sources_of_a_tunnel_are_nobodys() {
    let with = |sources: &str| {
        let method = format!("method: Tun(sources: \"{sources}\")");
        RIGHT
            .replace("local_pool: \"default\", client_address: Toa", "")
            .replace("method: FullNat()", &method)
            .replace("10.0.0.12:80", "172.16.0.12:80")
            .replace(
                "routes: [",
                "routes: [(to: \"172.16.0.0/12\", via: \"10.0.0.254\"), ",
            )
    };
    let problem = |sources| {
        let said = refusal(&with(sources));
        let problem = said.lines().next().unwrap_or_default();
        problem
            .split_once(": ")
            .map_or(said.clone(), |(_, it)| it.to_owned())
    };
    assert_eq!(refusal(&with("100.64.0.0/16")), "accepted");
    for (sources, said) in [
        (
            "100.64.0.1/16",
            "`100.64.0.1/16` has bits set behind its prefix length; write 100.64.0.0/16",
        ),
        (
            "100.64.0.1/32",
            "100.64.0.1/32 is a single address, by which no flow differs from another; write a shorter prefix, or remove it",
        ),
        (
            "127.0.0.0/8",
            "127.0.0.0 is a loopback address; write the address of one host",
        ),
        (
            "fd00::/64",
            "the tunnel to 10.0.0.11 begins in fd00::/64, which is of IPv6; write `sources` of IPv4",
        ),
        (
            "10.0.0.128/25",
            "the tunnel to 10.0.0.11 begins in 10.0.0.128/25, where hosts of the subnet 10.0.0.0/24 are; write `sources` that are nobody's",
        ),
        (
            "172.16.0.0/24",
            "the tunnel to 10.0.0.11 begins in 172.16.0.0/24, where 172.16.0.12 is; write `sources` that are nobody's",
        ),
    ] {
        assert_eq!(problem(sources), said, "{sources}");
    }
}
