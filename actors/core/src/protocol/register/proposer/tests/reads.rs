//! Gets: one round trip where two replicas agree, a round where they do not.

use std::sync::Arc;

use super::super::{Event, HEDGE_MS};
use super::world::*;
use crate::types::{Ballot, Register, RequestId};
use crate::wire::RequestError;
use crate::wire::register::{ReplyBody, RequestBody};

/// A replica's answer to a read; only this node's replica sends the register itself.
fn holds(n: u64, register: Option<&Arc<Register>>) -> ReplyBody {
    ReplyBody::Read {
        accepted: if n == 0 { Ballot::ZERO } else { theirs(n) },
        register: register.cloned(),
    }
}

/// The request of a get that was just asked, and the peer that was asked besides this replica.
fn reading(effects: &[super::super::Effect]) -> (RequestId, crate::types::MemberId) {
    let all = asked(effects);
    let body = |with_register| RequestBody::Read {
        key: key(),
        with_register,
    };
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((&all[0].of[..], &all[0].body), (&[ME][..], &body(true)));
    assert_eq!((all[1].of.len(), &all[1].body), (1, &body(false)));
    assert_eq!(all[0].request, all[1].request);
    (all[0].request, all[1].of[0])
}

#[test]
fn two_equal_answers_are_the_value() {
    let current = register(5, Some("v"));
    for own_first in [true, false] {
        let mut world = World::new();
        let (request, peer) = reading(&world.ask(get()));
        let mut both = [(ME, holds(5, Some(&current))), (peer, holds(5, None))];
        if !own_first {
            both.reverse();
        }
        let [(first, body), (second, last)] = both;
        assert_eq!(world.answer(first, request, body), []);
        let effects = world.answer(second, request, last);
        assert_eq!(answers(&effects), [(1, found(Some(entry(5, "v"))))]);
        assert_eq!(asked(&effects), [], "nothing is written");
    }
}

#[test]
fn two_empty_answers_and_two_tombstones_are_no_value() {
    let tombstone = register(5, None);
    for (n, register) in [(0, None), (5, Some(&tombstone))] {
        let mut world = World::new();
        let (request, peer) = reading(&world.ask(get()));
        world.answer(ME, request, holds(n, register));
        let effects = world.answer(peer, request, holds(n, None));
        assert_eq!(answers(&effects), [(1, found(None))]);
    }
}

#[test]
fn where_two_differ_the_third_is_asked_and_may_agree() {
    let current = register(5, Some("v"));
    let mut world = World::new();
    let (request, peer) = reading(&world.ask(get()));
    world.answer(ME, request, holds(5, Some(&current)));
    let third = one(&world.answer(peer, request, holds(4, None)));
    assert_eq!(third.request, request);
    let [third] = third.of[..] else {
        panic!("one is left to be asked");
    };
    assert!(third != peer && third != ME);
    let effects = world.answer(third, request, holds(5, None));
    assert_eq!(answers(&effects), [(1, found(Some(entry(5, "v"))))]);
}

#[test]
fn where_no_two_agree_with_this_replica_an_identity_round_settles_the_key() {
    let (old, new) = (register(4, Some("old")), register(5, Some("new")));
    let mut world = World::new();
    let (request, peer) = reading(&world.ask(get()));
    world.answer(ME, request, holds(4, Some(&old)));
    let third = one(&world.answer(peer, request, holds(5, None)));
    let effects = world.answer(third.of[0], request, holds(5, None));
    assert_eq!(answers(&effects), []);
    let (round, ballot) = prepared(&effects);
    world.answer(ME, round, promise(ballot, Some((theirs(4), &old))));
    let effects = world.answer(peer, round, promise(ballot, Some((theirs(5), &new))));
    let accept = accepting(&effects);
    assert_eq!(accept.register, new, "nothing is changed");
    let effects = world.answer_all(&[ME, peer], accept.request, &accepted(ballot));
    assert_eq!(answers(&effects), [(1, found(Some(entry(5, "new"))))]);
}

