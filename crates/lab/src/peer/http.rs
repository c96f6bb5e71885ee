//! A small HTTP/1.1 server that answers every request with what it knows about the connection.
//!
//! What it is: `GET` anything, or `PUT`/`POST` a body with a Content-Length; the answer is one JSON object
//! ([`Answer`]). One request per connection, so that every request has a SYN of its own to read TOA from.
//!
//! Promises: the digest is over exactly the bytes of the body; a client that sends nonsense loses its connection and
//! nothing else.
//! Does not know: chunked bodies (curl sends a length for files).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::saved_syn;
use crate::toa;

/// What the server knows about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's name.
    pub server: String,
    /// The other end of the connection, as the kernel sees it: a LIP under FULLNAT.
    pub peer: SocketAddr,
    /// The client as TOA in the SYN told it.
    pub toa: Option<SocketAddr>,
    /// Length of the request's body in bytes.
    pub uploaded_len: u64,
    /// SHA-256 of the request's body, in hexadecimal.
    pub uploaded_sha256: String,
}

/// Serves until the process is ended.
pub(crate) fn serve(listen: SocketAddr, name: &str) -> Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("{listen} cannot be bound"))?;
    saved_syn::keep(&listener)?;
    println!("ready");
    loop {
        let (stream, peer) = listener
            .accept()
            .context("a connection cannot be accepted")?;
        let name = name.to_owned();
        std::thread::spawn(move || {
            if let Err(error) = answer(&stream, peer, &name) {
                eprintln!("{peer}: {error:#}");
            }
        });
    }
}

fn answer(stream: &TcpStream, peer: SocketAddr, name: &str) -> Result<()> {
    let syn = saved_syn::take(stream)?;
    let mut reader = BufReader::new(stream);
    let request = Request::read(&mut reader)?;
    if request.wants_to_be_asked {
        write_all(stream, "HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut digest = Sha256::new();
    let uploaded_len = digest_body(&mut reader, request.body_len, &mut digest)?;
    let body = serde_json::to_string(&Answer {
        server: name.to_owned(),
        peer: unmapped(peer),
        toa: toa::find_in_syn(&syn),
        uploaded_len,
        uploaded_sha256: hexadecimal(&digest.finalize()),
    })?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len() + 1
    );
    write_all(stream, &format!("{head}{body}\n"))
}

/// The two things in a request's head that matter here.
struct Request {
    body_len: u64,
    /// `Expect: 100-continue`: the client holds the body back until it is asked for.
    wants_to_be_asked: bool,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Result<Self> {
        let mut request = Self {
            body_len: 0,
            wants_to_be_asked: false,
        };
        loop {
            let mut line = String::new();
            if reader.by_ref().take(8192).read_line(&mut line)? == 0 {
                bail!("the client closed before its request was complete");
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                return Ok(request);
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                request.body_len = length
                    .trim()
                    .parse()
                    .context("a Content-Length that is no number")?;
            }
            request.wants_to_be_asked |= line.starts_with("expect: 100-continue");
        }
    }
}

fn digest_body(reader: &mut impl Read, len: u64, digest: &mut Sha256) -> Result<u64> {
    let mut body = reader.take(len);
    let mut chunk = vec![0; 65536];
    let mut read_len = 0;
    loop {
        let n_read = body.read(&mut chunk)?;
        if n_read == 0 {
            break;
        }
        digest.update(&chunk[..n_read]);
        read_len += n_read as u64;
    }
    if read_len < len {
        bail!("the client closed after {read_len} of {len} bytes");
    }
    Ok(read_len)
}

fn write_all(mut stream: &TcpStream, text: &str) -> Result<()> {
    stream
        .write_all(text.as_bytes())
        .context("the answer cannot be written")
}

/// An IPv4 client of a socket that listens on both families, as IPv4.
fn unmapped(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_counted_and_digested() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        saved_syn::keep(&listener).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, peer) = listener.accept().unwrap();
        client
            .write_all(b"PUT /x HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
            .unwrap();
        answer(&stream, peer, "rs1").unwrap();
        drop(stream);
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"),
            "{text}"
        );
        let answer: Answer = serde_json::from_str(text.rsplit("\r\n\r\n").next().unwrap()).unwrap();
        assert_eq!(answer.uploaded_len, 3);
        // FIPS 180-2, appendix B.1.
        assert!(answer.uploaded_sha256.starts_with("ba7816bf8f01cfea"));
        assert_eq!(
            (answer.peer, answer.toa),
            (client.local_addr().unwrap(), None)
        );
    }
}
