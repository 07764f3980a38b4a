//! Why a model of `fastembed` cannot be used.

use std::error::Error as _;
use std::path::PathBuf;

use engram_core::index::ModelIdError;

/// A model that cannot be had, or failed.
#[derive(Debug, thiserror::Error)]
pub enum FastembedError {
    /// Not one of those that the crate knows.
    #[error("there is no model {0:?}; examples are AllMiniLML6V2 and BGESmallENV15")]
    UnknownModel(String),
    /// A file of the model is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `config.json` does not tell how long vectors are.
    #[error("{} does not say how many dimensions vectors have (hidden_size)", .0.display())]
    NoDimensions(PathBuf),
    /// Its name is too long.
    #[error("model: {0}")]
    Name(#[from] ModelIdError),
    /// The crate reports an error.
    #[error(transparent)]
    Model(fastembed::Error),
}

impl FastembedError {
    /// The error with its causes, on one line.
    pub(super) fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
