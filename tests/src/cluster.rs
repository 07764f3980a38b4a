//! A cluster of node processes with temporary data.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use engram_client::{Client, ClientConfig};
use engram_core::wire::{GetStatus, NodeStatus};
use engram_node::config::loopback_cookie;
use futures::future::try_join_all;
use tempfile::TempDir;

use crate::node::{Node, Settings, address};
use crate::{ports, waiting};

/// How long a cluster may take to serve, or to serve in full again, on a machine that is busy.
pub const SERVING_DEADLINE: Duration = Duration::from_secs(60);
/// How often a cluster is started anew because somebody took a port meanwhile.
const STARTS_MAX: usize = 5;
/// What a node counts its purged tombstones under.
const PURGED: &str = "tombstones_purged";

/// What a cluster is started with.
#[derive(Clone, Debug)]
pub struct Builder {
    binary: String,
    name: String,
    nodes: usize,
    arguments: Vec<String>,
}

impl Builder {
    /// Three nodes called `n1`, `n2` and `n3` that form cluster `demo`.
    pub fn new(binary: &str) -> Builder {
        Builder {
            binary: binary.into(),
            name: "demo".into(),
            nodes: 3,
            arguments: Vec::new(),
        }
    }

    /// Sets how many nodes there are. All of them are expected to form the cluster.
    pub fn nodes(mut self, nodes: usize) -> Builder {
        self.nodes = nodes;
        self
    }

    /// Names the cluster.
    pub fn name(mut self, name: &str) -> Builder {
        self.name = name.into();
        self
    }

    /// Adds a flag and its value to the command line of every node.
    pub fn flag(mut self, flag: &str, value: impl ToString) -> Builder {
        self.arguments.extend([flag.into(), value.to_string()]);
        self
    }

    /// Makes the nodes, and starts none.
    ///
    /// # Errors
    /// If there are no free ports or no temporary directory.
    pub fn prepare(&self) -> Result<Cluster> {
        let directory = tempfile::tempdir().context("a temporary directory")?;
        let ports = ports::free(self.nodes)?;
        let node = |(number, port): (usize, &u16)| {
            let name = format!("n{}", number + 1);
            let settings = Settings {
                cluster: self.name.clone(),
                name: name.clone(),
                port: *port,
                join: ports.clone(),
                data: directory.path().join(&name),
                expect: Some(self.nodes),
                arguments: self.arguments.clone(),
                environment: Vec::new(),
            };
            let log = directory.path().join(format!("{name}.log"));
            Node::new(&self.binary, settings, log)
        };
        let nodes = ports.iter().enumerate().map(node).collect();
        Ok(Cluster {
            nodes,
            name: self.name.clone(),
            directory,
            passed: false,
        })
    }

    /// Starts all nodes, and waits until each of them listens.
    ///
    /// # Errors
    /// If one does not; a port that somebody took meanwhile is tried again with other ones.
    pub async fn start(&self) -> Result<Cluster> {
        for _ in 1..STARTS_MAX {
            let mut cluster = self.prepare()?;
            match cluster.start_all().await {
                Err(error) if error.to_string().contains("the port is in use") => {
                    cluster.passed = true
                }
                other => return other.map(|()| cluster),
            }
        }
        let mut cluster = self.prepare()?;
        cluster.start_all().await?;
        Ok(cluster)
    }
}

/// Node processes and their data. Dropping it ends and removes all of it; unless [`Cluster::pass`]
/// was called, the ends of the logs are printed then.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, running or not.
    pub nodes: Vec<Node>,
    name: String,
    directory: TempDir,
    passed: bool,
}

impl Cluster {
    /// The nodes' names and ports, data and logs are under this directory.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Starts all nodes that are down, and waits until they listen.
    ///
    /// # Errors
    /// If one does not.
    pub async fn start_all(&mut self) -> Result<()> {
        let down = self.nodes.iter_mut().filter(|node| !node.is_running());
        try_join_all(down.map(Node::start)).await.map(drop)
    }

