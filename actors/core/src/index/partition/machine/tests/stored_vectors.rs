//! Vectors on disk that are damaged, cannot be read, or could not be stored.

use super::world::*;
use crate::index::partition::*;
use crate::index::{seal_vector_mark, vector_key, vector_mark_key};
use crate::types::{Lseq, ShardId};

const SHARD: ShardId = ShardId(0);

#[test]
fn a_damaged_vector_is_made_again() {
    let mut world = World::started();
    for number in 1..=5 {
        let name = number.to_string();
        world.learn(SHARD, &key(DOCS, &name), ballot(number, ME), Some("text"));
    }
    world.pass(2 * VECTOR_MARK_STORE_MS);
    let place = vector_key(SHARD, &key(DOCS, "3"));
    let mut damaged = world.disk[&place].to_vec();
    damaged[20] ^= 1;
    world.disk.insert(place, damaged.into());
    world
        .disk
        .insert(b"\0\0rubbish".to_vec().into(), b"".to_vec().into());
    world.embedded.clear();
    // A crash right after the damage was found must not forget it.
    world.start();
    let load_or_store =
        |effect: &Effect| matches!(effect, Effect::LoadVectors { .. } | Effect::Store { .. });
    while let Some(place) = world.todo.iter().position(load_or_store) {
        let effect = world.take(place);
        world.carry_out(effect, false);
    }
    assert_eq!(world.stats().damaged_vectors, 2);
    assert_eq!(
        world.disk[&vector_mark_key(SHARD)],
        seal_vector_mark(SHARD, Lseq(0))
    );
    world.start();
    world.pass(2 * VECTOR_MARK_STORE_MS);
    assert_eq!(world.embedded, ["text"], "only the damaged one");
    assert_eq!(world.stats().damaged_vectors, 0);
    world.assert_index_equals_store();
}

#[test]
fn vectors_that_cannot_be_read_are_read_again() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.pass(2 * VECTOR_MARK_STORE_MS);
    world.start();
    for _ in 0..2 {
        let load = world.take(0);
        world.carry_out(load, true);
    }
    assert!(world.todo.is_empty());
    world.pass(LOAD_RETRY_MS + TEXT_COMMIT_MS);
    assert_eq!(
        (world.find("text"), world.embedded.len()),
        (vec!["a".to_owned()], 1)
    );
    // Unless that is in vain: then they are made again.
    world.disk_is_damaged = true;
    world.start();
    let load = world.take(0);
    world.carry_out(load, true);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(
        (world.find("text"), world.embedded.len()),
        (vec!["a".to_owned()], 2)
    );
    world.assert_index_equals_store();
}

#[test]
fn a_vector_that_could_not_be_stored_is_made_again_in_a_later_life() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.learn(SHARD, &key(DOCS, "b"), ballot(2, ME), Some("text"));
    let mut faults = 0;
    while !world.todo.is_empty() {
        let effect = world.take(0);
        let fault = faults == 0 && matches!(effect, Effect::Store { .. });
        faults += u32::from(fault);
        world.carry_out(effect, fault);
    }
    assert_eq!(world.find("text"), ["a", "b"]);
    world.pass(2 * TEXT_MARK_COMMIT_MS);
    assert_eq!(world.stats().unstored_vectors, 1);
    world.start();
    world.pass(TEXT_COMMIT_MS);
    assert_eq!((world.find("text").len(), world.embedded.len()), (2, 3));
    world.assert_index_equals_store();
}
