//! Searches over all shards: scatter, merge, verify.
//!
//! The query is embedded once, then sent to the fewest reachable members that cover all shards. A
//! member that fails, is gone, or stays silent for [`HEDGE_MS`] is replaced by the next replica of
//! its shards. Hits are merged by score and verified in that order: a hit counts only if a
//! linearizable read finds exactly the version that matched, so what was deleted, expired or
//! overwritten is never returned. If too few hits are left and the partitions had more, they are
//! asked again for four times as many.
//!
//! | event | answers | if it never comes |
//! |---|---|---|
//! | `Embedded` | `Embed` | the caller's deadline ends the search |
//! | `Hits` | `Ask` | the next replica is asked |
//! | `Verified` | `Verify` | the caller's deadline ends the search |

mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::plan::Plan;
use crate::index::{
    Embedding, ModelId, PartitionError, PartitionHits, PartitionQuery, QueryKind, WordsMode,
};
use crate::limits::{SEARCH_CANDIDATES_MAX, TOP_K_MAX};
use crate::types::{Ballot, Blob, Key, MemberId, Millis, RecordKey, ShardId};
use crate::wire::{Entry, RequestError, Search, SearchHit, SearchMode, SearchReply};

/// How long a member may stay silent before the next replica is asked, in milliseconds.
pub const HEDGE_MS: u64 = 300;
/// More candidates than hits are asked for, since some may turn out to be gone.
const OVER_FETCH: u32 = 16;
/// How much more is asked for when too few hits are left.
const WIDEN: u32 = 4;

/// What happens to a search.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The meaning of the query, or why there is none.
    Embedded(Result<Arc<Embedding>, RequestError>),
    /// A member has searched some of the shards it was asked for.
    Hits {
        /// Who.
        member: MemberId,
        /// The shards that this is about.
        shards: Vec<ShardId>,
        /// What it found there.
        result: Result<PartitionHits, PartitionError>,
    },
    /// A member is not reachable any more.
    MemberDown(MemberId),
    /// What the keys asked for hold now, in the order asked.
    Verified(Vec<(Key, Option<Entry>)>),
    /// The time asked for has come.
    Timer,
}

/// What a search wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Embed the query.
    Embed {
        /// The query.
        text: String,
        /// By which model.
        model: ModelId,
    },
    /// Have a member search some of its shards.
    Ask {
        /// Whom.
        member: MemberId,
        /// For what, in which shards.
        query: PartitionQuery,
    },
    /// Read these keys linearizably.
    Verify(Vec<RecordKey>),
    /// Report [`Event::Timer`] at this time or soon after.
    SetTimer(Millis),
    /// The search is over.
    Done(Result<SearchReply, RequestError>),
}

/// A hit that is not verified yet, or was.
#[derive(Clone, PartialEq, Debug)]
struct Candidate {
    score: f32,
    vtag: Ballot,
}

/// One search. See the module.
#[derive(Debug)]
pub struct SearchMachine {
    search: Search,
    model: ModelId,
    kind: Option<QueryKind>,
    /// Candidates asked of each partition.
    k: u32,
    plan: Plan,
    candidates: BTreeMap<Key, Candidate>,
    /// Whether some partition has more than it was asked for.
    more: bool,
    verified: BTreeMap<Key, Option<SearchHit>>,
    verifying: bool,
    asked_at: Millis,
    done: bool,
}

impl SearchMachine {
    /// Begins a search. `routes` names the reachable replicas of each shard, preferred ones first;
    /// `model` is the namespace's.
    pub fn new(
        now: Millis,
        search: Search,
        routes: BTreeMap<ShardId, Vec<MemberId>>,
        model: ModelId,
        out: &mut Vec<Effect>,
    ) -> SearchMachine {
        let k = first_k(search.top_k);
        let mut machine = SearchMachine {
            model: model.clone(),
            kind: None,
            k,
            plan: Plan::new(routes),
            candidates: BTreeMap::new(),
            more: false,
            verified: BTreeMap::new(),
            verifying: false,
            asked_at: now,
            done: false,
            search,
        };
        match machine.search.mode {
            SearchMode::Semantic => {
                out.push(Effect::Embed {
                    text: machine.search.query.clone(),
                    model,
                });
            }
            SearchMode::AllWords => machine.begin(now, words(&machine.search, WordsMode::All), out),
            SearchMode::AnyWords => machine.begin(now, words(&machine.search, WordsMode::Any), out),
        }
        machine
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        if self.done {
            return;
        }
        match event {
            Event::Embedded(Ok(vector)) if self.kind.is_none() => {
                let kind = QueryKind::Semantic {
                    vector: vector.as_ref().clone(),
                    model: self.model.clone(),
                    threshold: self.search.threshold,
                };
                self.begin(now, kind, out);
            }
            Event::Embedded(Ok(_)) => {}
            Event::Embedded(Err(error)) => self.finish(Err(error), out),
            Event::Hits {
                member,
                shards,
                result,
            } => {
                self.hits(now, member, &shards, result, out);
            }
            Event::MemberDown(member) => {
                self.plan.fail_member(member);
                self.ask(now, out);
                self.proceed(now, out);
            }
            Event::Verified(found) => self.take_verified(now, found, out),
            Event::Timer => {
                if now.since(self.asked_at) >= HEDGE_MS && self.plan.is_waiting() {
                    self.plan.fail_silent();
                    self.ask(now, out);
                    self.proceed(now, out);
                }
            }
        }
    }

