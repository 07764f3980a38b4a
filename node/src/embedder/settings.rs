//! The embedders of a node's settings: tables `[embedders.NAME]`.

use std::path::PathBuf;

use engram_core::limits::{EMBED_THREADS_MAX, EMBEDDING_DIM_MAX};
use serde::{Deserialize, Serialize};

use super::fastembed::Pooling;

/// Names of the embedders that every node has.
pub const OWN_EMBEDDERS: [&str; 2] = ["builtin", "hash"];

/// What one embedder is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum EmbedderSettings {
    /// A model in ONNX format.
    Fastembed(FastembedSettings),
    /// An endpoint that speaks OpenAI's embeddings protocol.
    OpenAi(OpenAiSettings),
}

/// A model in ONNX format: in a directory, or known by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FastembedSettings {
    /// Directory with `model.onnx`, `tokenizer.json` and three more JSON files, as
    /// `scripts/fetch-model` makes it.
    pub model_dir: Option<PathBuf>,
    /// Or a model of the hub, for example `AllMiniLML6V2`; downloaded when it is first needed.
    pub model: Option<String>,
    /// Where downloaded models are kept. Default: `models` in the data directory.
    pub cache_dir: Option<PathBuf>,
    /// How a model in a directory makes one vector of many: `mean` (default) or `cls`.
    pub pooling: Option<Pooling>,
    /// Word pieces of a text that are read. Default 256.
    pub max_length: Option<usize>,
    /// Texts that are computed at the same time, each with a model in memory. Default 1.
    pub threads: Option<usize>,
    /// Threads that compute one batch. Default 1.
    pub processor_threads: Option<usize>,
}

/// An endpoint and what it is asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OpenAiSettings {
    /// Where it is: `https://api.openai.com/v1`, `http://localhost:11434/v1` ...
    pub url: String,
    /// The model, as the endpoint names it.
    pub model: String,
    /// How long its vectors are.
    pub dimensions: usize,
    /// Whether the endpoint is to be told so, for models that can shorten their vectors.
    #[serde(default)]
    pub request_dimensions: bool,
    /// File that holds the key.
    pub key_file: Option<PathBuf>,
    /// Or the name of an environment variable that holds it.
    pub key_env: Option<String>,
    /// How long one attempt may take, in milliseconds. Default 10 000.
    pub timeout_ms: Option<u64>,
    /// How often a request is tried. Default 3.
    pub attempts: Option<u32>,
    /// Requests at the same time, besides one that is kept for searches. Default 2.
    pub threads: Option<usize>,
}

impl EmbedderSettings {
    /// Whether they can be used at all.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn check(&self) -> Result<(), String> {
        match self {
            EmbedderSettings::Fastembed(settings) => {
                if settings.model_dir.is_some() == settings.model.is_some() {
                    return Err("give either model_dir or model".into());
                }
                within("max_length", settings.max_length, 8192)?;
                within("threads", settings.threads, EMBED_THREADS_MAX)?;
                within("processor_threads", settings.processor_threads, 1024)
            }
            EmbedderSettings::OpenAi(settings) => {
                if settings.key_file.is_some() && settings.key_env.is_some() {
                    return Err("give either key_file or key_env".into());
                }
                within("dimensions", Some(settings.dimensions), EMBEDDING_DIM_MAX)?;
                let attempts = settings.attempts.map(|attempts| attempts as usize);
                within("attempts", attempts, 10)?;
                let timeout = settings
                    .timeout_ms
                    .map(|timeout| usize::try_from(timeout).unwrap_or(usize::MAX));
                within("timeout_ms", timeout, 600_000)?;
                within("threads", settings.threads, EMBED_THREADS_MAX)
            }
        }
    }
}

fn within(what: &str, value: Option<usize>, most: usize) -> Result<(), String> {
    match value {
        Some(value) if !(1..=most).contains(&value) => {
            Err(format!("{what} must be 1 to {most}, not {value}"))
        }
        _ => Ok(()),
    }
}
