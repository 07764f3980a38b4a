//! The entries that vectors belong to, numbered so that a row can name its entry in four bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};

use super::super::vectors::{EntryNumber, RowNumber};
use crate::types::{Ballot, Key, NamespaceId, RecordKey, ShardId};

/// An entry with vectors.
#[derive(Clone, Debug)]
pub(super) struct SpaceEntry {
    pub(super) key: RecordKey,
    pub(super) shard: ShardId,
    pub(super) vtag: Ballot,
    pub(super) tags: Box<[String]>,
    /// Its vectors; all other rows that name it are dead.
    pub(super) rows: Range<RowNumber>,
}

/// An entry, which stands for its key where keys are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByKey<'a>(pub(super) &'a SpaceEntry);

impl Ord for ByKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl PartialOrd for ByKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByKey<'_> {}

/// Entries by key and by number.
#[derive(Debug, Default)]
pub(super) struct SpaceEntries {
    numbers: BTreeMap<RecordKey, EntryNumber>,
    entries: Vec<Option<SpaceEntry>>,
    free: Vec<EntryNumber>,
}

impl SpaceEntries {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of a key, which may have no entry yet.
    pub(super) fn number(&self, key: &RecordKey) -> Option<EntryNumber> {
        match self.numbers.get(key) {
            Some(number) => Some(*number),
            None => match self.free.last() {
                Some(number) => Some(*number),
                None => u32::try_from(self.entries.len()).ok().map(EntryNumber),
            },
        }
    }

    /// Sets an entry under the number that [`SpaceEntries::number`] gave for its key. Returns the
    /// one it replaces.
    pub(super) fn set(&mut self, number: EntryNumber, entry: SpaceEntry) -> Option<SpaceEntry> {
        if self.numbers.insert(entry.key.clone(), number).is_none()
            && self.free.last() == Some(&number)
        {
            self.free.pop();
        }
        let place = place(number);
        if place >= self.entries.len() {
            self.entries.resize_with(place + 1, || None);
        }
        self.entries.get_mut(place)?.replace(entry)
    }

    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<SpaceEntry> {
        let number = self.numbers.remove(key)?;
        self.free.push(number);
        self.entries.get_mut(place(number))?.take()
    }

    pub(super) fn get(&self, key: &RecordKey) -> Option<&SpaceEntry> {
        let number = self.numbers.get(key)?;
        self.entries.get(place(*number))?.as_ref()
    }

    /// The entry of a row, if the row is alive.
    pub(super) fn of_row(&self, row: RowNumber, number: EntryNumber) -> Option<&SpaceEntry> {
        let entry = self.entries.get(place(number))?.as_ref()?;
        entry.rows.contains(&row).then_some(entry)
    }

    /// The entries whose keys begin so, in key order.
    pub(super) fn with_prefix<'a>(
        &'a self,
        namespace: NamespaceId,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = &'a SpaceEntry> {
        // No key is empty: a prefix that is none comes before all of them.
        let first = Key::new(prefix.to_vec()).ok();
        let first = first.map(|key| RecordKey { namespace, key });
        let from = first.map_or(Bound::Unbounded, Bound::Included);
        self.numbers
            .range((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.key.as_bytes().starts_with(prefix))
            .filter_map(|(_, number)| self.entries.get(place(*number))?.as_ref())
    }
}

fn place(number: EntryNumber) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, row: u64) -> SpaceEntry {
        SpaceEntry {
            key: RecordKey {
                namespace: NamespaceId(1),
                key: Key::new(name).expect("not empty"),
            },
            shard: ShardId(0),
            vtag: Ballot::ZERO,
            tags: Box::default(),
            rows: RowNumber(row)..RowNumber(row + 1),
        }
    }

    fn set(entries: &mut SpaceEntries, name: &str, row: u64) -> (EntryNumber, Option<u64>) {
        let entry = entry(name, row);
        let number = entries.number(&entry.key).expect("few entries");
        let old = entries.set(number, entry);
        (number, old.map(|old| old.rows.start.0))
    }

    #[test]
    fn numbers_are_given_again_and_old_rows_are_dead() {
        let mut entries = SpaceEntries::default();
        assert_eq!(set(&mut entries, "a", 1), (EntryNumber(0), None));
        assert_eq!(set(&mut entries, "b", 2), (EntryNumber(1), None));
        assert_eq!(set(&mut entries, "a", 3), (EntryNumber(0), Some(1)));
        assert!(entries.of_row(RowNumber(1), EntryNumber(0)).is_none());
        assert!(entries.of_row(RowNumber(3), EntryNumber(0)).is_some());
        assert!(entries.remove(&entry("a", 0).key).is_some());
        assert!(entries.remove(&entry("a", 0).key).is_none());
        assert!(entries.of_row(RowNumber(3), EntryNumber(0)).is_none());
        assert_eq!(set(&mut entries, "c", 4), (EntryNumber(0), None));
        assert!(entries.of_row(RowNumber(3), EntryNumber(0)).is_none());
        assert_eq!(set(&mut entries, "d", 5), (EntryNumber(2), None));
        assert_eq!(
            entries.get(&entry("c", 0).key).map(|e| e.rows.start.0),
            Some(4)
        );
    }

    #[test]
    fn prefixes_are_ranges() {
        let mut entries = SpaceEntries::default();
        for (name, row) in [("a", 1), ("ab", 2), ("abc", 3), ("b", 4)] {
            set(&mut entries, name, row);
        }
        let rows = |prefix: &'static [u8]| -> Vec<u64> {
            let found = entries.with_prefix(NamespaceId(1), prefix);
            found.map(|entry| entry.rows.start.0).collect()
        };
        assert_eq!(rows(b"ab"), [2, 3]);
        assert_eq!(rows(b""), [1, 2, 3, 4]);
        assert!(rows(b"x").is_empty());
    }
}
