//! The best `k` of many scored items, with ties broken the same way everywhere.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Keeps the `k` best items seen. Higher scores are better; of equal scores the lower item is.
/// Scores that are not numbers are never kept.
#[derive(Clone, Debug)]
pub struct TopK<T> {
    capacity: usize,
    /// The worst of the kept items is on top.
    heap: BinaryHeap<Ranked<T>>,
}

/// Orders from best to worst.
#[derive(Clone, Debug)]
struct Ranked<T> {
    score: f32,
    item: T,
}

/// Orders scored items from best to worst: by falling score, then by rising item.
pub fn rank<T: Ord>(left: (f32, &T), right: (f32, &T)) -> Ordering {
    right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1))
}

impl<T: Ord> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        rank((self.score, &self.item), (other.score, &other.item))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T: Ord> Eq for Ranked<T> {}

impl<T: Ord> TopK<T> {
    /// Keeps up to `capacity` items.
    pub fn new(capacity: usize) -> TopK<T> {
        TopK {
            capacity,
            heap: BinaryHeap::new(),
        }
    }

    /// Whether an item with this score would be kept. Cheap: ask before making the item.
    pub fn would_keep(&self, score: f32, item: &T) -> bool {
        if score.is_nan() || self.capacity == 0 {
            return false;
        }
        self.heap.len() < self.capacity
            || self.heap.peek().is_some_and(|worst| {
                rank((score, item), (worst.score, &worst.item)) == Ordering::Less
            })
    }

    /// A score that cannot be kept if below this one; `None` while there is room.
    pub fn floor(&self) -> Option<f32> {
        if self.heap.len() < self.capacity {
            None
        } else {
            self.heap.peek().map(|w| w.score)
        }
    }

    /// Keeps the item if it is among the best so far. Returns whether it was kept.
    pub fn push(&mut self, score: f32, item: T) -> bool {
        if !self.would_keep(score, &item) {
            return false;
        }
        if self.heap.len() == self.capacity {
            self.heap.pop();
        }
        self.heap.push(Ranked { score, item });
        true
    }

    /// The kept items, best first.
    pub fn into_sorted(self) -> Vec<(f32, T)> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|kept| (kept.score, kept.item))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_keeps_what_a_full_sort_would_keep(
            scores in proptest::collection::vec(-3_i8..3, 0..60),
            capacity in 0_usize..20,
        ) {
            let mut top = TopK::new(capacity);
            for (item, score) in scores.iter().enumerate() {
                top.push(f32::from(*score), item);
            }
            let mut all: Vec<(f32, usize)> =
                scores.iter().enumerate().map(|(item, score)| (f32::from(*score), item)).collect();
            all.sort_by(|left, right| rank((left.0, &left.1), (right.0, &right.1)));
            all.truncate(capacity);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }

    #[test]
    fn what_is_not_a_number_is_not_kept() {
        let mut top = TopK::new(2);
        assert!(!top.push(f32::NAN, 1));
        assert!(top.push(f32::NEG_INFINITY, 2));
        assert_eq!(top.floor(), None);
        assert!(top.push(1.0, 3));
        assert_eq!(top.floor(), Some(f32::NEG_INFINITY));
    }
}
