//! Vectors that replicas ask of one another: what is there somewhere is not computed again.

use std::collections::BTreeMap;

use super::super::{ModelId, VectorShip, VectorWant};
use super::{Effect, IndexPartition};
use crate::limits::INDEX_WANTS_MAX;
use crate::types::{MemberId, Millis, ShardId};

impl IndexPartition {
    /// Asks other replicas for vectors that should have come by now.
    pub(super) fn ask_peers(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let mut wants: BTreeMap<(ShardId, ModelId, u32), VectorWant> = BTreeMap::new();
        while let Some((key, missing)) = self.backlog.ask(now) {
            self.counts.asked += 1;
            let name = (missing.shard, missing.model.clone(), missing.asks);
            let want = wants.entry(name.clone()).or_insert_with(|| VectorWant {
                shard: missing.shard,
                model: missing.model,
                keys: Vec::new(),
            });
            want.keys.push((key, missing.vtag));
            if want.keys.len() >= INDEX_WANTS_MAX
                && let Some(want) = wants.remove(&name)
            {
                out.push(Effect::AskPeer { turn: name.2, want });
            }
        }
        for ((_, _, turn), want) in wants {
            out.push(Effect::AskPeer { turn, want });
        }
    }

    /// Gives another replica what it misses, as far as it is here.
    pub(super) fn wanted(&self, from: MemberId, want: VectorWant, out: &mut Vec<Effect>) {
        let VectorWant { shard, model, keys } = want;
        for (key, vtag) in keys.into_iter().take(INDEX_WANTS_MAX) {
            if self.spaces.vtag(&key, &model) != Some(vtag) {
                continue;
            }
            let Some(vectors) = self.spaces.vectors(&key, &model) else {
                continue;
            };
            let ship = VectorShip {
                shard,
                key,
                vtag,
                model: model.clone(),
                vectors,
            };
            out.push(Effect::ShipTo(from, ship));
        }
    }
}
