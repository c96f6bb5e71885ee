//! The marriage of `worker` to `dpdk`: a worker's queues, one to receive and one to transmit on each port.
//!
//! Promises: nothing is copied on the way. Does not know: what packets are for.

use weir_director::PortId;
use weir_dpdk::{Mbuf, Mempool, RxQueue, TxQueue};
use weir_worker::{Burst, PacketIo};

/// One worker's queues, by `PortId`.
pub(crate) struct DpdkIo {
    /// `None`: the port has fewer receive queues than there are workers.
    pub(crate) receive: Vec<Option<RxQueue>>,
    /// `None`: the port has fewer transmit queues than there are workers.
    pub(crate) transmit: Vec<Option<TxQueue>>,
    /// Where buffers for the control thread's frames come from.
    pub(crate) pool: Mempool,
}

impl PacketIo for DpdkIo {
    type Buffer = Mbuf;

    #[inline]
    fn receive(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        if let Some(Some(queue)) = self.receive.get_mut(usize::from(port.0)) {
            queue.receive(burst);
        }
    }

    #[inline]
    fn transmit(&mut self, port: PortId, burst: &mut Burst<Mbuf>) {
        if let Some(Some(queue)) = self.transmit.get_mut(usize::from(port.0)) {
            queue.transmit(burst);
        }
    }

    fn allocate(&mut self, frame: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.pool.allocate()?;
        mbuf.write(frame).ok()?;
        Some(mbuf)
    }
}
