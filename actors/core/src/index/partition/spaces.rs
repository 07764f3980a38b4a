//! The vectors of a partition, by namespace and model.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vectors::{
    BuildError, BuiltSegment, SegmentError, SegmentLimits, SegmentOrder, VectorSetStats,
};
use super::super::{Embeddings, ModelId};
use super::BuildTicket;
use super::space::{NewVectors, Space, SpaceHit, SpaceQuery};
use crate::types::{Ballot, Millis, NamespaceId, RecordKey};

/// All vectors of a partition. Of all its spaces one at a time is being merged, so that what is held
/// twice is bounded.
#[derive(Debug)]
pub(super) struct Spaces {
    limits: SegmentLimits,
    spaces: BTreeMap<NamespaceId, BTreeMap<ModelId, Space>>,
    /// Of all of them: asked for with each new vector, so it is not summed up each time.
    memory_bytes: usize,
    /// Those that may have something to merge.
    changed: BTreeSet<SpaceName>,
    /// Those that may have something to merge at a time. One entry a space at most.
    due: BTreeSet<(Millis, SpaceName)>,
    has_due: BTreeSet<SpaceName>,
    merging: Option<(BuildTicket, SpaceName)>,
}

/// Which space.
type SpaceName = (NamespaceId, ModelId);

impl Spaces {
    pub(super) fn new(limits: SegmentLimits) -> Spaces {
        Spaces {
            limits,
            spaces: BTreeMap::new(),
            memory_bytes: 0,
            changed: BTreeSet::new(),
            due: BTreeSet::new(),
            has_due: BTreeSet::new(),
            merging: None,
        }
    }

    /// Sets the vectors of a key.
    ///
    /// # Errors
    /// If the other vectors of the namespace and model have another dimension.
    pub(super) fn upsert(&mut self, now: Millis, new: NewVectors<'_>) -> Result<(), SegmentError> {
        let name = (new.key.namespace, new.model.clone());
        let models = self.spaces.entry(name.0).or_default();
        models
            .entry(name.1.clone())
            .or_insert_with(|| Space::new(new.vectors.dim(), self.limits));
        self.change(&name, |space| space.upsert(now, new))
            .unwrap_or(Ok(()))?;
        self.changed.insert(name);
        Ok(())
    }

    /// Forgets all vectors of a key.
    pub(super) fn remove(&mut self, now: Millis, key: &RecordKey) {
        if let Some(models) = self.spaces.get_mut(&key.namespace) {
            let before = memory(models);
            for (model, space) in models.iter_mut() {
                if space.remove(now, key) {
                    self.changed.insert((key.namespace, model.clone()));
                }
            }
            // So that a model's dimension is forgotten with its last vector.
            models.retain(|_, space| !space.is_empty());
            self.memory_bytes = self.memory_bytes - before + memory(models);
        }
    }

    /// The version whose vectors are there.
    pub(super) fn vtag(&self, key: &RecordKey, model: &ModelId) -> Option<Ballot> {
        self.space(key.namespace, model)?.vtag(key)
    }

    /// The vectors of a key.
    pub(super) fn vectors(&self, key: &RecordKey, model: &ModelId) -> Option<Embeddings> {
        self.space(key.namespace, model)?.vectors(key)
    }

    /// The best matches with their versions.
    ///
    /// # Errors
    /// If the query has another dimension than the vectors.
    pub(super) fn search(&self, query: &SpaceQuery<'_>) -> Result<Vec<SpaceHit>, SegmentError> {
        match self.space(query.namespace, query.model) {
            Some(space) => space.search(query),
            None => Ok(Vec::new()),
        }
    }

    /// Bytes of memory that all vectors take, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// What all spaces hold together.
    pub(super) fn stats(&self) -> VectorSetStats {
        let stats = sum(self.spaces.values().flat_map(BTreeMap::values));
        debug_assert_eq!(stats.memory_bytes, self.memory_bytes);
        stats
    }

    /// What the spaces of each namespace hold.
    pub(super) fn by_namespace(&self) -> BTreeMap<NamespaceId, VectorSetStats> {
        let spaces = self.spaces.iter();
        let spaces = spaces.map(|(namespace, models)| (*namespace, sum(models.values())));
        spaces.collect()
    }

    /// Looks again at spaces whose time has come.
    pub(super) fn wake(&mut self, now: Millis) {
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, name)) = self.due.pop_first() {
                self.has_due.remove(&name);
                self.changed.insert(name);
            }
        }
    }

    /// The next merge, if any; it is known by this ticket.
    pub(super) fn next_order(&mut self, now: Millis, ticket: BuildTicket) -> Option<SegmentOrder> {
        if self.merging.is_some() {
            return None;
        }
        while let Some(name) = self.changed.pop_first() {
            let tend = |space: &mut Space| (space.next_order(now), space.next_tending(now));
            let Some((order, next)) = self.change(&name, tend) else {
                continue;
            };
            if let Some(order) = order {
                self.merging = Some((ticket, name));
                return Some(order);
            }
            if let Some(next) = next
                && self.has_due.insert(name.clone())
            {
                self.due.insert((next, name));
            }
        }
        None
    }

    /// A merge is done, or has failed. Returns whether it was asked for.
    pub(super) fn merged(
        &mut self,
        now: Millis,
        ticket: BuildTicket,
        result: Result<BuiltSegment, BuildError>,
    ) -> bool {
        let Some((_, name)) = self.merging.take_if(|(asked, _)| *asked == ticket) else {
            return false;
        };
        self.change(&name, |space| space.merged(now, result));
        self.changed.insert(name);
        true
    }

    /// When there may be something to merge although nothing happens.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Changes a space, if it is there.
    fn change<R>(&mut self, name: &SpaceName, change: impl FnOnce(&mut Space) -> R) -> Option<R> {
        let space = self.spaces.get_mut(&name.0)?.get_mut(&name.1)?;
        let before = space.memory_bytes();
        let result = change(space);
        self.memory_bytes = self.memory_bytes - before + space.memory_bytes();
        Some(result)
    }

    fn space(&self, namespace: NamespaceId, model: &ModelId) -> Option<&Space> {
        self.spaces.get(&namespace)?.get(model)
    }
}

fn memory(models: &BTreeMap<ModelId, Space>) -> usize {
    models.values().map(Space::memory_bytes).sum()
}

fn sum<'a>(spaces: impl Iterator<Item = &'a Space>) -> VectorSetStats {
    spaces.fold(VectorSetStats::default(), |sum, space| {
        let of_space = space.stats();
        VectorSetStats {
            vectors: sum.vectors + of_space.vectors,
            dead_vectors: sum.dead_vectors + of_space.dead_vectors,
            memory_bytes: sum.memory_bytes + of_space.memory_bytes,
            segments: sum.segments + of_space.segments,
            graphs: sum.graphs + of_space.graphs,
            compared: sum.compared + of_space.compared,
        }
    })
}
