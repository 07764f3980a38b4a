//! How a cluster comes to be, who is let in afterwards, and who is not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use engram_client::{Client, Namespace};
use engram_tests::cluster::{Builder, Cluster};
use engram_tests::node::Node;
use engram_tests::{command, ports};

const NODE: &str = env!("CARGO_BIN_EXE_engram-test-node");
const REFUSAL_DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_nodes_are_refused() -> Result<()> {
    let mut cluster = Builder::new(NODE).nodes(2).prepare()?;
    for node in &cluster.nodes {
        let arguments = node.settings.command_line();
        let ended = command::run(NODE, &arguments, REFUSAL_DEADLINE).await?;
        ended.refused_with(&["bootstrap-expect", "3 and more", "not 2"])?;
        ensure!(!node.settings.data.exists(), "it left something behind");
    }
    // More nodes than expected must not form two clusters, or one of some of them.
    for node in &mut cluster.nodes {
        node.settings.expect = Some(3);
    }
    cluster.start_all().await?;
    let error = Client::connect(
        cluster
            .client_config()
            .connect_timeout(Duration::from_secs(3)),
    );
    let error = error.await.err().context("two of three nodes serve")?;
    let said = error.to_string();
    ensure!(said.contains("waiting for 1 more of 3 nodes"), "{said}");
    cluster.pass().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_formed_cluster_keeps_its_members_and_takes_no_others() -> Result<()> {
    one_node_is_a_cluster().await?;
    let mut cluster = Builder::new(NODE).start().await?;
    let client = cluster.client().await?;
    let data = client.namespace("data");
    data.put("key", "value").await?;

    a_fourth_node_is_refused(&cluster).await?;
    serves(&data).await?;
    members_come_back(&mut cluster, &client).await?;
    serves(&data).await?;
    a_wiped_node_is_refused(&mut cluster).await?;
    serves(&data).await?;
    client.close().await;
    cluster.pass().await
}

async fn one_node_is_a_cluster() -> Result<()> {
    let cluster = Builder::new(NODE).name("alone").nodes(1).start().await?;
    let client = cluster.client().await?;
    let data = client.namespace("data");
    data.put("key", "value").await?;
    serves(&data).await?;
    client.close().await;
    cluster.pass().await
}

async fn serves(data: &Namespace) -> Result<()> {
    let entry = data.get("key").await?.context("the value is lost")?;
    ensure!(entry.text()? == "value", "{entry:?}");
    data.put("other", "value").await?;
    Ok(())
}

async fn a_fourth_node_is_refused(cluster: &Cluster) -> Result<()> {
    for expect in [None, Some(3), Some(4)] {
        let mut settings = cluster.nodes.first().context("no node")?.settings.clone();
        settings.name = "n4".into();
        settings.port = ports::free(1)?.first().copied().context("no port")?;
        settings.data = cluster.directory().join(format!("n4-{expect:?}"));
        settings.expect = expect;
        let log = cluster.directory().join(format!("n4-{expect:?}.log"));
        let mut fourth = Node::new(NODE, settings, log);
        fourth.start().await?;
        fourth
            .until_logged(&["formed without it", "takes no new members"])
            .await?;
        fourth.terminate().await?;
    }
    Ok(())
}

async fn members_come_back(cluster: &mut Cluster, client: &Client) -> Result<()> {
    let version = client.config().cluster_id;
    cluster.stop().await?;
    cluster.start_all().await?;
    let statuses = cluster.settled(client).await?;
    ensure!(
        statuses.iter().all(|status| status.boot == 2),
        "{statuses:?}"
    );
    ensure!(
        client.config().cluster_id == version,
        "another cluster formed"
    );
    Ok(())
}

/// A disk that forgot its votes must not vote again.
async fn a_wiped_node_is_refused(cluster: &mut Cluster) -> Result<()> {
    let node = cluster.nodes.last_mut().context("no node")?;
    node.terminate().await?;
    std::fs::remove_dir_all(&node.settings.data)?;
    node.start().await?;
    node.until_logged(&["\"n3\" has a new disk", "bring the old disk back"])
        .await?;
    node.kill().await
}
