//! A deterministic embedder without a model: a feature-hashed bag of words (Weinberger et al.
//! 2009, without the random sign). Texts that share words are similar, others are not. For tests
//! and simulations: it knows nothing of meaning.

use xxhash_rust::xxh3::xxh3_64;

use super::{Embedding, EmbeddingError, ModelId, is_stop_word, plain_words};
use crate::types::TextLanguage;

/// The embedder of tests and simulations. Stateless.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashEmbedder;

impl HashEmbedder {
    /// Dimensions of its vectors. A power of two, so that the hash is cut without bias.
    pub const DIM: usize = 256;

    /// Which model its vectors are of.
    pub fn id() -> ModelId {
        ModelId::new("hash/words-256-v1").expect("the name is short")
    }

    /// The vector of a text: one dimension per hashed word, weighted by the root of its count.
    ///
    /// # Errors
    /// [`EmbeddingError::Zero`] if the text has no words.
    pub fn embed(text: &str) -> Result<Embedding, EmbeddingError> {
        let mut counts = vec![0.0_f32; Self::DIM];
        let words: Vec<String> = plain_words(text).collect();
        // Text of stop words alone still differs from other text.
        let says = |word: &&String| !is_stop_word(TextLanguage::English, word);
        let meaningful = words.iter().any(|word| says(&word));
        for word in words.iter().filter(|word| !meaningful || says(word)) {
            let place = usize::try_from(xxh3_64(word.as_bytes()) % 256).unwrap_or_default();
            if let Some(count) = counts.get_mut(place) {
                *count += 1.0;
            }
        }
        Embedding::new(counts.into_iter().map(f32::sqrt).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(left: &str, right: &str) -> f32 {
        let embed = |text| HashEmbedder::embed(text).expect("has words");
        embed(left).cosine(&embed(right)).expect("same dimension")
    }

    #[test]
    fn shared_words_make_texts_similar() {
        let text = "Rust is a programming language";
        assert!(similarity(text, "programming in the RUST language") > 0.9);
        assert!(similarity(text, "a cat sat on a mat") < 0.1);
        assert!(similarity("the", "the") > 0.99);
    }

    #[test]
    fn text_without_words_has_no_vector() {
        assert_eq!(HashEmbedder::embed(""), Err(EmbeddingError::Zero));
        assert_eq!(HashEmbedder::embed(" ... "), Err(EmbeddingError::Zero));
    }

    #[test]
    fn vectors_never_change() {
        let vector = HashEmbedder::embed("golden text").expect("has words");
        let places: Vec<usize> = (0..HashEmbedder::DIM)
            .filter(|place| {
                vector
                    .as_slice()
                    .get(*place)
                    .is_some_and(|value| *value > 0.0)
            })
            .collect();
        assert_eq!(places, [17, 34]);
    }
}
