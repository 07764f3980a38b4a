use std::sync::Arc;

use super::*;
use crate::index::{Embedding, HashEmbedder, IndexOptions};
use crate::limits::{KEY_BYTES_MAX, WATCHES_MAX};
use crate::planted::Planted;
use crate::types::{
    Ballot, Blob, Key, Lseq, MemberId, Millis, NamespaceId, NamespaceOptions, RecentWrite,
    RecordKey, Register, ShardId, WriteId,
};
use crate::wire::{RequestError, Similar, Watch, WatchPage, Watched};

const ME: MemberId = MemberId(1);
const PEER: MemberId = MemberId(2);
const NAMESPACE: NamespaceId = NamespaceId(3);
const SHARD: ShardId = ShardId(4);
const UNTIL: Millis = Millis(1_000);

fn server() -> WatchServer {
    WatchServer::new(ME, Planted::default())
}

fn watch(since: &[(MemberId, u64)]) -> Watch {
    Watch {
        shard: SHARD,
        namespace: NAMESPACE,
        prefix: b"k".to_vec(),
        since: since.iter().map(|(m, l)| (*m, Lseq(*l))).collect(),
        similar: None,
        with_values: true,
    }
}

fn similar(text: &str, threshold: f32) -> Watch {
    Watch {
        similar: Some(Similar {
            text: text.into(),
            threshold,
        }),
        ..watch(&[(ME, 5)])
    }
}

fn indexing() -> IndexOptions {
    IndexOptions::of(&NamespaceOptions::default(), HashEmbedder::id())
}

fn ask(server: &mut WatchServer, id: u64, watch: Watch) -> Vec<Effect> {
    let question = Question {
        id,
        until: UNTIL,
        watch,
        indexing: Some(indexing()),
    };
    step(server, Event::Ask(question))
}

fn step(server: &mut WatchServer, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    server.step(Millis(0), event, &mut out);
    out.retain(|effect| !matches!(effect, Effect::SetTimer(_)));
    out
}

fn record_key(name: &str) -> RecordKey {
    RecordKey {
        namespace: NAMESPACE,
        key: Key::new(name).expect("short"),
    }
}

fn register(n: u64, value: Option<&str>, is_write: bool) -> Arc<Register> {
    let vtag = Ballot { n, ..Ballot::ZERO };
    let write = RecentWrite {
        ballot: vtag,
        write: WriteId {
            client: 1,
            sequence: n,
        },
        time: Default::default(),
        found: false,
    };
    Arc::new(Register {
        vtag,
        value: value.map(Blob::from),
        recent: is_write.then_some(write).into_iter().collect(),
        ..Register::default()
    })
}

fn entry(lseq: u64, value: Option<&str>) -> WatchEntry {
    let register = register(lseq, value, true);
    WatchEntry::of(Lseq(lseq), record_key("k"), &register)
}

fn feed(token: u64, upto: u64, entries: Vec<WatchEntry>) -> Event {
    Event::Fed(WatchFeed {
        token,
        serving: true,
        is_complete: true,
        entries,
        upto: Lseq(upto),
        position: vec![(PEER, Lseq(90)), (ME, Lseq(upto))],
    })
}

/// The position after which this effect reads the log.
fn read_after(effects: &[Effect]) -> Option<Option<u64>> {
    match effects {
        [Effect::Listen(SHARD), Effect::Read(SHARD, query)] => {
            assert_eq!((query.namespace, &query.prefix[..]), (NAMESPACE, &b"k"[..]));
            Some(query.after.map(|after| after.0))
        }
        _ => None,
    }
}

