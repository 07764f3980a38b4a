//! Delays between the dials of one address: exponential, with jitter, capped.

use super::limits::{REDIAL_MS_MAX, REDIAL_MS_MIN};

/// Grows with every failure and starts again after a success.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next delay, in milliseconds: from half of the current step to all of it, as `random`
    /// says, so that two processes do not dial in step for ever.
    pub fn next_ms(&mut self, random: u64) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let step = REDIAL_MS_MIN.saturating_mul(factor).min(REDIAL_MS_MAX);
        self.failures = self.failures.saturating_add(1).min(63);
        let half = step / 2;
        half + random % (step - half + 1)
    }

    /// Forgets the failures.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last reset.
    pub fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_again() {
        let mut backoff = Backoff::default();
        let longest: Vec<u64> = (0..8)
            .map(|_| {
                let mut probe = backoff;
                let bounds = (probe.next_ms(0), backoff.next_ms(u64::MAX - 1));
                assert!(bounds.0 <= bounds.1);
                backoff.failures()
            })
            .map(u64::from)
            .collect();
        assert_eq!(longest, (1..=8).collect::<Vec<u64>>());
        for random in [0, 1, 12345, u64::MAX] {
            let delay = backoff.next_ms(random);
            assert!(
                (REDIAL_MS_MAX / 2..=REDIAL_MS_MAX).contains(&delay),
                "{delay}"
            );
        }
        backoff.reset();
        for random in [0, 7, u64::MAX] {
            let delay = backoff.clone().next_ms(random);
            assert!(
                (REDIAL_MS_MIN / 2..=REDIAL_MS_MIN).contains(&delay),
                "{delay}"
            );
        }
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::default();
        assert!((0..1000).all(|random| backoff.next_ms(random) <= REDIAL_MS_MAX));
    }
}
