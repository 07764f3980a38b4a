//! Vectors that came before the entry they belong to was learned here.

use std::collections::{BTreeMap, VecDeque};

use super::super::{ModelId, VectorShip};
use crate::limits::INDEX_EARLY_SHIPS_MAX;
use crate::types::{Ballot, RecordKey};

/// The latest ships, one a key; the oldest gives way.
#[derive(Debug, Default)]
pub(super) struct EarlyShips {
    ships: BTreeMap<RecordKey, (u64, VectorShip)>,
    /// May name ships that are gone: then the number differs.
    order: VecDeque<(u64, RecordKey)>,
    count: u64,
}

impl EarlyShips {
    /// Keeps a ship, in place of an older one for the same key.
    pub(super) fn keep(&mut self, ship: VectorShip) {
        self.count += 1;
        self.order.push_back((self.count, ship.key.clone()));
        self.ships.insert(ship.key.clone(), (self.count, ship));
        while self.order.len() > INDEX_EARLY_SHIPS_MAX {
            let Some((number, key)) = self.order.pop_front() else {
                return;
            };
            if self
                .ships
                .get(&key)
                .is_some_and(|(kept, _)| *kept == number)
            {
                self.ships.remove(&key);
            }
        }
    }

    /// Takes the ship of a key. One of another version or model is thrown away: the key was
    /// written again since.
    pub(super) fn take(
        &mut self,
        key: &RecordKey,
        vtag: Ballot,
        model: &ModelId,
    ) -> Option<VectorShip> {
        let (_, ship) = self.ships.get(key)?;
        if ship.vtag > vtag {
            // Of a later version, whose entry is still to come.
            return None;
        }
        let (_, ship) = self.ships.remove(key)?;
        (ship.vtag == vtag && ship.model == *model).then_some(ship)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::{Embedding, HashEmbedder};
    use crate::types::{Key, NamespaceId, ShardId};

    fn ship(name: &str, n: u64) -> VectorShip {
        VectorShip {
            shard: ShardId(0),
            key: RecordKey {
                namespace: NamespaceId(1),
                key: Key::new(name).expect("not empty"),
            },
            vtag: Ballot { n, ..Ballot::ZERO },
            model: HashEmbedder::id(),
            vectors: Embedding::new(vec![1.0]).expect("finite").into(),
        }
    }

    #[test]
    fn only_the_right_version_is_given_out() {
        let model = HashEmbedder::id();
        let mut early = EarlyShips::default();
        early.keep(ship("k", 5));
        assert_eq!(
            early.take(&ship("k", 4).key, ship("k", 4).vtag, &model),
            None
        );
        assert_eq!(
            early.take(&ship("k", 5).key, ship("k", 5).vtag, &model),
            Some(ship("k", 5))
        );
        assert_eq!(
            early.take(&ship("k", 5).key, ship("k", 5).vtag, &model),
            None
        );
        early.keep(ship("k", 5));
        assert_eq!(
            early.take(&ship("k", 6).key, ship("k", 6).vtag, &model),
            None
        );
        assert!(early.ships.is_empty());
    }

    #[test]
    fn the_oldest_give_way() {
        let model = HashEmbedder::id();
        let mut early = EarlyShips::default();
        for number in 0..INDEX_EARLY_SHIPS_MAX + 1 {
            early.keep(ship(&number.to_string(), 1));
        }
        assert_eq!(early.ships.len(), INDEX_EARLY_SHIPS_MAX);
        assert_eq!(
            early.take(&ship("0", 1).key, ship("0", 1).vtag, &model),
            None
        );
        for _ in 0..3 * INDEX_EARLY_SHIPS_MAX {
            early.keep(ship("same", 1));
        }
        assert_eq!(
            (early.ships.len(), early.order.len()),
            (1, INDEX_EARLY_SHIPS_MAX)
        );
    }
}
