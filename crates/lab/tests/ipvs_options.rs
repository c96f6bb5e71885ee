//! What IPVS's options and settings do to real clients: thresholds, one-packet scheduling, weight 0, removed real
//! servers, connections taken up in mid-stream, and an L4 port of the client's used again.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use weir_lab::address::Family;
use weir_lab::client::{self, Download};
use weir_lab::config::{self, Protocol, Service};
use weir_lab::director::built;
use weir_lab::{Director, Method, Namespace, Rig, server, wait};

const LIMIT: Duration = Duration::from_secs(60);
const NAMES: [&str; 2] = ["rs1", "rs2"];

/// A rig, the services of which are made by lines of ipvsadm.
struct Site {
    rig: Rig,
}

impl Site {
    fn new(method: Method) -> Result<Self> {
        let mut rig = Rig::course_for_test(method)?;
        rig.serve(1, &[])?;
        Ok(Self { rig })
    }

    /// Makes a service and puts both real servers behind it, each with options of its own.
    fn make(
        &self,
        protocol: &str,
        l4_port: u16,
        options: &str,
        of_servers: [&str; 2],
    ) -> Result<()> {
        let service = format!("{protocol} {}", self.vip(l4_port));
        self.director()?
            .ipvsadm(&format!("-A {service} {options}"))?;
        let method = self.method();
        for (server, options) in self.servers(l4_port).iter().zip(of_servers) {
            self.director()?
                .ipvsadm(&format!("-a {service} -r {server} {method} {options}"))?;
        }
        Ok(())
    }

    fn method(&self) -> &'static str {
        match self.rig.topology.method {
            Method::Nat => "-m",
            Method::Dr => "-g",
            Method::Tun(_) => "-i",
            Method::FullNat => "-b",
        }
    }

    fn director(&self) -> Result<&Director> {
        self.rig.director()
    }

    fn client(&self) -> &Namespace {
        &self.rig.topology.client.namespace
    }

    fn vip(&self, l4_port: u16) -> SocketAddr {
        SocketAddr::new(self.rig.topology.vip.of(Family::Ipv4), l4_port)
    }

    fn url(&self) -> String {
        client::url(self.vip(server::HTTP).ip(), server::HTTP)
    }

    fn servers(&self, l4_port: u16) -> Vec<SocketAddr> {
        let hosts = self.rig.topology.real_servers.iter();
        hosts
            .map(|host| SocketAddr::new(host.addresses.of(Family::Ipv4), l4_port))
            .collect()
    }

    /// How many of `count` requests each server answered.
    fn shares(&self, count: usize) -> Result<Vec<(String, usize)>> {
        let answers = client::curl(self.client(), &self.url(), count)?;
        let bodies = answers.iter().map(|answer| answer.body.as_str());
        Ok(client::shares(bodies).into_iter().collect())
    }

    /// Writes a file of `len` bytes to be downloaded and returns its digest.
    fn offer(&self, len: usize) -> Result<String> {
        let files = server::files_folder(&self.rig.topology.lab);
        server::write_payload(&files.join("big"), len, 7)
    }

    fn downloaded(&self, number: usize) -> PathBuf {
        let folder = self.rig.topology.lab.folder();
        folder.join(format!("downloaded-{number}"))
    }

    /// Starts to download the file.
    fn download(&self, number: usize, bytes_per_second: u64) -> Result<Download> {
        let (url, file) = (format!("{}/files/big", self.url()), self.downloaded(number));
        // What a download before it left there is no sign of its own beginning.
        if file.exists() {
            std::fs::remove_file(&file)?;
        }
        Download::start(self.client(), &url, &file, Some(bytes_per_second))
    }

    /// Which server has the one established connection: its place in the list, and the other's.
    fn busy_and_idle(&self) -> Result<(usize, usize)> {
        let connections = self.director()?.table("connections")?;
        let destinations = connections
            .iter()
            .filter(|row| row["state"] == "ESTABLISHED")
            .filter_map(|row| row["destination"].as_str());
        let destinations: Vec<_> = destinations.collect();
        let [destination] = destinations[..] else {
            anyhow::bail!("not one established connection: {connections:?}")
        };
        let servers = self.servers(server::HTTP);
        let is_it = |server: &SocketAddr| server.to_string() == destination;
        let busy = servers
            .iter()
            .position(is_it)
            .context("an unknown server")?;
        Ok((busy, 1 - busy))
    }

    fn stop(mut self) -> Result<()> {
        self.rig.stop_director()
    }
}

