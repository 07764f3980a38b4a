use super::*;
use crate::index::PartitionHit;
use crate::types::NamespaceId;

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
        prefix: vec![],
        tags: vec![],
        with_values: true,
    }
}

/// Four shards on three members, the first of which is preferred by all.
fn routes() -> BTreeMap<ShardId, Vec<MemberId>> {
    (0..4)
        .map(|shard| (ShardId(shard), vec![member(1), member(2), member(3)]))
        .collect()
}

fn start(search: Search, out: &mut Vec<Effect>) -> SearchMachine {
    let model = ModelId::new("hash").expect("short");
    SearchMachine::new(NOW, search, routes(), model, out)
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
    assert_eq!(k, Some(first_k(1) * WIDEN));
    let wider = [("a", 1, 0.9), ("b", 1, 0.5)];
    machine.step(NOW, hits(1, Ok(found(&wider, false))), &mut out);
    machine.step(NOW, Event::Verified(vec![(key("b"), entry(1))]), &mut out);
    assert_eq!(reply(&out).hits[0].key, key("b"));
}

#[test]
fn a_silent_failed_or_lost_member_is_replaced() {
    let not_ready = hits(1, Err(PartitionError::NotReady));
    for event in [Event::Timer, Event::MemberDown(member(1)), not_ready] {
        let mut out = Vec::new();
        let mut machine = start(search(1), &mut out);
        out.clear();
        machine.step(NOW.plus(HEDGE_MS), event.clone(), &mut out);
        assert_eq!(asked(&out), [member(2)], "{event:?}");
    }
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
