//! What clients do: curl, iperf3 and UDP requests, from a namespace, and what they saw.
//!
//! Promises: a request that was not answered is never counted as one that was; nothing is retried.
//! Does not know: whether a director stands between.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;

use crate::command::{output, run};
use crate::namespace::Namespace;
use crate::peer::Answer;
use crate::process::Process;
use crate::server;

/// Longest a single ordinary request may take.
const REQUEST_LIMIT_S: &str = "10";
/// Longest a UDP answer may take: long beside a veth's delay, so that what is late is lost.
const DATAGRAM_LIMIT: Duration = Duration::from_secs(2);

/// What curl reports after each transfer, on a line of its own.
const REPORT: &str = "\n=%{http_code} %{local_ip} %{local_port}\n";

/// One answered HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The client's own address and L4 port.
    pub local: SocketAddr,
    /// The answer's body, without surrounding white space.
    pub body: String,
}

/// `http://ADDRESS:PORT`, with the brackets that IPv6 needs.
pub fn url(address: IpAddr, l4_port: u16) -> String {
    format!("http://{}", SocketAddr::new(address, l4_port))
}

/// Has one curl make `count` requests one after the other, each over a connection of its own (the server closes).
///
/// Errors: any of them failed or was answered by something else than 200.
pub fn curl(client: &Namespace, url: &str, count: usize) -> Result<Vec<Answered>> {
    requests(curl_command(client), url, count)
}

/// The same from an address of the client's choice.
pub fn curl_from(
    client: &Namespace,
    source: IpAddr,
    url: &str,
    count: usize,
) -> Result<Vec<Answered>> {
    let mut command = curl_command(client);
    command.args(["--interface", &source.to_string()]);
    requests(command, url, count)
}

fn requests(mut curl: Command, url: &str, count: usize) -> Result<Vec<Answered>> {
    let text = run(curl.args(["--max-time", REQUEST_LIMIT_S, &format!("{url}/[1-{count}]")]))?;
    let answers = answers(&text)?;
    ensure!(
        answers.len() == count,
        "curl answered {} of {count} requests",
        answers.len()
    );
    Ok(answers)
}

/// Has `n_clients` curls make `count` requests each, at the same time.
pub fn curls_at_once(
    client: &Namespace,
    url: &str,
    n_clients: usize,
    count: usize,
) -> Result<Vec<Answered>> {
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..n_clients)
            .map(|_| scope.spawn(|| curl(client, url, count)))
            .collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(
                client
                    .join()
                    .unwrap_or_else(|_| bail!("the thread that ran curl panicked"))?,
            );
        }
        Ok(all)
    })
}

/// Asks the server of our own ([`server::PEER`]) who we are. Returns our own address and the server's answer.
pub fn ask_peer(client: &Namespace, url: &str) -> Result<(SocketAddr, Answer)> {
    let text = run(curl_command(client).args(["--max-time", REQUEST_LIMIT_S, url]))?;
    peer_answer(&text)
}

/// Uploads `file` to the server of our own. Returns our own address and the server's answer.
pub fn upload(
    client: &Namespace,
    url: &str,
    file: &Path,
    limit: Duration,
) -> Result<(SocketAddr, Answer)> {
    let limit = limit.as_secs().to_string();
    let text = run(curl_command(client)
        .args(["--max-time", &limit, "--upload-file"])
        .arg(file)
        .arg(url))?;
    peer_answer(&text)
}

fn peer_answer(text: &str) -> Result<(SocketAddr, Answer)> {
    let answered = answers(text)?.pop().context("curl reported no transfer")?;
    let answer = serde_json::from_str(&answered.body)
        .with_context(|| format!("no answer: {}", answered.body))?;
    Ok((answered.local, answer))
}

fn curl_command(client: &Namespace) -> Command {
    let mut command = client.command("curl");
    command.args([
        "--silent",
        "--show-error",
        "--noproxy",
        "*",
        "--fail-early",
        "--write-out",
        REPORT,
    ]);
    command
}

