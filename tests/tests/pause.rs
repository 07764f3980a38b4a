//! One node is stopped (SIGSTOP) for ten seconds in the middle of writes, then goes on (SIGCONT)
//! with a head full of old messages.
//!
//! No stale read, no old write applied again; the others' memory stays within bounds meanwhile;
//! the node catches up.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engram_client::NamespaceOptions;
use engram_tests::cluster::Builder;
use engram_tests::verdict::{count, linearizable, nothing_lost};
use engram_tests::workload::{Plan, Workload};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const PAUSE: Duration = Duration::from_secs(10);
const WRITES_BEFORE: u64 = 1000;
const WRITES_AFTER: u64 = 2000;
/// What waits for a peer is bounded; what is written meanwhile stays in memory, too, up to 62 MiB, until
/// it is flushed.
const GROWTH_BYTES_MAX: u64 = 128 * 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_does_no_harm_and_catches_up() -> Result<()> {
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    cluster.settled(&client).await?;
    let plan = Plan {
        clients: 16,
        keys: 200,
        seed: 4,
    };
    // Not indexed: the embedding model takes its memory when it gets its first text, whenever that
    // is, and this is about what waits for a peer.
    let unindexed = NamespaceOptions {
        text: false,
        semantic: false,
        ..NamespaceOptions::default()
    };
    let namespace = client.create_namespace("pause", unindexed).await?;
    let mut workload = Workload::begin(&namespace, &plan)?;
    workload.until_acknowledged(WRITES_BEFORE, DEADLINE).await?;

    let [paused, peers @ ..] = cluster.nodes.as_mut_slice() else {
        anyhow::bail!("no nodes");
    };
    let memory =
        || -> Result<Vec<u64>> { peers.iter().map(|peer| peer.resident_bytes()).collect() };
    let memory_before = memory()?;
    paused.pause().await?;
    let (stood, writes_before) = (Instant::now(), workload.acknowledged());
    // The length of the pause is what is tested: peers must come to think the node dead, and
    // connections must time out.
    tokio::time::sleep(PAUSE).await;
    let during = workload.acknowledged() - writes_before;
    let memory_during = memory()?;
    paused.resume().await?;
    println!(
        "{during} writes in {:?} while a node stood still",
        stood.elapsed()
    );
    ensure!(
        during > 0,
        "no write was acknowledged while one node stood still"
    );
    for (before, now) in memory_before.iter().zip(&memory_during) {
        let grown = now.saturating_sub(*before);
        println!("a peer grew by {} KiB to {} KiB", grown / 1024, now / 1024);
        ensure!(grown < GROWTH_BYTES_MAX, "a peer grew by {grown} bytes");
    }

    let next = workload.acknowledged() + WRITES_AFTER;
    workload.until_acknowledged(next, DEADLINE).await?;
    let history = workload.end().await?;
    println!("{:?}", count(&history));
    nothing_lost(&history)?;
    linearizable(&history)?;
    let statuses = cluster.settled(&client).await?;
    let paused = statuses.first().context("no status")?;
    ensure!(
        paused.boot == 1,
        "the node was restarted meanwhile: {paused:?}"
    );
    client.close().await;
    cluster.pass().await
}
