//! Each node of three in turn is killed (SIGKILL) and restarted, twice round, under the writes of
//! sixteen concurrent clients.
//!
//! At least 20 000 writes are acknowledged. What clients were told must be linearizable for each
//! key, every acknowledged write must be there at the end, and work must go on during each outage.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use engram_tests::cluster::Builder;
use engram_tests::verdict::{count, linearizable, nothing_lost};
use engram_tests::workload::{Plan, Workload};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const WRITES: u64 = 20_000;
const NODES: usize = 3;
const ROUNDS: usize = 2;
/// Writes acknowledged while one node is down, and again before the next one is killed.
const WRITES_BETWEEN_FAULTS: u64 = WRITES / (2 * (ROUNDS * NODES) as u64 + 1);
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_survive_the_death_of_each_node_in_turn() -> Result<()> {
    let mut cluster = Builder::new(NODE).nodes(NODES).start().await?;
    let client = cluster.client().await?;
    cluster.settled(&client).await?;
    let plan = Plan {
        clients: 16,
        keys: 300,
        seed: 2,
    };
    let begin = Instant::now();
    let mut workload = Workload::begin(&client.namespace("rolling"), &plan)?;
    for victim in (0..ROUNDS).flat_map(|_| 0..NODES) {
        let next = workload.acknowledged() + WRITES_BETWEEN_FAULTS;
        workload.until_acknowledged(next, DEADLINE).await?;
        let node = cluster.nodes.get_mut(victim).context("no such node")?;
        node.kill().await?;
        let (before, outage) = (workload.acknowledged(), Instant::now());
        workload
            .until_acknowledged(before + WRITES_BETWEEN_FAULTS, DEADLINE)
            .await?;
        let during = workload.acknowledged() - before;
        println!("{during} writes in {:?} without n{}", outage.elapsed(), victim + 1);
        node.start().await?;
        let restart = Instant::now();
        cluster.settled(&client).await?;
        println!("n{} has caught up after {:?}", victim + 1, restart.elapsed());
    }
    workload.until_acknowledged(WRITES, DEADLINE).await?;
    let took = begin.elapsed();
    let history = workload.end().await?;
    let counts = count(&history);
    println!("{counts:?} in {took:?}");
    ensure!(counts.acknowledged as u64 >= WRITES, "too few writes: {counts:?}");
    nothing_lost(&history)?;
    linearizable(&history)?;
    client.close().await;
    cluster.pass().await
}
