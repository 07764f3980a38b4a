//! Prepare, accept, refusals, repetitions, and what waits for the disk.

use super::super::Effect;
use super::world::*;
use crate::types::Ballot;
use crate::wire::register::{ReplyBody, RequestBody};

/// What is sent before the case, what the case sends, and what is answered.
type Case = (&'static str, Vec<RequestBody>, RequestBody, ReplyBody);

#[test]
fn a_prepare_is_answered_by_what_was_seen_before() {
    let v = value("v");
    let cases: Vec<Case> = vec![
        ("of an unknown key", vec![], prepare(5), promise(5, 0, None)),
        (
            "above the promise",
            vec![prepare(5)],
            prepare(6),
            promise(6, 0, None),
        ),
        (
            "below the promise",
            vec![prepare(5)],
            prepare(4),
            nack(4, 5),
        ),
        (
            "repeated",
            vec![prepare(5)],
            prepare(5),
            promise(5, 0, None),
        ),
        (
            "above what was accepted",
            vec![accept(5, &v)],
            prepare(6),
            promise(6, 5, Some(&v)),
        ),
        (
            "at what was accepted",
            vec![prepare(5), accept(5, &v)],
            prepare(5),
            nack(5, 5),
        ),
        (
            "below a reserved ballot",
            vec![accept_at(&key(), 5, &v, 8)],
            prepare(7),
            nack(7, 8),
        ),
        (
            "at a reserved ballot",
            vec![accept_at(&key(), 5, &v, 8)],
            prepare(8),
            promise(8, 5, Some(&v)),
        ),
        (
            "by the proposer of what was accepted",
            vec![accept(5, &v)],
            RequestBody::Prepare {
                key: key(),
                ballot: ballot(6),
                have: ballot(5),
            },
            promise(6, 5, None),
        ),
    ];
    check(cases);
}

#[test]
fn an_accept_is_answered_by_what_was_seen_before() {
    let (v, w) = (value("v"), value("w"));
    let cases: Vec<Case> = vec![
        ("of an unknown key", vec![], accept(5, &v), accepted(5)),
        ("as promised", vec![prepare(5)], accept(5, &v), accepted(5)),
        (
            "above the promise",
            vec![prepare(5)],
            accept(6, &v),
            accepted(6),
        ),
        (
            "below the promise",
            vec![prepare(5)],
            accept(4, &v),
            nack(4, 5),
        ),
        ("repeated", vec![accept(5, &v)], accept(5, &v), accepted(5)),
        (
            "repeated when a later round was promised",
            vec![accept(5, &v), prepare(9)],
            accept(5, &v),
            accepted(5),
        ),
        (
            "below what was accepted",
            vec![accept(5, &v)],
            accept(4, &w),
            nack(4, 5),
        ),
        (
            "below a reserved ballot",
            vec![accept_at(&key(), 5, &v, 8)],
            accept(7, &w),
            nack(7, 8),
        ),
        (
            "at the reserved ballot",
            vec![accept_at(&key(), 5, &v, 8)],
            accept(8, &w),
            accepted(8),
        ),
        (
            "without a ballot",
            vec![],
            RequestBody::Accept {
                key: key(),
                ballot: Ballot::ZERO,
                register: v.clone(),
                next: Ballot::ZERO,
            },
            ReplyBody::Nack {
                ballot: Ballot::ZERO,
                seen: Ballot::ZERO,
            },
        ),
    ];
    check(cases);
}

fn check(cases: Vec<Case>) {
    for (story, before, request, expected) in cases {
        let mut world = World::serving();
        for request in before {
            world.tell(request);
        }
        assert_eq!(world.tell(request), [expected], "{story}");
    }
}

#[test]
fn what_was_accepted_and_reserved_is_on_disk() {
    let mut world = World::serving();
    world.tell(accept_at(&key(), 5, &value("v"), 8));
    let record = world.record().expect("written");
    assert_eq!((record.accepted, record.promise), (ballot(5), ballot(8)));
    assert_eq!(record.register, value("v"));
}

#[test]
fn a_promise_keeps_what_was_accepted() {
    let mut world = World::serving();
    world.tell(accept(5, &value("v")));
    let before = world.record().expect("written");
    world.tell(prepare(9));
    let after = world.record().expect("still there");
    assert_eq!((after.accepted, after.promise), (ballot(5), ballot(9)));
    assert_eq!((after.register, after.lseq), (before.register, before.lseq));
}

#[test]
fn an_answer_waits_until_its_state_is_durable() {
    for request in [prepare(5), accept(5, &value("v"))] {
        let mut world = World::serving();
        assert_eq!(replies(&world.ask(request)), [], "not yet on disk");
        assert_eq!(world.in_flight(), 1);
        assert_eq!(replies(&world.sync()).len(), 1);
    }
}

#[test]
fn what_is_not_durable_is_not_revealed_to_others_either() {
    let v = value("v");
    let reveals = ReplyBody::Read {
        accepted: ballot(5),
        register: Some(v.clone()),
    };
    for (request, expected) in [
        (read(), reveals),
        (prepare(3), nack(3, 5)),
        (accept(4, &v), nack(4, 5)),
        (accept(5, &v), accepted(5)),
    ] {
        let mut world = World::serving();
        world.ask(accept(5, &v));
        assert_eq!(replies(&world.ask(request)), [], "{expected:?}");
        assert_eq!(replies(&world.sync()), [accepted(5), expected]);
    }
}

#[test]
fn a_repetition_writes_nothing_again() {
    let v = value("v");
    for request in [prepare(5), accept(5, &v)] {
        let mut world = World::serving();
        world.tell(request.clone());
        let answer = world.ask(request);
        assert_eq!(replies(&answer).len(), 1, "at once: it is on disk");
        assert_eq!(world.in_flight(), 0);
    }
}

#[test]
fn a_repeated_accept_may_add_the_reservation_on_which_its_proposer_relies() {
    let (mut world, v) = (World::serving(), value("v"));
    world.tell(accept(5, &v));
    assert_eq!(replies(&world.ask(accept_at(&key(), 5, &v, 8))), []);
    assert_eq!(replies(&world.sync()), [accepted(5)]);
    assert_eq!(world.record().expect("there").promise, ballot(8));
}

#[test]
fn a_read_tells_what_was_accepted_and_not_what_was_promised() {
    let (mut world, v) = (World::serving(), value("v"));
    let found = |n: u64, register| ReplyBody::Read {
        accepted: if n == 0 { Ballot::ZERO } else { ballot(n) },
        register,
    };
    assert_eq!(world.tell(read()), [found(0, None)]);
    world.tell(prepare(4));
    let [ReplyBody::Read { accepted, .. }] = world.tell(read())[..] else {
        panic!("a read is answered");
    };
    assert_eq!(accepted, Ballot::ZERO);
    world.tell(accept(5, &v));
    assert_eq!(world.tell(read()), [found(5, Some(v))]);
    let ballot_only = RequestBody::Read {
        key: key(),
        with_register: false,
    };
    assert_eq!(world.tell(ballot_only), [found(5, None)]);
}

#[test]
fn requests_of_one_key_are_answered_in_order_after_its_load() {
    let (mut world, v) = (World::serving(), value("v"));
    let mut effects = Vec::new();
    // Stepped by hand, so that the load is answered after both have come.
    let reply_to = |n| crate::wire::register::ReplyTo {
        member: PEER,
        incarnation: crate::types::Incarnation::default(),
        request: crate::types::RequestId(n),
    };
    for (n, body) in [(1, accept(5, &v)), (2, read())] {
        let request = crate::wire::register::RegisterRequest {
            shard: SHARD,
            epoch: crate::types::Epoch(1),
            reply_to: reply_to(n),
            body,
        };
        let event = super::super::Event::Request(request);
        world.acceptor.step(world.now, event, &mut effects);
    }
    let [Effect::Load(io, ..)] = effects[..] else {
        panic!("one load for both: {effects:?}");
    };
    world.step(super::super::Event::Loaded(io, None));
    let answers = replies(&world.sync());
    assert!(
        matches!(&answers[..], [ReplyBody::Accepted { .. }, ReplyBody::Read { accepted, .. }]
            if *accepted == ballot(5)),
        "{answers:?}"
    );
}
