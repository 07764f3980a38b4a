//! Makes a node's embedders of its settings. What cannot be provided is named, and the node starts.

use std::path::Path;
use std::sync::Arc;

use engram_actors::embedder::{EmbedderCatalog, EmbedderThreads, HashModel, QueuedEmbedder};
use tracing::warn;

use super::BuiltinModel;
use super::fastembed::{
    FastembedError, FastembedModel, FastembedOptions, RuntimeError, load_runtime,
};
use super::openai::{OpenAiModel, OpenAiOptions, OpenAiOptionsError};
use super::settings::{EmbedderSettings, FastembedSettings, OpenAiSettings};
use crate::config::NodeConfig;

/// Name of the library beside a model, if the settings do not name one.
const LIBRARY: &str = "libonnxruntime.so";
/// Word pieces of a text that are read, unless the settings say otherwise.
const MAX_LENGTH: usize = 256;

/// An embedder of the settings cannot be provided.
#[derive(Debug, thiserror::Error)]
pub enum ProvideError {
    /// The model is missing or of no use.
    #[error(transparent)]
    Fastembed(#[from] FastembedError),
    /// The library is missing or of no use.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No library is named.
    #[error("ONNX Runtime is missing: name the library with onnx_runtime")]
    NoRuntime,
    /// The settings of an endpoint make no sense.
    #[error(transparent)]
    OpenAi(#[from] OpenAiOptionsError),
    /// The file with the key is missing, empty or unreadable.
    #[error("cannot read the key from {path}: {reason}")]
    KeyFile {
        /// Where.
        path: String,
        /// Why.
        reason: String,
    },
    /// The environment variable with the key is not set.
    #[error("the environment variable {0}, which should hold the key, is not set")]
    KeyEnv(String),
}

/// The embedders of a node: those of its settings, and those that every node has.
pub fn catalog(config: &NodeConfig) -> EmbedderCatalog {
    let mut catalog = EmbedderCatalog::default();
    let threads = EmbedderThreads {
        any: config.embed_threads,
        queries: 0,
    };
    let builtin = QueuedEmbedder::with_threads(Arc::new(|| Box::new(BuiltinModel::new())), threads);
    catalog.add("builtin", builtin);
    catalog.add(
        "hash",
        QueuedEmbedder::new(Arc::new(|| Box::new(HashModel))),
    );
    for (name, settings) in &config.embedders {
        let embedder = match settings {
            EmbedderSettings::Fastembed(settings) => fastembed(config, settings),
            EmbedderSettings::OpenAi(settings) => openai(settings),
        };
        match embedder {
            Ok(embedder) => catalog.add(name, embedder),
            Err(error) => {
                warn!(embedder = name, %error, "an embedder cannot be provided");
                catalog.add_missing(name, error.to_string());
            }
        }
    }
    catalog
}

fn fastembed(
    config: &NodeConfig,
    settings: &FastembedSettings,
) -> Result<QueuedEmbedder, ProvideError> {
    let max_length = settings.max_length.unwrap_or(MAX_LENGTH);
    let processor_threads = settings.processor_threads.unwrap_or(1);
    let options = match (&settings.model_dir, &settings.model) {
        (Some(directory), _) => {
            let pooling = settings.pooling.unwrap_or_default();
            FastembedOptions::of_directory(directory, pooling, max_length, processor_threads)?
        }
        (None, name) => {
            let cache_dir = settings.cache_dir.clone();
            let cache_dir = cache_dir.unwrap_or_else(|| config.data.join("models"));
            let name = name.as_deref().unwrap_or_default();
            FastembedOptions::of_hub(name, &cache_dir, max_length, processor_threads)?
        }
    };
    let beside = settings.model_dir.as_ref().map(|dir| dir.join(LIBRARY));
    let beside = beside.filter(|library| library.exists());
    let library = config.onnx_runtime.clone().or(beside);
    load_runtime(&library.ok_or(ProvideError::NoRuntime)?)?;
    let threads = EmbedderThreads {
        any: settings.threads.unwrap_or(config.embed_threads),
        queries: 0,
    };
    let factory = move || Box::new(FastembedModel::new(options.clone())) as Box<_>;
    Ok(QueuedEmbedder::with_threads(Arc::new(factory), threads))
}

fn openai(settings: &OpenAiSettings) -> Result<QueuedEmbedder, ProvideError> {
    let OpenAiSettings {
        url,
        model,
        dimensions,
        ..
    } = settings;
    let mut options = OpenAiOptions::new(url, model, *dimensions)?;
    options.request_dimensions = settings.request_dimensions;
    options.timeout_ms = settings.timeout_ms.unwrap_or(options.timeout_ms);
    options.attempts = settings.attempts.unwrap_or(options.attempts);
    options.key = match (&settings.key_file, &settings.key_env) {
        (Some(path), _) => Some(key_of_file(path)?),
        (None, Some(name)) => {
            let key = std::env::var(name).ok().filter(|key| !key.is_empty());
            Some(key.ok_or_else(|| ProvideError::KeyEnv(name.clone()))?)
        }
        (None, None) => None,
    };
    // A batch that hangs must not hold up searches: they have a thread of their own.
    let threads = EmbedderThreads {
        any: settings.threads.unwrap_or(2),
        queries: 1,
    };
    let factory = move || Box::new(OpenAiModel::new(options.clone())) as Box<_>;
    Ok(QueuedEmbedder::with_threads(Arc::new(factory), threads))
}

fn key_of_file(path: &Path) -> Result<String, ProvideError> {
    let failed = |reason: String| ProvideError::KeyFile {
        path: path.display().to_string(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    match text.trim() {
        "" => Err(failed("it is empty".into())),
        key => Ok(key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    fn of(text: &str) -> EmbedderCatalog {
        let text = format!("cluster = \"c\"\nnode_id = \"a\"\n{text}");
        let settings: Settings = toml::from_str(&text).expect("it is TOML");
        catalog(&settings.complete(None).expect("sound"))
    }

    fn problem(text: &str) -> String {
        let error = of(text).model("it").expect_err("it cannot be provided");
        error.to_string()
    }

    #[test]
    fn every_node_has_two_and_those_of_its_settings() {
        let catalog = of(
            "[embedders.here]\nkind = \"openai\"\nurl = \"http://localhost:1/v1\"\n\
             model = \"m\"\ndimensions = 8\nthreads = 5\n",
        );
        let status = catalog.status(engram_core::types::Millis(0));
        let shown: Vec<(&str, u32, u32)> = status
            .iter()
            .map(|one| (one.name.as_str(), one.dimensions, one.threads))
            .collect();
        assert_eq!(
            shown,
            [("builtin", 384, 1), ("hash", 256, 1), ("here", 8, 6)]
        );
        assert_eq!(catalog.model("here").expect("there").as_str(), "openai/m/8");
    }

    #[test]
    fn what_cannot_be_provided_is_named_and_the_others_are_there() {
        let missing = "[embedders.it]\nkind = \"fastembed\"\nmodel_dir = \"/does/not/exist\"\n";
        assert!(problem(missing).contains("/does/not/exist/model.onnx"));
        assert!(of(missing).model("builtin").is_ok());
        let unknown = "[embedders.it]\nkind = \"fastembed\"\nmodel = \"word2vec\"\n";
        assert!(problem(unknown).contains("word2vec"));
        let no_runtime = "[embedders.it]\nkind = \"fastembed\"\nmodel = \"AllMiniLML6V2\"\n";
        assert!(problem(no_runtime).contains("onnx_runtime"));
        let endpoint = "[embedders.it]\nkind = \"openai\"\nmodel = \"m\"\ndimensions = 8\n";
        assert!(problem(&format!("{endpoint}url = \"nowhere\"\n")).contains("nowhere"));
        let keyless = format!(
            "{endpoint}url = \"http://h/v1\"\nkey_env = \"ENGRAM_TEST_KEY_THAT_IS_NOT_SET\"\n"
        );
        assert!(problem(&keyless).contains("ENGRAM_TEST_KEY_THAT_IS_NOT_SET"));
        let keyless = format!("{endpoint}url = \"http://h/v1\"\nkey_file = \"/does/not/exist\"\n");
        assert!(problem(&keyless).contains("/does/not/exist"));
    }
}
