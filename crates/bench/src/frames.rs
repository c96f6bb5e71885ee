//! The frames that are played: flows by number, a frame for each, laid out as a tape.
//!
//! Promises: every frame is whole, its checksums right; frames of one tape have one length; a flow's number names the
//! same client always.
//! Does not know: what a director makes of them.
//!
//! How it works: testkit builds one frame for each protocol; for every further flow the addresses, L4 ports and
//! checksums are patched in a copy, since building ten million of them would take minutes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytemuck::Zeroable;
use weir_director::{Direction, Endpoint, Protocol};
use weir_memory::{MappedSlice, Pages};
use weir_testkit::{
    FrameBuilder, LAN_MAC, Random, TcpOption, chunk, real_server_mac, sctp, tcp, udp,
};
use weir_wire::checksum::Delta;
use weir_wire::{FlowKey, Headers};

/// A frame of 64 bytes on the wire, less the check sequence that a NIC adds.
pub(crate) const LEAST_BYTES: usize = 60;
/// The client's initial sequence number.
const CLIENT_ISN: u32 = 1_000;
/// The real server's.
const SERVER_ISN: u32 = 5_000;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// VIP and vport.
    pub(crate) fn vip(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.100:80",
            Self::V6 => "[2001:db8:2::100]:80",
        }
    }

    /// CIP and cport of a flow: 65,521 clients (a prime), then the next cport.
    fn client(self, number: u32) -> Endpoint {
        const N_CLIENTS: u32 = 65_521;
        let cport = 1_024 + (number / N_CLIENTS) as u16;
        let client = number % N_CLIENTS;
        match self {
            Self::V4 => Endpoint::new(Ipv4Addr::from(0x6440_0000 + client).into(), cport),
            Self::V6 => Endpoint::new(
                Ipv6Addr::from(0x2001_0db8_0007_0000_0000_0000_0000_0000 + u128::from(client))
                    .into(),
                cport,
            ),
        }
    }

    /// The key of a client's packets.
    pub(crate) fn flow(self, number: u32, protocol: Protocol) -> Result<FlowKey> {
        let vip = self.vip().parse()?;
        FlowKey::new(protocol, self.client(number), vip).context("both ends are of one family")
    }
}

/// What the frames of a tape are. Where a flow is UDP, each of them is a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// A client's SYN, with MSS.
    Syn,
    /// The real server's answer.
    SynAck,
    /// A client's segment that acknowledges the SYN alone, so that TOA goes with it.
    First,
    /// A segment in the midst of a connection.
    Data,
    /// Likewise, with the timestamp option.
    Timestamps,
}

/// One frame, from the beginning of a cache line.
#[derive(Clone, Copy, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Frame<const N: usize>(pub(crate) [u8; N]);

/// Frames in the order in which they are played, and the length of each in bytes.
pub(crate) enum Tape {
    /// The least that goes over Ethernet, in one cache line each.
    Short(MappedSlice<Frame<LEAST_BYTES>>, u16),
    /// In two.
    Long(MappedSlice<Frame<96>>, u16),
}

impl Tape {
    /// A frame for each flow, in that order. `direction` is the way they go.
    pub(crate) fn new(
        segment: Segment,
        direction: Direction,
        flows: &[FlowKey],
    ) -> Result<Arc<Self>> {
        let first = flows.first().context("a tape has a flow")?;
        let model = Model::new(segment, direction, *first)?;
        let len_bytes = u16::try_from(model.bytes.len())?;
        let tape = if model.bytes.len() == LEAST_BYTES {
            Self::Short(write(segment, direction, flows, model)?, len_bytes)
        } else {
            Self::Long(write(segment, direction, flows, model)?, len_bytes)
        };
        Ok(Arc::new(tape))
    }

    /// How many frames.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Short(frames, _) => frames.len(),
            Self::Long(frames, _) => frames.len(),
        }
    }
}

fn write<const N: usize>(
    segment: Segment,
    direction: Direction,
    flows: &[FlowKey],
    first: Model,
) -> Result<MappedSlice<Frame<N>>> {
    let mut frames = MappedSlice::<Frame<N>>::new(flows.len(), Pages::Anonymous)?;
    let mut models = vec![first];
    for (frame, flow) in frames.iter_mut().zip(flows) {
        let known = models
            .iter()
            .position(|model| model.key.protocol() == flow.protocol());
        let model = match known {
            Some(place) => &models[place],
            None => {
                models.push(Model::new(segment, direction, *flow)?);
                &models[models.len() - 1]
            }
        };
        ensure!(
            model.bytes.len() == models[0].bytes.len(),
            "frames of one tape are of one length"
        );
        let bytes = &mut frame.0[..model.bytes.len()];
        bytes.copy_from_slice(&model.bytes);
        model.patch(bytes, flow)?;
    }
    Ok(frames)
}

/// A frame built in full, from which those of other flows are made.
struct Model {
    bytes: Vec<u8>,
    key: FlowKey,
}

impl Model {
    fn new(segment: Segment, direction: Direction, key: FlowKey) -> Result<Self> {
        let mut bytes = build(segment, direction, key).bytes();
        bytes.resize(bytes.len().max(LEAST_BYTES), 0);
        let parsed = Headers::parse(&bytes).map(|headers| headers.key);
        ensure!(parsed == Ok(key), "the model is a frame of its flow");
        Ok(Self { bytes, key })
    }

