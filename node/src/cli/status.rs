//! `engram status`: what every node says of itself.

mod index;

use std::time::Duration;

use clap::Args;
use comfy_table::{Cell, Color};
use engram_client::{Client, ClusterStats, NodeReport, NodeStatus};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::connect::ConnectionArguments;
use super::duration;
use super::exit::Failure;
use super::output::{Output, OutputArguments, show_bytes, show_count};

/// How long a node may take to come into reach of a client that has just connected.
const REACH_WITHIN: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The name that a replica's state has when all is well.
const SERVING: &str = "serving";

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Sums over a node's replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Shards {
    /// Replicas.
    pub(super) total: usize,
    /// Replicas that serve.
    pub(super) serving: usize,
    /// How often their actors were respawned.
    pub(super) restarts: u64,
    /// Changes of peers not yet followed.
    pub(super) behind: u64,
    /// Changes not yet known to be chosen.
    pub(super) unlearned: u64,
}

impl Shards {
    /// Sums up.
    pub(super) fn of(status: &NodeStatus) -> Shards {
        let mut sum = Shards::default();
        for shard in &status.shards {
            sum.total += 1;
            sum.serving += usize::from(shard.state == SERVING);
            sum.restarts += u64::from(shard.restarts);
            sum.behind = sum.behind.saturating_add(shard.behind);
            sum.unlearned = sum.unlearned.saturating_add(shard.unlearned);
        }
        sum
    }
}

/// Prints what the nodes say.
///
/// # Errors
/// [`Failure`] if no node can be reached. Members that do not answer are part of the result.
pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        reach_all(client).await;
        let mut stats = client.cluster_stats().await?;
        stats.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        if output.json {
            output.json(&document(client, &stats))?;
        } else {
            print(&mut output, client, &stats)?;
        }
        output.flush()
    })
}

/// Waits a little until there is a link to every member.
pub(super) async fn reach_all(client: &Client) {
    let until = Instant::now() + REACH_WITHIN;
    while client.connected().len() < client.config().members.len() && Instant::now() < until {
        sleep(LOOK_INTERVAL).await;
    }
}

fn document(client: &Client, stats: &ClusterStats) -> Value {
    let config = client.config();
    let nodes: Vec<Value> = stats.nodes.iter().map(node_document).collect();
    let indexes = index::namespace_rows(&config.namespaces, stats);
    json!({
        "cluster": config.cluster,
        "cluster_id": format!("{:016x}", config.cluster_id),
        "config_version": config.version,
        "shards": config.shard_count(),
        "namespaces": config.namespaces.len(),
        "indexes": indexes.iter().map(index::NamespaceRow::document).collect::<Vec<_>>(),
        "nodes": nodes,
    })
}

fn node_document(found: &NodeReport) -> Value {
    let mut document = json!({
        "name": found.name,
        "member": found.member.to_string(),
        "address": found.address,
        "zone": found.zone,
        "reachable": found.status.is_ok(),
    });
    let more = match &found.status {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(status) => {
            let peers: Vec<_> = status
                .peers
                .iter()
                .map(|peer| {
                    json!({
                        "name": peer.name,
                        "member": peer.member.to_string(),
                        "address": peer.address,
                        "alive": peer.alive,
                        "phi": peer.phi,
                    })
                })
                .collect();
            let shards: Vec<_> = status
                .shards
                .iter()
                .map(|shard| {
                    json!({
                        "shard": shard.shard,
                        "state": shard.state,
                        "restarts": shard.restarts,
                        "changes": shard.changes,
                        "unlearned": shard.unlearned,
                        "behind": shard.behind,
                    })
                })
                .collect();
            let partitions: Vec<_> = status
                .partitions
                .iter()
                .map(index::partition_document)
                .collect();
            let counters: serde_json::Map<String, Value> = status
                .counters
                .iter()
                .map(|(name, count)| (name.clone(), json!(count)))
                .collect();
            json!({
                "serving": status.serving,
                "reason": status.reason,
                "release": status.release,
                "boot": status.boot,
                "uptime_ms": status.uptime_ms,
                "config_version": status.config_version,
                "durable_lsn": status.durable_lsn,
                "disk_free_bytes": status.disk_free_bytes,
                "peers": peers,
                "shards": shards,
                "partitions": partitions,
                "embedders": status.embedders.iter().map(index::embedder_document).collect::<Vec<_>>(),
                "missing_embedders": index::missing_document(status),
                "counters": counters,
            })
        }
    };
    if let (Some(document), Value::Object(more)) = (document.as_object_mut(), more) {
        document.extend(more);
    }
    document
}

