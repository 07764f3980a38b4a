//! The vectors of a partition, by namespace and model.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Embedding, FlatSegment, ModelId, Scored, SegmentError, VectorSegment};
use crate::types::{Ballot, Blob, NamespaceId, RecordKey, ShardId};

/// All vectors of a partition.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    spaces: BTreeMap<NamespaceId, BTreeMap<ModelId, Space>>,
}

/// Vectors that may be compared with one another.
#[derive(Debug)]
struct Space {
    segment: FlatSegment,
    entries: BTreeMap<RecordKey, SpaceEntry>,
}

#[derive(Debug)]
struct SpaceEntry {
    shard: ShardId,
    vtag: Ballot,
    tags: Vec<String>,
}

/// A vector and what it belongs to.
pub(super) struct NewVector<'a> {
    pub(super) key: &'a RecordKey,
    pub(super) shard: ShardId,
    pub(super) vtag: Ballot,
    pub(super) model: &'a ModelId,
    pub(super) tags: Vec<String>,
    pub(super) vector: &'a Embedding,
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

impl Spaces {
    /// Sets the vector of a key.
    ///
    /// # Errors
    /// If the other vectors of the namespace and model have another dimension.
    pub(super) fn upsert(&mut self, new: NewVector<'_>) -> Result<(), SegmentError> {
        let models = self.spaces.entry(new.key.namespace).or_default();
        let space = models.entry(new.model.clone()).or_insert_with(|| Space {
            segment: FlatSegment::new(new.vector.dim()),
            entries: BTreeMap::new(),
        });
        space.segment.upsert(new.key.clone(), new.vector)?;
        let entry = SpaceEntry {
            shard: new.shard,
            vtag: new.vtag,
            tags: new.tags,
        };
        space.entries.insert(new.key.clone(), entry);
        Ok(())
    }

    /// Forgets all vectors of a key.
    pub(super) fn remove(&mut self, key: &RecordKey) {
        if let Some(models) = self.spaces.get_mut(&key.namespace) {
            for space in models.values_mut() {
                space.segment.remove(key);
                space.entries.remove(key);
            }
            // So that a model's dimension is forgotten with its last vector.
            models.retain(|_, space| !space.entries.is_empty());
        }
    }

    /// The version whose vector is there.
    pub(super) fn vtag(&self, key: &RecordKey, model: &ModelId) -> Option<Ballot> {
        let space = self.spaces.get(&key.namespace)?.get(model)?;
        Some(space.entries.get(key)?.vtag)
    }

    /// The best matches with their versions.
    ///
    /// # Errors
    /// If the query has another dimension than the vectors.
    pub(super) fn search(
        &self,
        query: &SpaceQuery<'_>,
    ) -> Result<Vec<(Scored, Ballot)>, SegmentError> {
        let Some(space) = self
            .spaces
            .get(&query.namespace)
            .and_then(|m| m.get(query.model))
        else {
            return Ok(Vec::new());
        };
        let mut passes = |key: &RecordKey| {
            let prefixed = query
                .prefix
                .is_none_or(|prefix| key.key.as_bytes().starts_with(prefix.as_ref()));
            prefixed
                && space.entries.get(key).is_some_and(|entry| {
                    query.shards.contains(&entry.shard)
                        && query.tags.iter().all(|tag| entry.tags.contains(tag))
                })
        };
        let found = space
            .segment
            .search(query.vector, query.k, query.threshold, &mut passes)?;
        let with_version = found.into_iter().filter_map(|hit| {
            let vtag = space.entries.get(&hit.key)?.vtag;
            Some((hit, vtag))
        });
        Ok(with_version.collect())
    }

    /// What there is of each namespace.
    pub(super) fn sizes(&self) -> BTreeMap<NamespaceId, SpaceSize> {
        let sizes = self.spaces.iter().map(|(namespace, models)| {
            let mut size = SpaceSize::default();
            for space in models.values() {
                size.add(SpaceSize {
                    vectors: space.segment.len(),
                    segments: 1,
                    bytes: space.segment.memory_bytes(),
                });
            }
            (*namespace, size)
        });
        sizes.collect()
    }
}

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct SpaceSize {
    pub(super) vectors: usize,
    pub(super) segments: usize,
    /// About.
    pub(super) bytes: usize,
}

impl SpaceSize {
    pub(super) fn add(&mut self, other: SpaceSize) {
        self.vectors += other.vectors;
        self.segments += other.segments;
        self.bytes += other.bytes;
    }
}
