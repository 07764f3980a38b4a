//! One order of what all legs of a search have found.

use std::collections::{BTreeMap, BTreeSet};

use super::{Leg, SearchMachine, Side};
use crate::types::{Ballot, Key};
use crate::wire::{Explanation, Standing};

/// Flattens the difference between the first ranks (Cormack, Clarke and Buettcher 2009).
const FUSION_RANK: f32 = 60.0;

/// A candidate of all legs together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Fused<'a> {
    pub(super) key: &'a Key,
    pub(super) vtag: Ballot,
    pub(super) score: f32,
    pub(super) explanation: Explanation,
}

impl SearchMachine {
    /// The newest version of each candidate that an index knows.
    pub(super) fn newest(&self) -> BTreeMap<&Key, Ballot> {
        let mut newest: BTreeMap<&Key, Ballot> = BTreeMap::new();
        let candidates = self.legs.iter().flat_map(|leg| &leg.candidates);
        for (key, candidate) in candidates {
            let vtag = newest.entry(key).or_insert(candidate.vtag);
            *vtag = candidate.vtag.max(*vtag);
        }
        newest
    }

    /// Candidates, best first; ties in key order. What is known to be gone is left out.
    pub(super) fn ranked(&self) -> Vec<Fused<'_>> {
        let newest = self.newest();
        let is_gone = |key: &Key, vtag: &Ballot| {
            let known = self.verified.get(key);
            matches!(known, Some((of, None)) if of == vtag)
        };
        let gone: BTreeSet<&Key> = newest
            .iter()
            .filter(|(key, vtag)| is_gone(key, vtag))
            .map(|(key, _)| *key)
            .collect();
        let mut explanations: BTreeMap<&Key, Explanation> = BTreeMap::new();
        for leg in &self.legs {
            for (key, standing) in leg.standings(&gone) {
                let current = leg.candidates.get(key).map(|found| found.vtag);
                if current == newest.get(key).copied() {
                    let explanation = explanations.entry(key).or_default();
                    match leg.side {
                        Side::Meaning => explanation.meaning = Some(standing),
                        Side::Words => explanation.words = Some(standing),
                    }
                }
            }
        }
        let mut ranked: Vec<Fused<'_>> = explanations
            .into_iter()
            .filter_map(|(key, explanation)| {
                Some(Fused {
                    key,
                    vtag: *newest.get(key)?,
                    score: self.score(explanation),
                    explanation,
                })
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.key.cmp(b.key)));
        ranked
    }

    fn score(&self, explanation: Explanation) -> f32 {
        let Explanation { meaning, words } = explanation;
        if self.legs.len() == 1 {
            return meaning.or(words).map_or(0.0, |standing| standing.score);
        }
        let weights = self.search.weights;
        let part = |standing: Option<Standing>, weight: f32| {
            standing.map_or(0.0, |standing| weight / (FUSION_RANK + rank(standing)))
        };
        part(meaning, weights.meaning) + part(words, weights.words)
    }

    /// The shards that all legs cover.
    pub(super) fn covered(&self) -> usize {
        let mut covered: Option<BTreeSet<_>> = None;
        for leg in &self.legs {
            let shards = leg.plan.answered_shards().collect();
            covered = Some(match covered {
                Some(others) => &others & &shards,
                None => shards,
            });
        }
        covered.map_or(0, |shards| shards.len())
    }

    /// All shards.
    pub(super) fn total(&self) -> usize {
        let lens = self.legs.iter().map(|leg: &Leg| leg.plan.len());
        lens.max().unwrap_or(0)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ranks are below 2^23: at most all candidates of all members"
)]
fn rank(standing: Standing) -> f32 {
    standing.rank as f32
}
