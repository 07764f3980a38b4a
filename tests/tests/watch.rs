//! Standing queries across three nodes, one of which is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use engram_client::watch::{WatchCursor, WatchEvent, WatchStream};
use engram_client::{ClientConfig, ClientError, Namespace, blocking};
use engram_tests::cluster::{Builder, Cluster, SERVING_DEADLINE};
use futures::{FutureExt, StreamExt, TryStreamExt};

const BEFORE: &str = "user:before";
/// More deletions of one shard than its replicas remember once their tombstones are purged.
const TOO_MANY: usize = 1100;
const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");

/// The next event; what is lost on the way is asked for again.
async fn next(stream: &mut WatchStream) -> Result<WatchEvent> {
    let event = async {
        loop {
            match stream.next().await.context("the stream ended")? {
                Ok(event) => return Ok(event),
                Err(ClientError::Unavailable { .. } | ClientError::NotApplied { .. }) => {}
                Err(error) => bail!("{error}"),
            }
        }
    };
    let waited = tokio::time::timeout(SERVING_DEADLINE, event).await;
    waited.context("no event comes")?
}

/// Brings a copy of what is watched up to date.
fn apply(
    stream: &WatchStream,
    copy: &mut BTreeMap<String, String>,
    event: WatchEvent,
) -> Result<()> {
    match event {
        // Written before: shown only where a shard is shown anew.
        WatchEvent::Put { key, .. } if key.to_text() == BEFORE => {}
        WatchEvent::Put { key, entry, .. } => {
            copy.insert(key.to_text().into_owned(), entry.text()?.to_owned());
        }
        WatchEvent::Deleted { key, .. } | WatchEvent::Expired { key, .. } => {
            copy.remove(key.to_text().as_ref());
        }
        WatchEvent::Resync { shard } => {
            copy.retain(|key, _| stream.shard_of(key).is_ok_and(|of| of != shard));
        }
        WatchEvent::Resynced { .. } => {}
    }
    Ok(())
}

