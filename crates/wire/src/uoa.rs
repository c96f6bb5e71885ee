//! The client's address with a UDP datagram, in the two forms of DPVS (its `uoa.h`): an option of the IPv4 header, or a
//! header between IP and UDP.
//!
//! ```text
//!   option    31 | 8  | L4 port | IPv4 address                                                         8 bytes
//!   header    family << 4 | 17 | its length (2) | 31 | 8  | L4 port | IPv4 address     family 1       12 bytes
//!             family << 4 | 17 | its length (2) | 31 | 20 | L4 port | IPv6 address     family 2       24 bytes
//! ```
//!
//! The protocol number above IP of what has such a header is 248. All numbers are in network order.
//!
//! Promises: lengths and the IPv4 header checksum are right afterwards. UDP's checksum stays as it is: its
//! pseudo-header has UDP's own number and length in it, not what IP says (RFC 768), and so the readers compute it.
//! Does not know: which datagrams are to carry it, nor whether the longer packet still fits its way.

use crate::checksum::{self, Delta};
use crate::{Content, FlowKey, Headers, Packet, Protocol, ipv4, ipv6, payload};

/// The number of the option, in the IPv4 header and in the header between.
pub const OPTION: u8 = 31;
/// The protocol number of the header between.
pub const PROTOCOL: u8 = 248;

/// Bytes of the longest header that IPv4 can have.
const MAX_IPV4_HEADER_BYTES: usize = 60;
/// Bytes of the option for an IPv4 client.
const IPV4_BYTES: usize = 8;
/// Bytes of the option for an IPv6 client.
const IPV6_BYTES: usize = 20;
/// Bytes of the header between without its option.
const FIXED_BYTES: usize = 4;

/// IPv4 options without a length: the end of the list, and none.
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// Where the client's address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In an option of the IPv4 header. Of IPv4 clients alone.
    Option,
    /// In a header between IP and UDP.
    Header,
}

/// Bytes by which a client's datagram grows; 0 where the form has no room in it.
pub fn growth(form: Form, headers: &Headers) -> u16 {
    let ip_header_bytes = usize::from(headers.l4 - headers.l3);
    let n_bytes = match (form, headers.is_ipv6()) {
        (Form::Option, false) if ip_header_bytes + IPV4_BYTES <= MAX_IPV4_HEADER_BYTES => {
            IPV4_BYTES
        }
        (Form::Option, _) => 0,
        (Form::Header, false) => FIXED_BYTES + IPV4_BYTES,
        // Behind extension headers it would have to be named by the last of them; readers do not look there.
        (Form::Header, true) if ip_header_bytes == ipv6::HEADER_BYTES => FIXED_BYTES + IPV6_BYTES,
        (Form::Header, true) => 0,
    };
    n_bytes as u16
}

