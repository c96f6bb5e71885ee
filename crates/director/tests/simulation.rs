//! Whole flows in one process: an independent TCP stack as clients and as real servers, the directors of a rig in
//! between, links that lose, delay, exchange and duplicate packets by a seed. The bytes that arrive must be the bytes
//! that were sent.
//!
//! Every frame that the directors transmit is read back by etherparse, its checksums verified.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, IpListenEndpoint};
use weir_director::{ClientAddress, Scheduler, Verdict, WorkerId};
use weir_testkit::{
    Decoded, FAMILIES, Family, IPV4, IPV6, LAN, LAN_MAC, NAT46, NAT64, ROUTER_MAC, Random, Rig,
    Site, TcpOption, WAN, WAN_MAC, decode, proxied, real_server_mac,
};
use weir_wire::Protocol;
use weir_wire::ethernet::Mac;

const MTU: usize = 1500;
/// Nothing here takes longer, however many packets are lost.
const DEADLINE_MS: i64 = 600_000;
const SOCKET_BUFFER_BYTES: usize = 16_384;

// ---- one host -----------------------------------------------------------------------------------------------------

/// The host's end of its link: IP packets, no Ethernet, for who has which MAC address is the harness's to know.
#[derive(Default)]
struct Line {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct ReceiveToken(Vec<u8>);

struct SendToken<'a>(&'a mut Vec<Vec<u8>>);

impl phy::RxToken for ReceiveToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl phy::TxToken for SendToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}

