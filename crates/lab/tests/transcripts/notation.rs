//! Packets in the notation of the transcripts: words made of frames, and packets made of words.
//!
//! `TCP:SA 10.0.0.2:1111>10.0.0.100:80 ttl64`, `UDP …`, `ICMP 3/3 10.0.0.100>10.0.0.2 ttl64 {the packet quoted}`, `IPIP
//! 10.1.0.1>10.1.0.12 ttl63 [the packet inside]`. BADL4CK: the checksum of TCP, UDP or ICMP is wrong, as that of each
//! fragment is, for what is there is read as if it were all. BADIPCK: that of the IPv4 header is.
//!
//! Promises: two packets are written alike only if all that is written down is alike and their checksums are right, or
//! wrong, alike; read by `etherparse`, which shares no code with the director.
//! Does not know: sequence numbers and payloads; nobody wrote them down.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail, ensure};
use etherparse::checksum::Sum16BitWords;
use etherparse::{
    IpFragOffset, IpHeaders, IpNumber, Ipv4Header, PacketBuilder, TcpHeader, UdpHeader,
};

const ETHERNET_BYTES: usize = 14;
const ICMP_BYTES: usize = 8;
/// ICMP types that quote a packet.
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
/// What the packets that are sent carry as the MTU of a "fragmentation needed", where the flow's packets are small.
const MTU: u16 = 1400;

/// What a packet is beyond its notation; the step's title says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A short one, which may not be fragmented.
    Short,
    /// Of 1500 bytes, full of `z`, which may not be fragmented.
    Full,
    /// The same, which may be.
    FullDivisible,
    /// The first [`FIRST_FRAGMENT`] bytes of a datagram of 2000, full of `q`.
    FirstFragment,
    /// The rest.
    LaterFragment,
}

const FULL: usize = 1500;
const FRAGMENTED: usize = 2000;
const FIRST_FRAGMENT: usize = 1400;

/// A packet as its notation has it.
struct Packet {
    content: Content,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    ttl: u8,
    /// The packet that it quotes.
    quoted: Option<Box<Packet>>,
}

enum Content {
    Tcp(String),
    Udp,
    Icmp(u8, u8),
}

/// The address a packet comes from.
pub(crate) fn source(words: &str) -> Result<Ipv4Addr> {
    Ok(*Packet::read(words)?.source.ip())
}

/// The packet that `words` tell of, from its IPv4 header on.
pub(crate) fn packet(words: &str, shape: Shape) -> Result<Vec<u8>> {
    let packet = match shape {
        // Its own L4 ports are what the payload looks like; the datagram is the one of the packet before.
        Shape::LaterFragment => Packet {
            source: SocketAddrV4::new(source(words)?, 5010),
            destination: SocketAddrV4::new(*Packet::read(words)?.destination.ip(), 53),
            ..Packet::read(words)?
        },
        Shape::Short | Shape::Full | Shape::FullDivisible | Shape::FirstFragment => {
            Packet::read(words)?
        }
    };
    packet.bytes(shape)
}

