//! What standing queries are told: learned changes, purged deletions, and what is not known.

use std::sync::Arc;

use super::super::{Effect, Event};
use super::world::*;
use crate::limits::WATCH_PAGE_MAX;
use crate::protocol::watch::{WatchFeed, WatchQuery, WatchState};
use crate::types::{Lseq, NamespaceId, RecordKey, Register};
use crate::wire::register::{ReplyBody, RequestBody};

fn watch(world: &mut World, after: Option<u64>, prefix: &str) -> WatchFeed {
    let query = WatchQuery {
        token: 7,
        after: after.map(Lseq),
        namespace: NamespaceId(1),
        prefix: prefix.into(),
    };
    let mut effects = world.step(Event::Watch(query));
    effects.extend(world.sync());
    let feed = effects.into_iter().find_map(|effect| match effect {
        Effect::Watched(feed) => Some(feed),
        _ => None,
    });
    let feed = feed.expect("every question is answered");
    assert_eq!(feed.token, 7);
    feed
}

fn learn_of(key: &RecordKey, n: u64) -> RequestBody {
    RequestBody::Learn {
        chosen: vec![(key.clone(), ballot(n))],
    }
}

fn names(feed: &WatchFeed) -> Vec<String> {
    let name = |entry: &crate::protocol::watch::WatchEntry| {
        let key = entry.key.key.to_text();
        match entry.state {
            WatchState::Present(_) => key.into_owned(),
            WatchState::Deleted => format!("-{key}"),
            WatchState::Expired => format!("~{key}"),
        }
    };
    feed.entries.iter().map(name).collect()
}

fn put(world: &mut World, name: &str, n: u64) {
    world.tell(accept_at(&named(name), n, &value("v"), 0));
    world.ask(learn_of(&named(name), n));
    world.sync();
}

#[test]
fn learned_changes_of_watched_keys_are_shown_once_each() {
    let mut world = World::serving();
    put(&mut world, "a1", 5);
    let feed = watch(&mut world, None, "a");
    assert!(feed.is_complete && feed.entries.is_empty(), "from now on");
    let begin = feed.upto.0;
    for (name, n) in [("a1", 6), ("b", 7), ("a2", 8), ("a1", 9)] {
        put(&mut world, name, n);
    }
    world.tell(accept_at(&named("a3"), 10, &value("v"), 0));
    let feed = watch(&mut world, Some(begin), "a");
    assert_eq!(names(&feed), ["a2", "a1"], "a3 is not known to be chosen");
    assert!(feed.is_complete);
    let next = feed.upto.0;
    assert_eq!(names(&watch(&mut world, Some(next), "a")), [""; 0]);
    world.ask(learn_of(&named("a3"), 10));
    assert_eq!(names(&watch(&mut world, Some(next), "a")), ["a3"]);
    assert_eq!(names(&watch(&mut world, Some(begin), "")).len(), 4);
}

#[test]
fn a_deletion_is_shown_even_when_its_record_is_purged() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let begin = watch(&mut world, None, "").upto.0;
    world.tell(accept(5, &tombstone()));
    world.ask(learn(5));
    assert_eq!(names(&watch(&mut world, Some(begin), "")), ["-k"]);
    world.ask(purge(5));
    world.sync();
    let feed = watch(&mut world, Some(begin), "");
    assert_eq!(names(&feed), ["-k"]);
    assert!(feed.is_complete);
    assert_eq!(names(&watch(&mut world, Some(begin), "x")), [""; 0]);
    // The next life does not remember it.
    world.restart(|_| {});
    let feed = watch(&mut world, Some(begin), "");
    assert!(!feed.is_complete && feed.entries.is_empty());
    assert!(watch(&mut world, Some(feed.upto.0), "").is_complete);
}

#[test]
fn a_purge_elsewhere_that_leaves_an_empty_register_here_hides_no_deletion() {
    // Accepted at these ballots, of which 1 is its own, before an empty register comes.
    for (story, ballots, learned, shown, is_complete) in [
        ("purged by a round", &[1, 5][..], true, &["-k"][..], true),
        ("perhaps purged by a round", &[1, 5], false, &[], false),
        ("never chosen", &[1], false, &[], true),
    ] {
        let mut world = World::serving();
        let begin = watch(&mut world, None, "").upto.0;
        for n in ballots {
            world.tell(accept(*n, &tombstone()));
            if learned {
                world.ask(learn(*n));
            }
        }
        world.tell(accept(7, &Arc::new(Register::default())));
        world.ask(learn(7));
        let feed = watch(&mut world, Some(begin), "");
        assert_eq!(names(&feed), shown, "{story}");
        assert_eq!(feed.is_complete, is_complete, "{story}");
        let feed = watch(&mut world, Some(feed.upto.0), "");
        assert!(feed.is_complete && feed.entries.is_empty(), "{story}");
    }
}

#[test]
fn a_position_that_is_none_of_this_log_is_not_known() {
    let mut world = World::serving();
    put(&mut world, "a", 5);
    let feed = watch(&mut world, Some(u64::MAX), "");
    assert!(feed.serving && !feed.is_complete);
    assert!(!watch(&mut world, Some(1_000), "").is_complete);
    let mut silent = World::new(|_| {});
    silent.step(Event::Start);
    assert!(!watch(&mut silent, Some(0), "").serving);
}

#[test]
fn a_position_covers_what_was_followed_of_the_peers_before() {
    let mut world = World::serving();
    let begin = watch(&mut world, None, "").upto.0;
    let effects = world.step(Event::PeerUp(PEER));
    let request = asked(&effects)[0].1;
    let body = ReplyBody::Changes {
        changes: vec![(Lseq(9), key(), ballot(5))],
        upto: Lseq(9),
        more: false,
    };
    let effects = world.answered(PEER, request, body);
    let request = asked(&effects)[0].1;
    let records = vec![(key(), newer(5, &value("new")))];
    world.answered(PEER, request, ReplyBody::Records { records });
    world.sync();
    let feed = watch(&mut world, Some(begin), "");
    assert_eq!(names(&feed), ["k"]);
    assert!(feed.position.contains(&(PEER, Lseq(9))), "{feed:?}");
    assert!(feed.position.contains(&(ME, feed.upto)));
    // What is not learned yet may be of the peer's log: its position must not run ahead.
    world.tell(accept_at(&named("z"), 9, &value("v"), 0));
    let feed = watch(&mut world, Some(begin), "");
    assert_eq!(names(&feed), ["k"]);
    assert!(feed.position.contains(&(PEER, Lseq(9))));
}

#[test]
fn pages_are_bounded_and_lead_on() {
    let mut world = World::serving();
    let begin = watch(&mut world, None, "").upto.0;
    let count = 2 * WATCH_PAGE_MAX + 10;
    for number in 0..count {
        put(&mut world, &format!("k{number:04}"), 5 + number as u64);
    }
    let (mut after, mut seen) = (begin, Vec::new());
    loop {
        let feed = watch(&mut world, Some(after), "k");
        if feed.entries.is_empty() {
            break;
        }
        assert!(feed.entries.len() <= WATCH_PAGE_MAX);
        after = feed.upto.0;
        seen.extend(names(&feed));
    }
    assert_eq!(seen.len(), count);
    assert!(seen.is_sorted());
}
