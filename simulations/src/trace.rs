//! The trace of a run: every event is hashed, and printed if wanted.

use std::fmt::{self, Write};

/// Hashes what happens, in order (FNV-1a).
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    events: u64,
    print: bool,
}

struct Hashing<'a>(&'a mut u64);

impl Write for Hashing<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.0 = (*self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

impl Trace {
    /// An empty trace; `print` also writes each event to standard error.
    pub fn new(print: bool) -> Trace {
        Trace {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            print,
        }
    }

    /// Notes one event.
    pub fn note(&mut self, now_us: u64, event: fmt::Arguments<'_>) {
        self.events += 1;
        // Formatting fails only if a `Debug` implementation does, and then the hash is still fixed.
        let _ = writeln!(Hashing(&mut self.hash), "{now_us} {event}");
        if self.print {
            eprintln!(
                "{:>12.3} {event}",
                std::time::Duration::from_micros(now_us).as_secs_f64() * 1e3
            );
        }
    }

    /// Hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_time_change_the_hash() {
        let hash = |events: &[(u64, &str)]| {
            let mut trace = Trace::new(false);
            for (at, event) in events {
                trace.note(*at, format_args!("{event}"));
            }
            trace.hash()
        };
        assert_eq!(hash(&[(1, "a"), (2, "b")]), hash(&[(1, "a"), (2, "b")]));
        assert_ne!(hash(&[(1, "a"), (2, "b")]), hash(&[(1, "b"), (2, "a")]));
        assert_ne!(hash(&[(1, "a")]), hash(&[(2, "a")]));
    }
}
