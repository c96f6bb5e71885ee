//! What every measurement needs: buffers, clock, and where results go.
//!
//! Promises: the thread that measures stays on one core and is known to DPDK. Does not know: what is measured.

use anyhow::{Context, Result, ensure};
use core_affinity::CoreId;
use weir_dpdk::{
    Eal, EalConfig, EalMemory, HEADROOM_BYTES, Mempool, MempoolConfig, RegisteredThread,
};

use crate::row::Report;
use crate::source::Mbufs;
use crate::window::Clock;

/// Buffers in the pool: few, as a worker that keeps up has them.
const N_BUFFERS: u32 = 2_047;
/// MiB for them.
const BUFFER_MIB: u32 = 32;

/// What every measurement needs.
pub(crate) struct Bench {
    pub(crate) stock: Mbufs,
    pub(crate) clock: Clock,
    pub(crate) report: Report,
    /// Rounds of each case.
    pub(crate) n_rounds: usize,
    /// The core that measures, then the others.
    pub(crate) cores: Vec<CoreId>,
    wanted: Option<String>,
    // Before EAL, which outlives it.
    _thread: RegisteredThread,
    pub(crate) eal: Eal,
}

impl Bench {
    /// Starts DPDK and pins this thread. Only cases whose names contain `wanted` are to be measured.
    pub(crate) fn new(report: Report, n_rounds: usize, wanted: Option<String>) -> Result<Self> {
        let mut cores = core_affinity::get_core_ids().context("the system tells no core")?;
        // The first one is where the system puts its own work.
        cores.reverse();
        let first = *cores.first().context("there is no core")?;
        let eal = Eal::init(&EalConfig::new(EalMemory::Anonymous { mib: BUFFER_MIB }))?;
        ensure!(
            core_affinity::set_for_current(first),
            "the system does not let this thread stay on CPU {}; run it with that CPU allowed",
            first.id
        );
        let thread = eal.register_thread()?;
        let pool = Mempool::new(
            &eal,
            &MempoolConfig {
                name: "bench".to_owned(),
                n_buffers: N_BUFFERS,
                buffer_bytes: HEADROOM_BYTES + 2_048,
                cache: 256,
                numa_node: None,
            },
        )?;
        Ok(Self {
            stock: Mbufs(pool),
            clock: Clock::new(),
            report,
            n_rounds,
            cores,
            wanted,
            _thread: thread,
            eal,
        })
    }

    /// Whether a case is to be measured.
    pub(crate) fn is_wanted(&self, case: &str) -> bool {
        self.wanted
            .as_ref()
            .is_none_or(|wanted| case.contains(wanted.as_str()))
    }
}
