//! Suspicion of silence: how unlikely it is that a living peer stays silent for so long.

use crate::types::Millis;

/// How much an arrival weighs in the running mean.
const WEIGHT: f64 = 0.1;
/// The mean starts here, in milliseconds.
const FIRST_MEAN_MS: f64 = 500.0;

/// Arrival times of one peer's heartbeats.
#[derive(Debug)]
pub(super) struct Arrivals {
    last: Millis,
    mean_ms: f64,
}

impl Arrivals {
    pub(super) fn new(now: Millis) -> Arrivals {
        Arrivals {
            last: now,
            mean_ms: FIRST_MEAN_MS,
        }
    }

    pub(super) fn heard(&mut self, now: Millis) {
        let interval = to_f64(now.since(self.last));
        self.mean_ms += WEIGHT * (interval - self.mean_ms);
        self.last = now;
    }

    /// -log10 of the probability of so long a silence, for exponentially distributed intervals.
    pub(super) fn phi(&self, now: Millis) -> f64 {
        let silence = to_f64(now.since(self.last));
        silence / self.mean_ms.max(1.0) * std::f64::consts::LOG10_E
    }
}

fn to_f64(ms: u64) -> f64 {
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_grows_suspicion_and_a_heartbeat_ends_it() {
        let mut arrivals = Arrivals::new(Millis(0));
        for beat in 1..=20 {
            arrivals.heard(Millis(beat * 500));
        }
        let calm = arrivals.phi(Millis(10_500));
        let silent = arrivals.phi(Millis(20_000));
        assert!(calm < 1.0 && silent > 5.0, "{calm} {silent}");
        arrivals.heard(Millis(20_000));
        assert!(arrivals.phi(Millis(20_100)) < 1.0);
    }
}
