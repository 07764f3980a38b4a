//! Vectors that replicas ask of one another.

use super::world::*;
use crate::index::partition::*;
use crate::index::{HashEmbedder, VectorWant};
use crate::limits::INDEX_WANTS_MAX;
use crate::types::ShardId;

const SHARD: ShardId = ShardId(0);

#[test]
fn a_vector_that_does_not_come_is_asked_of_each_of_the_others_before_it_is_computed() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(1, OTHER), Some("first text"));
    world.pass(ASK_AFTER_MS - 1);
    assert!(world.wants.is_empty());
    world.pass(SHIP_WAIT_MS - ASK_AFTER_MS);
    let turns: Vec<u32> = world.wants.iter().map(|(turn, _)| *turn).collect();
    assert_eq!(turns, [0, 1]);
    let want = VectorWant {
        shard: SHARD,
        model: HashEmbedder::id(),
        keys: vec![(key(DOCS, "a"), ballot(1, OTHER))],
    };
    assert!(world.wants.iter().all(|(_, asked)| *asked == want));
    assert!(world.embedded.is_empty());
    world.pass(1);
    assert_eq!(world.embedded, ["first text"]);
}

#[test]
fn what_is_asked_for_is_given_if_it_is_that_very_version() {
    let mut world = World::started();
    world.learn(SHARD, &key(DOCS, "a"), ballot(2, ME), Some("newer text"));
    world.work();
    let keys = vec![
        (key(DOCS, "a"), ballot(1, ME)),
        (key(DOCS, "b"), ballot(2, ME)),
        (key(DOCS, "a"), ballot(2, ME)),
    ];
    let want = VectorWant {
        shard: SHARD,
        model: HashEmbedder::id(),
        keys,
    };
    world.step(Event::Wanted { from: OTHER, want });
    let (to, ship) = world.answers.pop().expect("answered");
    assert!(world.answers.is_empty(), "once");
    assert_eq!((to, ship.vtag), (OTHER, ballot(2, ME)));
    assert_eq!(ship.vectors, vector("newer text").into());
}

#[test]
fn a_new_disk_gets_all_vectors_from_another_replica_and_embeds_nothing() {
    let mut old = World::started();
    let mut new = World::started();
    let texts: Vec<String> = (0..300)
        .map(|number| format!("text number {number}"))
        .collect();
    for (n, text) in (1..).zip(&texts) {
        let name = key(DOCS, &n.to_string());
        old.learn(SHARD, &name, ballot(n, ME), Some(text));
        old.work();
        // Learned by the new one only when its partition has begun to follow the log.
        new.learn(SHARD, &name, ballot(n, ME), Some(text));
    }
    old.pass(TEXT_COMMIT_MS);
    // Another member on an empty disk: none of the versions is of its making.
    new.become_other();
    let mut rounds = 0;
    while new.stats().vectors < texts.len() && rounds < 100 {
        rounds += 1;
        new.pass(10);
        for (_, want) in std::mem::take(&mut new.wants) {
            assert!(want.keys.len() <= INDEX_WANTS_MAX);
            old.step(Event::Wanted { from: OTHER, want });
        }
        for (_, ship) in std::mem::take(&mut old.answers) {
            new.step(Event::Shipped(ship));
        }
        new.pass(ASK_AFTER_MS);
    }
    assert_eq!(new.stats().vectors, texts.len());
    assert!(
        new.embedded.is_empty(),
        "{} were computed",
        new.embedded.len()
    );
    new.pass(TEXT_COMMIT_MS);
    new.assert_index_equals_store();
}
