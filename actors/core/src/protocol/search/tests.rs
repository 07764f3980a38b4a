mod asking;
mod fused;

use super::*;
use crate::index::PartitionHit;
use crate::types::NamespaceId;
use crate::wire::{HybridWeights, IndexLag, Standing};

const NOW: Millis = Millis(1000);

fn member(n: u64) -> MemberId {
    MemberId(n)
}

fn key(text: &str) -> Key {
    Key::new(text).expect("short")
}

fn vtag(n: u64) -> Ballot {
    Ballot { n, ..Ballot::ZERO }
}

fn search(top_k: u32) -> Search {
    Search {
        namespace: NamespaceId(1),
        query: "query".into(),
        mode: SearchMode::AllWords,
        top_k,
        threshold: None,
        weights: HybridWeights::default(),
        prefix: vec![],
        tags: vec![],
        with_values: true,
        snippets: false,
        fresh: false,
    }
}

/// Four shards on three members without lag, in this order.
fn routes() -> Vec<(ShardId, Route)> {
    routes_by(|_| (1..=3).map(|n| route(n, Some(0))).collect())
}

/// Those of four shards.
fn routes_by(of_shard: impl Fn(u16) -> Vec<Route>) -> Vec<(ShardId, Route)> {
    let routes = (0..4).flat_map(|shard| {
        of_shard(shard)
            .into_iter()
            .map(move |it| (ShardId(shard), it))
    });
    routes.collect()
}

fn route(n: u64, lag_ms: Option<u32>) -> Route {
    Route {
        member: member(n),
        index: Some(IndexLag {
            words_ms: lag_ms,
            meaning_ms: lag_ms,
            compared: 0,
        }),
        order: n,
    }
}

fn start(search: Search, out: &mut Vec<Effect>) -> SearchMachine {
    start_on(search, routes(), out)
}

fn start_on(search: Search, routes: Vec<(ShardId, Route)>, out: &mut Vec<Effect>) -> SearchMachine {
    let setup = Setup {
        search,
        deadline: NOW.plus(5_000),
        shards: 4,
        routes,
        model: ModelId::new("hash").expect("short"),
        language: TextLanguage::English,
    };
    SearchMachine::new(NOW, setup, out)
}

fn found(hits: &[(&str, u64, f32)], more: bool) -> PartitionHits {
    PartitionHits {
        hits: hits
            .iter()
            .map(|(text, n, score)| PartitionHit {
                key: key(text),
                vtag: vtag(*n),
                score: *score,
            })
            .collect(),
        shards_answered: (0..4).map(ShardId).collect(),
        lag: vec![],
        more,
    }
}

fn hits(from: u64, result: Result<PartitionHits, PartitionError>) -> Event {
    Event::Hits {
        side: Side::Words,
        member: member(from),
        shards: (0..4).map(ShardId).collect(),
        result,
    }
}

fn entry(n: u64) -> Option<Entry> {
    Some(Entry {
        value: "v".into(),
        version: vtag(n),
        tags: vec![],
        expires_at: None,
    })
}

fn asked(out: &[Effect]) -> Vec<MemberId> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Ask { member, .. } => Some(*member),
            _ => None,
        })
        .collect()
}

fn verified(out: &[Effect]) -> Vec<Key> {
    out.iter()
        .filter_map(|effect| match effect {
            Effect::Verify(keys) => Some(keys.iter().map(|key| key.key.clone())),
            _ => None,
        })
        .flatten()
        .collect()
}

fn reply(out: &[Effect]) -> SearchReply {
    match out.last() {
        Some(Effect::Done(Ok(reply))) => reply.clone(),
        other => panic!("not done: {other:?}"),
    }
}

#[test]
fn one_member_that_has_all_shards_is_asked_alone() {
    let mut out = Vec::new();
    start(search(2), &mut out);
    assert_eq!(asked(&out), [member(1)]);
}

#[test]
fn deleted_and_overwritten_hits_give_way_to_the_next_ones() {
    let mut out = Vec::new();
    let mut machine = start(search(2), &mut out);
    out.clear();
    let candidates = [("a", 1, 0.9), ("b", 1, 0.8), ("c", 1, 0.7), ("d", 1, 0.6)];
    machine.step(NOW, hits(1, Ok(found(&candidates, false))), &mut out);
    assert_eq!(verified(&out), [key("a"), key("b")]);
    out.clear();
    let gone = vec![(key("a"), None), (key("b"), entry(2))];
    machine.step(NOW, Event::Verified(gone), &mut out);
    assert_eq!(verified(&out), [key("c"), key("d")]);
    let live = vec![(key("c"), entry(1)), (key("d"), entry(1))];
    machine.step(NOW, Event::Verified(live), &mut out);
    let reply = reply(&out);
    let keys: Vec<Key> = reply.hits.into_iter().map(|hit| hit.key).collect();
    assert_eq!(keys, [key("c"), key("d")]);
    assert_eq!((reply.shards_answered, reply.shards_total), (4, 4));
}

