//! What a shard tells its index partition: its change log of learned records, page by page.

use crate::types::{Ballot, Blob, Lseq, Millis, RecordKey, ShardId};

/// Asks a shard for the part of its change log after `after`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedRequest {
    /// Which shard.
    pub shard: ShardId,
    /// The last position that the index has dealt with.
    pub after: Lseq,
    /// Most entries in the page.
    pub limit: usize,
}

/// The state of one key that changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedEntry {
    /// Where in the change log. Only the latest change of a key is in the log.
    pub lseq: Lseq,
    /// Which key.
    pub key: RecordKey,
    /// The version.
    pub vtag: Ballot,
    /// The value; `None`: the key was deleted.
    pub value: Option<Blob>,
    /// The tags, as the user gave them.
    pub tags: Vec<String>,
    /// When the entry expires, if ever.
    pub expires_at: Option<Millis>,
}

/// A part of a shard's change log: all learned changes after the request's position up to `upto`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedPage {
    /// Which shard.
    pub shard: ShardId,
    /// In rising order of `lseq`.
    pub entries: Vec<FeedEntry>,
    /// Every learned change up to here is in this page or was in one before. Equal to the
    /// request's position if there is nothing new.
    pub upto: Lseq,
}
