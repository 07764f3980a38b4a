//! How the cluster is.

use engram_core::types::{ClusterConfig, Member, MemberId};
use engram_core::wire::{GetStatus, NodeStatus};
use futures::future::join_all;

use crate::{Client, ClientError};

/// What every member says of itself.
#[derive(Debug)]
pub struct ClusterStats {
    /// The cluster's name.
    pub cluster: String,
    /// The version of the configuration that lists the members.
    pub config_version: u64,
    /// How many shards the keys are spread over.
    pub shards: u16,
    /// Every member, in the order of their ids.
    pub nodes: Vec<NodeReport>,
}

/// What one member says of itself.
#[derive(Debug)]
pub struct NodeReport {
    /// Its disk.
    pub member: MemberId,
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Its failure domain, if it has one.
    pub zone: Option<String>,
    /// What it said, or why it did not.
    pub status: Result<NodeStatus, ClientError>,
}

/// Whether the cluster can be relied on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// How many members there are.
    pub members: usize,
    /// How many of them answer and serve.
    pub serving: usize,
    /// Shards of which a majority of replicas is on members that serve.
    pub shards_available: usize,
    /// How many shards there are.
    pub shards: usize,
    /// What is wrong, one line each, for people.
    pub problems: Vec<String>,
}

impl Health {
    /// Whether every member serves.
    pub fn is_perfect(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether every key can be read and written.
    pub fn is_available(&self) -> bool {
        self.shards > 0 && self.shards_available == self.shards
    }

    fn of(config: &ClusterConfig, stats: &ClusterStats) -> Health {
        let mut serving = Vec::new();
        let mut problems = Vec::new();
        for node in &stats.nodes {
            match &node.status {
                Ok(status) if status.serving => {
                    serving.push(node.member);
                    problems.extend(missing(&node.name, status));
                }
                Ok(status) => {
                    problems.push(format!("{} does not serve: {}", node.name, status.reason));
                }
                Err(error) => problems.push(format!("{} ({}): {error}", node.name, node.address)),
            }
        }
        let is_available = |members: &[MemberId]| {
            let up = members.iter().filter(|member| serving.contains(member));
            up.count() > members.len() / 2
        };
        Health {
            members: stats.nodes.len(),
            serving: serving.len(),
            shards_available: config
                .shards
                .iter()
                .filter(|shard| is_available(&shard.members))
                .count(),
            shards: config.shards.len(),
            problems,
        }
    }
}

/// One line for each embedder that a node cannot provide, though a namespace has it.
fn missing(node: &str, status: &NodeStatus) -> Vec<String> {
    let missing = status.missing_embedders.iter().map(|missing| {
        format!(
            "{node} does not search namespace {} by meaning: embedder {}: {}",
            missing.namespace, missing.embedder, missing.reason
        )
    });
    missing.collect()
}

impl Client {
    /// Asks every member for its status. Members that do not answer are in the result, with the
    /// reason; it takes no longer than the attempt timeout.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn cluster_stats(&self) -> Result<ClusterStats, ClientError> {
        self.check_open()?;
        let config = self.config();
        Ok(self.stats_of(&config).await)
    }

    /// Asks every member whether it serves, and sums up.
    ///
    /// # Errors
    /// [`ClientError::Closed`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.check_open()?;
        let config = self.config();
        let stats = self.stats_of(&config).await;
        Ok(Health::of(&config, &stats))
    }

    async fn stats_of(&self, config: &ClusterConfig) -> ClusterStats {
        let reports = config.members.iter().map(|member| self.report(member));
        ClusterStats {
            cluster: config.cluster.clone(),
            config_version: config.version,
            shards: config.shard_count(),
            nodes: join_all(reports).await,
        }
    }

    async fn report(&self, member: &Member) -> NodeReport {
        NodeReport {
            member: member.id,
            name: member.name.clone(),
            address: member.address.clone(),
            zone: member.zone.clone(),
            status: self
                .ask_node(member.id, GetStatus)
                .await
                .map(|status| *status),
        }
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::{Epoch, ShardConfig};

    use super::*;

    fn node(id: u64, status: Result<bool, ()>) -> NodeReport {
        let status = match status {
            Ok(serving) => Ok(NodeStatus {
                serving,
                reason: "starting".into(),
                ..NodeStatus::default()
            }),
            Err(()) => Err(ClientError::Unavailable {
                shard: None,
                reason: "not connected".into(),
            }),
        };
        NodeReport {
            member: MemberId(id),
            name: format!("n{id}"),
            address: String::new(),
            zone: None,
            status,
        }
    }

    #[test]
    fn a_shard_is_available_while_a_majority_of_its_replicas_serves() {
        let shard = ShardConfig {
            epoch: Epoch(1),
            members: [1, 2, 3].map(MemberId).to_vec(),
        };
        let config = ClusterConfig {
            version: 1,
            cluster: "c".into(),
            cluster_id: 1,
            members: vec![],
            shards: vec![shard.clone(); 4],
            system: shard,
            namespaces: vec![],
        };
        let cases = [
            ([Ok(true), Ok(true), Ok(true)], 3, true, true),
            ([Ok(true), Ok(true), Err(())], 2, false, true),
            ([Ok(true), Ok(false), Err(())], 1, false, false),
        ];
        for (states, serving, perfect, available) in cases {
            let nodes = (1..).zip(states).map(|(id, state)| node(id, state));
            let stats = ClusterStats {
                cluster: "c".into(),
                config_version: 1,
                shards: 4,
                nodes: nodes.collect(),
            };
            let health = Health::of(&config, &stats);
            assert_eq!(health.serving, serving, "{health:?}");
            assert_eq!(health.is_perfect(), perfect, "{health:?}");
            assert_eq!(health.is_available(), available, "{health:?}");
        }
        assert!(!Health::default().is_available());
    }
}
