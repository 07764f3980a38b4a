//! How fast counters grow.

use std::collections::VecDeque;

use engram_core::types::Millis;

/// Over how long a rate is taken, in milliseconds.
const WINDOW_MS: u64 = 10_000;
/// Most samples kept; of more frequent ones, those between are passed over.
const SAMPLES_MAX: u64 = 20;

/// The growth of a counter over the last seconds.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    samples: VecDeque<(Millis, u64)>,
}

impl Rate {
    /// Notes what the counter says now, and returns its growth per second. A counter that went
    /// back was made anew.
    pub fn note(&mut self, now: Millis, count: u64) -> f64 {
        if self
            .samples
            .back()
            .is_some_and(|(at, last)| count < *last || now < *at)
        {
            self.samples.clear();
        }
        let due = self
            .samples
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= WINDOW_MS / SAMPLES_MAX);
        if due {
            self.samples.push_back((now, count));
        }
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= WINDOW_MS)
        {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else {
            return 0.0;
        };
        let passed_ms = now.since(*since);
        if passed_ms == 0 {
            return 0.0;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown, not counted with"
        )]
        let (growth, passed) = (count.saturating_sub(*before) as f64, passed_ms as f64);
        growth * 1000.0 / passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_growth_over_the_window() {
        let mut rate = Rate::default();
        assert_eq!(rate.note(Millis(0), 5), 0.0);
        assert_eq!(rate.note(Millis(1_000), 25), 20.0);
        for second in 2..=30 {
            rate.note(Millis(second * 1_000), 25);
        }
        assert_eq!(rate.note(Millis(31_000), 25), 0.0, "the growth is long ago");
        assert_eq!(rate.note(Millis(31_100), 0), 0.0, "made anew");
        assert_eq!(rate.note(Millis(32_100), 7), 7.0);
    }

    #[test]
    fn it_keeps_few_samples_however_often_it_is_asked() {
        let mut rate = Rate::default();
        for now in 0..20_000 {
            rate.note(Millis(now), now);
        }
        assert!(rate.samples.len() <= 22, "{}", rate.samples.len());
    }
}
