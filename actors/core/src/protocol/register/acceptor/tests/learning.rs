//! What is chosen, what the index may read, and who settles what was never learned.

use super::super::{Effect, Event, FeedPage};
use super::world::*;
use crate::types::{Ballot, Lseq, RecordKey};
use crate::wire::register::RequestBody;

/// Feeds everything after position 0.
fn feed(world: &mut World) -> FeedPage {
    let event = Event::Feed {
        token: 3,
        after: Lseq(0),
        limit: 100,
    };
    let mut effects = world.step(event);
    effects.extend(world.sync());
    let page = effects.into_iter().find_map(|effect| match effect {
        Effect::Feed(page) => Some(page),
        _ => None,
    });
    page.expect("every question is answered")
}

fn keys_of(page: &FeedPage) -> Vec<&RecordKey> {
    page.entries.iter().map(|entry| &entry.key).collect()
}

fn advances(effects: &[Effect]) -> Vec<Lseq> {
    let below = |effect: &Effect| match effect {
        Effect::Advance(below) => Some(*below),
        _ => None,
    };
    effects.iter().filter_map(below).collect()
}

#[test]
fn the_index_gets_what_is_durable_and_learned() {
    let (mut world, v) = (World::serving(), value("v"));
    world.tell(accept(5, &v));
    assert_eq!(feed(&mut world).entries, [], "accepted is not chosen");
    let effects = world.ask(learn(5));
    assert_eq!(advances(&effects), [Lseq(2)]);
    let page = feed(&mut world);
    assert_eq!((page.token, page.upto), (3, Lseq(1)));
    assert_eq!(keys_of(&page), [&key()]);
    assert_eq!(page.entries[0].register, v);
}

#[test]
fn what_is_learned_before_it_is_durable_waits_for_the_disk() {
    let mut world = World::serving();
    world.ask(accept(5, &value("v")));
    let effects = world.ask(learn(5));
    assert_eq!(advances(&effects), []);
    assert_eq!(advances(&world.sync()), [Lseq(2)]);
}

#[test]
fn the_feed_stops_before_the_first_unlearned_change() {
    let (mut world, v) = (World::serving(), value("v"));
    for name in ["a", "b", "c"] {
        world.tell(accept_at(&named(name), 5, &v, 0));
    }
    for name in ["a", "c"] {
        world.ask(RequestBody::Learn {
            chosen: vec![(named(name), ballot(5))],
        });
    }
    let page = feed(&mut world);
    assert_eq!(keys_of(&page), [&named("a")]);
    assert_eq!(page.upto, Lseq(1));
    world.ask(RequestBody::Learn {
        chosen: vec![(named("b"), ballot(5))],
    });
    let names = [named("a"), named("b"), named("c")];
    assert_eq!(keys_of(&feed(&mut world)), names.iter().collect::<Vec<_>>());
}

#[test]
fn a_learned_ballot_that_is_not_here_is_fetched_from_who_told() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    let effects = world.ask(learn(6));
    let wanted = RequestBody::Fetch {
        wanted: vec![(key(), ballot(5))],
    };
    let asked = asked(&effects);
    assert_eq!(asked.len(), 1, "{effects:?}");
    assert_eq!((asked[0].0, &asked[0].2), (PEER, &wanted));
}

#[test]
fn a_learned_ballot_that_is_older_changes_nothing() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    assert_eq!(world.ask(learn(4)), []);
    assert_eq!(world.acceptor.status().unlearned, 1);
    assert_eq!(world.in_flight(), 0);
}

#[test]
fn what_is_never_learned_is_settled_by_a_round() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    let mut ticks = 0;
    while !world
        .step(Event::Tick { rank: 0 })
        .contains(&Effect::Settle(key()))
    {
        ticks += 1;
        assert!(ticks < 10, "it must not wait for ever");
        world.now = world.now.plus(super::super::TICK_MS);
    }
    assert!(ticks > 0, "there must be time to learn of it");
}

#[test]
fn what_two_replicas_have_accepted_is_chosen_without_being_told() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    let effects = world.step(Event::PeerUp(PEER));
    let request = asked(&effects)[0].1;
    let body = crate::wire::register::ReplyBody::Changes {
        changes: vec![(Lseq(9), key(), ballot(5))],
        upto: Lseq(9),
        more: false,
    };
    world.answered(PEER, request, body);
    assert_eq!(world.acceptor.status().unlearned, 0);
}

#[test]
fn a_promise_alone_is_nothing_for_the_index() {
    let mut world = World::serving();
    world.tell(prepare(5));
    assert_eq!(world.acceptor.status().unlearned, 0);
    let page = feed(&mut world);
    assert_eq!((page.entries.len(), page.upto), (0, Lseq(1)));
    let record = world.record().expect("promised");
    assert_eq!(record.accepted, Ballot::ZERO);
}

#[test]
fn a_page_that_leaves_out_what_is_about_to_move_waits_for_the_move() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    world.ask(learn(5));
    world.ask(accept(6, &value("w")));
    let event = Event::Feed {
        token: 3,
        after: Lseq(0),
        limit: 100,
    };
    // The next ballot has taken the key's only position away. If it is lost in a crash, the
    // position comes back, and an index that has passed it would never see it.
    let is_page = |effect: &Effect| matches!(effect, Effect::Feed(page) if page.upto == Lseq(1));
    assert!(!world.step(event).iter().any(is_page));
    assert!(world.sync().iter().any(is_page));
}
