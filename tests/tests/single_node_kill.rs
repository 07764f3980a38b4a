//! One node alone, killed (SIGKILL) in the middle of writes, loses nothing that it acknowledged.

use std::time::Duration;

use anyhow::Result;
use engram_tests::cluster::Builder;
use engram_tests::verdict::{count, linearizable, nothing_lost};
use engram_tests::workload::{Plan, Workload};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const KILLS: u64 = 4;
const WRITES_BETWEEN_KILLS: u64 = 500;
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_that_is_killed_loses_nothing_acknowledged() -> Result<()> {
    let mut cluster = Builder::new(NODE).nodes(1).start().await?;
    let client = cluster.client().await?;
    let plan = Plan {
        clients: 8,
        keys: 100,
        seed: 1,
    };
    let mut workload = Workload::begin(&client.namespace("single"), &plan)?;
    for kill in 1..=KILLS {
        let writes = workload.acknowledged() + WRITES_BETWEEN_KILLS;
        workload.until_acknowledged(writes, DEADLINE).await?;
        for node in &mut cluster.nodes {
            node.kill().await?;
            node.start().await?;
        }
        println!("killed {kill} times, {} writes", workload.acknowledged());
    }
    let writes = workload.acknowledged() + WRITES_BETWEEN_KILLS;
    workload.until_acknowledged(writes, DEADLINE).await?;
    let history = workload.end().await?;
    println!("{:?}", count(&history));
    nothing_lost(&history)?;
    linearizable(&history)?;
    client.close().await;
    cluster.pass().await
}
