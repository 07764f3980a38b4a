//! Reads that are answered at once, and those that are not.

use proptest::prelude::*;

use super::super::{Effect, Event};
use super::world::*;
use crate::storage::{Keyspace, keys};
use crate::types::{Ballot, Epoch};
use crate::wire::register::{ReplyBody, RequestBody};

const EPOCH: Epoch = Epoch(1);

#[test]
fn a_peek_says_what_a_read_would_or_nothing() {
    let mut world = World::serving();
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), None, "on disk");
    assert_eq!(
        world.tell(read()),
        [ReplyBody::Read {
            accepted: Ballot::ZERO,
            register: None
        }]
    );
    let absent = Some((Ballot::ZERO, None));
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), absent);

    world.tell(accept(5, &value("v")));
    let found = Some((ballot(5), Some(value("v"))));
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), found);
    let ballot_only = Some((ballot(5), None));
    assert_eq!(world.acceptor.peek(EPOCH, &key(), false), ballot_only);
    assert_eq!(world.acceptor.peek(Epoch(2), &key(), true), None);
    world.acceptor.forget_records();
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), None, "on disk");
}

#[test]
fn what_is_not_durable_is_not_seen() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    for in_flight in [prepare(7), accept(8, &value("w"))] {
        world.ask(in_flight);
        assert_eq!(world.acceptor.peek(EPOCH, &key(), true), None);
        world.sync();
    }
    let found = Some((ballot(8), Some(value("w"))));
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), found);
}

#[test]
fn who_does_not_serve_or_abstains_says_nothing() {
    let mut world = World::new(|_| {});
    world.step(Event::Start);
    world.sync();
    world.ask(read());
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), None);

    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    world.damage(Keyspace::Records, &keys::record(SHARD, &key()));
    world.restart(|_| {});
    world.ask(RequestBody::Read {
        key: key(),
        with_register: true,
    });
    assert_eq!(world.acceptor.peek(EPOCH, &key(), true), None);
}

/// What is done to an acceptor between two peeks, for one of two keys.
#[derive(Clone, Debug)]
enum Deed {
    Prepare(u64),
    Accept(u64),
    Read,
    Sync,
    Forget,
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<(bool, Deed)>> {
    let deed = prop_oneof![
        (1_u64..40).prop_map(Deed::Prepare),
        (1_u64..40).prop_map(Deed::Accept),
        Just(Deed::Read),
        Just(Deed::Sync),
        Just(Deed::Forget),
        Just(Deed::Restart),
    ];
    prop::collection::vec((any::<bool>(), deed), 1..60)
}

proptest! {
    #[test]
    fn a_peek_is_the_answer_that_a_read_would_have_at_once(deeds in deeds()) {
        let mut world = World::serving();
        for (other, deed) in deeds {
            let key = named(if other { "a" } else { "b" });
            let read = RequestBody::Read { key: key.clone(), with_register: true };
            match deed {
                Deed::Prepare(n) => drop(world.ask(RequestBody::Prepare {
                    key: key.clone(),
                    ballot: ballot(n),
                    have: Ballot::ZERO,
                })),
                Deed::Accept(n) => drop(world.ask(accept_at(&key, n, &value("v"), 0))),
                Deed::Read => drop(world.ask(read.clone())),
                Deed::Sync => drop(world.sync()),
                Deed::Forget => world.acceptor.forget_records(),
                Deed::Restart => world.restart(|_| {}),
            }
            let peeked = world.acceptor.peek(EPOCH, &key, true);
            let mut copy = world.acceptor.clone();
            let mut effects = Vec::new();
            copy.step(world.now, world.request(read), &mut effects);
            let answer = effects.into_iter().find_map(|effect| match effect {
                Effect::Reply(reply) => Some(reply.body),
                _ => None,
            });
            let expected = peeked.map(|(accepted, register)| ReplyBody::Read { accepted, register });
            prop_assert_eq!(expected, answer);
        }
    }
}
