//! When a shard may forget what was deleted.

use super::world::*;
use crate::index::partition::*;
use crate::types::{Lseq, ShardId};

const SHARD: ShardId = ShardId(0);

fn told(world: &World) -> Lseq {
    world.indexed.get(&SHARD).copied().unwrap_or_default()
}

/// Carries out everything but commits of the text index, or but writes.
fn work_without(world: &mut World, held: fn(&Effect) -> bool) -> Vec<Effect> {
    let mut kept = Vec::new();
    while !world.todo.is_empty() {
        let effect = world.todo.remove(0);
        if held(&effect) {
            kept.push(effect);
        } else {
            world.carry_out(effect, false);
        }
    }
    kept
}

#[test]
fn a_deletion_is_known_when_text_and_vectors_are_durable_without_it() {
    let is_commit: fn(&Effect) -> bool = |effect| matches!(effect, Effect::CommitText(_));
    let is_store: fn(&Effect) -> bool = |effect| matches!(effect, Effect::Store { .. });
    for held in [is_commit, is_store] {
        let mut world = World::started();
        world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
        world.pass(TEXT_COMMIT_MS);
        assert_eq!(told(&world), Lseq(1));
        world.learn(SHARD, &key(DOCS, "a"), ballot(2, ME), None);
        let mut kept = work_without(&mut world, held);
        world.now = world.now.plus(TEXT_COMMIT_MS);
        world.fire();
        kept.extend(work_without(&mut world, held));
        assert_eq!(told(&world), Lseq(1), "{kept:?} is not done");
        assert!(!world.purge(SHARD, b"a"));
        assert!(!kept.is_empty());
        for effect in kept {
            world.carry_out(effect, false);
        }
        world.work();
        assert_eq!(told(&world), Lseq(2));
        assert!(world.purge(SHARD, b"a"));
        world.start();
        world.work();
        world.assert_index_equals_store();
    }
}

#[test]
fn vectors_that_are_missing_hold_up_no_purge() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("absent text"));
    world.learn(SHARD, &key(DOCS, "b"), ballot(2, OTHER), Some("text"));
    world.learn(SHARD, &key(DOCS, "c"), ballot(3, ME), None);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(world.stats().embed_given_up, 1, "no model for it");
    assert_eq!(world.stats().pending_embeddings, 1, "still to be shipped");
    assert_eq!(told(&world), Lseq(3));
}

#[test]
fn entries_that_are_not_indexed_move_it_on() {
    let mut world = World::started();
    world.learn(SHARD, &key(PLAIN, "a"), ballot(1, ME), Some("text"));
    world.learn(SHARD, &key(PLAIN, "a"), ballot(2, ME), None);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(told(&world), Lseq(2));
}

/// A deletion whose stored vector could not be removed, for a disk that was full.
fn deleted_on_a_full_disk() -> World {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, ME), Some("text"));
    world.pass(2 * VECTOR_MARK_STORE_MS);
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, ME), None);
    while !world.todo.is_empty() {
        let effect = world.todo.remove(0);
        let fails = matches!(effect, Effect::Store { .. });
        world.carry_out(effect, fails);
    }
    world.pass(2 * VECTOR_MARK_STORE_MS);
    assert_eq!(told(&world), Lseq(1));
    world
}

#[test]
fn a_removal_that_fails_is_tried_again() {
    let mut world = deleted_on_a_full_disk();
    world.pass(PARK_MS);
    assert_eq!(told(&world), Lseq(2));
    assert!(world.purge(SHARD, b"a"));
    world.assert_index_equals_store();
}

#[test]
fn a_later_entry_of_the_key_does_what_a_removal_failed_to_do() {
    let mut world = deleted_on_a_full_disk();
    // As a purge does that begins elsewhere: the tombstone is accepted again.
    world.learn(SHARD, &key(DOCS, "a"), ballot(3, OTHER), None);
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(told(&world), Lseq(3));
    assert!(world.purge(SHARD, b"a"));
    world.pass(2 * PARK_MS);
    world.assert_index_equals_store();
}

#[test]
fn a_new_life_removes_what_the_last_one_failed_to() {
    let mut world = deleted_on_a_full_disk();
    world.start();
    world.pass(TEXT_COMMIT_MS);
    assert_eq!(told(&world), Lseq(2));
    assert!(world.purge(SHARD, b"a"));
    world.assert_index_equals_store();
}
