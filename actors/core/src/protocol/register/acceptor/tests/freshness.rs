//! When a replica says up to where its log holds everything acknowledged.

use super::super::{Effect, Event, TICK_MS};
use super::world::*;
use crate::types::{Lseq, MemberId, RequestId};
use crate::wire::register::{ReplyBody, RequestBody};

/// The index has been fed all there is, and asks.
fn ask_fresh(token: u64) -> Event {
    let fed = Lseq(100);
    Event::Freshen { token, fed }
}

fn answers(effects: &[Effect]) -> Vec<(u64, Option<Lseq>)> {
    let answer = |effect: &Effect| match effect {
        Effect::Freshened { token, upto } => Some((*token, *upto)),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

fn pulls(effects: &[Effect]) -> Vec<(MemberId, RequestId)> {
    let all = asked(effects).into_iter();
    all.filter(|(_, _, body)| matches!(body, RequestBody::PullSince { .. }))
        .map(|(peer, request, _)| (peer, request))
        .collect()
}

fn log(changes: &[(u64, u64)], more: bool) -> ReplyBody {
    ReplyBody::Changes {
        changes: changes
            .iter()
            .map(|(lseq, n)| (Lseq(*lseq), key(), ballot(*n)))
            .collect(),
        upto: Lseq(changes.last().map_or(0, |(lseq, _)| *lseq)),
        more,
    }
}

#[test]
fn one_other_replica_is_asked_and_its_end_is_waited_for() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let effects = world.step(ask_fresh(7));
    assert_eq!(answers(&effects), []);
    let asked = pulls(&effects);
    assert_eq!(asked.len(), 1, "itself plus one is a majority: {effects:?}");
    let (peer, request) = asked[0];
    let effects = world.answered(peer, request, log(&[], true));
    assert_eq!(answers(&effects), [], "its log goes on");
    let (peer, request) = pulls(&effects)[0];
    let effects = world.answered(peer, request, log(&[], false));
    assert_eq!(answers(&effects), [(7, Some(Lseq(0)))]);
}

#[test]
fn what_only_the_other_has_is_installed_durably_first() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let (peer, request) = pulls(&world.step(ask_fresh(1)))[0];
    let effects = world.answered(peer, request, log(&[(9, 5)], false));
    let fetch = asked(&effects);
    assert!(matches!(fetch[0].2, RequestBody::Fetch { .. }));
    let records = vec![(key(), newer(5, &value("v")))];
    let effects = world.answered(peer, fetch[0].1, ReplyBody::Records { records });
    assert_eq!(answers(&effects), [], "not before it is on disk");
    assert_eq!(answers(&world.sync()), [(1, Some(Lseq(1)))]);
}

#[test]
fn what_is_not_learned_is_settled_and_waited_for() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    world.tell(accept(5, &value("v")));
    world.now = world.now.plus(200);
    let (peer, request) = pulls(&world.step(ask_fresh(1)))[0];
    let effects = world.answered(peer, request, log(&[], false));
    assert!(effects.contains(&Effect::Settle(key())), "{effects:?}");
    assert_eq!(answers(&effects), []);
    assert_eq!(answers(&world.ask(learn(5))), [(1, Some(Lseq(1)))]);
}

#[test]
fn what_was_written_just_now_is_given_time_to_be_learned() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    world.tell(accept(5, &value("v")));
    let (peer, request) = pulls(&world.step(ask_fresh(1)))[0];
    let effects = world.answered(peer, request, log(&[], false));
    assert!(!effects.contains(&Effect::Settle(key())), "{effects:?}");
    world.now = world.now.plus(TICK_MS);
    let effects = world.step(Event::Tick { rank: 0 });
    assert!(effects.contains(&Effect::Settle(key())), "{effects:?}");
}

#[test]
fn a_page_that_was_asked_for_before_proves_nothing() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let (first, old) = pulls(&world.step(ask_fresh(1)))[0];
    // The second question comes while the answer to the first is on its way.
    assert_eq!(pulls(&world.step(ask_fresh(2))), []);
    let effects = world.answered(first, old, log(&[], false));
    assert_eq!(answers(&effects), [(1, Some(Lseq(0)))]);
    let (again, new) = pulls(&effects)[0];
    let effects = world.answered(again, new, log(&[], false));
    assert_eq!(answers(&effects), [(2, Some(Lseq(0)))]);
}