/// Splits curl's output into transfers: a body, then the line of [`REPORT`].
fn answers(text: &str) -> Result<Vec<Answered>> {
    let mut answers = Vec::new();
    let mut body = String::new();
    for line in text.lines() {
        let Some(report) = line.strip_prefix('=') else {
            body.push_str(line);
            body.push('\n');
            continue;
        };
        let words: Vec<&str> = report.split(' ').collect();
        let [code, address, l4_port] = words[..] else {
            bail!("curl reported '{line}'")
        };
        ensure!(
            code == "200",
            "a request was answered by {code}: {}",
            body.trim()
        );
        let local = SocketAddr::new(address.parse()?, l4_port.parse()?);
        answers.push(Answered {
            local,
            body: std::mem::take(&mut body).trim().to_owned(),
        });
    }
    Ok(answers)
}

/// How many answers each body was given in.
pub fn shares<'a>(bodies: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, usize> {
    let mut shares = BTreeMap::new();
    for body in bodies {
        *shares.entry(body.to_owned()).or_default() += 1;
    }
    shares
}

/// A transfer into a file that runs beside whatever else the test does.
#[derive(Debug)]
pub struct Download {
    curl: Process,
    file: PathBuf,
}

impl Download {
    /// Starts to fetch `url` into `file`, at most `bytes_per_second` fast if given.
    pub fn start(
        client: &Namespace,
        url: &str,
        file: &Path,
        bytes_per_second: Option<u64>,
    ) -> Result<Self> {
        let mut command = client.command("curl");
        command
            .args([
                "--silent",
                "--show-error",
                "--fail",
                "--noproxy",
                "*",
                "--output",
            ])
            .arg(file)
            .arg(url);
        if let Some(rate) = bytes_per_second {
            command.args(["--limit-rate", &rate.to_string()]);
        }
        let curl = Process::start(&mut command, file.with_extension("curl.log"))?;
        Ok(Self {
            curl,
            file: file.to_owned(),
        })
    }

    /// Waits until at least `len` bytes have arrived.
    pub fn wait_for_len(&mut self, len: u64, limit: Duration) -> Result<()> {
        let file = self.file.clone();
        self.curl
            .wait_until("a download to be under way", limit, || {
                Ok(std::fs::metadata(&file)
                    .is_ok_and(|data| data.len() >= len)
                    .then_some(()))
            })
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.curl.check_alive().is_ok()
    }

    /// Waits for the end and returns SHA-256 in hexadecimal and length in bytes.
    ///
    /// Errors: curl reports one, for example a connection that broke.
    pub fn finish(mut self, limit: Duration) -> Result<(String, usize)> {
        let status = self.curl.wait_for_end(limit)?;
        ensure!(
            status.success(),
            "curl ended with {status}: {}",
            self.curl.printed().trim()
        );
        server::digest_file(&self.file)
    }
}

/// The way the bytes go in iperf3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The client sends.
    Inbound,
    /// The real server sends.
    Outbound,
}

impl Flow {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Inbound, Self::Outbound];
}

/// An iperf3 client under way.
#[derive(Debug)]
pub struct Iperf {
    process: Process,
    seconds: u64,
}

impl Iperf {
    /// Starts to send for `seconds` to, or from, `address`.
    pub fn start(
        client: &Namespace,
        address: IpAddr,
        flow: Flow,
        seconds: u64,
        log: PathBuf,
    ) -> Result<Self> {
        let mut command = client.command("iperf3");
        command.args([
            "--json",
            "-c",
            &address.to_string(),
            "-p",
            &server::IPERF.to_string(),
        ]);
        command.args(["-t", &seconds.to_string()]);
        if flow == Flow::Outbound {
            command.arg("-R");
        }
        Ok(Self {
            process: Process::start(&mut command, log)?,
            seconds,
        })
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.check_alive().is_ok()
    }

