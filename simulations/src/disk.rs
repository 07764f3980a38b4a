//! A simulated disk: durable keyspaces, and a queue of batches that are not durable yet.
//!
//! Batches become durable atomically and in order, as a group, when a sync ends. A crash keeps a
//! random prefix of the queue; of the batch after it, part may be on the medium, which the store
//! notices by its checksum, and drops. Reads see durable state, or, where a store shows batches before
//! they are synced, a prefix of the queue on top of it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use engram_core::protocol::random::Random;
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, WriteOp};
use engram_core::types::IoId;

/// A batch on its way to the disk.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Which life of the node's actors wrote it.
    pub life: u64,
    /// What that life calls it.
    pub io: IoId,
    /// What it changes.
    pub batch: WriteBatch,
}

/// One node's disk. A clone is an image of it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: BTreeMap<Keyspace, BTreeMap<Bytes, Bytes>>,
    queue: VecDeque<Queued>,
    syncing: usize,
}

impl Disk {
    /// Queues a batch.
    pub fn append(&mut self, queued: Queued) {
        self.queue.push_back(queued);
    }

    /// Begins a sync of all that is queued; false if there is nothing, or one is under way.
    pub fn begin_sync(&mut self) -> bool {
        if self.syncing > 0 || self.queue.is_empty() {
            return false;
        }
        self.syncing = self.queue.len();
        true
    }

    /// Ends a sync: what was queued when it began is durable now.
    pub fn finish_sync(&mut self) -> Vec<Queued> {
        let count = std::mem::take(&mut self.syncing).min(self.queue.len());
        let done: Vec<Queued> = self.queue.drain(..count).collect();
        self.apply(&done);
        done
    }

    /// Ends a sync that wrote nothing: what it was to write is refused.
    pub fn refuse_sync(&mut self) -> Vec<Queued> {
        let count = std::mem::take(&mut self.syncing).min(self.queue.len());
        self.queue.drain(..count).collect()
    }

    /// Ends a sync as if it had not begun: what it was to write stays in the queue.
    pub fn abandon_sync(&mut self) {
        self.syncing = 0;
    }

    /// Loses all that is not durable.
    pub fn abandon_queue(&mut self) {
        self.queue.clear();
        self.syncing = 0;
    }

    /// Power is cut: a random prefix of the queue has reached the disk, the rest is gone.
    pub fn crash(&mut self, random: &mut Random) -> Vec<Queued> {
        self.syncing = 0;
        let bound = self.queue.len() as u64 + 1;
        let keep = usize::try_from(random.below(bound)).unwrap_or(0);
        let kept: Vec<Queued> = self.queue.drain(..keep).collect();
        self.queue.clear();
        self.apply(&kept);
        kept
    }

    /// How many batches are not durable yet.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Reads one key; sees the first `dirty` queued batches.
    pub fn get(&self, keyspace: Keyspace, key: &Bytes, dirty: usize) -> Option<Bytes> {
        for queued in self.queue.iter().take(dirty).rev() {
            for op in queued.batch.ops.iter().rev() {
                match op {
                    WriteOp::Put {
                        keyspace: at,
                        key: put,
                        value,
                    } if *at == keyspace && put == key => return Some(value.clone()),
                    WriteOp::Remove {
                        keyspace: at,
                        key: removed,
                    } if *at == keyspace && removed == key => return None,
                    _ => {}
                }
            }
        }
        self.durable.get(&keyspace)?.get(key).cloned()
    }

    /// Reads a range; sees the first `dirty` queued batches.
    pub fn range(&self, query: &RangeQuery, dirty: usize) -> RangePage {
        let mut found: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let bounds = (
            Bound::Included(query.from.clone()),
            Bound::Excluded(query.to.clone()),
        );
        if query.from < query.to
            && let Some(durable) = self.durable.get(&query.keyspace)
        {
            let pairs = durable.range::<Bytes, _>(bounds.clone());
            found.extend(pairs.map(|(key, value)| (key.clone(), value.clone())));
        }
        for queued in self.queue.iter().take(dirty) {
            for op in &queued.batch.ops {
                match op {
                    WriteOp::Put {
                        keyspace,
                        key,
                        value,
                    } if *keyspace == query.keyspace && *key >= query.from && *key < query.to => {
                        found.insert(key.clone(), value.clone());
                    }
                    WriteOp::Remove { keyspace, key } if *keyspace == query.keyspace => {
                        found.remove(key);
                    }
                    _ => {}
                }
            }
        }
        let mut page = RangePage::default();
        let mut bytes = 0;
        for (key, value) in found {
            if page.entries.len() >= query.limit_entries || bytes >= query.limit_bytes {
                page.more = true;
                break;
            }
            bytes += key.len() + value.len();
            page.entries.push((key, value));
        }
        page
    }

