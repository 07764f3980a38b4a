//! The meaning of a text that may be long: a vector for each chunk of it.

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use super::Embedding;
use crate::limits::INDEX_CHUNKS_MAX;

/// Between 1 and [`INDEX_CHUNKS_MAX`] vectors of one dimension, in the order of their chunks.
#[derive(Clone, PartialEq, Debug, Encode)]
pub struct Embeddings(Vec<Embedding>);

/// The vectors are not those of one text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EmbeddingsError {
    /// There are none.
    #[error("a text must have at least one vector")]
    Empty,
    /// There are too many.
    #[error("a text may have {INDEX_CHUNKS_MAX} vectors at most, this one has {0}")]
    TooMany(usize),
    /// They are of different models.
    #[error("a text's vectors should all have {expected} dimensions, one has {found}")]
    Dimension {
        /// Of the first vector.
        expected: usize,
        /// Of another.
        found: usize,
    },
}

impl Embeddings {
    /// Checks and takes the vectors.
    ///
    /// # Errors
    /// [`EmbeddingsError`] if there are none or too many, or their dimensions differ.
    pub fn new(vectors: Vec<Embedding>) -> Result<Embeddings, EmbeddingsError> {
        if vectors.len() > INDEX_CHUNKS_MAX {
            return Err(EmbeddingsError::TooMany(vectors.len()));
        }
        let expected = vectors.first().ok_or(EmbeddingsError::Empty)?.dim();
        let mut dims = vectors.iter().map(Embedding::dim);
        match dims.find(|dim| *dim != expected) {
            Some(found) => Err(EmbeddingsError::Dimension { expected, found }),
            None => Ok(Embeddings(vectors)),
        }
    }

    /// The vectors; at least one.
    pub fn as_slice(&self) -> &[Embedding] {
        &self.0
    }

    /// How many dimensions each has.
    pub fn dim(&self) -> usize {
        self.0.first().map_or(0, Embedding::dim)
    }
}

impl From<Embedding> for Embeddings {
    fn from(vector: Embedding) -> Embeddings {
        Embeddings(vec![vector])
    }
}

impl<Context> Decode<Context> for Embeddings {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Embeddings::new(Vec::<Embedding>::decode(decoder)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(Embeddings);

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> Embedding {
        Embedding::new(values.to_vec()).expect("finite")
    }

    #[test]
    fn what_is_decoded_is_checked() {
        let config = bincode::config::standard();
        let one = vector(&[1.0, 0.0]);
        for (vectors, is_good) in [
            (vec![], false),
            (vec![one.clone()], true),
            (vec![one.clone(), vector(&[0.0, 1.0])], true),
            (vec![one.clone(), vector(&[1.0])], false),
            (vec![one.clone(); INDEX_CHUNKS_MAX + 1], false),
        ] {
            let bytes = bincode::encode_to_vec(&vectors, config).expect("encodes");
            let decoded = bincode::decode_from_slice::<Embeddings, _>(&bytes, config);
            assert_eq!(decoded.is_ok(), is_good, "{} vectors", vectors.len());
            assert_eq!(Embeddings::new(vectors).is_ok(), is_good);
        }
    }
}
