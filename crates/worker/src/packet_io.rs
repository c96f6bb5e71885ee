//! The one seam to the outside: where packets come from and go to.
//!
//! Promises: generic, so that tests plug in a pair of queues and the appliance DPDK, at no cost.
//! Does not know: what a packet is worth.

use arrayvec::ArrayVec;
use weir_director::{BURST, PortId};
use weir_wire::PacketBuffer;

/// Buffers that are handled together.
pub type Burst<B> = ArrayVec<B, BURST>;

/// A worker's queues: at most one to receive and one to transmit on each port.
pub trait PacketIo {
    /// What holds a frame.
    type Buffer: PacketBuffer;

    /// Adds what has come in on `port` to `burst`, as far as there is room; nothing where it has no receive queue.
    fn receive(&mut self, port: PortId, burst: &mut Burst<Self::Buffer>);

    /// Sends from the front of `burst` on `port` and leaves what the queue does not take, in order.
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Self::Buffer>);

    /// A buffer that holds a copy of `frame`; `None` when there is none free or it is too small.
    fn allocate(&mut self, frame: &[u8]) -> Option<Self::Buffer>;
}
