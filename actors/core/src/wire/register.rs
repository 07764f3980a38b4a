//! Messages of the register protocol between a proposer and the acceptors of its shard.
//!
//! | request | reply | idempotent | if lost |
//! |---|---|---|---|
//! | `Read` | `Read` | yes | the proposer asks the other replicas |
//! | `Prepare` | `Promise` or `Nack` | yes, for the same proposer | sent again |
//! | `Accept` | `Accepted` or `Nack` | yes | sent again |
//! | `Learn` | none | yes | healed by the next digest, pull or round |
//! | `Purge` | none | yes | that replica purges later by itself |
//! | `PullSince` | `Changes` | yes | asked again |
//! | `Fetch` | `Records` | yes | asked again |
//! | `Scan` | `Scanned` | yes | another replica is asked |

use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::storage::format::Record;
use crate::types::{
    Ballot, Epoch, Incarnation, Key, LogicalTime, Lseq, MemberId, NamespaceId, RecordKey, Register,
    RequestId, ShardId,
};

/// Who asked, and where the answer goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub struct ReplyTo {
    /// The asking replica.
    pub member: MemberId,
    /// In which of its lives: an answer to an earlier one is dropped.
    pub incarnation: Incarnation,
    /// Names the question.
    pub request: RequestId,
}

/// A question to one replica of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RegisterRequest {
    /// The shard.
    pub shard: ShardId,
    /// The epoch in which the round lives.
    pub epoch: Epoch,
    /// Who asks.
    pub reply_to: ReplyTo,
    /// What.
    pub body: RequestBody,
}

/// An answer to a [`RegisterRequest`].
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct RegisterReply {
    /// The shard.
    pub shard: ShardId,
    /// Whom it answers.
    pub reply_to: ReplyTo,
    /// Who answers.
    pub from: MemberId,
    /// What.
    pub body: ReplyBody,
}

/// What a replica is asked.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum RequestBody {
    /// What have you accepted? With the register itself, or its ballot only.
    Read {
        /// Which key.
        key: RecordKey,
        /// Whether the register is wanted.
        with_register: bool,
    },
    /// Promise to accept nothing below `ballot`.
    Prepare {
        /// Which key.
        key: RecordKey,
        /// The new round.
        ballot: Ballot,
        /// What the proposer has already: a register accepted at this ballot is not sent again.
        have: Ballot,
    },
    /// Accept this register at `ballot`.
    Accept {
        /// Which key.
        key: RecordKey,
        /// The round.
        ballot: Ballot,
        /// The new register.
        register: Arc<Register>,
        /// A ballot reserved for the same proposer's next write; zero if none.
        next: Ballot,
    },
    /// These were chosen.
    Learn {
        /// Keys and the ballots at which they were chosen.
        chosen: Vec<(RecordKey, Ballot)>,
    },
    /// All replicas accepted the tombstone at this ballot: forget the register.
    Purge {
        /// Which key.
        key: RecordKey,
        /// The ballot of the tombstone.
        ballot: Ballot,
    },
    /// What changed in your log after this position?
    PullSince {
        /// The last position already seen.
        after: Lseq,
    },
    /// Send the records that are newer than these.
    Fetch {
        /// Keys, and what the asking replica has accepted of them.
        wanted: Vec<(RecordKey, Ballot)>,
    },
    /// A page of keys in order.
    Scan {
        /// Which namespace.
        namespace: NamespaceId,
        /// Keys start with this.
        prefix: Vec<u8>,
        /// Only keys after this one.
        after: Option<Key>,
        /// Most keys returned.
        limit: u32,
        /// Whether registers are wanted, or their ballots only.
        with_registers: bool,
    },
}

/// What a replica answers.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum ReplyBody {
    /// To `Read`.
    Read {
        /// What this replica has accepted; zero if nothing.
        accepted: Ballot,
        /// The register, if wanted and there.
        register: Option<Arc<Register>>,
    },
    /// To `Prepare`: promised.
    Promise {
        /// The round.
        ballot: Ballot,
        /// What this replica has accepted; zero if nothing.
        accepted: Ballot,
        /// The register, unless the proposer has it or there is none.
        register: Option<Arc<Register>>,
        /// The highest time that any purged register of this shard held.
        floor_time: LogicalTime,
    },
    /// To `Accept`: accepted, and durable.
    Accepted {
        /// The round.
        ballot: Ballot,
    },
    /// To `Prepare` or `Accept`: a higher ballot was seen.
    Nack {
        /// The refused round.
        ballot: Ballot,
        /// What was seen.
        seen: Ballot,
    },
    /// The question came from an older epoch.
    StaleEpoch {
        /// The replica's epoch.
        epoch: Epoch,
    },
    /// The replica is recovering, or knows of a newer epoch than it has adopted.
    NotVoting,
    /// The replica has more to do than it may queue.
    Busy,
    /// To `PullSince`.
    Changes {
        /// Positions, keys and accepted ballots, ascending.
        changes: Vec<(Lseq, RecordKey, Ballot)>,
        /// Everything up to here is in `changes`.
        upto: Lseq,
        /// Whether the log goes on.
        more: bool,
    },
    /// To `Fetch`: one answer per key, in the order asked; fewer if they would be too large.
    Records {
        /// The answers.
        records: Vec<(RecordKey, Fetched)>,
    },
    /// To `Scan`.
    Scanned {
        /// Keys in order, with what was accepted and, if wanted, the register.
        entries: Vec<(Key, Ballot, Option<Arc<Register>>)>,
        /// Whether there are more.
        more: bool,
    },
}

/// One answer to `Fetch`.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Fetched {
    /// Both have accepted the same: it is chosen.
    Same,
    /// This replica has nothing newer.
    NotNewer,
    /// This replica's record, which is newer.
    Newer(Record),
}

/// Asks a replica what it has accepted of a key, for the hit of a search.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HitRead {
    /// The shard.
    pub shard: ShardId,
    /// The epoch in which the asking node counts majorities.
    pub epoch: Epoch,
    /// The key.
    pub key: RecordKey,
}
