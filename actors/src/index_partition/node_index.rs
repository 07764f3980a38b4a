//! All index partitions of a node, as the rest of the node sees them.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

use engram_core::index::partition::PartitionReport;
use engram_core::index::vectors::{SegmentBuilder, SegmentLimits};
use engram_core::index::{
    FailedEmbedding, PartitionError, PartitionHits, PartitionQuery, VectorShip, VectorWant,
    partition_of,
};
use engram_core::types::{Lseq, MemberId, Millis, NamespaceId, ShardId};
use engram_core::wire::{Frame, MissingEmbedder, PartitionStatus};

use super::{
    DirectoryFeed, DirectoryLookup, Embedders, FailuresDone, IndexPartitionArguments,
    IndexPartitionHandle, PartitionPeers, SharedLookup, TextIndex,
};
use crate::directory::Directory;
use crate::embedder::{Embedder, EmbedderCatalog, QueuedEmbedder};
use crate::env::Env;
use crate::rate::Rate;

/// Called with what one partition found in these of the shards asked for. Must not block.
pub type NodeQueryDone =
    Arc<dyn Fn(Vec<ShardId>, Result<PartitionHits, PartitionError>) + Send + Sync>;

/// What a node's index is made of.
pub struct NodeIndexArguments {
    /// One full-text index a partition; at least one.
    pub texts: Vec<Arc<dyn TextIndex>>,
    /// The embedders, by the name that namespaces use.
    pub embedders: EmbedderCatalog,
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
    /// Memory that the vectors of a partition may take, in bytes.
    pub vector_bytes_max: usize,
}

/// The index partitions of one node.
pub struct NodeIndex {
    texts: Vec<Arc<dyn TextIndex>>,
    partitions: Vec<IndexPartitionHandle>,
    embedders: Embedders,
    catalog: Arc<EmbedderCatalog>,
    queued: Vec<QueuedEmbedder>,
    rates: Mutex<BTreeMap<u16, Rate>>,
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
            embedders,
            segments,
        } = arguments;
        let catalog = Arc::new(embedders);
        NodeIndex {
            partitions: texts.iter().map(|_| IndexPartitionHandle::new()).collect(),
            texts,
            embedders: Embedders::new(catalog.available()),
            queued: catalog.queued(),
            rates: Mutex::default(),
            segments,
            lookup: Arc::new(DirectoryLookup::new(directory.clone(), catalog.clone())),
            catalog,
            directory,
            env,
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
        let mut catalog = EmbedderCatalog::default();
        for (name, embedder) in embedders {
            catalog.add_inline(name, embedder);
        }
        let arguments = NodeIndexArguments {
            texts,
            embedders: catalog,
            segments,
        };
        NodeIndex::new(arguments, directory, env)
    }

    /// The embedders that need an actor each.
    pub fn queued(&self) -> &[QueuedEmbedder] {
        &self.queued
    }

    /// The embedders by name, those that cannot be provided included.
    pub fn catalog(&self) -> &EmbedderCatalog {
        &self.catalog
    }

    /// The namespaces that cannot be embedded here, and why.
    pub fn missing_embedders(&self) -> Vec<MissingEmbedder> {
        let Some(config) = self.directory.config() else {
            return Vec::new();
        };
        let missing = config.namespaces.iter().filter_map(|namespace| {
            let error = self.catalog.check(&namespace.options).err()?;
            Some(MissingEmbedder {
                namespace: namespace.name.clone(),
                embedder: namespace.options.embedder.clone(),
                reason: error.to_string(),
            })
        });
        missing.collect()
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

    /// Collects what of a namespace could not be embedded, at most so many entries. `done` is called
    /// once: with what the partitions that have an actor say.
    pub fn failures(
        &self,
        namespace: NamespaceId,
        limit: usize,
        done: impl FnOnce(Vec<FailedEmbedding>) + Send + 'static,
    ) {
        let collection = Arc::new(Collection {
            found: Mutex::default(),
            limit,
            done: Mutex::new(Some(Box::new(done))),
        });
        for partition in &self.partitions {
            let collection = collection.clone();
            partition.failures(namespace, Box::new(move |found| collection.add(found)));
        }
    }

    /// Has all partitions report themselves to the directory.
    pub fn report(self: &Arc<Self>) {
        self.catalog.note(self.env.clock.now());
        for (number, partition) in self.partitions.iter().enumerate() {
            let index = self.clone();
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            let now = self.env.clock.now();
            partition.stats(Box::new(move |report| {
                for (shard, lag) in &report.lags {
                    index.directory.report_own_index(*shard, *lag);
                }
                let status = index.status_of(number, now, &report);
                index.directory.report_partition(status);
            }));
        }
    }

    fn status_of(&self, number: u16, now: Millis, report: &PartitionReport) -> PartitionStatus {
        let stats = &report.stats;
        let vectors_per_second = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            let rate = rates.entry(number).or_default();
            rate.note(now, stats.embedded + stats.received)
        };
        PartitionStatus {
            partition: number,
            texts: stats.documents,
            vectors: stats.vectors as u64,
            segments: stats.segments as u64,
            vector_bytes: stats.vector_bytes as u64,
            graphs: stats.graphs as u64,
            embedding: stats.pending_embeddings as u64,
            embed_failures: stats.embed_failures as u64,
            embedded: stats.embedded,
            received: stats.received,
            vectors_per_second,
            lag: stats.lag_changes,
            lag_ms: stats.lag_ms,
            namespaces: report.namespaces.clone(),
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

/// What partitions answer, one after the other. Complete when the last of them lets go of it: one
/// that is being replaced does so without an answer.
struct Collection {
    found: Mutex<Vec<FailedEmbedding>>,
    limit: usize,
    done: Mutex<Option<FailuresDone>>,
}

impl Collection {
    fn add(&self, found: Vec<FailedEmbedding>) {
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(found);
    }
}

impl Drop for Collection {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        let found = self.found.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = done.take() {
            found.sort_by(|a, b| a.key.cmp(&b.key));
            found.truncate(self.limit);
            done(std::mem::take(found));
        }
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
