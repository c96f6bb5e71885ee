//! TCP (RFC 9293): header, flags, options, and the edits a director makes to them.
//!
//! Promises: a header that parses lies inside the packet with its options; every edit keeps the checksum right,
//! whatever the options' alignment; malformed options end the walk over them, nothing else.
//! Does not know: connections and their states, nor the data, which no edit touches.
//!
//! Edits take the header with its options, `frame[l4..l4 + l4_header_bytes]`; one shorter than a header is left
//! alone.

use std::net::IpAddr;
use std::ops::Range;

use crate::checksum::{self, Delta};
use crate::ethernet::{self, EtherType};
use crate::{Content, Headers, ParseError, Protocol, ipv4, ipv6};

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;
/// Bytes of the longest header.
pub const MAX_HEADER_BYTES: usize = 60;
/// Where the checksum stands in the header.
pub const CHECKSUM: usize = 16;

/// Option: end of the list; what follows is padding.
const END_OF_OPTIONS: u8 = 0;
/// Option: no operation, one byte.
const NO_OPERATION: u8 = 1;
/// Option: maximum segment size, 4 bytes.
pub const MSS: u8 = 2;
/// Option: selective acknowledgements (RFC 2018), 2 bytes and 8 for each block.
pub const SACK: u8 = 5;
/// Option: timestamps (RFC 7323), 10 bytes.
pub const TIMESTAMPS: u8 = 8;
/// Option: the cookie of TCP fast open (RFC 7413).
pub const FAST_OPEN: u8 = 34;

/// No edit lowers an MSS below this.
const MIN_MSS: u16 = 64;
/// TTL or hop limit of a reset that weir itself sends.
const TTL: u8 = 64;

/// The flags byte of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset.
    pub const RST: Self = Self(0x04);
    /// Any of the three that begin or end a connection.
    pub const SYN_FIN_RST: Self = Self(Self::SYN.0 | Self::FIN.0 | Self::RST.0);
    /// The acknowledgement number is valid.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer is valid.
    pub const URG: Self = Self(0x20);

    /// Whether any of `flags` is set.
    #[inline]
    pub fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// ACK without SYN: a segment of a connection that both ends know of.
    #[inline]
    pub fn is_past_opening(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0) == Self::ACK.0
    }

    /// SYN without ACK: a client asks for a connection.
    #[inline]
    pub fn is_opening(self) -> bool {
        self.0 & (Self::SYN.0 | Self::ACK.0 | Self::RST.0 | Self::FIN.0) == Self::SYN.0
    }
}

/// What options a header has, as far as one look tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Options {
    /// None.
    #[default]
    None,
    /// NOP, NOP, timestamps: those of nearly every segment behind the SYN (RFC 7323 appendix A).
    Timestamps,
    /// Any others, to be walked over.
    Any,
}

impl Options {
    /// Those of a header of `header_bytes` whose bytes from the 20th on, or at least the first four of them, are
    /// `options`.
    #[inline]
    pub fn of(header_bytes: u8, options: &[u8]) -> Self {
        match (header_bytes, options.first_chunk()) {
            (20, _) => Self::None,
            (32, Some([NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10])) => Self::Timestamps,
            _ => Self::Any,
        }
    }
}

/// What the parse of a segment's header learned.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Source and destination L4 port, 4 bytes as they lie there.
    pub l4_ports: u32,
    /// The acknowledgement number, valid with [`Flags::ACK`].
    pub acknowledgement: u32,
    /// Bytes with options.
    pub header_bytes: u8,
    /// The flags.
    pub flags: Flags,
    /// The options.
    pub options: Options,
}

/// Reads the header of a segment that reaches to the end of the IP packet.
#[inline]
pub fn parse(segment: &[u8]) -> Result<Header, ParseError> {
    let header: &[u8; HEADER_BYTES] = segment.first_chunk().ok_or(ParseError::TcpMalformed)?;
    let header_bytes = header_bytes(header);
    if usize::from(header_bytes) < HEADER_BYTES || usize::from(header_bytes) > segment.len() {
        return Err(ParseError::TcpMalformed);
    }
    Ok(Header {
        l4_ports: u32::from_ne_bytes([header[0], header[1], header[2], header[3]]),
        acknowledgement: acknowledgement(header),
        header_bytes,
        flags: flags(header),
        options: Options::of(header_bytes, &segment[HEADER_BYTES..]),
    })
}

