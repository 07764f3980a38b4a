//! What searches return.

use super::world::*;
use crate::index::partition::*;
use crate::index::*;
use crate::limits::{SEARCH_FETCH_MAX, TAGS_MAX};
use crate::types::{Blob, Lseq, NamespaceId, ShardId};

fn filled() -> World {
    let mut world = World::started();
    for (n, shard, name, value) in [
        (1, 0, "user:1", "green tea"),
        (2, 0, "user:2", "green tea tagged"),
        (3, 4, "item:3", "green paint"),
        (4, 4, "item:4", "nothing alike"),
    ] {
        world.learn(ShardId(shard), &key(DOCS, name), ballot(n, ME), Some(value));
    }
    world.pass(TEXT_COMMIT_MS);
    world
}

fn names(hits: &PartitionHits) -> Vec<String> {
    hits.hits
        .iter()
        .map(|hit| hit.key.to_text().into_owned())
        .collect()
}

#[test]
fn hits_come_best_first_with_their_versions() {
    let mut world = filled();
    let hits = world.ask(world.semantic("green tea")).expect("answered");
    assert_eq!(names(&hits), ["user:1", "user:2", "item:3"]);
    assert_eq!(hits.hits[1].vtag, ballot(2, ME));
    assert!(
        hits.hits
            .is_sorted_by(|left, right| left.score >= right.score)
    );
    assert_eq!(hits.shards_answered, [ShardId(0), ShardId(4)]);
    assert!(
        hits.lag
            .iter()
            .all(|lag| lag.changes == 0 && lag.behind_ms == 0)
    );
    assert!(!hits.more);
}

#[test]
fn a_query_is_restricted_to_what_it_asks_for() {
    let mut world = filled();
    let base = world.semantic("green tea");
    let QueryKind::Semantic { vector, model, .. } = base.kind.clone() else {
        return;
    };
    let strict = QueryKind::Semantic {
        vector,
        model,
        threshold: Some(0.9),
    };
    for (query, found) in [
        (
            PartitionQuery {
                shards: vec![ShardId(4)],
                ..base.clone()
            },
            vec!["item:3"],
        ),
        (
            PartitionQuery {
                prefix: Some(Blob::from("it")),
                ..base.clone()
            },
            vec!["item:3"],
        ),
        (
            PartitionQuery {
                tags: vec!["green tea tagged".into()],
                ..base.clone()
            },
            vec!["user:2"],
        ),
        (
            PartitionQuery {
                namespace: NamespaceId(9),
                ..base.clone()
            },
            vec![],
        ),
        (
            PartitionQuery {
                kind: strict,
                ..base.clone()
            },
            vec!["user:1"],
        ),
        (
            PartitionQuery {
                k: 1,
                ..base.clone()
            },
            vec!["user:1"],
        ),
    ] {
        let full = query.k == 1;
        let hits = world.ask(query).expect("answered");
        assert_eq!(names(&hits), found);
        assert_eq!(hits.more, full);
    }
    let elsewhere = PartitionQuery {
        shards: vec![ShardId(0), ShardId(8)],
        ..base
    };
    assert_eq!(
        world.ask(elsewhere).expect("answered").shards_answered,
        [ShardId(0)]
    );
}

#[test]
fn words_are_looked_up_in_the_text_index() {
    let mut world = filled();
    let kind = QueryKind::Text {
        words: "green".into(),
        mode: WordsMode::All,
    };
    let query = PartitionQuery {
        kind,
        shards: vec![ShardId(4)],
        ..world.semantic("x")
    };
    let hits = world.ask(query).expect("answered");
    assert_eq!(names(&hits), ["item:3"]);
    assert_eq!(hits.shards_answered, [ShardId(4)]);
}

#[test]
fn lag_is_told() {
    let mut world = filled();
    world.step(Event::Advance {
        shard: ShardId(0),
        learned: Lseq(12),
    });
    world.now = world.now.plus(70);
    let hits = world.ask(world.semantic("green")).expect("answered");
    let lag = ShardLag {
        shard: ShardId(0),
        changes: 10,
        behind_ms: 70,
    };
    assert_eq!(hits.lag[0], lag);
    assert_eq!((world.stats().lag_changes, world.stats().lag_ms), (10, 70));
}

#[test]
fn what_is_out_of_bounds_or_not_there_is_refused() {
    let mut world = filled();
    let base = world.semantic("green");
    let too_many = u32::try_from(SEARCH_FETCH_MAX + 1).expect("small");
    for query in [
        PartitionQuery {
            k: 0,
            ..base.clone()
        },
        PartitionQuery {
            k: too_many,
            ..base.clone()
        },
        PartitionQuery {
            tags: vec![String::new(); TAGS_MAX + 1],
            ..base.clone()
        },
    ] {
        assert!(matches!(world.ask(query), Err(PartitionError::Invalid(_))));
    }
    let QueryKind::Semantic { vector, model, .. } = base.kind.clone() else {
        return;
    };
    let asked = ModelId::new("other").expect("short");
    let kind = QueryKind::Semantic {
        vector,
        model: asked.clone(),
        threshold: None,
    };
    let query = PartitionQuery {
        kind,
        ..base.clone()
    };
    assert_eq!(
        world.ask(query),
        Err(PartitionError::Model {
            indexed: model.clone(),
            asked
        })
    );
    let vector = Embedding::new(vec![1.0; 3]).expect("finite");
    let kind = QueryKind::Semantic {
        vector,
        model,
        threshold: None,
    };
    let query = PartitionQuery { kind, ..base };
    assert!(matches!(world.ask(query), Err(PartitionError::Invalid(_))));
}

#[test]
fn before_the_data_is_read_nobody_is_answered() {
    let mut world = World::new();
    world.start();
    assert_eq!(world.todo.len(), 2, "both shards are being loaded");
    let loads = std::mem::take(&mut world.todo);
    assert_eq!(
        world.ask(world.semantic("green")),
        Err(PartitionError::NotReady)
    );
    world.todo = loads;
    world.work();
    assert!(world.ask(world.semantic("green")).is_ok());
}
