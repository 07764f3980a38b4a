//! What a shard actor is told.

use std::sync::Arc;

use engram_core::protocol::register::acceptor::{Abstention, Acceptor, FeedPage};
use engram_core::protocol::watch::{WatchFeed, WatchQuery};
use engram_core::types::{Ballot, IoId, Lseq, MemberId, RecordKey, Register};
use engram_core::wire::register::{HitRead, RegisterReply, RegisterRequest};

use super::HitSlot;
use crate::env::{ReadOutcome, ReadQuery, StoreError};

/// Called with a page of learned changes.
pub type FeedDone = Box<dyn FnOnce(FeedPage) + Send>;
/// Called with the position up to which the log holds everything acknowledged, if that is known.
pub type FreshDone = Box<dyn FnOnce(Option<Lseq>) + Send>;

/// Called with a page of changes of some keys.
pub type WatchDone = Box<dyn FnOnce(WatchFeed) + Send>;

/// What a shard actor is told. Senders are actors of the same node.
pub enum ShardMessage {
    /// From the link or the local replicator; answered by a reply frame. Idempotent; if lost, the
    /// asking proposer asks again.
    Request(RegisterRequest),
    /// From the link: answers a catch-up question. If lost, the question is asked again.
    Reply(RegisterReply),
    /// From the coordinator, or that of another node: a hit of a search. Answered through the slot.
    ReadHit {
        /// Which.
        read: HitRead,
        /// Whether the register is wanted.
        with_register: bool,
        /// Where the answer goes.
        slot: HitSlot,
    },
    /// From storage: an append is durable, or has failed.
    Appended(IoId, Result<(), StoreError>),
    /// From storage: a read is done, or has failed.
    Read(IoId, Result<ReadOutcome, StoreError>),
    /// From storage: too many reads wait there; this one is asked again shortly.
    ReadRefused(IoId, ReadQuery),
    /// From this actor's timer: ask again.
    ReadAgain(IoId, ReadQuery),
    /// From this actor's timer: hand on what waits for room in storage.
    AppendAgain,
    /// From the index partition; answered through the callback.
    Feed {
        /// The last position already indexed.
        after: Lseq,
        /// Most entries wanted.
        limit: usize,
        /// Called with the page.
        done: FeedDone,
    },
    /// From the local replicator: what the other replicas hold in the place of a damaged record. If
    /// lost, it is asked for again.
    Rebuilt {
        /// Which key.
        key: RecordKey,
        /// As asked.
        abstention: Abstention,
        /// The ballot at which they hold it.
        ballot: Ballot,
        /// What they hold.
        register: Arc<Register>,
    },
    /// From the watcher; answered through the callback.
    Watch {
        /// Which changes. Its token comes back with the page.
        query: WatchQuery,
        /// Called with the page.
        done: WatchDone,
    },
    /// From the index partition: up to where does the log hold everything acknowledged? Answered
    /// through the callback; not at all if this life ends before.
    Freshen {
        /// How far the partition is in the log.
        fed: Lseq,
        /// Called with the answer.
        done: FreshDone,
    },
    /// From gossip: a peer is reachable again.
    PeerUp(MemberId),
    /// From gossip: a peer says how far its log reaches.
    PeerProgress(MemberId, Lseq),
    /// From gossip: a peer has witnessed that this disk lost nothing it saw.
    Witnessed,
    /// From the timer.
    Tick,
    /// From tests and diagnosis: runs with the acceptor, on the actor's task.
    Inspect(Box<dyn FnOnce(&Acceptor) + Send>),
}

impl ractor::Message for ShardMessage {}