    /// Gives a copy of the model the ends of another flow.
    fn patch(&self, frame: &mut [u8], flow: &FlowKey) -> Result<()> {
        let checksum_in_l4 = match flow.protocol() {
            Protocol::Tcp => 16,
            Protocol::Udp => 6,
            Protocol::Sctp => anyhow::bail!("no tape has flows of SCTP"),
        };
        match (&self.key, flow) {
            (FlowKey::V4(old), FlowKey::V4(new)) => {
                let addresses = [old, new].map(|key| key.addresses.to_ne_bytes());
                let l4_ports = [old, new].map(|key| key.l4_ports.to_ne_bytes());
                let ip = Delta::replacing(&addresses[0], &addresses[1]);
                let l4 = ip + Delta::replacing(&l4_ports[0], &l4_ports[1]);
                put(frame, 26, &addresses[1])?;
                put(frame, 34, &l4_ports[1])?;
                ip.apply_to(field(frame, 24)?);
                l4.apply_to_udp(field(frame, 34 + checksum_in_l4)?);
            }
            (FlowKey::V6(old), FlowKey::V6(new)) => {
                let addresses =
                    [old, new].map(|key| [key.source, key.destination].map(to_bytes).concat());
                let l4_ports = [old, new].map(|key| key.l4_ports.to_ne_bytes());
                let l4 = Delta::replacing(&addresses[0], &addresses[1])
                    + Delta::replacing(&l4_ports[0], &l4_ports[1]);
                put(frame, 22, &addresses[1])?;
                put(frame, 54, &l4_ports[1])?;
                l4.apply_to_udp(field(frame, 54 + checksum_in_l4)?);
            }
            (FlowKey::V4(_), FlowKey::V6(_)) | (FlowKey::V6(_), FlowKey::V4(_)) => {
                anyhow::bail!("flows of one tape are of one family")
            }
        }
        Ok(())
    }
}

fn to_bytes(address: [u64; 2]) -> Vec<u8> {
    address.map(u64::to_ne_bytes).concat()
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let place = frame.get_mut(at..at + bytes.len());
    place
        .context("a model is long enough")?
        .copy_from_slice(bytes);
    Ok(())
}

fn field(frame: &mut [u8], at: usize) -> Result<&mut [u8; 2]> {
    let place = frame.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    place.context("a model is long enough")
}

fn build(segment: Segment, direction: Direction, key: FlowKey) -> FrameBuilder {
    let (source, destination) = (key.source(), key.destination());
    let frame = match key.protocol() {
        Protocol::Udp => udp(source, destination).data_bytes(18),
        Protocol::Sctp => sctp(source, destination, chunk::DATA),
        Protocol::Tcp => {
            let (sequence, acknowledgement) = match direction {
                Direction::Inbound => (CLIENT_ISN, SERVER_ISN),
                Direction::Outbound => (SERVER_ISN, CLIENT_ISN),
            };
            let (sequence, next) = (sequence + 1, acknowledgement + 1);
            let frame = tcp(source, destination);
            match segment {
                Segment::Syn => frame
                    .syn()
                    .seq(CLIENT_ISN)
                    .options(&[TcpOption::Mss(1_460)]),
                Segment::SynAck => frame
                    .syn()
                    .seq(SERVER_ISN)
                    .ack(next)
                    .options(&[TcpOption::Mss(1_460)]),
                Segment::First => frame.seq(sequence).ack(next).data_bytes(6),
                Segment::Data => frame.seq(sequence + 1_000).ack(next + 1_000).data_bytes(6),
                Segment::Timestamps => frame
                    .seq(sequence + 1_000)
                    .ack(next + 1_000)
                    .options(&TcpOption::timestamps(77, 76)),
            }
        }
    };
    match direction {
        Direction::Inbound => frame,
        Direction::Outbound => frame.macs(real_server_mac(source.ip()), LAN_MAC),
    }
}

/// Puts things into an order that looks random and is the same every time.
pub(crate) fn shuffle<T>(things: &mut [T]) {
    let mut random = Random(7);
    for last in (1..things.len()).rev() {
        things.swap(last, random.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_wire::checksum::l4_is_right;

    #[test]
    fn every_frame_is_whole_and_of_its_flow() {
        let segments = [
            Segment::Syn,
            Segment::SynAck,
            Segment::First,
            Segment::Data,
            Segment::Timestamps,
        ];
        for (family, protocol) in [
            (Family::V4, Protocol::Tcp),
            (Family::V4, Protocol::Udp),
            (Family::V6, Protocol::Tcp),
            (Family::V6, Protocol::Udp),
        ] {
            for segment in segments {
                let flows: Vec<_> = (0..200_000)
                    .step_by(9_973)
                    .map(|number| family.flow(number, protocol).unwrap())
                    .collect();
                let tape = Tape::new(segment, Direction::Inbound, &flows).unwrap();
                for (place, flow) in flows.iter().enumerate() {
                    let bytes = match &*tape {
                        Tape::Short(frames, len) => &frames[place].0[..usize::from(*len)],
                        Tape::Long(frames, len) => &frames[place].0[..usize::from(*len)],
                    };
                    let headers = Headers::parse(bytes).unwrap();
                    assert_eq!(headers.key, *flow);
                    assert!(l4_is_right(bytes, &headers));
                    assert!(
                        family == Family::V6 || weir_wire::ipv4::checksum_is_right(bytes, 14, 34)
                    );
                }
            }
        }
    }

    #[test]
    fn flows_are_apart() {
        let flows: std::collections::HashSet<_> = (0..300_000)
            .map(|number| Family::V4.client(number))
            .collect();
        assert_eq!(flows.len(), 300_000);
    }
}