    fn begin(&mut self, now: Millis, kind: QueryKind, out: &mut Vec<Effect>) {
        self.kind = Some(kind);
        self.ask(now, out);
        self.proceed(now, out);
    }

    /// Asks for every shard that nobody has been asked for.
    fn ask(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let Some(kind) = &self.kind else { return };
        let asked = self.plan.assign();
        if asked.is_empty() {
            return;
        }
        for (member, shards) in asked {
            let prefix = Some(&self.search.prefix).filter(|prefix| !prefix.is_empty());
            let query = PartitionQuery {
                namespace: self.search.namespace,
                shards,
                kind: kind.clone(),
                k: self.k,
                prefix: prefix.map(|prefix| Blob::from(prefix.as_slice())),
                tags: self.search.tags.clone(),
            };
            out.push(Effect::Ask { member, query });
        }
        self.asked_at = now;
        out.push(Effect::SetTimer(now.plus(HEDGE_MS)));
    }

    fn hits(
        &mut self,
        now: Millis,
        member: MemberId,
        shards: &[ShardId],
        result: Result<PartitionHits, PartitionError>,
        out: &mut Vec<Effect>,
    ) {
        match result {
            Ok(found) => {
                let answered: BTreeSet<ShardId> = found.shards_answered.iter().copied().collect();
                let news = shards.iter().any(|shard| self.plan.is_open(*shard));
                for shard in shards {
                    if answered.contains(shard) {
                        self.plan.answered(*shard);
                    } else {
                        self.plan.fail(*shard, member);
                    }
                }
                if news {
                    self.more |= found.more;
                    self.take_candidates(found);
                }
            }
            Err(PartitionError::Invalid(reason)) => {
                return self.finish(Err(RequestError::Invalid(reason)), out);
            }
            Err(_) => shards
                .iter()
                .for_each(|shard| self.plan.fail(*shard, member)),
        }
        self.ask(now, out);
        self.proceed(now, out);
    }

    fn take_candidates(&mut self, found: PartitionHits) {
        for hit in found.hits {
            if self
                .search
                .threshold
                .is_some_and(|threshold| hit.score < threshold)
            {
                continue;
            }
            // Two replicas may have indexed different versions: the newer one counts.
            let known = self.candidates.get(&hit.key);
            if known.is_none_or(|known| known.vtag <= hit.vtag) {
                self.candidates.insert(
                    hit.key,
                    Candidate {
                        score: hit.score,
                        vtag: hit.vtag,
                    },
                );
            }
        }
    }

    /// Candidates, best first; ties in key order.
    fn ranked(&self) -> Vec<(&Key, &Candidate)> {
        let mut ranked: Vec<_> = self.candidates.iter().collect();
        ranked.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then_with(|| a.0.cmp(b.0)));
        ranked
    }

    /// Goes on when all shards have answered or have nobody left to ask.
    fn proceed(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.done || self.kind.is_none() || self.plan.is_waiting() || self.verifying {
            return;
        }
        let top_k = usize::try_from(self.search.top_k).unwrap_or(TOP_K_MAX);
        let ranked = self.ranked();
        let mut live = 0;
        let mut unverified = Vec::new();
        for (key, _) in &ranked {
            match self.verified.get(*key) {
                Some(Some(_)) => live += 1,
                Some(None) => {}
                None => unverified.push((*key).clone()),
            }
            if live + unverified.len() >= top_k {
                break;
            }
        }
        if !unverified.is_empty() {
            let namespace = self.search.namespace;
            let keys = unverified
                .into_iter()
                .map(|key| RecordKey { namespace, key });
            self.verifying = true;
            return out.push(Effect::Verify(keys.collect()));
        }
        let most = u32::try_from(SEARCH_CANDIDATES_MAX).unwrap_or(u32::MAX);
        if live < top_k && self.more && self.k < most {
            self.k = self.k.saturating_mul(WIDEN).min(most);
            self.more = false;
            self.plan.restart();
            return self.ask(now, out);
        }
        self.reply(top_k, out);
    }

    fn take_verified(
        &mut self,
        now: Millis,
        found: Vec<(Key, Option<Entry>)>,
        out: &mut Vec<Effect>,
    ) {
        self.verifying = false;
        for (key, entry) in found {
            let Some(candidate) = self.candidates.get(&key) else {
                continue;
            };
            let hit = entry
                .filter(|entry| entry.version == candidate.vtag)
                .map(|entry| SearchHit {
                    key: key.clone(),
                    entry,
                    score: candidate.score,
                });
            self.verified.insert(key, hit);
        }
        self.proceed(now, out);
    }

    fn reply(&mut self, top_k: usize, out: &mut Vec<Effect>) {
        let hits: Vec<SearchHit> = self
            .ranked()
            .into_iter()
            .filter_map(|(key, _)| self.verified.get(key).cloned().flatten())
            .take(top_k)
            .collect();
        let (shards_answered, shards_total) = self.plan.coverage();
        self.finish(
            Ok(SearchReply {
                hits,
                shards_answered,
                shards_total,
            }),
            out,
        );
    }

    fn finish(&mut self, result: Result<SearchReply, RequestError>, out: &mut Vec<Effect>) {
        self.done = true;
        out.push(Effect::Done(result));
    }
}

fn first_k(top_k: u32) -> u32 {
    top_k.saturating_mul(2).saturating_add(OVER_FETCH)
}

fn words(search: &Search, mode: WordsMode) -> QueryKind {
    QueryKind::Text {
        words: search.query.clone(),
        mode,
    }
}
