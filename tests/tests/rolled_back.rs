//! A data directory that is restored from an old copy must not vote again, whoever has forgotten it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engram_client::Namespace;
use engram_tests::cluster::Builder;
use engram_tests::command;

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const REFUSAL_DEADLINE: Duration = Duration::from_secs(30);
const LOST: &str = "this disk has lost acknowledged writes";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_copy_of_a_disk_is_refused_for_good() -> Result<()> {
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let data = client.namespace("data");
    write(&data, 0..20).await?;
    let copy = cluster.directory().join("copy");

    let node = cluster.nodes.last_mut().context("no node")?;
    node.terminate().await?;
    copy_tree(&node.settings.data, &copy)?;
    node.start().await?;
    cluster.settled(&client).await?;
    write(&data, 20..200).await?;
    cluster.settled(&client).await?;

    let node = cluster.nodes.last_mut().context("no node")?;
    node.terminate().await?;
    std::fs::remove_dir_all(&node.settings.data)?;
    copy_tree(&copy, &node.settings.data)?;
    node.start().await?;
    let ended = node.ended().await?;
    ensure!(ended.code() == Some(1), "{ended}");
    ensure!(node.log().contains(LOST), "{}", node.log_tail());

    // What the others saw of it was in their memory only.
    cluster.stop().await?;
    for node in cluster.nodes.iter_mut().take(2) {
        node.start().await?;
    }
    let settings = &cluster.nodes.last().context("no node")?.settings;
    let again = command::run(NODE, &settings.command_line(), REFUSAL_DEADLINE).await?;
    again.refused_with(&[LOST, "bring the later disk back"])?;
    let check = ["check".to_owned(), settings.data.display().to_string()];
    let checked = command::run(NODE, &check, REFUSAL_DEADLINE).await?;
    ensure!(checked.code == Some(7), "{checked:?}");
    ensure!(checked.output.contains(LOST), "{checked:?}");
    cluster.settled(&client).await?;
    for number in 0..200 {
        let entry = data.get(format!("key {number}")).await?;
        ensure!(entry.is_some(), "key {number} is lost");
    }
    client.close().await;
    cluster.pass().await
}

async fn write(data: &Namespace, numbers: std::ops::Range<u32>) -> Result<()> {
    for number in numbers {
        data.put(format!("key {number}"), "value").await?;
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
