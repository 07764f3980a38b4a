//! The best `k` keys of many scored rows, each key by the best of its rows.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::index::rank;

/// Keeps the `k` best keys seen, each with the best score it was offered. Of equal scores the lower
/// key is better; scores below the threshold are not kept.
#[derive(Clone, Debug)]
pub struct BestKeys<K> {
    k: usize,
    threshold: f32,
    scores: BTreeMap<K, f32>,
    ranked: BTreeSet<Ranked<K>>,
}

/// Orders from best to worst.
#[derive(Clone, Copy, Debug)]
struct Ranked<K> {
    score: f32,
    key: K,
}

impl<K: Ord> Ord for Ranked<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        rank((self.score, &self.key), (other.score, &other.key))
    }
}

impl<K: Ord> PartialOrd for Ranked<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord> PartialEq for Ranked<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Ord> Eq for Ranked<K> {}

impl<K: Ord + Copy> BestKeys<K> {
    /// Keeps up to `k` keys whose score is `threshold` at least.
    pub fn new(k: usize, threshold: Option<f32>) -> BestKeys<K> {
        BestKeys {
            k,
            threshold: threshold.unwrap_or(f32::NEG_INFINITY),
            scores: BTreeMap::new(),
            ranked: BTreeSet::new(),
        }
    }

    /// Whether there are `k` keys.
    pub fn is_full(&self) -> bool {
        self.scores.len() >= self.k
    }

    /// A score that cannot be kept if below this one.
    pub fn floor(&self) -> f32 {
        match self.ranked.last() {
            Some(worst) if self.is_full() => worst.score,
            _ if self.k == 0 => f32::INFINITY,
            _ => self.threshold,
        }
    }

    /// Keeps a key if this score is among the best so far.
    pub fn offer(&mut self, score: f32, key: K) {
        if score.is_nan() || score < self.floor() || self.k == 0 {
            return;
        }
        match self.scores.get(&key).copied() {
            Some(known) if known >= score => return,
            Some(known) => {
                self.ranked.remove(&Ranked { score: known, key });
            }
            None => {}
        }
        self.scores.insert(key, score);
        self.ranked.insert(Ranked { score, key });
        if self.scores.len() > self.k
            && let Some(worst) = self.ranked.pop_last()
        {
            self.scores.remove(&worst.key);
        }
    }

    /// The kept keys with their scores, best first.
    pub fn into_sorted(self) -> Vec<(f32, K)> {
        let ranked = self.ranked.into_iter();
        ranked.map(|kept| (kept.score, kept.key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_full_sort_would_keep(
            offers in proptest::collection::vec((-3_i8..3, 0_u8..12), 0..60),
            k in 0_usize..12,
            threshold in proptest::option::of(-3_i8..3),
        ) {
            let threshold = threshold.map(f32::from);
            let mut best = BestKeys::new(k, threshold);
            let mut all: BTreeMap<u8, f32> = BTreeMap::new();
            for (score, key) in offers {
                let score = f32::from(score);
                best.offer(score, key);
                let known = all.entry(key).or_insert(score);
                *known = score.max(*known);
            }
            let mut all: Vec<(f32, u8)> = all
                .into_iter()
                .map(|(key, score)| (score, key))
                .filter(|(score, _)| threshold.is_none_or(|least| *score >= least))
                .collect();
            all.sort_by(|left, right| rank((left.0, &left.1), (right.0, &right.1)));
            all.truncate(k);
            if let Some((worst, _)) = all.last().filter(|_| all.len() == k) {
                prop_assert_eq!(best.floor(), *worst);
            }
            prop_assert_eq!(best.into_sorted(), all);
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_kept() {
        let mut best = BestKeys::new(2, None);
        best.offer(f32::NAN, 1);
        best.offer(0.5, 2);
        assert!(!best.is_full());
        assert_eq!(best.into_sorted(), [(0.5, 2)]);
    }
}
