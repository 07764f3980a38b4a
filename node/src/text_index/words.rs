//! Which words a text is found by.

use std::collections::BTreeSet;

use engram_core::index::stop_words;
use engram_core::limits::SEARCH_WORDS_MAX;
use engram_core::types::NamespaceId;
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, PreTokenizedString, RemoveLongFilter,
    SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer, Token,
};

use super::schema::scoped;

/// Longest word in bytes, exclusive. Longer ones are noise such as encoded data.
const WORD_BYTES_LIMIT: usize = 128;

/// Turns text into words: runs of letters and digits, in lower case, without accents, without
/// words that say nothing, cut to their English stem.
#[derive(Clone)]
pub(super) struct Words {
    analyzer: TextAnalyzer,
}

impl Words {
    /// Under which name the schema knows these rules. A change of the rules needs a new name, so
    /// that an index made by the old ones is rebuilt.
    pub(super) const NAME: &'static str = "engram-english-1";

    pub(super) fn new() -> Words {
        let stop_words = StopWordFilter::remove(stop_words().map(str::to_owned));
        let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(RemoveLongFilter::limit(WORD_BYTES_LIMIT))
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(stop_words)
            .filter(Stemmer::new(Language::English))
            .build();
        Words { analyzer }
    }

    /// The rules alone, for tantivy's own register.
    pub(super) fn into_analyzer(self) -> TextAnalyzer {
        self.analyzer
    }

    /// The words of an entry's text, each within its namespace.
    pub(super) fn analyse(&mut self, namespace: NamespaceId, text: &str) -> PreTokenizedString {
        let mut tokens: Vec<Token> = Vec::new();
        self.analyzer.token_stream(text).process(&mut |token| {
            tokens.push(Token {
                text: scoped(namespace, &token.text),
                ..token.clone()
            });
        });
        // The original is neither stored nor looked at again.
        PreTokenizedString {
            text: String::new(),
            tokens,
        }
    }

    /// The different words of a query, [`SEARCH_WORDS_MAX`] at most, each within its namespace.
    pub(super) fn of_query(&mut self, namespace: NamespaceId, text: &str) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        let mut stream = self.analyzer.token_stream(text);
        while words.len() < SEARCH_WORDS_MAX && stream.advance() {
            words.insert(scoped(namespace, &stream.token().text));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let analysed = Words::new().analyse(NamespaceId(26), text);
        analysed
            .tokens
            .into_iter()
            .map(|token| token.text.replace("1a\u{1}", ""))
            .collect()
    }

    #[test]
    fn words_are_folded_and_stemmed() {
        assert_eq!(words("Programming the PROGRAMS"), ["program", "program"]);
        assert_eq!(words("Crème brûlée, Ｗｉｄｅ"), ["creme", "brule", "wide"]);
        assert_eq!(words("user_id:42"), ["user", "id", "42"]);
        assert!(words("the of and").is_empty());
        assert!(words(&"x".repeat(WORD_BYTES_LIMIT)).is_empty());
    }

    #[test]
    fn a_query_has_each_word_once() {
        let found = Words::new().of_query(NamespaceId(1), "run running the runs, fast");
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            ["1\u{1}fast", "1\u{1}run"]
        );
    }
}
