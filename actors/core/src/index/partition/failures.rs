//! Entries that are not found by meaning, because their text could not be embedded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{EmbedOutlook, FailedEmbedding, ModelId};
use super::backlog::Missing;
use crate::limits::INDEX_FAILURES_MAX;
use crate::types::{Ballot, NamespaceId, RecordKey, ShardId};

/// One such entry.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    shard: ShardId,
    vtag: Ballot,
    model: ModelId,
    attempts: u32,
    reason: Arc<str>,
    outlook: EmbedOutlook,
}

impl Failure {
    pub(super) fn of(missing: &Missing, reason: Arc<str>, outlook: EmbedOutlook) -> Failure {
        Failure {
            shard: missing.shard,
            vtag: missing.vtag,
            model: missing.model.clone(),
            attempts: missing.attempts,
            reason,
            outlook,
        }
    }
}

/// The list of them. It is for people: what is to be tried again is known without it.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_key: BTreeMap<RecordKey, Failure>,
    /// How many found no place in the list, by shard.
    beyond: BTreeMap<ShardId, usize>,
}

impl Failures {
    /// Adds an entry, or counts it if the list is full.
    pub(super) fn add(&mut self, key: RecordKey, failure: Failure) {
        if self.by_key.len() < INDEX_FAILURES_MAX || self.by_key.contains_key(&key) {
            self.by_key.insert(key, failure);
        } else {
            *self.beyond.entry(failure.shard).or_default() += 1;
        }
    }

    /// Forgets an entry: it was embedded, changed or deleted.
    pub(super) fn remove(&mut self, key: &RecordKey) {
        self.by_key.remove(key);
    }

    /// How often this very version was tried.
    pub(super) fn attempts(&self, key: &RecordKey, vtag: Ballot, model: &ModelId) -> Option<u32> {
        let failure = self.by_key.get(key)?;
        (failure.vtag == vtag && failure.model == *model).then_some(failure.attempts)
    }

    /// The entries of a shard that were given up come again, and with them those that found no
    /// place.
    pub(super) fn begin_again(&mut self, shard: ShardId) {
        self.beyond.remove(&shard);
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.by_key.len() + self.beyond.values().sum::<usize>()
    }

    /// The shards in which this namespace may have some.
    pub(super) fn shards(&self, namespace: NamespaceId) -> BTreeSet<ShardId> {
        let listed = self.by_key.iter();
        let listed = listed.filter(|(key, _)| key.namespace == namespace);
        let listed = listed.map(|(_, failure)| failure.shard);
        listed.chain(self.beyond.keys().copied()).collect()
    }

    /// How many of those listed each namespace has.
    pub(super) fn by_namespace(&self) -> BTreeMap<NamespaceId, usize> {
        let mut counts = BTreeMap::new();
        for key in self.by_key.keys() {
            *counts.entry(key.namespace).or_default() += 1;
        }
        counts
    }

    /// The first ones of a namespace, in key order.
    pub(super) fn list(&self, namespace: NamespaceId) -> impl Iterator<Item = FailedEmbedding> {
        let listed = self.by_key.iter();
        let listed = listed.filter(move |(key, _)| key.namespace == namespace);
        listed.map(|(key, failure)| FailedEmbedding {
            key: key.key.clone(),
            version: failure.vtag,
            attempts: failure.attempts,
            reason: failure.reason.to_string(),
            outlook: failure.outlook,
        })
    }
}
