//! What clients ask of the cluster. Each request type names its reply type.

use bincode::{Decode, Encode};

use super::search::{Search, SearchReply};
use super::status::NodeStatus;
use super::watch::{Watch, WatchPage};
use crate::index::FailedEmbedding;
use crate::types::{
    Ballot, Blob, ClusterConfig, Key, LogicalTime, Millis, NamespaceId, NamespaceOptions,
    RecordKey, Write,
};

/// A request that knows the type of its reply, so that a wrong pairing does not compile.
pub trait Request: Sized {
    /// What a successful answer holds.
    type Reply;

    /// The request as it crosses the wire.
    fn into_wire(self) -> ClientRequest;

    /// Takes the reply out of the wire form; none if it is of another kind.
    fn from_wire(reply: ClientReply) -> Option<Self::Reply>;
}

macro_rules! request {
    ($name:ident => $variant:ident, $reply:ty) => {
        impl Request for $name {
            type Reply = $reply;

            fn into_wire(self) -> ClientRequest {
                ClientRequest::$name(self)
            }

            fn from_wire(reply: ClientReply) -> Option<$reply> {
                match reply {
                    ClientReply::$variant(reply) => Some(reply),
                    _ => None,
                }
            }
        }
    };
}

/// Reads one key, linearizably.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Get {
    /// Which.
    pub key: RecordKey,
    /// Whether the value is wanted, or only that it is there, its version, tags and expiry.
    pub with_value: bool,
}

/// Changes one key, at most once however often it is sent.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Put {
    /// Which.
    pub key: RecordKey,
    /// How, and when.
    pub write: Write,
}

/// A page of keys in order. Linearizable per key; not a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Scan {
    /// Where.
    pub namespace: NamespaceId,
    /// Keys start with this.
    pub prefix: Vec<u8>,
    /// Only keys after this one.
    pub after: Option<Key>,
    /// Most entries returned: 1 to [`crate::limits::SCAN_LIMIT_MAX`].
    pub limit: u32,
    /// Whether values are wanted.
    pub with_values: bool,
}

/// A page of one shard's keys in order: what a [`Scan`] is made of.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ScanShard {
    /// Which shard.
    pub shard: crate::types::ShardId,
    /// What, with a limit for this shard alone.
    pub scan: Scan,
}

/// The current configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GetConfig;

/// Makes sure that a namespace exists.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct OpenNamespace {
    /// Its name.
    pub name: String,
    /// Its options, if it must have these; else any, and the defaults if it is new.
    pub options: Option<NamespaceOptions>,
}

/// What one node says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct GetStatus;

/// Which entries of a namespace the answering node does not find by meaning, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ListEmbedFailures {
    /// Where.
    pub namespace: NamespaceId,
    /// Most entries listed: 1 to [`crate::limits::FAILURES_LIMIT_MAX`].
    pub limit: u32,
}

/// Reads, changes or asks. One variant per request type.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum ClientRequest {
    /// See [`Get`].
    Get(Get),
    /// See [`Put`].
    Put(Put),
    /// See [`Scan`].
    Scan(Scan),
    /// See [`ScanShard`].
    ScanShard(ScanShard),
    /// See [`Search`].
    Search(Search),
    /// See [`GetConfig`].
    GetConfig(GetConfig),
    /// See [`OpenNamespace`].
    OpenNamespace(OpenNamespace),
    /// See [`GetStatus`].
    GetStatus(GetStatus),
    /// See [`Watch`].
    Watch(Watch),
    /// See [`ListEmbedFailures`].
    ListEmbedFailures(ListEmbedFailures),
}

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Entry {
    /// The value; empty if it was not asked for.
    pub value: Blob,
    /// The version, for conditional writes. It never recurs.
    pub version: Ballot,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it ends, if it does.
    pub expires_at: Option<Millis>,
}

/// A write was applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Written {
    /// The version it made.
    pub version: Ballot,
    /// Whether the key held a value before.
    pub found: bool,
}

/// One page of a scan.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ScanPage {
    /// Keys in order, and what they hold.
    pub entries: Vec<(Key, Entry)>,
    /// Where the next page goes on; none if this was the last.
    pub next: Option<Key>,
}

/// A successful answer.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum ClientReply {
    /// To `Get`.
    Entry(Option<Entry>),
    /// To `Put`.
    Written(Written),
    /// To `Scan` and `ScanShard`.
    Page(ScanPage),
    /// To `Search`.
    Found(SearchReply),
    /// To `GetConfig` and `OpenNamespace`.
    Config(ClusterConfig),
    /// To `GetStatus`.
    Status(Box<NodeStatus>),
    /// To `Watch`.
    Watched(WatchPage),
    /// To `ListEmbedFailures`.
    EmbedFailures(Vec<FailedEmbedding>),
}

/// A request that was not carried out, and what its sender can do about it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Encode, Decode)]
pub enum RequestError {
    /// It certainly had no effect; it may be sent again.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// It may or may not have had effect: send it again with the same write id to find out.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// This attempt was not evaluated: the key remembers too few writes to tell whether an earlier
    /// attempt was applied. If there was none, the write may be sent again with a later `since`.
    #[error("it was sent so long ago that it may have been applied and forgotten")]
    Forgotten,
    /// The condition of a write did not hold.
    #[error("conflict: {}", match current { Some(v) => format!("the key is at version {v}"), None => "the key holds no value".into() })]
    Conflict {
        /// The version that the key has instead; none if it holds no value.
        current: Option<Ballot>,
    },
    /// Too much is in flight; it had no effect.
    #[error("overloaded, try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Something is larger than allowed; it had no effect.
    #[error("{what} is too large: {actual}, at most {limit} are allowed")]
    TooLarge {
        /// What, with its unit.
        what: String,
        /// The bound.
        limit: u64,
        /// What was sent.
        actual: u64,
    },
    /// It makes no sense; it had no effect.
    #[error("invalid: {0}")]
    Invalid(String),
    /// Too few replicas of the shard answer; it had no effect.
    #[error("shard {shard} is not available: {reason}")]
    Unavailable {
        /// Which shard.
        shard: u16,
        /// What is missing.
        reason: String,
    },
    /// The sender's configuration is too old or too new for this node; it had no effect.
    #[error("this node has configuration version {version}")]
    StaleConfig {
        /// The node's version.
        version: u64,
    },
    /// The embedder of the namespace is missing at the node that was asked, or failed there; it
    /// had no effect.
    #[error("embedder {embedder}: {reason}")]
    Embedder {
        /// Its name.
        embedder: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The sender may not do this.
    #[error("unauthorized: {0}")]
    Unauthorized(String),
}

/// Any answer, with the logical time that its receiver merges.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct ClientResponse {
    /// The answering node's logical time.
    pub time: LogicalTime,
    /// The answer.
    pub result: Result<ClientReply, RequestError>,
}

request!(Get => Entry, Option<Entry>);
request!(Put => Written, Written);
request!(Scan => Page, ScanPage);
request!(ScanShard => Page, ScanPage);
request!(Search => Found, SearchReply);
request!(GetConfig => Config, ClusterConfig);
request!(OpenNamespace => Config, ClusterConfig);
request!(Watch => Watched, WatchPage);
request!(GetStatus => Status, Box<NodeStatus>);
request!(ListEmbedFailures => EmbedFailures, Vec<FailedEmbedding>);
