//! Models that fail: nothing is lost, nothing else is held up, and everything is listed.

use super::world::*;
use crate::index::EmbedOutlook;
use crate::index::partition::*;
use crate::limits::{EMBED_DOWN_FAILURES, INDEX_PENDING_DOWN_MAX, INDEX_PENDING_TEXTS_MAX};
use crate::types::ShardId;

const SHARD: ShardId = ShardId(0);

/// Carries out what is to be done for so long; the model fails all the while.
fn pass_without_model(world: &mut World, milliseconds: u64) {
    let end = world.now.plus(milliseconds);
    loop {
        while !world.todo.is_empty() {
            let effect = world.todo.remove(0);
            let fails = matches!(effect, Effect::Embed { .. });
            world.carry_out(effect, fails);
        }
        let Some(at) = world.timer.filter(|at| *at <= end) else {
            break;
        };
        world.now = world.now.max(at);
        world.fire();
    }
    world.now = end;
}

fn learn_many(world: &mut World, count: usize) {
    for number in 0..count {
        let vtag = ballot(u64::try_from(number).expect("small") + 1, ME);
        let text = format!("text number {number}");
        world.learn(SHARD, &key(DOCS, &number.to_string()), vtag, Some(&text));
    }
}

#[test]
fn when_a_model_works_again_everything_is_embedded_soon() {
    let mut world = World::started();
    learn_many(&mut world, 20);
    pass_without_model(&mut world, 3 * PARK_MS_MAX);
    assert_eq!(world.stats().vectors, 0);
    assert_eq!(world.stats().embed_failures, 20);
    world.pass(PARK_MS_MAX + EMBED_RETRY_MS_MAX);
    assert_eq!(world.stats().embed_failures, 0);
    assert_eq!(world.stats().vectors, 20);
    world.pass(TEXT_COMMIT_MS);
    world.assert_index_equals_store();
}

#[test]
fn a_model_that_is_down_does_not_fill_the_backlog() {
    let mut world = World::started();
    learn_many(&mut world, 2 * INDEX_PENDING_TEXTS_MAX);
    pass_without_model(&mut world, EMBED_RETRY_MS_MAX);
    let stats = world.stats();
    assert!(stats.embed_retries >= u64::from(EMBED_DOWN_FAILURES));
    // Some were in before it was noticed.
    let most = INDEX_PENDING_TEXTS_MAX / 2 + INDEX_PENDING_DOWN_MAX;
    assert!(stats.pending_embeddings <= most, "{stats:?}");
    // The words of all of them can be found all the same.
    assert_eq!(world.text.committed.len(), 2 * INDEX_PENDING_TEXTS_MAX);
    world.pass(2 * PARK_MS_MAX);
    world.assert_index_equals_store();
    assert_eq!(world.stats().embed_failures, 0);
}

#[test]
fn a_text_that_always_fails_is_tried_less_and_less_often() {
    let mut world = World::started();
    learn_many(&mut world, 1);
    pass_without_model(&mut world, 4 * PARK_MS_MAX);
    let tried = world.embedded.len();
    // Others succeed meanwhile.
    for number in 0..50 {
        let name = format!("other {number}");
        world.learn(
            SHARD,
            &key(DOCS, &name),
            ballot(100 + number, ME),
            Some("fine"),
        );
        while !world.todo.is_empty() {
            let effect = world.todo.remove(0);
            let bad = matches!(&effect, Effect::Embed { text, .. } if text.contains("number"));
            world.carry_out(effect, bad);
        }
        world.now = world.now.plus(1_000);
    }
    let again = world.embedded[tried..].iter();
    let again = again.filter(|text| text.contains("number")).count();
    assert!(again <= 2, "{again} times in 50 seconds");
    assert_eq!(world.stats().embed_failures, 1);
}

#[test]
fn failures_are_listed_with_their_reason_until_they_are_mended() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "never"), ballot(1, ME), Some("refused"));
    world.learn(
        SHARD,
        &key(DOCS, "absent"),
        ballot(2, ME),
        Some("absent model"),
    );
    world.work();
    world.learn(SHARD, &key(DOCS, "soon"), ballot(3, ME), Some("text"));
    pass_without_model(&mut world, 100);
    let listed = world.machine.failed_embeddings(DOCS, 10);
    let shown: Vec<(String, EmbedOutlook, u32)> = listed
        .iter()
        .map(|one| (one.key.to_text().into_owned(), one.outlook, one.attempts))
        .collect();
    assert_eq!(
        shown,
        [
            ("absent".to_owned(), EmbedOutlook::NextStart, 0),
            ("never".to_owned(), EmbedOutlook::Never, 0),
            ("soon".to_owned(), EmbedOutlook::Soon, 1),
        ]
    );
    assert_eq!(
        (&*listed[1].reason, &*listed[2].reason),
        ("refused", "told to")
    );
    assert_eq!(world.machine.failed_embeddings(DOCS, 1).len(), 1);
    assert!(world.machine.failed_embeddings(PLAIN, 10).is_empty());
    let report = world.machine.report(world.now);
    let docs = report.namespaces.iter().find(|one| one.namespace == DOCS);
    let docs = docs.expect("it has failures");
    assert_eq!((docs.embed_failures, docs.embedding), (2, 1));
    world.learn(
        SHARD,
        &key(DOCS, "never"),
        ballot(4, ME),
        Some("a better text"),
    );
    world.learn(SHARD, &key(DOCS, "absent"), ballot(5, ME), None);
    world.pass(EMBED_RETRY_MS_MAX);
    assert!(world.machine.failed_embeddings(DOCS, 10).is_empty());
    assert_eq!(world.stats().embed_failures, 0);
}

#[test]
fn a_node_without_the_model_refuses_rather_than_finding_less() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.work();
    world.model_is_provided = false;
    let refused = world.ask(world.semantic("text"));
    assert_eq!(
        refused,
        Err(crate::index::PartitionError::NoModel(
            crate::index::HashEmbedder::id()
        ))
    );
}

#[test]
fn vectors_without_room_are_put_off_and_found_when_there_is_room_again() {
    let mut roomy = World::started();
    learn_many(&mut roomy, 20);
    roomy.work();
    let mut world = World::new();
    world.vector_bytes_max = roomy.stats().vector_bytes / 2;
    world.start();
    world.work();
    learn_many(&mut world, 20);
    world.pass(EMBED_RETRY_MS_MAX);
    let stats = world.stats();
    assert!((1..20).contains(&stats.vectors), "{stats:?}");
    assert_eq!(stats.vectors + stats.embed_failures, 20);
    let listed = world.machine.failed_embeddings(DOCS, 1);
    assert_eq!(listed[0].outlook, EmbedOutlook::Later);
    assert!(listed[0].reason.contains("full"), "{}", listed[0].reason);
    for number in 0..15 {
        let vtag = ballot(100 + number, ME);
        world.learn(SHARD, &key(DOCS, &number.to_string()), vtag, None);
    }
    world.pass(2 * PARK_MS_MAX);
    assert_eq!(world.stats().embed_failures, 0);
    world.assert_index_equals_store();
}
