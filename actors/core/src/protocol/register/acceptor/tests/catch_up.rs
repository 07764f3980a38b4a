//! Following peers' change logs, and answering peers that follow this one's.

use super::super::{Effect, Event, TICK_MS};
use super::world::*;
use crate::types::{Ballot, Lseq, RequestId};
use crate::wire::register::{Fetched, ReplyBody, RequestBody};

fn changes(changes: &[(u64, u64)], upto: u64) -> ReplyBody {
    ReplyBody::Changes {
        changes: changes
            .iter()
            .map(|(lseq, n)| (Lseq(*lseq), key(), ballot(*n)))
            .collect(),
        upto: Lseq(upto),
        more: false,
    }
}

fn seen(world: &World) -> Lseq {
    let (_, seen) = world.acceptor.progress();
    seen.iter()
        .find(|(peer, _)| *peer == PEER)
        .map(|(_, lseq)| *lseq)
        .expect("every peer is followed")
}

/// The peer comes up and says that it accepted the key at `n`, as change 9 of its log.
fn told_of(world: &mut World, n: u64) -> Vec<Effect> {
    let effects = world.step(Event::PeerUp(PEER));
    let [(PEER, request, RequestBody::PullSince { after: Lseq(0) })] = asked(&effects)[..] else {
        panic!("its log is followed from where it was left: {effects:?}");
    };
    world.answered(PEER, request, changes(&[(9, n)], 9))
}

fn fetch(effects: &[Effect], have: Ballot) -> RequestId {
    let wanted = RequestBody::Fetch {
        wanted: vec![(key(), have)],
    };
    let asked = asked(effects);
    assert_eq!(asked.len(), 1, "{effects:?}");
    assert_eq!((asked[0].0, &asked[0].2), (PEER, &wanted));
    asked[0].1
}

#[test]
fn what_is_newer_is_fetched_and_installed_as_a_late_accept() {
    let mut world = World::serving();
    world.tell(accept(3, &value("old")));
    let effects = told_of(&mut world, 5);
    let request = fetch(&effects, ballot(3));
    let records = vec![(key(), newer(5, &value("new")))];
    world.answered(PEER, request, ReplyBody::Records { records });
    assert_eq!(seen(&world), Lseq(0), "not before it is durable");
    world.sync();
    let record = world.record().expect("installed");
    assert_eq!((record.accepted, record.promise), (ballot(5), ballot(5)));
    assert_eq!(record.register, value("new"));
    assert_eq!(seen(&world), Lseq(9));
    world.sync();
    assert_eq!(world.meta().seen.first(), Some(&(PEER, Lseq(9))));
    assert_eq!(
        world.acceptor.status().unlearned,
        0,
        "two hold it: it is chosen"
    );
}

#[test]
fn what_is_not_newer_is_not_fetched() {
    for (here, there) in [(5, 5), (6, 5)] {
        let mut world = World::serving();
        world.tell(accept(here, &value("v")));
        assert_eq!(asked(&told_of(&mut world, there)), []);
        assert_eq!(seen(&world), Lseq(9), "{here} {there}");
    }
}

#[test]
fn what_a_promise_refuses_is_settled_and_the_page_pulled_again() {
    let mut world = World::serving();
    world.tell(prepare(7));
    let effects = told_of(&mut world, 5);
    let request = fetch(&effects, Ballot::ZERO);
    let records = vec![(key(), newer(5, &value("v")))];
    let effects = world.answered(PEER, request, ReplyBody::Records { records });
    assert!(effects.contains(&Effect::Settle(key())), "{effects:?}");
    world.sync();
    assert_eq!(world.record().expect("promised").accepted, Ballot::ZERO);
    assert_eq!(seen(&world), Lseq(0));
    let mut pulled = false;
    for _ in 0..10 {
        world.now = world.now.plus(TICK_MS);
        let effects = world.step(Event::Tick { rank: 0 });
        pulled |= asked(&effects)
            .iter()
            .any(|(to, _, body)| *to == PEER && matches!(body, RequestBody::PullSince { .. }));
    }
    assert!(pulled);
}

#[test]
fn a_round_decides_about_what_lies_below_the_floor() {
    let mut world = World::serving();
    world.catch_up_with_silent_peers();
    world.tell(accept(6, &tombstone()));
    world.ask(purge(6));
    world.sync();
    let effects = told_of(&mut world, 5);
    assert!(effects.contains(&Effect::Settle(key())), "{effects:?}");
    assert_eq!(asked(&effects), [], "it is not installed");
    assert_eq!(seen(&world), Lseq(0));
}

#[test]
fn an_answer_to_another_question_or_life_is_dropped() {
    let mut world = World::serving();
    let effects = told_of(&mut world, 5);
    let RequestId(asked) = fetch(&effects, Ballot::ZERO);
    assert_eq!(
        world.answered(PEER, RequestId(asked + 1), changes(&[(20, 5)], 20)),
        []
    );
    assert_eq!(seen(&world), Lseq(0));
}

#[test]
fn a_peer_is_asked_again_when_it_does_not_answer() {
    let mut world = World::serving();
    world.step(Event::PeerUp(PEER));
    let mut pulls = 0;
    for _ in 0..40 {
        world.now = world.now.plus(TICK_MS);
        let effects = world.step(Event::Tick { rank: 0 });
        pulls += asked(&effects)
            .iter()
            .filter(|(to, _, _)| *to == PEER)
            .count();
    }
    assert!((1..=4).contains(&pulls), "{pulls} in twenty seconds");
}

#[test]
fn a_change_log_tells_the_latest_change_of_each_key() {
    let (mut world, v) = (World::serving(), value("v"));
    world.tell(accept_at(&named("a"), 5, &v, 0));
    world.tell(accept_at(&named("b"), 5, &v, 0));
    world.tell(accept_at(&named("a"), 6, &v, 0));
    let told = world.tell(RequestBody::PullSince { after: Lseq(0) });
    let expected = vec![
        (Lseq(2), named("b"), ballot(5)),
        (Lseq(3), named("a"), ballot(6)),
    ];
    let [ReplyBody::Changes { changes, more, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((changes, *more), (&expected, false));
    let told = world.tell(RequestBody::PullSince { after: Lseq(2) });
    let [ReplyBody::Changes { changes, .. }] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(changes[..], expected[1..]);
}

#[test]
fn a_peer_fetches_only_what_is_newer_than_its_own() {
    let (mut world, v) = (World::serving(), value("v"));
    world.tell(accept(5, &v));
    for (have, expected) in [
        (ballot(5), Fetched::Same),
        (ballot(6), Fetched::NotNewer),
        (ballot(4), Fetched::Newer(world.record().expect("accepted"))),
    ] {
        let wanted = vec![(key(), have)];
        let records = vec![(key(), expected)];
        assert_eq!(
            world.tell(RequestBody::Fetch { wanted }),
            [ReplyBody::Records { records }]
        );
    }
}

#[test]
fn what_is_fetched_or_listed_is_durable() {
    for request in [
        RequestBody::Fetch {
            wanted: vec![(key(), Ballot::ZERO)],
        },
        RequestBody::PullSince { after: Lseq(0) },
    ] {
        let mut world = World::serving();
        world.ask(accept(5, &value("v")));
        assert_eq!(replies(&world.ask(request)), []);
        assert_eq!(replies(&world.sync()).len(), 2);
    }
}