/// Bytes of a header with its options, as it says; not checked.
#[inline]
pub(crate) fn header_bytes(header: &[u8; HEADER_BYTES]) -> u8 {
    header[12] >> 4 << 2
}

/// The flags of a segment.
#[inline]
pub(crate) fn flags(header: &[u8; HEADER_BYTES]) -> Flags {
    Flags(header[13])
}

/// Replaces both L4 ports (4 bytes as they lie in the header) and lets `delta` mend the checksum.
#[inline]
pub fn rewrite(header: &mut [u8; HEADER_BYTES], l4_ports: [u8; 4], delta: Delta) {
    header[..4].copy_from_slice(&l4_ports);
    mend(header, delta);
}

/// The sequence number of a segment.
#[inline]
pub fn sequence(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([header[4], header[5], header[6], header[7]])
}

/// The acknowledgement number of a segment.
#[inline]
pub fn acknowledgement(header: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([header[8], header[9], header[10], header[11]])
}

/// Adds `by`, modulo 2³², to the sequence number.
#[inline]
pub fn shift_sequence(header: &mut [u8], by: u32) {
    shift_number(header, 4, by);
}

/// Adds `by`, modulo 2³², to the acknowledgement number, if ACK says that there is one, and to every edge of
/// selective acknowledgements (RFC 2018).
#[inline]
pub fn shift_acknowledgement(header: &mut [u8], by: u32) {
    if !header
        .get(13)
        .is_some_and(|flags| Flags(*flags).has(Flags::ACK))
    {
        return;
    }
    shift_number(header, 8, by);
    let Some(options) = find_option(header, SACK) else {
        return;
    };
    shift_edges(header, options.start, by);
}

/// Shifts the edges in all SACK options from the one at `start` on.
#[cold]
fn shift_edges(header: &mut [u8], start: usize, by: u32) {
    let mut at = start;
    while let Some((kind, option)) = next_option(header, at) {
        at = option.end;
        if kind == SACK {
            let n_edges = (option.len() - 2) / 4;
            (0..n_edges).for_each(|n| shift_number(header, option.start + 2 + 4 * n, by));
        }
    }
}

/// As [`shift_acknowledgement`], by whatever `map` makes of a number. Selective acknowledgements of which nothing is
/// left are taken out.
pub fn map_acknowledgement(header: &mut [u8], map: impl Fn(u32) -> u32) {
    let number = |header: &[u8], at: usize| {
        let bytes = header.get(at..).and_then(|bytes| bytes.first_chunk());
        bytes.map(|bytes| u32::from_be_bytes(*bytes))
    };
    let has_ack = header
        .get(13)
        .is_some_and(|flags| Flags(*flags).has(Flags::ACK));
    let Some(acknowledged) = number(header, 8).filter(|_| has_ack) else {
        return;
    };
    replace(header, 8, &map(acknowledged).to_be_bytes());
    let mut at = HEADER_BYTES;
    while let Some(option) = find_option_from(header, at, SACK) {
        at = option.end;
        let mut mapped = [NO_OPERATION; MAX_HEADER_BYTES];
        let mut len_bytes = 2;
        for block in (option.start + 2..option.end.saturating_sub(7)).step_by(8) {
            let edges = (number(header, block), number(header, block + 4));
            if let (Some(left), Some(right)) = edges
                && map(left) != map(right)
                && let Some(room) = mapped.get_mut(len_bytes..len_bytes + 8)
            {
                room[..4].copy_from_slice(&map(left).to_be_bytes());
                room[4..].copy_from_slice(&map(right).to_be_bytes());
                len_bytes += 8;
            }
        }
        if len_bytes > 2 {
            mapped[..2].copy_from_slice(&[SACK, len_bytes as u8]);
        }
        if let Some(mapped) = mapped.get(..option.len()) {
            replace(header, option.start, mapped);
        }
    }
}

