//! Who watches keys, and applies what it is told to a copy, ends up with what the store holds; on the
//! way it is told only what was chosen, and of each key in the order of its versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engram_core::protocol::watch::Told;
use engram_core::types::{Ballot, Key, Register, ShardId};

use super::{Property, Violation};

/// A watcher's copy of the keys that it watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    prefix: Vec<u8>,
    shards: BTreeMap<ShardId, Shard>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Shard {
    held: BTreeMap<Key, Ballot>,
    /// The version of each key that was told last, as far as order is promised.
    last: BTreeMap<Key, Ballot>,
}

impl Copy {
    /// A copy of the keys with this prefix, of which there are none yet.
    pub fn new(prefix: Vec<u8>) -> Copy {
        let shards = BTreeMap::new();
        Copy { prefix, shards }
    }

    /// The watcher ended, and another goes on from its cursor with its copy: it may be told again
    /// what is old.
    pub fn handed_over(&mut self) {
        for shard in self.shards.values_mut() {
            shard.last.clear();
        }
    }

    /// The watcher is told something of a shard. `chosen` knows what was chosen with a version.
    ///
    /// # Errors
    /// If that is not what was chosen, is of another key, or goes back.
    pub fn told<'a>(
        &mut self,
        shard: ShardId,
        told: &Told,
        chosen: impl Fn(&Key, Ballot) -> Option<&'a Arc<Register>>,
    ) -> Result<(), Violation> {
        let (key, version) = match told {
            Told::Put { key, entry, .. } => (key, entry.version),
            Told::Deleted { key, version } | Told::Expired { key, version } => (key, *version),
            Told::Resync => {
                self.shards.remove(&shard);
                return Ok(());
            }
            Told::Resynced => return Ok(()),
        };
        let violation = |what: &str| {
            Err(Violation::new(
                Property::Watched,
                format!("{told:?} {what}"),
            ))
        };
        if !key.as_bytes().starts_with(&self.prefix) {
            return violation("is not watched");
        }
        let is_so = chosen(key, version).is_some_and(|register| match told {
            Told::Put { entry, .. } => {
                register.value.as_ref() == Some(&entry.value)
                    && register.expires_at == entry.expires_at
            }
            _ => register.value.is_none(),
        });
        if !is_so {
            return violation("was told and never chosen");
        }
        let Shard { held, last } = self.shards.entry(shard).or_default();
        if let Some(last) = last.insert(key.clone(), version)
            && last >= version
        {
            return violation(&format!("was told after version {last}"));
        }
        match told {
            Told::Put { .. } => held.insert(key.clone(), version),
            _ => held.remove(key),
        };
        Ok(())
    }

    /// Compares the copy with what the store holds at rest; keys that are `spared` do not count.
    ///
    /// # Errors
    /// If they differ.
    pub fn at_rest(
        &self,
        stored: &BTreeMap<Key, Ballot>,
        spared: &BTreeSet<Key>,
    ) -> Result<(), Violation> {
        let held = self.shards.values().flat_map(|shard| &shard.held);
        let held: BTreeMap<&Key, &Ballot> = held.collect();
        let watched = stored
            .keys()
            .filter(|key| key.as_bytes().starts_with(&self.prefix));
        let mut all = watched.chain(held.keys().copied());
        let differs =
            |key: &&Key| !spared.contains(*key) && held.get(key).copied() != stored.get(*key);
        match all.find(differs) {
            None => Ok(()),
            Some(key) => {
                let (held, stored) = (held.get(key), stored.get(key));
                let story = format!("a watcher holds {key:?} as {held:?}, stored is {stored:?}");
                Err(Violation::new(Property::Watched, story))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::types::Blob;
    use engram_core::wire::Entry;

    const SHARD: ShardId = ShardId(0);

    fn key(text: &str) -> Key {
        Key::new(text).expect("short")
    }

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    fn register(value: Option<&str>) -> Arc<Register> {
        Arc::new(Register {
            value: value.map(Blob::from),
            ..Register::default()
        })
    }

    fn put(name: &str, n: u64, value: &str) -> Told {
        let entry = Entry {
            value: Blob::from(value),
            version: ballot(n),
            tags: vec![],
            expires_at: None,
        };
        Told::Put {
            key: key(name),
            entry,
            score: None,
        }
    }

    fn deleted(name: &str, n: u64) -> Told {
        Told::Deleted {
            key: key(name),
            version: ballot(n),
        }
    }

    #[test]
    fn what_was_not_chosen_or_goes_back_is_caught() {
        let all = BTreeMap::from([
            ((key("ka"), ballot(1)), register(Some("1"))),
            ((key("ka"), ballot(2)), register(None)),
            ((key("kb"), ballot(3)), register(Some("3"))),
            ((key("other"), ballot(4)), register(Some("4"))),
        ]);
        for (story, events, fine) in [
            ("in order", vec![put("ka", 1, "1"), deleted("ka", 2)], true),
            ("back", vec![deleted("ka", 2), put("ka", 1, "1")], false),
            ("again", vec![put("ka", 1, "1"), put("ka", 1, "1")], false),
            (
                "anew",
                vec![put("ka", 1, "1"), Told::Resync, put("ka", 1, "1")],
                true,
            ),
            (
                "gone, and anew",
                vec![deleted("ka", 2), Told::Resync, deleted("ka", 2)],
                true,
            ),
            ("another value", vec![put("kb", 3, "x")], false),
            ("no such version", vec![put("kb", 9, "3")], false),
            ("not deleted", vec![deleted("kb", 3)], false),
            ("another prefix", vec![put("other", 4, "4")], false),
        ] {
            let mut copy = Copy::new(b"k".to_vec());
            let chosen = |key: &Key, version| all.get(&(key.clone(), version));
            let result = events
                .iter()
                .try_for_each(|told| copy.told(SHARD, told, chosen));
            assert_eq!(result.is_ok(), fine, "{story}: {result:?}");
        }
    }

    #[test]
    fn whatever_differs_at_rest_is_caught() {
        let all = [register(Some("1")), register(None)];
        let chosen = |_: &Key, version: Ballot| all.get(usize::from(version == ballot(9)));
        let stored = |entries: &[(&str, u64)]| -> BTreeMap<Key, Ballot> {
            let entries = entries.iter();
            entries.map(|(name, n)| (key(name), ballot(*n))).collect()
        };
        let mut copy = Copy::new(b"k".to_vec());
        for told in [put("ka", 1, "1"), put("kb", 2, "1"), deleted("kb", 9)] {
            copy.told(SHARD, &told, chosen).expect("it was chosen");
        }
        let none = BTreeSet::new();
        for (story, entries, fine) in [
            ("equal", &[("ka", 1), ("other", 5)][..], true),
            ("stale", &[("ka", 3)], false),
            ("missed", &[("ka", 1), ("kb", 9)], false),
            ("left", &[], false),
        ] {
            assert_eq!(
                copy.at_rest(&stored(entries), &none).is_ok(),
                fine,
                "{story}"
            );
        }
        let spared = BTreeSet::from([key("ka")]);
        assert_eq!(copy.at_rest(&stored(&[]), &spared), Ok(()));
        copy.told(SHARD, &Told::Resync, chosen)
            .expect("nothing is told");
        assert_eq!(copy.at_rest(&stored(&[]), &none), Ok(()));
        copy.told(SHARD, &put("ka", 1, "1"), chosen).expect("anew");
        copy.handed_over();
        copy.told(SHARD, &put("ka", 1, "1"), chosen)
            .expect("told again");
        assert_eq!(copy.at_rest(&stored(&[("ka", 1)]), &none), Ok(()));
    }
}
