//! What an index partition is told and what it wants done.

use std::sync::Arc;

use super::super::vectors::{BuildError, BuiltSegment, SegmentOrder};
use super::super::{
    Embedding, FeedPage, FeedRequest, ModelId, PartitionError, PartitionHits, PartitionQuery,
    TextChange, TextHit, TextQuery, VectorShip, VectorWant,
};
use crate::storage::{RangePage, RangeQuery, WriteBatch};
use crate::types::{Blob, Lseq, MemberId, Millis, ShardId};

/// Pairs a page with its request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FeedTicket(pub u64);
/// Pairs a vector with its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EmbedTicket(pub u64);
/// Pairs stored vectors with the request to load them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LoadTicket(pub u64);
/// Pairs a write with the news that it is durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct StoreTicket(pub u64);
/// Pairs a segment with its order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BuildTicket(pub u64);
/// Pairs an answer with its query; given by the shell, never twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct QueryTicket(pub u64);

/// Why a text got no vector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EmbedFailure {
    /// The embedder has too much to do; nothing was tried.
    Busy,
    /// It may succeed another time.
    Again(Arc<str>),
    /// Not in this life: the node does not have the model.
    NotHere,
    /// Never: the model does not take this text.
    Never(Arc<str>),
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// This node has a replica of a shard of this partition. Idempotent.
    Host(ShardId),
    /// The full-text index is open.
    TextOpened {
        /// What was given to its last commit, if any.
        watermark: Option<Blob>,
        /// How many entries it holds.
        documents: u64,
    },
    /// Answer to [`Effect::LoadVectors`].
    VectorsLoaded {
        /// From the effect.
        ticket: LoadTicket,
        /// Which shard's.
        shard: ShardId,
        /// What is stored.
        page: RangePage,
    },
    /// Answer to [`Effect::LoadVectors`] that failed.
    VectorsUnreadable {
        /// From the effect.
        ticket: LoadTicket,
        /// Which shard's.
        shard: ShardId,
        /// Whether reading again is in vain.
        damaged: bool,
    },
    /// Answer to [`Effect::Store`].
    Stored {
        /// From the effect.
        ticket: StoreTicket,
        /// Whether the batch is on disk.
        durable: bool,
    },
    /// A shard's change log goes at least this far.
    Advance {
        /// Which shard's.
        shard: ShardId,
        /// The highest learned position known.
        learned: Lseq,
    },
    /// Answer to [`Effect::RequestFeed`].
    Page {
        /// From the effect.
        ticket: FeedTicket,
        /// The page.
        page: FeedPage,
    },
    /// Answer to [`Effect::Embed`].
    Embedded {
        /// From the effect.
        ticket: EmbedTicket,
        /// The vector.
        result: Result<Arc<Embedding>, EmbedFailure>,
    },
    /// Another replica sent vectors.
    Shipped(VectorShip),
    /// Another replica misses vectors.
    Wanted {
        /// Which member.
        from: MemberId,
        /// What it misses.
        want: VectorWant,
    },
    /// Answer to [`Effect::BuildSegment`].
    SegmentBuilt {
        /// From the effect.
        ticket: BuildTicket,
        /// The segment.
        result: Result<BuiltSegment, BuildError>,
    },
    /// The full-text index has committed what [`Effect::CommitText`] asked for.
    Committed {
        /// How many entries it holds.
        documents: u64,
    },
    /// Somebody searches.
    Query {
        /// For the answer.
        ticket: QueryTicket,
        /// The question.
        query: PartitionQuery,
    },
    /// Answer to [`Effect::Freshen`].
    Freshened {
        /// From the effect.
        ticket: QueryTicket,
        /// Which shard's.
        shard: ShardId,
        /// Everything acknowledged is in the change log up to here; `None`: that is not known.
        upto: Option<Lseq>,
    },
    /// Answer to [`Effect::SearchText`].
    TextFound {
        /// From the effect.
        ticket: QueryTicket,
        /// The hits, best first.
        result: Result<Vec<TextHit>, PartitionError>,
    },
    /// The time of an [`Effect::SetTimer`] has come.
    Timer,
}

/// What is to be done, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Read stored vectors.
    LoadVectors {
        /// For the answer.
        ticket: LoadTicket,
        /// Which shard's.
        shard: ShardId,
        /// What to read.
        range: RangeQuery,
    },
    /// Ask a shard for its changes.
    RequestFeed {
        /// For the answer.
        ticket: FeedTicket,
        /// What to ask.
        request: FeedRequest,
    },
    /// Have a text embedded.
    Embed {
        /// For the answer.
        ticket: EmbedTicket,
        /// By which model.
        model: ModelId,
        /// The text.
        text: String,
    },
    /// Give vectors to the shard's other replicas. May be lost.
    Ship(VectorShip),
    /// Give vectors to one replica that asked for them. May be lost.
    ShipTo(MemberId, VectorShip),
    /// Ask another replica of the shard for vectors. May be lost.
    AskPeer {
        /// Which of the others: they are asked in turn.
        turn: u32,
        /// For what.
        want: VectorWant,
    },
    /// Merge segments. Takes long: not to be done where searches wait.
    BuildSegment {
        /// For the answer.
        ticket: BuildTicket,
        /// What to merge.
        order: SegmentOrder,
    },
    /// Write. Batches become durable in the order in which they are given.
    Store {
        /// For the answer.
        ticket: StoreTicket,
        /// What to write.
        batch: WriteBatch,
    },
    /// Change the full-text index.
    ApplyText(Vec<TextChange>),
    /// Empty the full-text index.
    ClearText,
    /// Commit the full-text index with this watermark.
    CommitText(Blob),
    /// Ask a shard up to where its change log holds everything acknowledged.
    Freshen {
        /// For the answer.
        ticket: QueryTicket,
        /// Which shard.
        shard: ShardId,
        /// Up to where this partition has dealt with the log.
        fed: Lseq,
    },
    /// Search the full-text index.
    SearchText {
        /// For the answer.
        ticket: QueryTicket,
        /// The question.
        query: TextQuery,
    },
    /// Answer a query.
    Reply {
        /// From the event.
        ticket: QueryTicket,
        /// The answer.
        result: Result<PartitionHits, PartitionError>,
    },
    /// Tell a shard that of every key whose last change is a deletion up to here nothing is left in
    /// the index, durably: it may forget those. Never goes back, unless the partition is made anew;
    /// what was said before then still holds.
    Indexed {
        /// Which shard.
        shard: ShardId,
        /// The last such position.
        upto: Lseq,
    },
    /// Send [`Event::Timer`] at this time, or soon after. Times set before stay set.
    SetTimer(Millis),
}
