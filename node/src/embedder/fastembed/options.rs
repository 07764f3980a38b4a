//! Where a model is and how it is run, complete and checked.

use std::path::{Path, PathBuf};

use engram_core::index::ModelId;
use fastembed::{EmbeddingModel as Known, ModelTrait, QuantizationMode, TextEmbedding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::FastembedError;

/// Bytes of the digest that are part of a model's id.
const DIGEST_BYTES: usize = 12;

/// How the vectors of a text's word pieces become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean: MiniLM, E5, nomic.
    #[default]
    Mean,
    /// The first one: BGE, GTE, arctic.
    Cls,
}

impl From<Pooling> for fastembed::Pooling {
    fn from(pooling: Pooling) -> fastembed::Pooling {
        match pooling {
            Pooling::Mean => fastembed::Pooling::Mean,
            Pooling::Cls => fastembed::Pooling::Cls,
        }
    }
}

/// What a [`FastembedModel`](super::FastembedModel) needs to know.
#[derive(Clone, Debug)]
pub struct FastembedOptions {
    /// Names weights, tokenizer, pooling and length.
    pub(super) id: ModelId,
    pub(super) dimensions: usize,
    pub(super) source: Source,
    /// Word pieces of a text that are read; the rest is ignored.
    pub(super) max_length: usize,
    /// Threads that compute one batch.
    pub(super) processor_threads: usize,
    /// Whether each text must be computed alone.
    pub(super) is_alone: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    Files(Files),
    Hub { model: Known, cache_dir: PathBuf },
}

/// A directory that holds a model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Files {
    directory: PathBuf,
    pub(super) pooling: Pooling,
}

impl Files {
    pub(super) const MODEL: &str = "model.onnx";
    pub(super) const TOKENIZER: &str = "tokenizer.json";
    pub(super) const CONFIG: &str = "config.json";
    pub(super) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
    pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, FastembedError> {
        let path = self.directory.join(name);
        std::fs::read(&path).map_err(|source| FastembedError::File { path, source })
    }

    /// Names what decides about vectors: equal on all nodes, wherever the directory is.
    fn digest(&self) -> Result<String, FastembedError> {
        let mut digest = Sha256::new();
        for name in [
            Files::MODEL,
            Files::TOKENIZER,
            Files::CONFIG,
            Files::SPECIAL_TOKENS,
            Files::TOKENIZER_CONFIG,
        ] {
            digest.update(Sha256::digest(self.read(name)?));
        }
        let digest = digest.finalize();
        let digest = digest.iter().take(DIGEST_BYTES);
        Ok(digest.map(|byte| format!("{byte:02x}")).collect())
    }

    fn dimensions(&self) -> Result<usize, FastembedError> {
        let config: Option<serde_json::Value> =
            serde_json::from_slice(&self.read(Files::CONFIG)?).ok();
        config
            .and_then(|config| usize::try_from(config.get("hidden_size")?.as_u64()?).ok())
            .filter(|dimensions| *dimensions > 0)
            .ok_or_else(|| FastembedError::NoDimensions(self.directory.join(Files::CONFIG)))
    }
}

impl FastembedOptions {
    /// A model in a directory: `model.onnx`, `tokenizer.json`, `config.json`,
    /// `special_tokens_map.json` and `tokenizer_config.json`. Reads all of them once.
    ///
    /// # Errors
    /// [`FastembedError`] if one is missing, or `config.json` is of no use.
    pub fn of_directory(
        directory: &Path,
        pooling: Pooling,
        max_length: usize,
        processor_threads: usize,
    ) -> Result<FastembedOptions, FastembedError> {
        let files = Files {
            directory: directory.to_owned(),
            pooling,
        };
        let how = match pooling {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
        };
        let name = format!("fastembed/sha256-{}/{how}/{max_length}", files.digest()?);
        Ok(FastembedOptions {
            id: ModelId::new(name)?,
            dimensions: files.dimensions()?,
            source: Source::Files(files),
            max_length,
            processor_threads,
            is_alone: false,
        })
    }

    /// A model that the crate knows by name, from the hub or from what was downloaded before.
    ///
    /// # Errors
    /// [`FastembedError::UnknownModel`].
    pub fn of_hub(
        name: &str,
        cache_dir: &Path,
        max_length: usize,
        processor_threads: usize,
    ) -> Result<FastembedOptions, FastembedError> {
        let unknown = || FastembedError::UnknownModel(name.to_owned());
        let by_code = || {
            let known = TextEmbedding::list_supported_models();
            let found = known.into_iter().find(|info| info.model_code == name);
            found.map(|info| info.model)
        };
        let model: Known = name.parse().ok().or_else(by_code).ok_or_else(unknown)?;
        let info = Known::get_model_info(&model).ok_or_else(unknown)?;
        let quantization = TextEmbedding::get_quantization_mode(&model);
        Ok(FastembedOptions {
            id: ModelId::new(format!("fastembed/{}/{max_length}", info.model_code))?,
            dimensions: info.dim,
            max_length,
            processor_threads,
            is_alone: matches!(quantization, QuantizationMode::Dynamic),
            source: Source::Hub {
                model,
                cache_dir: cache_dir.to_owned(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(config: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        for name in [
            Files::MODEL,
            Files::TOKENIZER,
            Files::SPECIAL_TOKENS,
            Files::TOKENIZER_CONFIG,
        ] {
            std::fs::write(directory.path().join(name), name).expect("written");
        }
        std::fs::write(directory.path().join(Files::CONFIG), config).expect("written");
        directory
    }

    fn of(directory: &tempfile::TempDir) -> Result<FastembedOptions, FastembedError> {
        FastembedOptions::of_directory(directory.path(), Pooling::Mean, 256, 1)
    }

    #[test]
    fn a_directory_is_named_by_what_it_holds() {
        let config = r#"{"hidden_size": 384}"#;
        let (here, there) = (directory(config), directory(config));
        let first = of(&here).expect("complete");
        assert_eq!(
            (first.dimensions, &first.id),
            (384, &of(&there).expect("complete").id)
        );
        let cls = FastembedOptions::of_directory(here.path(), Pooling::Cls, 256, 1);
        assert_ne!(cls.expect("complete").id, first.id);
        std::fs::write(there.path().join(Files::MODEL), "other weights").expect("written");
        assert_ne!(of(&there).expect("complete").id, first.id);
    }

    #[test]
    fn what_is_missing_is_named() {
        let directory = directory("{}");
        let error = of(&directory).expect_err("no dimensions").to_string();
        assert!(error.contains("hidden_size"), "{error}");
        std::fs::remove_file(directory.path().join(Files::TOKENIZER)).expect("removed");
        let error = of(&directory).expect_err("no tokenizer").to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }

    #[test]
    fn known_models_go_by_either_name() {
        let of = |name| FastembedOptions::of_hub(name, Path::new("."), 256, 1);
        let model = of("AllMiniLML6V2").expect("known");
        assert_eq!(model.dimensions, 384);
        assert_eq!(
            model.id,
            of("Qdrant/all-MiniLM-L6-v2-onnx").expect("known").id
        );
        assert!(!model.is_alone && of("AllMiniLML6V2Q").expect("known").is_alone);
        let error = of("word2vec").expect_err("unknown").to_string();
        assert!(error.contains("word2vec"), "{error}");
    }
}
