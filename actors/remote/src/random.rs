//! Random numbers for session ids, nonces and jitter.

use std::sync::atomic::{AtomicU64, Ordering};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A keyed counter, seeded once from the operating system, so that later draws cannot fail.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    counter: AtomicU64,
}

impl Random {
    /// Seeds from the operating system.
    ///
    /// # Errors
    /// If the system has no entropy to give.
    pub(crate) fn new() -> Result<Random, getrandom::Error> {
        Ok(Random {
            seed: getrandom::u64()?,
            counter: AtomicU64::new(getrandom::u64()?),
        })
    }

    /// A number that is not 0, which on the wire means "no session".
    pub(crate) fn next(&self) -> u64 {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        xxh3_64_with_seed(&count.to_le_bytes(), self.seed).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ() {
        let (one, other) = (
            Random::new().expect("entropy"),
            Random::new().expect("entropy"),
        );
        let draws = [one.next(), one.next(), other.next(), other.next()];
        for (index, draw) in draws.iter().enumerate() {
            assert!(!draws[..index].contains(draw));
        }
    }
}