#[test]
fn when_one_is_silent_the_others_are_asked() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let (silent, _) = pulls(&world.step(ask_fresh(1)))[0];
    world.now = world.now.plus(TICK_MS);
    let effects = world.step(Event::Tick { rank: 0 });
    let (other, request) = pulls(&effects)[0];
    assert_ne!(other, silent);
    let effects = world.answered(other, request, log(&[], false));
    assert_eq!(answers(&effects), [(1, Some(Lseq(0)))]);
}

#[test]
fn alone_it_knows_and_before_it_serves_it_does_not() {
    let mut alone = World::serving_with(|options| options.members = vec![ME]);
    alone.tell(accept(5, &value("v")));
    alone.ask(learn(5));
    let effects = alone.step(ask_fresh(1));
    assert_eq!(answers(&effects), [(1, Some(Lseq(1)))]);
    let mut starting = World::new(|_| {});
    assert_eq!(answers(&starting.step(ask_fresh(1))), [(1, None)]);
}

#[test]
fn questions_are_bounded_in_number_and_time() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    let bound = u64::try_from(crate::limits::FRESH_WAITS_MAX).expect("small");
    for token in 0..bound {
        assert_eq!(answers(&world.step(ask_fresh(token))), []);
    }
    assert_eq!(answers(&world.step(ask_fresh(bound))), [(bound, None)]);
    world.now = world.now.plus(60_000);
    let effects = world.step(Event::Tick { rank: 0 });
    let given_up = answers(&effects);
    assert_eq!(given_up.len(), crate::limits::FRESH_WAITS_MAX);
    assert!(given_up.iter().all(|(_, upto)| upto.is_none()));
}

fn feed(world: &mut World, after: u64) -> Vec<Effect> {
    let event = Event::Feed {
        token: 1,
        after: Lseq(after),
        limit: 100,
    };
    let mut effects = world.step(event);
    effects.extend(world.sync());
    effects
}

#[test]
fn what_a_round_moves_before_it_is_fed_is_waited_for_in_its_new_place() {
    for fed_first in [false, true] {
        let mut world = World::serving();
        world.catch_up_with_silent_peers();
        world.tell(accept(5, &value("v")));
        world.ask(learn(5));
        if fed_first {
            feed(&mut world, 0);
        }
        let fed = Lseq(u64::from(fed_first));
        let (peer, request) = pulls(&world.step(Event::Freshen { token: 1, fed }))[0];
        let mut all = Vec::new();
        if fed_first {
            // It knows this version: nothing is left to wait for.
            all.extend(world.answered(peer, request, log(&[], false)));
            assert_eq!(answers(&all), [(1, Some(Lseq(1)))]);
            continue;
        }
        all.extend(world.answered(peer, request, log(&[], false)));
        // A round settles the key, without a new write.
        all.extend(world.ask(accept(6, &value("v"))));
        all.extend(world.sync());
        all.extend(world.ask(learn(6)));
        assert_eq!(answers(&all), [], "the index has neither place");
        assert_eq!(answers(&feed(&mut world, 0)), [(1, Some(Lseq(2)))]);
    }
}

#[test]
fn an_index_that_begins_anew_is_fed_anew() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    world.tell(accept(5, &value("v")));
    world.ask(learn(5));
    feed(&mut world, 0);
    // It asks from the start again, and is given nothing yet.
    world.tell(accept(6, &value("w")));
    feed(&mut world, 0);
    let (peer, request) = pulls(&world.step(Event::Freshen {
        token: 1,
        fed: Lseq(0),
    }))[0];
    let mut all = world.answered(peer, request, log(&[], false));
    all.extend(world.ask(learn(6)));
    assert_eq!(answers(&all), [], "position 2 was not fed");
    assert_eq!(answers(&feed(&mut world, 1)), [(1, Some(Lseq(2)))]);
}
