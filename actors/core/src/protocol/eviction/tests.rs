use std::collections::BTreeSet;

use super::*;
use crate::limits::EVICTION_CANDIDATES_MAX;

const NAMESPACE: NamespaceId = NamespaceId(7);
const PAGE: usize = 10;

/// A shard's entries, which do at once what the evictor wants.
#[derive(Default)]
struct World {
    evictor: Evictor,
    entries: BTreeMap<Key, Ballot>,
    now: Millis,
    written: u64,
    pages: u64,
    most_deleting: usize,
    unreadable: bool,
}

fn key(number: u64) -> Key {
    Key::new(format!("{number:06}")).expect("short")
}

fn record_key(number: u64) -> RecordKey {
    let namespace = NAMESPACE;
    let key = key(number);
    RecordKey { namespace, key }
}

impl World {
    fn new(most: u64) -> World {
        let mut world = World {
            now: Millis(1_000_000),
            ..World::default()
        };
        world.step(Event::Limits(BTreeMap::from([(NAMESPACE, most)])));
        world
    }

    fn step(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.evictor.step(self.now, event, &mut effects);
        while !effects.is_empty() {
            let deleting = effects.iter();
            let deleting = deleting.filter(|effect| matches!(effect, Effect::Delete { .. }));
            self.most_deleting = self.most_deleting.max(deleting.count());
            for effect in std::mem::take(&mut effects) {
                let answer = self.answer(effect);
                self.evictor.step(self.now, answer, &mut effects);
            }
        }
    }

    fn answer(&mut self, effect: Effect) -> Event {
        match effect {
            Effect::Scan {
                ticket,
                namespace,
                after,
            } => {
                assert_eq!(namespace, NAMESPACE);
                self.pages += 1;
                if self.unreadable {
                    return Event::Failed(ticket);
                }
                let beyond = |key: &Key| after.as_ref().is_none_or(|after| key > after);
                let mut rest = self.entries.iter().filter(|(key, _)| beyond(key));
                let page = rest.by_ref().take(PAGE);
                let page = page.map(|(key, version)| (key.clone(), *version)).collect();
                Event::Page(ticket, page, rest.next().is_some())
            }
            Effect::Delete {
                ticket,
                key,
                version,
            } => {
                let unchanged = self.entries.get(&key.key) == Some(&version);
                if unchanged {
                    self.entries.remove(&key.key);
                    Event::Deleted(ticket, true)
                } else {
                    Event::Failed(ticket)
                }
            }
        }
    }

    /// Writes through this replica.
    fn put(&mut self, number: u64) {
        self.put_elsewhere(number);
        self.step(Event::Write(record_key(number)));
    }

    /// Writes through another replica.
    fn put_elsewhere(&mut self, number: u64) {
        self.written += 1;
        let version = Ballot {
            n: self.written,
            ..Ballot::ZERO
        };
        self.entries.insert(key(number), version);
    }

    fn read(&mut self, number: u64) {
        self.step(Event::Read(record_key(number)));
    }

    fn ticks(&mut self, count: u64, is_first: bool) {
        for _ in 0..count {
            self.now = self.now.plus(TICK_MS);
            self.step(Event::Tick { is_first });
        }
    }

    /// Ticks until no sweep is under way.
    fn until_idle(&mut self) {
        let before = self.pages;
        self.ticks(1, true);
        if self.pages > before {
            self.until_idle();
        }
    }

    fn left(&self) -> BTreeSet<u64> {
        let numbers = self.entries.keys();
        numbers
            .map(|key| key.to_text().parse().expect("a number"))
            .collect()
    }
}

#[test]
fn the_least_recently_used_go_and_the_bound_holds() {
    let mut world = World::new(80);
    for number in 0..80 {
        world.put(number);
    }
    world.ticks(20, true);
    assert_eq!(world.entries.len(), 80, "it is full, not over");
    world.until_idle();
    for number in 0..10 {
        world.read(number);
    }
    world.put(100);
    world.ticks(20, true);
    let kept: BTreeSet<u64> = (0..10).chain(21..80).chain([100]).collect();
    assert_eq!(world.left(), kept, "the oldest unread ones make room");
    assert_eq!(world.evictor.evicted(), 11);
    assert!(world.most_deleting <= EVICTIONS_IN_FLIGHT_MAX);
}

#[test]
fn what_was_never_seen_used_goes_in_the_order_of_writing() {
    let mut world = World::new(8);
    for number in [5, 3, 9, 1, 7, 2, 8, 4, 6] {
        world.put_elsewhere(number);
    }
    world.read(3);
    world.ticks(4, true);
    assert_eq!(world.left(), BTreeSet::from([1, 2, 3, 4, 6, 7, 8]));
}