    /// Kills all nodes at one moment.
    ///
    /// # Errors
    /// If one does not run.
    pub async fn kill_all(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.kill_at_once()?;
        }
        try_join_all(self.nodes.iter_mut().map(Node::kill))
            .await
            .map(drop)
    }

    /// How to reach all nodes. Requests may take ten seconds.
    pub fn client_config(&self) -> ClientConfig {
        let ports = self.nodes.iter().map(|node| node.settings.port);
        ClientConfig::new(&self.name)
            .seeds(ports.map(address))
            .cookie(loopback_cookie(&self.name))
            .connect_timeout(SERVING_DEADLINE)
            .request_timeout(Duration::from_secs(10))
    }

    /// A client, once the cluster serves.
    ///
    /// # Errors
    /// If it does not come to serve.
    pub async fn client(&self) -> Result<Client> {
        let client = Client::connect(self.client_config()).await;
        client.context("connecting to the cluster")
    }

    /// Waits until every running node serves all its replicas and has followed its peers; returns
    /// what the nodes say of themselves, in the order of [`Cluster::nodes`].
    ///
    /// # Errors
    /// If that does not come to be.
    pub async fn settled(&self, client: &Client) -> Result<Vec<NodeStatus>> {
        waiting::until("a settled cluster", SERVING_DEADLINE, || async {
            let mut all = Vec::new();
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                let name = &node.settings.name;
                let status = status(client, name).await?;
                is_settled(&status)?;
                all.push(status);
            }
            Ok(all)
        })
        .await
    }

    /// Waits until every running node searches so many vectors: each indexes by itself, a moment
    /// after a write.
    ///
    /// # Errors
    /// If that does not come to be.
    pub async fn has_vectors(&self, client: &Client, expected: u64) -> Result<()> {
        waiting::until("all vectors on all nodes", SERVING_DEADLINE, || async {
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                let status = status(client, &node.settings.name).await?;
                let vectors: u64 = status.partitions.iter().map(|part| part.vectors).sum();
                if vectors != expected {
                    return Err(format!("{}: {vectors}", status.name));
                }
            }
            Ok(())
        })
        .await
    }

    /// Waits until every running node has purged so many tombstones in this life: a purge needs
    /// all replicas, each of which counts it.
    ///
    /// # Errors
    /// If that does not come to be.
    pub async fn has_purged(&self, client: &Client, expected: u64) -> Result<()> {
        waiting::until("all tombstones to be purged", SERVING_DEADLINE, || async {
            for node in self.nodes.iter().filter(|node| node.is_running()) {
                let status = status(client, &node.settings.name).await?;
                let mut counters = status.counters.iter();
                let purged = counters.find(|(name, _)| name == PURGED);
                if purged.is_none_or(|(_, count)| *count < expected) {
                    return Err(format!("{} has {purged:?} of {expected}", status.name));
                }
            }
            Ok(())
        })
        .await
    }

    /// Ends the nodes that run in an orderly way, and checks that they had no complaints: exit
    /// code 0, no panic in any log. Then forgets the logs.
    ///
    /// # Errors
    /// Names the node that did not.
    pub async fn pass(mut self) -> Result<()> {
        self.stop().await?;
        for node in &self.nodes {
            if let Some(line) = node.log().lines().find(|line| line.contains("panicked")) {
                bail!("{} panicked: {line}", node.settings.name);
            }
        }
        self.passed = true;
        Ok(())
    }

    /// As [`Cluster::pass`], but for panics that were asked for.
    ///
    /// # Errors
    /// Names the node that did not end well.
    pub async fn pass_with_panics(mut self) -> Result<()> {
        self.stop().await?;
        self.passed = true;
        Ok(())
    }

    /// Ends the nodes that run in an orderly way.
    ///
    /// # Errors
    /// Names the node that did not end with exit code 0.
    pub async fn stop(&mut self) -> Result<()> {
        let running = self.nodes.iter_mut().filter(|node| node.is_running());
        let ends = running.map(|node| async {
            let name = node.settings.name.clone();
            let status = node.terminate().await?;
            if !status.success() {
                bail!("{name} did not end well: {status}");
            }
            Ok(())
        });
        try_join_all(ends).await.map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.passed {
            for node in &self.nodes {
                eprintln!("log of {}:\n{}", node.settings.name, node.log_tail());
            }
        }
    }
}

/// What the node of that name says of itself.
///
/// # Errors
/// If it does not answer.
pub async fn status(client: &Client, name: &str) -> Result<NodeStatus, String> {
    let config = client.config();
    let mut members = config.members.iter();
    let member = members
        .find(|member| member.name == name)
        .ok_or_else(|| format!("{name} is not a member"))?;
    let status = client.ask_node(member.id, GetStatus).await;
    status
        .map(|status| *status)
        .map_err(|error| format!("{name}: {error}"))
}

fn is_settled(status: &NodeStatus) -> Result<(), String> {
    let name = &status.name;
    if !status.serving {
        return Err(format!("{name} does not serve: {}", status.reason));
    }
    if status.shards.is_empty() {
        return Err(format!("{name} has started no replica"));
    }
    for shard in &status.shards {
        if shard.state != "serving" || shard.behind > 0 {
            return Err(format!("{name}: {shard:?}"));
        }
    }
    Ok(())
}
