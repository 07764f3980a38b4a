//! The vectors of one namespace and model, and the entries they belong to.

use std::collections::BTreeSet;

use super::super::vectors::{
    BestKeys, BuildError, BuiltSegment, ScanQuery, SegmentError, SegmentLimits, SegmentOrder,
    VectorSet, VectorSetStats,
};
use super::super::{Embedding, Embeddings, ModelId};
use super::space_entries::{ByKey, SpaceEntries, SpaceEntry};
use crate::limits::SEARCH_PREFIX_KEYS_MAX;
use crate::types::{Ballot, Blob, Millis, NamespaceId, RecordKey, ShardId};

/// Vectors that may be compared with one another.
#[derive(Debug)]
pub(super) struct Space {
    set: VectorSet,
    entries: SpaceEntries,
}

/// The vectors of an entry and what they belong to.
pub(super) struct NewVectors<'a> {
    pub(super) key: &'a RecordKey,
    pub(super) shard: ShardId,
    pub(super) vtag: Ballot,
    pub(super) model: &'a ModelId,
    pub(super) tags: Vec<String>,
    pub(super) vectors: &'a Embeddings,
}

/// What to look for.
pub(super) struct SpaceQuery<'a> {
    pub(super) namespace: NamespaceId,
    pub(super) model: &'a ModelId,
    pub(super) vector: &'a Embedding,
    pub(super) threshold: Option<f32>,
    pub(super) k: usize,
    pub(super) shards: &'a BTreeSet<ShardId>,
    pub(super) prefix: Option<&'a Blob>,
    pub(super) tags: &'a [String],
}

/// An entry that matches.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct SpaceHit {
    pub(super) key: RecordKey,
    pub(super) vtag: Ballot,
    pub(super) score: f32,
}

impl SpaceQuery<'_> {
    fn wants(&self, entry: &SpaceEntry) -> bool {
        let prefixed = self
            .prefix
            .is_none_or(|prefix| entry.key.key.as_bytes().starts_with(prefix.as_ref()));
        prefixed
            && self.shards.contains(&entry.shard)
            && self.tags.iter().all(|tag| entry.tags.contains(tag))
    }
}

impl Space {
    /// No vectors, of `dim` dimensions.
    pub(super) fn new(dim: usize, limits: SegmentLimits) -> Space {
        Space {
            set: VectorSet::new(dim, limits),
            entries: SpaceEntries::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets the vectors of a key.
    ///
    /// # Errors
    /// If the other vectors have another dimension.
    pub(super) fn upsert(&mut self, now: Millis, new: NewVectors<'_>) -> Result<(), SegmentError> {
        let Some(number) = self.entries.number(new.key) else {
            // Four billion entries do not fit into memory.
            return Ok(());
        };
        let rows = self.set.insert(now, number, new.vectors.as_slice())?;
        let entry = SpaceEntry {
            key: new.key.clone(),
            shard: new.shard,
            vtag: new.vtag,
            tags: new.tags.into_boxed_slice(),
            rows,
        };
        if let Some(old) = self.entries.set(number, entry) {
            self.set.remove(now, &old.rows);
        }
        self.tend(now);
        Ok(())
    }

    /// Forgets the vectors of a key. Returns whether there were any.
    pub(super) fn remove(&mut self, now: Millis, key: &RecordKey) -> bool {
        let Some(old) = self.entries.remove(key) else {
            return false;
        };
        self.set.remove(now, &old.rows);
        self.tend(now);
        true
    }

    /// The version whose vectors are there.
    pub(super) fn vtag(&self, key: &RecordKey) -> Option<Ballot> {
        Some(self.entries.get(key)?.vtag)
    }

    /// The vectors of a key.
    pub(super) fn vectors(&self, key: &RecordKey) -> Option<Embeddings> {
        let rows = &self.entries.get(key)?.rows;
        let vectors = self.set.vectors(rows).map(<[f32]>::to_vec);
        let vectors = vectors.map(Embedding::from_unit).collect::<Result<_, _>>();
        Embeddings::new(vectors.ok()?).ok()
    }

    /// The best matches.
    ///
    /// # Errors
    /// If the query has another dimension than the vectors, or its threshold is not a number.
    pub(super) fn search(&self, query: &SpaceQuery<'_>) -> Result<Vec<SpaceHit>, SegmentError> {
        let found = match self.few_with_prefix(query) {
            Some(few) => self.compare(query, &few)?,
            None => self.set.search(
                query.vector,
                query.k,
                query.threshold,
                &mut |row, number| {
                    let entry = self.entries.of_row(row, number)?;
                    query.wants(entry).then_some(ByKey(entry))
                },
            )?,
        };
        let hits = found.into_iter().map(|(score, ByKey(entry))| SpaceHit {
            key: entry.key.clone(),
            vtag: entry.vtag,
            score,
        });
        Ok(hits.collect())
    }

    /// The entries that the prefix of a query leaves, if they are few.
    fn few_with_prefix<'a>(&'a self, query: &SpaceQuery<'a>) -> Option<Vec<&'a SpaceEntry>> {
        let prefix = query.prefix?.as_ref();
        let with_prefix = self.entries.with_prefix(query.namespace, prefix);
        let few: Vec<&SpaceEntry> = with_prefix.take(SEARCH_PREFIX_KEYS_MAX + 1).collect();
        (few.len() <= SEARCH_PREFIX_KEYS_MAX).then_some(few)
    }

    /// Compares the query with these entries alone.
    fn compare<'a>(
        &self,
        query: &SpaceQuery<'_>,
        entries: &[&'a SpaceEntry],
    ) -> Result<Vec<(f32, ByKey<'a>)>, SegmentError> {
        self.set.check(query.vector, query.threshold)?;
        let scan = ScanQuery::new(query.vector);
        let mut best = BestKeys::new(query.k, query.threshold);
        for entry in entries.iter().filter(|entry| query.wants(entry)) {
            for vector in self.set.vectors(&entry.rows) {
                best.offer(scan.score(vector), ByKey(entry));
            }
        }
        Ok(best.into_sorted())
    }

    /// Bytes of memory that the vectors take, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.set.memory_bytes()
    }

    /// What it holds.
    pub(super) fn stats(&self) -> VectorSetStats {
        self.set.stats()
    }

    /// The next merge of segments, if any. See [`VectorSet::next_order`].
    pub(super) fn next_order(&mut self, now: Millis) -> Option<SegmentOrder> {
        self.tend(now);
        let Space { set, entries } = self;
        set.next_order(now, &mut |row, number| {
            entries.of_row(row, number).is_some()
        })
    }

    /// When there may be something to merge although nothing happens.
    pub(super) fn next_tending(&self, now: Millis) -> Option<Millis> {
        self.set.next_tending(now)
    }

    /// A merge is done, or has failed.
    pub(super) fn merged(&mut self, now: Millis, result: Result<BuiltSegment, BuildError>) {
        self.set.merged(now, result);
    }

    fn tend(&mut self, now: Millis) {
        let Space { set, entries } = self;
        set.tend(now, &mut |row, number| {
            entries.of_row(row, number).is_some()
        });
    }
}
