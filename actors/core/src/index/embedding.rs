//! A text's meaning as a unit vector.

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use engram_kernels::dot;

use crate::limits::EMBEDDING_DIM_MAX;

/// How far the squared length of a received vector may be from 1. Models round in single
/// precision; anything farther off was never normalised.
const UNIT_TOLERANCE: f64 = 1e-3;

/// A unit vector `[dim]` of finite numbers, `dim` between 1 and [`EMBEDDING_DIM_MAX`]. The dot
/// product of two of them is the cosine of their angle.
#[derive(Clone, PartialEq, Debug, Encode)]
pub struct Embedding(Vec<f32>);

/// The numbers are not an embedding.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum EmbeddingError {
    /// There are none.
    #[error("an embedding must have at least one dimension")]
    Empty,
    /// There are too many.
    #[error("an embedding may have {EMBEDDING_DIM_MAX} dimensions at most, this one has {0}")]
    TooManyDimensions(usize),
    /// One of them is NaN or infinite.
    #[error("dimension {0} of the embedding is not a finite number")]
    NotFinite(usize),
    /// All of them are zero, so that the vector has no direction.
    #[error("the embedding has no direction: its length is zero")]
    Zero,
    /// The vector should have length 1.
    #[error("the embedding should have length 1, its squared length is {0}")]
    NotUnit(f64),
}

impl Embedding {
    /// Checks the numbers and scales them to length 1.
    ///
    /// # Errors
    /// [`EmbeddingError`] if there are none or too many, or they are not finite or all zero.
    pub fn new(mut values: Vec<f32>) -> Result<Embedding, EmbeddingError> {
        let squared = squared_length(&values)?;
        // Below this the reciprocal would lose the direction in rounding or overflow.
        if squared < f64::from(f32::MIN_POSITIVE) {
            return Err(EmbeddingError::Zero);
        }
        let scale = 1.0 / squared.sqrt();
        for value in &mut values {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding is what is wanted"
            )]
            let scaled = (f64::from(*value) * scale) as f32;
            *value = scaled;
        }
        Ok(Embedding(values))
    }

    /// Takes numbers that already have length 1, bit by bit: what was stored or sent.
    ///
    /// # Errors
    /// [`EmbeddingError`] if they are not a unit vector.
    pub fn from_unit(values: Vec<f32>) -> Result<Embedding, EmbeddingError> {
        let squared = squared_length(&values)?;
        if (squared - 1.0).abs() > UNIT_TOLERANCE {
            return Err(EmbeddingError::NotUnit(squared));
        }
        Ok(Embedding(values))
    }

    /// The numbers, `[dim]`.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// How many dimensions it has.
    pub fn dim(&self) -> usize {
        self.0.len()
    }

    /// Cosine similarity between −1 and 1, up to rounding; `None` if the dimensions differ.
    pub fn cosine(&self, other: &Embedding) -> Option<f32> {
        (self.dim() == other.dim()).then(|| dot(&self.0, &other.0))
    }
}

/// The squared length in double precision, after the checks that all embeddings share.
fn squared_length(values: &[f32]) -> Result<f64, EmbeddingError> {
    match values.len() {
        0 => return Err(EmbeddingError::Empty),
        dim if dim > EMBEDDING_DIM_MAX => return Err(EmbeddingError::TooManyDimensions(dim)),
        _ => {}
    }
    if let Some(place) = values.iter().position(|value| !value.is_finite()) {
        return Err(EmbeddingError::NotFinite(place));
    }
    Ok(values.iter().map(|value| f64::from(*value).powi(2)).sum())
}

impl<Context> Decode<Context> for Embedding {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        Embedding::from_unit(Vec::<f32>::decode(decoder)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(Embedding);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_vectors_with_a_direction_are_embeddings() {
        assert_eq!(Embedding::new(vec![]), Err(EmbeddingError::Empty));
        assert_eq!(Embedding::new(vec![0.0, -0.0]), Err(EmbeddingError::Zero));
        assert_eq!(Embedding::new(vec![1e-30, 0.0]), Err(EmbeddingError::Zero));
        assert_eq!(
            Embedding::new(vec![1.0, f32::NAN]),
            Err(EmbeddingError::NotFinite(1))
        );
        assert_eq!(
            Embedding::new(vec![f32::INFINITY]),
            Err(EmbeddingError::NotFinite(0))
        );
        assert_eq!(
            Embedding::new(vec![1.0; EMBEDDING_DIM_MAX + 1]),
            Err(EmbeddingError::TooManyDimensions(EMBEDDING_DIM_MAX + 1))
        );
        assert_eq!(
            Embedding::from_unit(vec![3.0, 4.0]),
            Err(EmbeddingError::NotUnit(25.0))
        );
    }

    #[test]
    fn embeddings_have_length_one_even_at_the_edge_of_the_range() {
        for values in [
            vec![3.0, 4.0],
            vec![f32::MAX, f32::MAX],
            vec![1e-15, -1e-15, 2e-15],
        ] {
            let embedding = Embedding::new(values).expect("finite");
            let own = embedding.cosine(&embedding).expect("same dimension");
            assert!((own - 1.0).abs() < 1e-6, "{own}");
            let again = Embedding::from_unit(embedding.as_slice().to_vec());
            assert_eq!(again, Ok(embedding));
        }
    }

    #[test]
    fn what_is_decoded_is_checked() {
        let config = bincode::config::standard();
        let good = Embedding::new(vec![1.0, 2.0]).expect("finite");
        let bytes = bincode::encode_to_vec(&good, config).expect("encodes");
        let (back, _): (Embedding, usize) =
            bincode::decode_from_slice(&bytes, config).expect("decodes");
        assert_eq!(back, good);
        let bad = bincode::encode_to_vec(vec![1.0_f32, 1.0], config).expect("encodes");
        assert!(bincode::decode_from_slice::<Embedding, _>(&bad, config).is_err());
    }
}
