//! The embedders of a node, by the names that namespaces use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engram_core::index::{ModelId, ReadyVectors};
use engram_core::types::{Millis, NamespaceOptions};
use engram_core::wire::EmbedderStatus;

use super::{Embedder, QueuedEmbedder};
use crate::rate::Rate;

/// What a node's settings name as embedders, whether it can provide them or not.
#[derive(Default)]
pub struct EmbedderCatalog {
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    /// With threads of its own.
    Queued(QueuedEmbedder, Box<Mutex<Rates>>),
    /// Computing in the caller's thread.
    Inline(Arc<dyn Embedder>),
    /// Named, but not to be had; and why.
    Missing(String),
}

#[derive(Default)]
struct Rates {
    computed: Rate,
    failed: Rate,
}

/// A node cannot embed for a namespace.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EmbedderError {
    /// Its settings do not name it.
    #[error(
        "it is not in this node's settings, which name {known}; `vectors-N` is for entries that \
         bring vectors of N dimensions"
    )]
    Unknown {
        /// Those that they do name.
        known: String,
    },
    /// Its settings name it, but it cannot be used.
    #[error("{0}")]
    Missing(String),
    /// Its settings mean another model by that name.
    #[error("the vectors are of the model {wanted}, but this node's embedder has {found}")]
    OtherModel {
        /// Of the namespace.
        wanted: ModelId,
        /// Of the node.
        found: ModelId,
    },
}

impl EmbedderCatalog {
    /// Adds an embedder with threads of its own.
    pub fn add(&mut self, name: impl Into<String>, embedder: QueuedEmbedder) {
        let entry = Entry::Queued(embedder, Box::default());
        self.entries.insert(name.into(), entry);
    }

    /// Adds an embedder that computes in the caller's thread.
    pub fn add_inline(&mut self, name: impl Into<String>, embedder: Arc<dyn Embedder>) {
        self.entries.insert(name.into(), Entry::Inline(embedder));
    }

    /// Adds one that cannot be provided.
    pub fn add_missing(&mut self, name: impl Into<String>, reason: impl Into<String>) {
        self.entries
            .insert(name.into(), Entry::Missing(reason.into()));
    }

    /// Those that need an actor each.
    pub fn queued(&self) -> Vec<QueuedEmbedder> {
        let queued = self.entries.values().filter_map(|entry| match entry {
            Entry::Queued(embedder, _) => Some(embedder.clone()),
            Entry::Inline(_) | Entry::Missing(_) => None,
        });
        queued.collect()
    }

    /// Those that can embed.
    pub fn available(&self) -> Vec<Arc<dyn Embedder>> {
        let available = self.entries.values().filter_map(|entry| match entry {
            Entry::Queued(embedder, _) => Some(Arc::new(embedder.clone()) as Arc<dyn Embedder>),
            Entry::Inline(embedder) => Some(embedder.clone()),
            Entry::Missing(_) => None,
        });
        available.collect()
    }

    /// The model that a name means on this node.
    ///
    /// # Errors
    /// [`EmbedderError`] if it means none.
    pub fn model(&self, name: &str) -> Result<ModelId, EmbedderError> {
        match self.entries.get(name) {
            Some(Entry::Queued(embedder, _)) => Ok(embedder.id()),
            Some(Entry::Inline(embedder)) => Ok(embedder.id()),
            Some(Entry::Missing(reason)) => Err(EmbedderError::Missing(reason.clone())),
            None => match ReadyVectors::named(name) {
                Some(ready) => Ok(ready.id()),
                None => {
                    let known: Vec<&str> = self.entries.keys().map(String::as_str).collect();
                    let known = known.join(", ");
                    Err(EmbedderError::Unknown { known })
                }
            },
        }
    }

    /// Whether a model is to be had here, under whatever name.
    pub fn provides(&self, model: &ModelId) -> bool {
        let named = self.entries.values().any(|entry| match entry {
            Entry::Queued(embedder, _) => embedder.id() == *model,
            Entry::Inline(embedder) => embedder.id() == *model,
            Entry::Missing(_) => false,
        });
        named || ReadyVectors::of(model).is_some()
    }

