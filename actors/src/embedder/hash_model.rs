//! The hash embedder as a model.

use engram_core::index::{Embedding, EmbeddingError, HashEmbedder, ModelId};

use super::{EmbedError, EmbeddingModel};

/// [`HashEmbedder`] as an [`EmbeddingModel`]: deterministic and without meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HashModel;

impl EmbeddingModel for HashModel {
    fn id(&self) -> ModelId {
        HashEmbedder::id()
    }

    fn dim(&self) -> usize {
        HashEmbedder::DIM
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let rejected = |error: EmbeddingError| EmbedError::Rejected(error.to_string().into());
        texts
            .iter()
            .map(|text| HashEmbedder::embed(text).map_err(rejected))
            .collect()
    }
}
