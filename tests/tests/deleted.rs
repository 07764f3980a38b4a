//! Deleted and expired values never come back, neither from a get nor from a scan: not after a
//! node that missed the deletion returns, not after restarts, and not after their tombstones are
//! purged.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use engram_client::{Client, Namespace};
use engram_core::storage::Keyspace;
use engram_node::store::{FjallOptions, check};
use engram_tests::cluster::{Builder, Cluster, SERVING_DEADLINE};
use engram_tests::waiting;
use futures::TryStreamExt;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
/// Keys of each kind.
const KEYS: u32 = 40;
const TTL: Duration = Duration::from_millis(300);
const PURGE_AFTER_MS: u64 = 2000;
/// Keys of these kinds must be gone, and stay so.
const GONE: [&str; 4] = ["deleted", "expired", "touched", "missed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_gone_stays_gone() -> Result<()> {
    let mut cluster = Builder::new(NODE)
        .flag("--shards", 8)
        .flag("--purge-after-ms", PURGE_AFTER_MS)
        .start()
        .await?;
    let client = cluster.client().await?;
    cluster.settled(&client).await?;
    let data = client.namespace("data");
    write(&data).await?;
    delete(&data).await?;
    miss_a_deletion(&mut cluster, &client, &data).await?;
    only_kept(&data, "after a node came back that had missed a deletion").await?;

    // The purge needs all three replicas, each of which then counts each tombstone once.
    let tombstones = GONE.len() as u64 * u64::from(KEYS);
    cluster.has_purged(&client, tombstones).await?;
    only_kept(&data, "after the purge").await?;

    cluster.kill_all().await?;
    cluster.start_all().await?;
    only_kept(&data, "after a restart of all").await?;
    cluster.settled(&client).await?;
    only_kept(&data, "after catching up").await?;

    client.close().await;
    cluster.stop().await?;
    for node in &cluster.nodes {
        nothing_on_disk(&node.settings.data)?;
    }
    cluster.pass().await
}

fn key(kind: &str, number: u32) -> String {
    format!("{kind}/{number:03}")
}

async fn write(data: &Namespace) -> Result<()> {
    for number in 0..KEYS {
        for kind in ["kept", "deleted", "touched", "missed"] {
            data.put(key(kind, number), "value").await?;
        }
        data.put(key("expired", number), "value").ttl(TTL).await?;
        data.put(key("persisted", number), "value")
            .ttl(10 * TTL)
            .await?;
        ensure!(data.persist(key("persisted", number)).await?, "it is there");
    }
    Ok(())
}

async fn delete(data: &Namespace) -> Result<()> {
    for number in 0..KEYS {
        ensure!(data.delete(key("deleted", number)).await?, "it was there");
        ensure!(
            data.touch(key("touched", number), TTL).await?,
            "it is there"
        );
    }
    for kind in ["expired", "touched"] {
        for number in 0..KEYS {
            waiting::until("an expired value to go", SERVING_DEADLINE, || async {
                let found = data.get(key(kind, number)).await;
                match found.map_err(|error| error.to_string())? {
                    None => Ok(()),
                    Some(entry) => Err(format!("{entry:?}")),
                }
            })
            .await?;
        }
    }
    Ok(())
}

/// Deletes while one node is down, which holds the old values on its disk when it comes back.
async fn miss_a_deletion(cluster: &mut Cluster, client: &Client, data: &Namespace) -> Result<()> {
    let node = cluster.nodes.last_mut().context("no node")?;
    node.kill().await?;
    for number in 0..KEYS {
        ensure!(data.delete(key("missed", number)).await?, "it was there");
    }
    node.start().await?;
    for number in 0..KEYS {
        let found = data.get(key("missed", number)).await?;
        ensure!(found.is_none(), "a deleted value came back: {found:?}");
    }
    cluster.settled(client).await.map(drop)
}

/// Checks that gets and scans find what was kept, and nothing of what is gone.
async fn only_kept(data: &Namespace, when: &str) -> Result<()> {
    let mut kept = BTreeSet::new();
    for number in 0..KEYS {
        for kind in ["kept", "persisted"] {
            kept.insert(key(kind, number));
            let entry = data.get(key(kind, number)).await?;
            let entry = entry.with_context(|| format!("{} is lost {when}", key(kind, number)))?;
            ensure!(entry.text()? == "value", "{entry:?} {when}");
        }
        for kind in GONE {
            let name = key(kind, number);
            if let Some(entry) = data.get(name.as_str()).await? {
                bail!("{name} came back {when}: {entry:?}");
            }
            ensure!(!data.exists(name.as_str()).await?, "{name} exists {when}");
        }
    }
    for limit in [7, 1000] {
        let stream = data.scan("").limit(limit).stream();
        let found: Vec<String> = stream
            .map_ok(|(key, _)| key.to_text().into_owned())
            .try_collect()
            .await?;
        ensure!(
            found.iter().eq(kept.iter()),
            "a scan by {limit} found {found:?} {when}, not {kept:?}"
        );
    }
    for kind in GONE {
        let count = data.count(format!("{kind}/")).await?;
        ensure!(count == 0, "{count} of {kind} are counted {when}");
    }
    Ok(())
}

/// Checks that no record of a purged key is left on the disk of a node that does not run.
fn nothing_on_disk(data: &Path) -> Result<()> {
    let gone = |key: &[u8]| {
        let holds = |kind: &&str| key.windows(kind.len()).any(|part| part == kind.as_bytes());
        GONE.iter().find(|kind| holds(kind))
    };
    let report = check(
        data,
        &FjallOptions::default(),
        |keyspace, key, _| match gone(key) {
            Some(kind) => Err(format!("a key of {kind} is left in {keyspace:?}")),
            None => Ok(()),
        },
    )?;
    ensure!(report.is_sound(), "{:?}", report.problems);
    for keyspace in report.keyspaces {
        if matches!(keyspace.keyspace, Keyspace::Empties | Keyspace::Expiry) {
            ensure!(keyspace.entries == 0, "{keyspace:?}");
        }
    }
    Ok(())
}
