//! Puts: how many round trips, on top of what, at most once, and what is answered otherwise.

use super::super::{Event, Operation, Origin};
use super::world::*;
use crate::types::{Blob, Condition, LogicalTime, Millis, Register};
use crate::wire::RequestError;
use crate::wire::register::{ReplyBody, RequestBody};

#[test]
fn a_first_put_prepares_and_is_answered_when_a_majority_has_accepted() {
    let mut world = World::new();
    let effects = world.ask(put(1, "v"));
    let (request, ballot) = prepared(&effects);
    assert_eq!(ballot, own(1));
    let empty = promise(ballot, None);
    assert_eq!(asked(&world.answer(ME, request, empty.clone())), []);
    let accept = accepting(&world.answer(OTHER, request, empty));
    assert_eq!((accept.ballot, accept.next), (own(1), own(2)));
    assert_eq!(accept.register.value, Some(Blob::from("v")));
    assert_eq!(accept.register.vtag, own(1));
    let effects = world.answer(PEER, accept.request, accepted(own(1)));
    assert_eq!(answers(&effects), []);
    let effects = world.answer(ME, accept.request, accepted(own(1)));
    assert_eq!(answers(&effects), [(1, written(own(1), false))]);
    assert_eq!(world.proposer.in_flight(), 0);
}

#[test]
fn the_next_put_needs_one_round_trip() {
    let mut world = World::new();
    let first = world.put_first("v");
    for (sequence, text) in [(2, "w"), (3, "x")] {
        let accept = accepting(&world.ask(put(sequence, text)));
        assert_eq!(accept.ballot, own(sequence), "as reserved");
        assert_eq!(accept.next, own(sequence + 1));
        assert_eq!(accept.register.value, Some(Blob::from(text)));
        assert_eq!(accept.register.recent.len() as u64, sequence);
        let effects = world.answer_all(&[PEER, OTHER], accept.request, &accepted(accept.ballot));
        assert_eq!(
            answers(&effects),
            [(sequence, written(accept.ballot, true))]
        );
    }
    assert_eq!(first.next, own(2));
}

#[test]
fn a_put_builds_on_the_newest_register_of_the_majority() {
    let mut world = World::new();
    let (old, new) = (register(3, Some("old")), register(5, Some("new")));
    let effects = world.ask(put(1, "v"));
    let (request, ballot) = prepared(&effects);
    world.answer(ME, request, promise(ballot, Some((theirs(5), &new))));
    let effects = world.answer(PEER, request, promise(ballot, Some((theirs(3), &old))));
    let accept = accepting(&effects);
    assert_eq!(accept.register.recent[0], new.recent[0]);
    assert_eq!(accept.register.recent.len(), 2);
    let effects = world.answer_all(&ALL, accept.request, &accepted(ballot));
    assert_eq!(answers(&effects), [(1, written(ballot, true))]);
}

#[test]
fn a_refused_round_is_tried_again_at_once_above_what_was_seen_and_then_with_a_pause() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    assert_eq!(world.answer(ME, request, nack(ballot, theirs(7))), []);
    let effects = world.answer(PEER, request, nack(ballot, theirs(9)));
    let (request, ballot) = prepared(&effects);
    assert_eq!(ballot, own(10));
    let effects = world.answer_all(&[ME, OTHER], request, &nack(ballot, theirs(12)));
    assert_eq!(asked(&effects), [], "not at once: somebody is faster");
    let (_, ballot) = prepared(&world.wait(200));
    assert_eq!(ballot, own(13));
}

#[test]
fn a_refusal_by_a_minority_changes_nothing() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    world.answer(ME, request, nack(ballot, theirs(7)));
    let effects = world.answer_all(&[PEER, OTHER], request, &promise(ballot, None));
    assert_eq!(accepting(&effects).ballot, ballot);
}

#[test]
fn a_refused_accept_is_tried_again_with_its_write_evaluated_anew() {
    let mut world = World::new();
    world.put_first("v");
    let accept = accepting(&world.ask(put(2, "w")));
    let refusal = nack(accept.ballot, theirs(7));
    let effects = world.answer_all(&[ME, PEER], accept.request, &refusal);
    let (request, ballot) = prepared(&effects);
    let theirs_now = register(7, Some("x"));
    let promised = promise(ballot, Some((theirs(7), &theirs_now)));
    let effects = world.answer_all(&[ME, PEER], request, &promised);
    let accept = accepting(&effects);
    assert_eq!(accept.ballot, own(8));
    assert_eq!(accept.register.recent[0], theirs_now.recent[0]);
    assert_eq!(accept.register.value, Some(Blob::from("w")));
}