    /// All that is durable in a keyspace.
    pub fn durable(&self, keyspace: Keyspace) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.durable.get(&keyspace).into_iter().flatten()
    }

    /// Loses everything, as no honest disk does.
    pub fn wipe(&mut self) {
        self.durable.clear();
        self.queue.clear();
        self.syncing = 0;
    }

    /// Loses one durable key, as no honest disk does.
    pub fn lose(&mut self, keyspace: Keyspace, key: &Bytes) {
        if let Some(durable) = self.durable.get_mut(&keyspace) {
            durable.remove(key);
        }
    }

    /// Changes a byte of a durable value, as no honest disk does; false if there is no such key. Done
    /// again, it changes it further.
    pub fn rot(&mut self, keyspace: Keyspace, key: &Bytes) -> bool {
        let Some(value) = self
            .durable
            .get_mut(&keyspace)
            .and_then(|durable| durable.get_mut(key))
        else {
            return false;
        };
        let mut bytes = value.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last = last.wrapping_add(1);
        }
        *value = bytes.into();
        true
    }

    fn apply(&mut self, batches: &[Queued]) {
        for op in batches.iter().flat_map(|queued| &queued.batch.ops) {
            match op {
                WriteOp::Put {
                    keyspace,
                    key,
                    value,
                } => {
                    let durable = self.durable.entry(*keyspace).or_default();
                    durable.insert(key.clone(), value.clone());
                }
                WriteOp::Remove { keyspace, key } => {
                    if let Some(durable) = self.durable.get_mut(keyspace) {
                        durable.remove(key);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(io: u64, key: &'static str, value: &'static str) -> Queued {
        let mut batch = WriteBatch::default();
        batch.put(Keyspace::Records, key, value);
        let io = IoId(io);
        Queued { life: 1, io, batch }
    }

    fn all(dirty: usize, disk: &Disk) -> Vec<(Bytes, Bytes)> {
        let query = RangeQuery {
            keyspace: Keyspace::Records,
            from: "a".into(),
            to: "z".into(),
            limit_entries: 10,
            limit_bytes: 1000,
        };
        disk.range(&query, dirty).entries
    }

    #[test]
    fn only_what_was_queued_when_a_sync_began_becomes_durable() {
        let mut disk = Disk::default();
        disk.append(put(1, "a", "1"));
        assert!(disk.begin_sync());
        assert!(!disk.begin_sync(), "one at a time");
        disk.append(put(2, "b", "2"));
        assert_eq!(disk.get(Keyspace::Records, &"a".into(), 0), None);
        assert_eq!(all(2, &disk).len(), 2, "a dirty read sees the queue");
        assert_eq!(disk.finish_sync().len(), 1);
        assert_eq!(all(0, &disk), [("a".into(), "1".into())]);
        assert_eq!(disk.queued(), 1);
    }

    #[test]
    fn a_refused_sync_writes_nothing_and_rot_changes_a_value() {
        let mut disk = Disk::default();
        disk.append(put(1, "a", "1"));
        disk.begin_sync();
        assert_eq!(disk.refuse_sync().len(), 1);
        assert!(all(0, &disk).is_empty());
        assert!(!disk.rot(Keyspace::Records, &"a".into()));
        disk.append(put(2, "a", "1"));
        disk.begin_sync();
        disk.abandon_sync();
        assert!(disk.begin_sync(), "it may begin again");
        disk.finish_sync();
        let image = disk.clone();
        assert!(disk.rot(Keyspace::Records, &"a".into()));
        assert_eq!(all(0, &disk), [("a".into(), "2".into())]);
        assert_eq!(all(0, &image), [("a".into(), "1".into())]);
    }

    #[test]
    fn a_crash_keeps_a_prefix() {
        let mut kept_counts = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut disk = Disk::default();
            for (io, key) in ["a", "b", "c"].into_iter().enumerate() {
                disk.append(put(io as u64, key, "x"));
            }
            let kept = disk.crash(&mut Random::new(seed));
            kept_counts.insert(kept.len());
            assert_eq!(disk.queued(), 0);
            let expected = ["a", "b", "c"].iter().take(kept.len());
            assert!(all(0, &disk).iter().map(|(key, _)| key).eq(expected));
        }
        assert_eq!(kept_counts.len(), 4, "nothing, all, and what is between");
    }

    #[test]
    fn a_page_says_whether_there_is_more() {
        let mut disk = Disk::default();
        for (io, key) in ["a", "b", "c"].into_iter().enumerate() {
            disk.append(put(io as u64, key, "x"));
        }
        disk.begin_sync();
        disk.finish_sync();
        for (limit, more) in [(2, true), (3, false), (4, false)] {
            let query = RangeQuery {
                keyspace: Keyspace::Records,
                from: "a".into(),
                to: "z".into(),
                limit_entries: limit,
                limit_bytes: 1000,
            };
            assert_eq!(disk.range(&query, 0).more, more, "{limit}");
        }
    }
}
