//! What of the status is about search: embedders, and what is indexed of each namespace.

use engram_client::{ClusterStats, EmbedderStatus, NamespaceConfig, NodeStatus, PartitionStatus};
use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::output::{Output, show_bytes, show_count};

/// What all nodes together hold of a namespace. Each entry is on several of them.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct NamespaceRow {
    name: String,
    embedder: String,
    model: String,
    /// Vectors, of all replicas.
    vectors: u64,
    segments: u64,
    memory_bytes: u64,
    /// Texts that wait for their vector, of all replicas.
    embedding: u64,
    embed_failures: u64,
}

impl NamespaceRow {
    pub(super) fn document(&self) -> Value {
        json!({
            "namespace": self.name,
            "embedder": self.embedder,
            "model": self.model,
            "vectors": self.vectors,
            "segments": self.segments,
            "memory_bytes": self.memory_bytes,
            "embedding": self.embedding,
            "embed_failures": self.embed_failures,
        })
    }
}

fn partitions(stats: &ClusterStats) -> impl Iterator<Item = &PartitionStatus> {
    let status = stats
        .nodes
        .iter()
        .filter_map(|node| node.status.as_ref().ok());
    status.flat_map(|status| &status.partitions)
}

/// The namespaces that are searched by meaning, and what the nodes that answered hold of them.
pub(super) fn namespace_rows(
    namespaces: &[NamespaceConfig],
    stats: &ClusterStats,
) -> Vec<NamespaceRow> {
    let row = |found: &NamespaceConfig| {
        let mut row = NamespaceRow {
            name: found.name.clone(),
            embedder: found.options.embedder.clone(),
            model: found
                .options
                .model
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            ..NamespaceRow::default()
        };
        let all = partitions(stats).flat_map(|part| &part.namespaces);
        for one in all.filter(|one| one.namespace == found.id) {
            row.vectors += one.vectors;
            row.segments += one.segments;
            row.memory_bytes += one.memory_bytes;
            row.embedding += one.embedding;
            row.embed_failures += one.embed_failures;
        }
        row
    };
    let searched = namespaces.iter().filter(|found| found.options.semantic);
    searched.map(row).collect()
}

pub(super) fn partition_document(partition: &PartitionStatus) -> Value {
    let namespaces: Vec<Value> = partition
        .namespaces
        .iter()
        .map(|one| {
            json!({
                "namespace_id": one.namespace.0,
                "vectors": one.vectors,
                "segments": one.segments,
                "memory_bytes": one.memory_bytes,
                "embedding": one.embedding,
                "embed_failures": one.embed_failures,
            })
        })
        .collect();
    json!({
        "partition": partition.partition,
        "texts": partition.texts,
        "vectors": partition.vectors,
        "segments": partition.segments,
        "vector_bytes": partition.vector_bytes,
        "graphs": partition.graphs,
        "embedding": partition.embedding,
        "embed_failures": partition.embed_failures,
        "embedded": partition.embedded,
        "received": partition.received,
        "vectors_per_second": partition.vectors_per_second,
        "lag": partition.lag,
        "lag_ms": partition.lag_ms,
        "namespaces": namespaces,
    })
}

pub(super) fn embedder_document(embedder: &EmbedderStatus) -> Value {
    json!({
        "name": embedder.name,
        "model": embedder.model,
        "dimensions": embedder.dimensions,
        "problem": embedder.problem,
        "threads": embedder.threads,
        "queries_waiting": embedder.queries_waiting,
        "texts_waiting": embedder.texts_waiting,
        "computed": embedder.computed,
        "reused": embedder.reused,
        "overloaded": embedder.overloaded,
        "failed": embedder.failed,
        "computed_per_second": embedder.computed_per_second,
        "failed_per_second": embedder.failed_per_second,
        "last_failure": embedder.last_failure,
    })
}

pub(super) fn missing_document(status: &NodeStatus) -> Vec<Value> {
    let missing = status.missing_embedders.iter().map(|missing| {
        json!({
            "namespace": missing.namespace,
            "embedder": missing.embedder,
            "reason": missing.reason,
        })
    });
    missing.collect()
}

