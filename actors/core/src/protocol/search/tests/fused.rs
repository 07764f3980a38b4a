//! Searches with two legs.

use super::*;

fn hybrid(top_k: u32, weights: HybridWeights) -> Search {
    Search {
        mode: SearchMode::Hybrid,
        weights,
        ..search(top_k)
    }
}

fn on(side: Side, result: Result<PartitionHits, PartitionError>) -> Event {
    Event::Hits {
        side,
        member: member(1),
        shards: (0..4).map(ShardId).collect(),
        result,
    }
}

fn vector() -> Event {
    let vector = Embedding::new(vec![1.0, 0.0]).expect("has a direction");
    Event::Embedded(Ok(Arc::new(vector)))
}

/// Runs a hybrid search to its end; what a read finds is what was indexed.
fn run_hybrid(
    search: Search,
    meaning: &[(&str, u64, f32)],
    words: &[(&str, u64, f32)],
) -> SearchReply {
    let mut out = Vec::new();
    let mut machine = start(search, &mut out);
    machine.step(NOW, vector(), &mut out);
    machine.step(NOW, on(Side::Words, Ok(found(words, false))), &mut out);
    assert!(verified(&out).is_empty(), "the other list is not there yet");
    machine.step(NOW, on(Side::Meaning, Ok(found(meaning, false))), &mut out);
    let newest = |key: &Key| {
        let all = meaning.iter().chain(words);
        all.filter(|(name, ..)| *key == self::key(name))
            .map(|(_, n, _)| *n)
            .max()
    };
    let read = verified(&out).into_iter();
    let read: Vec<_> = read
        .map(|key| (key.clone(), newest(&key).and_then(entry)))
        .collect();
    machine.step(NOW, Event::Verified(read), &mut out);
    reply(&out)
}

#[test]
fn what_is_high_in_both_lists_comes_first() {
    let meaning = [("a", 1, 0.9), ("b", 1, 0.8), ("c", 1, 0.7)];
    let words = [("d", 1, 9.0), ("b", 1, 8.0)];
    let reply = run_hybrid(hybrid(4, HybridWeights::default()), &meaning, &words);
    let names: Vec<_> = reply.hits.iter().map(|hit| hit.key.to_text()).collect();
    assert_eq!(names, ["b", "a", "d", "c"]);
    let first = &reply.hits[0];
    let standing = |rank, score| Some(Standing { rank, score });
    assert_eq!(first.explanation.meaning, standing(2, 0.8));
    assert_eq!(first.explanation.words, standing(2, 8.0));
    assert!((first.score - 2.0 / 62.0).abs() < 1e-6);
    assert_eq!(reply.hits[1].explanation.words, None);
}

#[test]
fn weights_shift_the_balance() {
    let meaning = [("a", 1, 0.9)];
    let words = [("b", 1, 9.0)];
    for (meaning_weight, words_weight, first) in [(1.0, 2.0, "b"), (2.0, 1.0, "a"), (0.0, 1.0, "b")]
    {
        let weights = HybridWeights {
            meaning: meaning_weight,
            words: words_weight,
        };
        let reply = run_hybrid(hybrid(2, weights), &meaning, &words);
        assert_eq!(reply.hits[0].key, key(first));
    }
}

#[test]
fn an_outdated_version_in_one_list_does_not_count() {
    let meaning = [("a", 1, 0.9), ("b", 1, 0.8)];
    let words = [("a", 2, 9.0), ("c", 1, 8.0)];
    let reply = run_hybrid(hybrid(3, HybridWeights::default()), &meaning, &words);
    let a = reply
        .hits
        .iter()
        .find(|hit| hit.key == key("a"))
        .expect("live");
    assert_eq!(a.explanation.meaning, None);
    assert_eq!(a.entry.version, vtag(2));
}

#[test]
fn coverage_counts_shards_that_both_lists_cover() {
    let mut out = Vec::new();
    let mut machine = start(hybrid(1, HybridWeights::default()), &mut out);
    machine.step(NOW, vector(), &mut out);
    machine.step(NOW, on(Side::Meaning, Ok(found(&[], false))), &mut out);
    let half = PartitionHits {
        shards_answered: vec![ShardId(0), ShardId(1)],
        ..found(&[], false)
    };
    machine.step(NOW, on(Side::Words, Ok(half)), &mut out);
    for other in [2, 3] {
        machine.step(NOW, Event::MemberDown(member(other)), &mut out);
    }
    let reply = reply(&out);
    assert_eq!((reply.shards_answered, reply.shards_total), (2, 4));
}
