//! The register: what one key holds, with what it takes to apply each write at most once.

use bincode::{Decode, Encode};

use super::{Ballot, Blob, LogicalTime, Millis, WriteId};

/// A write that a register remembers having applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RecentWrite {
    /// The ballot it was made at: the version it produced.
    pub ballot: Ballot,
    /// Whose it was.
    pub write: WriteId,
    /// When, in logical time; later than every earlier write of this register.
    pub time: LogicalTime,
    /// Whether the key held a value before.
    pub found: bool,
}

/// The contents of one key. A register without value is a tombstone, or was never written.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Register {
    /// Ballot of the write that made this value: the client's version.
    pub vtag: Ballot,
    /// The value; none if deleted.
    pub value: Option<Blob>,
    /// Labels for search and bulk deletion.
    pub tags: Vec<String>,
    /// When the value ends, if it does.
    pub expires_at: Option<Millis>,
    /// The highest time of any write no longer in `recent`.
    pub low_time: LogicalTime,
    /// The latest writes, oldest first.
    pub recent: Vec<RecentWrite>,
}

impl Register {
    /// A register never written, in a shard whose purged registers held times up to `floor_time`.
    pub fn empty(floor_time: LogicalTime) -> Register {
        Register {
            low_time: floor_time,
            ..Register::default()
        }
    }

    /// Whether the value has ended at `now`.
    pub fn is_expired(&self, now: Millis) -> bool {
        self.value.is_some() && self.expires_at.is_some_and(|at| at <= now)
    }

    /// The highest time of any write this register ever held.
    pub fn newest_time(&self) -> LogicalTime {
        self.recent
            .last()
            .map_or(self.low_time, |write| write.time.max(self.low_time))
    }

    /// Approximate bytes in memory, for cache accounting.
    pub fn weight(&self) -> usize {
        let value = self.value.as_ref().map_or(0, Blob::len);
        let tags: usize = self.tags.iter().map(|tag| tag.len() + 24).sum();
        value + tags + self.recent.len() * std::mem::size_of::<RecentWrite>() + 160
    }
}
