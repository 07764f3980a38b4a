//! Models in ONNX format through the crate `fastembed`: all-MiniLM-L6-v2 and others.
//!
//! ONNX Runtime is a library of the machine, opened at run time; the model comes from a directory, or,
//! where there is internet, from the model hub. Neither is needed to start a node: what is missing is
//! named, and keys are served all the same.

mod error;
mod options;
mod runtime;

use engram_actors::embedder::{EmbedError, EmbeddingModel};
use engram_core::index::{Embedding, ModelId};
use engram_core::limits::EMBED_BATCH_MAX;
use fastembed::{
    InitOptionsUserDefined, QuantizationMode, TextEmbedding, TextInitOptions, TokenizerFiles,
    UserDefinedEmbeddingModel,
};
use tracing::info;

pub use self::error::FastembedError;
pub use self::options::{FastembedOptions, Pooling};
pub use self::runtime::{RuntimeError, load_runtime};

use self::options::{Files, Source};

/// See the module. Each thread has a model of its own, loaded on first use.
pub struct FastembedModel {
    options: FastembedOptions,
    loaded: Option<TextEmbedding>,
}

impl FastembedModel {
    /// The model, not loaded yet. The library must have been loaded by [`load_runtime`].
    pub fn new(options: FastembedOptions) -> FastembedModel {
        FastembedModel {
            options,
            loaded: None,
        }
    }

    fn load(&self) -> Result<TextEmbedding, FastembedError> {
        let FastembedOptions {
            max_length,
            processor_threads,
            ..
        } = self.options;
        // Threads that wait for work must not take it from the shards.
        let spinning = ("session.intra_op.allow_spinning", "0");
        match &self.options.source {
            Source::Files(files) => {
                let tokenizer = TokenizerFiles {
                    tokenizer_file: files.read(Files::TOKENIZER)?,
                    config_file: files.read(Files::CONFIG)?,
                    special_tokens_map_file: files.read(Files::SPECIAL_TOKENS)?,
                    tokenizer_config_file: files.read(Files::TOKENIZER_CONFIG)?,
                };
                let model = files.read(Files::MODEL)?;
                let model = UserDefinedEmbeddingModel::new(model, tokenizer)
                    .with_pooling(files.pooling.into())
                    .with_quantization(QuantizationMode::None);
                let options = InitOptionsUserDefined::new()
                    .with_max_length(max_length)
                    .with_intra_threads(processor_threads)
                    .with_session_config(spinning.0, spinning.1);
                TextEmbedding::try_new_from_user_defined(model, options)
            }
            Source::Hub { model, cache_dir } => {
                let options = TextInitOptions::new(model.clone())
                    .with_max_length(max_length)
                    .with_intra_threads(processor_threads)
                    .with_cache_dir(cache_dir.clone())
                    .with_show_download_progress(false)
                    .with_session_config(spinning.0, spinning.1);
                TextEmbedding::try_new(options)
            }
        }
        .map_err(FastembedError::Model)
    }
}

impl EmbeddingModel for FastembedModel {
    fn id(&self) -> ModelId {
        self.options.id.clone()
    }

    fn dim(&self) -> usize {
        self.options.dimensions
    }

    fn batch_max(&self) -> usize {
        // Models that are quantised anew for each batch give a text another vector in another batch.
        match self.options.is_alone {
            true => 1,
            false => EMBED_BATCH_MAX,
        }
    }

    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        if self.loaded.is_none() {
            let loaded = self.load();
            let loaded = loaded.map_err(|error| EmbedError::Unavailable(error.told().into()))?;
            info!(model = %self.options.id, "loaded");
            self.loaded = Some(loaded);
        }
        let Some(model) = &mut self.loaded else {
            return Err(EmbedError::Unavailable("it is not loaded".into()));
        };
        let failed = |reason: String| EmbedError::Failed(reason.into());
        let vectors = model
            .embed(texts, Some(texts.len()))
            .map_err(|error| failed(FastembedError::Model(error).told()))?;
        vectors
            .into_iter()
            .map(|vector| Embedding::new(vector).map_err(|error| failed(error.to_string())))
            .collect()
    }
}