impl Packet {
    fn read(words: &str) -> Result<Self> {
        let (words, quoted) = match words.split_once(" {") {
            Some((words, quoted)) => {
                let quoted = quoted.strip_suffix('}').context("the quote has no end")?;
                (words, Some(Box::new(Self::read(quoted)?)))
            }
            None => (words, None),
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        let (content, rest) = match words[..] {
            ["UDP", ref rest @ ..] => (Content::Udp, rest),
            ["ICMP", kind, ref rest @ ..] => {
                let (kind, code) = kind.split_once('/').context("no type and code")?;
                (Content::Icmp(kind.parse()?, code.parse()?), rest)
            }
            [first, ref rest @ ..] => {
                let flags = first.strip_prefix("TCP:").context("no protocol")?;
                (Content::Tcp(flags.to_owned()), rest)
            }
            [] => bail!("no packet"),
        };
        let [ends, ttl, ..] = rest[..] else {
            bail!("a packet has two ends and a TTL")
        };
        let (source, destination) = ends.split_once('>').context("no destination")?;
        let end = |text: &str| -> Result<SocketAddrV4> {
            match text.parse() {
                Ok(end) => Ok(end),
                Err(_) => Ok(SocketAddrV4::new(text.parse()?, 0)),
            }
        };
        Ok(Self {
            content,
            source: end(source)?,
            destination: end(destination)?,
            ttl: ttl.strip_prefix("ttl").context("no TTL")?.parse()?,
            quoted,
        })
    }

    fn bytes(&self, shape: Shape) -> Result<Vec<u8>> {
        let (source, destination) = (self.source.ip().octets(), self.destination.ip().octets());
        // The length and the protocol are the builder's to write.
        let header = Ipv4Header {
            identification: 0x1234,
            dont_fragment: matches!(shape, Shape::Short | Shape::Full),
            ..Ipv4Header::new(0, self.ttl, IpNumber::TCP, source, destination)?
        };
        let builder = PacketBuilder::ip(IpHeaders::Ipv4(header, Default::default()));
        let payload = |headers: usize| match shape {
            Shape::Short => b"weir".to_vec(),
            Shape::Full | Shape::FullDivisible => vec![b'z'; FULL - headers],
            Shape::FirstFragment | Shape::LaterFragment => vec![b'q'; FRAGMENTED - headers],
        };
        let mut bytes = Vec::new();
        let (sport, dport) = (self.source.port(), self.destination.port());
        match &self.content {
            Content::Tcp(flags) => {
                let mut tcp = TcpHeader::new(sport, dport, 1000, 512);
                for flag in flags.chars() {
                    match flag {
                        'F' => tcp.fin = true,
                        'S' => tcp.syn = true,
                        'R' => tcp.rst = true,
                        'A' => (tcp.ack, tcp.acknowledgment_number) = (true, 2000),
                        other => bail!("{other} is no flag that was seen"),
                    }
                }
                // No payload on what opens, closes or acknowledges, where it does not matter.
                let payload = if shape == Shape::Short {
                    vec![]
                } else {
                    payload(40)
                };
                builder.tcp_header(tcp).write(&mut bytes, &payload)?;
            }
            Content::Udp => builder.udp(sport, dport).write(&mut bytes, &payload(28))?,
            &Content::Icmp(kind, code) => {
                let [high, low] = if (kind, code) == (UNREACHABLE, 4) {
                    MTU
                } else {
                    0
                }
                .to_be_bytes();
                let quoted = match &self.quoted {
                    Some(quoted) => quoted.bytes(Shape::Short)?,
                    None => payload(28),
                };
                let step = builder.icmpv4_raw(kind, code, [0, 0, high, low]);
                step.write(&mut bytes, &quoted)?;
            }
        }
        match shape {
            Shape::Short | Shape::Full | Shape::FullDivisible => Ok(bytes),
            Shape::FirstFragment | Shape::LaterFragment => fragment(&bytes, shape),
        }
    }
}

/// One of the two fragments of a packet.
fn fragment(whole: &[u8], shape: Shape) -> Result<Vec<u8>> {
    let (mut header, payload) = Ipv4Header::from_slice(whole)?;
    let (first, rest) = payload.split_at(FIRST_FRAGMENT);
    let part = if shape == Shape::FirstFragment {
        first
    } else {
        rest
    };
    header.more_fragments = shape == Shape::FirstFragment;
    if shape == Shape::LaterFragment {
        header.fragment_offset = IpFragOffset::try_new((FIRST_FRAGMENT / 8) as u16)?;
    }
    header.set_payload_len(part.len())?;
    header.header_checksum = header.calc_header_checksum();
    Ok([&header.to_bytes()[..], part].concat())
}

/// A frame that came out, in words.
pub(crate) fn describe(frame: &[u8]) -> Result<String> {
    ensure!(
        frame.len() > ETHERNET_BYTES,
        "this is no frame: {frame:02x?}"
    );
    let (high, low) = (frame[4], frame[5]);
    let packet = describe_packet(&frame[ETHERNET_BYTES..], Extent::Whole)?;
    Ok(format!("->mac {high:02x}{low:02x} {packet}"))
}

/// Whether a frame carries a part of a packet only.
pub(crate) fn is_fragment(frame: &[u8]) -> bool {
    let header = frame.get(ETHERNET_BYTES..).map(Ipv4Header::from_slice);
    matches!(header, Some(Ok((header, _))) if header.is_fragmenting_payload())
}

/// The packet in words that these fragments, in their order, make; nothing while one is missing.
pub(crate) fn put_together(fragments: &[Vec<u8>]) -> Result<Option<String>> {
    let mut whole = None;
    let mut payload = Vec::new();
    for frame in fragments {
        let (header, part) = Ipv4Header::from_slice(&frame[ETHERNET_BYTES..])?;
        let len = usize::from(header.total_len) - header.header_len();
        let offset = 8 * usize::from(header.fragment_offset.value());
        ensure!(offset == payload.len(), "a fragment is for {offset}");
        payload.extend(part.get(..len).context("a fragment was cut off")?);
        let first: &mut Ipv4Header = whole.get_or_insert_with(|| header.clone());
        ensure!(
            first.identification == header.identification,
            "two datagrams"
        );
        if !header.more_fragments {
            first.more_fragments = false;
            first.set_payload_len(payload.len())?;
            first.header_checksum = first.calc_header_checksum();
            let bytes = [&first.to_bytes()[..], &payload].concat();
            return describe_packet(&bytes, Extent::Whole).map(Some);
        }
    }
    Ok(None)
}

/// Whether what is read is meant to be a whole packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    /// A quote ends where there is no more room, and its checksum behind the IPv4 header is that of before the
    /// translation: IPVS leaves it alone, and weir does.
    Quote,
}