/// The register that all but `OTHER` hold at ballot 5.
fn on(
    world: &mut World,
    operation: Operation,
    register: &std::sync::Arc<Register>,
) -> Vec<super::super::Effect> {
    let (request, ballot) = prepared(&world.ask(operation));
    let promised = promise(ballot, Some((theirs(5), register)));
    world.answer_all(&[ME, PEER], request, &promised)
}

fn put_if(condition: Condition) -> Operation {
    Operation::Put {
        key: key(),
        write: write(1, "v", condition),
    }
}

#[test]
fn a_failed_compare_is_answered_without_accept_where_the_promises_agree() {
    let mut world = World::new();
    let current = register(5, Some("x"));
    let effects = on(&mut world, put_if(Condition::Absent), &current);
    assert_eq!(asked(&effects), []);
    let conflict = RequestError::Conflict {
        current: Some(theirs(5)),
    };
    assert_eq!(answers(&effects), [(1, Err(conflict))]);
}

#[test]
fn a_failed_compare_finishes_the_round_where_the_promises_differ() {
    let mut world = World::new();
    let current = register(5, Some("x"));
    let (request, ballot) = prepared(&world.ask(put_if(Condition::Absent)));
    world.answer(ME, request, promise(ballot, None));
    let promised = promise(ballot, Some((theirs(5), &current)));
    let effects = world.answer(PEER, request, promised);
    assert_eq!(answers(&effects), [], "one holder may be a minority's");
    let accept = accepting(&effects);
    assert_eq!(accept.register, current, "unchanged");
    let effects = world.answer_all(&[ME, PEER], accept.request, &accepted(ballot));
    let conflict = RequestError::Conflict {
        current: Some(theirs(5)),
    };
    assert_eq!(answers(&effects), [(1, Err(conflict))]);
}

#[test]
fn a_compare_holds_or_fails_by_value_and_version() {
    for (condition, holds) in [
        (Condition::Any, true),
        (Condition::Present, true),
        (Condition::Version(theirs(5)), true),
        (Condition::Version(theirs(4)), false),
        (Condition::Absent, false),
    ] {
        let mut world = World::new();
        let effects = on(&mut world, put_if(condition), &register(5, Some("x")));
        assert_eq!(answers(&effects).is_empty(), holds, "{condition:?}");
        assert_eq!(asked(&effects).len(), usize::from(holds), "{condition:?}");
    }
}

#[test]
fn a_write_that_was_applied_is_answered_as_it_was_then() {
    let mut world = World::new();
    let mut current = Register::clone(&register(5, Some("x")));
    let mut mine = current.recent[0];
    mine.write = write(1, "v", Condition::Any).id;
    mine.ballot = theirs(4);
    mine.found = true;
    current.recent.insert(0, mine);
    let effects = on(&mut world, put(1, "v"), &current.into());
    assert_eq!(asked(&effects), [], "it is not applied again");
    assert_eq!(answers(&effects), [(1, written(theirs(4), true))]);
}

#[test]
fn a_write_that_may_have_been_forgotten_is_not_evaluated() {
    let since = write(1, "v", Condition::Any).since;
    let low = |low_time| Register {
        low_time,
        ..Register::clone(&register(5, Some("x")))
    };
    let mut world = World::new();
    let effects = on(&mut world, put(1, "v"), &low(since).into());
    assert_eq!(answers(&effects), [(1, Err(RequestError::Forgotten))]);
    assert_eq!(asked(&effects), []);
    let mut world = World::new();
    let before = LogicalTime(since.0 - 1);
    let effects = on(&mut world, put(1, "v"), &low(before).into());
    assert_eq!(accepting(&effects).register.value, Some(Blob::from("v")));
}

