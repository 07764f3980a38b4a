//! What a node says of itself.

use engram_core::types::MemberId;
use engram_core::wire::{NodeStatus, PeerStatus};

use crate::directory::Directory;
use crate::env::Env;

/// The status of this node, from what its actors last reported.
pub(super) fn node_status(directory: &Directory, env: &Env) -> NodeStatus {
    let config = directory.config();
    let live = directory.live();
    let waiting_for = directory.waiting_for();
    let peers = config.as_ref().map_or_else(Vec::new, |config| {
        config
            .members
            .iter()
            .filter(|member| member.id != directory.me.id)
            .map(|member| PeerStatus {
                member: member.id,
                name: member.name.clone(),
                address: member.address.clone(),
                alive: live.contains(&member.id),
                phi: directory.phi(member.id),
            })
            .collect()
    });
    let reports = directory.shard_reports();
    let purged = reports.iter().map(|(_, report)| report.purged).sum();
    let evicted = reports.iter().map(|(_, report)| report.evicted).sum();
    let unindexed = reports.iter().map(|(_, report)| report.unindexed).sum();
    let damaged = reports.iter().map(|(_, report)| report.damaged).sum();
    let stalled = reports.iter().filter(|(_, report)| report.index_stalled);
    let stalled = stalled.count() as u64;
    let index = directory.index();
    NodeStatus {
        name: directory.me.name.clone(),
        member: MemberId(directory.me.id.0),
        boot: directory.boot,
        release: env!("CARGO_PKG_VERSION").into(),
        uptime_ms: env.clock.now().since(directory.started),
        serving: waiting_for.is_none(),
        reason: waiting_for.unwrap_or_default(),
        config_version: config.as_ref().map_or(0, |config| config.version),
        durable_lsn: env.store.durable_lsn().0,
        peers,
        shards: reports
            .into_iter()
            .map(|(_, report)| report.status)
            .collect(),
        partitions: directory.partition_reports(),
        embedders: index
            .as_ref()
            .map(|index| index.catalog().status(env.clock.now()))
            .unwrap_or_default(),
        missing_embedders: index
            .map(|index| index.missing_embedders())
            .unwrap_or_default(),
        disk_free_bytes: env.store.free_bytes(),
        counters: vec![
            ("tombstones_purged".into(), purged),
            ("entries_evicted".into(), evicted),
            ("changes_not_indexed".into(), unindexed),
            ("shards_with_stalled_index".into(), stalled),
            ("damaged_records".into(), damaged),
        ],
    }
}