#[test]
fn more_is_asked_for_when_too_few_live_hits_are_left() {
    let mut out = Vec::new();
    let mut machine = start(search(1), &mut out);
    machine.step(NOW, hits(1, Ok(found(&[("a", 1, 0.9)], true))), &mut out);
    out.clear();
    machine.step(NOW, Event::Verified(vec![(key("a"), None)]), &mut out);
    let k = out.iter().find_map(|effect| match effect {
        Effect::Ask { query, .. } => Some(query.k),
        _ => None,
    });
    assert_eq!(k, Some(first_k(1, SearchMode::AllWords) * WIDEN));
    let wider = [("a", 1, 0.9), ("b", 1, 0.5)];
    machine.step(NOW, hits(1, Ok(found(&wider, false))), &mut out);
    machine.step(NOW, Event::Verified(vec![(key("b"), entry(1))]), &mut out);
    assert_eq!(reply(&out).hits[0].key, key("b"));
}

#[test]
fn coverage_is_reported_when_nobody_is_left() {
    let mut out = Vec::new();
    let mut machine = start(search(1), &mut out);
    for n in 1..=3 {
        let mut part = found(&[("a", 1, 0.9)], false);
        part.shards_answered = vec![ShardId(0)];
        machine.step(NOW, hits(n, Ok(part)), &mut out);
    }
    machine.step(NOW, Event::Verified(vec![(key("a"), entry(1))]), &mut out);
    let reply = reply(&out);
    assert_eq!((reply.shards_answered, reply.shards_total), (1, 4));
    assert_eq!(reply.hits.len(), 1);
}

#[test]
fn one_key_from_two_replicas_is_one_hit_and_the_newer_version_counts() {
    let mut out = Vec::new();
    let mut machine = start(search(5), &mut out);
    let both = [("a", 1, 0.9), ("a", 2, 0.4)];
    machine.step(NOW, hits(1, Ok(found(&both, false))), &mut out);
    assert_eq!(verified(&out), [key("a")]);
    machine.step(NOW, Event::Verified(vec![(key("a"), entry(2))]), &mut out);
    let reply = reply(&out);
    assert_eq!((reply.hits.len(), reply.hits[0].score), (1, 0.4));
}

#[test]
fn a_threshold_keeps_weak_hits_out_and_no_hits_are_an_answer() {
    let mut out = Vec::new();
    let mut machine = start(
        Search {
            threshold: Some(0.5),
            ..search(5)
        },
        &mut out,
    );
    machine.step(NOW, hits(1, Ok(found(&[("a", 1, 0.4)], false))), &mut out);
    assert_eq!(reply(&out).hits, []);
}

#[test]
fn a_query_is_embedded_once_and_a_failure_to_embed_is_told() {
    let mut out = Vec::new();
    let semantic = Search {
        mode: SearchMode::Semantic,
        ..search(1)
    };
    let mut machine = start(semantic.clone(), &mut out);
    assert!(matches!(out[..], [Effect::Embed { .. }]), "{out:?}");
    let vector = Arc::new(Embedding::new(vec![1.0, 0.0]).expect("finite"));
    out.clear();
    machine.step(NOW, Event::Embedded(Ok(vector)), &mut out);
    assert_eq!(asked(&out), [member(1)]);
    let mut machine = start(semantic, &mut out);
    let error = RequestError::Embedder {
        embedder: "builtin".into(),
        reason: "it is gone".into(),
    };
    machine.step(NOW, Event::Embedded(Err(error.clone())), &mut out);
    assert_eq!(out.last(), Some(&Effect::Done(Err(error))));
}

#[test]
fn a_newer_version_is_verified_although_an_older_one_was_gone() {
    let mut out = Vec::new();
    let mut machine = start(search(1), &mut out);
    machine.step(NOW, hits(1, Ok(found(&[("a", 1, 0.9)], true))), &mut out);
    machine.step(NOW, Event::Verified(vec![(key("a"), entry(2))]), &mut out);
    out.clear();
    machine.step(NOW, hits(1, Ok(found(&[("a", 2, 0.9)], false))), &mut out);
    assert_eq!(verified(&out), [key("a")]);
}

#[test]
fn snippets_show_the_words_found_and_values_only_if_wanted() {
    let mut out = Vec::new();
    let snippets = Search {
        query: "guides".into(),
        snippets: true,
        with_values: false,
        ..search(2)
    };
    let mut machine = start(snippets, &mut out);
    let both = [("guide:1", 1, 0.9), ("b", 1, 0.8)];
    machine.step(NOW, hits(1, Ok(found(&both, false))), &mut out);
    let of = |value: &str| {
        entry(1).map(|entry| Entry {
            value: value.into(),
            ..entry
        })
    };
    let read = vec![
        (key("guide:1"), of("text")),
        (key("b"), of("a guide to tea")),
    ];
    machine.step(NOW, Event::Verified(read), &mut out);
    let hits = reply(&out).hits;
    let snippets: Vec<(&str, &[(u32, u32)])> = hits
        .iter()
        .filter_map(|hit| hit.snippet.as_ref())
        .map(|snippet| (snippet.text.as_str(), snippet.marks.as_slice()))
        .collect();
    // Where the value has no such word, the key may.
    assert_eq!(
        snippets,
        [("guide:1", &[(0, 5)][..]), ("a guide to tea", &[(2, 7)])]
    );
    assert!(hits.iter().all(|hit| hit.entry.value == Blob::default()));
}
