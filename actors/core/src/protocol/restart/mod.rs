//! Restart intensity: how often a supervisor may restart its children before it gives up.

use std::collections::VecDeque;

use crate::types::Millis;

/// At most `restarts_max` restarts within `period_ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intensity {
    /// Most restarts within the period.
    pub restarts_max: usize,
    /// The period, in milliseconds.
    pub period_ms: u64,
}

/// What a supervisor does about a failed child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Start it again after so many milliseconds.
    Restart {
        /// How long to wait: nothing at first, then longer and longer.
        after_ms: u64,
    },
    /// Too many failures: fail as well, so that the next supervisor decides.
    Escalate,
}

/// The failures of one child.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restarts {
    intensity: Intensity,
    failures: VecDeque<Millis>,
}

impl Restarts {
    /// No failures yet.
    pub fn new(intensity: Intensity) -> Restarts {
        Restarts {
            intensity,
            failures: VecDeque::new(),
        }
    }

    /// Notes a failure and decides.
    pub fn failed(&mut self, now: Millis) -> Decision {
        while self
            .failures
            .front()
            .is_some_and(|at| now.since(*at) >= self.intensity.period_ms)
        {
            self.failures.pop_front();
        }
        if self.failures.len() >= self.intensity.restarts_max {
            return Decision::Escalate;
        }
        let recent = self.failures.len();
        self.failures.push_back(now);
        // The first failure is most likely a passing one: serve again at once.
        let after_ms = if recent == 0 { 0 } else { 10 << recent.min(6) };
        Decision::Restart { after_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_restarts_at_once_then_later_then_gives_up() {
        let mut restarts = Restarts::new(Intensity {
            restarts_max: 3,
            period_ms: 1000,
        });
        assert_eq!(
            restarts.failed(Millis(0)),
            Decision::Restart { after_ms: 0 }
        );
        assert_eq!(
            restarts.failed(Millis(1)),
            Decision::Restart { after_ms: 20 }
        );
        assert_eq!(
            restarts.failed(Millis(2)),
            Decision::Restart { after_ms: 40 }
        );
        assert_eq!(restarts.failed(Millis(3)), Decision::Escalate);
        // Failures long ago do not count.
        assert_eq!(
            restarts.failed(Millis(2000)),
            Decision::Restart { after_ms: 0 }
        );
    }
}
