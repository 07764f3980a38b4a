//! All index partitions of a node, as the rest of the node sees them.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use engram_core::index::vectors::{SegmentBuilder, SegmentLimits};
use engram_core::index::{
    ModelId, PartitionError, PartitionHits, PartitionQuery, VectorShip, VectorWant, partition_of,
};
use engram_core::types::{Lseq, MemberId, ShardId};
use engram_core::wire::{Frame, PartitionStatus};

use super::{
    DirectoryFeed, DirectoryLookup, Embedders, IndexPartitionArguments, IndexPartitionHandle,
    PartitionPeers, PartitionReport, SharedLookup, TextIndex,
};
use crate::directory::Directory;
use crate::embedder::{Embedder, QueuedEmbedder};
use crate::env::Env;

/// Called with what one partition found in these of the shards asked for. Must not block.
pub type NodeQueryDone =
    Arc<dyn Fn(Vec<ShardId>, Result<PartitionHits, PartitionError>) + Send + Sync>;

/// What a node's index is made of.
pub struct NodeIndexArguments {
    /// One full-text index a partition; at least one.
    pub texts: Vec<Arc<dyn TextIndex>>,
    /// The embedding models, by the name that namespaces use.
    pub models: BTreeMap<String, QueuedEmbedder>,
    /// How segments of vectors are made.
    pub segments: SegmentOptions,
}

/// How segments of vectors are made.
#[derive(Clone)]
pub struct SegmentOptions {
    /// Makes their graphs.
    pub builder: Arc<dyn SegmentBuilder>,
    /// When they are merged.
    pub limits: SegmentLimits,
}

/// The index partitions of one node.
pub struct NodeIndex {
    texts: Vec<Arc<dyn TextIndex>>,
    partitions: Vec<IndexPartitionHandle>,
    embedders: Embedders,
    models: Vec<QueuedEmbedder>,
    segments: SegmentOptions,
    lookup: SharedLookup,
    directory: Arc<Directory>,
    env: Env,
}

impl NodeIndex {
    /// Partitions without actors: the node supervisor starts those.
    pub fn new(arguments: NodeIndexArguments, directory: Arc<Directory>, env: Env) -> NodeIndex {
        let NodeIndexArguments {
            texts,
            models,
            segments,
        } = arguments;
        let names: BTreeMap<String, ModelId> = models
            .iter()
            .map(|(name, model)| (name.clone(), model.id()))
            .collect();
        let models: Vec<QueuedEmbedder> = models.into_values().collect();
        let embedders = models
            .iter()
            .map(|model| Arc::new(model.clone()) as Arc<dyn Embedder>);
        let embedders = Embedders::new(embedders);
        NodeIndex {
            models,
            ..NodeIndex::of(texts, embedders, names, segments, directory, env)
        }
    }

    /// The same with embedders that need no thread, such as
    /// [`InlineEmbedder`](crate::embedder::InlineEmbedder): for simulations, where the order of
    /// everything must depend on the seed alone.
    pub fn inline(
        texts: Vec<Arc<dyn TextIndex>>,
        embedders: BTreeMap<String, Arc<dyn Embedder>>,
        segments: SegmentOptions,
        directory: Arc<Directory>,
        env: Env,
    ) -> NodeIndex {
        let names = embedders
            .iter()
            .map(|(name, embedder)| (name.clone(), embedder.id()))
            .collect();
        let embedders = Embedders::new(embedders.into_values());
        NodeIndex::of(texts, embedders, names, segments, directory, env)
    }

    fn of(
        texts: Vec<Arc<dyn TextIndex>>,
        embedders: Embedders,
        names: BTreeMap<String, ModelId>,
        segments: SegmentOptions,
        directory: Arc<Directory>,
        env: Env,
    ) -> NodeIndex {
        NodeIndex {
            partitions: texts.iter().map(|_| IndexPartitionHandle::new()).collect(),
            texts,
            embedders,
            models: Vec::new(),
            segments,
            lookup: Arc::new(DirectoryLookup::new(directory.clone(), names)),
            directory,
            env,
        }
    }

    /// The models that need an actor each.
    pub fn models(&self) -> &[QueuedEmbedder] {
        &self.models
    }

    /// The models, to embed queries with.
    pub fn embedders(&self) -> &Embedders {
        &self.embedders
    }