/// Follows the stream into a copy of what is watched until it equals `expected`. Returns how often
/// it was told to begin anew.
async fn until_equal(
    stream: &mut WatchStream,
    copy: &mut BTreeMap<String, String>,
    expected: &BTreeMap<String, String>,
) -> Result<usize> {
    let mut resyncs = 0;
    while copy != expected {
        let event = next(stream).await.with_context(|| {
            let missing = expected.iter().filter(|(k, v)| copy.get(*k) != Some(v));
            let missing: Vec<_> = missing.collect();
            let wrong: Vec<_> = copy
                .keys()
                .filter(|key| !expected.contains_key(*key))
                .collect();
            format!("missing: {missing:?}, left: {wrong:?}")
        })?;
        resyncs += usize::from(matches!(event, WatchEvent::Resync { .. }));
        apply(stream, copy, event)?;
    }
    Ok(resyncs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_last_value_is_seen_though_the_serving_node_is_killed() -> Result<()> {
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let users = client.namespace("users");
    users.put(BEFORE, "not shown").await?;
    cluster.settled(&client).await?;
    let mut stream = users.watch("user:").await?;
    let mut copy = BTreeMap::new();
    let mut expected = BTreeMap::new();
    write_round(&users, 1, &mut expected).await?;
    until_equal(&mut stream, &mut copy, &expected).await?;

    // Every node serves some of the shards, so each one killed interrupts some of the polls.
    for victim in 0..cluster.nodes.len() {
        cluster
            .nodes
            .get_mut(victim)
            .context("three")?
            .kill()
            .await?;
        write_round(&users, 10 * (victim + 1), &mut expected).await?;
        until_equal(&mut stream, &mut copy, &expected).await?;
        cluster.start_all().await?;
        write_round(&users, 10 * (victim + 1) + 5, &mut expected).await?;
        until_equal(&mut stream, &mut copy, &expected).await?;
        cluster.settled(&client).await?;
    }
    ensure!(!copy.contains_key("other:1"), "it has another prefix");

    // Another process goes on from the cursor, and misses nothing.
    let cursor: WatchCursor = stream.cursor().to_string().parse()?;
    drop(stream);
    write_round(&users, 100, &mut expected).await?;
    let mut later = users.watch("user:").since(cursor).await?;
    until_equal(&mut later, &mut copy, &expected).await?;
    client.close().await;
    cluster.pass().await
}

/// Overwrites many keys, deletes some, and notes what is acknowledged.
async fn write_round(
    users: &Namespace,
    round: usize,
    expected: &mut BTreeMap<String, String>,
) -> Result<()> {
    let keys: Vec<String> = (0..100).map(|number| format!("user:{number}")).collect();
    let value = |key: &str| format!("{key} in round {round}");
    let puts = keys.iter().map(|key| (key.as_str(), value(key)));
    for result in users.put_many(puts).await {
        result?;
    }
    expected.extend(keys.iter().map(|key| (key.clone(), value(key))));
    for key in keys.iter().skip(round % 7).step_by(7) {
        ensure!(users.delete(key.as_str()).await?, "it was there");
        expected.remove(key);
    }
    users.put("other:1", "not watched").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_more_deletions_than_are_remembered_is_shown_all_anew() -> Result<()> {
    // One shard: what is remembered is bounded for each, by number.
    let builder = Builder::new(NODE).flag("--shards", 1);
    let cluster = builder.flag("--purge-after-ms", 1000).start().await?;
    let client = cluster.client().await?;
    cluster.settled(&client).await?;
    let users = client.namespace("users");
    let mut stream = users.watch("user:").await?;
    let (mut copy, mut expected) = (BTreeMap::new(), BTreeMap::new());
    for kind in ["kept", "gone", "lost"] {
        put_all(&users, &format!("user:{kind}:"), 10, "old", &mut expected).await?;
    }
    until_equal(&mut stream, &mut copy, &expected).await?;

    // Few deletions are told even when nothing is left of them in the store.
    let cursor = left(stream)?;
    delete_all(&users, "user:gone:", &mut expected).await?;
    cluster.has_purged(&client, 10).await?;
    let mut stream = users.watch("user:").since(cursor).await?;
    let resyncs = until_equal(&mut stream, &mut copy, &expected).await?;
    ensure!(resyncs == 0, "ten deletions are remembered");

    // Now there are too many, though most of them are of keys that are not watched.
    let cursor = left(stream)?;
    delete_all(&users, "user:lost:", &mut expected).await?;
    put_all(&users, "user:kept:", 5, "new", &mut expected).await?;
    put_all(&users, "user:new:", 10, "new", &mut expected).await?;
    let mut brief = BTreeMap::new();
    put_all(&users, "other:", TOO_MANY, "brief", &mut brief).await?;
    delete_all(&users, "other:", &mut brief).await?;
    cluster.has_purged(&client, 20 + TOO_MANY as u64).await?;
    let mut stream = users.watch("user:").since(cursor).await?;
    let event = next(&mut stream).await?;
    ensure!(event == WatchEvent::Resync { shard: 0 }, "{event:?}");
    ensure!(copy.contains_key("user:lost:0"), "it was not told of that");
    apply(&stream, &mut copy, event)?;
    loop {
        match next(&mut stream).await? {
            WatchEvent::Resynced { shard: 0 } => break,
            event @ WatchEvent::Put { .. } => apply(&stream, &mut copy, event)?,
            other => bail!("{other:?} while the shard is shown anew"),
        }
    }
    ensure!(copy == expected, "{copy:?} is not {expected:?}");
    ensure!(copy == held(&users, "user:").await?, "not what is stored");

    // From here on it goes on as before, also for a later watcher.
    put_all(&users, "user:later:", 10, "new", &mut expected).await?;
    until_equal(&mut stream, &mut copy, &expected).await?;
    let cursor = left(stream)?;
    delete_all(&users, "user:new:", &mut expected).await?;
    let mut stream = users.watch("user:").since(cursor).await?;
    let resyncs = until_equal(&mut stream, &mut copy, &expected).await?;
    ensure!(resyncs == 0, "nothing was missed any more");
    client.close().await;
    cluster.pass().await
}

/// Ends a watch; another process would go on from the text of its cursor.
fn left(stream: WatchStream) -> Result<WatchCursor> {
    Ok(stream.cursor().to_string().parse()?)
}

/// Writes the value to keys with this prefix and numbers below `count`.
async fn put_all(
    users: &Namespace,
    prefix: &str,
    count: usize,
    value: &str,
    expected: &mut BTreeMap<String, String>,
) -> Result<()> {
    let keys: Vec<String> = (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect();
    let puts = keys.iter().map(|key| (key.as_str(), value));
    for result in users.put_many(puts).await {
        result?;
    }
    expected.extend(keys.into_iter().map(|key| (key, value.to_owned())));
    Ok(())
}

/// Deletes all keys with this prefix.
async fn delete_all(
    users: &Namespace,
    prefix: &str,
    expected: &mut BTreeMap<String, String>,
) -> Result<()> {
    let before = expected.len();
    expected.retain(|key, _| !key.starts_with(prefix));
    let deleted = users.delete_prefix(prefix).await?;
    ensure!(deleted == (before - expected.len()) as u64, "{deleted}");
    Ok(())
}

/// What the store holds under this prefix.
async fn held(users: &Namespace, prefix: &str) -> Result<BTreeMap<String, String>> {
    let entries = users.scan(prefix).stream();
    let texts = entries.map(|item| {
        let (key, entry) = item?;
        Ok((key.to_text().into_owned(), entry.text()?.to_owned()))
    });
    texts.try_collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_expiries_and_keys_alone_are_told_apart() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    let client = cluster.client().await?;
    let users = client.namespace("users");
    let mut stream = users.watch("").keys_only().await?;
    let written = users.put("a", "value").tag("eu").await?;
    let WatchEvent::Put { key, entry, .. } = next(&mut stream).await? else {
        bail!("a put was expected");
    };
    ensure!(key.to_text() == "a" && entry.version == written.version);
    ensure!(entry.value.is_empty() && entry.tags == ["eu"], "{entry:?}");
    users.delete("a").await?;
    let event = next(&mut stream).await?;
    ensure!(matches!(event, WatchEvent::Deleted { .. }), "{event:?}");
    users
        .put("b", "brief")
        .ttl(Duration::from_millis(300))
        .await?;
    let event = next(&mut stream).await?;
    ensure!(matches!(event, WatchEvent::Put { .. }), "{event:?}");
    let event = next(&mut stream).await?;
    ensure!(matches!(event, WatchEvent::Expired { .. }), "{event:?}");
    client.close().await;
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_entries_near_a_meaning_are_told() -> Result<()> {
    let cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let notes = client.namespace("notes");
    let mut stream = notes.watch_similar("recipes for baking bread", 0.4).await?;
    for (key, text) in [
        ("1", "The train driver pulled the brake before the station."),
        (
            "2",
            "Knead the dough, let it rise overnight and bake the loaf.",
        ),
        ("3", "The tax form is due in April."),
        ("4", "How to bake bread with sourdough"),
    ] {
        notes.put(key, text).await?;
    }
    let mut found = BTreeSet::new();
    while found.len() < 2 {
        let WatchEvent::Put { key, score, .. } = next(&mut stream).await? else {
            bail!("only puts are near a meaning");
        };
        ensure!(score.is_some_and(|score| score >= 0.4), "{score:?}");
        found.insert(key.to_text().into_owned());
    }
    ensure!(found == ["2", "4"].map(String::from).into(), "{found:?}");
    client.close().await;
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_consumer_holds_little_and_gets_the_last_values() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    let client = cluster.client().await?;
    let users = client.namespace("users");
    let mut stream = users.watch("").await?;
    // Nobody takes an event meanwhile: the log keeps the latest change of each key alone.
    ensure!(
        stream.next().now_or_never().is_none(),
        "nothing has happened"
    );
    for round in 0..20 {
        let value = format!("{round}").repeat(1000);
        let puts = (0..50).map(|number| (format!("k{number}"), value.clone()));
        for result in users.put_many(puts).await {
            result?;
        }
    }
    let (mut last, mut events) = (BTreeMap::new(), 0);
    let expected = "19".repeat(1000);
    while last.len() < 50 || last.values().any(|value| *value != expected) {
        let WatchEvent::Put { key, entry, .. } = next(&mut stream).await? else {
            bail!("only puts were made");
        };
        events += 1;
        last.insert(key, entry.text()?.to_owned());
    }
    // One page of a shard may have been on its way; what came after is there once.
    ensure!(
        events < 500,
        "{events} events of 1000 writes were kept for it"
    );
    client.close().await;
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_without_async_are_told_the_same() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    let config = cluster.client_config();
    tokio::task::spawn_blocking(|| blocks(config)).await??;
    cluster.pass().await
}

fn blocks(config: ClientConfig) -> Result<()> {
    let client = blocking::Client::connect(config)?;
    let users = client.namespace("users");
    let mut events = users.watch("user:").events()?;
    ensure!(
        events.next_within(Duration::ZERO).is_none(),
        "none happened"
    );
    users.put("other:1", "not watched").send()?;
    let written = users.put("user:1", "Ada").send()?;
    let event = events.next().context("it never ends")??;
    ensure!(event.version() == Some(written.version), "{event:?}");
    let cursor = events.cursor()?;
    users.delete("user:1").send()?;
    let is_gone = |event: &WatchEvent| matches!(event, WatchEvent::Deleted { .. });
    let event = events.next_within(SERVING_DEADLINE);
    ensure!(is_gone(&event.context("it was deleted")??));
    let watch = users
        .watch("")
        .with(|watch| watch.prefix("user:").since(cursor));
    let mut later = watch.events()?;
    ensure!(later.shard_of("user:1")? == events.shard_of("user:1")?);
    ensure!(is_gone(&later.next().context("it never ends")??));

    let mut near = users
        .watch_similar("recipes for baking bread", 0.4)
        .events()?;
    users
        .put("note:1", "The tax form is due in April.")
        .send()?;
    users
        .put("note:2", "How to bake bread with sourdough")
        .send()?;
    let event = near.next().context("it never ends")??;
    let key = event.key().context("it is about a key")?;
    ensure!(key.to_text() == "note:2", "{event:?}");

    // Whoever waits is let go when the client is closed.
    let waiting = thread::spawn(move || near.next());
    client.close();
    let last = waiting.join().ok().context("it panicked")?;
    ensure!(matches!(last, Some(Err(_))), "{last:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_refused() -> Result<()> {
    let cluster = Builder::new(NODE).nodes(1).start().await?;
    refuses(&cluster).await?;
    cluster.pass().await
}

async fn refuses(cluster: &Cluster) -> Result<()> {
    let client = cluster.client().await?;
    let users = client.namespace("users");
    let invalid = |result: Result<_, ClientError>| matches!(result, Err(ClientError::Invalid(_)));
    for threshold in [1.5, -1.5, f32::NAN, f32::INFINITY] {
        ensure!(invalid(users.watch_similar("x", threshold).await.map(drop)));
    }
    ensure!(invalid(users.watch_similar(" ", 0.5).await.map(drop)));
    let huge = users.watch_similar("x".repeat(100_000), 0.5).await;
    ensure!(matches!(huge, Err(ClientError::TooLarge { .. })));
    let long = users.watch(vec![b'k'; 2000]).await;
    ensure!(matches!(long, Err(ClientError::TooLarge { .. })));
    ensure!("nonsense".parse::<WatchCursor>().is_err());
    let empty = users.watch("").since(WatchCursor::default()).await;
    ensure!(
        invalid(empty.map(drop)),
        "it is of a cluster without shards"
    );
    let system = engram_core::wire::Watch {
        shard: engram_core::types::ShardId(0),
        namespace: engram_core::types::NamespaceId::SYSTEM,
        prefix: Vec::new(),
        since: Vec::new(),
        similar: None,
        with_values: true,
    };
    let refused = client.ask(system).await;
    ensure!(matches!(refused, Err(ClientError::Unauthorized(_))));
    client.close().await;
    Ok(())
}
