//! Counts of durations in buckets that grow with them, 3 % wide.

use std::time::Duration;

const STEPS: u64 = 32;

pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; 64 * STEPS as usize],
            count: 0,
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn add(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos())
            .unwrap_or(u64::MAX)
            .max(STEPS);
        let exponent = u64::from(nanoseconds.ilog2());
        let step = (nanoseconds >> (exponent - 5)) - STEPS;
        self.buckets[(exponent * STEPS + step) as usize] += 1;
        self.count += 1;
    }

    /// Microseconds that this share did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                let (exponent, step) = (at as u64 / STEPS, at as u64 % STEPS);
                return ((STEPS + step) << (exponent - 5)) as f64 / 1e3;
            }
        }
        0.0
    }
}