/// Both thresholds, as `-x` and `-y` have them: no more connections than the upper one, none until there are fewer than
/// the lower one, and those that are over but not yet forgotten count.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_server_gets_no_more_connections_than_its_upper_threshold() -> Result<()> {
    let site = Site::new(Method::Nat)?;
    site.make("-t", server::HTTP, "-s rr", ["-x 5 -y 3", ""])?;
    site.offer(40_000_000)?;
    let downloads = (0..20).map(|number| site.download(number, 100_000));
    let mut downloads = downloads.collect::<Result<Vec<_>>>()?;
    for download in &mut downloads {
        download.wait_for_len(1, LIMIT)?;
    }
    let [first, second] = site.servers(server::HTTP)[..] else {
        anyhow::bail!("there are two servers")
    };
    let vip = site.vip(server::HTTP);
    let row = |server: SocketAddr| format!("  -> {:<28}", server.to_string());
    let expected = format!(
        "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  -> RemoteAddress:Port
TCP  {vip} rr
{} 5          3          5          0         
{} 0          0          15         0         
",
        row(first),
        row(second)
    );
    let listed = || {
        site.director()?
            .listed(&format!("-ln --thresholds -t {vip}"))
    };
    wait::until("the connections to be listed", LIMIT, || {
        Ok((listed()? == expected).then_some(()))
    })
    .with_context(|| format!("{:?}", listed()))?;
    assert_eq!(site.shares(6)?, [("rs2".to_owned(), 6)]);

    // Clients that go away in the midst of it leave connections that are over and still count, for ten seconds.
    downloads.into_iter().try_for_each(client::abandon)?;
    assert_eq!(site.shares(2)?, [("rs2".to_owned(), 2)]);
    let both = NAMES.map(|name| (name.to_owned(), 1));
    wait::until("the first server to be picked again", LIMIT, || {
        Ok((site.shares(2)? == both).then_some(()))
    })?;
    site.stop()
}

/// Datagrams of one socket, and for each who answered from where.
fn echoes(client: &Namespace, vip: SocketAddr, count: usize) -> Result<Vec<(String, SocketAddr)>> {
    client.enter(|| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let ask = |number| {
            let question = format!("datagram {number} ");
            socket.send_to(question.as_bytes(), vip)?;
            let mut answer = [0; 200];
            let (len, from) = socket
                .recv_from(&mut answer)
                .with_context(|| format!("datagram {number} was not answered"))?;
            let answer = String::from_utf8_lossy(&answer[..len]).into_owned();
            let name = answer.strip_prefix(&question).context("another answer")?;
            Ok((name.to_owned(), from))
        };
        (0..count).map(ask).collect()
    })?
}

/// `-o`: the datagrams of one socket take turns. The answers come from the VIP where the real server has it, under NAT
/// from the real server itself, as with IPVS.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn each_datagram_of_one_socket_is_scheduled_for_itself() -> Result<()> {
    for method in [Method::Dr, Method::Nat] {
        let site = Site::new(method)?;
        let vip = site.vip(server::ECHO);
        site.make("-u", server::ECHO, "-s rr -o", ["", ""])?;
        let servers = site.servers(server::ECHO);
        let seen = echoes(site.client(), vip, 10)?;
        for (number, (name, from)) in seen.iter().enumerate() {
            // rr begins with the server that was added last.
            let server = (number + 1) % 2;
            let source = if method == Method::Nat {
                servers[server]
            } else {
                vip
            };
            assert_eq!(
                (name.as_str(), *from),
                (NAMES[server], source),
                "{method:?}: {seen:?}"
            );
        }
        let listed = site.director()?.listed("-ln")?;
        assert!(
            listed.contains(&format!("\nUDP  {vip} rr ops\n")),
            "{listed}"
        );
        assert!(site.director()?.table("connections")?.is_empty());

        // Without it they stay together, and under NAT come from where they were sent to.
        site.director()?.ipvsadm(&format!("-E -u {vip} -s rr"))?;
        let seen = echoes(site.client(), vip, 10)?;
        assert!(
            seen.iter()
                .all(|answer| *answer == (seen[0].0.clone(), vip)),
            "{seen:?}"
        );
        site.stop()?;
    }
    Ok(())
}

