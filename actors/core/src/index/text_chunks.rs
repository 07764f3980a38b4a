//! Long text in pieces that an embedding model reads as a whole.

use crate::limits::{INDEX_CHUNK_BYTES, INDEX_CHUNK_OVERLAP_BYTES, INDEX_CHUNKS_MAX};

/// A chunk ends in the last part of its room, one in so many, if there is a good place.
const END_PART: usize = 4;

/// Splits a text into chunks of [`INDEX_CHUNK_BYTES`] at most, [`INDEX_CHUNKS_MAX`] of them at most.
/// Each but the first begins with the end of the one before, so that what is said across their
/// border is in one of them. They end where a sentence ends, or a word, if possible. Text without
/// letters or digits is left out: it means nothing, and models refuse it.
pub(super) fn text_chunks(text: &str) -> Vec<String> {
    let mut chunks = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && chunks.len() < INDEX_CHUNKS_MAX {
        let end = chunk_end(rest);
        let (chunk, after) = rest.split_at(end);
        if chunk.contains(char::is_alphanumeric) {
            chunks.push(chunk.trim().to_owned());
        }
        if after.is_empty() {
            break;
        }
        let (_, next) = rest.split_at(overlap_start(chunk));
        rest = next;
    }
    chunks
}

/// Where the first chunk of a text ends.
fn chunk_end(text: &str) -> usize {
    if text.len() <= INDEX_CHUNK_BYTES {
        return text.len();
    }
    let most = boundary(text, INDEX_CHUNK_BYTES);
    let least = boundary(text, INDEX_CHUNK_BYTES - INDEX_CHUNK_BYTES / END_PART);
    let Some(room) = text.get(least..most) else {
        return most;
    };
    let mut after_word = None;
    let mut after_sentence = None;
    let mut previous = ' ';
    for (place, letter) in room.char_indices() {
        if letter.is_whitespace() {
            after_word = Some(place);
            if matches!(previous, '.' | '!' | '?' | '。') || letter == '\n' {
                after_sentence = Some(place);
            }
        }
        previous = letter;
    }
    after_sentence
        .or(after_word)
        .map_or(most, |place| least + place)
}

/// The last place between two characters up to a place.
fn boundary(text: &str, most: usize) -> usize {
    let mut place = most.min(text.len());
    while !text.is_char_boundary(place) {
        place -= 1;
    }
    place
}

/// Where in a chunk the next one begins.
fn overlap_start(chunk: &str) -> usize {
    let start = boundary(chunk, chunk.len().saturating_sub(INDEX_CHUNK_OVERLAP_BYTES));
    let overlap = chunk.get(start..).unwrap_or_default();
    let word = overlap.find(char::is_whitespace);
    start + word.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::INDEX_MEANING_BYTES_MAX;

    #[test]
    fn short_text_is_one_chunk() {
        assert_eq!(text_chunks("user 1: likes tea"), ["user 1: likes tea"]);
        assert!(text_chunks(" ... ").is_empty());
        assert!(text_chunks("").is_empty());
    }

    #[test]
    fn chunks_end_with_sentences_and_overlap() {
        let sentence = "The quick brown fox jumps over the lazy dog again. ";
        let text = sentence.repeat(20);
        let chunks = text_chunks(&text);
        assert_eq!(chunks.len(), 3);
        for chunk in &chunks {
            assert!(chunk.ends_with("again."), "{chunk}");
            assert!(chunk.len() <= INDEX_CHUNK_BYTES);
        }
        for pair in chunks.windows(2) {
            let begin: String = pair[1].chars().take(40).collect();
            assert!(pair[0].contains(&begin), "{begin} is in both");
        }
    }

    #[test]
    fn text_without_spaces_is_cut_at_characters() {
        let text = "é".repeat(INDEX_MEANING_BYTES_MAX / 2);
        let chunks = text_chunks(&text);
        assert!(chunks.len() > 10);
        assert!(chunks.iter().all(|chunk| chunk.chars().all(|c| c == 'é')));
    }

    proptest! {
        #[test]
        fn nothing_within_the_bound_is_lost(words in proptest::collection::vec("[a-zé0-9]{1,30}[.!]?", 0..400)) {
            let mut text = words.join(" ");
            text.truncate(boundary(&text, INDEX_MEANING_BYTES_MAX));
            let chunks = text_chunks(&text);
            prop_assert!(chunks.len() <= INDEX_CHUNKS_MAX);
            prop_assert!(chunks.iter().all(|chunk| chunk.len() <= INDEX_CHUNK_BYTES));
            // Every word is whole in some chunk.
            for word in text.split(' ').filter(|word| !word.is_empty()) {
                prop_assert!(chunks.iter().any(|chunk| chunk.contains(word)), "{}", word);
            }
        }

        #[test]
        fn any_text_is_taken(text in any::<String>(), times in 1_usize..200) {
            for chunk in text_chunks(&text.repeat(times)) {
                prop_assert!(chunk.contains(char::is_alphanumeric));
                prop_assert!(chunk.len() <= INDEX_CHUNK_BYTES);
            }
        }
    }
}
