//! Reads that are answered at once, and those that are not.

use super::super::Event;
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
