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
    /// The newest version of a candidate that an index knows.
    pub(super) fn newest(&self, key: &Key) -> Option<Ballot> {
        let candidates = self.legs.iter().filter_map(|leg| leg.candidates.get(key));
        candidates.map(|candidate| candidate.vtag).max()
    }

    /// Candidates, best first; ties in key order. What is known to be gone is left out.
    pub(super) fn ranked(&self) -> Vec<Fused<'_>> {
        let is_gone = |key: &Key| {
            let known = self.verified.get(key);
            known.is_some_and(|(of, found)| found.is_none() && self.newest(key) == Some(*of))
        };
        let mut places: BTreeMap<&Key, (Ballot, Explanation)> = BTreeMap::new();
        for leg in &self.legs {
            let explain = |standing| match leg.side {
                Side::Meaning => Explanation {
                    meaning: Some(standing),
                    words: None,
                },
                Side::Words => Explanation {
                    meaning: None,
                    words: Some(standing),
                },
            };
            let standings = leg.standings(is_gone);
            if self.legs.len() == 1 {
                let fused = standings.map(|(key, vtag, standing)| Fused {
                    key,
                    vtag,
                    score: standing.score,
                    explanation: explain(standing),
                });
                return fused.collect();
            }
            for (key, vtag, standing) in
                standings.filter(|found| self.newest(found.0) == Some(found.1))
            {
                let new = explain(standing);
                let (_, explanation) = places.entry(key).or_insert((vtag, Explanation::default()));
                explanation.meaning = explanation.meaning.or(new.meaning);
                explanation.words = explanation.words.or(new.words);
            }
        }
        let fused = places.into_iter().map(|(key, (vtag, explanation))| Fused {
            key,
            vtag,
            score: self.fused_score(explanation),
            explanation,
        });
        let mut ranked: Vec<Fused<'_>> = fused.collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked
    }

    fn fused_score(&self, explanation: Explanation) -> f32 {
        let Explanation { meaning, words } = explanation;
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