fn describe_packet(bytes: &[u8], extent: Extent) -> Result<String> {
    let Ok((header, payload)) = Ipv4Header::from_slice(bytes) else {
        return describe_nonsense(bytes);
    };
    let (from, to) = (
        Ipv4Addr::from(header.source),
        Ipv4Addr::from(header.destination),
    );
    let ttl = format!("ttl{}", header.time_to_live);
    let said_len = usize::from(header.total_len).saturating_sub(header.header_len());
    // Ethernet pads short frames.
    let payload = &payload[..payload.len().min(said_len)];
    let l4_is_right = |words: Sum16BitWords| {
        extent == Extent::Quote || words.add_slice(payload).ones_complement() == 0
    };
    let with_ends = || {
        Sum16BitWords::new()
            .add_slice(&header.source)
            .add_slice(&header.destination)
            .add_2bytes([0, header.protocol.0])
            .add_2bytes((payload.len() as u16).to_be_bytes())
    };
    let (words, is_right) = match header.protocol {
        // A quote holds eight bytes of TCP at least, which are the ports and the sequence number.
        IpNumber::TCP => {
            let [a, b, c, d] = *payload.first_chunk().context("no TCP header")?;
            let (sport, dport) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            let flags = flags(*payload.get(13).context("the quote has no flags")?);
            let words = format!("TCP:{flags} {from}:{sport}>{to}:{dport} {ttl}");
            (words, l4_is_right(with_ends()))
        }
        IpNumber::UDP => {
            let (udp, _) = UdpHeader::from_slice(payload)?;
            let (sport, dport) = (udp.source_port, udp.destination_port);
            let words = format!("UDP {from}:{sport}>{to}:{dport} {ttl}");
            // RFC 768: zero means that the sender computed none.
            (words, udp.checksum == 0 || l4_is_right(with_ends()))
        }
        IpNumber::ICMP => {
            let (icmp, quoted) = payload
                .split_first_chunk::<ICMP_BYTES>()
                .context("no ICMP header")?;
            let mut words = format!("ICMP {}/{} {from}>{to} {ttl}", icmp[0], icmp[1]);
            if matches!(icmp[0], UNREACHABLE | TIME_EXCEEDED) {
                words += &format!(" {{{}}}", describe_packet(quoted, Extent::Quote)?);
            }
            (words, l4_is_right(Sum16BitWords::new()))
        }
        IpNumber::IPV4 => {
            let inside = describe_packet(payload, Extent::Whole)?;
            (format!("IPIP {from}>{to} {ttl} [{inside}]"), true)
        }
        IpNumber(number) => (format!("proto{number} {from}>{to} {ttl}"), true),
    };
    let mut words = words;
    if !is_right {
        words += " BADL4CK";
    }
    let header_bytes = &bytes[..header.header_len()];
    if Sum16BitWords::new()
        .add_slice(header_bytes)
        .ones_complement()
        != 0
    {
        words += " BADIPCK";
    }
    Ok(words)
}

/// What no IPv4 header begins, read as if one did: so the transcripts have the later fragment of a tunnel's packet.
fn describe_nonsense(bytes: &[u8]) -> Result<String> {
    let header: &[u8; 20] = bytes.first_chunk().context("this is no packet")?;
    let [from, to] = [12, 16].map(|at| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|byte| header[at + byte]);
        Ipv4Addr::new(a, b, c, d)
    });
    Ok(format!("proto{} {from}>{to}", header[9]))
}

fn flags(bits: u8) -> String {
    let letters = "FSRPAU".chars().enumerate();
    letters
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .map(|(_, letter)| letter)
        .collect()
}

/// The MTU that a frame with "fragmentation needed" tells; nothing for any other.
pub(crate) fn told_mtu(frame: &[u8]) -> Option<u16> {
    let (header, payload) = Ipv4Header::from_slice(frame.get(ETHERNET_BYTES..)?).ok()?;
    match payload.first_chunk()? {
        &[UNREACHABLE, 4, _, _, _, _, high, low] if header.protocol == IpNumber::ICMP => {
            Some(u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}