#[test]
fn an_empty_key_remembers_the_times_of_what_was_purged() {
    let since = write(1, "v", Condition::Any).since;
    let floors = |floor_time| ReplyBody::Promise {
        ballot: own(1),
        accepted: crate::types::Ballot::ZERO,
        register: None,
        floor_time,
    };
    let mut world = World::new();
    let (request, _) = prepared(&world.ask(put(1, "v")));
    world.answer(ME, request, floors(LogicalTime(3)));
    let effects = world.answer(PEER, request, floors(LogicalTime(9)));
    assert_eq!(accepting(&effects).register.low_time, LogicalTime(9));
    let mut world = World::new();
    let (request, _) = prepared(&world.ask(put(1, "v")));
    world.answer(ME, request, floors(since));
    let effects = world.answer(PEER, request, floors(LogicalTime(3)));
    assert_eq!(answers(&effects), [(1, Err(RequestError::Forgotten))]);
}

#[test]
fn a_write_whose_accept_left_and_that_is_forgotten_now_is_unknown() {
    let mut world = World::new();
    world.put_first("v");
    let accept = accepting(&world.ask(put(2, "w")));
    let refusal = nack(accept.ballot, theirs(7));
    let effects = world.answer_all(&[ME, PEER], accept.request, &refusal);
    let (request, ballot) = prepared(&effects);
    let low = Register {
        low_time: LogicalTime::from_millis(Millis(999_999)),
        ..Register::clone(&register(7, Some("x")))
    };
    let promised = promise(ballot, Some((theirs(7), &low.into())));
    let effects = world.answer_all(&[ME, PEER], request, &promised);
    let [(2, Err(RequestError::Unknown(_)))] = &answers(&effects)[..] else {
        panic!("another may have finished the accept: {effects:?}");
    };
}

#[test]
fn a_deadline_says_whether_an_accept_has_left() {
    let mut world = World::new();
    world.ask(put(1, "v"));
    let effects = world.wait(PATIENCE_MS);
    let [(1, Err(RequestError::Unavailable { .. }))] = &answers(&effects)[..] else {
        panic!("nothing happened: {effects:?}");
    };
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    world.answer_all(&[ME, PEER], request, &promise(ballot, None));
    assert_eq!(answers(&world.wait(PATIENCE_MS - 1)), []);
    let effects = world.wait(1);
    let [(1, Err(RequestError::Unknown(_)))] = &answers(&effects)[..] else {
        panic!("it may have happened: {effects:?}");
    };
    assert_eq!(world.proposer.in_flight(), 0);
}

#[test]
fn what_comes_after_its_deadline_is_not_begun() {
    let mut world = World::new();
    let effects = world.step(Event::Ask {
        origin: Origin::Local(1),
        deadline: world.now,
        operation: put(1, "v"),
    });
    assert_eq!(asked(&effects), []);
    let [(1, Err(RequestError::NotApplied(_)))] = &answers(&effects)[..] else {
        panic!("{effects:?}");
    };
}

#[test]
fn puts_of_one_key_go_one_after_the_other() {
    let mut world = World::new();
    let (request, ballot) = prepared(&world.ask(put(1, "v")));
    assert_eq!(asked(&world.ask(put(2, "w"))), [], "it waits");
    let effects = world.answer_all(&[ME, PEER], request, &promise(ballot, None));
    let accept = accepting(&effects);
    let effects = world.answer_all(&[ME, PEER], accept.request, &accepted(ballot));
    assert_eq!(answers(&effects), [(1, written(ballot, false))]);
    let accept = accepting(&effects);
    assert_eq!(accept.register.value, Some(Blob::from("w")));
    let other = Operation::Put {
        key: named("other"),
        write: write(3, "x", Condition::Any),
    };
    let RequestBody::Prepare { key, .. } = one(&world.ask(other)).body else {
        panic!("another key does not wait");
    };
    assert_eq!(key, named("other"));
}

#[test]
fn a_write_is_stamped_later_than_its_client_and_its_register() {
    let mut world = World::new();
    let ahead = LogicalTime::from_millis(world.now.plus(5_000));
    let mut late = write(1, "v", Condition::Any);
    late.since = ahead;
    let operation = Operation::Put {
        key: key(),
        write: late,
    };
    let accept = accepting(&on(&mut world, operation, &register(5, Some("x"))));
    let times: Vec<LogicalTime> = accept.register.recent.iter().map(|w| w.time).collect();
    assert!(times[1] > ahead && times[1] > times[0], "{times:?}");
}
