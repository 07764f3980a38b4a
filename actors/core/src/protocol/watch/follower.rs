//! A watcher's side: pure bookkeeping of where it is in a shard, what was shown of it, and what
//! comes next.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::Position;
use crate::limits::WATCH_SHOWN_MAX;
use crate::types::{Ballot, Key, MemberId};
use crate::wire::{Entry, WatchChange, WatchPage, Watched};

/// What to ask next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// What changed after the position.
    Changes,
    /// The shard's keys after this one: it is read anew.
    Keys(Option<Key>),
}

/// An entry that a shard holds, with its similarity if that was asked for.
pub type Held = (Key, Entry, Option<f32>);

/// What a watcher is told of a shard.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// A key holds this.
    Put {
        /// Which key.
        key: Key,
        /// What it holds.
        entry: Entry,
        /// Cosine similarity, if the meaning was compared.
        score: Option<f32>,
    },
    /// A key was deleted.
    Deleted {
        /// Which key.
        key: Key,
        /// The version of the deletion.
        version: Ballot,
    },
    /// A key's value has ended.
    Expired {
        /// Which key.
        key: Key,
        /// The version of its end.
        version: Ballot,
    },
    /// Changes were missed, deletions perhaps: all keys follow.
    Resync,
    /// All keys were shown.
    Resynced,
}

/// Follows one shard.
#[derive(Debug)]
pub struct Follower {
    position: Position,
    next: Next,
    /// Who answered last: its own log is known best.
    served_by: Option<MemberId>,
    /// Versions shown last, as far as remembered.
    shown: LruCache<Key, Ballot>,
}

impl Follower {
    /// Begins at a position; an empty one means from now on.
    pub fn new(position: Position) -> Follower {
        let most = NonZeroUsize::new(WATCH_SHOWN_MAX).unwrap_or(NonZeroUsize::MIN);
        Follower {
            position,
            next: Next::Changes,
            served_by: None,
            shown: LruCache::new(most),
        }
    }

    /// What changed after this is asked for.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// What to ask next.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// Whom to ask first: who answered last.
    pub fn served_by(&self) -> Option<MemberId> {
        self.served_by
    }

    /// Who answered last did not answer: any replica may be asked.
    pub fn unanswered(&mut self) {
        self.served_by = None;
    }

    /// Where a later watcher goes on that was told all that this one was; none before the first
    /// answer. What a watcher that is being shown the shard anew had is gone: so is its position.
    pub fn cursor(&self) -> Option<Position> {
        let known = (!self.position.0.is_empty()).then_some(&self.position);
        known.map(|position| match self.next {
            Next::Changes => position.clone(),
            Next::Keys(_) => position.beyond(),
        })
    }

    /// Takes a page of changes: what it shows that was not shown before.
    pub fn changes(&mut self, page: WatchPage) -> Vec<Told> {
        self.served_by = Some(page.member);
        if !page.is_complete {
            self.position = Position::of(page.position);
            self.next = Next::Keys(None);
            // What was shown may be gone and have come back.
            self.shown.clear();
            return vec![Told::Resync];
        }
        self.position.advance(&page.position);
        let changes = page.changes.into_iter();
        changes
            .filter(|change| is_news(&mut self.shown, &change.key, change.version))
            .map(told)
            .collect()
    }

    /// Takes a page of keys, while the shard is read anew.
    pub fn keys(&mut self, entries: Vec<Held>, next: Option<Key>) -> Vec<Told> {
        let mut events = Vec::with_capacity(entries.len() + 1);
        for (key, entry, score) in entries {
            if is_news(&mut self.shown, &key, entry.version) {
                events.push(Told::Put { key, entry, score });
            }
        }
        self.next = match next {
            Some(key) => Next::Keys(Some(key)),
            None => Next::Changes,
        };
        if self.next == Next::Changes {
            events.push(Told::Resynced);
        }
        events
    }
}

/// Whether this version of a key is newer than what was shown; notes it then. Another replica may
/// be behind, and shows again what is old.
fn is_news(shown: &mut LruCache<Key, Ballot>, key: &Key, version: Ballot) -> bool {
    if shown.get(key).is_some_and(|last| *last >= version) {
        return false;
    }
    shown.put(key.clone(), version);
    true
}

