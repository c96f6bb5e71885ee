//! Datagrams cut into fragments, and put together again (RFC 791 §3.2, RFC 8200 §4.5), byte by byte.
//!
//! Promises: what is put together is whole: no byte is missing, none came twice with another value, and all fragments had
//! the same addresses, identification and right header checksums, or there is a reason.
//! Does not know: `weir_wire`; timers: what belongs together is the caller's choice.

const ETHERNET_BYTES: usize = 14;

/// One fragment as it lies in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Source and destination address, identification, and with IPv4 the protocol.
    pub datagram: (Vec<u8>, u32, u8),
    /// The frame up to what it carries of the datagram, with length, offset, checksum and identification taken out.
    header: Vec<u8>,
    /// Of IPv6, what the fragment header says follows it.
    next_header: u8,
    /// Where in the datagram its bytes begin.
    pub offset: usize,
    /// Whether there are more behind it.
    pub more_follow: bool,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// Cuts a whole IP packet, untagged, into fragments of `part_bytes` of data, a multiple of 8.
pub fn cut(frame: &[u8], identification: u32, part_bytes: usize) -> Vec<Vec<u8>> {
    let len = frame.len();
    let bounds: Vec<usize> = (part_bytes..len).step_by(part_bytes).collect();
    cut_at(frame, identification, &bounds)
}

/// Likewise, at these bytes of what is cut, multiples of 8 in ascending order; what lies at or beyond the end is left out.
pub fn cut_at(frame: &[u8], identification: u32, bounds: &[usize]) -> Vec<Vec<u8>> {
    let is_ipv4 = frame[ETHERNET_BYTES] >> 4 == 4;
    let header_bytes = if is_ipv4 {
        ETHERNET_BYTES + usize::from(frame[ETHERNET_BYTES] & 15) * 4
    } else {
        ETHERNET_BYTES + 40 + hop_by_hop_bytes(frame)
    };
    let (header, data) = frame.split_at(header_bytes);
    let mut edges = vec![0];
    edges.extend(bounds.iter().copied().filter(|bound| *bound < data.len()));
    edges.push(data.len());
    let parts = edges.windows(2).map(|edge| {
        let (begin, end) = (edge[0], edge[1]);
        assert_eq!(begin % 8, 0, "fragments begin at multiples of 8");
        let more_follow = end != data.len();
        let bytes = &data[begin..end];
        if is_ipv4 {
            ipv4(header, identification as u16, begin, more_follow, bytes)
        } else {
            ipv6(header, identification, begin, more_follow, bytes)
        }
    });
    parts.collect()
}

fn hop_by_hop_bytes(frame: &[u8]) -> usize {
    let has_options = frame[ETHERNET_BYTES + 6] == 0;
    let length = ETHERNET_BYTES + 40 + 1;
    if has_options {
        (usize::from(frame[length]) + 1) * 8
    } else {
        0
    }
}

fn ipv4(header: &[u8], identification: u16, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = header.to_vec();
    let ip = &mut frame[ETHERNET_BYTES..];
    let total = (ip.len() + bytes.len()) as u16;
    // Of a fragment that is cut again.
    let before = u16::from_be_bytes([ip[6], ip[7]]);
    let more = u16::from(more) << 13 | before & 0x2000;
    let word = more | ((before & 0x1fff) + (offset / 8) as u16);
    ip[2..4].copy_from_slice(&total.to_be_bytes());
    ip[4..6].copy_from_slice(&identification.to_be_bytes());
    ip[6..8].copy_from_slice(&word.to_be_bytes());
    ip[10..12].fill(0);
    let checksum = !sum(ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(bytes);
    frame
}

fn ipv6(header: &[u8], identification: u32, offset: usize, more: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = header.to_vec();
    let last_next_header = if hop_by_hop_bytes(header) == 0 { 6 } else { 40 };
    let at = ETHERNET_BYTES + last_next_header;
    let next_header = std::mem::replace(&mut frame[at], 44);
    frame.extend([next_header, 0]);
    frame.extend((offset as u16 | u16::from(more)).to_be_bytes());
    frame.extend(identification.to_be_bytes());
    frame.extend(bytes);
    let payload = (frame.len() - ETHERNET_BYTES - 40) as u16;
    frame[ETHERNET_BYTES + 4..][..2].copy_from_slice(&payload.to_be_bytes());
    frame
}

/// RFC 1071, word by word.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Part {
    /// Reads a frame, untagged; panics when it is no fragment or its header checksum is wrong.
    #[track_caller]
    pub fn read(frame: &[u8]) -> Self {
        let ip = &frame[ETHERNET_BYTES..];
        if ip[0] >> 4 == 4 {
            let header_bytes = usize::from(ip[0] & 15) * 4;
            assert_eq!(
                sum(&ip[..header_bytes]),
                0xffff,
                "a header checksum is wrong"
            );
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            let word = u16::from_be_bytes([ip[6], ip[7]]);
            assert_ne!(word & 0x3fff, 0, "no fragment: {frame:02x?}");
            let identification = u32::from(u16::from_be_bytes([ip[4], ip[5]]));
            let mut header = frame[..ETHERNET_BYTES + header_bytes].to_vec();
            header[ETHERNET_BYTES + 2..ETHERNET_BYTES + 8].fill(0);
            header[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].fill(0);
            Self {
                datagram: (ip[12..20].to_vec(), identification, ip[9]),
                header,
                next_header: 0,
                offset: usize::from(word & 0x1fff) * 8,
                more_follow: word & 0x2000 != 0,
                bytes: ip[header_bytes..total].to_vec(),
            }
        } else {
            let at = 40 + hop_by_hop_bytes(frame);
            let last_next_header = if at == 40 { ip[6] } else { ip[40] };
            assert_eq!(last_next_header, 44, "no fragment: {frame:02x?}");
            let total = 40 + usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let word = u16::from_be_bytes([ip[at + 2], ip[at + 3]]);
            let identification = [ip[at + 4], ip[at + 5], ip[at + 6], ip[at + 7]];
            let mut header = frame[..ETHERNET_BYTES + at].to_vec();
            header[ETHERNET_BYTES + 4..ETHERNET_BYTES + 6].fill(0);
            Self {
                datagram: (ip[8..40].to_vec(), u32::from_be_bytes(identification), 0),
                header,
                next_header: ip[at],
                offset: usize::from(word & 0xfff8),
                more_follow: word & 1 != 0,
                bytes: ip[at + 8..total].to_vec(),
            }
        }
    }
}

