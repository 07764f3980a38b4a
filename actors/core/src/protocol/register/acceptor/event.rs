//! What an acceptor is made of, what it is told, and what it wants done.

use std::sync::Arc;

use bytes::Bytes;

use super::rebuild::Abstention;
use crate::limits::{RECORD_CACHE_BYTES_DEFAULT, RETRY_WINDOW_MS, SCRUB_EVERY_MS_DEFAULT};
use crate::protocol::watch::{WatchFeed, WatchQuery};
use crate::storage::format::FormatError;
use crate::storage::{Keyspace, RangePage, RangeQuery, WriteBatch};
use crate::types::{
    Ballot, Epoch, Incarnation, IoId, Lseq, MemberId, RecordKey, Register, ShardId,
};
use crate::wire::register::{RegisterReply, RegisterRequest};

/// What an acceptor is told when it is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its shard.
    pub shard: ShardId,
    /// The disk it votes for.
    pub member: MemberId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The shard's membership version.
    pub epoch: Epoch,
    /// All replicas of the shard, this one included.
    pub members: Vec<MemberId>,
    /// Bytes of records kept in memory.
    pub cache_bytes: usize,
    /// How long a tombstone is kept before it may be purged, in milliseconds.
    pub purge_after_ms: u64,
    /// How often a page of records is read to find damage, in milliseconds.
    pub scrub_every_ms: u64,
    /// Whether an index follows the change log: then nothing is purged before [`Event::Indexed`]
    /// says that the index knows of the deletion.
    pub indexed: bool,
}

impl Options {
    /// Options with default bounds.
    pub fn new(shard: ShardId, member: MemberId, incarnation: Incarnation) -> Options {
        Options {
            shard,
            member,
            incarnation,
            epoch: Epoch(1),
            members: vec![member],
            cache_bytes: RECORD_CACHE_BYTES_DEFAULT,
            purge_after_ms: 2 * RETRY_WINDOW_MS,
            scrub_every_ms: SCRUB_EVERY_MS_DEFAULT,
            indexed: false,
        }
    }
}

/// What happens to an acceptor.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// It begins: the first event of its life.
    Start,
    /// Another replica has confirmed that this disk lost nothing that was acknowledged.
    Witnessed,
    /// A replica, perhaps this one, asks.
    Request(RegisterRequest),
    /// A replica answers a catch-up question.
    Reply(RegisterReply),
    /// Answers [`Effect::Load`]: the bytes found, if any.
    Loaded(IoId, Option<Bytes>),
    /// Answers [`Effect::Range`].
    Ranged(IoId, RangePage),
    /// Answers [`Effect::Load`] or [`Effect::Range`]: what is on disk there is not what was written.
    Unreadable(IoId),
    /// Answers [`Effect::Append`].
    Durable(IoId),
    /// The index partition asks for learned changes after a position.
    Feed {
        /// Comes back with the answer.
        token: u64,
        /// The last position already indexed.
        after: Lseq,
        /// Most entries wanted.
        limit: usize,
    },
    /// A standing query asks for learned changes of some keys.
    Watch(WatchQuery),
    /// Up to where does the change log hold every write that was acknowledged before now? Answered
    /// by [`Effect::Freshened`] once the index was fed so far.
    Freshen {
        /// Comes back with the answer.
        token: u64,
        /// The position up to which the index has been fed in its present life.
        fed: Lseq,
    },
    /// The index partition knows, durably, of every deletion up to this position. Said again after
    /// a respawn.
    Indexed(Lseq),
    /// Answers [`Effect::Rebuild`]: in a round begun after it, a majority without this replica has
    /// accepted a register.
    Rebuilt {
        /// Which key.
        key: RecordKey,
        /// As asked.
        abstention: Abstention,
        /// The round's ballot.
        ballot: Ballot,
        /// What was accepted.
        register: Arc<Register>,
    },
    /// A peer is reachable again.
    PeerUp(MemberId),
    /// A peer's change log is said to have reached this position.
    PeerProgress(MemberId, Lseq),
    /// Time passes. Comes about every [`TICK_MS`] milliseconds.
    Tick {
        /// How many live replicas come before this one in routing order.
        rank: usize,
    },
}

/// How often [`Event::Tick`] is expected, in milliseconds.
pub const TICK_MS: u64 = 500;

/// What an acceptor wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Write this batch; report [`Event::Durable`].
    Append(IoId, WriteBatch),
    /// Read this key of `Records` or `Meta`; report [`Event::Loaded`].
    Load(IoId, Keyspace, Bytes),
    /// Read this range; report [`Event::Ranged`].
    Range(IoId, RangeQuery),
    /// Answer a replica.
    Reply(RegisterReply),
    /// Ask a peer.
    Send(MemberId, RegisterRequest),
    /// Tell the index partition that learned, durable changes reach below this position.
    Advance(Lseq),
    /// Answer the index partition.
    Feed(FeedPage),
    /// Answer a standing query.
    Watched(WatchFeed),
    /// Answers [`Event::Freshen`]: every write acknowledged before it is in the change log up to
    /// this position, or was overwritten since, and everything up to there has been fed. None:
    /// that cannot be known.
    Freshened {
        /// As asked.
        token: u64,
        /// The position.
        upto: Option<Lseq>,
    },
    /// Have this replica's proposer finish a round on the key, which settles or expires it.
    Settle(RecordKey),
    /// Have this replica's proposer purge the key, if it is still a tombstone.
    Purge(RecordKey),
    /// The acceptor has begun to vote and serve.
    Serving,
    /// A record cannot be read, and this replica abstains on its key: a person must know.
    Corrupt(RecordKey, FormatError),
    /// Have this replica's proposer run a round on the key with the other replicas, and report
    /// [`Event::Rebuilt`]. Asked again until then.
    Rebuild(RecordKey, Abstention),
    /// A damaged record has been rebuilt from the other replicas.
    Whole(RecordKey),
    /// Something cannot be read without which this life cannot go on.
    Broken(IoId),
}

/// A learned change, for the index.
#[derive(Clone, PartialEq, Debug)]
pub struct FeedEntry {
    /// Its position in the change log.
    pub lseq: Lseq,
    /// Which key.
    pub key: RecordKey,
    /// What it holds.
    pub register: Arc<Register>,
}

/// Learned changes, for the index.
#[derive(Clone, PartialEq, Debug)]
pub struct FeedPage {
    /// As asked.
    pub token: u64,
    /// Ascending. A key that changed again since is left out: it comes later.
    pub entries: Vec<FeedEntry>,
    /// Everything up to here, inclusive, has been covered.
    pub upto: Lseq,
}

/// Counters and gauges of one acceptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Whether it votes and serves.
    pub serving: bool,
    /// Length of its change log so far.
    pub changes: u64,
    /// Changes not yet known to be chosen.
    pub unlearned: u64,
    /// Entries of peers' logs not yet followed.
    pub behind: u64,
    /// Whether it serves and has followed as many peers' logs to their end as make up a majority
    /// with it, since they were last out of reach: it holds what was acknowledged before then.
    pub caught_up: bool,
    /// Records purged in this life.
    pub purged: u64,
    /// Learned changes whose deletions the index does not know yet; 0 without an index.
    pub unindexed: u64,
    /// Whether the index stands still for so long that purges no longer wait for it.
    pub index_stalled: bool,
    /// Damaged records met in this life and not yet rebuilt.
    pub damaged: u64,
    /// Bytes of records in memory.
    pub cache_bytes: u64,
}
