//! What a text has, and what a query wants, word by word: for the full-text index in memory.

use std::collections::BTreeMap;

use engram_core::index::{
    SoughtWords, TextAnalyzer, TextDocument, TextExpression, TextField, TextQuery, TextWord,
    WordsMode, key_words,
};

/// The words of one entry, in order.
pub(super) struct MemoryText {
    words: Vec<TextWord>,
    key_words: Vec<TextWord>,
    key: Vec<u8>,
    tags: Vec<String>,
}

impl MemoryText {
    pub(super) fn new(document: &TextDocument) -> MemoryText {
        let analyzer = TextAnalyzer::new(document.language);
        let key = document.key.key.to_text();
        let key_words: Vec<&str> = key_words(&key).collect();
        MemoryText {
            words: analyzer.words(&document.words).collect(),
            key_words: analyzer.words(&key_words.join(" ")).collect(),
            key: document.key.key.as_bytes().to_vec(),
            tags: document.tags.clone(),
        }
    }

    /// The stems by which it is found, in order.
    pub(super) fn stems(&self) -> impl Iterator<Item = &String> {
        self.words.iter().filter_map(|word| word.stem.as_ref())
    }

    fn words(&self, field: TextField) -> &[TextWord] {
        match field {
            TextField::Everything => &self.words,
            TextField::Key => &self.key_words,
        }
    }
}

/// What a query wants.
pub(super) struct Wanted {
    /// The words that make the score.
    pub(super) sought: SoughtWords,
    rule: Rule,
    analyzer: TextAnalyzer,
}

enum Rule {
    /// At least so many of the words.
    SoMany(usize),
    Like(TextExpression),
}

impl Wanted {
    /// None: it wants nothing that says anything, or makes no sense.
    pub(super) fn of(query: &TextQuery) -> Option<Wanted> {
        let analyzer = TextAnalyzer::new(query.language);
        let sought = SoughtWords::of(query.mode, &query.words, &analyzer);
        let rule = match query.mode {
            WordsMode::All | WordsMode::Any | WordsMode::Most(_) | WordsMode::Similar => {
                Rule::SoMany(query.mode.needed(sought.stems().len()))
            }
            WordsMode::Expression => Rule::Like(TextExpression::parse(&query.words).ok()?),
        };
        let wanted = Wanted {
            sought,
            rule,
            analyzer,
        };
        let finds = match &wanted.rule {
            Rule::SoMany(_) => !wanted.sought.stems().is_empty(),
            Rule::Like(expression) => wanted.finds(expression),
        };
        finds.then_some(wanted)
    }

    pub(super) fn has(&self, text: &MemoryText) -> bool {
        match &self.rule {
            Rule::SoMany(needed) => {
                let words = self.sought.stems().iter();
                words.filter(|word| has_word(&text.words, word)).count() >= *needed
            }
            Rule::Like(expression) => self.is_like(text, expression),
        }
    }

    /// Whether there is anything in it that says something.
    fn finds(&self, expression: &TextExpression) -> bool {
        match expression {
            TextExpression::All(parts) | TextExpression::Any(parts) => {
                parts.iter().any(|part| self.finds(part))
            }
            TextExpression::Not(_) => false,
            TextExpression::Words(_, text) | TextExpression::Phrase(_, text) => {
                self.analyzer.stems(text).next().is_some()
            }
            TextExpression::Prefix(text) => self.analyzer.words(text).next().is_some(),
            TextExpression::KeyPrefix(_) | TextExpression::Tag(_) => true,
        }
    }

    fn is_like(&self, text: &MemoryText, expression: &TextExpression) -> bool {
        match expression {
            // What says nothing is not asked for.
            TextExpression::All(parts) => parts.iter().all(|part| match part {
                TextExpression::Not(part) => !self.is_like(text, part),
                part => !self.finds(part) || self.is_like(text, part),
            }),
            TextExpression::Any(parts) => parts.iter().any(|part| self.is_like(text, part)),
            TextExpression::Not(_) => false,
            TextExpression::Words(field, words) => {
                let mut stems = self.analyzer.stems(words);
                self.finds(expression) && stems.all(|stem| has_word(text.words(*field), &stem))
            }
            TextExpression::Phrase(field, words) => self.has_phrase(text.words(*field), words),
            TextExpression::Prefix(beginning) => {
                let mut words: Vec<String> = self
                    .analyzer
                    .words(beginning)
                    .map(|word| word.exact)
                    .collect();
                words.pop().is_some_and(|last| {
                    let is_there = |wanted: &String| text.words.iter().any(|w| w.exact == *wanted);
                    words.iter().all(is_there)
                        && text.words.iter().any(|word| word.exact.starts_with(&last))
                })
            }
            TextExpression::KeyPrefix(prefix) => text.key.starts_with(prefix.as_bytes()),
            TextExpression::Tag(tag) => text.tags.contains(tag),
        }
    }

    /// Whether these words stand side by side. In the place of a word that says nothing may be
    /// any.
    fn has_phrase(&self, words: &[TextWord], phrase: &str) -> bool {
        let phrase = self.analyzer.words(phrase);
        let phrase: Vec<(usize, String)> = phrase
            .filter_map(|word| Some((word.position, word.stem?)))
            .collect();
        let Some((first, _)) = phrase.first() else {
            return false;
        };
        let placed: BTreeMap<usize, &TextWord> =
            words.iter().map(|word| (word.position, word)).collect();
        placed.keys().any(|from| {
            phrase.iter().all(|(position, stem)| {
                let word = placed.get(&(from + position - first));
                word.is_some_and(|word| word.stem.as_ref() == Some(stem))
            })
        })
    }
}

fn has_word(words: &[TextWord], stem: &String) -> bool {
    words.iter().any(|word| word.stem.as_ref() == Some(stem))
}
