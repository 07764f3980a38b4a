//! What of a namespace is indexed, and how.

use bincode::{Decode, Encode};

use super::ready_vectors::ready_text;
use super::{IndexedText, ModelId, ReadyVectors};
use crate::types::{IndexSource, NamespaceId, NamespaceOptions, TextLanguage};

/// What is indexed of a namespace. Fixed when the namespace is made.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct IndexOptions {
    /// Which part of an entry.
    pub source: IndexSource,
    /// Whether entries are found by words.
    pub text: bool,
    /// Whose rules say what their words are.
    pub language: TextLanguage,
    /// Whether entries are found by meaning.
    pub semantic: bool,
    /// Whose vectors these are, if they are found by meaning.
    pub model: ModelId,
}

impl IndexOptions {
    /// What the options of a namespace ask for, embedded by this model.
    pub fn of(options: &NamespaceOptions, model: ModelId) -> IndexOptions {
        let NamespaceOptions {
            source,
            text,
            language,
            semantic,
            ..
        } = options;
        IndexOptions {
            source: source.clone(),
            text: *text,
            language: *language,
            semantic: *semantic,
            model,
        }
    }

    /// What of an entry is indexed.
    pub fn text_of(&self, key: &[u8], value: &[u8]) -> IndexedText {
        if ReadyVectors::of(&self.model).is_none() {
            return IndexedText::from_entry(&self.source, key, value);
        }
        let meaning = ready_text(value).into_iter().collect();
        IndexedText {
            meaning,
            ..IndexedText::without_field(&self.source, key, value, Some(ReadyVectors::FIELD))
        }
    }
}

/// What is known about the indexing of a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NamespaceIndexing {
    /// It is indexed like this.
    Indexed(IndexOptions),
    /// The configuration that this node has does not name it yet: its id is higher than all that
    /// were given out. Ask again.
    NotYetKnown,
    /// It is not indexed, or was dropped.
    Skipped,
}

/// Looks up how namespaces are indexed.
pub trait IndexOptionsLookup {
    /// How this namespace is indexed. Must not block.
    fn indexing(&self, namespace: NamespaceId) -> NamespaceIndexing;

    /// Whether this node has a model. Must not block.
    fn provides(&self, _model: &ModelId) -> bool {
        true
    }
}

impl<F: Fn(NamespaceId) -> NamespaceIndexing> IndexOptionsLookup for F {
    fn indexing(&self, namespace: NamespaceId) -> NamespaceIndexing {
        self(namespace)
    }
}
