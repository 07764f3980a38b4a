//! Searches, as clients ask for them and nodes answer.

use bincode::{Decode, Encode};

use super::client::Entry;
use crate::index::Snippet;
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
    /// By the query language of [`crate::index::TextExpression`]: BM25 of the words looked for; 0
    /// or a constant for what only restricts.
    Expression,
    /// By the words that say most about a longer text: BM25.
    Similar,
    /// By meaning and by most of the words, fused by [`HybridWeights`]: above 0, at most the sum
    /// of the weights divided by 61.
    Hybrid,
}

/// How much each list of a hybrid search counts. The score of a hit is the sum of
/// `weight / (60 + rank)` over the lists it is in, ranks from 1: reciprocal rank fusion (Cormack,
/// Clarke and Buettcher 2009).
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
pub struct HybridWeights {
    /// Of the list by meaning: 0 or above.
    pub meaning: f32,
    /// Of the list by words: 0 or above.
    pub words: f32,
}

impl Default for HybridWeights {
    fn default() -> Self {
        HybridWeights {
            meaning: 1.0,
            words: 1.0,
        }
    }
}

/// Where a hit stood in one of the lists that a search made.
#[derive(Clone, Copy, PartialEq, Debug, Encode, Decode)]
pub struct Standing {
    /// From 1, among what was live or not yet known to be gone.
    pub rank: u32,
    /// Cosine similarity, or BM25.
    pub score: f32,
}

/// Why a hit stands where it does.
#[derive(Clone, Copy, PartialEq, Debug, Default, Encode, Decode)]
pub struct Explanation {
    /// In the list by meaning, if it is in there.
    pub meaning: Option<Standing>,
    /// In the list by words, if it is in there.
    pub words: Option<Standing>,
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
    /// Least score of a hit; of a hybrid search, least cosine similarity of what is found by
    /// meaning.
    pub threshold: Option<f32>,
    /// How the lists of a hybrid search are fused.
    pub weights: HybridWeights,
    /// Only keys that start with this.
    pub prefix: Vec<u8>,
    /// Only entries that have all of these tags.
    pub tags: Vec<String>,
    /// Whether values are wanted.
    pub with_values: bool,
    /// Whether each hit is to come with a snippet.
    pub snippets: bool,
    /// Whether every write that was acknowledged before must be seen. A shard that cannot say so
    /// in time counts as not answered.
    pub fresh: bool,
}

/// One entry found.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SearchHit {
    /// Its key.
    pub key: Key,
    /// What it held when it was verified.
    pub entry: Entry,
    /// How well it matches; higher is better. [`SearchMode`] says on which scale.
    pub score: f32,
    /// Why it stands where it does.
    pub explanation: Explanation,
    /// The part of it that shows best why it was found, if that was asked for.
    pub snippet: Option<Snippet>,
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
