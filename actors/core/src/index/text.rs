//! What a full-text index is told and asked.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};

use crate::types::{Ballot, Blob, NamespaceId, RecordKey, ShardId, TextLanguage};

/// What the words of a query say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub enum WordsMode {
    /// Plain words, all of which an entry must have.
    #[default]
    All,
    /// Plain words, at least one of which an entry must have.
    Any,
    /// Plain words, of which an entry must have at least so many percent, rounded up.
    Most(u8),
    /// A text: the words that say most about it are looked for, by how often it has them and how
    /// rare they are elsewhere (TF-IDF); an entry must have one of them.
    Similar,
    /// An expression; see [`super::TextExpression`].
    Expression,
}

impl WordsMode {
    /// How many of so many different plain words an entry must have.
    pub fn needed(self, words: usize) -> usize {
        match self {
            WordsMode::All => words,
            WordsMode::Most(percent) => {
                let percent = usize::from(percent.min(100));
                words.saturating_mul(percent).div_ceil(100).max(1)
            }
            WordsMode::Any | WordsMode::Similar | WordsMode::Expression => 1,
        }
    }
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
    /// Whose rules say what its words are.
    pub language: TextLanguage,
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
    /// The namespace's.
    pub language: TextLanguage,
    /// Plain words, or an expression.
    pub words: String,
    /// Which of these it is.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_words_are_rounded_up_and_never_none() {
        for (mode, words, needed) in [
            (WordsMode::All, 3, 3),
            (WordsMode::Any, 3, 1),
            (WordsMode::Most(60), 1, 1),
            (WordsMode::Most(60), 2, 2),
            (WordsMode::Most(60), 3, 2),
            (WordsMode::Most(60), 5, 3),
            (WordsMode::Most(0), 5, 1),
            (WordsMode::Most(255), 5, 5),
        ] {
            assert_eq!(mode.needed(words), needed, "{mode:?} of {words}");
        }
    }
}
