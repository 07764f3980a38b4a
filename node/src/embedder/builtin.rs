//! The model that is part of the binary: nothing to install, nothing to download.

use engram_actors::embedder::{EmbedError, EmbeddingModel};
use engram_core::index::{Embedding, ModelId};
use pocket_encoder::{Encoder, Error};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// paraphrase-MiniLM-L3-v2, quantised to 4 bits (crate `pocket-encoder`). Reads the first 128
/// word pieces of a text, English best. Loads on first use, so that a node that never embeds
/// starts at once and stays small.
///
/// The model's matrix code spreads over all cores by itself. It is confined to one thread here:
/// the others belong to the shards.
#[derive(Default)]
pub struct BuiltinModel {
    loaded: Option<Loaded>,
}

struct Loaded {
    encoder: Encoder,
    thread: ThreadPool,
}

/// Length of the vectors.
const DIM: usize = 384;

/// Texts are encoded one after the other anyway; small batches let queries in between.
const BATCH_MAX: usize = 4;

impl BuiltinModel {
    /// The model, not loaded yet.
    pub fn new() -> BuiltinModel {
        BuiltinModel::default()
    }

    fn loaded(&mut self) -> Result<&Loaded, EmbedError> {
        if self.loaded.is_none() {
            let encoder = Encoder::new().map_err(translated)?;
            let thread = ThreadPoolBuilder::new()
                .num_threads(1)
                .thread_name(|_| "embedder-math".to_owned())
                .build()
                .map_err(|error| EmbedError::Failed(error.to_string().into()))?;
            self.loaded = Some(Loaded { encoder, thread });
        }
        self.loaded
            .as_ref()
            .ok_or_else(|| EmbedError::Failed("it is not loaded".into()))
    }
}

impl EmbeddingModel for BuiltinModel {
    fn id(&self) -> ModelId {
        ModelId::new("pocket-encoder/minilm-l3-q4-g32-v1").expect("the name is short")
    }

    fn dim(&self) -> usize {
        DIM
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let loaded = self.loaded()?;
        let vectors = loaded
            .thread
            .install(|| loaded.encoder.embed(texts))
            .map_err(translated)?;
        vectors
            .into_iter()
            .map(|vector| {
                Embedding::new(vector).map_err(|error| EmbedError::Failed(error.to_string().into()))
            })
            .collect()
    }
}

fn translated(error: Error) -> EmbedError {
    match error {
        Error::Input(reason) => EmbedError::Rejected(reason.into()),
        Error::Inference(reason) => EmbedError::Failed(reason.into()),
    }
}

#[cfg(test)]
mod tests;
