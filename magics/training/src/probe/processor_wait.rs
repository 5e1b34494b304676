//! Measures how long this thread waited for a processor, which shows whether the machine was too busy for a
//! measurement.

use std::time::Instant;

/// The time that this thread was ready to run while other threads had its processor.
pub(super) struct ProcessorWait {
    started: Instant,
    before: u64,
}

impl ProcessorWait {
    pub fn start() -> Self {
        Self { started: Instant::now(), before: Self::nanoseconds() }
    }

    /// Returns the share of the time since the start in which the thread waited, 0–1.
    pub fn share(&self) -> f64 {
        Self::nanoseconds().saturating_sub(self.before) as f64 / self.started.elapsed().as_nanos().max(1) as f64
    }

    /// Returns the time that this thread has waited since it began: on Linux the second number of `schedstat`,
    /// elsewhere 0.
    fn nanoseconds() -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }
}
