//! Whose answers count, who is asked again, and how ballots grow.

use super::super::{Event, RESEND_MS};
use super::world::*;
use crate::types::{Incarnation, MemberId, RequestId, ShardId};
use crate::wire::register::{RegisterReply, ReplyBody, ReplyTo};

#[test]
fn an_answer_counts_once_and_only_in_its_own_round() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    let empty = promise(ballot, None);
    for (story, from, request, body) in [
        ("the first", ME, request, empty.clone()),
        ("again", ME, request, empty.clone()),
        ("a stranger's", MemberId(9), request, empty.clone()),
        (
            "to another question",
            PEER,
            RequestId(request.0 + 1),
            empty.clone(),
        ),
        ("of another ballot", PEER, request, promise(theirs(9), None)),
        ("of the wrong step", PEER, request, accepted(ballot)),
        (
            "a refusal of another ballot",
            PEER,
            request,
            nack(own(0), theirs(9)),
        ),
    ] {
        assert_eq!(asked(&world.answer(from, request, body)), [], "{story}");
    }
    let effects = world.answer(PEER, request, empty);
    assert_eq!(accepting(&effects).ballot, ballot);
}

#[test]
fn an_answer_to_an_earlier_life_is_dropped() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    for from in ALL {
        let reply = RegisterReply {
            shard: ShardId(0),
            reply_to: ReplyTo {
                member: ME,
                incarnation: Incarnation::default(),
                request,
            },
            from,
            body: promise(ballot, None),
        };
        assert_eq!(world.step(Event::Reply(reply)), []);
    }
}

#[test]
fn only_the_silent_are_asked_again() {
    let mut world = World::new();
    let effects = world.ask(put(1, "v"));
    let first = one(&effects);
    let (_, ballot) = prepared(&effects);
    world.answer(ME, first.request, promise(ballot, None));
    assert_eq!(asked(&world.wait(RESEND_MS - 1)), []);
    let again = one(&world.wait(1));
    assert_eq!(again.of, [PEER, OTHER]);
    assert_eq!((again.request, again.body), (first.request, first.body));
    assert_eq!(one(&world.wait(RESEND_MS)).of, [PEER, OTHER]);
}

#[test]
fn a_replica_that_does_not_vote_or_is_busy_counts_as_silent() {
    for refusal in [ReplyBody::NotVoting, ReplyBody::Busy] {
        let mut world = World::new();
        let (request, ballot) = prepared(&world.ask(put(1, "v")));
        assert_eq!(world.answer(PEER, request, refusal), []);
        world.answer(ME, request, promise(ballot, None));
        assert_eq!(one(&world.wait(RESEND_MS)).of, [PEER, OTHER]);
        let effects = world.answer(PEER, request, promise(ballot, None));
        assert_eq!(accepting(&effects).ballot, ballot, "it votes now");
    }
}

#[test]
fn a_peer_that_comes_back_is_asked_at_once() {
    let mut world = World::new();
    world.step(Event::PeerDown(PEER));
    let first = one(&world.ask(put(1, "v")));
    let again = one(&world.step(Event::PeerUp(PEER)));
    assert_eq!(again.of, [PEER]);
    assert_eq!((again.request, again.body), (first.request, first.body));
    assert_eq!(world.step(Event::PeerUp(PEER)), [], "it is up already");
    assert_eq!(world.step(Event::PeerUp(MemberId(9))), [], "no replica");
}

#[test]
fn a_round_with_a_refusal_and_a_silent_replica_begins_anew() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    world.answer(ME, request, promise(ballot, None));
    world.answer(PEER, request, nack(ballot, theirs(6)));
    let (_, ballot) = prepared(&world.wait(RESEND_MS));
    assert_eq!(ballot, own(7));
}

#[test]
fn ballots_are_above_everything_heard_of() {
    let mut world = World::new();
    world.step(Event::HighestSeen(40));
    world.step(Event::HighestSeen(30));
    let (_, ballot) = prepared(&world.ask(put(1, "v")));
    assert_eq!(ballot, own(41));
    assert_eq!(world.proposer.highest_n(), 41);
}

#[test]
fn a_timer_that_comes_early_is_set_again() {
    let mut world = World::new();
    world.ask(put(1, "v"));
    let due = world.now.plus(RESEND_MS);
    world.now.0 -= 500;
    let effects = world.wait(0);
    assert_eq!(effects, [super::super::Effect::SetTimer(due)]);
}
