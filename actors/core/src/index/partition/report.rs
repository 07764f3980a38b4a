//! What a partition says of itself, for people and monitors.

use std::collections::BTreeMap;

use super::{IndexPartition, PartitionStats};
use crate::types::{Millis, NamespaceId, ShardId};
use crate::wire::{IndexLag, NamespaceStatus};

/// What an index partition holds and did, and what it holds of each namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionReport {
    /// Altogether.
    pub stats: PartitionStats,
    /// How far each shard's index is behind.
    pub lags: Vec<(ShardId, IndexLag)>,
    /// Of each namespace of which it holds something, by id.
    pub namespaces: Vec<NamespaceStatus>,
}

impl IndexPartition {
    /// What it holds and did.
    pub fn report(&self, now: Millis) -> PartitionReport {
        let mut all: BTreeMap<NamespaceId, NamespaceStatus> = BTreeMap::new();
        for (namespace, size) in self.spaces.by_namespace() {
            let status = status_of(&mut all, namespace);
            status.vectors = size.vectors as u64;
            status.segments = size.segments as u64;
            status.memory_bytes = size.memory_bytes as u64;
        }
        for (namespace, count) in self.backlog.by_namespace() {
            status_of(&mut all, namespace).embedding = count as u64;
        }
        for (namespace, count) in self.failures.by_namespace() {
            status_of(&mut all, namespace).embed_failures = count as u64;
        }
        let stats = self.stats(now);
        PartitionReport {
            stats,
            lags: self.lags(now, stats.compared),
            namespaces: all.into_values().collect(),
        }
    }
}

fn status_of(
    all: &mut BTreeMap<NamespaceId, NamespaceStatus>,
    namespace: NamespaceId,
) -> &mut NamespaceStatus {
    all.entry(namespace).or_insert_with(|| NamespaceStatus {
        namespace,
        vectors: 0,
        segments: 0,
        memory_bytes: 0,
        embedding: 0,
        embed_failures: 0,
    })
}
