//! The cluster's time as a client sees it.
//!
//! A client has no clock of its own: it takes the time of the answers it gets, and lets it run on
//! with the monotonic clock in between. Writes carry it as their `since`, and times to live are
//! counted from it. An estimate that is off costs an `Unknown` or moves an expiry, no more.

use engram_core::types::{LogicalClock, LogicalTime, Millis};

/// How long an answer counts for the estimate, at least: the two clocks may run at different
/// speeds, so old answers must be forgotten.
const WINDOW_MS: u64 = 30_000;

/// Pure: `elapsed_ms` is the reading of a monotonic clock that starts with the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ClientClock {
    clock: LogicalClock,
    window_start_ms: u64,
    /// The cluster's time when the monotonic clock showed zero: the latest estimate of this
    /// window and of the one before.
    origin_ms: u64,
    origin_before_ms: u64,
}

impl ClientClock {
    /// Takes note of the time in an answer.
    pub(crate) fn merge(&mut self, seen: LogicalTime, elapsed_ms: u64) {
        self.clock.merge(seen);
        let origin_ms = seen.millis().0.saturating_sub(elapsed_ms);
        if elapsed_ms.saturating_sub(self.window_start_ms) >= WINDOW_MS {
            self.window_start_ms = elapsed_ms;
            self.origin_before_ms = self.origin_ms;
            self.origin_ms = origin_ms;
        } else {
            self.origin_ms = self.origin_ms.max(origin_ms);
        }
    }

    /// The cluster's wall clock.
    pub(crate) fn now(&self, elapsed_ms: u64) -> Millis {
        Millis(self.origin_ms.max(self.origin_before_ms)).plus(elapsed_ms)
    }

    /// A logical time that is not before any seen.
    pub(crate) fn logical(&self, elapsed_ms: u64) -> LogicalTime {
        self.clock.peek(self.now(elapsed_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> LogicalTime {
        LogicalTime::from_millis(Millis(ms))
    }

    #[test]
    fn time_runs_on_between_answers_and_never_back() {
        let mut clock = ClientClock::default();
        clock.merge(at(1_000_000), 10);
        assert_eq!(clock.now(10), Millis(1_000_000));
        assert_eq!(clock.now(25), Millis(1_000_015));
        assert_eq!(clock.logical(25), at(1_000_015));
        clock.merge(at(999_000), 30);
        assert_eq!(clock.now(30), Millis(1_000_020), "the latest node counts");
        clock.merge(at(1_000_500).next(), 31);
        assert_eq!(clock.now(31), Millis(1_000_500));
        assert_eq!(clock.logical(31), at(1_000_500).next());
    }

    #[test]
    fn a_fast_monotonic_clock_does_not_run_away() {
        let mut clock = ClientClock::default();
        // The client's second is a millisecond too short.
        for second in 0..1000 {
            clock.merge(at(5_000_000 + second * 999), second * 1000);
        }
        let (truth, elapsed) = (5_000_000 + 999 * 999, 999_000);
        assert!(clock.now(elapsed).0 - truth <= 2 * WINDOW_MS / 1000);
        assert!(clock.logical(elapsed) >= at(truth));
    }
}
