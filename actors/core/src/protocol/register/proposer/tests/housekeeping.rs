//! Rounds of this node's own: settling, purging, and telling what was chosen.

use super::super::super::acceptor::Abstention;
use super::super::{Effect, Event, LEARN_BATCH, LEARN_MS, RESEND_MS};
use super::world::*;
use crate::types::{Ballot, RecordKey, RequestId};
use crate::wire::register::RequestBody;

/// What is announced as chosen, to whom.
fn announced(effects: &[Effect]) -> Vec<(crate::types::MemberId, Vec<(RecordKey, Ballot)>)> {
    let told = |effect: &Effect| match effect {
        Effect::Send(to, request) => match &request.body {
            RequestBody::Learn { chosen } => Some((*to, chosen.clone())),
            _ => None,
        },
        _ => None,
    };
    effects.iter().filter_map(told).collect()
}

#[test]
fn what_was_chosen_is_told_to_all_replicas_soon() {
    let mut world = World::new();
    let accept = world.put_first("v");
    assert_eq!(announced(&world.wait(LEARN_MS - 1)), []);
    let chosen = vec![(key(), accept.ballot)];
    let expected = ALL.map(|member| (member, chosen.clone()));
    assert_eq!(announced(&world.wait(1)), expected);
    assert_eq!(announced(&world.wait(10 * LEARN_MS)), [], "once");
}

#[test]
fn many_chosen_ballots_are_told_at_once() {
    let mut world = World::new();
    world.put_first("v");
    let mut told = Vec::new();
    for sequence in 2..=LEARN_BATCH as u64 {
        let accept = accepting(&world.ask(put(sequence, "v")));
        let done = accepted(accept.ballot);
        told.extend(announced(&world.answer_all(
            &[ME, PEER],
            accept.request,
            &done,
        )));
    }
    assert_eq!(told.len(), ALL.len());
    assert!(told.iter().all(|(_, chosen)| chosen.len() == LEARN_BATCH));
}

#[test]
fn settling_what_a_majority_with_this_replica_holds_needs_no_accept() {
    let mut world = World::new();
    let current = register(5, Some("v"));
    let (request, ballot) = prepared(&world.step(Event::Settle(key())));
    let promised = promise(ballot, Some((theirs(5), &current)));
    let effects = world.answer_all(&[ME, PEER], request, &promised);
    assert_eq!((asked(&effects), answers(&effects)), (vec![], vec![]));
    let told = announced(&world.wait(LEARN_MS));
    assert_eq!(told[0], (ME, vec![(key(), theirs(5))]));
}

#[test]
fn settling_what_this_replica_may_have_missed_has_it_accepted_again() {
    let mut world = World::new();
    let current = register(5, Some("v"));
    let (request, ballot) = prepared(&world.step(Event::Settle(key())));
    let promised = promise(ballot, Some((theirs(5), &current)));
    let effects = world.answer_all(&[PEER, OTHER], request, &promised);
    assert_eq!(accepting(&effects).register, current);
}

#[test]
fn a_key_that_is_busy_is_not_settled_or_purged_besides() {
    let mut world = World::new();
    world.ask(put(1, "v"));
    assert_eq!(world.step(Event::Settle(key())), []);
    assert_eq!(world.step(Event::Purge(key())), []);
}

/// A purge under way: the tombstone is being accepted again.
fn purging(world: &mut World) -> Accepting {
    let tombstone = register(5, None);
    let (request, ballot) = prepared(&world.step(Event::Purge(key())));
    let promised = promise(ballot, Some((theirs(5), &tombstone)));
    let effects = world.answer_all(&[ME, PEER], request, &promised);
    let accept = accepting(&effects);
    assert_eq!(accept.register, tombstone);
    accept
}