    /// Waits for the end and returns how many bytes the receiving side got.
    pub fn finish(mut self) -> Result<u64> {
        let status = self
            .process
            .wait_for_end(Duration::from_secs(self.seconds + 20))?;
        let printed = self.process.printed();
        let report: serde_json::Value = serde_json::from_str(&printed)
            .with_context(|| format!("iperf3 ended with {status} and said: {}", printed.trim()))?;
        if let Some(error) = report["error"].as_str() {
            bail!("iperf3: {error}");
        }
        report["end"]["sum_received"]["bytes"]
            .as_u64()
            .context("iperf3 reports no bytes")
    }
}

/// The first of the client's L4 ports that datagrams are sent from, one after the other.
const FIRST_CPORT: u16 = 20_000;

/// Sends `count` datagrams one after another to `server`, each from an L4 port of its own, so that each is a connection
/// of its own, and waits for each answer. Returns the names that the answers ended with.
///
/// Errors: an answer is missing, late, or not what was sent followed by a name.
pub fn udp_echo(client: &Namespace, server: SocketAddr, count: u16) -> Result<Vec<String>> {
    // Lengths differ, so that odd ones and even ones are both checksummed.
    udp_echo_of(client, server, count, |number| usize::from(number % 512))
}

/// Likewise, of datagrams of which each is longer than `n_bytes` of its number.
pub fn udp_echo_of(
    client: &Namespace,
    server: SocketAddr,
    count: u16,
    n_bytes: fn(u16) -> usize,
) -> Result<Vec<String>> {
    client.enter(|| {
        (0..count)
            .map(|number| udp_echo_once(server, number, n_bytes(number)))
            .collect()
    })?
}

fn udp_echo_once(server: SocketAddr, number: u16, n_bytes: usize) -> Result<String> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let cport = FIRST_CPORT + number;
    let socket = UdpSocket::bind((any, cport))
        .with_context(|| format!("the L4 port {cport} is not free"))?;
    socket
        .connect(server)
        .with_context(|| format!("there is no route to {server}"))?;
    socket.set_read_timeout(Some(DATAGRAM_LIMIT))?;
    // No two of its parts are alike.
    let filling: String = (0..n_bytes)
        .map(|n| char::from(b'a' + (n * n % 25 + n / 1000) as u8 % 26))
        .collect();
    let question = format!("datagram {number} {filling}|");
    socket
        .send(question.as_bytes())
        .context("a datagram cannot be sent")?;
    let mut answer = vec![0; 65_536];
    let len = socket
        .recv(&mut answer)
        .with_context(|| format!("datagram {number} was not answered"))?;
    let answer = String::from_utf8_lossy(&answer[..len]);
    match answer.strip_prefix(&question) {
        Some(name) => Ok(name.to_owned()),
        None => bail!("datagram {number} was answered by something else: {answer}"),
    }
}

/// Whether `address` answers a ping.
pub fn ping(client: &Namespace, address: IpAddr) -> Result<bool> {
    let command = &mut client.command("ping");
    Ok(
        output(command.args(["-c", "1", "-W", "2", "-n", &address.to_string()]))?
            .status
            .success(),
    )
}

/// Ends a transfer that nobody needs to its end.
pub fn abandon(download: Download) -> Result<()> {
    download
        .curl
        .stop(Signal::SIGTERM, Duration::from_secs(5))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curls_report_is_read_after_each_body() {
        let text = "rs1\n\n=200 192.0.2.10 40000\nrs2\n\n=200 192.0.2.10 40001\n";
        let answers = answers(text).unwrap();
        assert_eq!(
            answers[0],
            Answered {
                local: "192.0.2.10:40000".parse().unwrap(),
                body: "rs1".into()
            }
        );
        assert_eq!(answers[1].body, "rs2");
    }

    #[test]
    fn an_answer_that_is_not_200_is_an_error() {
        assert!(
            super::answers("no\n\n=502 192.0.2.10 40000\n")
                .unwrap_err()
                .to_string()
                .contains("502")
        );
    }

    #[test]
    fn ipv6_urls_have_brackets() {
        assert_eq!(
            url("2001:db8::1".parse().unwrap(), 80),
            "http://[2001:db8::1]:80"
        );
    }
}