/// Puts a datagram together from all its fragments, in any order: the frame as it would have been, with identification 0
/// and DF clear. `Err` says why there is none.
pub fn reassemble<'a>(frames: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Vec<u8>, String> {
    let mut parts: Vec<Part> = frames.into_iter().map(|frame| Part::read(frame)).collect();
    parts.sort_by_key(|part| part.offset);
    let Some(first) = parts.first().cloned() else {
        return Err("no fragments".into());
    };
    let mut data: Vec<u8> = Vec::new();
    let mut is_complete = false;
    for part in &parts {
        if part.datagram != first.datagram || part.header != first.header {
            return Err(format!(
                "two datagrams: {:02x?} and {:02x?}",
                first.header, part.header
            ));
        }
        if part.offset > data.len() {
            return Err(format!("bytes {}..{} are missing", data.len(), part.offset));
        }
        let n_again = (data.len() - part.offset).min(part.bytes.len());
        if data[part.offset..][..n_again] != part.bytes[..n_again] {
            return Err(format!("two values of bytes from {}", part.offset));
        }
        data.extend(&part.bytes[n_again..]);
        is_complete |= !part.more_follow;
    }
    if !is_complete {
        return Err(format!("the end is missing: {} bytes", data.len()));
    }
    let mut whole = first.header.clone();
    if whole[ETHERNET_BYTES] >> 4 == 4 {
        return Ok(ipv4(&whole, 0, 0, false, &data));
    }
    let last_next_header = if hop_by_hop_bytes(&whole) == 0 { 6 } else { 40 };
    whole[ETHERNET_BYTES + last_next_header] = first.next_header;
    whole.extend(data);
    let payload = (whole.len() - ETHERNET_BYTES - 40) as u16;
    whole[ETHERNET_BYTES + 4..][..2].copy_from_slice(&payload.to_be_bytes());
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IPV4, IPV6, udp};

    #[test]
    fn what_is_cut_is_put_together_again() {
        for family in [IPV4, IPV6] {
            let frame = udp(family.client, family.vip).data_bytes(3001);
            let frames = [
                frame.clone().may_be_fragmented(),
                frame.clone().extensions().may_be_fragmented(),
            ];
            for frame in frames {
                let mut whole = frame.bytes();
                let mut parts = cut(&whole, 77, 1024);
                assert_eq!(parts.len(), 3);
                parts.reverse();
                if family.ip_header_bytes == 20 {
                    whole = ipv4(&whole[..34], 0, 0, false, &whole[34..]);
                }
                assert_eq!(reassemble(&parts), Ok(whole));
                assert!(reassemble(&parts[..2]).unwrap_err().contains("missing"));
                assert!(reassemble(&parts[1..]).unwrap_err().contains("missing"));
                let others = cut(&frame.clone().data_bytes(3002).bytes(), 78, 1024);
                let mixed = [parts[0].clone(), others[0].clone(), parts[1].clone()];
                assert!(reassemble(&mixed).unwrap_err().contains("two"));
            }
        }
    }
}
