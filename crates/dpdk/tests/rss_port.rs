//! Receive-side scaling on `net_null`, which hashes nothing but keeps key, table and fields as a NIC does.

use weir_dpdk::{
    Device, Eal, EalConfig, EalMemory, HashedFields, Mempool, MempoolConfig, Port, PortConfig,
    PortOptions,
};

#[test]
fn key_table_and_fields_are_read_and_written() {
    let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: 64 }))
        .expect("EAL starts without hugepages");
    let device = Device::Vdev("net_null0".to_owned());
    let port = Port::open(
        &eal,
        "wan",
        &device,
        PortOptions {
            n_queues: 2,
            mtu: 1500,
        },
    )
    .expect("net_null opens");
    let offered = port
        .info()
        .expect("a port tells what it is")
        .rss
        .expect("net_null offers RSS");
    let key: Vec<u8> = (0..offered.key_bytes).collect();
    let config = PortConfig {
        rss_key: Some(key.clone()),
        ..PortConfig::for_workers(2)
    };
    let pool = MempoolConfig {
        name: "wan".to_owned(),
        n_buffers: 511,
        buffer_bytes: device.buffer_bytes(1500),
        cache: 0,
        numa_node: None,
    };
    let pool = Mempool::new(&eal, &pool).expect("a pool fits into 64 MiB");
    let _queues = port.start(&config, &pool).expect("the port starts");

    let state = port
        .rss()
        .expect("RSS can be read")
        .expect("net_null tells");
    assert_eq!(state.key, key, "the key given at start");
    assert_eq!(state.table.len(), usize::from(offered.table_entries));

    let key: Vec<u8> = key.iter().map(|byte| byte ^ 0x5a).collect();
    assert_eq!(port.set_rss_key(&key, offered.fields), Ok(true));
    assert_eq!(
        port.set_rss_key(&key[1..], offered.fields),
        Ok(false),
        "a driver would read past a short key"
    );
    let table: Vec<u16> = (0..offered.table_entries)
        .map(|entry| entry / 3 % 2)
        .collect();
    assert_eq!(port.set_rss_table(&table), Ok(true));
    let state = port
        .rss()
        .expect("RSS can be read")
        .expect("net_null tells");
    assert_eq!((state.key, state.table), (key, table));
    assert_ne!(
        state.fields,
        HashedFields::default(),
        "something is hashed when there are two queues"
    );
}
