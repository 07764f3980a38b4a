//! Vectors that users bring along, as a model.

use engram_core::index::{Embedding, ModelId, ReadyVectorError, ReadyVectors};

use super::{EmbedError, EmbeddingModel};

/// [`ReadyVectors`] as an [`EmbeddingModel`]: the vector of a text is what the text says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadyModel(pub ReadyVectors);

impl EmbeddingModel for ReadyModel {
    fn id(&self) -> ModelId {
        self.0.id()
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let rejected = |error: ReadyVectorError| EmbedError::Rejected(error.to_string().into());
        let vectors = texts.iter().map(|text| self.0.embed(text));
        vectors.collect::<Result<_, _>>().map_err(rejected)
    }
}