#[test]
fn a_purge_is_ordered_when_all_replicas_have_accepted_the_tombstone() {
    let mut world = World::new();
    let accept = purging(&mut world);
    assert!(
        accept.next.is_zero(),
        "a reservation would outlive the record"
    );
    let done = accepted(accept.ballot);
    let effects = world.answer_all(&[ME, OTHER], accept.request, &done);
    assert_eq!(asked(&effects), [], "two are not enough");
    let order = one(&world.answer(PEER, accept.request, done));
    assert_eq!(order.of, ALL);
    assert_eq!(order.request, RequestId(0), "nobody answers it");
    let expected = RequestBody::Purge {
        key: key(),
        ballot: accept.ballot,
    };
    assert_eq!(order.body, expected);
    prepared(&world.ask(put(1, "v")));
}

#[test]
fn a_purge_is_not_begun_without_all_replicas_or_with_a_value() {
    let mut world = World::new();
    world.step(Event::PeerDown(OTHER));
    assert_eq!(world.step(Event::Purge(key())), []);
    world.step(Event::PeerUp(OTHER));
    let (request, ballot) = prepared(&world.step(Event::Purge(key())));
    let promised = promise(ballot, Some((theirs(5), &register(5, Some("v")))));
    let effects = world.answer_all(&[ME, PEER], request, &promised);
    assert_eq!(asked(&effects), []);
    prepared(&world.ask(put(1, "v")));
}

#[test]
fn a_purge_never_uses_a_reservation() {
    let mut world = World::new();
    world.put_first("v");
    // A reservation would let it skip asking what a majority holds now.
    prepared(&world.step(Event::Purge(key())));
}

#[test]
fn a_refused_purge_is_given_up() {
    let mut world = World::new();
    let accept = purging(&mut world);
    let refusal = nack(accept.ballot, theirs(9));
    let effects = world.answer_all(&[PEER, OTHER], accept.request, &refusal);
    assert_eq!(asked(&effects), []);
    assert_eq!(asked(&world.wait(10_000)), [], "and does not come back");
}

#[test]
fn nobody_waits_for_a_purge_that_waits_for_a_silent_replica() {
    let mut world = World::new();
    let accept = purging(&mut world);
    world.answer_all(&[ME, PEER], accept.request, &accepted(accept.ballot));
    assert_eq!(asked(&world.ask(put(1, "v"))), []);
    let effects = world.wait(RESEND_MS);
    let (_, ballot) = prepared(&effects);
    assert!(ballot > accept.ballot);
    let late = world.answer(OTHER, accept.request, accepted(accept.ballot));
    assert_eq!(late, [], "the purge is over");
}

#[test]
fn a_damaged_record_is_rebuilt_by_a_whole_round_of_the_others() {
    let mut world = World::new();
    // A ballot is reserved; what was agreed before the damage was found must not be relied on.
    let first = world.put_first("v");
    let current = register(5, Some("v"));
    let (request, ballot) = prepared(&world.step(Event::Rebuild(key(), Abstention(1))));
    assert!(ballot > first.ballot);
    assert_eq!(
        world.step(Event::Rebuild(key(), Abstention(1))),
        [],
        "one at a time"
    );
    let promised = promise(ballot, Some((theirs(5), &current)));
    let effects = world.answer_all(&[PEER, OTHER], request, &promised);
    let accept = accepting(&effects);
    assert_eq!(
        accept.register, current,
        "accepted again, though they agree"
    );
    assert_eq!(
        world.step(Event::Rebuild(key(), Abstention(1))),
        [],
        "under way"
    );
    let done = accepted(accept.ballot);
    let effects = world.answer_all(&[PEER, OTHER], accept.request, &done);
    let expected = Effect::Rebuilt {
        key: key(),
        abstention: Abstention(1),
        ballot: accept.ballot,
        register: current,
    };
    assert!(effects.contains(&expected), "{effects:?}");
}

#[test]
fn a_busy_key_is_rebuilt_after_what_waits() {
    let mut world = World::new();
    let accept = world.put_first("v");
    let put = accepting(&world.ask(put(2, "w")));
    assert_eq!(world.step(Event::Rebuild(key(), Abstention(1))), []);
    let effects = world.answer_all(&[PEER, OTHER], put.request, &accepted(put.ballot));
    let (_, ballot) = prepared(&effects);
    assert!(ballot > accept.ballot);
}
