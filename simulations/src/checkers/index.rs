//! Follows a replica's change feed as an index partition would, and compares it with the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_core::protocol::register::acceptor::FeedPage;
use engram_core::types::{Ballot, Lseq, RecordKey, Register};

use super::{Property, Violation};

/// What an index knows.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    /// Everything up to here is indexed.
    pub seen: Lseq,
    entries: BTreeMap<RecordKey, Arc<Register>>,
    committed: (Lseq, BTreeMap<RecordKey, Arc<Register>>),
}

impl Follower {
    /// Makes all that was fed durable.
    pub fn commit(&mut self) {
        self.committed = (self.seen, self.entries.clone());
    }

    /// Up to where it is durable.
    pub fn durable(&self) -> Lseq {
        self.committed.0
    }

    /// Power is cut: what is not committed is gone.
    pub fn crash(&mut self) {
        (self.seen, self.entries) = self.committed.clone();
    }

    /// Takes a page of the feed. `chosen` tells whether a register was ever chosen for a key.
    ///
    /// # Errors
    /// If the page goes back, is out of order, or holds what was not chosen.
    pub fn page(
        &mut self,
        page: &FeedPage,
        chosen: impl Fn(&RecordKey, &Register) -> bool,
    ) -> Result<(), Violation> {
        let violation = |story: String| Violation::new(Property::Index, story);
        if page.upto < self.seen {
            let story = format!("the feed went back from {:?} to {:?}", self.seen, page.upto);
            return Err(violation(story));
        }
        let mut last = self.seen;
        for entry in &page.entries {
            if entry.lseq <= last || entry.lseq > page.upto {
                let story = format!("{:?} after {last:?}, up to {:?}", entry.lseq, page.upto);
                return Err(violation(story));
            }
            last = entry.lseq;
            if !chosen(&entry.key, &entry.register) {
                let story = format!("{:?} was fed unchosen: {:?}", entry.key, entry.register);
                return Err(violation(story));
            }
            if entry.register.value.is_some() {
                let register = entry.register.clone();
                self.entries.insert(entry.key.clone(), register);
            } else {
                self.entries.remove(&entry.key);
            }
        }
        self.seen = page.upto;
        Ok(())
    }

    /// The replica has forgotten a deleted key.
    ///
    /// # Errors
    /// If the index holds a value of it, of which it will never hear again.
    pub fn purged(&self, key: &RecordKey) -> Result<(), Violation> {
        let Some(register) = self.committed.1.get(key) else {
            return Ok(());
        };
        let story = format!("{key:?} was purged and is indexed as {register:?}");
        Err(Violation::new(Property::Index, story))
    }

    /// Compares the index with what the replica holds, at rest.
    ///
    /// # Errors
    /// If they differ.
    pub fn at_rest(
        &self,
        records: &BTreeMap<RecordKey, (Ballot, Arc<Register>)>,
    ) -> Result<(), Violation> {
        let live: BTreeMap<&RecordKey, &Arc<Register>> = records
            .iter()
            .filter(|(_, (_, register))| register.value.is_some())
            .map(|(key, (_, register))| (key, register))
            .collect();
        for key in live.keys().copied().chain(self.entries.keys()) {
            let (stored, indexed) = (live.get(key).copied(), self.entries.get(key));
            if stored != indexed {
                let story = format!("{key:?} is indexed as {indexed:?} and stored as {stored:?}");
                return Err(Violation::new(Property::Index, story));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::protocol::register::acceptor::FeedEntry;
    use engram_core::types::{Blob, Key, NamespaceId};

    fn key(text: &str) -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(text).expect("short"),
        }
    }

    fn register(value: Option<&str>) -> Arc<Register> {
        Arc::new(Register {
            value: value.map(Blob::from),
            ..Register::default()
        })
    }

    fn page(entries: &[(u64, &str, Option<&str>)], upto: u64) -> FeedPage {
        FeedPage {
            token: 0,
            entries: entries
                .iter()
                .map(|(lseq, name, value)| FeedEntry {
                    lseq: Lseq(*lseq),
                    key: key(name),
                    register: register(*value),
                })
                .collect(),
            upto: Lseq(upto),
        }
    }

    #[test]
    fn what_is_missing_stale_or_unchosen_is_caught() {
        let store = |entries: &[(&str, Option<&str>)]| {
            let records = entries
                .iter()
                .map(|(name, value)| (key(name), (Ballot::ZERO, register(*value))));
            records.collect::<BTreeMap<_, _>>()
        };
        let mut index = Follower::default();
        let first = page(&[(1, "a", Some("1")), (2, "b", Some("2"))], 4);
        assert!(index.page(&first, |_, _| false).is_err(), "unchosen");
        assert!(index.page(&first, |_, _| true).is_ok());
        assert!(
            index
                .at_rest(&store(&[("a", Some("1")), ("b", Some("2"))]))
                .is_ok()
        );
        assert!(index.at_rest(&store(&[("a", Some("1"))])).is_err(), "stale");
        assert!(index.page(&page(&[], 3), |_, _| true).is_err(), "back");
        let early = page(&[(4, "a", None)], 5);
        assert!(index.page(&early, |_, _| true).is_err(), "again");
        let unordered = page(&[(7, "a", None), (6, "b", None)], 8);
        assert!(index.page(&unordered, |_, _| true).is_err());
        let mut index = Follower::default();
        assert!(index.page(&first, |_, _| true).is_ok());
        assert!(index.page(&page(&[(5, "b", None)], 5), |_, _| true).is_ok());
        assert!(
            index
                .at_rest(&store(&[("a", Some("1")), ("b", None)]))
                .is_ok()
        );
        assert!(index.at_rest(&store(&[("a", Some("x"))])).is_err(), "wrong");
        assert!(index.purged(&key("a")).is_ok(), "nothing is durable");
        index.commit();
        assert!(index.purged(&key("a")).is_err(), "a ghost");
        assert!(index.purged(&key("b")).is_ok());
        let page = page(&[(6, "a", None)], 6);
        assert!(index.page(&page, |_, _| true).is_ok());
        assert!(index.at_rest(&store(&[("a", Some("1"))])).is_err(), "gone");
        index.crash();
        assert_eq!((index.seen, index.durable()), (Lseq(5), Lseq(5)));
        assert!(index.at_rest(&store(&[("a", Some("1"))])).is_ok(), "back");
        let missing = store(&[("a", Some("1")), ("c", Some("3"))]);
        assert!(index.at_rest(&missing).is_err(), "missing");
    }
}
