//! What waits is bounded, and who is refused is told so.

use super::super::Event;
use super::world::*;
use crate::limits::SHARD_WAITING_MAX;
use crate::wire::register::{ReplyBody, RequestBody};

#[test]
fn too_many_waiting_requests_are_refused_until_the_disk_has_caught_up() {
    let mut world = World::serving();
    for _ in 0..SHARD_WAITING_MAX {
        assert_eq!(world.ask(prepare(5)), []);
    }
    assert_eq!(replies(&world.ask(read())), [ReplyBody::Busy]);
    assert_eq!(replies(&world.ask(learn(5))), [], "it waits for nothing");
    assert_eq!(replies(&world.sync()).len(), SHARD_WAITING_MAX);
    assert_eq!(replies(&world.ask(prepare(5))), [promise(5, 0, None)]);
}

#[test]
fn records_in_memory_stay_in_their_bound() {
    let mut world = World::serving_with(|options| options.cache_bytes = 4_000);
    for n in 0..100 {
        let key = named(&format!("k{n:03}"));
        world.tell(accept_at(&key, 5, &value("v"), 0));
    }
    assert!(world.acceptor.status().cache_bytes <= 4_000);
    let read = RequestBody::Read {
        key: named("k000"),
        with_register: false,
    };
    let answer = world.tell(read);
    assert!(
        matches!(answer[..], [ReplyBody::Read { accepted, .. }] if accepted == ballot(5)),
        "what was dropped from memory is on disk: {answer:?}"
    );
}

#[test]
fn a_page_of_the_feed_is_as_long_as_asked() {
    let mut world = World::serving();
    for n in 0..10 {
        let key = named(&format!("k{n}"));
        world.tell(accept_at(&key, 5, &value("v"), 0));
        world.ask(RequestBody::Learn {
            chosen: vec![(key, ballot(5))],
        });
    }
    let event = Event::Feed {
        token: 1,
        after: crate::types::Lseq(2),
        limit: 3,
    };
    let effects = world.step(event);
    let [super::super::Effect::Feed(page)] = &effects[..] else {
        panic!("{effects:?}");
    };
    let lseqs: Vec<u64> = page.entries.iter().map(|entry| entry.lseq.0).collect();
    assert_eq!((&lseqs[..], page.upto.0), (&[3, 4, 5][..], 5));
}
