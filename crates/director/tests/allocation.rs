//! Nothing allocates for a packet: not for an established one, not for one that opens a connection, not for expiry.
//!
//! A test program of its own, for the counting allocator is the whole program's.

use allocation_counter::measure;
use weir_director::{Arrival, BURST, DropReason, PortId, Verdict, WorkerId};
use weir_testkit::{
    FAMILIES, IPV4, IntoEndpoint, LAN_MAC, Rig, SCHEDULERS, Site, TestBuffer, real_server_mac, tcp,
};
use weir_wire::{Packet, Protocol};

const N_PACKETS: usize = 1_000_000;

/// Gives worker 0 a burst of these frames; they have verdicts `Transmit` afterwards.
fn process(rig: &mut Rig, buffers: &mut [TestBuffer; BURST], frames: &[Vec<u8>; BURST]) {
    for (buffer, frame) in buffers.iter_mut().zip(frames) {
        buffer.refill(frame);
    }
    let mut packets: [Packet<'_>; BURST] = buffers.each_mut().map(TestBuffer::packet);
    let mut verdicts = [Verdict::Drop(DropReason::NoBuffer); BURST];
    // From both ports in one burst, which only packets handed over are.
    rig.directors[0].process(&mut packets, Arrival::HandedOver, rig.now, &mut verdicts);
    let is_sent = |verdict: &Verdict| matches!(verdict, Verdict::Transmit(PortId(_)));
    assert!(verdicts.iter().all(is_sent));
}

fn buffers() -> [TestBuffer; BURST] {
    std::array::from_fn(|_| TestBuffer::new(&[]))
}

#[test]
fn a_million_established_packets_allocate_nothing() {
    let mut rig = Rig::new(Site::with_one_server(Protocol::Tcp));
    // Eight connections of each family and of each way between the two; the next burst brings a segment for each, inbound
    // for half of them.
    let mut frames: [Vec<u8>; BURST] = std::array::from_fn(|_| Vec::new());
    for (n, frame) in frames.iter_mut().enumerate() {
        let family = FAMILIES[n % 4];
        let mut client = family.client.into_endpoint();
        client.set_port(1000 + n as u16);
        let sent = rig.forward(&tcp(client, family.vip).syn());
        rig.forward(&tcp(client, family.vip).ack(1));
        let (real, local) = (sent.destination, sent.source);
        *frame = if n % 8 < 4 {
            // Before the server answers TOA goes with each: the dearer case.
            tcp(client, family.vip).ack(1).data(b"data").bytes()
        } else {
            tcp(real, local)
                .macs(real_server_mac(real.ip()), LAN_MAC)
                .ack(1)
                .data(b"data")
                .bytes()
        };
    }
    let mut buffers = buffers();
    let info = measure(|| {
        for _ in 0..N_PACKETS / BURST {
            process(&mut rig, &mut buffers, &frames);
            rig.directors[0].expire(rig.now, 16);
            rig.now = rig.now.after(1);
        }
    });
    assert_eq!(info.count_total, 0);
}

#[test]
fn opening_evicting_and_expiring_allocate_nothing() {
    const CONNECTIONS: u32 = 256;
    let mut rig = Rig::with_connections(Site::with_one_server(Protocol::Tcp), CONNECTIONS);
    let bursts: Vec<[Vec<u8>; BURST]> = (0..64)
        .map(|burst| {
            std::array::from_fn(|n| {
                let family = FAMILIES[n % 4];
                let mut client = family.client.into_endpoint();
                client.set_port((1000 + burst * BURST + n) as u16);
                tcp(client, family.vip).syn().bytes()
            })
        })
        .collect();
    let mut buffers = buffers();
    let mut n_looked_at = 0;
    let info = measure(|| {
        for _ in 0..8 {
            for frames in &bursts {
                process(&mut rig, &mut buffers, frames);
            }
            rig.now = rig.now.after(61_000);
            while rig.directors[0].usage().used != 0 {
                n_looked_at += rig.directors[0].expire(rig.now, 64);
            }
        }
    });
    assert_eq!(info.count_total, 0);
    assert!(rig.directors[0].n_evicted() > 1000 && n_looked_at > 1000);
}

#[test]
fn no_scheduler_allocates() {
    for scheduler in SCHEDULERS {
        // Weights that keep overflow, and those that look for overload, from running out.
        let weights = [
            (IPV4.real, 100),
            (IPV4.other_real, 2),
            ("10.0.0.13:80", 300),
        ];
        let site = Site::new().service(Protocol::Tcp, IPV4.vip, scheduler, &weights);
        let mut rig = Rig::new(site);
        let bursts: Vec<[Vec<u8>; BURST]> = (0..8)
            .map(|burst| {
                std::array::from_fn(|n| {
                    let mut client = IPV4.client.into_endpoint();
                    client.set_port((1000 + burst * BURST + n) as u16);
                    tcp(client, IPV4.vip).syn().bytes()
                })
            })
            .collect();
        let mut buffers = buffers();
        let info = measure(|| {
            for frames in &bursts {
                process(&mut rig, &mut buffers, frames);
            }
        });
        assert_eq!(info.count_total, 0, "{scheduler}");
        assert_eq!(rig.directors[0].usage().used, 8 * BURST as u32);
    }
}

/// The counter counts: otherwise the tests above would be about nothing.
#[test]
fn an_allocation_is_noticed() {
    let info = measure(|| drop(std::hint::black_box(vec![WorkerId(0); 64])));
    assert_eq!(info.count_total, 1);
}
