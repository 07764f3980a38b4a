//! One rule a test: given this state, when this happens, then that follows.

use super::world::*;
use crate::index::partition::*;
use crate::index::{TextMarks, VectorShip, vector_key};
use crate::limits::*;
use crate::types::{Lseq, MemberId, ShardId};

const SHARD: ShardId = ShardId(0);

fn ship(name: &str, n: u64, text: &str) -> VectorShip {
    VectorShip {
        shard: SHARD,
        key: key(DOCS, name),
        vtag: ballot(n, OTHER),
        model: crate::index::HashEmbedder::id(),
        vectors: vector(text).into(),
    }
}

#[test]
fn who_made_a_version_embeds_stores_and_ships_it() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("first text"));
    world.work();
    assert_eq!(world.embedded, ["first text"]);
    assert_eq!(world.ships.len(), 1);
    assert_eq!(world.ships[0].vtag, ballot(1, ME));
    assert_eq!(world.ships[0].vectors, vector("first text").into());
    assert!(world.disk.contains_key(&vector_key(SHARD, &key(DOCS, "a"))));
    assert_eq!(world.find("first"), ["a"]);
    world.pass(TEXT_COMMIT_MS);
    world.assert_index_equals_store();
}

#[test]
fn the_others_wait_for_the_vector_and_compute_it_if_it_does_not_come() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("first text"));
    world.learn(
        SHARD,
        &key(DOCS, "b"),
        ballot(2, OTHER),
        Some("second text"),
    );
    world.work();
    assert_eq!(world.stats().pending_embeddings, 2);
    world.step(Event::Shipped(ship("a", 1, "first text")));
    assert_eq!(world.find("first"), ["a"]);
    world.pass(SHIP_WAIT_MS - 1);
    assert!(world.embedded.is_empty());
    world.pass(1);
    assert_eq!(world.embedded, ["second text"]);
    assert!(world.ships.is_empty(), "only the maker ships");
    assert_eq!((world.stats().received, world.stats().embedded), (1, 1));
    world.assert_index_equals_store();
}

#[test]
fn a_vector_that_comes_before_its_entry_is_kept() {
    let mut world = World::started();
    world.step(Event::Shipped(ship("a", 2, "newer")));
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, OTHER), Some("newer"));
    world.pass(10 * SHIP_WAIT_MS);
    assert!(world.embedded.is_empty());
    world.step(Event::Shipped(ship("a", 1, "older")));
    assert_eq!(world.find("newer"), ["a"]);
    world.assert_index_equals_store();
}

#[test]
fn only_the_newest_version_gets_a_vector() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("old words"));
    world.work();
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, OTHER), Some("new words"));
    world.work();
    world.step(Event::Shipped(ship("a", 1, "old words")));
    assert!(world.find("old").is_empty());
    world.pass(SHIP_WAIT_MS);
    assert_eq!(world.embedded, ["new words"]);
    world.learn(SHARD, &key(DOCS, "a"), ballot(3, OTHER), None);
    world.pass(SHIP_WAIT_MS);
    assert!(world.find("words").is_empty());
    world.assert_index_equals_store();
    assert!(!world.disk.contains_key(&vector_key(SHARD, &key(DOCS, "a"))));
}

#[test]
fn a_version_that_is_learned_again_is_not_embedded_again() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("text"));
    world.pass(SHIP_WAIT_MS - 1);
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("text"));
    world.pass(1);
    assert_eq!(world.embedded, ["text"], "the wait does not begin again");
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("text"));
    world.pass(2 * SHIP_WAIT_MS);
    assert_eq!(world.embedded, ["text"]);
    world.assert_index_equals_store();
}

#[test]
fn an_answer_for_an_older_version_is_not_recognised() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("old words"));
    let feed = world.todo.remove(0);
    world.carry_out(feed, false);
    let embed = world
        .todo
        .iter()
        .position(|effect| matches!(effect, Effect::Embed { .. }));
    let late = world.todo.remove(embed.expect("asked"));
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, ME), Some("new words"));
    world.work();
    world.carry_out(late, false);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(world.find("new"), ["a"]);
    assert!(world.find("old").is_empty());
    world.assert_index_equals_store();
}

