//! Time as the core sees it: always an argument, never a clock.

use bincode::{Decode, Encode};

/// Milliseconds since the Unix epoch (in simulations: since the start of the virtual world).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus `duration_ms`, saturating.
    pub fn plus(self, duration_ms: u64) -> Millis {
        Millis(self.0.saturating_add(duration_ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Hybrid logical time (Kulkarni et al. 2014): milliseconds in the upper 48 bits, a counter in
/// the lower 16. Clocks affect only how often an outcome is `Unknown`, never what is applied.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct LogicalTime(pub u64);

impl LogicalTime {
    /// The first logical time of a wall-clock millisecond.
    pub fn from_millis(now: Millis) -> LogicalTime {
        LogicalTime(now.0 << 16)
    }

    /// The wall-clock part.
    pub fn millis(self) -> Millis {
        Millis(self.0 >> 16)
    }

    /// The next logical time.
    pub fn next(self) -> LogicalTime {
        LogicalTime(self.0.saturating_add(1))
    }
}

/// A hybrid logical clock: never goes back, and is ahead of everything it has merged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogicalClock {
    last: LogicalTime,
}

impl LogicalClock {
    /// Takes note of a time seen in a message.
    pub fn merge(&mut self, seen: LogicalTime) {
        self.last = self.last.max(seen);
    }

    /// A time after every time returned or merged before, and not before `now`.
    pub fn tick(&mut self, now: Millis) -> LogicalTime {
        self.last = self.last.next().max(LogicalTime::from_millis(now));
        self.last
    }

    /// The current time, without advancing it past what was seen.
    pub fn peek(&self, now: Millis) -> LogicalTime {
        self.last.max(LogicalTime::from_millis(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_ahead_of_what_it_merged_and_never_back() {
        let mut clock = LogicalClock::default();
        let first = clock.tick(Millis(10));
        assert_eq!(first.millis(), Millis(10));
        let second = clock.tick(Millis(9));
        assert!(second > first);
        let remote = LogicalTime::from_millis(Millis(50));
        clock.merge(remote);
        assert!(clock.tick(Millis(11)) > remote);
    }
}
