//! How a text falls into the words by which it is found. The same rules hold for entries, for
//! queries, and for what is highlighted.

use std::ops::Range;

use frostem::{Algorithm, Stemmer};

use super::stop_words::is_stop_word;
use super::text_fold::{fold, is_word, lower};
use crate::types::TextLanguage;

/// Longest word in bytes. Longer ones are noise, such as encoded data.
const WORD_BYTES_MAX: usize = 127;

/// One word of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextWord {
    /// The how many-th word of the text it is, from 0.
    pub position: usize,
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// The whole word, in lower case and without accents.
    pub exact: String,
    /// Its stem, without accents. None: it says nothing, as "the" does.
    pub stem: Option<String>,
}

/// The rules of one language.
pub struct TextAnalyzer {
    language: TextLanguage,
    stemmer: Option<Stemmer>,
}

impl TextAnalyzer {
    /// The rules of a language.
    pub fn new(language: TextLanguage) -> TextAnalyzer {
        TextAnalyzer {
            language,
            stemmer: algorithm(language).map(Stemmer::new),
        }
    }

    /// The words of a text in order: runs of letters and digits. Those that are too long are
    /// passed over.
    pub fn words<'a>(&'a self, text: &'a str) -> impl Iterator<Item = TextWord> + 'a {
        runs(text)
            .enumerate()
            .filter_map(|(position, range)| self.word(position, range.clone(), text.get(range)?))
    }

    /// The stems of a text in order, without words that say nothing.
    pub fn stems<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        self.words(text).filter_map(|word| word.stem)
    }

    fn word(&self, position: usize, range: Range<usize>, written: &str) -> Option<TextWord> {
        // Folding at most triples a word.
        if written.len() > 3 * WORD_BYTES_MAX {
            return None;
        }
        let lower = lower(written);
        let exact = fold(&lower);
        if exact.is_empty() || exact.len() > WORD_BYTES_MAX {
            return None;
        }
        // In English an accent is foreign; elsewhere endings are known by theirs.
        let known = match self.language {
            TextLanguage::English => exact.as_str(),
            _ => lower.as_str(),
        };
        let says = !is_stop_word(self.language, known);
        let stem = says.then(|| match &self.stemmer {
            Some(stemmer) => fold(&stemmer.stem(known)),
            None => exact.clone(),
        });
        Some(TextWord {
            position,
            range,
            stem: stem.filter(|stem| !stem.is_empty()),
            exact,
        })
    }
}

/// Where the runs of letters and digits are.
fn runs(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let rest = text.get(from..)?;
        let start = from + rest.find(is_word)?;
        let run = text.get(start..)?;
        let end = start + run.find(|c| !is_word(c)).unwrap_or(run.len());
        from = end;
        Some(start..end)
    })
}

fn algorithm(language: TextLanguage) -> Option<Algorithm> {
    Some(match language {
        TextLanguage::Plain => return None,
        TextLanguage::Arabic => Algorithm::Arabic,
        TextLanguage::Danish => Algorithm::Danish,
        TextLanguage::Dutch => Algorithm::Dutch,
        TextLanguage::English => Algorithm::English,
        TextLanguage::Finnish => Algorithm::Finnish,
        TextLanguage::French => Algorithm::French,
        TextLanguage::German => Algorithm::German,
        TextLanguage::Greek => Algorithm::Greek,
        TextLanguage::Hungarian => Algorithm::Hungarian,
        TextLanguage::Italian => Algorithm::Italian,
        TextLanguage::Norwegian => Algorithm::Norwegian,
        TextLanguage::Portuguese => Algorithm::Portuguese,
        TextLanguage::Romanian => Algorithm::Romanian,
        TextLanguage::Russian => Algorithm::Russian,
        TextLanguage::Spanish => Algorithm::Spanish,
        TextLanguage::Swedish => Algorithm::Swedish,
        TextLanguage::Tamil => Algorithm::Tamil,
        TextLanguage::Turkish => Algorithm::Turkish,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stems(language: TextLanguage, text: &str) -> Vec<String> {
        TextAnalyzer::new(language).stems(text).collect()
    }

    #[test]
    fn words_are_folded_and_cut_to_their_stem() {
        let english = |text: &str| stems(TextLanguage::English, text);
        assert_eq!(english("Programming the PROGRAMS"), ["program", "program"]);
        assert_eq!(
            english("Crème brûlée, Ｗｉｄｅ"),
            ["creme", "brule", "wide"]
        );
        assert_eq!(english("user_id:42"), ["user", "id", "42"]);
        assert!(english("the of and").is_empty());
        assert_eq!(english(&"x".repeat(WORD_BYTES_MAX)).len(), 1);
        assert!(english(&"x".repeat(WORD_BYTES_MAX + 1)).is_empty());
    }

    #[test]
    fn each_language_has_its_own_forms() {
        for (language, one, other) in [
            (TextLanguage::German, "Häuser", "das Haus"),
            (TextLanguage::French, "les chevaux", "CHEVAL"),
            (TextLanguage::Spanish, "canciones", "la canción"),
            (TextLanguage::Russian, "книги", "книга"),
            (TextLanguage::Swedish, "bilarna", "bilar"),
            (TextLanguage::Finnish, "taloissa", "talo"),
            (TextLanguage::Turkish, "kitaplar", "kitap"),
        ] {
            assert_eq!(stems(language, one), stems(language, other), "{language:?}");
            assert_eq!(stems(language, one).len(), 1, "{language:?}");
        }
        assert_eq!(stems(TextLanguage::Plain, "the Häuser"), ["the", "hauser"]);
        assert_ne!(
            stems(TextLanguage::English, "Häuser"),
            stems(TextLanguage::English, "Haus")
        );
    }

    #[test]
    fn words_know_where_they_stand() {
        let analyzer = TextAnalyzer::new(TextLanguage::English);
        let text = "«The größe» runs";
        let words: Vec<TextWord> = analyzer.words(text).collect();
        let written: Vec<&str> = words.iter().map(|word| &text[word.range.clone()]).collect();
        assert_eq!(written, ["The", "größe", "runs"]);
        let exact: Vec<&str> = words.iter().map(|word| word.exact.as_str()).collect();
        assert_eq!(exact, ["the", "grosse", "runs"]);
        assert_eq!(words[0].stem, None);
        assert_eq!(
            (words[2].position, words[2].stem.as_deref()),
            (2, Some("run"))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,60}") {
            for (language, _) in TextLanguage::ALL {
                for word in TextAnalyzer::new(language).words(&text) {
                    prop_assert!(text.get(word.range).is_some());
                    prop_assert!(word.exact.len() <= WORD_BYTES_MAX);
                }
            }
        }
    }
}
