//! 5tswap: what testpmd's forwarding mode of that name does to a packet, the least that a forwarder can do.
//!
//! Promises: MAC addresses, IP addresses and L4 ports are exchanged, as in `app/test-pmd/5tswap.c`; no checksum
//! changes by it. Does not know: connections.

use weir_wire::PacketBuffer;

/// Exchanges the ends of every frame.
#[inline]
pub(crate) fn swap_ends<B: PacketBuffer>(burst: &mut [B]) {
    for buffer in burst {
        let mut packet = buffer.packet();
        swap(packet.frame_mut());
    }
}

/// As far as it is understood.
#[inline]
fn swap(frame: &mut [u8]) {
    let Some((ethernet, packet)) = frame.split_first_chunk_mut::<14>() else {
        return;
    };
    let [a, b, c, d, e, f, g, h, i, j, k, l, ethertype @ ..] = *ethernet;
    ethernet[..12].copy_from_slice(&[g, h, i, j, k, l, a, b, c, d, e, f]);
    let (protocol, l4) = match ethertype {
        [0x08, 0x00] => {
            let Some(header) = packet.first_chunk_mut::<20>() else {
                return;
            };
            let (before, after) = header.split_at_mut(16);
            before[12..].swap_with_slice(after);
            (header[9], usize::from(header[0] & 15) * 4)
        }
        [0x86, 0xdd] => {
            let Some(header) = packet.first_chunk_mut::<40>() else {
                return;
            };
            let (before, after) = header.split_at_mut(24);
            before[8..].swap_with_slice(after);
            (header[6], 40)
        }
        _ => return,
    };
    if !matches!(protocol, 6 | 17) {
        return;
    }
    if let Some(l4_ports) = packet.get_mut(l4..).and_then(<[u8]>::first_chunk_mut::<4>) {
        let [a, b, c, d] = *l4_ports;
        *l4_ports = [c, d, a, b];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_testkit::{tcp, udp};
    use weir_wire::Headers;

    #[test]
    fn both_ends_are_exchanged_and_checksums_stay_right() {
        for frame in [
            tcp("198.51.100.7:4000", "192.0.2.100:80").syn(),
            udp("[2001:db8::7]:4000", "[2001:db8::1]:53"),
        ] {
            let mut bytes = frame.bytes();
            let before = Headers::parse(&bytes).unwrap();
            let (first, second) = (bytes[..6].to_vec(), bytes[6..12].to_vec());
            swap(&mut bytes);
            let after = Headers::parse(&bytes).unwrap();
            assert_eq!(after.key, before.key.turned());
            assert_eq!((&bytes[..6], &bytes[6..12]), (&second[..], &first[..]));
            assert!(weir_wire::checksum::l4_is_right(&bytes, &after));
        }
    }
}
