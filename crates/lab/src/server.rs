//! What runs on the real servers: nginx, iperf3 and the [`crate::peer`] servers, the same on each; under TUN also the
//! tunnels' far end.
//!
//! Promises: when [`RealServers::start`] returns, every one of them has been seen to answer or to be ready.
//! Does not know: the director; the L4 ports below are those of the real servers, whatever VIP stands before them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::address::Family;
use crate::lab::Lab;
use crate::method::Method;
use crate::peer::hexadecimal;
use crate::process::Process;
use crate::real_server;
use crate::topology::{Host, Topology};

/// nginx: a small page that names the server, and files.
pub const HTTP: u16 = 80;
/// nginx again, which takes connections with a PROXY header only: it says whom that names, serves the same files, and
/// passes uploads on to [`PEER`].
pub const PROXIED: u16 = 8180;
/// Our own HTTP server that reads the SYN and takes uploads.
pub const PEER: u16 = 8081;
/// iperf3.
pub const IPERF: u16 = 5201;
/// UDP echo.
pub const ECHO: u16 = 5300;

const START_LIMIT: Duration = Duration::from_secs(10);

/// How the program that hosts [`crate::peer`] is started: a program and the words before the peer's own.
#[derive(Clone, Debug)]
pub struct PeerProgram {
    program: PathBuf,
    words: Vec<String>,
}

impl PeerProgram {
    /// `program`, called with `words` and then the words of [`crate::peer::Peer`].
    pub fn new(program: impl Into<PathBuf>, words: &[&str]) -> Self {
        Self {
            program: program.into(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
        }
    }
}

/// The running servers of all real servers; dropping it ends them.
#[derive(Debug)]
pub struct RealServers {
    processes: Vec<Process>,
    access_logs: Vec<PathBuf>,
}

impl RealServers {
    /// Starts all servers on all real servers of `topology`.
    pub fn start(topology: &Topology, peer: &PeerProgram) -> Result<Self> {
        let folder = topology.lab.folder();
        std::fs::create_dir_all(files_folder(&topology.lab))
            .context("the folder to serve cannot be created")?;
        let mut servers = Self {
            processes: Vec::new(),
            access_logs: Vec::new(),
        };
        for (host, name) in topology.real_servers.iter().zip(["rs1", "rs2"]) {
            servers.processes.push(nginx(&topology.lab, host, name)?);
            servers
                .access_logs
                .push(folder.join(format!("{name}-access.log")));
            let own = |kind: &str, address: IpAddr, l4_port: u16| {
                let listen = SocketAddr::new(address, l4_port).to_string();
                let mut command = host.namespace.command(&peer.program);
                command.args(&peer.words).args([kind, &listen, name]);
                // Two servers of one kind differ by the version of IP they speak.
                let version = if address.is_ipv4() { "-ipv4" } else { "" };
                let log = folder.join(format!("{name}-{kind}{version}.log"));
                until_printed(command, log, "ready")
            };
            servers
                .processes
                .push(own("http", Ipv6Addr::UNSPECIFIED.into(), PEER)?);
            for address in echo_addresses(topology) {
                servers.processes.push(own("udp-echo", address, ECHO)?);
            }
            let mut command = host.namespace.command("iperf3");
            command.args(["-s", "--forceflush", "-p", &IPERF.to_string()]);
            servers.processes.push(until_printed(
                command,
                folder.join(format!("{name}-iperf3.log")),
                "listening",
            )?);
            if let Method::Tun(_) = topology.method {
                let mut command = host.namespace.command(&peer.program);
                command.args(&peer.words).arg("tunnel-end");
                servers.processes.push(until_printed(
                    command,
                    folder.join(format!("{name}-tunnel-end.log")),
                    "ready",
                )?);
                real_server::raise_tunnel(&host.namespace)?;
            }
        }
        Ok(servers)
    }

    /// The source addresses that nginx on each real server has logged, one for each request, oldest first.
    pub fn sources_seen(&self) -> Result<Vec<Vec<String>>> {
        self.access_logs
            .iter()
            .map(|log| {
                let text = std::fs::read_to_string(log)
                    .with_context(|| format!("{} cannot be read", log.display()))?;
                Ok(text.lines().map(str::to_owned).collect())
            })
            .collect()
    }

