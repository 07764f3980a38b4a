//! Counters of the store, cheap to keep and cheap to read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of [`StoreStats::commit_micros`].
pub const COMMIT_MICROS_BUCKETS: usize = 24;

/// What a store has done since it was started. Counters are read one by one while the store
/// works, so they may differ by a commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreStats {
    /// Commits made durable.
    pub commits: u64,
    /// Appends made durable, barriers not counted.
    pub appends: u64,
    /// Bytes of keys and values of those appends.
    pub append_bytes: u64,
    /// Most appends that shared one commit.
    pub appends_per_commit_max: u64,
    /// Appends refused because too much waited.
    pub refused_overloaded: u64,
    /// Appends refused because the disk is nearly full.
    pub refused_disk_full: u64,
    /// Reads answered.
    pub reads: u64,
    /// Reads that failed.
    pub reads_failed: u64,
    /// How long the last commit took, in microseconds.
    pub last_commit_micros: u64,
    /// How long all commits took together, in microseconds.
    pub commit_micros_total: u64,
    /// Commits by duration: bucket `i` counts those of less than `2^i` microseconds that are not
    /// in an earlier one; the last bucket counts all longer ones too.
    pub commit_micros: [u64; COMMIT_MICROS_BUCKETS],
    /// Appends that wait now.
    pub appends_queued: usize,
    /// Bytes of appends that wait or are being committed now.
    pub append_bytes_queued: usize,
    /// Reads that wait now.
    pub reads_queued: usize,
    /// Bytes left on the data disk when last looked at, if known.
    pub free_bytes: Option<u64>,
    /// Whether a commit failed.
    pub poisoned: bool,
}

impl StoreStats {
    /// The duration that a fraction of the commits did not exceed, in microseconds, rounded up to
    /// a power of two; 0 before the first commit. `fraction` is between 0 and 1.
    pub fn commit_micros_quantile(&self, fraction: f64) -> u64 {
        let total: u64 = self.commit_micros.iter().sum();
        let mut below = 0;
        for (bucket, count) in self.commit_micros.iter().enumerate() {
            below += count;
            if below > 0 && below as f64 >= total as f64 * fraction {
                return 1 << bucket;
            }
        }
        0
    }
}

/// The live counters behind [`StoreStats`].
#[derive(Default)]
pub(super) struct Counters {
    commits: AtomicU64,
    appends: AtomicU64,
    append_bytes: AtomicU64,
    appends_per_commit_max: AtomicU64,
    refused_overloaded: AtomicU64,
    refused_disk_full: AtomicU64,
    reads: AtomicU64,
    reads_failed: AtomicU64,
    last_commit_micros: AtomicU64,
    commit_micros_total: AtomicU64,
    commit_micros: [AtomicU64; COMMIT_MICROS_BUCKETS],
    /// Bytes left; `u64::MAX` stands for unknown.
    free_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn committed(&self, appends: u64, bytes: usize, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        add(&self.commits, 1);
        add(&self.appends, appends);
        add(&self.append_bytes, bytes as u64);
        self.appends_per_commit_max
            .fetch_max(appends, Ordering::Relaxed);
        self.last_commit_micros.store(micros, Ordering::Relaxed);
        add(&self.commit_micros_total, micros);
        let bits = (u64::BITS - micros.leading_zeros()) as usize;
        if let Some(bucket) = self.commit_micros.get(bits.min(COMMIT_MICROS_BUCKETS - 1)) {
            add(bucket, 1);
        }
    }

    pub(super) fn refused_overloaded(&self) {
        add(&self.refused_overloaded, 1);
    }

    pub(super) fn refused_disk_full(&self) {
        add(&self.refused_disk_full, 1);
    }

    pub(super) fn read(&self, is_ok: bool) {
        add(&self.reads, 1);
        if !is_ok {
            add(&self.reads_failed, 1);
        }
    }

    pub(super) fn free_bytes(&self, free_bytes: Option<u64>) {
        self.free_bytes
            .store(free_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Bytes left on the data disk when last looked at, if known.
    pub(super) fn last_free_bytes(&self) -> Option<u64> {
        Some(get(&self.free_bytes)).filter(|free| *free != u64::MAX)
    }

    /// The counters; the caller fills in what waits now.
    pub(super) fn snapshot(&self) -> StoreStats {
        let mut commit_micros = [0; COMMIT_MICROS_BUCKETS];
        for (to, from) in commit_micros.iter_mut().zip(&self.commit_micros) {
            *to = get(from);
        }
        StoreStats {
            commits: get(&self.commits),
            appends: get(&self.appends),
            append_bytes: get(&self.append_bytes),
            appends_per_commit_max: get(&self.appends_per_commit_max),
            refused_overloaded: get(&self.refused_overloaded),
            refused_disk_full: get(&self.refused_disk_full),
            reads: get(&self.reads),
            reads_failed: get(&self.reads_failed),
            last_commit_micros: get(&self.last_commit_micros),
            commit_micros_total: get(&self.commit_micros_total),
            commit_micros,
            free_bytes: self.last_free_bytes(),
            ..StoreStats::default()
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_by_duration() {
        let counters = Counters::default();
        for micros in [0, 1, 3, 200, 255, 256, u64::MAX] {
            counters.committed(2, 10, Duration::from_micros(micros));
        }
        let stats = counters.snapshot();
        assert_eq!(
            (stats.commits, stats.appends, stats.append_bytes),
            (7, 14, 70)
        );
        let filled: Vec<(usize, u64)> = stats
            .commit_micros
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, n)| *n > 0)
            .collect();
        assert_eq!(
            filled,
            [
                (0, 1),
                (1, 1),
                (2, 1),
                (8, 2),
                (9, 1),
                (COMMIT_MICROS_BUCKETS - 1, 1)
            ]
        );
        assert_eq!(stats.commit_micros_quantile(0.5), 256);
        assert_eq!(stats.commit_micros_quantile(0.0), 1);
        assert_eq!(StoreStats::default().commit_micros_quantile(0.99), 0);
    }
}
