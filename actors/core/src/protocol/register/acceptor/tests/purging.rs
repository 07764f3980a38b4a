//! Forgetting tombstones: when it is ordered, when it is obeyed, and what the floor then refuses.

use super::super::{Effect, Event, TICK_MS};
use super::world::*;
use crate::storage::Keyspace;
use crate::types::{Ballot, LogicalTime, Lseq};
use crate::wire::register::{ReplyBody, RequestBody};

/// A replica that has followed its peers' logs, and accepted this at ballot 5.
fn holding(register: &std::sync::Arc<crate::types::Register>) -> World {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    world.tell(accept(5, register));
    world
}

#[test]
fn a_tombstone_is_forgotten_with_all_that_was_derived_from_it() {
    let mut world = holding(&tombstone());
    assert_eq!(world.count(Keyspace::Empties), 1);
    assert_eq!(replies(&world.ask(purge(5))), []);
    world.sync();
    assert_eq!(world.record(), None);
    for keyspace in [Keyspace::Records, Keyspace::Changes, Keyspace::Empties] {
        assert_eq!(world.count(keyspace), 0, "{keyspace:?}");
    }
    assert_eq!(world.meta().floor, ballot(5));
    assert_eq!(world.meta().floor_time, LogicalTime(100));
    assert_eq!(world.acceptor.status().purged, 1);
}

#[test]
fn an_order_that_does_not_fit_is_ignored() {
    let mut live = holding(&value("v"));
    let mut promised = holding(&tombstone());
    promised.tell(prepare(6));
    let mut reserved = holding(&tombstone());
    reserved.tell(accept_at(&key(), 5, &tombstone(), 8));
    let mut behind = World::serving();
    behind.tell(accept(5, &tombstone()));
    let mut other = holding(&tombstone());
    for (story, world, n) in [
        ("of a value", &mut live, 5),
        ("after a later promise", &mut promised, 5),
        ("with a reservation", &mut reserved, 5),
        ("before the peers' logs were followed", &mut behind, 5),
        ("of an older ballot", &mut other, 4),
    ] {
        assert_eq!(world.ask(purge(n)), [], "{story}");
        assert_eq!(world.in_flight(), 0, "{story}");
        assert!(world.record().is_some(), "{story}");
    }
    other.ask(purge(5));
    assert_eq!(other.in_flight(), 1, "the right one is obeyed");
}

#[test]
fn below_the_floor_nothing_is_promised_or_accepted() {
    let cases = [
        (prepare(5), nack(5, 5)),
        (prepare(4), nack(4, 5)),
        (accept(5, &tombstone()), nack(5, 5)),
        (accept(4, &value("old")), nack(4, 5)),
        (accept(6, &value("new")), accepted(6)),
        (
            prepare(6),
            ReplyBody::Promise {
                ballot: ballot(6),
                accepted: Ballot::ZERO,
                register: None,
                // Whoever finds the key empty must not evaluate older writes.
                floor_time: LogicalTime(100),
            },
        ),
    ];
    for (request, expected) in cases {
        let mut world = holding(&tombstone());
        world.ask(purge(5));
        world.sync();
        assert_eq!(world.tell(request), [expected]);
    }
}

#[test]
fn the_floor_is_of_the_shard_and_survives_a_restart() {
    let mut world = holding(&tombstone());
    world.ask(purge(5));
    world.sync();
    world.restart(|_| {});
    let other = accept_at(&named("other"), 5, &value("v"), 0);
    assert_eq!(world.tell(other), [nack(5, 5)]);
    // A key that has a record is not affected: its own ballots refuse what is old.
    world.tell(accept_at(&named("other"), 7, &value("v"), 0));
    assert_eq!(world.meta().floor, ballot(5));
}

#[test]
fn a_purge_that_is_not_durable_is_not_revealed() {
    let mut world = holding(&tombstone());
    world.ask(purge(5));
    assert_eq!(replies(&world.ask(prepare(4))), [], "the floor reveals it");
    assert_eq!(replies(&world.sync()), [nack(4, 5)]);
}

/// Ticks until the age of tombstones is over, and returns whether a purge was asked for.
fn purge_is_asked_for(world: &mut World) -> bool {
    let mut asked = false;
    for _ in 0..6 {
        world.now = world.now.plus(TICK_MS);
        asked |= world
            .step(Event::Tick { rank: 0 })
            .contains(&Effect::Purge(key()));
    }
    asked
}

#[test]
fn an_old_tombstone_is_purged_and_a_young_one_or_a_value_is_not() {
    for (story, register, age_ms, expected) in [
        ("old", tombstone(), 1_000, true),
        ("young", tombstone(), 60_000, false),
        ("value", value("v"), 1_000, false),
    ] {
        let mut world = World::serving_with(|options| options.purge_after_ms = age_ms);
        world.tell(accept(5, &register));
        world.ask(learn(5));
        assert_eq!(purge_is_asked_for(&mut world), expected, "{story}");
    }
}

#[test]
fn with_an_index_a_purge_waits_until_it_knows_of_the_deletion() {
    let mut world = World::serving_with(|options| {
        options.purge_after_ms = 1_000;
        options.indexed = true;
    });
    world.catch_up_with_silent_peers();
    world.tell(accept(4, &value("v")));
    world.tell(accept(5, &tombstone()));
    let at = world.record().expect("there").lseq;
    world.ask(learn(5));
    assert!(!purge_is_asked_for(&mut world));
    world.ask(purge(5));
    assert_eq!(world.in_flight(), 0, "not even when ordered");
    world.step(Event::Indexed(Lseq(at.0 - 1)));
    assert!(!purge_is_asked_for(&mut world), "one position before");
    world.step(Event::Indexed(at));
    assert!(purge_is_asked_for(&mut world));
    world.ask(purge(5));
    assert_eq!(world.in_flight(), 1);
}

#[test]
fn a_tombstone_that_a_purge_moved_needs_not_be_indexed_again() {
    let mut world = World::serving_with(|options| options.indexed = true);
    world.catch_up_with_silent_peers();
    world.tell(accept(4, &value("v")));
    world.tell(accept(5, &tombstone()));
    world.step(Event::Indexed(world.record().expect("there").lseq));
    world.tell(accept(6, &tombstone()));
    world.ask(purge(6));
    world.sync();
    assert_eq!(world.record(), None);
}

#[test]
fn a_purged_key_can_be_written_again() {
    let mut world = holding(&tombstone());
    world.ask(purge(5));
    world.sync();
    assert_eq!(world.tell(accept(6, &value("new"))), [accepted(6)]);
    let read = world.tell(RequestBody::Read {
        key: key(),
        with_register: false,
    });
    assert!(matches!(read[..], [ReplyBody::Read { accepted, .. }] if accepted == ballot(6)));
    assert_eq!(world.meta().floor, ballot(5));
}
