//! All three nodes are killed at one moment in the middle of writes: after their restart every
//! acknowledged write is there.

use std::time::{Duration, Instant};

use anyhow::Result;
use engram_tests::cluster::Builder;
use engram_tests::verdict::{count, linearizable, nothing_lost};
use engram_tests::workload::{Plan, Workload};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const CUTS: u64 = 3;
const WRITES_BETWEEN_CUTS: u64 = 1000;
const DEADLINE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_acknowledged() -> Result<()> {
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let plan = Plan {
        clients: 16,
        keys: 200,
        seed: 3,
    };
    let mut workload = Workload::begin(&client.namespace("power"), &plan)?;
    for cut in 1..=CUTS {
        let writes = workload.acknowledged() + WRITES_BETWEEN_CUTS;
        workload.until_acknowledged(writes, DEADLINE).await?;
        cluster.kill_all().await?;
        let dark = Instant::now();
        cluster.start_all().await?;
        let writes = workload.acknowledged() + 1;
        workload.until_acknowledged(writes, DEADLINE).await?;
        println!("cut {cut}: writes are acknowledged again after {:?}", dark.elapsed());
    }
    let writes = workload.acknowledged() + WRITES_BETWEEN_CUTS;
    workload.until_acknowledged(writes, DEADLINE).await?;
    let history = workload.end().await?;
    println!("{:?}", count(&history));
    nothing_lost(&history)?;
    linearizable(&history)?;
    cluster.settled(&client).await?;
    client.close().await;
    cluster.pass().await
}