fn answer(effects: Vec<Effect>) -> Result<WatchPage, RequestError> {
    match effects.into_iter().next() {
        Some(Effect::Answer(_, result)) => result,
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn a_position_of_this_log_is_gone_on_from_and_others_are_not_known() {
    for (since, after) in [
        (&[][..], None),
        (&[(ME, 5), (PEER, 7)], Some(5)),
        (&[(PEER, 7)], Some(u64::MAX)),
    ] {
        let mut server = server();
        let effects = ask(&mut server, 1, watch(since));
        assert_eq!(read_after(&effects), Some(after), "{since:?}");
    }
}

#[test]
fn changes_are_answered_at_once_with_what_they_are() {
    let mut server = server();
    ask(&mut server, 1, watch(&[(ME, 5)]));
    let ended = register(8, None, false);
    let expired = WatchEntry::of(Lseq(8), record_key("k3"), &ended);
    let entries = vec![entry(6, Some("v")), entry(7, None), expired];
    let page = answer(step(&mut server, feed(1, 9, entries))).expect("changes");
    let kinds: Vec<&str> = page
        .changes
        .iter()
        .map(|change| match &change.state {
            Watched::Present(entry) if entry.value == Blob::from("v") => "put",
            Watched::Present(_) => "empty",
            Watched::Deleted => "deleted",
            Watched::Expired => "expired",
        })
        .collect();
    assert_eq!(kinds, ["put", "deleted", "expired"]);
    assert_eq!(page.position, [(PEER, Lseq(90)), (ME, Lseq(9))]);
    assert!(page.is_complete && page.member == ME);
    assert_eq!(server.open(), 0);

    let keys_only = Watch {
        with_values: false,
        ..watch(&[(ME, 5)])
    };
    ask(&mut server, 2, keys_only);
    let page = answer(step(&mut server, feed(2, 9, vec![entry(6, Some("v"))])));
    let page = page.expect("changes");
    let [change] = &page.changes[..] else {
        panic!("one change: {page:?}");
    };
    assert!(matches!(&change.state, Watched::Present(entry) if entry.value.is_empty()));
}

#[test]
fn from_now_on_is_answered_at_once_and_so_is_a_gap() {
    let mut server = server();
    ask(&mut server, 1, watch(&[]));
    let page = answer(step(&mut server, feed(1, 9, vec![]))).expect("a position");
    assert!(page.is_complete && page.changes.is_empty());
    assert_eq!(page.position, [(PEER, Lseq(90)), (ME, Lseq(9))]);

    ask(&mut server, 2, watch(&[(ME, 5)]));
    let Event::Fed(complete) = feed(2, 9, vec![]) else {
        panic!("a page");
    };
    let gap = WatchFeed {
        is_complete: false,
        ..complete
    };
    let page = answer(step(&mut server, Event::Fed(gap))).expect("a gap");
    assert!(!page.is_complete);

    ask(&mut server, 3, watch(&[(ME, 5)]));
    let recovering = Event::Fed(WatchFeed::not_serving(3));
    let refused = answer(step(&mut server, recovering));
    assert!(matches!(
        refused,
        Err(RequestError::Unavailable { shard: 4, .. })
    ));
}

#[test]
fn without_changes_it_waits_for_the_bell_and_misses_no_ring() {
    let mut server = server();
    ask(&mut server, 1, watch(&[(ME, 5)]));
    // Other keys changed: it reads on at once, for there may be more.
    let effects = step(&mut server, feed(1, 7, vec![]));
    assert_eq!(read_after(&effects), Some(Some(7)));
    assert_eq!(step(&mut server, feed(1, 7, vec![])), []);
    assert_eq!(step(&mut server, Event::Rung(ShardId(9))), []);
    let effects = step(&mut server, Event::Rung(SHARD));
    assert_eq!(read_after(&effects), Some(Some(7)));
    // The bell rings while the log is being read: the page may be too old.
    assert_eq!(step(&mut server, Event::Rung(SHARD)), []);
    let effects = step(&mut server, feed(1, 7, vec![]));
    assert_eq!(read_after(&effects), Some(Some(7)));
    let page = answer(step(&mut server, feed(1, 8, vec![entry(8, Some("v"))])));
    assert_eq!(page.expect("a change").changes.len(), 1);
}

#[test]
fn when_the_time_is_up_the_position_reached_is_answered() {
    let mut server = server();
    ask(&mut server, 1, watch(&[(ME, 5)]));
    step(&mut server, feed(1, 7, vec![]));
    step(&mut server, feed(1, 7, vec![]));
    let mut out = Vec::new();
    server.step(Millis(999), Event::Timer, &mut out);
    assert_eq!(out, [Effect::SetTimer(UNTIL)]);
    out.clear();
    server.step(UNTIL, Event::Timer, &mut out);
    let page = answer(out).expect("nothing happened");
    assert_eq!(page.position, [(PEER, Lseq(90)), (ME, Lseq(7))]);
    assert!(page.changes.is_empty() && page.is_complete);

    // A replica that does not answer at all is given up a little later.
    ask(&mut server, 2, watch(&[(ME, 5)]));
    let mut out = Vec::new();
    server.step(UNTIL, Event::Timer, &mut out);
    assert!(
        !out.iter()
            .any(|effect| matches!(effect, Effect::Answer(..)))
    );
    out.clear();
    server.step(UNTIL.plus(500), Event::Timer, &mut out);
    assert!(matches!(answer(out), Err(RequestError::Unavailable { .. })));
    assert_eq!(server.open(), 0);
}

fn vector(text: &str) -> Option<Arc<Embedding>> {
    HashEmbedder::embed(text).ok().map(Arc::new)
}

/// Embeds what is asked for; returns what follows at last.
fn embed(server: &mut WatchServer, effects: Vec<Effect>) -> Vec<Effect> {
    let mut last = Vec::new();
    for effect in effects {
        if let Effect::Embed {
            id, place, text, ..
        } = effect
        {
            last = step(server, Event::Embedded(id, place, Ok(vector(&text))));
        }
    }
    last
}

#[test]
fn only_values_near_the_meaning_are_shown() {
    let mut server = server();
    ask(&mut server, 1, similar("ripe apples", 0.5));
    let entries = vec![
        entry(6, Some("ripe apples")),
        entry(7, Some("tax forms of companies")),
        entry(8, None),
        entry(9, Some("...")),
    ];
    let effects = step(&mut server, feed(1, 9, entries));
    assert_eq!(
        effects.len(),
        4,
        "the query and every value with a text: {effects:?}"
    );
    let page = answer(embed(&mut server, effects)).expect("one is near");
    let [change] = &page.changes[..] else {
        panic!("one is near: {page:?}");
    };
    assert!(change.score.is_some_and(|score| score >= 0.5), "{change:?}");
    assert_eq!(change.version.n, 6);

    ask(&mut server, 2, similar("ripe apples", 0.5));
    let effects = step(&mut server, feed(2, 9, vec![entry(9, Some("tax forms"))]));
    let effects = embed(&mut server, effects);
    assert_eq!(read_after(&effects), Some(Some(9)), "it reads on");
    let effects = step(&mut server, feed(2, 10, vec![entry(10, Some("x"))]));
    let [Effect::Embed { id, place, .. }, ..] = effects[..] else {
        panic!("it compares: {effects:?}");
    };
    let failed = Event::Embedded(id, place, Err("busy".into()));
    let refused = answer(step(&mut server, failed));
    assert!(
        matches!(refused, Err(RequestError::NotApplied(_))),
        "it must not be passed over"
    );
    let late = Event::Embedded(id, 1, Ok(vector("x")));
    assert_eq!(step(&mut server, late), []);
}

#[test]
fn nonsense_and_too_much_are_refused() {
    let too_long = Watch {
        prefix: vec![b'k'; KEY_BYTES_MAX + 1],
        ..watch(&[])
    };
    let many: Vec<(MemberId, u64)> = (0..1000).map(|n| (MemberId(n), 1)).collect();
    for (watch, is_invalid) in [
        (similar("", 0.5), true),
        (similar(" \n", 0.5), true),
        (similar("x", 1.1), true),
        (similar("x", -1.1), true),
        (similar("x", f32::NAN), true),
        (similar(&"x".repeat(100_000), 0.5), false),
        (too_long, false),
        (watch(&many), false),
    ] {
        let mut server = server();
        let refused = answer(ask(&mut server, 1, watch));
        match refused {
            Err(RequestError::Invalid(_)) => assert!(is_invalid),
            Err(RequestError::TooLarge { .. }) => assert!(!is_invalid),
            other => panic!("not refused: {other:?}"),
        }
        assert_eq!(server.open(), 0);
    }
    let mut server = server();
    let count = WATCHES_MAX as u64;
    for id in 0..count {
        ask(&mut server, id, watch(&[(ME, 5)]));
    }
    let refused = answer(ask(&mut server, count, watch(&[])));
    assert!(matches!(refused, Err(RequestError::Overloaded { .. })));
    assert_eq!(server.open(), WATCHES_MAX);
}