    /// Whether texts of a namespace with these options can be embedded here.
    ///
    /// # Errors
    /// [`EmbedderError`] says why not.
    pub fn check(&self, options: &NamespaceOptions) -> Result<(), EmbedderError> {
        let Some(wanted) = options.model.as_ref().filter(|_| options.semantic) else {
            return Ok(());
        };
        if self.provides(wanted) {
            return Ok(());
        }
        let (wanted, found) = (wanted.clone(), self.model(&options.embedder)?);
        Err(EmbedderError::OtherModel { wanted, found })
    }

    /// Looks at the counters, so that rates are those of the last seconds whenever they are asked for.
    pub fn note(&self, now: Millis) {
        drop(self.status(now));
    }

    /// How each of them does.
    pub fn status(&self, now: Millis) -> Vec<EmbedderStatus> {
        let status = self.entries.iter().map(|(name, entry)| match entry {
            Entry::Missing(reason) => EmbedderStatus {
                name: name.clone(),
                problem: reason.clone(),
                ..EmbedderStatus::default()
            },
            Entry::Inline(embedder) => described(name, embedder.as_ref()),
            Entry::Queued(embedder, rates) => {
                let stats = embedder.stats();
                let mut rates = rates.lock().unwrap_or_else(PoisonError::into_inner);
                EmbedderStatus {
                    threads: u32::try_from(embedder.threads()).unwrap_or(u32::MAX),
                    queries_waiting: stats.queries_waiting as u64,
                    texts_waiting: stats.texts_waiting as u64,
                    computed: stats.computed,
                    reused: stats.reused,
                    overloaded: stats.overloaded,
                    failed: stats.failed,
                    computed_per_second: rates.computed.note(now, stats.computed),
                    failed_per_second: rates.failed.note(now, stats.failed),
                    last_failure: embedder.last_failure().unwrap_or_default(),
                    ..described(name, embedder)
                }
            }
        });
        status.collect()
    }
}

fn described(name: &str, embedder: &dyn Embedder) -> EmbedderStatus {
    EmbedderStatus {
        name: name.to_owned(),
        model: embedder.id().to_string(),
        dimensions: u32::try_from(embedder.dim()).unwrap_or(u32::MAX),
        ..EmbedderStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::{EmbeddingModel, HashModel, InlineEmbedder};

    fn catalog() -> EmbedderCatalog {
        let mut catalog = EmbedderCatalog::default();
        let hash = InlineEmbedder::new(Box::new(HashModel));
        catalog.add_inline("hash", Arc::new(hash));
        catalog.add_missing("minilm", "there is no library");
        catalog
    }

    fn options(embedder: &str, model: Option<ModelId>) -> NamespaceOptions {
        NamespaceOptions {
            embedder: embedder.into(),
            model,
            ..NamespaceOptions::default()
        }
    }

    #[test]
    fn a_name_means_a_model_or_the_reason_why_not() {
        let catalog = catalog();
        let hash = catalog.model("hash").expect("it is there");
        assert_eq!(hash, HashModel.id());
        let reason = catalog.model("minilm").expect_err("missing").to_string();
        assert_eq!(reason, "there is no library");
        let unknown = catalog.model("openai").expect_err("unknown").to_string();
        assert!(unknown.contains("hash, minilm"), "{unknown}");
    }

    #[test]
    fn a_namespace_needs_its_very_model_under_any_name() {
        let catalog = catalog();
        let hash = HashModel.id();
        assert_eq!(catalog.check(&options("hash", Some(hash.clone()))), Ok(()));
        assert_eq!(
            catalog.check(&options("renamed", Some(hash.clone()))),
            Ok(())
        );
        let other = ModelId::new("hash/another").expect("short");
        assert_eq!(
            catalog.check(&options("hash", Some(other.clone()))),
            Err(EmbedderError::OtherModel {
                wanted: other.clone(),
                found: hash
            })
        );
        let missing = catalog.check(&options("minilm", Some(other.clone())));
        assert!(matches!(missing, Err(EmbedderError::Missing(_))));
        let unsearched = NamespaceOptions {
            semantic: false,
            ..options("minilm", Some(other))
        };
        assert_eq!(catalog.check(&unsearched), Ok(()));
    }

    #[test]
    fn what_is_missing_is_in_the_status() {
        let status = catalog().status(Millis(0));
        let names: Vec<&str> = status.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["hash", "minilm"]);
        assert_eq!(
            (status[0].dimensions, status[0].problem.as_str()),
            (256, "")
        );
        assert_eq!(status[1].problem, "there is no library");
    }
}
