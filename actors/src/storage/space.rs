//! Watches the free space of the data disk, seldom enough to cost nothing.

use std::time::{Duration, Instant};

use engram_core::limits::STORE_FREE_CHECK_BYTES;

use crate::env::StoreError;

/// Decides whether there is space for a commit. Looks at the disk once in an interval, and again
/// after so many bytes that the watermark cannot be overrun between two looks.
pub(super) struct SpaceGauge {
    kept_bytes: u64,
    interval: Duration,
    looked_at: Option<Instant>,
    written_since: usize,
    free_bytes: Option<u64>,
}

impl SpaceGauge {
    pub(super) fn new(kept_bytes: u64, interval: Duration) -> SpaceGauge {
        SpaceGauge {
            kept_bytes,
            interval,
            looked_at: None,
            written_since: 0,
            free_bytes: None,
        }
    }

    /// Whether `bytes` may be written now, without using what is kept free.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`] if they may not.
    pub(super) fn admit(
        &mut self,
        bytes: usize,
        now: Instant,
        look: impl FnOnce() -> Option<u64>,
    ) -> Result<(), StoreError> {
        let is_due = self
            .looked_at
            .is_none_or(|at| now.duration_since(at) >= self.interval)
            || self.written_since.saturating_add(bytes) >= STORE_FREE_CHECK_BYTES;
        if is_due {
            self.free_bytes = look();
            self.looked_at = Some(now);
            self.written_since = 0;
        }
        match self.free_bytes {
            Some(free_bytes) if free_bytes < self.kept_bytes => Err(StoreError::DiskFull {
                free_bytes,
                needed_bytes: self.kept_bytes,
            }),
            _ => {
                self.written_since = self.written_since.saturating_add(bytes);
                Ok(())
            }
        }
    }

    /// Bytes left when it last looked, if that is known.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        self.free_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    #[test]
    fn it_looks_once_in_an_interval_and_recovers() {
        let start = Instant::now();
        let mut gauge = SpaceGauge::new(100, INTERVAL);
        assert!(gauge.admit(1, start, || Some(100)).is_ok());
        let soon = start + INTERVAL / 2;
        assert!(gauge.admit(1, soon, || panic!("not due")).is_ok());
        let later = start + INTERVAL;
        assert!(matches!(
            gauge.admit(1, later, || Some(99)),
            Err(StoreError::DiskFull {
                free_bytes: 99,
                needed_bytes: 100
            })
        ));
        assert!(gauge.admit(1, later + INTERVAL, || Some(100)).is_ok());
        assert_eq!(gauge.free_bytes(), Some(100));
    }

    #[test]
    fn it_looks_again_after_many_bytes() {
        let now = Instant::now();
        let mut gauge = SpaceGauge::new(100, INTERVAL);
        assert!(
            gauge
                .admit(STORE_FREE_CHECK_BYTES / 2, now, || Some(100))
                .is_ok()
        );
        assert!(
            gauge
                .admit(STORE_FREE_CHECK_BYTES / 2, now, || Some(99))
                .is_err()
        );
    }

    #[test]
    fn a_disk_of_unknown_size_is_never_full() {
        let mut gauge = SpaceGauge::new(u64::MAX, INTERVAL);
        assert!(gauge.admit(1, Instant::now(), || None).is_ok());
    }
}
