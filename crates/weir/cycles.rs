//! Cycles of the processor's clock as microseconds.
//!
//! Promises: right within a thousandth from a tenth of a second after the start. Does not know: what took so long.

use std::time::Instant;

use weir_memory::cycles;

/// One moment, by both clocks.
pub(crate) struct CycleRate {
    began: Instant,
    cycles: u64,
}

impl CycleRate {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            cycles: cycles(),
        }
    }

    /// A span in microseconds, to hundredths.
    pub(crate) fn microseconds(&self, span: u64) -> f64 {
        let seconds = self.began.elapsed().as_secs_f64();
        let passed = cycles().saturating_sub(self.cycles).max(1) as f64;
        (span as f64 * seconds / passed * 1e8).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_span_is_as_long_as_the_clock_says() {
        let rate = CycleRate::new();
        let (began, before) = (Instant::now(), cycles());
        std::thread::sleep(Duration::from_millis(50));
        let told = rate.microseconds(cycles() - before);
        let passed = began.elapsed().as_secs_f64() * 1e6;
        assert!(
            (told / passed - 1.0).abs() < 0.05,
            "{told} µs, not {passed}"
        );
    }
}
