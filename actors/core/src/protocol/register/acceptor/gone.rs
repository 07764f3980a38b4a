//! Which deletions the index knows of: only those may be purged, or it would keep the value.
//!
//! A purge begins by accepting the tombstone again, which moves it to the end of the change log,
//! where the index has not been yet. So keys are remembered whose deletion it knew before.
//!
//! An index that stands still for [`INDEX_STALLED_MS`] while there is something for it to do is not
//! waited for any longer, and the shard says so: deleted values may then stay in it until it is
//! made anew, which costs space but misleads nobody, as every hit of a search is verified.

use std::collections::BTreeSet;

use crate::limits::INDEX_STALLED_MS;
use crate::storage::format::Record;
use crate::types::{Lseq, Millis, RecordKey};

/// Most keys remembered. Beyond it, purges wait until the index has caught up.
const GONE_MAX: usize = 4096;

/// What the index knows.
#[derive(Clone, Debug)]
pub(super) struct Gone {
    /// Whether there is an index.
    followed: bool,
    /// Up to where it is durable.
    upto: Lseq,
    /// Empty registers beyond, of which it holds no value.
    keys: BTreeSet<RecordKey>,
    /// While it is behind: since when it stands where it is.
    standing: Option<(Lseq, Millis)>,
    stalled: bool,
}

impl Gone {
    pub(super) fn new(followed: bool) -> Gone {
        Gone {
            followed,
            upto: Lseq(0),
            keys: BTreeSet::new(),
            standing: None,
            stalled: false,
        }
    }

    /// Notes whether the index goes on, where changes below `ready` wait for it.
    pub(super) fn watch(&mut self, now: Millis, ready: Lseq) {
        if !self.followed || ready.0 <= self.upto.0.saturating_add(1) {
            self.standing = None;
            self.stalled = false;
            return;
        }
        let since = match self.standing {
            Some((upto, since)) if upto == self.upto => since,
            _ => now,
        };
        self.standing = Some((self.upto, since));
        self.stalled = now.since(since) >= INDEX_STALLED_MS;
    }

    /// Whether purges no longer wait for the index.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// How many changes wait for the index.
    pub(super) fn behind(&self, ready: Lseq) -> u64 {
        let behind = ready.0.saturating_sub(self.upto.0.saturating_add(1));
        if self.followed { behind } else { 0 }
    }

    pub(super) fn indexed(&mut self, upto: Lseq) {
        self.upto = self.upto.max(upto);
    }

    /// Whether the index holds no value of a key whose record is empty.
    pub(super) fn knows(&self, key: &RecordKey, record: &Record) -> bool {
        !self.followed || self.stalled || record.lseq <= self.upto || self.keys.contains(key)
    }

    /// A record is about to change its position.
    pub(super) fn moved(&mut self, key: &RecordKey, old: Option<&Record>, new: &Record) {
        if !self.followed {
            return;
        }
        if new.register.value.is_some() {
            self.keys.remove(key);
            return;
        }
        // What has no record was never there, or was purged with the index's knowledge.
        let known = old.is_none_or(|old| old.register.value.is_none() && self.knows(key, old));
        if known && self.keys.len() < GONE_MAX {
            self.keys.insert(key.clone());
        }
    }

    /// A record was purged.
    pub(super) fn purged(&mut self, key: &RecordKey) {
        self.keys.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, Key, NamespaceId, Register};

    fn record(lseq: u64, value: Option<&str>) -> Record {
        let register = Register {
            value: value.map(Blob::from),
            ..Register::default()
        };
        Record {
            register: register.into(),
            lseq: Lseq(lseq),
            ..Record::default()
        }
    }

    #[test]
    fn a_deletion_is_known_once_indexed_and_stays_known_while_it_moves() {
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        };
        let (live, deleted, moved) = (record(1, Some("v")), record(2, None), record(3, None));
        let mut gone = Gone::new(true);
        gone.moved(&key, None, &live);
        gone.indexed(Lseq(1));
        gone.moved(&key, Some(&live), &deleted);
        assert!(!gone.knows(&key, &deleted), "the index still has the value");
        gone.moved(&key, Some(&deleted), &moved);
        assert!(!gone.knows(&key, &moved));
        gone.indexed(Lseq(3));
        assert!(gone.knows(&key, &moved));
        gone.moved(&key, Some(&moved), &record(4, None));
        assert!(gone.knows(&key, &record(4, None)), "known before it moved");
        gone.moved(&key, Some(&record(4, None)), &record(5, Some("w")));
        gone.moved(&key, Some(&record(5, Some("w"))), &record(6, None));
        assert!(
            !gone.knows(&key, &record(6, None)),
            "a new value came between"
        );
        gone.purged(&key);
        gone.moved(&key, None, &record(7, None));
        assert!(gone.knows(&key, &record(7, None)), "nothing was there");
        assert!(Gone::new(false).knows(&key, &deleted), "nobody follows");
    }

    #[test]
    fn an_index_that_stands_still_is_not_waited_for_for_ever() {
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        };
        let deleted = record(9, None);
        let (ready, begin) = (Lseq(10), Millis(5));
        let mut gone = Gone::new(true);
        gone.watch(begin, Lseq(1));
        gone.watch(begin.plus(INDEX_STALLED_MS), ready);
        assert!(!gone.is_stalled(), "it had nothing to do before");
        gone.indexed(Lseq(4));
        let moved = begin.plus(2 * INDEX_STALLED_MS - 1);
        gone.watch(moved, ready);
        gone.watch(moved.plus(INDEX_STALLED_MS - 1), ready);
        assert!(!gone.is_stalled() && !gone.knows(&key, &deleted));
        gone.watch(moved.plus(INDEX_STALLED_MS), ready);
        assert!(gone.is_stalled() && gone.knows(&key, &deleted));
        gone.indexed(Lseq(5));
        gone.watch(moved.plus(INDEX_STALLED_MS + 1), ready);
        assert!(!gone.knows(&key, &deleted), "it goes on");
        assert_eq!((gone.behind(ready), gone.behind(Lseq(6))), (4, 0));
    }
}
