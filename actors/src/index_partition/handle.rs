//! How the rest of a node talks to an index partition, whichever life it is in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engram_core::index::partition::PartitionReport;
use engram_core::index::{
    FailedEmbedding, PartitionError, PartitionHits, PartitionQuery, VectorShip, VectorWant,
};
use engram_core::limits::{INDEX_QUERIES_MAX, INDEX_SHIPS_QUEUED_MAX};
use engram_core::types::{Lseq, MemberId, NamespaceId, ShardId};
use ractor::ActorRef;

use super::IndexPartitionMessage;

/// Called once with the answer to a search. Must not block.
pub type QueryDone = Box<dyn FnOnce(Result<PartitionHits, PartitionError>) + Send>;
/// Called with what a partition holds and did. Must not block.
pub type StatsDone = Box<dyn FnOnce(PartitionReport) + Send>;

/// Called with what could not be embedded. Must not block.
pub type FailuresDone = Box<dyn FnOnce(Vec<FailedEmbedding>) + Send>;

/// One index partition of this node. Clones reach the same one; it is made before the actor and
/// stays good when the actor is replaced.
#[derive(Clone, Default)]
pub struct IndexPartitionHandle {
    inbox: Arc<Inbox>,
}

/// What waits for the actor, bounded: its mailbox itself has no bound.
#[derive(Default)]
pub(super) struct Inbox {
    actor: Mutex<Option<ActorRef<IndexPartitionMessage>>>,
    hosted: Mutex<BTreeSet<ShardId>>,
    /// The latest position of each shard that the actor was not told yet.
    advances: Mutex<BTreeMap<ShardId, Lseq>>,
    /// Up to where each shard may forget what was deleted.
    indexed: Mutex<BTreeMap<ShardId, Lseq>>,
    queries: AtomicUsize,
    ships: AtomicUsize,
}

impl IndexPartitionHandle {
    /// A partition without an actor: shards may be added already, searches are refused.
    pub fn new() -> IndexPartitionHandle {
        IndexPartitionHandle::default()
    }

    /// This node has a replica of a shard of this partition. Idempotent.
    pub fn host(&self, shard: ShardId) {
        lock(&self.inbox.hosted).insert(shard);
        self.inbox.cast(IndexPartitionMessage::Hosted(shard));
    }

    /// The change log of a shard goes at least to `learned`, inclusive. May be called for every
    /// change: the actor gets one message for all that it has not seen yet.
    pub fn advance(&self, shard: ShardId, learned: Lseq) {
        let first = {
            let mut advances = lock(&self.inbox.advances);
            let first = advances.is_empty();
            let known = advances.entry(shard).or_default();
            *known = learned.max(*known);
            first
        };
        if first {
            self.inbox.cast(IndexPartitionMessage::Advanced);
        }
    }

    /// Up to which position of its change log a shard may forget what was deleted: the index knows
    /// of it, durably. Kept here, so that a respawned shard learns it from its first tick.
    pub fn indexed(&self, shard: ShardId) -> Lseq {
        let indexed = lock(&self.inbox.indexed);
        indexed.get(&shard).copied().unwrap_or_default()
    }

    /// Another replica sent a vector. Dropped if too many wait: then it is computed here.
    pub fn shipped(&self, ship: VectorShip) {
        if let Some(permit) =
            Permit::take(&self.inbox, |inbox| &inbox.ships, INDEX_SHIPS_QUEUED_MAX)
        {
            self.inbox
                .cast(IndexPartitionMessage::Shipped(Box::new(ship), permit));
        }
    }

    /// Another replica misses vectors. Dropped if too much waits: then it asks elsewhere.
    pub fn wanted(&self, from: MemberId, want: VectorWant) {
        if let Some(permit) =
            Permit::take(&self.inbox, |inbox| &inbox.ships, INDEX_SHIPS_QUEUED_MAX)
        {
            self.inbox
                .cast(IndexPartitionMessage::Wanted(from, want, permit));
        }
    }

    /// Searches. `done` is called exactly once, at once if the search is refused.
    pub fn query(&self, query: PartitionQuery, done: QueryDone) {
        match Permit::take(&self.inbox, |inbox| &inbox.queries, INDEX_QUERIES_MAX) {
            None => done(Err(PartitionError::Overloaded)),
            Some(permit) => {
                let pending = PendingQuery {
                    done: Some(done),
                    _permit: permit,
                };
                self.inbox
                    .cast(IndexPartitionMessage::Query(Box::new(query), pending));
            }
        }
    }

    /// Asks what the partition holds and did. `done` is not called while it has no actor.
    pub fn stats(&self, done: StatsDone) {
        self.inbox.cast(IndexPartitionMessage::Stats(done));
    }

    /// Asks what of a namespace could not be embedded. `done` is dropped while there is no actor.
    pub fn failures(&self, namespace: NamespaceId, done: FailuresDone) {
        self.inbox
            .cast(IndexPartitionMessage::Failures(namespace, done));
    }

    pub(super) fn inbox(&self) -> Arc<Inbox> {
        self.inbox.clone()
    }
}

impl Inbox {
    /// Makes an actor the one that messages go to.
    pub(super) fn attach(&self, actor: ActorRef<IndexPartitionMessage>) {
        *lock(&self.actor) = Some(actor);
    }

    pub(super) fn hosted(&self) -> BTreeSet<ShardId> {
        lock(&self.hosted).clone()
    }

    pub(super) fn take_advances(&self) -> BTreeMap<ShardId, Lseq> {
        std::mem::take(&mut *lock(&self.advances))
    }

    /// What a former life said still holds, so this never goes back.
    pub(super) fn set_indexed(&self, shard: ShardId, upto: Lseq) {
        let mut indexed = lock(&self.indexed);
        let known = indexed.entry(shard).or_default();
        *known = upto.max(*known);
    }

    fn cast(&self, message: IndexPartitionMessage) {
        let actor = lock(&self.actor).clone();
        if let Some(actor) = actor {
            // A message to a dead actor is dropped with all that depends on it: searches are
            // answered by that, and the next life asks for everything else.
            drop(actor.cast(message));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place in a bounded queue, given back when dropped.
pub struct Permit {
    inbox: Arc<Inbox>,
    counter: fn(&Inbox) -> &AtomicUsize,
}

impl Permit {
    fn take(
        inbox: &Arc<Inbox>,
        counter: fn(&Inbox) -> &AtomicUsize,
        places: usize,
    ) -> Option<Permit> {
        let permit = Permit {
            inbox: inbox.clone(),
            counter,
        };
        // Counted first and given back by the drop if there was none left.
        (counter(inbox).fetch_add(1, Ordering::SeqCst) < places).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.counter)(&self.inbox).fetch_sub(1, Ordering::SeqCst);
    }
}

/// A search that waits for its answer. Dropped without one, it says that the partition is not
/// ready: its actor died.
pub struct PendingQuery {
    done: Option<QueryDone>,
    _permit: Permit,
}

impl PendingQuery {
    pub(super) fn answer(mut self, result: Result<PartitionHits, PartitionError>) {
        if let Some(done) = self.done.take() {
            done(result);
        }
    }
}

impl Drop for PendingQuery {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            done(Err(PartitionError::NotReady));
        }
    }
}
