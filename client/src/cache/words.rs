//! The word-level check between a prompt and a stored one that looks alike.
//!
//! Embeddings say what a text is *about*: "how do I enable X" and "how do I disable X" are about
//! the same thing, and their vectors nearly agree. What turns an answer into a wrong one is often a
//! single word, and words can be compared. The check errs on the careful side: a cached answer that
//! is not used costs a computation, one that is used wrongly costs trust.

use std::fmt;

use super::opposites::{DIRECTIONS, NEGATIONS, NUMBERS, OPPOSITES, PREFIXES};

/// Why two prompts must not share an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Difference {
    /// Their numbers differ.
    Numbers,
    /// One denies something that the other does not.
    Negation,
    /// One has a word whose opposite the other has.
    Opposite(String, String),
    /// They have the same words, but in another order about a direction or comparison.
    Order,
    /// One has a name or symbol that the other lacks.
    Name(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Numbers => f.write_str("their numbers differ"),
            Difference::Negation => f.write_str("one denies what the other does not"),
            Difference::Opposite(asked, stored) => {
                write!(f, "{asked:?} is the opposite of {stored:?}")
            }
            Difference::Order => f.write_str("they have the same words in another order"),
            Difference::Name(name) => write!(f, "only one has {name:?}"),
        }
    }
}

/// Looks for a reason not to answer `asked` with the answer to `stored`, however alike they look.
/// Knows English only; in other languages it compares numbers, names and symbols.
///
/// ```
/// use engram_client::cache::{Difference, difference};
///
/// let found = difference("How do I enable the cache?", "How do I disable the cache?");
/// assert!(matches!(found, Some(Difference::Opposite(..))));
/// assert_eq!(difference("How do I enable the cache?", "How can I enable caching?"), None);
/// ```
pub fn difference(asked: &str, stored: &str) -> Option<Difference> {
    let (asked, stored) = (Words::of(asked), Words::of(stored));
    if asked.numbers != stored.numbers {
        return Some(Difference::Numbers);
    }
    // Before negations: "with" and "without" are best told by name.
    if let Some((one, other)) = opposite(&asked, &stored) {
        return Some(Difference::Opposite(one, other));
    }
    if asked.negations != stored.negations {
        return Some(Difference::Negation);
    }
    let missing = asked.missing_name(&stored);
    if let Some(name) = missing.or_else(|| stored.missing_name(&asked)) {
        return Some(Difference::Name(name));
    }
    is_reordered(&asked, &stored).then_some(Difference::Order)
}

/// What the check looks at.
#[derive(Debug, Default)]
struct Words {
    /// In lower case, in order, without numbers.
    words: Vec<String>,
    /// Stems of the same, in order.
    stems: Vec<String>,
    /// Sorted.
    numbers: Vec<String>,
    /// How often something is denied.
    negations: usize,
    /// Names and symbols, in lower case.
    names: Vec<String>,
}

impl Words {
    fn of(text: &str) -> Words {
        let tokens = tokens(text);
        let capitals = tokens.iter().filter(|token| token.is_capital()).count();
        // In headlines and shouting, capitals mean nothing.
        let with_names = 2 * capitals <= tokens.len().max(3);
        let mut words = Words::default();
        for token in tokens {
            let word = token.text.to_lowercase().replace('\u{2019}', "'");
            if let Some(number) = number(&word) {
                words.numbers.push(number);
                continue;
            }
            if !token.text.contains(char::is_alphanumeric) {
                words.names.push(word);
                continue;
            }
            let is_denial = word.ends_with("n't") || NEGATIONS.contains(&word.as_str());
            words.negations += usize::from(is_denial);
            if with_names && token.is_name() {
                words.names.push(word.clone());
            }
            words.stems.push(stem(&word));
            words.words.push(word);
        }
        words.numbers.sort();
        words
    }

    fn has(&self, stem: &str) -> bool {
        self.stems.iter().any(|own| own == stem)
    }

    /// A name that the other does not have, however it writes it.
    fn missing_name(&self, other: &Words) -> Option<String> {
        let has = |name: &String| other.words.contains(name) || other.names.contains(name);
        self.names.iter().find(|name| !has(name)).cloned()
    }
}

struct Token<'a> {
    text: &'a str,
    begins_sentence: bool,
}

impl Token<'_> {
    fn is_capital(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }

    /// Whether it is written like a name: "Paris" within a sentence, "SQL" anywhere, "C++".
    fn is_name(&self) -> bool {
        let is_pronoun = self.text == "I"
            || ["I'", "I\u{2019}"]
                .iter()
                .any(|start| self.text.starts_with(start));
        let is_marked = self.text.ends_with(['+', '#']);
        let later_capital = self.text.chars().skip(1).any(char::is_uppercase);
        let is_capital = self.is_capital() && !self.begins_sentence;
        !is_pronoun && (is_marked || later_capital || is_capital)
    }
}