    /// How namespaces are indexed.
    pub fn lookup(&self) -> &SharedLookup {
        &self.lookup
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// What the actor of a partition is made of; none if there is no such partition.
    pub fn partition_arguments(&self, number: usize) -> Option<IndexPartitionArguments> {
        Some(IndexPartitionArguments {
            number: u16::try_from(number).ok()?,
            me: self.directory.me.id,
            handle: self.partitions.get(number)?.clone(),
            store: self.env.store.clone(),
            clock: self.env.clock.clone(),
            background: self.env.background.clone(),
            segments: self.segments.clone(),
            text: self.texts.get(number)?.clone(),
            feed: Arc::new(DirectoryFeed::new(self.directory.clone())),
            peers: Arc::new(DirectoryPeers {
                directory: self.directory.clone(),
                env: self.env.clone(),
            }),
            embedders: self.embedders.clone(),
            lookup: self.lookup.clone(),
        })
    }

    /// This node has a replica of a shard. Idempotent.
    pub fn host(&self, shard: ShardId) {
        if let Some(partition) = self.partition(shard) {
            partition.host(shard);
        }
    }

    /// The learned changes of a shard reach below this position.
    pub fn advance(&self, shard: ShardId, below: Lseq) {
        if let Some(partition) = self.partition(shard) {
            partition.advance(shard, Lseq(below.0.saturating_sub(1)));
        }
    }

    /// Up to which position a shard may forget what was deleted.
    pub fn indexed(&self, shard: ShardId) -> Lseq {
        let partition = self.partition(shard);
        partition.map_or(Lseq(0), |partition| partition.indexed(shard))
    }

    /// Whether a shard is indexed at all.
    pub fn follows(&self, shard: ShardId) -> bool {
        self.partition(shard).is_some()
    }

    /// Another replica has sent a vector.
    pub fn shipped(&self, ship: VectorShip) {
        if let Some(partition) = self.partition(ship.shard) {
            partition.shipped(ship);
        }
    }

    /// Another replica misses vectors.
    pub fn wanted(&self, from: MemberId, want: VectorWant) {
        if let Some(partition) = self.partition(want.shard) {
            partition.wanted(from, want);
        }
    }

    /// Searches the partitions of these shards. `done` is called once for each partition.
    pub fn query(&self, query: &PartitionQuery, done: &NodeQueryDone) {
        let mut by_partition: BTreeMap<u16, Vec<ShardId>> = BTreeMap::new();
        for shard in &query.shards {
            by_partition
                .entry(self.number(*shard))
                .or_default()
                .push(*shard);
        }
        for (number, shards) in by_partition {
            let Some(partition) = self.partitions.get(usize::from(number)) else {
                continue;
            };
            let part = PartitionQuery {
                shards: shards.clone(),
                ..query.clone()
            };
            let done = done.clone();
            partition.query(part, Box::new(move |result| done(shards, result)));
        }
    }

    /// Has all partitions report themselves to the directory.
    pub fn report(&self) {
        for (number, partition) in self.partitions.iter().enumerate() {
            let directory = self.directory.clone();
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            partition.stats(Box::new(move |PartitionReport { stats, lags }| {
                for (shard, lag) in lags {
                    directory.report_own_index(shard, lag);
                }
                directory.report_partition(PartitionStatus {
                    partition: number,
                    texts: stats.documents,
                    vectors: stats.vectors as u64,
                    vector_bytes: stats.vector_bytes as u64,
                    segments: stats.segments as u64,
                    graphs: stats.graphs as u64,
                    embedding: stats.pending_embeddings as u64,
                    lag: stats.lag_changes,
                });
            }));
        }
    }

    fn number(&self, shard: ShardId) -> u16 {
        let partitions = u16::try_from(self.partitions.len())
            .ok()
            .and_then(NonZeroU16::new);
        partitions.map_or(0, |partitions| partition_of(shard, partitions))
    }

    fn partition(&self, shard: ShardId) -> Option<&IndexPartitionHandle> {
        // The system shard holds nothing that is searched.
        if shard.is_system() {
            return None;
        }
        self.partitions.get(usize::from(self.number(shard)))
    }
}

/// The other replicas of a shard, as the configuration names them.
struct DirectoryPeers {
    directory: Arc<Directory>,
    env: Env,
}

impl DirectoryPeers {
    /// The other replicas of a shard.
    fn others(&self, shard: ShardId) -> Vec<MemberId> {
        let Some(config) = self.directory.config() else {
            return Vec::new();
        };
        let me = self.directory.me.id;
        let members = config.shard(shard).map(|found| found.members.clone());
        let members = members.unwrap_or_default().into_iter();
        members.filter(|peer| *peer != me).collect()
    }
}

impl PartitionPeers for DirectoryPeers {
    fn ship_to(&self, to: MemberId, ship: VectorShip) {
        self.env.transport.send(to, &Frame::VectorShip(ship));
    }

    fn ask(&self, turn: u32, want: VectorWant) {
        let live = self.directory.live();
        let mut peers = self.others(want.shard);
        peers.retain(|peer| live.contains(peer));
        let turn = usize::try_from(turn).unwrap_or(0);
        if let Some(peer) = peers.get(turn % peers.len().max(1)) {
            self.env.transport.send(*peer, &Frame::VectorWant(want));
        }
    }

    fn ship(&self, ship: VectorShip) {
        let peers = self.others(ship.shard);
        if !peers.is_empty() {
            self.env
                .transport
                .broadcast(&peers, &Frame::VectorShip(ship));
        }
    }
}
