//! A shard actor that panics, and a replicator that is killed, are respawned: the same node serves
//! the shard again, and nothing is lost.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use engram_client::{Client, Namespace};
use engram_core::placement::shard_of;
use engram_core::types::{Key, NamespaceId, RecordKey, ShardId};
use engram_core::wire::ShardStatus;
use engram_tests::cluster::{Builder, SERVING_DEADLINE, status};
use engram_tests::waiting;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const KEYS: u32 = 200;
const SHARDS: u16 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_replica_is_respawned_on_the_same_node() -> Result<()> {
    // One node alone: so nobody else can serve the shard meanwhile, and it must come back itself.
    for nodes in [1, 3] {
        let mut cluster = Builder::new(NODE)
            .name(&format!("panic{nodes}"))
            .nodes(nodes)
            .flag("--shards", SHARDS)
            .start()
            .await?;
        let client = cluster.client().await?;
        cluster.settled(&client).await?;
        let namespace = client.namespace("data");
        for number in 0..KEYS {
            namespace.put(key(number), value(number)).await?;
        }
        let shard = shard_of_key(&client, 0)?;
        for (restarts, hook) in [(1, "panic-shard"), (2, "kill-replicator")] {
            let begin = Instant::now();
            let node = cluster.nodes.first_mut().context("no node")?;
            node.hook(&format!("{hook} {}", shard.0)).await?;
            respawned(&client, shard, restarts).await?;
            read_back(&namespace).await?;
            namespace.put(key(0), value(0)).await?;
            println!("{nodes} nodes, {hook}: all is served again after {:?}", begin.elapsed());
        }
        let statuses = cluster.settled(&client).await?;
        for status in &statuses {
            let others = status.shards.iter().filter(|other| other.shard != shard.0);
            ensure!(others.clone().all(|other| other.restarts == 0), "{status:?}");
        }
        client.close().await;
        cluster.pass_with_panics().await?;
    }
    Ok(())
}

fn key(number: u32) -> String {
    format!("key/{number}")
}

fn value(number: u32) -> String {
    format!("value {number}")
}

fn shard_of_key(client: &Client, number: u32) -> Result<ShardId> {
    let config = client.config();
    let namespace = config.namespace("data").map_or(NamespaceId(0), |found| found.id);
    let key = RecordKey {
        namespace,
        key: Key::new(key(number))?,
    };
    Ok(shard_of(&key, config.shard_count()))
}

/// Waits until the shard serves on the first node in its given life.
async fn respawned(client: &Client, shard: ShardId, restarts: u32) -> Result<ShardStatus> {
    waiting::until("a respawned shard", SERVING_DEADLINE, || async {
        let status = status(client, "n1").await?;
        let mut shards = status.shards.into_iter();
        let found = shards.find(|one| one.shard == shard.0).ok_or("it is not there")?;
        if found.restarts == restarts && found.state == "serving" {
            return Ok(found);
        }
        Err(format!("{found:?}"))
    })
    .await
}

async fn read_back(namespace: &Namespace) -> Result<()> {
    for number in 0..KEYS {
        let entry = namespace.get(key(number)).await?;
        let entry = entry.with_context(|| format!("{} is gone", key(number)))?;
        ensure!(entry.text()? == value(number), "{} is {entry:?}", key(number));
    }
    Ok(())
}