/// Splits text into words, numbers and runs of comparison symbols.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut begins_sentence = true;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = token_length(rest, first);
        if length == 0 {
            begins_sentence |= matches!(first, '.' | '?' | '!' | ':' | '\n');
            rest = rest.get(first.len_utf8()..).unwrap_or("");
            continue;
        }
        let (text, after) = rest.split_at(length);
        found.push(Token {
            text,
            begins_sentence,
        });
        begins_sentence = false;
        rest = after;
    }
    found
}

/// How many bytes the token at the beginning of `text` has; 0 if none begins there.
fn token_length(text: &str, first: char) -> usize {
    const SYMBOLS: &[char] = &['<', '>', '=', '&', '|', '*', '%', '$', '€'];
    if SYMBOLS.contains(&first) {
        return text.find(|c| !SYMBOLS.contains(&c)).unwrap_or(text.len());
    }
    let second = text.chars().nth(1);
    let is_negative = first == '-' && second.is_some_and(|c| c.is_ascii_digit());
    if !first.is_alphanumeric() && !is_negative {
        return 0;
    }
    let mut length = first.len_utf8();
    let mut previous = first;
    let mut coming = text.chars().skip(1).peekable();
    while let Some(c) = coming.next() {
        let next = coming.peek().copied();
        let joins = match c {
            '\'' | '\u{2019}' => next.is_some_and(char::is_alphabetic),
            '.' | ',' => previous.is_ascii_digit() && next.is_some_and(|c| c.is_ascii_digit()),
            '+' | '#' => next.is_none_or(|next| !next.is_alphanumeric()),
            c => c.is_alphanumeric(),
        };
        if !joins {
            break;
        }
        length += c.len_utf8();
        previous = c;
    }
    length
}

/// The number that a word stands for, if it has a digit or is a number in words.
fn number(word: &str) -> Option<String> {
    if word.contains(|c: char| c.is_ascii_digit()) {
        return Some(word.replace(',', ""));
    }
    let named = NUMBERS.iter().find(|(name, _)| *name == word);
    named.map(|(_, digits)| (*digits).to_owned())
}

/// A word without its ending, so that "enabled", "enabling" and "enables" are alike. Crude, but
/// the same for all.
fn stem(word: &str) -> String {
    let word = word.split('\'').next().unwrap_or_default();
    let cut = |ending: &str| {
        word.strip_suffix(ending)
            .filter(|rest| rest.chars().count() >= 3)
    };
    let plural = cut("s").filter(|rest| !rest.ends_with('s'));
    let rest = cut("ing").or_else(|| cut("ed")).or_else(|| cut("es"));
    let mut stem = rest.or(plural).unwrap_or(word).to_owned();
    if stem.len() > 3 && stem.ends_with('e') {
        stem.pop();
    }
    let mut ending = stem.chars().rev();
    if let (Some(last), Some(before)) = (ending.next(), ending.next())
        && last == before
    {
        stem.pop();
    }
    stem
}

/// A word of one and its opposite in the other.
fn opposite(asked: &Words, stored: &Words) -> Option<(String, String)> {
    for (one, other) in OPPOSITES {
        let (one_stem, other_stem) = (stem(one), stem(other));
        let only = |words: &Words, has: &str, lacks: &str| words.has(has) && !words.has(lacks);
        if only(asked, &one_stem, &other_stem) && only(stored, &other_stem, &one_stem) {
            return Some(((*one).to_owned(), (*other).to_owned()));
        }
        if only(asked, &other_stem, &one_stem) && only(stored, &one_stem, &other_stem) {
            return Some(((*other).to_owned(), (*one).to_owned()));
        }
    }
    let only_in = |words: &Words, other: &Words| -> Vec<String> {
        let own = words.stems.iter().filter(|stem| !other.has(stem));
        own.cloned().collect()
    };
    let (asked_only, stored_only) = (only_in(asked, stored), only_in(stored, asked));
    for one in &asked_only {
        for other in &stored_only {
            if is_negated(one, other) || is_negated(other, one) {
                return Some((one.clone(), other.clone()));
            }
        }
    }
    None
}

/// Whether `long` is `short` with a beginning that turns it around.
fn is_negated(short: &str, long: &str) -> bool {
    let beginning = long.strip_suffix(short);
    short.chars().count() >= 3 && beginning.is_some_and(|start| PREFIXES.contains(&start))
}

/// Whether both have the same words in another order, and one of them makes order matter.
fn is_reordered(asked: &Words, stored: &Words) -> bool {
    let directed = |words: &Words| {
        let mut all = words.words.iter();
        all.any(|word| DIRECTIONS.contains(&word.as_str()))
    };
    let sorted = |words: &Words| {
        let mut stems = words.stems.clone();
        stems.sort();
        stems
    };
    let names_moved = asked.names.len() > 1 && asked.names != stored.names;
    asked.stems != stored.stems
        && sorted(asked) == sorted(stored)
        && (names_moved || directed(asked))
}

#[cfg(test)]
mod tests;