fn print(output: &mut Output, client: &Client, stats: &ClusterStats) -> Result<(), Failure> {
    let config = client.config();
    let serving = stats.nodes.iter().filter(|found| is_serving(found)).count();
    let name = output.paint.bold(&config.cluster);
    output.line(format_args!(
        "cluster {name}: {serving} of {} nodes serve {} shards in {} namespaces",
        config.members.len(),
        config.shard_count(),
        config.namespaces.len(),
    ))?;
    let heads = [
        "NODE",
        "ADDRESS",
        "STATE",
        "UP",
        "PEERS",
        "REPLICAS",
        "RESTARTS",
        "BEHIND",
        "UNLEARNED",
        "DISK FREE",
    ];
    let mut table = output.new_table(&heads, &heads[4..]);
    for found in &stats.nodes {
        table.add_row(row(found));
    }
    output.table(&table)?;
    for found in &stats.nodes {
        let name = &found.name;
        let trouble = match &found.status {
            Err(error) => format!("{name} cannot be reached: {error}"),
            Ok(status) if !status.serving => format!("{name} does not serve: {}", status.reason),
            Ok(_) => continue,
        };
        let trouble = output.paint.red(trouble);
        output.line(trouble)?;
    }
    index::print(output, &config.namespaces, stats)
}

fn is_serving(found: &NodeReport) -> bool {
    found.status.as_ref().is_ok_and(|status| status.serving)
}

fn row(found: &NodeReport) -> Vec<Cell> {
    let mut row = vec![Cell::new(&found.name), Cell::new(&found.address)];
    let Ok(status) = &found.status else {
        row.push(Cell::new("unreachable").fg(Color::Red));
        return row;
    };
    row.push(if status.serving {
        Cell::new("serving").fg(Color::Green)
    } else {
        Cell::new("waiting").fg(Color::Yellow)
    });
    let shards = Shards::of(status);
    let heard = status.peers.iter().filter(|peer| peer.alive).count();
    let free = status.disk_free_bytes.map_or("-".into(), show_bytes);
    row.extend([
        Cell::new(duration::show(Duration::from_millis(status.uptime_ms))),
        Cell::new(format!("{heard}/{}", status.peers.len())),
        Cell::new(format!("{}/{}", shards.serving, shards.total)),
        Cell::new(show_count(shards.restarts)),
        Cell::new(show_count(shards.behind)),
        Cell::new(show_count(shards.unlearned)),
        Cell::new(free),
    ]);
    row
}

#[cfg(test)]
mod tests {
    use engram_core::wire::ShardStatus;

    use super::*;

    fn shard(state: &str, restarts: u32, behind: u64) -> ShardStatus {
        ShardStatus {
            state: state.into(),
            restarts,
            behind,
            ..ShardStatus::default()
        }
    }

    #[test]
    fn replicas_are_summed_up() {
        let status = NodeStatus {
            shards: vec![shard(SERVING, 1, 2), shard("recovering", 2, u64::MAX)],
            ..NodeStatus::default()
        };
        let expected = Shards {
            total: 2,
            serving: 1,
            restarts: 3,
            behind: u64::MAX,
            unlearned: 0,
        };
        assert_eq!(Shards::of(&status), expected);
    }
}
