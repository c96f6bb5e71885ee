//! weir on PCI NICs, emulated ones, with real RSS: in a virtual machine between real clients and servers.
//!
//! What only a NIC can show: that the queue by which a packet comes in is the one that weir has computed. With RSS,
//! a local port is chosen so that replies reach the worker that opened the connection, and nothing is handed over. The
//! same traffic on NICs that do not tell how they spread it is the control: there, packets must change hands.

mod vm {
    use anyhow::{Context, Result, ensure};
    use serde_json::Value;
    use weir_lab::address::Family;
    use weir_lab::config::{Protocol, Service};
    use weir_lab::director::Row;
    use weir_lab::topology::{Arms, ClientSide};
    use weir_lab::vm::{Driver, Guest, Kernel, Nic, Shape, Spread};
    use weir_lab::{Rig, client, server};

    /// Requests over each family, and clients that make them at the same time.
    const REQUESTS: usize = 600;
    const CLIENTS: usize = 4;
    /// Datagrams over each family, each a connection of its own.
    const DATAGRAMS: u16 = 200;
    const WEIGHTS: [u32; 2] = [3, 1];
    /// Requests over each family before anything is counted: a full round of each of two workers, and more.
    const WARM_UP: usize = 16;

    const VIRTIO_ONE_QUEUE: Nic = Nic::Virtio {
        n_queues: 1,
        spread: Spread::Untold,
    };

    fn virtio_two_queues(spread: Spread) -> Nic {
        Nic::Virtio {
            n_queues: 2,
            spread,
        }
    }

    /// What a guest's tables said after the traffic.
    struct Tables {
        /// `weir workers`.
        workers: Vec<Row>,
        /// `weir ports`.
        ports: Vec<Row>,
        /// By worker: packets given to another worker since all neighbours were known.
        handed_over: Vec<u64>,
    }

    /// Carries the traffic of all scenarios through a guest with two NICs like `nic`: every request and every datagram
    /// is answered, and each real server has its share.
    fn carry(nic: Nic, driver: Driver, n_workers: usize) -> Result<Tables> {
        let shape = Shape {
            nic,
            driver,
            n_workers,
        };
        let rig = Rig::for_test(Arms::Two, ClientSide::OnLink)?;
        let topology = &rig.topology;
        let tcp = Service::on_both(topology, Protocol::Tcp, server::HTTP, "Wrr", WEIGHTS);
        let udp = Service::on_both(topology, Protocol::Udp, server::ECHO, "Wrr", WEIGHTS);
        let services = [tcp, udp].concat();
        let mut guest = Guest::boot(topology, &Kernel::fetched()?, shape, &services)?;
        let carried = serve(&rig, &mut guest, n_workers);
        let tables = carried.with_context(|| guest.said("a guest failed"))?;
        guest.stop()?;
        Ok(tables)
    }

    fn serve(rig: &Rig, guest: &mut Guest, n_workers: usize) -> Result<Tables> {
        let (client, vip) = (&rig.topology.client.namespace, rig.topology.vip);
        let url = |family| client::url(vip.of(family), server::HTTP);
        // A packet that waits for a neighbour comes back by way of the control thread, to any worker.
        for family in Family::ALL {
            client::curl(client, &url(family), WARM_UP)?;
        }
        let before = numbers(&guest.table("workers")?, "handed_over");
        for family in Family::ALL {
            let answers = client::curls_at_once(client, &url(family), CLIENTS, REQUESTS / CLIENTS)?;
            let bodies = answers.iter().map(|answer| answer.body.as_str());
            check_split(bodies, REQUESTS, n_workers)?;
            let names = client::udp_echo(client, (vip.of(family), server::ECHO).into(), DATAGRAMS)?;
            let names = names.iter().map(String::as_str);
            check_split(names, DATAGRAMS.into(), n_workers)?;
        }
        let (workers, ports) = (guest.table("workers")?, guest.table("ports")?);
        let after = numbers(&workers, "handed_over");
        let handed_over: Vec<_> = after
            .iter()
            .zip(before)
            .map(|(n, before)| n - before)
            .collect();
        println!(
            "packets by worker {:?}, of which {handed_over:?} changed hands",
            numbers(&workers, "packets")
        );
        Ok(Tables {
            workers,
            ports,
            handed_over,
        })
    }