#[test]
fn only_the_first_replica_evicts_and_a_new_first_one_looks_anew() {
    let mut world = World::new(8);
    for number in 0..50 {
        world.put(number);
    }
    world.ticks(50, false);
    assert_eq!((world.entries.len(), world.pages), (50, 0));
    world.ticks(5, true);
    assert_eq!(world.entries.len(), 7);
    for number in 50..70 {
        world.put_elsewhere(number);
    }
    world.ticks(2, false);
    world.ticks(5, true);
    assert_eq!(world.entries.len(), 7);
}

#[test]
fn one_that_has_just_become_first_looks_on_before_it_evicts() {
    let mut world = World::new(8);
    for number in 0..50 {
        world.put_elsewhere(number);
    }
    world.ticks(2, true);
    assert_eq!((world.entries.len(), world.pages), (50, 0));
    world.read(0);
    world.ticks(2, true);
    assert_eq!(world.entries.len(), 7);
    assert!(world.left().contains(&0), "it was seen used");
}

#[test]
fn what_others_write_is_looked_for_more_rarely_as_long_as_there_is_none() {
    let mut world = World::new(8);
    world.ticks(2 * 300, true);
    let quiet = world.pages;
    assert!((6..=12).contains(&quiet), "1, 2, 4 ... 60 s apart: {quiet}");
    for number in 0..50 {
        world.put_elsewhere(number);
    }
    let waited = (1..=125).find(|_| {
        world.ticks(1, true);
        world.entries.len() == 7
    });
    assert!(waited.is_some(), "it looks once a minute anyway");
    for number in 50..70 {
        world.put_elsewhere(number);
    }
    world.ticks(4, true);
    assert_eq!(world.entries.len(), 7, "and soon again where it found some");
}

#[test]
fn an_entry_that_is_used_or_changed_meanwhile_stays() {
    let mut evictor = Evictor::default();
    let mut out = Vec::new();
    let now = Millis(1_000_000);
    let version = |n| Ballot { n, ..Ballot::ZERO };
    let limits = BTreeMap::from([(NAMESPACE, 1)]);
    evictor.step(now, Event::Limits(limits), &mut out);
    evictor.step(now, Event::Tick { is_first: true }, &mut out);
    assert!(out.is_empty(), "it looks on first");
    let now = now.plus(2 * TICK_MS);
    evictor.step(now, Event::Tick { is_first: true }, &mut out);
    let Some(Effect::Scan { ticket, .. }) = out.pop() else {
        panic!("no sweep");
    };
    let count = EVICTIONS_IN_FLIGHT_MAX as u64 + 2;
    let page = (1..=count).map(|n| (key(n), version(n))).collect();
    evictor.step(now, Event::Page(ticket, page, false), &mut out);
    assert_eq!(out.len(), EVICTIONS_IN_FLIGHT_MAX, "{out:?}");
    // The last one in line is read before its turn comes.
    evictor.step(now, Event::Read(record_key(count - 1)), &mut out);
    let tickets: Vec<EvictionTicket> = out
        .drain(..)
        .filter_map(|effect| match effect {
            Effect::Delete { ticket, .. } => Some(ticket),
            Effect::Scan { .. } => None,
        })
        .collect();
    for ticket in tickets {
        // As if each had been changed: its deletion finds another version.
        evictor.step(now, Event::Failed(ticket), &mut out);
    }
    assert!(out.is_empty(), "{out:?}");
    assert_eq!(evictor.evicted(), 0);
    let stray = Event::Deleted(EvictionTicket(1_000), true);
    evictor.step(now, stray, &mut out);
    assert_eq!(evictor.evicted(), 0, "it asked for no such thing");
}

#[test]
fn a_flood_is_worked_off_within_the_bounds() {
    let mut world = World::new(100);
    let count = 3 * EVICTION_CANDIDATES_MAX as u64;
    for number in 0..count {
        world.put(number);
    }
    world.ticks(3, true);
    let first = world.pages;
    assert!(first > 0);
    assert!(first <= u64::from(EVICTION_PAGES_PER_TICK));
    world.ticks(1000, true);
    assert!((88..=100).contains(&world.entries.len()));
    assert!(world.left().contains(&(count - 1)), "the newest stays");
    assert!(world.most_deleting <= EVICTIONS_IN_FLIGHT_MAX);
}

#[test]
fn unreachable_replicas_and_lifted_bounds_end_a_sweep() {
    let mut world = World::new(5);
    for number in 0..9 {
        world.put(number);
    }
    world.unreadable = true;
    world.ticks(7, true);
    assert_eq!((world.entries.len(), world.pages), (9, 3), "it tries again");
    world.step(Event::Limits(BTreeMap::new()));
    assert!(world.evictor.is_idle());
    world.unreadable = false;
    world.ticks(5, true);
    assert_eq!(world.entries.len(), 9);
}
