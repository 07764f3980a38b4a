//! One way of looking for what a search asks for: by meaning, or by words.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::index::{PartitionHits, QueryKind};
use crate::types::{Ballot, Key, Millis};
use crate::wire::Standing;

/// Which list a leg makes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// By meaning.
    Meaning,
    /// By words.
    Words,
}

/// A hit that is not verified yet, or was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) vtag: Ballot,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) side: Side,
    /// None until the query is embedded.
    pub(super) kind: Option<QueryKind>,
    /// Candidates asked of each partition.
    pub(super) k: u32,
    pub(super) plan: Plan,
    pub(super) candidates: BTreeMap<Key, Candidate>,
    /// Whether some partition has more than it was asked for.
    pub(super) more: bool,
    pub(super) asked_at: Millis,
    /// Until when answers are waited for.
    pub(super) until: Millis,
}

impl Leg {
    /// Whether answers may still come, or the query is still being embedded.
    pub(super) fn is_waiting(&self) -> bool {
        self.kind.is_none() || self.plan.is_waiting()
    }

    /// Takes what a partition found, without what scores below the threshold.
    pub(super) fn take(&mut self, found: PartitionHits, threshold: Option<f32>) {
        self.more |= found.more;
        for hit in found.hits {
            if threshold.is_some_and(|threshold| hit.score < threshold) {
                continue;
            }
            // Two replicas may have indexed different versions: the newer one counts.
            let known = self.candidates.get(&hit.key);
            if known.is_none_or(|known| known.vtag <= hit.vtag) {
                let candidate = Candidate {
                    score: hit.score,
                    vtag: hit.vtag,
                };
                self.candidates.insert(hit.key, candidate);
            }
        }
    }

    /// Where each candidate stands, best first, ties in key order. Those that are gone take no place.
    pub(super) fn standings(
        &self,
        is_gone: impl Fn(&Key) -> bool,
    ) -> impl Iterator<Item = (&Key, Ballot, Standing)> {
        let candidates = self.candidates.iter();
        let mut ranked: Vec<(&Key, &Candidate)> =
            candidates.filter(|(key, _)| !is_gone(key)).collect();
        // They are in key order, and stay so where scores are equal.
        ranked.sort_by(|a, b| b.1.score.total_cmp(&a.1.score));
        (1..).zip(ranked).map(|(rank, (key, candidate))| {
            let score = candidate.score;
            (key, candidate.vtag, Standing { rank, score })
        })
    }
}