/// Lets the urgent pointer, if it is valid, mean the same byte after `n_bytes` were put in front of the data. One that
/// cannot be as great is taken away, and so is one of 0: readers disagree whether it means the byte before the data,
/// and that would be one of those put there.
pub fn move_urgent(header: &mut [u8], n_bytes: u16) {
    let Some(fixed) = header.first_chunk::<HEADER_BYTES>() else {
        return;
    };
    if !flags(fixed).has(Flags::URG) {
        return;
    }
    let pointer = u16::from_be_bytes([fixed[18], fixed[19]]);
    match pointer.checked_add(n_bytes) {
        Some(moved) if pointer != 0 => replace(header, 18, &moved.to_be_bytes()),
        Some(_) | None => clear_urgent(header),
    }
}

/// Takes the urgent pointer away.
pub fn clear_urgent(header: &mut [u8]) {
    match header.get(13).copied() {
        Some(flags) if Flags(flags).has(Flags::URG) => {
            replace(header, 13, &[flags & !Flags::URG.0]);
            replace(header, 18, &[0; 2]);
        }
        Some(_) | None => {}
    }
}

/// Lowers the MSS option, if there is one, by `by` bytes, but not below 64.
pub fn lower_mss(header: &mut [u8], by: u16) {
    let Some(option) = find_option(header, MSS).filter(|option| option.len() == 4) else {
        return;
    };
    let value = option.start + 2;
    let mss = u16::from_be_bytes([header[value], header[value + 1]]);
    let lowered = mss.saturating_sub(by).max(MIN_MSS).min(mss);
    replace(header, value, &lowered.to_be_bytes());
}

/// Lowers the MSS option, if there is one, to `most` bytes, but not below 64.
pub fn clamp_mss(header: &mut [u8], most: u16) {
    let offered = find_option(header, MSS)
        .filter(|option| option.len() == 4)
        .and_then(|option| header.get(option.start + 2..)?.first_chunk())
        .map_or(0, |bytes| u16::from_be_bytes(*bytes));
    if offered > most {
        lower_mss(header, offered - most);
    }
}

/// Where the first option of `kind` lies in the header, its kind and length bytes included. `kind` is one that has
/// a length.
#[inline]
pub fn find_option(header: &[u8], kind: u8) -> Option<Range<usize>> {
    if has_only_timestamps(header) {
        return (kind == TIMESTAMPS).then_some(22..32);
    }
    find_option_from(header, HEADER_BYTES, kind)
}

/// Overwrites every option of `kind` with NOPs and counts them. `kind` is one that has a length.
#[inline]
pub fn blank_option(header: &mut [u8], kind: u8) -> usize {
    if has_only_timestamps(header) && kind != TIMESTAMPS {
        return 0;
    }
    let mut n_blanked = 0;
    let mut at = HEADER_BYTES;
    while let Some(option) = find_option_from(header, at, kind) {
        at = option.end;
        blank(header, option);
        n_blanked += 1;
    }
    n_blanked
}

/// Overwrites the option at `place` with NOPs.
pub(crate) fn blank(header: &mut [u8], place: Range<usize>) {
    if let Some(nops) = [NO_OPERATION; MAX_HEADER_BYTES].get(..place.len()) {
        replace(header, place.start, nops);
    }
}

/// One comparison spares the walk.
#[inline]
fn has_only_timestamps(header: &[u8]) -> bool {
    header.len() == 32 && Options::of(32, &header[HEADER_BYTES..]) == Options::Timestamps
}

/// Where the first option of `kind` at or behind `at` lies.
pub(crate) fn find_option_from(header: &[u8], mut at: usize, kind: u8) -> Option<Range<usize>> {
    while let Some((found, option)) = next_option(header, at) {
        if found == kind {
            return Some(option);
        }
        at = option.end;
    }
    None
}

/// The kind and place of the first option at or behind `at` that has a length, NOPs passed over. The list ends at
/// its end mark, at the end of the header, and at a length that cannot be.
fn next_option(header: &[u8], mut at: usize) -> Option<(u8, Range<usize>)> {
    loop {
        match *header.get(at)? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => at += 1,
            kind => {
                let end = at + usize::from(*header.get(at + 1)?);
                return (end >= at + 2 && end <= header.len()).then_some((kind, at..end));
            }
        }
    }
}

/// Adds `by` to the number that stands `at` bytes into the header.
#[inline]
fn shift_number(header: &mut [u8], at: usize, by: u32) {
    let Some(number) = header.get(at..).and_then(|bytes| bytes.first_chunk()) else {
        return;
    };
    let shifted = u32::from_be_bytes(*number).wrapping_add(by);
    replace(header, at, &shifted.to_be_bytes());
}