#[test]
fn a_silent_peer_is_given_up_soon_and_the_other_asked() {
    let mut world = World::new();
    let (request, peer) = reading(&world.ask(get()));
    world.answer(ME, request, holds(0, None));
    let third = one(&world.wait(HEDGE_MS));
    assert!(!third.of.contains(&peer) && !third.of.contains(&ME));
    let effects = world.answer(third.of[0], request, holds(0, None));
    assert_eq!(answers(&effects), [(1, found(None))]);
}

#[test]
fn only_reachable_peers_are_asked() {
    for (down, up) in [(PEER, OTHER), (OTHER, PEER)] {
        let mut world = World::new();
        world.step(Event::PeerDown(down));
        for _ in 0..4 {
            let (_, peer) = reading(&world.ask(get()));
            assert_eq!(peer, up);
        }
    }
}

#[test]
fn peers_take_turns_of_a_millisecond() {
    let mut world = World::new();
    let first = reading(&world.ask(get())).1;
    assert_eq!(reading(&world.ask(get())).1, first);
    world.wait(1);
    assert_ne!(reading(&world.ask(get())).1, first);
}

#[test]
fn a_get_that_nobody_answers_fails_at_its_deadline() {
    let mut world = World::new();
    world.ask(get());
    let effects = world.wait(PATIENCE_MS);
    let [(1, Err(RequestError::Unavailable { shard: 0, .. }))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(world.proposer.in_flight(), 0);
}

#[test]
fn an_expired_value_is_made_a_tombstone_by_a_round() {
    let mut world = World::new();
    let expired = Arc::new(Register {
        expires_at: Some(world.now),
        ..Register::clone(&register(5, Some("v")))
    });
    let (request, peer) = reading(&world.ask(get()));
    world.answer(ME, request, holds(5, Some(&expired)));
    let effects = world.answer(peer, request, holds(5, None));
    assert_eq!(answers(&effects), []);
    let (round, ballot) = prepared(&effects);
    let promised = promise(ballot, Some((theirs(5), &expired)));
    let effects = world.answer_all(&[ME, peer], round, &promised);
    let accept = accepting(&effects);
    assert_eq!(accept.register.value, None);
    let effects = world.answer_all(&[ME, peer], accept.request, &accepted(ballot));
    assert_eq!(answers(&effects), [(1, found(None))]);
}

/// A get whose replicas differ: it waits for a round of the key.
fn get_by_round(world: &mut World) {
    let (request, peer) = reading(&world.ask(get()));
    world.answer(ME, request, holds(0, None));
    let third = one(&world.answer(peer, request, holds(3, None))).of[0];
    let effects = world.answer(third, request, holds(4, None));
    assert_eq!((asked(&effects), answers(&effects)), (vec![], vec![]));
}

#[test]
fn a_get_rides_on_a_round_whose_accept_has_not_left() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    get_by_round(&mut world);
    let effects = world.answer_all(&[ME, PEER], request, &promise(ballot, None));
    let accept = accepting(&effects);
    let effects = world.answer_all(&[ME, PEER], accept.request, &accepted(ballot));
    let answers = answers(&effects);
    assert_eq!(answers.len(), 2, "{answers:?}");
    let (2, Ok(crate::wire::ClientReply::Entry(Some(entry)))) = &answers[1] else {
        panic!("{answers:?}");
    };
    assert_eq!(entry.version, ballot, "it sees the put");
}

#[test]
fn a_get_does_not_ride_on_a_round_whose_accept_has_left() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    let effects = world.answer_all(&[ME, PEER], request, &promise(ballot, None));
    let accept = accepting(&effects);
    get_by_round(&mut world);
    let effects = world.answer_all(&[ME, PEER], accept.request, &accepted(ballot));
    assert_eq!(answers(&effects), [(1, written(ballot, false))]);
    assert_eq!(accepting(&effects).ballot, accept.next, "its own round");
}
