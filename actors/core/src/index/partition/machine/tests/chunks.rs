//! Texts that are longer than what is embedded as one.

use super::world::*;
use crate::index::partition::*;
use crate::limits::INDEX_CHUNKS_MAX;
use crate::types::ShardId;

const SHARD: ShardId = ShardId(0);

#[test]
fn a_long_text_is_found_by_any_part_of_it_and_embedded_once() {
    let mut world = World::started();
    let filler = "ordinary words about nothing much at all. ".repeat(40);
    let text = format!("{filler} volcano eruption. {filler}");
    world.learn(SHARD, &key(DOCS, "long"), ballot(1, ME), Some(&text));
    world.learn(
        SHARD,
        &key(DOCS, "short"),
        ballot(2, ME),
        Some("nothing much"),
    );
    world.pass(TEXT_COMMIT_MS);
    let chunks = world.embedded.len() - 1;
    assert!(chunks > 3, "{chunks} chunks");
    assert!(chunks <= INDEX_CHUNKS_MAX);
    assert_eq!(world.ships.len(), 2, "one ship an entry");
    let long = world.ships.iter().find(|ship| ship.vtag == ballot(1, ME));
    let shipped = long.expect("shipped").vectors.as_slice().len();
    assert_eq!(shipped, chunks);
    assert_eq!(world.stats().vectors, chunks + 1);
    let hits = world
        .ask(world.semantic("volcano eruption"))
        .expect("answered");
    assert_eq!(hits.hits.len(), 1, "one hit an entry");
    let best = hits.hits[0].score;
    let whole = vector("volcano eruption").cosine(&vector(&text));
    assert!(
        Some(best) > whole,
        "the best chunk counts: {best} of {whole:?}"
    );
    world.start();
    world.pass(TEXT_MARK_COMMIT_MS);
    assert_eq!(
        world.embedded.len(),
        chunks + 1,
        "nothing is embedded again"
    );
    assert_eq!(world.find("volcano eruption"), ["long"]);
    world.learn(SHARD, &key(DOCS, "long"), ballot(3, ME), Some("short now"));
    world.pass(TEXT_COMMIT_MS);
    assert!(world.find("volcano eruption").is_empty());
    assert_eq!(world.stats().vectors, 2);
    world.assert_index_equals_store();
}

#[test]
fn a_chunk_that_is_refused_leaves_the_others() {
    let mut world = World::started();
    let filler = "ordinary words about nothing much at all. ".repeat(11);
    let text = format!(
        "{filler} refused. {} volcano.",
        "more of the same. ".repeat(40)
    );
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some(&text));
    world.learn(SHARD, &key(DOCS, "b"), ballot(2, ME), Some("refused"));
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(world.find("volcano"), ["a"]);
    let stats = world.stats();
    assert_eq!((stats.embed_given_up, stats.pending_embeddings), (1, 0));
    assert_eq!(stats.lag_changes, 0);
}
