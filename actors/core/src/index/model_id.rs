//! Which embedding model made a vector.

use std::fmt;

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};

use crate::limits::MODEL_ID_BYTES_MAX;

/// Names an embedding model exactly: weights, tokenizer and pooling. Vectors of different models
/// are never compared, even if they have the same dimension.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode)]
pub struct ModelId(String);

/// The text is not a model id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModelIdError {
    /// A model id has at least one byte.
    #[error("a model id must not be empty")]
    Empty,
    /// A model id has at most [`MODEL_ID_BYTES_MAX`] bytes.
    #[error("a model id may have {MODEL_ID_BYTES_MAX} bytes at most, this one has {0}")]
    TooLong(usize),
}

impl ModelId {
    /// Checks and takes the name.
    ///
    /// # Errors
    /// [`ModelIdError`] if it is empty or too long.
    pub fn new(name: impl Into<String>) -> Result<ModelId, ModelIdError> {
        let name = name.into();
        match name.len() {
            0 => Err(ModelIdError::Empty),
            length if length > MODEL_ID_BYTES_MAX => Err(ModelIdError::TooLong(length)),
            _ => Ok(ModelId(name)),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<Context> Decode<Context> for ModelId {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        ModelId::new(String::decode(decoder)?)
            .map_err(|error| DecodeError::OtherString(error.to_string()))
    }
}

bincode::impl_borrow_decode!(ModelId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_ids_are_bounded() {
        assert_eq!(ModelId::new(""), Err(ModelIdError::Empty));
        assert!(ModelId::new("m".repeat(MODEL_ID_BYTES_MAX)).is_ok());
        assert_eq!(
            ModelId::new("m".repeat(MODEL_ID_BYTES_MAX + 1)),
            Err(ModelIdError::TooLong(MODEL_ID_BYTES_MAX + 1))
        );
    }
}
