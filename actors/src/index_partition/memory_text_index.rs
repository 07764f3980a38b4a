//! A full-text index in memory: small, exact and deterministic, for simulations and tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use engram_core::index::{TextChange, TextDocument, TextHit, TextQuery, TopK};
use engram_core::types::{Blob, RecordKey};

use super::memory_text::{MemoryText, Wanted};
use super::{TextIndex, TextIndexError, TextIndexStatus, TextSearchDone, TextStatusDone};

/// Saturation of repeated words (Robertson and Zaragoza 2009).
const BM25_K1: f32 = 1.2;
/// How much long texts are discounted.
const BM25_B: f32 = 0.75;

/// A [`TextIndex`] that calls back before it returns. It scans all entries of the namespace. What
/// is committed outlives [`TextIndex::open`], as a disk would.
#[derive(Default)]
pub struct MemoryTextIndex {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    committed: BTreeMap<RecordKey, Indexed>,
    watermark: Option<Blob>,
    pending: Vec<Pending>,
}

enum Pending {
    Change(TextChange),
    Clear,
}

struct Indexed {
    document: TextDocument,
    text: MemoryText,
    counts: BTreeMap<String, f32>,
    length: f32,
}

impl MemoryTextIndex {
    /// An empty index.
    pub fn new() -> MemoryTextIndex {
        MemoryTextIndex::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TextIndex for MemoryTextIndex {
    fn open(&self, done: TextStatusDone) {
        let status = {
            let mut state = self.lock();
            state.pending.clear();
            state.status()
        };
        done(Ok(status));
    }

    fn apply(&self, changes: Vec<TextChange>) {
        self.lock()
            .pending
            .extend(changes.into_iter().map(Pending::Change));
    }

    fn clear(&self) {
        self.lock().pending.push(Pending::Clear);
    }

    fn commit(&self, watermark: Blob, done: TextStatusDone) {
        let status = {
            let mut state = self.lock();
            state.commit(watermark);
            state.status()
        };
        done(Ok(status));
    }

    fn search(&self, query: TextQuery, done: TextSearchDone) {
        let hits: Result<_, TextIndexError> = Ok(self.lock().search(&query));
        done(hits);
    }
}

impl State {
    fn status(&self) -> TextIndexStatus {
        TextIndexStatus {
            watermark: self.watermark.clone(),
            documents: u64::try_from(self.committed.len()).unwrap_or(u64::MAX),
        }
    }

    fn commit(&mut self, watermark: Blob) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Change(TextChange::Upsert(document)) => {
                    self.committed
                        .insert(document.key.clone(), Indexed::new(document));
                }
                Pending::Change(TextChange::Delete(key)) => {
                    self.committed.remove(&key);
                }
                Pending::Clear => self.committed.clear(),
            }
        }
        self.watermark = Some(watermark);
    }

    fn search(&self, query: &TextQuery) -> Vec<TextHit> {
        let wanted = match Wanted::of(query) {
            Some(wanted) => wanted,
            None => return Vec::new(),
        };
        let namespace: Vec<&Indexed> = self
            .committed
            .values()
            .filter(|indexed| indexed.document.key.namespace == query.namespace)
            .collect();
        let weights: Vec<(&String, f32)> = wanted
            .sought
            .stems()
            .iter()
            .map(|word| (word, rarity(word, &namespace)))
            .collect();
        let length = namespace.iter().map(|indexed| indexed.length).sum::<f32>()
            / count(namespace.len()).max(1.0);
        let mut top = TopK::new(query.k);
        for indexed in namespace.iter().filter(|indexed| indexed.passes(query)) {
            if wanted.has(&indexed.text) {
                top.push(indexed.score(&weights, length), &indexed.document.key);
            }
        }
        let hits = top.into_sorted().into_iter();
        hits.filter_map(|(score, key)| {
            let vtag = self.committed.get(key)?.document.vtag;
            Some(TextHit {
                key: key.clone(),
                vtag,
                score,
            })
        })
        .collect()
    }
}

/// Inverse document frequency, never negative.
fn rarity(word: &str, namespace: &[&Indexed]) -> f32 {
    let having = namespace
        .iter()
        .filter(|indexed| indexed.counts.contains_key(word))
        .count();
    (1.0 + (count(namespace.len() - having) + 0.5) / (count(having) + 0.5)).ln()
}

fn count(number: usize) -> f32 {
    // Exact up to 65535, far more than a simulation holds; beyond it scores saturate.
    f32::from(u16::try_from(number).unwrap_or(u16::MAX))
}

impl Indexed {
    fn new(document: TextDocument) -> Indexed {
        let text = MemoryText::new(&document);
        let mut counts = BTreeMap::new();
        let mut length = 0.0;
        for stem in text.stems() {
            *counts.entry(stem.clone()).or_insert(0.0) += 1.0;
            length += 1.0;
        }
        Indexed {
            document,
            text,
            counts,
            length,
        }
    }

    fn passes(&self, query: &TextQuery) -> bool {
        let key = self.document.key.key.as_bytes();
        query.shards.contains(&self.document.shard)
            && query
                .prefix
                .as_ref()
                .is_none_or(|prefix| key.starts_with(prefix.as_ref()))
            && query
                .tags
                .iter()
                .all(|tag| self.document.tags.contains(tag))
    }

    /// BM25 of the words that the entry has.
    fn score(&self, weights: &[(&String, f32)], length: f32) -> f32 {
        let parts = weights.iter().filter_map(|(word, weight)| {
            let count = self.counts.get(*word)?;
            let norm = 1.0 - BM25_B + BM25_B * self.length / length.max(1.0);
            Some(weight * count * (BM25_K1 + 1.0) / (count + BM25_K1 * norm))
        });
        parts.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index_partition::conformance;

    #[test]
    fn it_conforms() {
        conformance::check(&|| Box::new(MemoryTextIndex::new()));
    }
}
