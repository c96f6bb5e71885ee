//! Ports on the kernel's interfaces: packet sockets and AF_XDP on veth pairs, and a tap. Needs root.
//!
//! The test moves its own thread into a network namespace without a name, which goes with the process: however the
//! test ends, no interface stays behind.

use std::process::Command;
use std::time::{Duration, Instant};
use weir_dpdk::{
    Burst, Device, Eal, EalConfig, EalMemory, Mempool, MempoolConfig, Port, PortConfig,
    PortOptions, Queues,
};

/// IEEE 802 local experimental EtherType: nothing of the kernel's own carries it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn frames_cross_veth_pairs_and_a_tap_appears() {
    // SAFETY: cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: a network namespace needs root");
        return;
    }
    // SAFETY: moves this thread alone; threads and processes started from it later are in the new namespace too.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(unshared, 0, "a fresh network namespace");
    std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")
        .expect("IPv6 can be switched off");
    ip("link add left mtu 9000 type veth peer name right mtu 9000");
    ip("link add near type veth peer name far");
    for interface in ["left", "right", "near", "far"] {
        ip(&format!("link set {interface} up"));
    }

    let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: 512 }))
        .expect("EAL starts without hugepages");
    let missing = open(&eal, "wan", &Device::AfPacket("eth9".to_owned()), 1, 1500)
        .expect_err("no such interface");
    assert!(
        missing
            .to_string()
            .starts_with("port wan: there is no interface eth9"),
        "{missing}"
    );

    // (1) A whole second's worth of scheduling trouble: nothing is read until everything has been sent.
    let (left, mut left_queues) =
        start(&eal, "left", &Device::AfPacket("left".to_owned()), 2, 9000);
    let (right, mut right_queues) = start(
        &eal,
        "right",
        &Device::AfPacket("right".to_owned()),
        1,
        1500,
    );
    assert_eq!(
        (left_queues.receive.len(), left_queues.transmit.len()),
        (2, 2),
        "queue pairs as asked"
    );
    assert_eq!(
        right.info().expect("a port tells what it is").driver,
        "net_af_packet"
    );
    assert!(right.link().expect("a link has a state").is_up);
    assert!(right.rss().expect("no RSS is no error").is_none());
    assert!(
        link("right").contains(" allmulti 1 "),
        "IPv6 neighbours speak to groups: {}",
        link("right")
    );
    assert!(
        link("right").contains(" promiscuity 0 "),
        "other hosts' frames stay out: {}",
        link("right")
    );
    let n_frames = 3000;
    send(
        &mut left_queues,
        (0..n_frames).map(|number| frame(number, 1514)),
    );
    let received = receive(&mut right_queues, n_frames as usize);
    assert!(
        (0..n_frames)
            .zip(&received)
            .all(|(number, bytes)| *bytes == frame(number, 1514)),
        "in order, whole"
    );
    assert_eq!(
        left.counters().expect("a port counts").transmitted,
        u64::from(n_frames)
    );
    drop((right, right_queues));
    assert!(
        link("right").contains(" allmulti 0 "),
        "nothing stays behind: {}",
        link("right")
    );

    // (2) Large frames, on the same interface opened anew, spread over two queues on the other side.
    let (_right, mut right_queues) = start(
        &eal,
        "right9000",
        &Device::AfPacket("right".to_owned()),
        1,
        9000,
    );
    send(&mut right_queues, [frame(7, 9014)]);
    assert!(
        receive(&mut left_queues, 1) == [frame(7, 9014)],
        "MTU 9000 passes whole"
    );

    // (3) AF_XDP to a packet socket and back.
    let (left, mut left_queues) = start(&eal, "near", &Device::AfXdp("near".to_owned()), 4, 1500);
    let (_right, mut right_queues) =
        start(&eal, "far", &Device::AfPacket("far".to_owned()), 1, 1500);
    assert_eq!(
        left.info().expect("a port tells what it is").driver,
        "net_af_xdp"
    );
    assert_eq!(left_queues.receive.len(), 1, "as many as the interface has");
    send(&mut right_queues, [frame(8, 1514)]);
    assert!(receive(&mut left_queues, 1) == [frame(8, 1514)]);
    send(&mut left_queues, [frame(9, 1514)]);
    assert!(receive(&mut right_queues, 1) == [frame(9, 1514)]);

    // (4) A tap is made, and goes with its port.
    let (tap, mut tap_queues) = start(&eal, "host", &Device::Tap("weir-tap".to_owned()), 1, 1500);
    let mac = [0x02, 0, 0, 0, 0, 0x17];
    assert_eq!(tap.set_mac(mac), Ok(true));
    assert_eq!(tap.info().expect("a port tells what it is").mac, mac);
    ip("link set weir-tap up");
    send(&mut tap_queues, [frame(1, 60)]);
    drop((tap, tap_queues));
    assert!(
        !Command::new("ip")
            .args(["link", "show", "weir-tap"])
            .output()
            .expect("ip runs")
            .status
            .success()
    );
}

fn open(
    eal: &Eal,
    name: &str,
    device: &Device,
    n_queues: u16,
    mtu: u16,
) -> Result<Port, weir_dpdk::Error> {
    Port::open(eal, name, device, PortOptions { n_queues, mtu })
}

fn start(eal: &Eal, name: &str, device: &Device, n_queues: u16, mtu: u16) -> (Port, Queues) {
    let port = open(eal, name, device, n_queues, mtu).unwrap_or_else(|error| panic!("{error}"));
    let config = MempoolConfig {
        name: name.to_owned(),
        n_buffers: PortConfig::for_workers(n_queues).n_buffers(0, 1),
        buffer_bytes: device.buffer_bytes(mtu),
        cache: 0,
        numa_node: None,
    };
    let pool = Mempool::new(eal, &config).unwrap_or_else(|error| panic!("{error}"));
    let queues = port
        .start(&PortConfig::for_workers(n_queues), &pool)
        .unwrap_or_else(|error| panic!("{error}"));
    (port, queues)
}

fn send(queues: &mut Queues, frames: impl IntoIterator<Item = Vec<u8>>) {
    let pool = queues.receive[0].pool().clone();
    let deadline = Instant::now() + PATIENCE;
    for bytes in frames {
        let mut burst = Burst::new();
        let mut mbuf = pool.allocate().expect("the pool has buffers");
        mbuf.write(&bytes).expect("the buffer is made for the MTU");
        burst.push(mbuf);
        while queues.transmit[0].transmit(&mut burst) == 0 {
            assert!(Instant::now() < deadline, "the queue does not move");
        }
    }
}

/// The first `n_frames` of ours that arrive on any queue.
fn receive(queues: &mut Queues, n_frames: usize) -> Vec<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut frames = Vec::new();
    let mut burst = Burst::new();
    while frames.len() < n_frames {
        assert!(
            Instant::now() < deadline,
            "only {} of {n_frames} frames arrived",
            frames.len()
        );
        for queue in &mut queues.receive {
            queue.receive(&mut burst);
            let ours = burst
                .iter()
                .map(|mbuf| mbuf.frame())
                .filter(|frame| frame[12..14] == ETHERTYPE);
            frames.extend(ours.map(<[u8]>::to_vec));
            burst.clear();
        }
    }
    frames
}

fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = vec![number as u8; len];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[0x02, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&ETHERTYPE);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("ip runs");
    assert!(status.success(), "ip {arguments}");
}

/// What the kernel says about an interface.
fn link(interface: &str) -> String {
    let output = Command::new("ip")
        .args(["-details", "link", "show", interface])
        .output()
        .expect("ip runs");
    String::from_utf8(output.stdout).expect("ip prints text")
}