/// Weight 0 by `-e`: what runs there runs on, and nothing new comes.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn weight_0_drains_a_server_while_a_download_goes_on() -> Result<()> {
    let site = Site::new(Method::Nat)?;
    site.make("-t", server::HTTP, "-s rr", ["", ""])?;
    let digest = site.offer(40_000_000)?;
    let mut download = site.download(0, 4_000_000)?;
    download.wait_for_len(1, LIMIT)?;
    let (busy, idle) = site.busy_and_idle()?;
    let (vip, server) = (site.vip(server::HTTP), site.servers(server::HTTP)[busy]);
    site.director()?
        .ipvsadm(&format!("-e -t {vip} -r {server} -m -w 0"))?;
    assert_eq!(site.shares(10)?, [(NAMES[idle].to_owned(), 10)]);
    let listed = site.director()?.listed("-ln")?;
    let row = format!(
        "  -> {:<28} Masq    0      1          0         \n",
        server.to_string()
    );
    assert!(listed.contains(&row), "{listed}");
    assert!(download.is_running());
    assert_eq!(download.finish(LIMIT)?, (digest, 40_000_000));
    site.stop()
}

/// `removed_destination: Ipvs`: a client's connection stands still while its real server is gone, and goes on when it is
/// back; with `expire_nodest_conn` it is ended instead.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn connections_to_a_removed_server_stand_still_or_end_as_ipvs_has_it() -> Result<()> {
    const LEN: usize = 60_000_000;
    let site = Site::new(Method::Nat)?;
    site.make("-t", server::HTTP, "-s rr", ["", ""])?;
    let digest = site.offer(LEN)?;
    let vip = site.vip(server::HTTP);
    site.director()?.set("removed_destination", "Ipvs")?;
    let dropped = || -> Result<u64> {
        let drops = site.director()?.drops()?;
        Ok(drops.get("destination_removed").copied().unwrap_or(0))
    };

    let mut download = site.download(0, 6_000_000)?;
    download.wait_for_len(1, LIMIT)?;
    let (busy, _) = site.busy_and_idle()?;
    let server = site.servers(server::HTTP)[busy];
    assert_eq!(dropped()?, 0);
    site.director()?
        .ipvsadm(&format!("-d -t {vip} -r {server}"))?;
    let len = || -> Result<u64> { Ok(std::fs::metadata(site.downloaded(0))?.len()) };
    let mut still = (len()?, Instant::now());
    wait::until("the download to stand still", LIMIT, || {
        if len()? != still.0 {
            still = (len()?, Instant::now());
        }
        Ok((still.1.elapsed() > Duration::from_millis(1500)).then_some(()))
    })?;
    assert!(
        still.0 < LEN as u64,
        "it was over before it could stand still"
    );
    assert!(dropped()? > 0);
    site.director()?
        .ipvsadm(&format!("-a -t {vip} -r {server} -m"))?;
    assert_eq!(download.finish(LIMIT)?, (digest, LEN));

    site.director()?.set("expire_nodest_conn", "1")?;
    let mut download = site.download(1, 6_000_000)?;
    download.wait_for_len(1, LIMIT)?;
    let (busy, idle) = site.busy_and_idle()?;
    let server = site.servers(server::HTTP)[busy];
    site.director()?
        .ipvsadm(&format!("-d -t {vip} -r {server}"))?;
    let ended = download.finish(LIMIT);
    let said = format!("{:#}", ended.err().context("the download was not ended")?);
    ensure!(said.contains("reset"), "{said}");
    assert_eq!(site.shares(4)?, [(NAMES[idle].to_owned(), 4)]);
    site.stop()
}

