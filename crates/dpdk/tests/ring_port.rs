//! `net_ring` gives back on each receive queue what was sent on the transmit queue of the same number, up to 1,023
//! frames: order, several queues, and what happens when a queue is full.

use weir_dpdk::{
    Burst, Device, Eal, EalConfig, EalMemory, Mbuf, Mempool, MempoolConfig, Port, PortConfig,
    PortOptions, Queues,
};

const RING_FRAMES: u32 = 1023;

#[test]
fn frames_keep_their_queue_and_order_and_what_does_not_fit_stays() {
    let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: 64 }))
        .expect("EAL starts without hugepages");
    let device = Device::Vdev("net_ring0".to_owned());
    let port = Port::open(
        &eal,
        "loop",
        &device,
        PortOptions {
            n_queues: 2,
            mtu: 1500,
        },
    )
    .expect("net_ring opens");
    let config = MempoolConfig {
        name: "loop".to_owned(),
        n_buffers: 2047,
        buffer_bytes: device.buffer_bytes(1500),
        cache: 64,
        numa_node: None,
    };
    let pool = Mempool::new(&eal, &config).expect("a pool fits into 64 MiB");
    let same_name = Mempool::new(&eal, &config)
        .expect_err("names are unique")
        .to_string();
    assert!(
        same_name.starts_with("2047 buffers of 2176 bytes for pool loop cannot be had"),
        "{same_name}"
    );
    let Queues {
        mut receive,
        mut transmit,
    } = port
        .start(&PortConfig::for_workers(2), &pool)
        .expect("it starts");
    assert_eq!((receive.len(), transmit.len()), (2, 2));

    // (1) Fill the second queue until it takes no more.
    let mut next = 0;
    let mut burst = Burst::new();
    loop {
        assert!(
            pool.allocate_burst(&mut burst),
            "the pool is larger than the ring"
        );
        for mbuf in &mut burst {
            mbuf.write(&frame(next)).expect("a small frame fits");
            next += 1;
        }
        if transmit[1].transmit(&mut burst) < 32 {
            break;
        }
        assert!(burst.is_empty());
    }
    assert_eq!(
        (next, burst.len()),
        (RING_FRAMES + 1, 1),
        "the ring takes one less than there were"
    );
    assert_eq!(
        burst[0].frame(),
        frame(RING_FRAMES),
        "the one that is left is the last one"
    );
    assert_eq!(transmit[1].transmit(&mut burst), 0, "still full");
    assert_eq!(burst[0].frame(), frame(RING_FRAMES));

    // (2) Empty it. Nothing is on the first queue.
    let mut received = Burst::new();
    assert_eq!(receive[0].receive(&mut received), 0);
    for number in 0..RING_FRAMES {
        if received.is_empty() {
            assert!(receive[1].receive(&mut received) > 0);
        }
        assert_eq!(received.remove(0).frame(), frame(number));
    }
    assert_eq!(transmit[1].transmit(&mut burst), 1, "there is room again");
    assert_eq!(receive[1].receive(&mut received), 1);
    assert_eq!(received[0].frame(), frame(RING_FRAMES));

    // (3) An empty pool says so and changes nothing; a burst given back at once comes back whole.
    Mbuf::free_burst(&mut received);
    assert_eq!(pool.n_in_use(), 0);
    let taken: Vec<Mbuf> = std::iter::from_fn(|| pool.allocate()).collect();
    assert_eq!(taken.len(), 2047);
    assert!(!pool.allocate_burst(&mut received));
    assert!(received.is_empty());
    drop(taken);
    assert_eq!(pool.n_in_use(), 0);

    // (4) A device can be opened again once every handle of its port is gone.
    let options = PortOptions {
        n_queues: 1,
        mtu: 1500,
    };
    let twice = Port::open(&eal, "twice", &device, options)
        .expect_err("one port a device")
        .to_string();
    assert!(
        twice.starts_with("port twice: Vdev(\"net_ring0\") is open as another port"),
        "{twice}"
    );
    drop(port);
    assert!(
        Port::open(&eal, "still", &device, options).is_err(),
        "queues hold the port"
    );
    drop((receive, transmit));
    Port::open(&eal, "again", &device, options).expect("the device is free again");
}

fn frame(number: u32) -> Vec<u8> {
    let mut frame = vec![0xee; 60 + number as usize % 7];
    frame[..4].copy_from_slice(&number.to_be_bytes());
    frame
}
