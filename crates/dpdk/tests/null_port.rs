//! The whole life of a port: opened, started, polled by a registered thread, closed; with memory of ordinary pages, no
//! root and no NIC. `net_null` receives frames out of nothing and swallows what is sent.

use weir_dpdk::{
    Burst, Device, Eal, EalConfig, EalMemory, Error, HEADROOM_BYTES, Mbuf, Mempool, MempoolConfig,
    Port, PortConfig, PortOptions,
};

const FRAME_BYTES: usize = 96;

#[test]
fn a_port_lives_and_leaves_nothing() {
    let config = EalConfig::new(EalMemory::Anonymous { mib: 64 });
    let eal = Eal::init(&config).expect("EAL starts without hugepages");
    assert_eq!(Eal::init(&config).unwrap_err(), Error::AlreadyInitialised);

    let device = Device::Vdev(format!("net_null0,size={FRAME_BYTES}"));
    let port = Port::open(
        &eal,
        "lan",
        &device,
        PortOptions {
            n_queues: 1,
            mtu: 1500,
        },
    )
    .expect("net_null opens");
    let info = port.info().expect("a port tells what it is");
    assert_eq!(
        (info.driver.as_str(), info.device.as_str()),
        ("net_null", "net_null0")
    );
    assert!(info.max_rx_queues >= 1);

    let pool = Mempool::new(
        &eal,
        &MempoolConfig {
            name: "lan".to_owned(),
            n_buffers: 2047,
            buffer_bytes: device.buffer_bytes(1500),
            cache: 256,
            numa_node: info.numa_node,
        },
    )
    .expect("a pool fits into 64 MiB");
    assert_eq!(
        pool.stride_bytes() % 128,
        64,
        "headers of successive buffers are spread over the first-level cache"
    );

    let mut queues = port
        .start(&PortConfig::for_workers(1), &pool)
        .expect("the port starts");
    assert!(
        port.start(&PortConfig::for_workers(1), &pool)
            .unwrap_err()
            .to_string()
            .contains("started already")
    );
    assert_eq!((queues.receive.len(), queues.transmit.len()), (1, 1));
    assert!(port.link().expect("a link has a state").is_up);
    assert_eq!(
        port.rss()
            .expect("a port without RSS is no error")
            .map(|rss| rss.key.len()),
        rss_key_len(&info)
    );

    // On a thread of its own, as a worker does it.
    let (mut receive, mut transmit) = (queues.receive.remove(0), queues.transmit.remove(0));
    let worker_eal = eal.clone();
    std::thread::spawn(move || {
        let registered = worker_eal
            .register_thread()
            .expect("there is room for a thread");
        assert!(
            registered.lcore() < 128,
            "a registered thread has a number and so a cache"
        );
        assert!(
            worker_eal.register_thread().is_err(),
            "one thread, one number"
        );
        let mut burst = Burst::new();
        assert_eq!(receive.receive(&mut burst), 32);
        assert_eq!(receive.receive(&mut burst), 0, "a full burst has no room");
        burst.drain(..10);
        assert_eq!(
            receive.receive(&mut burst),
            10,
            "what arrives goes behind what is there"
        );
        for mbuf in &mut burst {
            assert_eq!(mbuf.frame().len(), FRAME_BYTES);
            let mut packet = mbuf.packet();
            assert_eq!(packet.headroom(), usize::from(HEADROOM_BYTES));
            packet.grow_front(4).expect("there is headroom")[..4].fill(0xaa);
            assert_eq!(
                mbuf.frame()[..4],
                [0xaa; 4],
                "the buffer sees what its packet did"
            );
        }
        assert_eq!(transmit.transmit(&mut burst), 32);
        assert!(burst.is_empty());
    })
    .join()
    .expect("the worker ends well");

    let counters = port.counters().expect("a port counts");
    assert_eq!((counters.received, counters.transmitted), (42, 32));
    assert_eq!(pool.n_in_use(), 0, "every buffer came back");

    // A buffer that is still out keeps EAL's memory where it is.
    let mut mbuf = pool.allocate().expect("the pool is full again");
    mbuf.write(&[7; 60]).expect("a small frame fits");
    assert!(mbuf.write(&[7; 2049]).is_err());
    assert_eq!(pool.n_in_use(), 1);
    drop((port, queues, pool, eal));
    assert_eq!(mbuf.frame(), [7; 60]);
    drop::<Mbuf>(mbuf);
    assert!(
        !runtime_folder_exists(&config.file_prefix),
        "no file is left behind"
    );
}

fn rss_key_len(info: &weir_dpdk::PortInfo) -> Option<usize> {
    info.rss
        .filter(|rss| rss.table_entries > 0)
        .map(|rss| rss.key_bytes.max(40).into())
}

fn runtime_folder_exists(prefix: &str) -> bool {
    let homes = [
        "/var/run".to_owned(),
        "/tmp".to_owned(),
        std::env::var("XDG_RUNTIME_DIR").unwrap_or_default(),
    ];
    homes.iter().any(|home| {
        std::path::Path::new(home)
            .join("dpdk")
            .join(prefix)
            .exists()
    })
}
