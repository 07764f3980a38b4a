//! What a full-text index is told and asked.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::types::{Ballot, Blob, NamespaceId, RecordKey, ShardId};

/// Which of the words of a query an entry must have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub enum WordsMode {
    /// All of them.
    #[default]
    All,
    /// At least one.
    Any,
}

/// One entry, as the full-text index sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextDocument {
    /// Which entry.
    pub key: RecordKey,
    /// In which shard.
    pub shard: ShardId,
    /// The version whose text this is.
    pub vtag: Ballot,
    /// The text to find it by.
    pub words: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A change to a full-text index. Doing it again changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextChange {
    /// Replaces what is indexed of an entry.
    Upsert(TextDocument),
    /// Forgets an entry.
    Delete(RecordKey),
}

/// A search by words in one namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextQuery {
    /// Where.
    pub namespace: NamespaceId,
    /// Only entries of these shards.
    pub shards: BTreeSet<ShardId>,
    /// Plain words: no syntax, any text is allowed.
    pub words: String,
    /// All or any of the words.
    pub mode: WordsMode,
    /// Most hits.
    pub k: usize,
    /// Only keys that begin so.
    pub prefix: Option<Blob>,
    /// Only entries that have all of these tags.
    pub tags: Vec<String>,
}

/// An entry that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct TextHit {
    /// Which entry.
    pub key: RecordKey,
    /// The version that was indexed.
    pub vtag: Ballot,
    /// BM25; higher is better. Comparable within one index, and roughly between like ones.
    pub score: f32,
}