fn told(change: WatchChange) -> Told {
    let (key, version, score) = (change.key, change.version, change.score);
    match change.state {
        Watched::Present(entry) => Told::Put { key, entry, score },
        Watched::Deleted => Told::Deleted { key, version },
        Watched::Expired => Told::Expired { key, version },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, Lseq};

    fn key(name: &str) -> Key {
        Key::new(name).expect("short")
    }

    fn version(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    fn entry(n: u64) -> Entry {
        Entry {
            value: Blob::from("v"),
            version: version(n),
            tags: vec![],
            expires_at: None,
        }
    }

    fn page(member: u64, upto: u64, changes: &[(&str, u64, bool)]) -> WatchPage {
        let changes = changes.iter().map(|(name, n, is_put)| WatchChange {
            key: key(name),
            version: version(*n),
            state: if *is_put {
                Watched::Present(entry(*n))
            } else {
                Watched::Deleted
            },
            score: None,
        });
        WatchPage {
            member: MemberId(member),
            changes: changes.collect(),
            position: vec![(MemberId(member), Lseq(upto))],
            is_complete: true,
        }
    }

    fn names(events: &[Told]) -> Vec<String> {
        let name = |event: &Told| match event {
            Told::Put { key, entry, .. } => format!("{}@{}", key.to_text(), entry.version.n),
            Told::Deleted { key, version } => format!("-{}@{}", key.to_text(), version.n),
            other => format!("{other:?}"),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn nothing_is_shown_twice_or_out_of_order_when_another_replica_goes_on() {
        let mut follower = Follower::new(Position::default());
        let events = follower.changes(page(1, 10, &[("a", 1, true), ("b", 2, true)]));
        assert_eq!(names(&events), ["a@1", "b@2"]);
        let events = follower.changes(page(1, 12, &[("a", 5, true), ("b", 6, false)]));
        assert_eq!(names(&events), ["a@5", "-b@6"]);
        let late = [("a", 1, true), ("b", 6, false), ("c", 3, true)];
        let events = follower.changes(page(2, 4, &late));
        assert_eq!(names(&events), ["c@3"]);
        assert_eq!(follower.served_by, Some(MemberId(2)));
        let known = [(MemberId(1), Lseq(12)), (MemberId(2), Lseq(4))];
        assert_eq!(follower.position.pairs(), known);
    }

    #[test]
    fn what_was_missed_is_said_and_the_shard_is_shown_anew() {
        let mut follower = Follower::new(Position::default());
        follower.changes(page(1, 10, &[("a", 1, true)]));
        assert_eq!(follower.cursor().as_ref(), Some(follower.position()));
        let gap = WatchPage {
            is_complete: false,
            ..page(2, 70, &[])
        };
        let events = follower.changes(gap);
        assert_eq!(events, [Told::Resync]);
        assert_eq!(follower.next, Next::Keys(None));
        let cursor = follower.cursor().expect("it was answered");
        let nowhere = [(MemberId(2), Lseq(u64::MAX))];
        assert_eq!(cursor.pairs(), nowhere, "what was shown is gone");
        let events = follower.keys(vec![(key("a"), entry(1), None)], Some(key("a")));
        assert_eq!(names(&events), ["a@1"], "shown again: it is still there");
        assert_eq!(follower.next, Next::Keys(Some(key("a"))));
        let events = follower.keys(vec![(key("b"), entry(9), None)], None);
        let last = events.last();
        assert_eq!(last, Some(&Told::Resynced));
        let cursor = follower.cursor().expect("it was answered");
        assert_eq!(cursor.pairs(), [(MemberId(2), Lseq(70))]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut follower = Follower::new(Position::default());
        for n in 1..=WATCH_SHOWN_MAX as u64 + 10 {
            follower.changes(page(1, n, &[(&n.to_string(), n, true)]));
        }
        assert_eq!(follower.shown.len(), WATCH_SHOWN_MAX);
    }
}
