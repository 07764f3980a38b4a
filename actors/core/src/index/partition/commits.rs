//! When the full-text index is committed.

use std::collections::BTreeMap;

use super::{TEXT_COMMIT_MS, TEXT_MARK_COMMIT_MS};
use crate::limits::INDEX_UNCOMMITTED_MAX;
use crate::types::{Lseq, Millis, ShardId};

/// Changes since the last commit, and the commit on its way.
#[derive(Debug, Default)]
pub(super) struct TextCommits {
    /// Changes that no commit was asked for yet.
    changes: usize,
    changed_since: Option<Millis>,
    /// Since when a mark has moved that was not committed.
    moved_since: Option<Millis>,
    on_its_way: Option<OnItsWay>,
}

#[derive(Debug)]
struct OnItsWay {
    changes: usize,
    marks: BTreeMap<ShardId, Lseq>,
}

impl TextCommits {
    /// Notes that a shard's mark moved, with so many changes.
    pub(super) fn moved(&mut self, now: Millis, changes: usize) {
        self.changes += changes;
        self.moved_since.get_or_insert(now);
        if changes > 0 {
            self.changed_since.get_or_insert(now);
        }
    }

    /// Whether everything that was changed is committed.
    pub(super) fn is_clean(&self) -> bool {
        self.changes == 0 && self.on_its_way.is_none()
    }

    /// Whether further changes should wait.
    pub(super) fn is_full(&self) -> bool {
        self.changes + self.on_its_way.as_ref().map_or(0, |commit| commit.changes)
            >= INDEX_UNCOMMITTED_MAX
    }

    /// Whether a commit may be made now, and has something to commit.
    pub(super) fn may_start(&self) -> bool {
        self.on_its_way.is_none() && self.moved_since.is_some()
    }

    /// When the next commit is due, if it may be made then.
    pub(super) fn due(&self) -> Option<Millis> {
        if self.on_its_way.is_some() {
            return None;
        }
        let changed = self.changed_since.map(|since| since.plus(TEXT_COMMIT_MS));
        let moved = self
            .moved_since
            .map(|since| since.plus(TEXT_MARK_COMMIT_MS));
        if self.changes >= INDEX_UNCOMMITTED_MAX / 2 {
            return self.changed_since;
        }
        changed.into_iter().chain(moved).min()
    }

    /// Notes that a commit with these marks was asked for.
    pub(super) fn start(&mut self, marks: BTreeMap<ShardId, Lseq>) {
        self.on_its_way = Some(OnItsWay {
            changes: self.changes,
            marks,
        });
        self.changes = 0;
        self.changed_since = None;
        self.moved_since = None;
    }

    /// Notes that the commit was made. Returns its marks.
    pub(super) fn finish(&mut self) -> BTreeMap<ShardId, Lseq> {
        self.on_its_way
            .take()
            .map(|commit| commit.marks)
            .unwrap_or_default()
    }
}
