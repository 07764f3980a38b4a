//! A node whose disk fails stops serving and says so; the others go on, nothing acknowledged is
//! lost, and with a working disk it comes back.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engram_tests::cluster::Builder;
use engram_tests::failing_disk::{FailingDisk, Fault};
use engram_tests::verdict::{linearizable, nothing_lost};
use engram_tests::workload::{Plan, Workload};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const WRITES: u64 = 500;
const DEADLINE: Duration = Duration::from_secs(60);
const PLAN: Plan = Plan {
    clients: 8,
    keys: 100,
    seed: 5,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_fails_ends_and_the_others_serve() -> Result<()> {
    for (fault, name, reason) in [
        (Fault::Sync, "sync", "Input/output error"),
        (Fault::Full, "full", "No space left on device"),
    ] {
        let mut cluster = Builder::new(NODE).name(name).prepare()?;
        let directory = cluster.directory().join("disk");
        fs::create_dir(&directory)?;
        let disk = FailingDisk::build(&directory)?;
        let last = cluster.nodes.last_mut().context("no node")?;
        last.settings.environment = disk.environment();
        cluster.start_all().await?;
        let client = cluster.client().await?;
        cluster.settled(&client).await?;
        let mut workload = Workload::begin(&client.namespace("disk"), &PLAN)?;
        workload.until_acknowledged(WRITES, DEADLINE).await?;

        disk.fail(fault)?;
        let last = cluster.nodes.last_mut().context("no node")?;
        let status = last.ended().await?;
        ensure!(status.code().is_some_and(|code| code != 0), "{status}");
        ensure!(!last.log().contains("panicked"), "{}", last.log_tail());
        last.until_logged(&["storage", reason]).await?;
        let writes = workload.acknowledged() + WRITES;
        workload.until_acknowledged(writes, DEADLINE).await?;

        disk.heal(fault)?;
        cluster.start_all().await?;
        cluster.settled(&client).await?;
        let writes = workload.acknowledged() + WRITES;
        workload.until_acknowledged(writes, DEADLINE).await?;
        let history = workload.end().await?;
        nothing_lost(&history)?;
        linearizable(&history)?;
        client.close().await;
        cluster.pass().await?;
    }
    Ok(())
}