    /// Each worker keeps a round of its own, each of which may end in its middle.
    fn check_split<'a>(
        answers: impl Iterator<Item = &'a str>,
        n_answers: usize,
        n_workers: usize,
    ) -> Result<()> {
        let shares = client::shares(answers);
        for (name, weight) in ["rs1", "rs2"].iter().zip(WEIGHTS) {
            let expected = n_answers * weight as usize / 4;
            let share = shares.get(*name).copied().unwrap_or(0);
            ensure!(
                share.abs_diff(expected) <= n_workers,
                "{name} answered {share}, not {expected}: {shares:?}"
            );
        }
        Ok(())
    }

    /// The numbers in a column.
    fn numbers(rows: &[Row], column: &str) -> Vec<u64> {
        let number = |row: &Row| row.get(column).and_then(Value::as_u64);
        let numbers: Option<Vec<_>> = rows.iter().map(number).collect();
        numbers.unwrap_or_else(|| panic!("a row without {column}: {rows:?}"))
    }

    fn texts<'a>(rows: &'a [Row], column: &str) -> Vec<&'a str> {
        let text = |row: &'a Row| row.get(column).and_then(Value::as_str);
        let texts: Option<Vec<_>> = rows.iter().map(text).collect();
        texts.unwrap_or_else(|| panic!("a row without {column}: {rows:?}"))
    }

    /// No worker took in less than a fourth of the packets.
    fn assert_all_received(tables: &Tables) {
        let packets = numbers(&tables.workers, "packets");
        let least = packets.iter().sum::<u64>() / 4;
        assert!(
            packets.iter().all(|&packets| packets > least),
            "{packets:?}"
        );
    }

    /// Everything comes in by worker 0, and about half of it is worker 1's.
    fn assert_the_first_of_two_received_everything(tables: &Tables) {
        let packets = numbers(&tables.workers, "packets");
        assert_eq!(packets[1], 0);
        let about_half = packets[0] / 4..packets[0] * 3 / 4;
        assert!(
            about_half.contains(&tables.handed_over[0]),
            "{:?} of {packets:?}",
            tables.handed_over
        );
    }

    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn one_worker_on_virtio() -> Result<()> {
        let tables = carry(VIRTIO_ONE_QUEUE, Driver::UioPciGeneric, 1)?;
        assert_eq!(texts(&tables.ports, "driver"), ["net_virtio"; 2]);
        assert_eq!(numbers(&tables.ports, "receive_queues"), [1, 1]);
        assert_eq!(tables.handed_over, [0]);
        Ok(())
    }

    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn with_rss_every_packet_comes_in_by_the_queue_of_its_worker() -> Result<()> {
        let tables = carry(virtio_two_queues(Spread::Rss), Driver::VfioPci, 2)?;
        assert_eq!(numbers(&tables.ports, "receive_queues"), [2, 2]);
        for how in texts(&tables.ports, "rss") {
            assert!(how.starts_with("RSS"), "{how}");
        }
        assert_all_received(&tables);
        assert_eq!(tables.handed_over, [0, 0]);
        Ok(())
    }

    /// The control: the same NICs, but a third worker keeps weir from computing with what they tell.
    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn with_rss_that_weir_cannot_go_by_most_packets_change_hands() -> Result<()> {
        let tables = carry(virtio_two_queues(Spread::Rss), Driver::UioPciGeneric, 3)?;
        for how in texts(&tables.ports, "rss") {
            assert!(how.starts_with("2 queue(s) for 3 workers"), "{how}");
        }
        // Each packet's owner is one of three, whatever the queue: two thirds go astray, and what the third worker
        // sends goes through another's queue.
        let n_packets: u64 = numbers(&tables.workers, "packets").iter().sum();
        let handed_over: u64 = tables.handed_over.iter().sum();
        assert!(handed_over > n_packets / 2, "{handed_over} of {n_packets}");
        Ok(())
    }

    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn without_rss_packets_change_hands_and_none_is_lost() -> Result<()> {
        let tables = carry(virtio_two_queues(Spread::Untold), Driver::UioPciGeneric, 2)?;
        assert_eq!(numbers(&tables.ports, "receive_queues"), [2, 2]);
        assert_all_received(&tables);
        // The host learns by which queue a flow is sent, so it is the first packets that go astray: of about every
        // other connection the client's, and of none the real server's.
        let n_connections = 2 * (REQUESTS as u64 + u64::from(DATAGRAMS));
        let handed_over: u64 = tables.handed_over.iter().sum();
        assert!(handed_over > n_connections / 4, "{handed_over}");
        Ok(())
    }

    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn a_worker_without_queues_works_through_the_other() -> Result<()> {
        let tables = carry(VIRTIO_ONE_QUEUE, Driver::UioPciGeneric, 2)?;
        assert_eq!(numbers(&tables.ports, "receive_queues"), [1, 1]);
        assert_eq!(numbers(&tables.ports, "transmit_queues"), [1, 1]);
        assert_the_first_of_two_received_everything(&tables);
        Ok(())
    }

    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn one_worker_on_e1000e() -> Result<()> {
        let tables = carry(Nic::E1000e, Driver::UioPciGeneric, 1)?;
        assert_eq!(texts(&tables.ports, "driver"), ["net_e1000_em"; 2]);
        assert_eq!(numbers(&tables.ports, "receive_queues"), [1, 1]);
        assert_eq!(tables.handed_over, [0]);
        Ok(())
    }

    /// Its driver has two queues and no RSS: the second stays empty.
    #[test]
    #[ignore = "vm: needs root; run by `cargo xtask test --vm`"]
    fn two_workers_on_e1000e() -> Result<()> {
        let tables = carry(Nic::E1000e, Driver::VfioPci, 2)?;
        assert_eq!(numbers(&tables.ports, "receive_queues"), [2, 2]);
        assert_the_first_of_two_received_everything(&tables);
        Ok(())
    }
}
