//! Why an entry was found, in its own words.

use crate::index::{IndexedText, Snippet, SoughtWords, TextAnalyzer, WordsMode};
use crate::types::{IndexSource, Key, TextLanguage};
use crate::wire::{Entry, Search, SearchMode};

/// Makes the snippets of one search.
pub(super) struct Highlighter {
    analyzer: TextAnalyzer,
    sought: SoughtWords,
}

impl Highlighter {
    pub(super) fn new(search: &Search, language: TextLanguage) -> Highlighter {
        let analyzer = TextAnalyzer::new(language);
        let mode = match search.mode {
            SearchMode::Semantic | SearchMode::AnyWords | SearchMode::Hybrid => WordsMode::Any,
            SearchMode::AllWords => WordsMode::All,
            SearchMode::Expression => WordsMode::Expression,
            SearchMode::Similar => WordsMode::Similar,
        };
        let sought = SoughtWords::of(mode, &search.query, &analyzer);
        Highlighter { analyzer, sought }
    }

    /// Of the value, or of the key if only that has words that were looked for.
    pub(super) fn snippet(&self, key: &Key, entry: &Entry) -> Snippet {
        let value = IndexedText::from_entry(&IndexSource::Value, b"", entry.value.as_ref());
        let of_value = Snippet::of(&value.words, &self.sought, &self.analyzer);
        if !of_value.marks.is_empty() {
            return of_value;
        }
        let of_key = Snippet::of(&key.to_text(), &self.sought, &self.analyzer);
        if of_key.marks.is_empty() && !of_value.text.is_empty() {
            of_value
        } else {
            of_key
        }
    }
}
