//! What of an entry is indexed: its words, and the text whose meaning is embedded.

use super::json_text::{Scalar, field_scalars, scalars};
use super::key_words::{key_parts, key_words};
use super::text_chunks::text_chunks;
use crate::limits::{INDEX_MEANING_BYTES_MAX, INDEX_WORDS_BYTES_MAX};
use crate::types::IndexSource as Source;

/// The text of one entry, cut to [`INDEX_WORDS_BYTES_MAX`] and [`INDEX_MEANING_BYTES_MAX`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexedText {
    /// For the full-text index. Empty: nothing to find it by.
    pub words: String,
    /// For the embedder, in chunks. Empty: it has no meaning that could be embedded.
    pub meaning: Vec<String>,
}

impl IndexedText {
    /// Takes the text out of an entry. Keys are split into words; JSON documents are flattened to
    /// their strings, numbers and booleans count as words but carry no meaning; other UTF-8 is
    /// taken as it is; of binary values only the key is indexed.
    pub fn from_entry(source: &Source, key: &[u8], value: &[u8]) -> IndexedText {
        IndexedText::without_field(source, key, value, None)
    }

    /// As [`IndexedText::from_entry`], but for one field of a JSON object.
    pub(super) fn without_field(
        source: &Source,
        key: &[u8],
        value: &[u8],
        left_out: Option<&str>,
    ) -> IndexedText {
        let value_text = std::str::from_utf8(value)
            .ok()
            .filter(|text| !text.contains('\0'));
        let with_value = *source != Source::Key;
        let (with_key, field) = match source {
            Source::Key | Source::Both => (true, None),
            Source::Value => (value_text.is_none(), None),
            Source::Field(field) => (false, Some(field.as_str())),
        };
        let mut words = Bounded::new(INDEX_WORDS_BYTES_MAX);
        let mut meaning = Bounded::new(INDEX_MEANING_BYTES_MAX);
        if with_key {
            add_key(&String::from_utf8_lossy(key), &mut words, &mut meaning);
        }
        if let Some(text) = value_text.filter(|_| with_value) {
            let (words_before, meaning_before) = (words.text.len(), meaning.text.len());
            let mut report = |scalar: Scalar<'_>| match scalar {
                Scalar::Text(text) => {
                    words.add(text, " ");
                    meaning.add(text, ", ");
                }
                Scalar::Number(number) => words.add(&number, " "),
                Scalar::Bool(value) => words.add(if value { "true" } else { "false" }, " "),
            };
            let document = match field {
                Some(field) => field_scalars(text, field, &mut report),
                None => scalars(text, left_out, &mut report),
            };
            if !document {
                words.text.truncate(words_before);
                meaning.text.truncate(meaning_before);
                if field.is_none() {
                    words.add(text, " ");
                    meaning.add(text, ": ");
                }
            }
        }
        IndexedText {
            words: words.text,
            meaning: text_chunks(&meaning.text),
        }
    }
}

fn add_key(key: &str, words: &mut Bounded, meaning: &mut Bounded) {
    for word in key_words(key) {
        words.add(word, " ");
        meaning.add(word, " ");
    }
    // Who searches for `homeAddress` means that very name: it must be found whole as well.
    for part in key_parts(key) {
        if key_words(part).nth(1).is_some() {
            words.add(part, " ");
        }
    }
}

/// Text that stops growing at a bound, at the end of a character.
struct Bounded {
    text: String,
    bytes_max: usize,
}

impl Bounded {
    fn new(bytes_max: usize) -> Bounded {
        Bounded {
            text: String::new(),
            bytes_max,
        }
    }

    fn add(&mut self, piece: &str, separator: &str) {
        let piece = piece.trim();
        if piece.is_empty() {
            return;
        }
        let separator = if self.text.is_empty() { "" } else { separator };
        let Some(room) = self
            .bytes_max
            .checked_sub(self.text.len() + separator.len())
        else {
            return;
        };
        let mut end = room.min(piece.len());
        while !piece.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, _) = piece.split_at(end);
        if !piece.is_empty() {
            self.text.push_str(separator);
            self.text.push_str(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::INDEX_CHUNKS_MAX;

    fn text(source: Source, key: &str, value: &[u8]) -> (String, String) {
        let text = IndexedText::from_entry(&source, key.as_bytes(), value);
        (text.words, text.meaning.concat())
    }

    #[test]
    fn each_source_and_kind_of_value_gives_its_text() {
        let json = br#"{"name": "Ada", "born": 1815, "member": true}"#;
        for (source, key, value, words, meaning) in [
            (
                Source::Both,
                "user:1",
                &b"likes tea"[..],
                "user 1 likes tea",
                "user 1: likes tea",
            ),
            (Source::Key, "user:1", b"likes tea", "user 1", "user 1"),
            (
                Source::Value,
                "user:1",
                b"likes tea",
                "likes tea",
                "likes tea",
            ),
            (Source::Both, "u", json, "u Ada 1815 true", "u, Ada"),
            (Source::Value, "u", json, "Ada 1815 true", "Ada"),
            (
                Source::Both,
                "u",
                b"{\"a\": \"lost\", oops",
                "u {\"a\": \"lost\", oops",
                "u: {\"a\": \"lost\", oops",
            ),
            (
                Source::Value,
                "binKey",
                b"\xff\xfe",
                "bin Key binKey",
                "bin Key",
            ),
            (Source::Both, "bin", b"a\0b", "bin", "bin"),
            (Source::Value, "u", b" ... ", "...", ""),
            (Source::Both, ":::", b"", "", ""),
        ] {
            let expected = (words.to_owned(), meaning.to_owned());
            assert_eq!(text(source, key, value), expected, "{key} {value:?}");
        }
    }

    #[test]
    fn of_a_field_s_document_only_that_field_is_indexed() {
        let field = || Source::Field("prompt".into());
        for (value, words) in [
            (
                &br#"{"answer": "A", "prompt": "the question"}"#[..],
                "the question",
            ),
            (
                br#"{"prompt": ["one", {"prompt": "two"}], "x": 1}"#,
                "one two",
            ),
            (br#"{"answer": {"prompt": "nested"}}"#, ""),
            (br#"{"prompt": "lost", oops"#, ""),
            (br#"["prompt"]"#, ""),
            (b"prompt", ""),
            (b"\xff\xfe", ""),
        ] {
            let (found, meaning) = text(field(), "user:1", value);
            assert_eq!(found, words, "{value:?}");
            assert_eq!(meaning.replace(", ", " "), words, "{value:?}");
        }
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let value = "é".repeat(INDEX_WORDS_BYTES_MAX);
        let (words, meaning) = text(Source::Both, "k", value.as_bytes());
        assert!((INDEX_WORDS_BYTES_MAX - 2..=INDEX_WORDS_BYTES_MAX).contains(&words.len()));
        assert!(meaning.len() >= INDEX_MEANING_BYTES_MAX - 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(key in any::<Vec<u8>>(), value in any::<Vec<u8>>()) {
            let field = Source::Field("f".into());
            for source in [Source::Key, Source::Value, Source::Both, field] {
                let text = IndexedText::from_entry(&source, &key, &value);
                prop_assert!(text.words.len() <= INDEX_WORDS_BYTES_MAX);
                prop_assert!(text.meaning.len() <= INDEX_CHUNKS_MAX);
            }
        }
    }
}
