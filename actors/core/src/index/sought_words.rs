//! Which words a query looks for: what its hits are highlighted by.

use std::collections::{BTreeMap, BTreeSet};

use super::{TextAnalyzer, TextExpression, TextWord, WordsMode};
use crate::limits::{SEARCH_WORDS_MAX, SIMILAR_WORDS_MAX};

/// The words that speak for an entry which has them. What excludes or only restricts is not among
/// them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SoughtWords {
    stems: BTreeSet<String>,
    /// Whole words.
    exact: BTreeSet<String>,
    /// How words begin.
    beginnings: Vec<String>,
}

impl SoughtWords {
    /// The words of a query, [`SEARCH_WORDS_MAX`] different ones at most; of a text to which
    /// others should be similar, the [`SIMILAR_WORDS_MAX`] most frequent ones. An expression that
    /// makes no sense looks for nothing.
    pub fn of(mode: WordsMode, query: &str, analyzer: &TextAnalyzer) -> SoughtWords {
        let mut sought = SoughtWords::default();
        match mode {
            WordsMode::All | WordsMode::Any | WordsMode::Most(_) => {
                for stem in analyzer.stems(query) {
                    if sought.stems.len() >= SEARCH_WORDS_MAX {
                        break;
                    }
                    sought.stems.insert(stem);
                }
            }
            WordsMode::Similar => sought.stems = most_frequent(analyzer.stems(query)),
            WordsMode::Expression => {
                if let Ok(expression) = TextExpression::parse(query) {
                    sought.add(&expression, analyzer);
                }
            }
        }
        sought
    }

    /// The stems among them.
    pub fn stems(&self) -> &BTreeSet<String> {
        &self.stems
    }

    /// Whether a word is one of them.
    pub fn has(&self, word: &TextWord) -> bool {
        word.stem
            .as_ref()
            .is_some_and(|stem| self.stems.contains(stem))
            || self.exact.contains(&word.exact)
            || self
                .beginnings
                .iter()
                .any(|beginning| word.exact.starts_with(beginning))
    }

    fn add(&mut self, expression: &TextExpression, analyzer: &TextAnalyzer) {
        match expression {
            TextExpression::All(parts) | TextExpression::Any(parts) => {
                parts.iter().for_each(|part| self.add(part, analyzer));
            }
            TextExpression::Words(_, text) | TextExpression::Phrase(_, text) => {
                self.stems.extend(analyzer.stems(text));
            }
            TextExpression::Prefix(text) => {
                let mut words: Vec<String> = analyzer.words(text).map(|word| word.exact).collect();
                self.beginnings.extend(words.pop());
                self.exact.extend(words);
            }
            TextExpression::Not(_) | TextExpression::KeyPrefix(_) | TextExpression::Tag(_) => {}
        }
    }
}

/// The words that a text has most often, ties in the order of the alphabet.
fn most_frequent(words: impl Iterator<Item = String>) -> BTreeSet<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_insert(0) += 1;
    }
    let mut counts: Vec<(String, u32)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let most = counts.into_iter().take(SIMILAR_WORDS_MAX);
    most.map(|(word, _)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TextLanguage;

    fn found(mode: WordsMode, query: &str, text: &str) -> Vec<String> {
        let analyzer = TextAnalyzer::new(TextLanguage::English);
        let sought = SoughtWords::of(mode, query, &analyzer);
        let words = analyzer.words(text).filter(|word| sought.has(word));
        words.map(|word| word.exact).collect()
    }

    #[test]
    fn what_speaks_for_an_entry_is_sought() {
        let text = "Guides to Python programs, snakes and wellness";
        let all = found(WordsMode::All, "the python guide", text);
        assert_eq!(all, ["guides", "python"]);
        let query = "(python OR \"programming guide\") well* NOT snake tag:wellness";
        let expression = found(WordsMode::Expression, query, text);
        assert_eq!(expression, ["guides", "python", "programs", "wellness"]);
        assert!(found(WordsMode::Expression, "(python", text).is_empty());
    }

    #[test]
    fn the_number_of_words_is_bounded() {
        let analyzer = TextAnalyzer::new(TextLanguage::Plain);
        let many: String = (0..1000).map(|number| format!("w{number} ")).collect();
        let any = SoughtWords::of(WordsMode::Any, &many, &analyzer);
        assert_eq!(any.stems().len(), SEARCH_WORDS_MAX);
        let similar = SoughtWords::of(WordsMode::Similar, &format!("{many} w9"), &analyzer);
        assert_eq!(similar.stems().len(), SIMILAR_WORDS_MAX);
        assert!(similar.stems().contains("w9"));
    }
}
