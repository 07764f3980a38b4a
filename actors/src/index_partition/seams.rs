//! What a partition needs of its node, apart from the disk: shards, peers, embedders.

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_core::index::{
    FeedPage, FeedRequest, IndexOptionsLookup, ModelId, ReadyVectors, VectorShip, VectorWant,
};
use engram_core::types::{Lseq, MemberId, ShardId};

use crate::embedder::{Embedder, InlineEmbedder, ReadyModel};

/// Called with a page of a shard's change log. Must not block.
pub type FeedPageDone = Box<dyn FnOnce(FeedPage) + Send>;

/// Called with the position up to which a change log holds everything acknowledged; with none if
/// that cannot be known. Must not block.
pub type FreshPositionDone = Box<dyn FnOnce(Option<Lseq>) + Send>;

/// The change logs of this node's shards.
pub trait ShardFeed: Send + Sync + 'static {
    /// Asks for a page. Returns at once; a page that never comes is asked for again.
    fn request(&self, request: FeedRequest, done: FeedPageDone);

    /// Asks up to where the log of a shard holds every write that was acknowledged before; `fed` is
    /// how far the partition is in it. Returns at once; the answer may never come.
    fn freshen(&self, shard: ShardId, fed: Lseq, done: FreshPositionDone);
}

/// The partitions of the other members that replicate the same shards.
pub trait PartitionPeers: Send + Sync + 'static {
    /// Gives a vector to every other replica of its shard. Never blocks; may be lost.
    fn ship(&self, ship: VectorShip);

    /// Gives vectors to one replica of their shard. Never blocks; may be lost.
    fn ship_to(&self, to: MemberId, ship: VectorShip);

    /// Asks another replica of the shard for vectors, by `turn` each time another one. Never blocks;
    /// may be lost.
    fn ask(&self, turn: u32, want: VectorWant);
}

/// The embedders of a node, by model.
#[derive(Clone, Default)]
pub struct Embedders {
    by_model: BTreeMap<ModelId, Arc<dyn Embedder>>,
}

impl Embedders {
    /// These ones.
    pub fn new(embedders: impl IntoIterator<Item = Arc<dyn Embedder>>) -> Embedders {
        let by_model = embedders
            .into_iter()
            .map(|embedder| (embedder.id(), embedder))
            .collect();
        Embedders { by_model }
    }

    /// The one that has a model.
    pub fn get(&self, model: &ModelId) -> Option<Arc<dyn Embedder>> {
        let ready = || {
            let model = ReadyModel(ReadyVectors::of(model)?);
            Some(Arc::new(InlineEmbedder::new(Box::new(model))) as Arc<dyn Embedder>)
        };
        self.by_model.get(model).cloned().or_else(ready)
    }
}

/// A lookup that actors share.
pub type SharedLookup = Arc<dyn IndexOptionsLookup + Send + Sync>;
