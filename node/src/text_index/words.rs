//! Words as tantivy takes them: each within its namespace, so that namespaces share an index
//! without meeting each other's entries.

use std::collections::BTreeMap;

use engram_core::index::TextAnalyzer;
use engram_core::types::NamespaceId;
use tantivy::tokenizer::{PreTokenizedString, Token};

/// The words of a text.
pub(super) struct Analysed {
    /// Their stems, without words that say nothing.
    pub(super) stems: PreTokenizedString,
    /// All words uncut.
    pub(super) exact: PreTokenizedString,
}

impl Analysed {
    /// The words of a text of one namespace.
    pub(super) fn of(namespace: NamespaceId, analyzer: &TextAnalyzer, text: &str) -> Analysed {
        let scope = scope(namespace);
        let mut stems = Vec::new();
        let mut exact = Vec::new();
        for word in analyzer.words(text) {
            let token = |text: &str| Token {
                offset_from: word.range.start,
                offset_to: word.range.end,
                position: word.position,
                text: format!("{scope}{text}"),
                position_length: 1,
            };
            stems.extend(word.stem.as_deref().map(token));
            exact.push(token(&word.exact));
        }
        Analysed {
            stems: pretokenized(stems),
            exact: pretokenized(exact),
        }
    }
}

/// How often a text has its stems, each within its namespace.
pub(super) fn counts(
    namespace: NamespaceId,
    analyzer: &TextAnalyzer,
    text: &str,
) -> BTreeMap<String, u32> {
    let scope = scope(namespace);
    let mut counts = BTreeMap::new();
    for stem in analyzer.stems(text) {
        *counts.entry(format!("{scope}{stem}")).or_insert(0) += 1;
    }
    counts
}

/// A word, or a tag, of one namespace.
pub(super) fn scoped(namespace: NamespaceId, text: &str) -> String {
    format!("{}{text}", scope(namespace))
}

/// What stands before all words of a namespace. Its last character is in no word and no number.
fn scope(namespace: NamespaceId) -> String {
    format!("{:x}\u{1}", namespace.0)
}

fn pretokenized(tokens: Vec<Token>) -> PreTokenizedString {
    // The original is neither stored nor looked at again.
    PreTokenizedString {
        text: String::new(),
        tokens,
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::TextLanguage;

    use super::*;

    #[test]
    fn words_carry_their_namespace_and_place() {
        let analyzer = TextAnalyzer::new(TextLanguage::English);
        let analysed = Analysed::of(NamespaceId(26), &analyzer, "the Programs");
        let token = &analysed.stems.tokens[0];
        assert_eq!((token.text.as_str(), token.position), ("1a\u{1}program", 1));
        let exact: Vec<&str> = analysed
            .exact
            .tokens
            .iter()
            .map(|token| token.text.as_str())
            .collect();
        assert_eq!(exact, ["1a\u{1}the", "1a\u{1}programs"]);
        let counts = counts(NamespaceId(1), &analyzer, "run running the runs, fast");
        assert_eq!(counts.get("1\u{1}run"), Some(&3));
        assert_eq!(counts.len(), 2);
    }
}
