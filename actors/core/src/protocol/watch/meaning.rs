//! Comparing new entries with the meaning that a standing query looks for.

use std::sync::Arc;

use super::{WatchEntry, WatchState};
use crate::index::{Embedding, IndexOptions};

/// Why an embedding is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// It is not there yet.
    Waiting,
    /// The text has no meaning for the model.
    Never,
}

type Place = Result<Arc<Embedding>, Missing>;

/// The comparison of one page.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Comparison {
    query: Place,
    threshold: f32,
    entries: Vec<WatchEntry>,
    /// The chunks of the entries' texts, each with the place of its entry.
    chunks: Vec<(usize, Place)>,
}

/// A text to be embedded for a comparison.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Text {
    /// Comes back with the vector: 0 for the query, else the place of the chunk plus one.
    pub(super) place: usize,
    pub(super) text: String,
}

impl Comparison {
    /// Begins one; returns it with the texts to embed. Only values are compared.
    pub(super) fn new(
        query: &str,
        threshold: f32,
        entries: Vec<WatchEntry>,
        options: &IndexOptions,
    ) -> (Comparison, Vec<Text>) {
        let mut texts = vec![Text {
            place: 0,
            text: query.to_owned(),
        }];
        let mut kept = Vec::new();
        let mut chunks = Vec::new();
        for entry in entries {
            let WatchState::Present(register) = &entry.state else {
                continue;
            };
            let value = register
                .value
                .as_ref()
                .map_or(&[][..], |value| value.as_ref());
            let key = entry.key.key.as_bytes();
            let meaning = options.text_of(key, value).meaning;
            if meaning.is_empty() {
                continue;
            }
            for text in meaning {
                chunks.push((kept.len(), Err(Missing::Waiting)));
                let place = chunks.len();
                texts.push(Text { place, text });
            }
            kept.push(entry);
        }
        let comparison = Comparison {
            query: Err(Missing::Waiting),
            threshold,
            entries: kept,
            chunks,
        };
        (comparison, texts)
    }

    /// Whether there is anything to compare.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A text was embedded; none if the model never will.
    pub(super) fn embedded(&mut self, place: usize, vector: Option<Arc<Embedding>>) {
        let slot = match place.checked_sub(1) {
            None => Some(&mut self.query),
            Some(chunk) => self.chunks.get_mut(chunk).map(|(_, slot)| slot),
        };
        if let Some(slot) = slot {
            *slot = vector.ok_or(Missing::Never);
        }
    }

    /// Whether nothing is waited for any more.
    pub(super) fn is_over(&self) -> bool {
        let waits = |place: &Place| matches!(place, Err(Missing::Waiting));
        !waits(&self.query) && !self.chunks.iter().any(|(_, place)| waits(place))
    }

    /// What is near enough, with the cosine similarity of its best chunk.
    pub(super) fn result(self) -> Vec<(WatchEntry, Option<f32>)> {
        let Ok(query) = self.query else {
            return Vec::new();
        };
        let mut best = vec![None::<f32>; self.entries.len()];
        for (entry, chunk) in self.chunks {
            let score = chunk.ok().and_then(|chunk| chunk.cosine(&query));
            if let (Some(best), Some(score)) = (best.get_mut(entry), score) {
                *best = Some(best.map_or(score, |known| known.max(score)));
            }
        }
        let entries = self.entries.into_iter().zip(best);
        entries
            .filter(|(_, best)| best.is_some_and(|score| score >= self.threshold))
            .collect()
    }
}
