//! A full-text index and a configuration, as plain data.

use std::collections::BTreeMap;

use super::world::{DOCS, LATER, options};
use crate::index::*;
use crate::types::{Blob, NamespaceId, RecordKey};

/// The full-text index: what is committed, and what is not yet.
#[derive(Default)]
pub(super) struct Text {
    pub(super) committed: BTreeMap<RecordKey, TextDocument>,
    pub(super) watermark: Option<Blob>,
    pending: Vec<Option<TextChange>>,
}

impl Text {
    pub(super) fn apply(&mut self, changes: Vec<TextChange>) {
        self.pending.extend(changes.into_iter().map(Some));
    }

    pub(super) fn clear(&mut self) {
        self.pending.push(None);
    }

    pub(super) fn commit(&mut self, watermark: Blob) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Some(TextChange::Upsert(document)) => {
                    self.committed.insert(document.key.clone(), document);
                }
                Some(TextChange::Delete(key)) => {
                    self.committed.remove(&key);
                }
                None => self.committed.clear(),
            }
        }
        self.watermark = Some(watermark);
    }

    pub(super) fn lose_uncommitted(&mut self) {
        self.pending.clear();
    }
}

/// How the namespaces of a world are indexed.
pub(super) struct Lookup {
    pub(super) later_is_known: bool,
    pub(super) model_is_provided: bool,
}

impl IndexOptionsLookup for Lookup {
    fn indexing(&self, namespace: NamespaceId) -> NamespaceIndexing {
        match namespace {
            DOCS => NamespaceIndexing::Indexed(options()),
            LATER if self.later_is_known => NamespaceIndexing::Indexed(options()),
            LATER => NamespaceIndexing::NotYetKnown,
            _ => NamespaceIndexing::Skipped,
        }
    }

    fn provides(&self, _: &ModelId) -> bool {
        self.model_is_provided
    }
}