/// Puts the client's endpoint, the source of the packet, into a UDP datagram, and returns what is then to be known of
/// the packet: its UDP header stands further behind. `None`: no room in the packet or before the frame; it is as it
/// came in.
///
/// `headers` is what [`Headers::parse`] learned of this packet, of which only its end may have changed since.
pub fn insert(packet: &mut Packet<'_>, headers: &Headers, form: Form) -> Option<Headers> {
    let n_bytes = growth(form, headers);
    let end = headers.end.checked_add(n_bytes)?;
    if n_bytes == 0 || headers.content != Content::Udp {
        return None;
    }
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    // (1) An option goes where readers find it first, the header between right before UDP.
    let place = match form {
        Form::Option => l3 + ipv4::HEADER_BYTES,
        Form::Header => l4,
    };
    let n = usize::from(n_bytes);
    let mut inserted = [0; FIXED_BYTES + IPV6_BYTES];
    let inserted = inserted.get_mut(..n)?;
    match form {
        Form::Option => write_option(inserted, &headers.key),
        Form::Header => {
            let (fixed, option) = inserted.split_at_mut(FIXED_BYTES);
            let family = if headers.is_ipv6() { 2 } else { 1 };
            let [high, low] = n_bytes.to_be_bytes();
            fixed.copy_from_slice(&[family << 4, Protocol::Udp.number(), high, low]);
            write_option(option, &headers.key);
        }
    }
    // (2) The frame grows at its front, everything before the place moves there.
    let frame = packet.grow_front(n_bytes).ok()?;
    frame.copy_within(n..n + place, 0);
    frame.get_mut(place..place + n)?.copy_from_slice(inserted);
    payload::grow_ip(frame, headers, n_bytes);
    // (3) IP says what follows.
    let ip_header = frame.get_mut(l3..)?;
    match (form, headers.is_ipv6()) {
        (Form::Option, _) => {
            let words = [ip_header[0] + (IPV4_BYTES / 4) as u8, ip_header[1]];
            mend_ipv4(ip_header, 0, words, Delta(checksum::sum(inserted)));
        }
        (Form::Header, false) => mend_ipv4(ip_header, 8, [ip_header[8], PROTOCOL], Delta(0)),
        (Form::Header, true) => ip_header[6] = PROTOCOL,
    }
    Some(Headers {
        l4: headers.l4 + n_bytes,
        end,
        ..*headers
    })
}

/// Writes the option over all of `room`.
fn write_option(room: &mut [u8], client: &FlowKey) {
    let l4_port = client.source().port().to_be_bytes();
    let (beginning, address) = room.split_at_mut(4);
    beginning.copy_from_slice(&[OPTION, (4 + address.len()) as u8, l4_port[0], l4_port[1]]);
    match client {
        FlowKey::V4(key) => address.copy_from_slice(&key.addresses.to_ne_bytes()[..4]),
        FlowKey::V6(key) => {
            address.copy_from_slice(key.source.map(u64::to_ne_bytes).as_flattened());
        }
    }
}

/// Writes a word of an IPv4 header and mends its checksum, of which `also` is changed beside.
fn mend_ipv4(header: &mut [u8], at: usize, word: [u8; 2], also: Delta) {
    let Some(header) = header.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() else {
        return;
    };
    let delta = Delta::replacing(&header[at..at + 2], &word) + also;
    header[at..at + 2].copy_from_slice(&word);
    ipv4::mend(header, delta);
}

/// Overwrites a client's own option of this number in the IPv4 header, wherever it stands, with no operations.
pub fn blank(frame: &mut [u8], headers: &Headers) {
    let (l3, l4) = (usize::from(headers.l3), usize::from(headers.l4));
    if headers.is_ipv6() || l4 - l3 <= ipv4::HEADER_BYTES {
        return;
    }
    let Some(header) = frame.get_mut(l3..l4) else {
        return;
    };
    let mut at = ipv4::HEADER_BYTES;
    while let Some(kind) = header.get(at).copied() {
        if kind == END_OF_OPTIONS {
            // What follows is padding, but to a reader who does not stop here.
            return blank_range(header, at..header.len(), END_OF_OPTIONS);
        }
        let len_bytes = if kind == NO_OPERATION {
            1
        } else {
            usize::from(header.get(at + 1).copied().unwrap_or(0))
        };
        let end = at + len_bytes;
        if len_bytes == 0 || end > header.len() || kind != NO_OPERATION && len_bytes < 2 {
            return blank_range(header, at..header.len(), NO_OPERATION);
        }
        if kind == OPTION {
            blank_range(header, at..end, NO_OPERATION);
        }
        at = end;
    }
}

fn blank_range(header: &mut [u8], range: std::ops::Range<usize>, with: u8) {
    let before = Delta(checksum::sum(&header[ipv4::HEADER_BYTES..]));
    header[range].fill(with);
    let after = Delta(checksum::sum(&header[ipv4::HEADER_BYTES..]));
    if let Some(fixed) = header.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() {
        ipv4::mend(fixed, after + -before);
    }
}