/// Writes `new` over what stands `at` bytes into the header, and mends the checksum.
#[inline]
pub(crate) fn replace(header: &mut [u8], at: usize, new: &[u8]) {
    if header.len() < HEADER_BYTES {
        return;
    }
    let Some(old) = header.get_mut(at..at + new.len()) else {
        return;
    };
    let delta = Delta::replacing(old, new).at(at);
    old.copy_from_slice(new);
    mend(header, delta);
}

/// Mends the checksum of a header.
#[inline]
pub(crate) fn mend(header: &mut [u8], delta: Delta) {
    if let Some(field) = header
        .get_mut(CHECKSUM..)
        .and_then(|bytes| bytes.first_chunk_mut())
    {
        delta.apply_to(field);
    }
}

/// A whole frame with the RST that answers the segment in `original_frame` as a closed connection does
/// (RFC 9293 §3.10.7.1). It goes back to the MAC address it came from, untagged, with a TTL of 64.
///
/// `None` for a RST, for what was sent to or by a group or by no host, and for contents other than TCP.
/// `headers` is what [`Headers::parse`] learned of `original_frame`.
pub fn reset(original_frame: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    if headers.content != Content::Tcp || headers.tcp_flags.has(Flags::RST) {
        return None;
    }
    let original = original_frame
        .get(usize::from(headers.l4)..)?
        .first_chunk()?;
    let (sequence, acknowledgement, flags) = if headers.tcp_flags.has(Flags::ACK) {
        (self::acknowledgement(original), 0, Flags::RST.0)
    } else {
        let next = sequence(original).wrapping_add(occupied(headers));
        (0, next, Flags::RST.0 | Flags::ACK.0)
    };
    let mut frame = answer_headers(original_frame, headers)?;
    let [from_high, from_low, to_high, to_low, ..] = *original;
    frame.extend([to_high, to_low, from_high, from_low]);
    frame.extend(sequence.to_be_bytes());
    frame.extend(acknowledgement.to_be_bytes());
    frame.extend([(HEADER_BYTES as u8 / 4) << 4, flags, 0, 0, 0, 0, 0, 0]);
    let headers = Headers::parse(&frame).ok()?;
    checksum::fill_l4(&mut frame, &headers);
    Some(frame)
}

/// Sequence numbers that a segment takes up: one for each byte of data, one for SYN, one for FIN.
fn occupied(headers: &Headers) -> u32 {
    let data_bytes = headers
        .end
        .saturating_sub(headers.l4)
        .saturating_sub(u16::from(headers.l4_header_bytes));
    u32::from(data_bytes)
        + u32::from(headers.tcp_flags.has(Flags::SYN))
        + u32::from(headers.tcp_flags.has(Flags::FIN))
}

/// Ethernet and IP header of a segment without options and data that goes back where this frame came from.
fn answer_headers(original_frame: &[u8], headers: &Headers) -> Option<Vec<u8>> {
    let (ether_type, ip) = match (headers.key.source().ip(), headers.key.destination().ip()) {
        (IpAddr::V4(sender), IpAddr::V4(receiver)) if ipv4::is_answerable(sender, receiver) => {
            let header = ipv4::NewHeader {
                source: receiver,
                destination: sender,
                protocol: Protocol::Tcp.number(),
                ttl: TTL,
                payload_bytes: HEADER_BYTES as u16,
            };
            (EtherType::Ipv4, Vec::from(header.write()))
        }
        (IpAddr::V6(sender), IpAddr::V6(receiver)) if ipv6::is_answerable(sender, receiver) => {
            let header = ipv6::NewHeader {
                source: receiver,
                destination: sender,
                next_header: Protocol::Tcp.number(),
                hop_limit: TTL,
                payload_bytes: HEADER_BYTES as u16,
            };
            (EtherType::Ipv6, Vec::from(header.write()))
        }
        (IpAddr::V4(_) | IpAddr::V6(_), IpAddr::V4(_) | IpAddr::V6(_)) => return None,
    };
    Some([&ethernet::answer(original_frame, ether_type)?[..], &ip].concat())
}