/// Prints what is indexed of each namespace, what each node's index does, and what is wrong.
pub(super) fn print(
    output: &mut Output,
    namespaces: &[NamespaceConfig],
    stats: &ClusterStats,
) -> Result<(), Failure> {
    print_namespaces(output, &namespace_rows(namespaces, stats))?;
    print_nodes(output, stats)?;
    for node in &stats.nodes {
        let Ok(status) = &node.status else { continue };
        for missing in &status.missing_embedders {
            let trouble = format!(
                "{} does not search namespace {} by meaning: embedder {}: {}",
                node.name, missing.namespace, missing.embedder, missing.reason
            );
            let trouble = output.paint.red(trouble);
            output.line(trouble)?;
        }
        let failing = status.embedders.iter();
        for embedder in failing.filter(|embedder| embedder.failed_per_second > 0.0) {
            let trouble = format!(
                "{}: embedder {} fails: {}",
                node.name, embedder.name, embedder.last_failure
            );
            let trouble = output.paint.red(trouble);
            output.line(trouble)?;
        }
    }
    Ok(())
}

fn print_namespaces(output: &mut Output, rows: &[NamespaceRow]) -> Result<(), Failure> {
    let used = |row: &&NamespaceRow| row.vectors + row.embedding + row.embed_failures > 0;
    let mut rows = rows.iter().filter(used).peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let heads = [
        "NAMESPACE",
        "EMBEDDER",
        "VECTORS",
        "SEGMENTS",
        "MEMORY",
        "WAITING",
        "FAILED",
    ];
    let mut table = output.new_table(&heads, &heads[2..]);
    for row in rows {
        table.add_row(vec![
            row.name.clone(),
            row.embedder.clone(),
            show_count(row.vectors),
            show_count(row.segments),
            show_bytes(row.memory_bytes),
            show_count(row.embedding),
            show_count(row.embed_failures),
        ]);
    }
    output.table(&table)
}

fn print_nodes(output: &mut Output, stats: &ClusterStats) -> Result<(), Failure> {
    let heads = [
        "NODE",
        "TEXTS",
        "VECTORS",
        "MEMORY",
        "WAITING",
        "FAILED",
        "VECTORS/S",
        "LAG",
        "LAG MS",
    ];
    let mut table = output.new_table(&heads, &heads[1..]);
    for node in &stats.nodes {
        let Ok(status) = &node.status else { continue };
        let parts = &status.partitions;
        let sum = |of: fn(&PartitionStatus) -> u64| parts.iter().map(of).sum::<u64>();
        let most = |of: fn(&PartitionStatus) -> u64| parts.iter().map(of).max().unwrap_or(0);
        let rate: f64 = parts.iter().map(|part| part.vectors_per_second).sum();
        table.add_row(vec![
            node.name.clone(),
            show_count(sum(|part| part.texts)),
            show_count(sum(|part| part.vectors)),
            show_bytes(sum(|part| part.vector_bytes)),
            show_count(sum(|part| part.embedding)),
            show_count(sum(|part| part.embed_failures)),
            format!("{rate:.1}"),
            show_count(most(|part| part.lag)),
            show_count(most(|part| part.lag_ms)),
        ]);
    }
    output.table(&table)
}

#[cfg(test)]
mod tests {
    use engram_client::{MemberId, NamespaceId, NamespaceOptions, NamespaceStatus, NodeReport};

    use super::*;

    #[test]
    fn a_namespace_is_summed_up_over_nodes_and_partitions() {
        let status = |vectors, failures| NamespaceStatus {
            namespace: NamespaceId(1),
            vectors,
            segments: 1,
            memory_bytes: 10,
            embedding: 2,
            embed_failures: failures,
        };
        let node = |id, parts: Vec<NamespaceStatus>| NodeReport {
            member: MemberId(id),
            name: format!("n{id}"),
            address: String::new(),
            zone: None,
            status: Ok(NodeStatus {
                partitions: parts
                    .into_iter()
                    .map(|part| PartitionStatus {
                        namespaces: vec![part],
                        ..PartitionStatus::default()
                    })
                    .collect(),
                ..NodeStatus::default()
            }),
        };
        let stats = ClusterStats {
            cluster: "c".into(),
            config_version: 1,
            shards: 1,
            nodes: vec![
                node(1, vec![status(5, 0), status(6, 1)]),
                node(2, vec![status(7, 0)]),
            ],
        };
        let namespace = |id, semantic| NamespaceConfig {
            id: NamespaceId(id),
            name: format!("ns{id}"),
            options: NamespaceOptions {
                semantic,
                ..NamespaceOptions::default()
            },
        };
        let rows = namespace_rows(&[namespace(1, true), namespace(2, false)], &stats);
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = &rows[0];
        assert_eq!((row.vectors, row.segments, row.memory_bytes), (18, 3, 30));
        assert_eq!((row.embedding, row.embed_failures), (6, 1));
        assert_eq!(row.name, "ns1");
    }
}
