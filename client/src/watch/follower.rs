//! Following one shard: pure bookkeeping of where it is, what was shown, and what comes next.

use std::num::NonZeroUsize;

use engram_core::limits::WATCH_SHOWN_MAX;
use engram_core::types::{Key, MemberId, Millis, ShardId};
use engram_core::wire::{self, WatchPage, Watched};
use lru::LruCache;

use super::WatchEvent;
use super::cursor::Position;
use crate::{Entry, Version};

/// What to ask next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// What changed after the position.
    Changes,
    /// The shard's keys after this one: it is read anew.
    Keys(Option<Key>),
}

/// An entry that a shard holds, with its similarity if that was asked for.
pub(super) type Held = (Key, wire::Entry, Option<f32>);

/// Follows one shard.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) shard: ShardId,
    pub(super) position: Position,
    /// Who answered last: its own log is known best.
    pub(super) served_by: Option<MemberId>,
    pub(super) next: Next,
    /// Versions shown last, as far as remembered.
    shown: LruCache<Key, Version>,
}

impl Follower {
    /// Begins at a position; an empty one means from now on.
    pub(super) fn new(shard: ShardId, position: Position) -> Follower {
        let most = NonZeroUsize::new(WATCH_SHOWN_MAX).unwrap_or(NonZeroUsize::MIN);
        Follower {
            shard,
            position,
            served_by: None,
            next: Next::Changes,
            shown: LruCache::new(most),
        }
    }

    /// Takes a page of changes: what it shows that was not shown before.
    pub(super) fn changes(&mut self, page: WatchPage, now: Millis) -> Vec<WatchEvent> {
        self.served_by = Some(page.member);
        if !page.is_complete {
            self.position = Position::of(page.position);
            self.next = Next::Keys(None);
            // What was shown may be gone and have come back.
            self.shown.clear();
            return vec![WatchEvent::Resync {
                shard: self.shard.0,
            }];
        }
        self.position.advance(&page.position);
        let changes = page.changes.into_iter();
        changes
            .filter(|change| is_news(&mut self.shown, &change.key, change.version))
            .map(|change| event(change, now))
            .collect()
    }

    /// Takes a page of keys, while the shard is read anew.
    pub(super) fn keys(
        &mut self,
        entries: Vec<Held>,
        next: Option<Key>,
        now: Millis,
    ) -> Vec<WatchEvent> {
        let mut events = Vec::with_capacity(entries.len() + 1);
        for (key, entry, score) in entries {
            if is_news(&mut self.shown, &key, entry.version) {
                let entry = Entry::from_wire(entry, now);
                events.push(WatchEvent::Put { key, entry, score });
            }
        }
        self.next = match next {
            Some(key) => Next::Keys(Some(key)),
            None => Next::Changes,
        };
        if self.next == Next::Changes {
            let shard = self.shard.0;
            events.push(WatchEvent::Resynced { shard });
        }
        events
    }

    /// Whether the position may be told: not while the shard is being read anew.
    pub(super) fn is_current(&self) -> bool {
        self.next == Next::Changes && !self.position.0.is_empty()
    }
}

/// Whether this version of a key is newer than what was shown; notes it then. Another replica may
/// be behind, and shows again what is old.
fn is_news(shown: &mut LruCache<Key, Version>, key: &Key, version: Version) -> bool {
    if shown.get(key).is_some_and(|last| *last >= version) {
        return false;
    }
    shown.put(key.clone(), version);
    true
}

fn event(change: wire::WatchChange, now: Millis) -> WatchEvent {
    let (key, version) = (change.key, change.version);
    match change.state {
        Watched::Present(entry) => WatchEvent::Put {
            key,
            entry: Entry::from_wire(entry, now),
            score: change.score,
        },
        Watched::Deleted => WatchEvent::Deleted { key, version },
        Watched::Expired => WatchEvent::Expired { key, version },
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::{Blob, Lseq};

    use super::*;

    const NOW: Millis = Millis(1);

    fn key(name: &str) -> Key {
        Key::new(name).expect("short")
    }

    fn version(n: u64) -> Version {
        Version { n, ..Version::ZERO }
    }

    fn entry(n: u64) -> wire::Entry {
        wire::Entry {
            value: Blob::from("v"),
            version: version(n),
            tags: vec![],
            expires_at: None,
        }
    }

    fn page(member: u64, upto: u64, changes: &[(&str, u64, bool)]) -> WatchPage {
        let changes = changes.iter().map(|(name, n, is_put)| wire::WatchChange {
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

    fn names(events: &[WatchEvent]) -> Vec<String> {
        let name = |event: &WatchEvent| match event {
            WatchEvent::Put { key, entry, .. } => format!("{}@{}", key.to_text(), entry.version.n),
            WatchEvent::Deleted { key, version } => format!("-{}@{}", key.to_text(), version.n),
            other => format!("{other:?}"),
        };
        events.iter().map(name).collect()
    }

    #[test]
    fn nothing_is_shown_twice_or_out_of_order_when_another_replica_goes_on() {
        let mut follower = Follower::new(ShardId(3), Position::default());
        let events = follower.changes(page(1, 10, &[("a", 1, true), ("b", 2, true)]), NOW);
        assert_eq!(names(&events), ["a@1", "b@2"]);
        let events = follower.changes(page(1, 12, &[("a", 5, true), ("b", 6, false)]), NOW);
        assert_eq!(names(&events), ["a@5", "-b@6"]);
        let late = [("a", 1, true), ("b", 6, false), ("c", 3, true)];
        let events = follower.changes(page(2, 4, &late), NOW);
        assert_eq!(names(&events), ["c@3"]);
        assert_eq!(follower.served_by, Some(MemberId(2)));
        let known = [(MemberId(1), Lseq(12)), (MemberId(2), Lseq(4))];
        assert_eq!(follower.position.pairs(), known);
    }

    #[test]
    fn what_was_missed_is_said_and_the_shard_is_shown_anew() {
        let mut follower = Follower::new(ShardId(3), Position::default());
        follower.changes(page(1, 10, &[("a", 1, true)]), NOW);
        assert!(follower.is_current());
        let gap = WatchPage {
            is_complete: false,
            ..page(2, 70, &[])
        };
        let events = follower.changes(gap, NOW);
        assert_eq!(events, [WatchEvent::Resync { shard: 3 }]);
        assert_eq!(follower.next, Next::Keys(None));
        assert!(
            !follower.is_current(),
            "a crash here begins the reading anew"
        );
        let events = follower.keys(vec![(key("a"), entry(1), None)], Some(key("a")), NOW);
        assert_eq!(names(&events), ["a@1"], "shown again: it is still there");
        assert_eq!(follower.next, Next::Keys(Some(key("a"))));
        let events = follower.keys(vec![(key("b"), entry(9), None)], None, NOW);
        let last = events.last();
        assert_eq!(last, Some(&WatchEvent::Resynced { shard: 3 }));
        assert!(follower.is_current());
        assert_eq!(follower.position.pairs(), [(MemberId(2), Lseq(70))]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut follower = Follower::new(ShardId(0), Position::default());
        for n in 1..=WATCH_SHOWN_MAX as u64 + 10 {
            follower.changes(page(1, n, &[(&n.to_string(), n, true)]), NOW);
        }
        assert_eq!(follower.shown.len(), WATCH_SHOWN_MAX);
    }
}
