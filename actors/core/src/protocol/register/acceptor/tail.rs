//! The end of the change log in memory: those who follow the log, peers and the index, are nearly
//! always close behind it, and need no disk.

use std::collections::BTreeMap;

use crate::limits::{CHANGES_PAGE_MAX, PAGE_BYTES_MAX};
use crate::storage::format::{ChangeEntry, open};
use crate::storage::{RangePage, keys};
use crate::types::{Ballot, Lseq, RecordKey};

/// Most changes kept.
const TAIL_MAX: usize = 2048;

/// A page of a change log, from memory or from disk.
#[derive(PartialEq, Debug)]
pub(super) struct ChangesPage {
    /// Positions, ascending, and what each one's record had accepted then.
    pub(super) changes: Vec<(Lseq, RecordKey, Ballot)>,
    /// All changes up to here are in the page.
    pub(super) upto: Lseq,
    /// Whether there are further ones.
    pub(super) more: bool,
}

impl ChangesPage {
    /// Reads what was found after a position. A damaged entry is left out, its position is not.
    pub(super) fn from_disk(page: &RangePage, after: Lseq) -> ChangesPage {
        let mut changes = Vec::with_capacity(page.entries.len());
        let mut upto = after;
        for (key, value) in &page.entries {
            let Some((_, lseq)) = keys::parse_change(key) else {
                continue;
            };
            upto = lseq;
            if let Ok(entry) = open::<ChangeEntry>(value) {
                changes.push((lseq, entry.key, entry.accepted));
            }
        }
        let more = page.more;
        ChangesPage {
            changes,
            upto,
            more,
        }
    }
}

/// The newest changes. Positions that were taken by later changes of the same keys are left out,
/// as they are on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    changes: BTreeMap<Lseq, (RecordKey, Ballot)>,
    /// Every change above this position is here.
    complete_above: Lseq,
}

impl Tail {
    /// Starts empty from what a recovering acceptor found on disk.
    pub(super) fn recovered(&mut self, next: Lseq) {
        self.complete_above = Lseq(next.0.saturating_sub(1));
    }

    pub(super) fn push(&mut self, lseq: Lseq, key: RecordKey, accepted: Ballot) {
        self.changes.insert(lseq, (key, accepted));
        if self.changes.len() > TAIL_MAX
            && let Some((oldest, _)) = self.changes.pop_first()
        {
            self.complete_above = self.complete_above.max(oldest);
        }
    }

    /// The change at this position is no longer part of the log.
    pub(super) fn remove(&mut self, lseq: Lseq) {
        self.changes.remove(&lseq);
    }

    /// The changes after a position and below another; none if only the disk knows them all.
    pub(super) fn page(&self, after: Lseq, below: Lseq, limit: usize) -> Option<ChangesPage> {
        if after < self.complete_above {
            return None;
        }
        let limit = limit.min(CHANGES_PAGE_MAX);
        let mut bytes = 0;
        let mut page = ChangesPage {
            changes: Vec::new(),
            upto: after,
            more: false,
        };
        let from = Lseq(after.0.saturating_add(1));
        let range = (from < below).then(|| self.changes.range(from..below));
        for (lseq, (key, accepted)) in range.into_iter().flatten() {
            bytes += key.key.as_bytes().len();
            let full = page.changes.len() >= limit || bytes > PAGE_BYTES_MAX;
            if full && !page.changes.is_empty() {
                page.more = true;
                break;
            }
            page.upto = *lseq;
            page.changes.push((*lseq, key.clone(), *accepted));
        }
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Key, NamespaceId};

    fn key(n: u64) -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(format!("{n}")).expect("short"),
        }
    }

    fn positions(page: Option<ChangesPage>) -> Option<(Vec<u64>, bool)> {
        let page = page?;
        let positions = page.changes.iter().map(|(lseq, ..)| lseq.0).collect();
        Some((positions, page.more))
    }

    #[test]
    fn it_answers_only_what_it_knows_in_full() {
        let mut tail = Tail::default();
        tail.recovered(Lseq(11));
        for n in 11..15 {
            tail.push(Lseq(n), key(n), Ballot::ZERO);
        }
        tail.remove(Lseq(12));
        let page = |after, below, limit| positions(tail.page(Lseq(after), Lseq(below), limit));
        assert_eq!(page(9, 99, 9), None, "10 may be on disk");
        assert_eq!(page(10, 99, 9), Some((vec![11, 13, 14], false)));
        assert_eq!(page(10, 14, 9), Some((vec![11, 13], false)));
        assert_eq!(page(10, 99, 2), Some((vec![11, 13], true)));
        assert_eq!(page(14, 15, 9), Some((vec![], false)));
        assert_eq!(page(20, 15, 9), Some((vec![], false)));
    }

    #[test]
    fn it_is_bounded() {
        let mut tail = Tail::default();
        for n in 1..=TAIL_MAX as u64 + 2 {
            tail.push(Lseq(n), key(n), Ballot::ZERO);
        }
        assert_eq!(tail.changes.len(), TAIL_MAX);
        assert_eq!(tail.page(Lseq(1), Lseq(9), 9), None);
        let page = positions(tail.page(Lseq(2), Lseq(5), 9));
        assert_eq!(page, Some((vec![3, 4], false)));
    }
}