    /// Lets all servers run on after their values are gone.
    pub fn leave_running(self) {
        self.processes.into_iter().for_each(Process::leave_running);
    }
}

/// Where the files lie that every real server serves under `/files/`.
pub fn files_folder(lab: &Lab) -> PathBuf {
    lab.folder().join("files")
}

/// Writes a file of `len` bytes that do not compress and do not repeat, the same for the same `seed`, and returns
/// its SHA-256 in hexadecimal.
pub fn write_payload(path: &Path, len: usize, seed: u64) -> Result<String> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        // xorshift64 (Marsaglia 2003): any full-period generator does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    std::fs::write(path, &bytes)
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(hexadecimal(&Sha256::digest(&bytes)))
}

/// SHA-256 of a file, in hexadecimal, and its length in bytes.
pub fn digest_file(path: &Path) -> Result<(String, usize)> {
    let bytes =
        std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok((hexadecimal(&Sha256::digest(&bytes)), bytes.len()))
}

fn nginx(lab: &Lab, host: &Host, name: &str) -> Result<Process> {
    let folder = lab.folder();
    let config = folder.join(format!("{name}-nginx.conf"));
    std::fs::write(&config, nginx_config(folder, name))
        .context("nginx's configuration cannot be written")?;
    let mut command = host.namespace.command("nginx");
    command
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(folder)
        .args(["-e", "stderr"]);
    let mut process = Process::start(&mut command, folder.join(format!("{name}-nginx.log")))?;
    let itself = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), HTTP);
    process.wait_until("nginx to listen", START_LIMIT, || {
        host.namespace
            .enter(|| TcpStream::connect(itself).ok().map(drop))
    })?;
    Ok(process)
}

/// One process, no daemon, everything in `folder`. A keep-alive of zero has every request open a connection of its
/// own, without the client having to be told.
fn nginx_config(folder: &Path, name: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/{name}-nginx.pid; error_log stderr;
        events {{ worker_connections 4096; }}
        http {{
            log_format source '$remote_addr';
            access_log {folder}/{name}-access.log source;
            keepalive_timeout 0;
            sendfile on;
            client_body_temp_path {folder}/{name}-body;
            proxy_temp_path {folder}/{name}-proxy;
            fastcgi_temp_path {folder}/{name}-fastcgi;
            uwsgi_temp_path {folder}/{name}-uwsgi;
            scgi_temp_path {folder}/{name}-scgi;
            server {{
                listen [::]:{HTTP} ipv6only=off backlog=4096;
                default_type text/plain;
                location / {{ return 200 '{name}\\n'; }}
                location /files/ {{ root {folder}; access_log off; }}
            }}
            server {{
                listen [::]:{PROXIED} ipv6only=off proxy_protocol backlog=4096;
                default_type text/plain;
                client_max_body_size 0;
                location / {{
                    return 200 '$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port $remote_addr\n';
                }}
                location /files/ {{ root {folder}; access_log off; }}
                location /upload {{ proxy_pass http://127.0.0.1:{PEER}; access_log off; }}
            }}
        }}"
    )
}

/// Where the UDP echo listens. A socket for any address would answer from the interface's own, and where the real
/// server has the VIP too, its answers are to come from the VIP.
fn echo_addresses(topology: &Topology) -> Vec<IpAddr> {
    if topology.method.real_servers_have_the_vip() {
        Family::ALL.map(|family| topology.vip.of(family)).to_vec()
    } else {
        vec![Ipv6Addr::UNSPECIFIED.into()]
    }
}

fn until_printed(mut command: Command, log: PathBuf, sign: &str) -> Result<Process> {
    let mut process = Process::start(&mut command, log.clone())?;
    process.wait_until("a server to be ready", START_LIMIT, || {
        Ok(std::fs::read_to_string(&log)
            .unwrap_or_default()
            .contains(sign)
            .then_some(()))
    })?;
    Ok(process)
}
