//! Filtered searches against a comparison of all entries, whatever segments they are in.

use proptest::prelude::*;

use super::world::*;
use crate::index::*;
use crate::types::{Blob, Key, ShardId};

const WORDS: [&str; 6] = ["tea", "paint", "green", "tagged", "river", "stone"];

/// An entry as the test knows it.
#[derive(Clone, Debug)]
struct Known {
    key: Key,
    shard: ShardId,
    text: String,
}

fn text(words: &[usize]) -> String {
    let words = words.iter().filter_map(|word| WORDS.get(*word)).copied();
    words.collect::<Vec<_>>().join(" ")
}

/// All that match, best first with ties in key order.
fn expected(known: &[Known], query: &PartitionQuery) -> Vec<(Key, f32)> {
    let QueryKind::Semantic {
        vector: asked,
        threshold,
        ..
    } = &query.kind
    else {
        return Vec::new();
    };
    let mut all: Vec<(Key, f32)> = known
        .iter()
        .filter(|entry| query.shards.contains(&entry.shard))
        .filter(|entry| {
            let prefix = query.prefix.as_ref().map_or(&[][..], AsRef::as_ref);
            entry.key.as_bytes().starts_with(prefix)
        })
        // The world gives texts with this word their text as tag.
        .filter(|entry| {
            query
                .tags
                .iter()
                .all(|tag| entry.text == *tag && tag.contains("tagged"))
        })
        .map(|entry| {
            let score = asked.cosine(&vector(&entry.text)).expect("same dimension");
            (entry.key.clone(), score)
        })
        .filter(|(_, score)| threshold.is_none_or(|least| *score >= least))
        .collect();
    all.sort_by(|left, right| rank((left.1, &left.0), (right.1, &right.0)));
    all.truncate(usize::try_from(query.k).expect("small"));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_filtered_search_finds_as_many_as_there_are(
        writes in proptest::collection::vec(
            (0_u8..40, proptest::collection::vec(0_usize..6, 1..4), proptest::bool::weighted(0.2)),
            0..120,
        ),
        asked in proptest::collection::vec(0_usize..6, 1..3),
        k in 1_u32..30,
        threshold in proptest::option::of(0.0_f32..1.0),
        prefix in proptest::option::of(0_u8..4),
        tag in proptest::option::of(proptest::collection::vec(0_usize..6, 1..3)),
        one_shard in any::<bool>(),
    ) {
        let mut world = World::started();
        let mut known: Vec<Known> = Vec::new();
        for (n, (name, words, is_delete)) in (1..).zip(writes) {
            let shard = ShardId(if name % 2 == 0 { 0 } else { 4 });
            let record = key(DOCS, &format!("{}:{name}", name % 4));
            let text = text(&words);
            known.retain(|entry| entry.key != record.key);
            world.learn(shard, &record, ballot(n, ME), (!is_delete).then_some(text.as_str()));
            if !is_delete {
                known.push(Known { key: record.key, shard, text });
            }
            if n % 5 == 0 {
                world.work();
            }
        }
        world.pass(2_000);
        let mut query = world.semantic(&text(&asked));
        let QueryKind::Semantic { threshold: least, .. } = &mut query.kind else {
            return Ok(());
        };
        *least = threshold;
        query.k = k;
        query.prefix = prefix.map(|prefix| Blob::from(format!("{prefix}:").as_str()));
        query.tags = tag.map(|words| text(&words)).into_iter().collect();
        if one_shard {
            query.shards = vec![ShardId(4)];
        }
        let found = world.ask(query.clone()).expect("answered").hits;
        let found: Vec<(Key, f32)> = found.into_iter().map(|hit| (hit.key, hit.score)).collect();
        prop_assert_eq!(found, expected(&known, &query));
    }
}