/// `sloppy_tcp`: a director that knows nothing of a connection takes it up; without, the client is told that there is
/// none. A scheduler that goes by the client's address gives it the same real server.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_download_outlives_its_director_under_sloppy_tcp() -> Result<()> {
    const LEN: usize = 40_000_000;
    for sloppy_tcp in [1, 0] {
        let mut rig = Rig::course_for_test(Method::Dr)?;
        let services = Service::on_both(&rig.topology, Protocol::Tcp, server::HTTP, "Sh", [1, 1]);
        let text = config::text(&rig.topology, &config::last_cpus(1)?, &services);
        let end = text
            .rfind(')')
            .context("a configuration ends with a bracket")?;
        let text = format!("{}    ipvs: (sloppy_tcp: {sloppy_tcp}),\n)\n", &text[..end]);
        rig.start_director(&built("weir")?, &text)?;
        let mut site = Site { rig };
        let digest = site.offer(LEN)?;
        let mut download = site.download(0, 4_000_000)?;
        download.wait_for_len(1, LIMIT)?;
        site.rig.stop_director()?;
        assert!(download.is_running(), "it was over too soon");
        site.rig.start_director(&built("weir")?, &text)?;
        let ended = download.finish(LIMIT);
        if sloppy_tcp == 1 {
            assert_eq!(ended?, (digest, LEN));
        } else {
            let said = format!("{:#}", ended.err().context("nobody told the client")?);
            ensure!(said.contains("reset"), "{said}");
        }
        site.stop()?;
    }
    Ok(())
}

/// Asks by a connection from `cport`, the server being the one that closes first, so that the client can use it again
/// at once.
fn ask_from(client: &Namespace, cport: u16, vip: SocketAddr) -> Result<String> {
    client.enter(|| {
        let stream = wait::until("the L4 port to be free", LIMIT, || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), cport).into())?;
            match socket.connect(&vip.into()) {
                Ok(()) => Ok(Some(TcpStream::from(socket))),
                Err(_) => Ok(None),
            }
        })?;
        stream.set_read_timeout(Some(LIMIT))?;
        (&stream).write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        (&stream).read_to_string(&mut answer)?;
        let name = answer.lines().last().context("no answer")?;
        Ok(name.to_owned())
    })?
}

/// `conn_reuse_mode`: a connection that is over makes room for a new one from the same L4 port, which is scheduled for
/// itself; in mode 0 it goes where the old one went.
#[test]
#[ignore = "lab: needs root; run by `cargo xtask test --lab`"]
fn a_port_used_again_is_scheduled_anew_or_not_as_the_mode_says() -> Result<()> {
    let site = Site::new(Method::Nat)?;
    site.make("-t", server::HTTP, "-s rr", ["", ""])?;
    let vip = site.vip(server::HTTP);
    let ask = |cport| -> Result<Vec<String>> {
        (0..6)
            .map(|_| ask_from(site.client(), cport, vip))
            .collect()
    };
    let turns = ["rs2", "rs1", "rs2", "rs1", "rs2", "rs1"];
    assert_eq!(ask(20_001)?, turns);
    site.director()?.set("conn_reuse_mode", "0")?;
    assert_eq!(ask(20_002)?, ["rs2"; 6]);
    let listed = site.director()?.table("connections")?;
    let of = |cport: u16| {
        let client = format!(":{cport}");
        let is_it = |row: &&weir_lab::director::Row| {
            row["client"]
                .as_str()
                .is_some_and(|end| end.ends_with(&client))
        };
        listed.iter().filter(is_it).count()
    };
    assert_eq!((of(20_001), of(20_002)), (1, 1), "{listed:?}");
    assert_eq!(listed[0]["state"], Value::from("TIME_WAIT"), "{listed:?}");
    site.stop()
}