#[test]
fn failures_are_tried_again_with_growing_pauses() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    let mut times = Vec::new();
    for _ in 0..200 {
        while let Some(effect) = (!world.todo.is_empty()).then(|| world.todo.remove(0)) {
            if matches!(effect, Effect::Embed { .. }) {
                times.push(world.now);
            }
            world.carry_out(effect, true);
        }
        let Some(at) = world.timer else { break };
        world.now = at;
        world.fire();
    }
    let pauses: Vec<u64> = times
        .windows(2)
        .map(|pair| pair[1].since(pair[0]))
        .collect();
    assert_eq!(pauses[..4], [250, 500, 1_000, 2_000]);
    // Then the text is left in the log, and comes again from there.
    let often = usize::try_from(EMBED_ATTEMPTS_MAX).expect("small") - 1;
    assert!(
        pauses[..often]
            .iter()
            .all(|pause| *pause <= EMBED_RETRY_MS_MAX)
    );
    let parked = &pauses[often..];
    assert!(parked.len() > 3, "{pauses:?}");
    assert!(parked.windows(2).all(|pair| pair[0] <= pair[1]));
    assert!(
        parked
            .iter()
            .all(|pause| (PARK_MS..2 * PARK_MS_MAX).contains(pause))
    );
    let stats = world.stats();
    assert_eq!((stats.embed_failures, stats.pending_embeddings), (1, 0));
    assert_eq!(stats.lag_changes, 0, "it is no lag: it would never end");
    // A later life tries again: the mark still stands before the entry.
    world.start();
    world.pass(1_000);
    assert_eq!(world.find("text"), ["a"]);
}

#[test]
fn a_text_that_the_model_refuses_is_given_up_for_good() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("fine"));
    world.work();
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, ME), Some("refused"));
    world.pass(TEXT_MARK_COMMIT_MS);
    assert_eq!(world.embedded, ["fine", "refused"]);
    assert_eq!(world.stats().embed_given_up, 1);
    assert!(!world.disk.contains_key(&vector_key(SHARD, &key(DOCS, "a"))));
    world.start();
    world.pass(1_000);
    assert_eq!(world.embedded.len(), 2, "not tried again");
}

#[test]
fn a_model_that_is_not_here_is_asked_again_in_a_later_life() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("absent model"));
    world.learn(SHARD, &key(DOCS, "b"), ballot(2, ME), Some("some text"));
    world.pass(2 * TEXT_MARK_COMMIT_MS);
    assert_eq!(world.embedded.len(), 2);
    assert_eq!(
        (world.find("text"), world.stats().lag_changes),
        (vec!["b".to_owned()], 0)
    );
    world.model_is_absent = false;
    world.start();
    world.pass(1_000);
    assert_eq!(world.find("model"), ["a"]);
    world.assert_index_equals_store();
}

#[test]
fn the_feed_is_not_pulled_while_too_many_texts_wait() {
    let mut world = World::started();
    for number in 0..2 * INDEX_PENDING_TEXTS_MAX {
        let vtag = ballot(u64::try_from(number).expect("small"), OTHER);
        world.learn(SHARD, &key(DOCS, &number.to_string()), vtag, Some("text"));
    }
    world.work();
    let stats = world.stats();
    assert!(
        stats.pending_embeddings <= INDEX_PENDING_TEXTS_MAX,
        "{stats:?}"
    );
    assert!(stats.pending_embeddings > INDEX_PENDING_TEXTS_MAX - 2 * INDEX_FEED_PAGE_MAX);
    world.pass(5 * SHIP_WAIT_MS);
    assert_eq!(world.stats().vectors, 2 * INDEX_PENDING_TEXTS_MAX);
    world.assert_index_equals_store();
}

#[test]
fn embeddings_in_flight_are_bounded() {
    let mut world = World::started();
    for number in 0..200_u64 {
        world.learn(
            SHARD,
            &key(DOCS, &number.to_string()),
            ballot(number, ME),
            Some("text"),
        );
    }
    while let Some(place) = world
        .todo
        .iter()
        .position(|effect| matches!(effect, Effect::RequestFeed { .. }))
    {
        let feed = world.todo.remove(place);
        world.carry_out(feed, false);
    }
    assert_eq!(
        world.stats().embeddings_in_flight,
        INDEX_EMBEDS_IN_FLIGHT_MAX
    );
    world.work();
    assert_eq!(world.stats().vectors, 200);
}

#[test]
fn text_is_committed_together_and_with_its_marks() {
    let mut world = World::started();
    for number in 1..=3 {
        let name = number.to_string();
        world.learn(SHARD, &key(DOCS, &name), ballot(number, ME), Some("text"));
        world.pass(TEXT_COMMIT_MS / 10);
    }
    assert!(world.text.watermark.is_none());
    assert_eq!(world.stats().lag_changes, 3);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(world.stats().documents, 3);
    let marks = TextMarks::unseal(world.text.watermark.as_ref().expect("committed"));
    let marks = marks.expect("sound");
    assert_eq!((marks.member, marks.marks[&SHARD]), (ME, Lseq(3)));
    assert_eq!((world.stats().lag_changes, world.stats().lag_ms), (0, 0));
}

#[test]
fn what_is_not_indexed_costs_no_commit_and_no_lag() {
    let mut world = World::started();
    for number in 1..=300 {
        world.learn(SHARD, &key(PLAIN, "k"), ballot(number, ME), Some("text"));
    }
    world.pass(2 * TEXT_COMMIT_MS);
    assert!(world.text.watermark.is_none());
    assert_eq!(world.stats().lag_changes, 0);
    world.pass(TEXT_MARK_COMMIT_MS);
    assert!(
        world.text.watermark.is_some(),
        "but in the end the mark moves"
    );
    world.asked.clear();
    world.start();
    world.pass(1_000);
    assert!(
        world
            .asked
            .iter()
            .all(|request| request.shard != SHARD || request.after > Lseq(0))
    );
}

