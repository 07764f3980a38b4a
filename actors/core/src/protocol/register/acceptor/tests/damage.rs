//! Damaged records: found, abstained from, rebuilt.

use super::super::{Abstention, Effect, Event, Options, TICK_MS};
use super::world::*;
use crate::storage::format::FormatError;
use crate::storage::{Keyspace, keys};
use crate::types::IoId;
use crate::wire::register::ReplyBody;

fn options(options: &mut Options) {
    options.scrub_every_ms = 2 * TICK_MS;
    options.cache_bytes = 1;
}

/// An acceptor with a damaged record, of which ballot 5 was accepted and ballot 9 promised.
fn damaged() -> World {
    let mut world = World::serving_with(options);
    world.tell(accept(5, &value("lost")));
    world.tell(prepare(9));
    world.damage(Keyspace::Records, &keys::record(SHARD, &key()));
    world.restart(options);
    world
}

fn tick(world: &mut World) -> Vec<Effect> {
    world.now = world.now.plus(TICK_MS);
    world.step(Event::Tick { rank: 0 })
}

fn rebuilt(n: u64) -> Event {
    rebuilt_in(n, Abstention(1))
}

fn rebuilt_in(n: u64, abstention: Abstention) -> Event {
    Event::Rebuilt {
        key: key(),
        abstention,
        ballot: ballot(n),
        register: value("found"),
    }
}

/// What is said of damage among effects.
fn of_damage(effects: Vec<Effect>) -> Vec<Effect> {
    let mut effects = effects;
    effects.retain(|effect| {
        matches!(
            effect,
            Effect::Corrupt(..) | Effect::Rebuild(..) | Effect::Whole(_) | Effect::Broken(_)
        )
    });
    effects
}

fn found() -> [Effect; 2] {
    let corrupt = Effect::Corrupt(key(), FormatError::Corrupt("a record"));
    [corrupt, Effect::Rebuild(key(), Abstention(1))]
}

#[test]
fn a_replica_abstains_on_a_damaged_record_and_has_it_rebuilt() {
    let mut world = damaged();
    let effects = world.ask(read());
    assert_eq!(replies(&effects), [ReplyBody::NotVoting]);
    assert_eq!(of_damage(effects), found());
    for question in [prepare(20), accept(20, &value("v"))] {
        assert_eq!(world.tell(question), [ReplyBody::NotVoting]);
    }
    assert_eq!(
        of_damage(tick(&mut world)),
        [Effect::Rebuild(key(), Abstention(1))]
    );
    assert_eq!(world.acceptor.status().damaged, 1);

    let effects = world.step(rebuilt(7));
    assert_eq!(of_damage(effects), [Effect::Whole(key())]);
    world.sync();
    let record = world.record().expect("sound again");
    assert_eq!(
        (record.accepted, record.register),
        (ballot(7), value("found"))
    );
    assert_eq!(world.acceptor.status().damaged, 0);
    assert_eq!(of_damage(tick(&mut world)), []);
}

#[test]
fn a_rebuilt_record_keeps_the_promises_that_were_lost_with_it() {
    let mut world = damaged();
    world.ask(read());
    world.step(rebuilt(7));
    world.sync();
    // Ballot 9 was promised: its proposer relies on nothing between being accepted here.
    for n in 8..=9 {
        let refused = world.tell(accept(n, &value("between")));
        assert!(matches!(refused[..], [ReplyBody::Nack { .. }]), "{n}");
    }
    let above = world.meta().promised_below + 1;
    assert!(matches!(
        world.tell(prepare(above))[..],
        [ReplyBody::Promise { accepted, .. }] if accepted == ballot(7)
    ));
    world.restart(|_| {});
    assert!(world.meta().promised_below > above);
}

#[test]
fn every_promise_is_below_the_bound_on_disk() {
    let mut world = World::serving();
    for n in [1, 2, 4_000, 5_000, 5_001, 90_000] {
        world.tell(prepare(n));
        assert!(world.meta().promised_below > n, "{n}");
        world.tell(accept(n, &value("v")));
    }
    world.tell(accept_at(&key(), 90_001, &value("v"), 200_000));
    assert!(world.meta().promised_below > 200_000);
}

#[test]
fn a_record_damaged_once_more_is_not_rebuilt_by_a_round_from_before() {
    let mut world = damaged();
    world.ask(read());
    world.step(rebuilt(7));
    world.sync();
    let above = world.meta().promised_below + 1;
    world.tell(accept(above, &value("later")));
    // Another record takes its place in memory.
    world.tell(accept_at(&named("other"), 1, &value("v"), 0));
    world.damage(Keyspace::Records, &keys::record(SHARD, &key()));
    let again = Effect::Rebuild(key(), Abstention(2));
    assert_eq!(of_damage(world.ask(read()))[1], again);
    assert_eq!(of_damage(world.step(rebuilt(8))), []);
    assert_eq!(world.tell(read()), [ReplyBody::NotVoting]);
    let found = world.step(rebuilt_in(above + 1, Abstention(2)));
    assert_eq!(of_damage(found), [Effect::Whole(key())]);
}

#[test]
fn a_record_that_can_be_read_after_all_is_voted_on_and_not_replaced() {
    let mut world = damaged();
    world.ask(read());
    let at = keys::record(SHARD, &key());
    // The same bit changes back.
    world.damage(Keyspace::Records, &at);
    world.tell(accept_at(&named("other"), 1, &value("v"), 0));
    assert!(matches!(
        world.tell(accept(9, &value("v")))[..],
        [ReplyBody::Accepted { .. }]
    ));
    world.tell(accept_at(&named("other"), 2, &value("v"), 0));
    world.damage(Keyspace::Records, &at);
    world.ask(read());
    assert_eq!(
        of_damage(world.step(rebuilt(9))),
        [],
        "begun before that vote"
    );
    assert_eq!(world.tell(read()), [ReplyBody::NotVoting]);
}

#[test]
fn a_sound_record_is_not_replaced() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    assert_eq!(of_damage(world.step(rebuilt(7))), []);
    assert_eq!(world.in_flight(), 0);
    assert_eq!(world.record().expect("kept").accepted, ballot(5));
}

#[test]
fn damage_is_found_though_nobody_asks() {
    let mut world = damaged();
    let mut effects = Vec::new();
    for _ in 0..3 {
        effects.extend(tick(&mut world));
    }
    assert_eq!(of_damage(effects)[..2], found());
}

#[test]
fn a_damaged_copy_of_a_record_in_memory_is_written_again() {
    let mut world = World::serving_with(|options| options.scrub_every_ms = TICK_MS);
    world.tell(accept(5, &value("v")));
    world.damage(Keyspace::Records, &keys::record(SHARD, &key()));
    for _ in 0..3 {
        assert_eq!(of_damage(tick(&mut world)), []);
    }
    world.sync();
    assert_eq!(world.record().expect("sound").accepted, ballot(5));
}

#[test]
fn what_cannot_be_read_at_all_is_damaged_too() {
    let mut world = World::serving();
    let mut effects = Vec::new();
    let request = world.request(read());
    world.acceptor.step(world.now, request, &mut effects);
    let [Effect::Load(io, ..)] = effects[..] else {
        panic!("the record is loaded: {effects:?}");
    };
    let effects = world.step(Event::Unreadable(io));
    assert_eq!(replies(&effects), [ReplyBody::NotVoting]);
    assert_eq!(of_damage(effects), found());
    let unknown = IoId(u64::MAX);
    let effects = world.step(Event::Unreadable(unknown));
    assert_eq!(of_damage(effects), [Effect::Broken(unknown)]);
}