impl phy::Device for Line {
    type RxToken<'a> = ReceiveToken;
    type TxToken<'a> = SendToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let packet = self.received.pop_front()?;
        Some((ReceiveToken(packet), SendToken(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Self::TxToken<'_>> {
        Some(SendToken(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}

struct Host {
    line: Line,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Host {
    fn new(addresses: [IpAddr; 2], seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut line = Line::default();
        let mut interface = Interface::new(config, &mut line, Instant::ZERO);
        interface.update_ip_addrs(|list| {
            for address in addresses {
                list.push(IpCidr::new(address.into(), 0)).unwrap();
            }
        });
        Self {
            line,
            interface,
            sockets: SocketSet::new(Vec::new()),
        }
    }

    fn add_socket(&mut self) -> SocketHandle {
        let buffer = || SocketBuffer::new(vec![0; SOCKET_BUFFER_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_tsval_generator(Some(|| 0x0102_0304));
        // A FIN that comes before lost data is forgotten by its receiver, and sometimes by its sender after a fast
        // retransmission: then nothing moves any more, but for these.
        socket.set_keep_alive(Some(smoltcp::time::Duration::from_secs(3)));
        self.sockets.add(socket)
    }

    fn listen(&mut self, rport: u16) -> SocketHandle {
        let handle = self.add_socket();
        let endpoint = IpListenEndpoint::from(rport);
        self.socket(handle).listen(endpoint).unwrap();
        handle
    }

    fn connect(&mut self, client: SocketAddr, vip: SocketAddr) -> SocketHandle {
        let handle = self.add_socket();
        let socket = self.sockets.get_mut::<Socket>(handle);
        let local = (client.ip(), client.port());
        socket
            .connect(self.interface.context(), (vip.ip(), vip.port()), local)
            .unwrap();
        handle
    }

    fn socket(&mut self, handle: SocketHandle) -> &mut Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn is_done(&mut self, handle: SocketHandle) -> bool {
        matches!(self.socket(handle).state(), State::Closed | State::TimeWait)
    }
}

/// Sends what the socket takes of `data` from `n_sent` on, and adds what has arrived to `received`.
fn pump(socket: &mut Socket<'_>, data: &[u8], n_sent: &mut usize, received: &mut Vec<u8>) {
    if socket.can_send() {
        *n_sent += socket.send_slice(&data[*n_sent..]).unwrap();
    }
    while socket.can_recv() {
        socket
            .recv(|bytes| {
                received.extend_from_slice(bytes);
                (bytes.len(), ())
            })
            .unwrap();
    }
}

// ---- the world ----------------------------------------------------------------------------------------------------

/// What links do to packets.
#[derive(Clone, Copy)]
struct Weather {
    loss_percent: u64,
    duplicate_percent: u64,
    /// Delays differ by up to this, so that packets overtake each other.
    jitter_ms: usize,
}

const STORM: Weather = Weather {
    loss_percent: 4,
    duplicate_percent: 2,
    jitter_ms: 12,
};

#[derive(Clone, Copy)]
enum Place {
    Director { from_wan: bool },
    Clients,
    Server(usize),
}

struct World {
    rig: Rig,
    client_address: ClientAddress,
    clients: Host,
    servers: Vec<(Mac, Host)>,
    weather: Weather,
    random: Random,
    now_ms: i64,
    on_the_way: Vec<(i64, Place, Vec<u8>)>,
    /// Verdicts that let nothing through.
    refused: Vec<Verdict>,
    /// What the real servers saw last on each tuple: the number behind the last byte.
    last_numbers: HashMap<(SocketAddr, SocketAddr), u32>,
    n_taken_over: usize,
}

impl World {
    fn new(
        site: Site,
        client_address: ClientAddress,
        real_servers: &[[&str; 2]],
        weather: Weather,
        seed: u64,
    ) -> Self {
        let addresses =
            |texts: [&str; 2]| texts.map(|text| text.parse::<SocketAddr>().unwrap().ip());
        let servers = real_servers.iter().enumerate().map(|(n, texts)| {
            let addresses = addresses(*texts);
            let host = Host::new(addresses, seed * 31 + n as u64);
            (real_server_mac(addresses[0]), host)
        });
        Self {
            rig: Rig::new(site),
            client_address,
            clients: Host::new(addresses([IPV4.client, IPV6.client]), seed),
            servers: servers.collect(),
            weather,
            random: Random(seed),
            now_ms: 0,
            on_the_way: Vec::new(),
            refused: Vec::new(),
            last_numbers: HashMap::new(),
            n_taken_over: 0,
        }
    }

    fn step(&mut self) {
        self.now_ms += 1;
        self.rig.pass(Duration::from_millis(1));
        assert!(self.now_ms < DEADLINE_MS, "the flows do not end");
        let (due, later) = std::mem::take(&mut self.on_the_way)
            .into_iter()
            .partition(|(due_ms, ..)| *due_ms <= self.now_ms);
        self.on_the_way = later;
        for (_, place, packet) in due {
            self.deliver(place, packet);
        }
        let now = Instant::from_millis(self.now_ms);
        let hosts = self.servers.iter_mut().map(|(_, host)| host);
        for host in hosts.chain([&mut self.clients]) {
            host.interface.poll(now, &mut host.line, &mut host.sockets);
        }
        for packet in std::mem::take(&mut self.clients.line.sent) {
            self.put_on_the_way(Place::Director { from_wan: true }, packet);
        }
        for n in 0..self.servers.len() {
            for packet in std::mem::take(&mut self.servers[n].1.line.sent) {
                self.put_on_the_way(Place::Director { from_wan: false }, packet);
            }
        }
    }

    /// Connections that a worker has opened.
    fn n_opened(&self, worker: u8) -> u64 {
        let director = &self.rig.directors[usize::from(worker)];
        let destinations = FAMILIES
            .into_iter()
            .flat_map(|family| [family.real, family.other_real].map(|real| (family.vip, real)));
        destinations
            .map(|(vip, real)| self.rig.site.destination(Protocol::Tcp, vip, real))
            .map(|id| director.destination_totals(id).connections)
            .sum()
    }

    fn put_on_the_way(&mut self, place: Place, packet: Vec<u8>) {
        let n_copies = if self.random.percent(self.weather.loss_percent) {
            0
        } else {
            1 + usize::from(self.random.percent(self.weather.duplicate_percent))
        };
        for _ in 0..n_copies {
            let delay_ms = 1 + self.random.below(self.weather.jitter_ms + 1) as i64;
            let due_ms = self.now_ms + delay_ms;
            self.on_the_way.push((due_ms, place, packet.clone()));
        }
    }

    fn deliver(&mut self, place: Place, packet: Vec<u8>) {
        match place {
            Place::Clients => self.clients.line.received.push_back(packet),
            Place::Server(n) => self.servers[n].1.line.received.push_back(packet),
            Place::Director { from_wan } => self.direct(from_wan, &packet),
        }
    }

    /// Any worker receives it, for the queue of arrival is never evidence.
    fn direct(&mut self, from_wan: bool, packet: &[u8]) {
        let (to, from) = if from_wan {
            (WAN_MAC, ROUTER_MAC)
        } else {
            (LAN_MAC, self.servers[0].0)
        };
        let ether_type = if packet[0] >> 4 == 4 {
            [8, 0]
        } else {
            [0x86, 0xdd]
        };
        let frame = [&to.0[..], &from.0, &ether_type, packet].concat();
        let worker = WorkerId(self.random.below(self.rig.directors.len()) as u8);
        let outcome = self.rig.receive(worker, &frame);
        let Verdict::Transmit(port) = outcome.verdict else {
            self.refused.push(outcome.verdict);
            return;
        };
        let sent = decode(&outcome.frame);
        assert!(sent.ip_bytes <= MTU, "{sent}");
        let place = if port == WAN {
            Place::Clients
        } else {
            assert_eq!(port, LAN);
            let n = self.server_of(&sent);
            self.watch(n, &sent);
            Place::Server(n)
        };
        self.put_on_the_way(place, outcome.frame[14..].to_vec());
    }

    fn server_of(&self, sent: &Decoded) -> usize {
        let address = sent.destination.ip();
        let is_right = |(_, host): &(Mac, Host)| host.interface.has_ip_addr(address);
        self.servers.iter().position(is_right).unwrap()
    }

    /// What a real server's kernel asks of a SYN for a tuple on which it still holds a TIME_WAIT (RFC 9293 §3.6.1):
    /// a number above the last. smoltcp does not look, so the harness takes the old socket away.
    fn watch(&mut self, n: usize, sent: &Decoded) {
        let segment = sent.segment();
        let flow = (sent.source, sent.destination);
        let is_syn = segment.flags == "S";
        let occupied =
            segment.data.len() as u32 + u32::from(is_syn) + u32::from(segment.flags.contains('F'));
        let next = segment.sequence.wrapping_add(occupied);
        let is_above = |number: u32, last: u32| (number.wrapping_sub(last) as i32) > 0;
        if is_syn {
            let n_toa = usize::from(self.client_address == ClientAddress::Toa);
            assert_eq!(segment.client_addresses().len(), n_toa, "TOA: {sent}");
            let host = &mut self.servers[n].1;
            let old = host.sockets.iter_mut().find_map(|(handle, socket)| {
                let smoltcp::socket::Socket::Tcp(socket) = socket;
                let remote = socket.remote_endpoint().map(SocketAddr::from);
                let is_waiting = socket.state() == State::TimeWait;
                (is_waiting && remote == Some(sent.source)).then_some(handle)
            });
            if let Some(old) = old {
                let last = self.last_numbers[&flow];
                assert!(
                    is_above(segment.sequence, last),
                    "{sent} is not above {last}"
                );
                let is_timestamp = |option: &TcpOption| matches!(option, TcpOption::Timestamps(..));
                assert!(!segment.options.iter().any(is_timestamp), "{sent}");
                host.sockets.remove(old);
                self.last_numbers.remove(&flow);
                self.n_taken_over += 1;
            }
        }
        let last = self.last_numbers.entry(flow).or_insert(next);
        if is_above(next, *last) {
            *last = next;
        }
    }
}

// ---- what is sent over it -----------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq, Eq)]
enum ClosesFirst {
    Client,
    Server,
}

/// A client's connection.
struct Flow {
    handle: SocketHandle,
    ends: [SocketAddr; 2],
    /// Begins with the flow's number, by which the real server knows what to send.
    upload: Vec<u8>,
    download: Vec<u8>,
    closes_first: ClosesFirst,
    n_sent: usize,
    received: Vec<u8>,
}

/// A real server's.
struct Served {
    server: usize,
    handle: SocketHandle,
    client_address: ClientAddress,
    n_sent: usize,
    received: Vec<u8>,
}

impl Served {
    fn new(server: usize, handle: SocketHandle, client_address: ClientAddress) -> Self {
        Self {
            server,
            handle,
            client_address,
            n_sent: 0,
            received: Vec::new(),
        }
    }

    /// What has arrived, and who is said to have sent it: in a PROXY header, where there is to be one.
    fn upload(&self) -> Option<(Option<[SocketAddr; 2]>, Vec<u8>)> {
        match self.client_address {
            ClientAddress::ProxyV1 | ClientAddress::ProxyV2 => {
                let read = proxied(&self.received)?;
                Some((Some([read.source, read.destination]), read.data))
            }
            ClientAddress::Toa
            | ClientAddress::UdpOption
            | ClientAddress::UdpHeader
            | ClientAddress::None => Some((None, self.received.clone())),
        }
    }

    fn flow(&self) -> Option<usize> {
        let (_, upload) = self.upload()?;
        let number = upload.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*number) as usize)
    }
}

impl Flow {
    fn open(world: &mut World, number: usize, client: SocketAddr, vip: &str) -> Self {
        let n_bytes = 2_000 + world.random.below(40_000);
        let mut upload = (number as u32).to_be_bytes().to_vec();
        upload.extend(world.random.bytes(n_bytes));
        let n_bytes = 2_000 + world.random.below(40_000);
        let vip = vip.parse().unwrap();
        Self {
            handle: world.clients.connect(client, vip),
            ends: [client, vip],
            upload,
            download: world.random.bytes(n_bytes),
            closes_first: if number.is_multiple_of(2) {
                ClosesFirst::Server
            } else {
                ClosesFirst::Client
            },
            n_sent: 0,
            received: Vec::new(),
        }
    }

    /// Sends and receives, and closes when it is time to. Returns whether it is over.
    fn drive(&mut self, clients: &mut Host) -> bool {
        let socket = clients.socket(self.handle);
        pump(socket, &self.upload, &mut self.n_sent, &mut self.received);
        let has_sent = self.n_sent == self.upload.len();
        let was_closed = !socket.may_recv() && self.received.len() == self.download.len();
        if has_sent && (self.closes_first == ClosesFirst::Client || was_closed) {
            socket.close();
        }
        clients.is_done(self.handle)
    }
}

impl Served {
    fn drive(&mut self, host: &mut Host, flows: &[Flow]) -> bool {
        let flow = self.flow().map(|number| &flows[number]);
        let socket = host.socket(self.handle);
        let download: &[u8] = flow.map_or(&[], |flow| &flow.download);
        pump(socket, download, &mut self.n_sent, &mut self.received);
        let Some(flow) = flow else {
            return socket.state() == State::Listen;
        };
        let has_all = self
            .upload()
            .is_some_and(|(_, upload)| upload.len() == flow.upload.len());
        let is_its_turn = flow.closes_first == ClosesFirst::Server || !socket.may_recv();
        if self.n_sent == flow.download.len() && has_all && is_its_turn {
            socket.close();
        }
        host.is_done(self.handle)
    }
}

/// Drives all flows to their end, then compares bytes.
fn run(world: &mut World, flows: &mut [Flow], served: &mut [Served]) {
    loop {
        world.step();
        let mut is_over = true;
        for flow in flows.iter_mut() {
            is_over &= flow.drive(&mut world.clients);
        }
        for one in served.iter_mut() {
            is_over &= one.drive(&mut world.servers[one.server].1, flows);
        }
        if is_over {
            break;
        }
    }
    for (number, flow) in flows.iter().enumerate() {
        assert!(flow.received == flow.download, "download {number} differs");
        let is_it = |one: &&Served| one.flow() == Some(number);
        let [one] = served.iter().filter(is_it).collect::<Vec<_>>()[..] else {
            panic!("flow {number} was served once");
        };
        let (ends, upload) = one.upload().unwrap();
        assert!(upload == flow.upload, "upload {number} differs");
        assert!(ends.is_none_or(|ends| ends == flow.ends), "{ends:?}");
    }
}

const REAL_SERVERS: [[&str; 2]; 2] = [[IPV4.real, IPV6.real], [IPV4.other_real, IPV6.other_real]];

fn site(n_workers: u8, client_address: ClientAddress) -> Site {
    FAMILIES.iter().fold(
        Site::new()
            .workers(n_workers)
            .client_address(client_address),
        |site,
         Family {
             vip,
             real,
             other_real,
             ..
         }| {
            let destinations = [(*real, 1), (*other_real, 1)];
            site.service(Protocol::Tcp, vip, Scheduler::Rr, &destinations)
        },
    )
}

/// Two connections of each family, and of each way between the two, at a time.
fn concurrent_flows(n_workers: u8, client_address: ClientAddress, weather: Weather, seed: u64) {
    const N_FLOWS: usize = 8;
    let site = site(n_workers, client_address);
    let mut world = World::new(site, client_address, &REAL_SERVERS, weather, seed);
    let mut served = Vec::new();
    for server in 0..world.servers.len() {
        // As many as there are flows: who is given to whom is the scheduler's matter.
        for _ in 0..N_FLOWS {
            let handle = world.servers[server].1.listen(8080);
            served.push(Served::new(server, handle, client_address));
        }
    }
    let mut flows: Vec<Flow> = (0..N_FLOWS)
        .map(|number| {
            let family = FAMILIES[number / 2];
            let mut client: SocketAddr = family.client.parse().unwrap();
            client.set_port(40_000 + number as u16);
            Flow::open(&mut world, number, client, family.vip)
        })
        .collect();
    run(&mut world, &mut flows, &mut served);
    assert_eq!(world.refused, [], "seed {seed}");
    for connection in world.rig.connections() {
        // CLOSE where a late copy met a client that had forgotten, and answered with a reset.
        assert!(connection.state.is_over(), "{connection:?}");
    }
    let n_opened: Vec<u64> = (0..n_workers).map(|n| world.n_opened(n)).collect();
    assert_eq!(n_opened.iter().sum::<u64>(), N_FLOWS as u64);
    assert!(n_opened.iter().all(|n| *n != 0), "every worker is at work");
}

#[test]
fn bytes_arrive_as_they_were_sent_through_one_worker() {
    for seed in 1..=4 {
        concurrent_flows(1, ClientAddress::Toa, STORM, seed);
    }
}

#[test]
fn bytes_arrive_as_they_were_sent_through_two_workers() {
    for seed in 11..=14 {
        concurrent_flows(2, ClientAddress::Toa, STORM, seed);
    }
}

/// The stream begins with the header, whole and once, whatever the weather; then come the client's bytes.
#[test]
fn a_proxy_header_and_the_bytes_behind_it_arrive() {
    for (client_address, first) in [(ClientAddress::ProxyV1, 41), (ClientAddress::ProxyV2, 51)] {
        for seed in first..first + 4 {
            concurrent_flows(1, client_address, STORM, seed);
            concurrent_flows(2, client_address, STORM, seed + 4);
        }
    }
}

#[test]
fn bytes_arrive_where_the_server_is_told_nothing() {
    concurrent_flows(2, ClientAddress::None, STORM, 61);
}

#[test]
fn in_fair_weather_nothing_is_late() {
    let fair = Weather {
        loss_percent: 0,
        duplicate_percent: 0,
        jitter_ms: 0,
    };
    for client_address in [
        ClientAddress::Toa,
        ClientAddress::ProxyV1,
        ClientAddress::ProxyV2,
    ] {
        concurrent_flows(2, client_address, fair, 21);
    }
}

/// One local port for all: connection after connection takes the tuple over while the real server is in TIME_WAIT.
#[test]
fn a_local_port_taken_over_and_over_carries_every_byte() {
    for (family, client_address, seed) in [
        (IPV4, ClientAddress::Toa, 31),
        (IPV6, ClientAddress::Toa, 32),
        (NAT64, ClientAddress::Toa, 33),
        (NAT46, ClientAddress::Toa, 37),
        (NAT64, ClientAddress::ProxyV2, 38),
        (NAT46, ClientAddress::ProxyV1, 39),
        (IPV4, ClientAddress::ProxyV1, 34),
        (IPV6, ClientAddress::ProxyV2, 35),
        (IPV4, ClientAddress::None, 36),
    ] {
        const N_CONNECTIONS: usize = 12;
        let site = Site::new()
            .client_address(client_address)
            .local(&["10.0.0.200", "fd00::200"], 5000, 5000)
            .service(
                Protocol::Tcp,
                family.vip,
                Scheduler::Rr,
                &[(family.real, 1)],
            );
        let servers = &REAL_SERVERS[..1];
        let mut world = World::new(site, client_address, servers, STORM, seed);
        for number in 0..N_CONNECTIONS {
            let handle = world.servers[0].1.listen(8080);
            let mut client: SocketAddr = family.client.parse().unwrap();
            client.set_port(40_000 + number as u16);
            // The flow's number is 0, for each is alone: the real server closes first and waits.
            let mut flows = [Flow::open(&mut world, 0, client, family.vip)];
            let mut served = [Served::new(0, handle, client_address)];
            run(&mut world, &mut flows, &mut served);
            // No late copy of this connection's segments meets the next one.
            while !world.on_the_way.is_empty() {
                world.step();
            }
        }
        // But where a client's reset, or much bad luck, ended the TIME_WAIT before.
        assert!(world.n_taken_over >= N_CONNECTIONS / 3, "seed {seed}");
        assert_eq!(world.refused, [], "seed {seed}");
    }
}
