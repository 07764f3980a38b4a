//! Which deletions the index knows of: only those may be purged, or it would keep the value.
//!
//! A purge begins by accepting the tombstone again, which moves it to the end of the change log,
//! where the index has not been yet. So keys are remembered whose deletion it knew before.

use std::collections::BTreeSet;

use crate::storage::format::Record;
use crate::types::{Lseq, RecordKey};

/// Most keys remembered. Beyond it, purges wait until the index has caught up.
const GONE_MAX: usize = 4096;

/// What the index knows.
#[derive(Debug)]
pub(super) struct Gone {
    /// Whether there is an index.
    followed: bool,
    /// Up to where it is durable.
    upto: Lseq,
    /// Empty registers beyond, of which it holds no value.
    keys: BTreeSet<RecordKey>,
}

impl Gone {
    pub(super) fn new(followed: bool) -> Gone {
        Gone {
            followed,
            upto: Lseq(0),
            keys: BTreeSet::new(),
        }
    }

    pub(super) fn indexed(&mut self, upto: Lseq) {
        self.upto = self.upto.max(upto);
    }

    /// Whether the index holds no value of a key whose record is empty.
    pub(super) fn knows(&self, key: &RecordKey, record: &Record) -> bool {
        !self.followed || record.lseq <= self.upto || self.keys.contains(key)
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
}
