//! Searches that must not miss what was acknowledged before: they wait until each shard has said
//! up to where its change log goes then, and the index is there. A text in the searched namespace that
//! could not be embedded is not waited for: a search by meaning returns what it finds in that shard, and
//! does not count it as answered.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{IndexOptionsLookup, PartitionQuery, QueryKind};
use super::queries::Checked;
use super::shard::ShardState;
use super::{Effect, FRESH_SHIP_WAIT_MS, IndexPartition, QueryTicket};
use crate::types::{Lseq, Millis, ShardId};

/// One such search.
#[derive(Debug)]
pub(super) struct FreshQuery {
    query: PartitionQuery,
    /// The shards that it still hopes for, and up to where the index must be in the log of each;
    /// `None`: the shard has not said yet.
    shards: BTreeMap<ShardId, Option<Lseq>>,
    /// When it takes what there is.
    until: Millis,
}

impl FreshQuery {
    fn by_meaning(&self) -> bool {
        matches!(self.query.kind, QueryKind::Semantic { .. })
    }
}

impl IndexPartition {
    /// Asks the shards of a search up to where their logs must be indexed.
    pub(super) fn begin_fresh(
        &mut self,
        now: Millis,
        ticket: QueryTicket,
        query: PartitionQuery,
        shards: impl IntoIterator<Item = ShardId>,
        fresh_ms: u32,
        out: &mut Vec<Effect>,
    ) {
        let mut hoped = BTreeMap::new();
        for shard in shards {
            let state = self.shards.get(&shard);
            // Before, the shard may take what a former life was fed for what this one was.
            if let Some(state) = state.filter(|state| state.reached_end) {
                let fed = state.fed;
                out.push(Effect::Freshen { ticket, shard, fed });
                hoped.insert(shard, None);
            }
        }
        let shards = hoped;
        let until = now.plus(u64::from(fresh_ms));
        let fresh = FreshQuery {
            query,
            shards,
            until,
        };
        self.fresh.insert(ticket, fresh);
    }

    /// A shard has said up to where its log holds everything acknowledged; `None`: it cannot.
    pub(super) fn freshened(
        &mut self,
        now: Millis,
        ticket: QueryTicket,
        shard: ShardId,
        upto: Option<Lseq>,
    ) {
        let Some(fresh) = self.fresh.get_mut(&ticket) else {
            return;
        };
        let Some(upto) = upto else {
            fresh.shards.remove(&shard);
            return;
        };
        if let Some(wanted) = fresh.shards.get_mut(&shard) {
            *wanted = Some(upto);
        }
        if fresh.by_meaning() {
            self.backlog
                .hurry(shard, upto, now.plus(FRESH_SHIP_WAIT_MS));
        }
        if let Some(state) = self.shards.get_mut(&shard) {
            state.target = state.target.max(upto);
            state.paused_until = None;
        }
    }

    /// Whether a search waits for nothing but the next commit of the full-text index.
    pub(super) fn is_commit_awaited(&self) -> bool {
        let by_words = self.fresh.values().filter(|fresh| !fresh.by_meaning());
        let mut wanted = by_words.flat_map(|fresh| &fresh.shards);
        wanted.any(|(shard, upto)| {
            let state = self.shards.get(shard);
            upto.zip(state)
                .is_some_and(|(upto, state)| state.text_mark < upto && upto <= state.fed)
        })
    }

    /// Whether a search waits for the vector of this entry.
    pub(super) fn is_vector_awaited(&self, shard: ShardId, lseq: Lseq) -> bool {
        let mut by_meaning = self.fresh.values().filter(|fresh| fresh.by_meaning());
        by_meaning.any(|fresh| {
            let wanted = fresh.shards.get(&shard).copied().flatten();
            wanted.is_some_and(|upto| lseq <= upto)
        })
    }

    /// When the next such search takes what there is.
    pub(super) fn next_fresh_end(&self) -> Option<Millis> {
        self.fresh.values().map(|fresh| fresh.until).min()
    }

    /// Carries out the searches whose shards are all indexed, or whose time is up.
    pub(super) fn end_fresh(
        &mut self,
        now: Millis,
        lookup: &dyn IndexOptionsLookup,
        out: &mut Vec<Effect>,
    ) {
        if self.fresh.is_empty() {
            return;
        }
        let mut ready = Vec::new();
        for (ticket, fresh) in &self.fresh {
            let incomplete = if fresh.by_meaning() {
                self.failures.shards(fresh.query.namespace)
            } else {
                BTreeSet::new()
            };
            let (mut answered, mut awaited) = (BTreeSet::new(), false);
            for (shard, upto) in &fresh.shards {
                if !self.is_indexed(fresh, *shard, *upto) {
                    awaited = true;
                } else if !incomplete.contains(shard) {
                    answered.insert(*shard);
                }
            }
            if !awaited || now >= fresh.until {
                ready.push((*ticket, answered));
            }
        }
        for (ticket, mut answered) in ready {
            let Some(FreshQuery { query, .. }) = self.fresh.remove(&ticket) else {
                continue;
            };
            match self.check(&query, lookup) {
                Err(error) => {
                    let result = Err(error);
                    out.push(Effect::Reply { ticket, result });
                }
                Ok((shards, k)) => {
                    answered.retain(|shard| shards.contains(shard));
                    let checked = Checked {
                        shards,
                        answered,
                        k,
                    };
                    self.search(now, ticket, query, checked, lookup, out);
                }
            }
        }
    }

    /// Whether a search finds everything that the log of a shard held when it was asked.
    fn is_indexed(&self, fresh: &FreshQuery, shard: ShardId, upto: Option<Lseq>) -> bool {
        let mark = self.shards.get(&shard).map(|state: &ShardState| {
            if fresh.by_meaning() {
                // What lies between comes again: nobody knows yet whether it fails again.
                state.searchable_vectors().min(state.fed)
            } else {
                state.text_mark
            }
        });
        upto.zip(mark).is_some_and(|(upto, mark)| mark >= upto)
    }
}
