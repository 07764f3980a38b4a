//! Namespaces that may hold a number of entries: the least recently used go, the same on every
//! replica, also when another node takes over.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use engram_client::{Client, Namespace, NamespaceOptions};
use engram_tests::cluster::{Builder, Cluster, SERVING_DEADLINE};
use engram_tests::waiting;
use futures::TryStreamExt;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const MAX_ENTRIES: u64 = 40;
const SHARDS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_least_recently_used_make_room_for_the_new() -> Result<()> {
    let mut cluster = Builder::new(NODE).flag("--shards", SHARDS).start().await?;
    let client = cluster.client().await?;
    let options = NamespaceOptions {
        text: false,
        semantic: false,
        max_entries: Some(MAX_ENTRIES),
        ..NamespaceOptions::default()
    };
    let full = client.create_namespace("full", options).await?;
    let free = client.namespace("free");
    full.put("hot", "read all the time").await?;
    fill(&full, &free, 0).await?;
    within_bound(&full).await?;
    ensure!(full.exists("hot").await?, "what is read stays");
    ensure!(free.count("").await? == 200, "others have no bound");
    waiting::until("evictions to be counted", SERVING_DEADLINE, || async {
        match evicted(&cluster, &client).await {
            Ok(count) if count >= 160 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    same_everywhere(&cluster, &client, &full).await?;

    // Every node is first for some shards; another one takes over for the one that is killed.
    cluster.nodes.first_mut().context("three")?.kill().await?;
    full.put("hot", "used by the one that takes over").await?;
    fill(&full, &free, 1000).await?;
    within_bound(&full).await?;
    ensure!(
        full.exists("hot").await?,
        "the next one learns what is read"
    );
    cluster.start_all().await?;
    cluster.settled(&client).await?;
    within_bound(&full).await?;
    client.close().await;
    cluster.pass().await
}

/// Writes many keys, and reads one of them all the time.
async fn fill(full: &Namespace, free: &Namespace, from: u32) -> Result<()> {
    for number in from..from + 200 {
        full.put(format!("k{number}"), "x").await?;
        ensure!(full.get("hot").await?.is_some(), "lost at {number}");
        if from == 0 {
            free.put(format!("k{number}"), "x").await?;
        }
    }
    Ok(())
}

async fn within_bound(full: &Namespace) -> Result<()> {
    waiting::until("few entries", SERVING_DEADLINE, || async {
        // A read now and then, as by somebody who uses it.
        full.get("hot").await.map_err(|error| error.to_string())?;
        let count = full.count("").await.map_err(|error| error.to_string())?;
        if count <= MAX_ENTRIES {
            return Ok(());
        }
        Err(format!("{count} entries"))
    })
    .await?;
    ensure!(
        full.count("").await? >= MAX_ENTRIES / 2,
        "too many are gone"
    );
    Ok(())
}

async fn evicted(cluster: &Cluster, client: &Client) -> Result<u64> {
    let all = cluster.settled(client).await?;
    let counters = all.iter().flat_map(|status| &status.counters);
    let evicted = counters.filter(|(name, _)| name == "entries_evicted");
    Ok(evicted.map(|(_, count)| count).sum())
}

/// Every node answers the same scan.
async fn same_everywhere(cluster: &Cluster, client: &Client, full: &Namespace) -> Result<()> {
    let keys: Vec<_> = full.scan("").keys_only().stream().try_collect().await?;
    let keys: BTreeSet<_> = keys.into_iter().map(|(key, _)| key).collect();
    for status in cluster.settled(client).await? {
        let scan = engram_core::wire::Scan {
            namespace: full.id().await?,
            prefix: Vec::new(),
            after: None,
            limit: 1000,
            with_values: false,
        };
        let page = client.ask_node(status.member, scan).await?;
        let there: BTreeSet<_> = page.entries.into_iter().map(|(key, _)| key).collect();
        ensure!(there == keys, "{} holds others", status.name);
    }
    Ok(())
}
