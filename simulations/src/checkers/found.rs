//! At rest the index equals the store: a search finds exactly what a full scan holds.

use std::collections::{BTreeMap, BTreeSet};

use engram_core::types::{Ballot, Key};

use super::{Property, Violation};

/// What one search at rest found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Through which node, and what for.
    pub what: String,
    /// Which entries of the scan it should find.
    pub expected: BTreeSet<Key>,
    /// What it found.
    pub hits: BTreeMap<Key, Ballot>,
    /// How many shards took part.
    pub shards_answered: u16,
    /// How many there are.
    pub shards_total: u16,
}

/// Compares searches with a scan: keys and versions.
///
/// # Errors
/// If a search missed or invented something, or did not cover all shards.
pub fn check(scanned: &BTreeMap<Key, Ballot>, found: &Found) -> Result<(), Violation> {
    let violation = |story: String| Err(Violation::new(Property::Index, story));
    let what = &found.what;
    if found.shards_answered != found.shards_total {
        let (answered, total) = (found.shards_answered, found.shards_total);
        return violation(format!("{what}: {answered} of {total} shards took part"));
    }
    for key in &found.expected {
        match (found.hits.get(key), scanned.get(key)) {
            (None, _) => return violation(format!("{what} does not find {key:?}")),
            (Some(hit), Some(version)) if hit == version => {}
            (Some(hit), stored) => {
                let story = format!("{what} finds {key:?} at {hit}, stored is {stored:?}");
                return violation(story);
            }
        }
    }
    match found.hits.keys().find(|key| !found.expected.contains(key)) {
        Some(key) => violation(format!("{what} finds {key:?}, which it should not")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).expect("short")
    }

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    #[test]
    fn whatever_differs_is_caught() {
        let scanned = BTreeMap::from([(key("a"), ballot(1)), (key("b"), ballot(2))]);
        let search = |hits: &[(&str, u64)], shards_answered| Found {
            what: "search".into(),
            expected: BTreeSet::from([key("a")]),
            hits: hits.iter().map(|(k, n)| (key(k), ballot(*n))).collect(),
            shards_answered,
            shards_total: 2,
        };
        for (story, found, fine) in [
            ("equal", search(&[("a", 1)], 2), true),
            ("missed", search(&[], 2), false),
            ("another version", search(&[("a", 2)], 2), false),
            ("invented", search(&[("a", 1), ("b", 2)], 2), false),
            ("not covered", search(&[("a", 1)], 1), false),
        ] {
            assert_eq!(check(&scanned, &found).is_ok(), fine, "{story}");
        }
    }
}
