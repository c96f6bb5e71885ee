//! `net_pcap` reads frames from one file and writes what is sent to another: bytes come through whole, lengths follow
//! what a packet was made into, and frames that need several buffers are dropped and counted.

use std::fs;
use std::path::{Path, PathBuf};
use weir_dpdk::{
    Burst, Device, Eal, EalConfig, EalMemory, Mempool, MempoolConfig, Port, PortConfig, PortOptions,
};

const FILE_HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];

#[test]
fn bytes_come_through_and_pieces_do_not() {
    let folder = Folder::new();
    let (source, sink) = (folder.0.join("source"), folder.0.join("sink"));
    let frames: Vec<Vec<u8>> = [60, 3000, 1514, 2048]
        .iter()
        .map(|&len| vec![len as u8; len])
        .collect();
    write_pcap(&source, &frames);

    let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: 64 }))
        .expect("EAL starts without hugepages");
    let device = Device::Vdev(format!(
        "net_pcap0,rx_pcap={},tx_pcap={}",
        source.display(),
        sink.display()
    ));
    let port = Port::open(
        &eal,
        "file",
        &device,
        PortOptions {
            n_queues: 1,
            mtu: 1500,
        },
    )
    .expect("net_pcap opens");
    let pool = Mempool::new(
        &eal,
        &MempoolConfig {
            name: "file".to_owned(),
            n_buffers: 511,
            buffer_bytes: device.buffer_bytes(1500),
            cache: 0,
            numa_node: None,
        },
    )
    .expect("a pool fits into 64 MiB");
    let mut queues = port
        .start(&PortConfig::for_workers(4), &pool)
        .expect("it starts");
    assert_eq!(
        (queues.receive.len(), queues.transmit.len()),
        (1, 1),
        "fewer queues than wanted, as it has fewer"
    );

    let mut burst = Burst::new();
    while queues.receive[0].receive(&mut burst) > 0 {}
    let received: Vec<&[u8]> = burst.iter().map(|mbuf| mbuf.frame()).collect();
    assert_eq!(
        received,
        [&frames[0][..], &frames[2], &frames[3]],
        "3,000 bytes take two buffers"
    );
    assert_eq!(port.counters().expect("a port counts").multi_segment, 1);
    assert_eq!(pool.n_in_use(), 3, "both pieces went back");

    burst[0].packet().grow_front(8).expect("there is headroom")[..8].fill(0x11);
    burst[1].packet().truncate(100);
    assert_eq!(queues.transmit[0].transmit(&mut burst), 3);
    assert_eq!(
        port.counters().expect("a port counts").transmitted_bytes,
        68 + 100 + 2048
    );
    drop((queues, port));

    let longer = [&[0x11; 8][..], &frames[0]].concat();
    assert_eq!(
        read_pcap(&sink),
        [longer, frames[2][..100].to_vec(), frames[3].clone()]
    );

    let device = Device::Vdev(format!(
        "net_pcap1,rx_pcap={}",
        folder.0.join("none").display()
    ));
    let missing = Port::open(
        &eal,
        "wan",
        &device,
        PortOptions {
            n_queues: 1,
            mtu: 1500,
        },
    )
    .expect_err("no such file");
    let missing = missing.to_string();
    assert!(
        missing.starts_with("port wan: DPDK does not take device Vdev("),
        "{missing}"
    );
    assert!(
        missing.contains("No such file"),
        "the driver's own words are in it: {missing}"
    );
}

fn write_pcap(path: &Path, frames: &[Vec<u8>]) {
    let mut bytes: Vec<u8> = FILE_HEADER
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    for frame in frames {
        let len = frame.len() as u32;
        bytes.extend(
            [0, 0, len, len]
                .iter()
                .flat_map(|word: &u32| word.to_le_bytes()),
        );
        bytes.extend(frame);
    }
    fs::write(path, bytes).expect("the temporary folder is writable");
}

fn read_pcap(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).expect("the port wrote its file");
    let mut rest = &bytes[24..];
    let mut frames = Vec::new();
    while let Some((record, behind)) = rest.split_at_checked(16) {
        let len = u32::from_le_bytes(record[8..12].try_into().expect("four bytes")) as usize;
        frames.push(behind[..len].to_vec());
        rest = &behind[len..];
    }
    frames
}

/// A folder that goes when the test ends, however it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("weir-pcap-port-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
