//! The processor's own clock, for measurements.
//!
//! Promises: cheap, some twenty cycles. Does not know: how long a cycle is; whoever asks compares it with a clock.

/// Cycles of the time-stamp counter since some start. On processors without one: nanoseconds.
#[inline(always)]
#[must_use]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the counter; reading it touches no memory.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START
            .get_or_init(std::time::Instant::now)
            .elapsed()
            .as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::cycles;

    #[test]
    fn time_goes_on() {
        let before = cycles();
        assert!((0..1_000_000).any(|_| cycles() > before));
    }
}
