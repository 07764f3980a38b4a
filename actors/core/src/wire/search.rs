//! Searches, as clients ask for them and nodes answer.

use bincode::{Decode, Encode};

use super::client::Entry;
use crate::types::{Key, NamespaceId};

/// How a query is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum SearchMode {
    /// By meaning: cosine similarity of the embedded query, -1 to 1.
    #[default]
    Semantic,
    /// By words, all of which must occur: BM25, above 0 and without an upper end.
    AllWords,
    /// By words, any of which may occur: BM25.
    AnyWords,
}

/// Finds entries by meaning or by words.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct Search {
    /// Where.
    pub namespace: NamespaceId,
    /// What for: 1 to [`crate::limits::QUERY_BYTES_MAX`] bytes.
    pub query: String,
    /// How.
    pub mode: SearchMode,
    /// Most hits: 1 to [`crate::limits::TOP_K_MAX`].
    pub top_k: u32,
    /// Least score of a hit.
    pub threshold: Option<f32>,
    /// Only keys that start with this.
    pub prefix: Vec<u8>,
    /// Only entries that have all of these tags.
    pub tags: Vec<String>,
    /// Whether values are wanted.
    pub with_values: bool,
}

/// One entry found.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SearchHit {
    /// Its key.
    pub key: Key,
    /// What it held when it was verified.
    pub entry: Entry,
    /// How well it matches; higher is better.
    pub score: f32,
}

/// Answer to a [`Search`].
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct SearchReply {
    /// Best first. Each was verified by a linearizable read of exactly the version that matched.
    pub hits: Vec<SearchHit>,
    /// How many shards took part.
    pub shards_answered: u16,
    /// How many there are.
    pub shards_total: u16,
}
