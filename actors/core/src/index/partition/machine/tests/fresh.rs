//! Searches that must not miss what was acknowledged before.

use super::world::*;
use crate::index::partition::*;
use crate::index::*;
use crate::types::{Lseq, ShardId};

const SHARD: ShardId = ShardId(0);

/// Asks without waiting; returns the ticket that the shards are asked with.
fn begin(world: &mut World, query: PartitionQuery, fresh_ms: u32) -> QueryTicket {
    let query = PartitionQuery {
        fresh_ms: Some(fresh_ms),
        ..query
    };
    let ticket = QueryTicket(100);
    world.step(Event::Query { ticket, query });
    let is_question = |effect: &Effect| matches!(effect, Effect::Freshen { .. });
    let questions = world.todo.iter().filter(|effect| is_question(effect));
    let shards: Vec<ShardId> = questions
        .filter_map(|effect| match effect {
            Effect::Freshen { shard, .. } => Some(*shard),
            _ => None,
        })
        .collect();
    assert_eq!(shards, [ShardId(0), ShardId(4)]);
    world.todo.retain(|effect| !is_question(effect));
    ticket
}

fn say(world: &mut World, ticket: QueryTicket, shard: ShardId, upto: Option<u64>) {
    let upto = upto.map(Lseq);
    world.step(Event::Freshened {
        ticket,
        shard,
        upto,
    });
}

fn by_words(world: &World, words: &str) -> PartitionQuery {
    PartitionQuery {
        kind: QueryKind::Text {
            words: words.to_owned(),
            mode: WordsMode::All,
        },
        ..world.semantic("x")
    }
}

fn answer(world: &mut World) -> Option<(usize, Vec<ShardId>)> {
    let hits = world.replies.pop()?.expect("no failure");
    Some((hits.hits.len(), hits.shards_answered))
}

#[test]
fn a_search_by_words_waits_for_the_commit_and_makes_it_come_at_once() {
    let mut world = World::started();
    let query = by_words(&world, "tea");
    let ticket = begin(&mut world, query, 1_000);
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("green tea"));
    say(&mut world, ticket, ShardId(4), Some(0));
    assert_eq!(answer(&mut world), None);
    say(&mut world, ticket, SHARD, Some(1));
    world.work();
    assert_eq!(answer(&mut world), Some((1, vec![SHARD, ShardId(4)])));
}

#[test]
fn a_search_by_meaning_waits_for_the_vector_wherever_it_comes_from() {
    let mut world = World::started();
    let query = world.semantic("green tea");
    let ticket = begin(&mut world, query, 5_000);
    // Another member made it, and ships nothing.
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("green tea"));
    say(&mut world, ticket, ShardId(4), Some(0));
    say(&mut world, ticket, SHARD, Some(1));
    world.work();
    assert_eq!(answer(&mut world), None);
    world.pass(FRESH_SHIP_WAIT_MS);
    assert_eq!(answer(&mut world), Some((1, vec![SHARD, ShardId(4)])));
    assert_eq!(world.embedded, ["green tea"]);
}

#[test]
fn a_log_that_reaches_further_than_was_heard_is_pulled() {
    let mut world = World::started();
    let query = by_words(&world, "tea");
    let ticket = begin(&mut world, query, 1_000);
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("green tea"));
    // The shard's hint was lost: the machine does not know of the change.
    let mut deaf = World::started();
    deaf.log = world.log.clone();
    let ticket_of_deaf = begin(&mut deaf, by_words(&world, "tea"), 1_000);
    assert_eq!(ticket, ticket_of_deaf);
    say(&mut deaf, ticket, ShardId(4), Some(0));
    say(&mut deaf, ticket, SHARD, Some(1));
    deaf.work();
    assert_eq!(answer(&mut deaf), Some((1, vec![SHARD, ShardId(4)])));
}

#[test]
fn a_shard_that_cannot_say_or_is_late_is_not_answered_for() {
    let mut world = World::started();
    let query = by_words(&world, "tea");
    let ticket = begin(&mut world, query.clone(), 1_000);
    say(&mut world, ticket, SHARD, None);
    say(&mut world, ticket, ShardId(4), Some(0));
    world.work();
    assert_eq!(answer(&mut world), Some((0, vec![ShardId(4)])));

    let ticket = begin(&mut world, query, 1_000);
    say(&mut world, ticket, ShardId(4), Some(0));
    say(&mut world, ticket, SHARD, Some(9));
    world.pass(999);
    assert_eq!(answer(&mut world), None);
    world.pass(1);
    assert_eq!(answer(&mut world), Some((0, vec![ShardId(4)])));
    // What comes later is nobody's.
    say(&mut world, ticket, SHARD, Some(9));
    assert_eq!(answer(&mut world), None);
}

#[test]
fn a_text_that_could_not_be_embedded_makes_answers_by_meaning_incomplete() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "bad"), ballot(1, ME), Some("refused"));
    world.learn(SHARD, &key(DOCS, "good"), ballot(2, ME), Some("green tea"));
    world.work();
    let query = world.semantic("green tea");
    let ask = |world: &mut World, query: &PartitionQuery, upto| {
        let ticket = begin(world, query.clone(), 1_000);
        say(world, ticket, ShardId(4), Some(0));
        say(world, ticket, SHARD, Some(upto));
        world.work();
        answer(world)
    };
    let incomplete = Some((1, vec![ShardId(4)]));
    assert_eq!(ask(&mut world, &query, 2), incomplete, "what there is");
    let other = PartitionQuery {
        namespace: PLAIN,
        ..query.clone()
    };
    let complete = Some((0, vec![SHARD, ShardId(4)]));
    assert_eq!(ask(&mut world, &other, 2), complete, "others are searched");
    world.pass(TEXT_COMMIT_MS);
    let words = by_words(&world, "tea");
    let complete = Some((1, vec![SHARD, ShardId(4)]));
    assert_eq!(ask(&mut world, &words, 2), complete, "words are indexed");
    world.learn(SHARD, &key(DOCS, "bad"), ballot(3, ME), Some("black tea"));
    let complete = Some((2, vec![SHARD, ShardId(4)]));
    assert_eq!(ask(&mut world, &query, 3), complete, "it was mended");
}
