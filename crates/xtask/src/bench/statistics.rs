//! Medians of paired runs.

use std::time::Duration;

/// Times of one program, in the order they were taken.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    /// Adds a run.
    pub(super) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// How many runs.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share of runs did not exceed.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = ((sorted.len() - 1) as f64 * share).round() as usize;
        sorted[at]
    }

    /// The middle time.
    pub(super) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// Median over the pairs of own time divided by the other's: noise that hits a pair hits both.
    pub(super) fn paired_ratio(&self, other: &Self) -> f64 {
        let pairs = self.0.iter().zip(&other.0);
        let ratios = pairs.map(|(own, other)| own.as_secs_f64() / other.as_secs_f64());
        median(ratios.collect())
    }
}

/// The middle value.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        let times =
            |list: &[u64]| Times(list.iter().map(|ms| Duration::from_millis(*ms)).collect());
        assert_eq!(times(&[9, 1, 5]).median(), Duration::from_millis(5));
        assert_eq!(times(&[2, 4, 60]).paired_ratio(&times(&[1, 2, 3])), 2.0);
    }
}
