//! The beginning of a life, and disks that cannot be read.

use super::super::{Effect, Event};
use super::world::*;
use crate::storage::format::ShardMeta;
use crate::storage::{Keyspace, keys};
use crate::types::{Epoch, Lseq};
use crate::wire::register::{ReplyBody, RequestBody};

#[test]
fn it_votes_after_barrier_metadata_and_witness_and_not_before() {
    let mut world = World::new(|_| {});
    let refused = |world: &mut World| assert_eq!(world.tell(read()), [ReplyBody::NotVoting]);
    refused(&mut world);
    world.step(Event::Start);
    assert_eq!(world.in_flight(), 1, "a barrier through storage");
    world.step(Event::Witnessed);
    assert!(!world.acceptor.is_serving(), "the barrier is not durable");
    assert!(world.sync().contains(&Effect::Serving));
    assert_eq!(world.tell(prepare(5)), [promise(5, 0, None)]);

    let mut world = World::new(|_| {});
    world.step(Event::Start);
    world.sync();
    refused(&mut world);
    assert!(world.step(Event::Witnessed).contains(&Effect::Serving));
}

#[test]
fn a_shard_of_one_replica_needs_no_witness() {
    let mut world = World::new(|options| options.members = vec![ME]);
    world.step(Event::Start);
    assert!(world.sync().contains(&Effect::Serving));
}

#[test]
fn what_was_promised_and_accepted_is_known_in_the_next_life() {
    let mut world = World::serving();
    world.tell(accept_at(&key(), 5, &value("v"), 8));
    world.tell(accept_at(&named("b"), 5, &value("v"), 0));
    world.ask(RequestBody::Learn {
        chosen: vec![(named("b"), ballot(5))],
    });
    world.restart(|_| {});
    assert_eq!(world.tell(prepare(7)), [nack(7, 8)]);
    assert!(world.acceptor.status().changes >= 3, "the log goes on");
    let unlearned = world.acceptor.status().unlearned;
    assert!(
        unlearned >= 1,
        "what was not learned is still to be settled"
    );
}

#[test]
fn what_was_not_durable_is_not_known_in_the_next_life() {
    let mut world = World::serving();
    world.ask(accept(5, &value("v")));
    world.restart(|_| {});
    assert_eq!(world.record(), None);
    assert_eq!(world.tell(prepare(4)), [promise(4, 0, None)]);
}

#[test]
fn a_position_is_never_used_twice() {
    let mut world = World::serving();
    let mut last = Lseq(0);
    // More than are reserved at a time, over several lives.
    for n in 1..600 {
        if n % 250 == 0 {
            world.restart(|_| {});
        }
        world.tell(accept(n, &value("v")));
        let lseq = world.record().expect("accepted").lseq;
        assert!(lseq > last, "{lseq:?} after {last:?}");
        last = lseq;
    }
}

#[test]
fn with_damaged_metadata_it_never_votes() {
    let mut world = World::new(|_| {});
    world.put_meta(&ShardMeta::default());
    world.damage(Keyspace::Meta, &keys::shard_meta(SHARD));
    world.step(Event::Start);
    world.sync();
    world.step(Event::Witnessed);
    assert!(!world.acceptor.is_serving());
    assert_eq!(world.tell(prepare(5)), [ReplyBody::NotVoting]);
}

#[test]
fn another_epoch_is_not_voted_in() {
    let mut world = World::serving_with(|options| options.epoch = Epoch(2));
    for (epoch, expected) in [
        (Epoch(1), ReplyBody::StaleEpoch { epoch: Epoch(2) }),
        (Epoch(3), ReplyBody::NotVoting),
    ] {
        assert_eq!(replies(&world.ask_in(epoch, prepare(5))), [expected]);
    }
    assert_eq!(world.in_flight(), 0);
    assert_eq!(replies(&world.ask_in(Epoch(2), prepare(5))), []);
    assert_eq!(world.in_flight(), 1, "its own is");
}