#[test]
fn a_restart_reads_vectors_and_embeds_nothing() {
    let mut world = World::started();
    for number in 1..=9 {
        let shard = ShardId(if number % 2 == 0 { 0 } else { 4 });
        let name = number.to_string();
        world.learn(
            shard,
            &key(DOCS, &name),
            ballot(number, ME),
            Some("some text"),
        );
    }
    world.pass(2 * VECTOR_MARK_STORE_MS);
    world.embedded.clear();
    world.asked.clear();
    world.start();
    world.pass(TEXT_COMMIT_MS);
    assert!(world.embedded.is_empty());
    let afters: Vec<u64> = world.asked.iter().map(|request| request.after.0).collect();
    assert_eq!(afters, [8, 9], "the feed resumes where it was");
    assert_eq!(world.find("text").len(), 9);
    world.assert_index_equals_store();
}

#[test]
fn the_feed_resumes_at_the_lower_of_both_marks() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("text"));
    world.learn(SHARD, &key(DOCS, "b"), ballot(2, ME), Some("text"));
    world.pass(TEXT_COMMIT_MS);
    // Both can be found by words; the vector of the first is still missing.
    assert_eq!(world.text.committed.len(), 2);
    world.asked.clear();
    world.start();
    world.pass(SHIP_WAIT_MS + TEXT_COMMIT_MS);
    assert_eq!(world.asked[0].after, Lseq(0));
    assert_eq!(world.embedded, ["text", "text"]);
    world.assert_index_equals_store();
}

#[test]
fn a_text_index_of_another_member_is_emptied() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.pass(2 * VECTOR_MARK_STORE_MS);
    let marks = TextMarks {
        member: MemberId(99),
        marks: [(SHARD, Lseq(50))].into(),
    };
    world.text.watermark = Some(marks.seal());
    let mut foreign = world.text.committed[&key(DOCS, "a")].clone();
    foreign.key = key(DOCS, "foreign");
    world.text.committed.insert(foreign.key.clone(), foreign);
    world.start();
    world.pass(TEXT_COMMIT_MS);
    world.assert_index_equals_store();
}

#[test]
fn an_unknown_namespace_is_waited_for() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.learn(SHARD, &key(LATER, "b"), ballot(2, ME), Some("text"));
    world.learn(SHARD, &key(DOCS, "c"), ballot(3, ME), Some("text"));
    world.pass(NAMESPACE_WAIT_MS);
    assert_eq!(world.find("text"), ["a"]);
    world.later_is_known = true;
    world.pass(NAMESPACE_WAIT_MS + TEXT_COMMIT_MS);
    assert_eq!(world.find("text"), ["a", "c"]);
    world.assert_index_equals_store();
}

#[test]
fn a_namespace_that_remains_unknown_holds_nobody_up_for_ever() {
    let mut world = World::started();
    for number in 1..=50 {
        let name = number.to_string();
        world.learn(SHARD, &key(LATER, &name), ballot(number, ME), Some("text"));
    }
    world.learn(SHARD, &key(DOCS, "a"), ballot(99, ME), Some("text"));
    world.pass(u64::from(NAMESPACE_TRIES_MAX) * NAMESPACE_WAIT_MS + TEXT_COMMIT_MS);
    assert_eq!(world.find("text"), ["a"]);
    assert_eq!(world.stats().unknown_namespace, 50);
}

#[test]
fn a_page_that_does_not_come_is_asked_for_again() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    let lost = world.todo.remove(0);
    world.pass(FEED_TIMEOUT_MS);
    assert_eq!(world.find("text"), ["a"]);
    let embedded = world.embedded.len();
    world.carry_out(lost, false);
    world.work();
    assert_eq!(world.embedded.len(), embedded, "the late page is ignored");
}

#[test]
fn a_shard_that_promises_more_than_it_gives_is_not_pressed() {
    let mut world = World::started();
    world.asked.clear();
    world.step(Event::Advance {
        shard: SHARD,
        learned: Lseq(9),
    });
    world.pass(10 * FEED_PAUSE_MS - 1);
    assert_eq!(world.asked.len(), 10);
}

#[test]
fn shards_of_others_and_the_system_shard_are_left_alone() {
    let mut world = World::started();
    world.step(Event::Host(ShardId::SYSTEM));
    world.step(Event::Advance {
        shard: ShardId(77),
        learned: Lseq(9),
    });
    world.step(Event::Shipped(VectorShip {
        shard: ShardId(77),
        ..ship("a", 1, "text")
    }));
    world.step(Event::Host(SHARD));
    assert!(world.todo.is_empty());
    assert_eq!(world.stats().shards, 2);
}
