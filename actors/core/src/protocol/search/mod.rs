//! Searches over all shards: scatter, merge, verify.
//!
//! A search has one leg or two: by meaning, by words, or both. The query is embedded once for the
//! leg by meaning. Each leg is sent to the fewest reachable members that cover all shards. Of the
//! replicas of a shard the one whose index lags least is asked, equal ones at random; one that is
//! more than a second behind, or not ready, only if there is no other (see [`Route`]). A member
//! that fails or is gone is replaced by the next; if it stays silent for [`HEDGE_MS`], the next is
//! asked as well. A fresh search has partitions catch up first; see [`PartitionQuery::fresh_ms`].
//!
//! The hits of a leg are ranked by score; two legs are fused by reciprocal rank (Cormack, Clarke
//! and Buettcher 2009; see [`crate::wire::HybridWeights`]). They are verified in that order: a hit
//! counts only if a linearizable read finds exactly the version that matched, so what was deleted,
//! expired or overwritten is never returned. If too few hits are left and the partitions had more,
//! they are asked again for four times as many.
//!
//! | event | answers | if it never comes |
//! |---|---|---|
//! | `Embedded` | `Embed` | the caller's deadline ends the search |
//! | `Hits` | `Ask` | the next replica is asked |
//! | `Verified` | `Verify` | the caller's deadline ends the search |

mod fusion;
mod highlight;
mod hit_reads;
mod leg;
mod plan;
mod route;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::highlight::Highlighter;
pub use self::hit_reads::{Held, Hit, HitReads, HitReadsEffect, HitReadsEvent};
use self::leg::Leg;
pub use self::leg::Side;
use self::plan::Plan;
pub use self::route::{Route, order};
use crate::index::{
    Embedding, ModelId, PartitionError, PartitionHits, PartitionQuery, QueryKind, WordsMode,
};
use crate::limits::{SEARCH_CANDIDATES_MAX, TOP_K_MAX};
use crate::types::{Ballot, Blob, Key, MemberId, Millis, RecordKey, ShardId, TextLanguage};
use crate::wire::{Entry, RequestError, Search, SearchHit, SearchMode, SearchReply};

/// How long a member may stay silent before the next replica is asked as well, in milliseconds.
pub const HEDGE_MS: u64 = 300;
/// The same for a fresh search, which takes its time.
pub const FRESH_HEDGE_MS: u64 = 1_000;
/// How long answers are waited for, in milliseconds. A fresh search waits as long as its caller.
pub const GIVE_UP_MS: u64 = 1_000;
/// So many percent of the words of a hybrid search must an entry have to be in the list by words:
/// what shares but a common word says nothing, and would push aside what is near in meaning.
const HYBRID_WORDS_PERCENT: u8 = 60;
/// Of the caller's time, one part in so many is kept for reading the hits.
const READING_PART: u64 = 5;
/// So many more candidates than hits are asked for at least.
const OVER_FETCH: u32 = 8;
/// How much more is asked for when too few hits are left.
const WIDEN: u32 = 4;

/// What happens to a search.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The meaning of the query, or why there is none.
    Embedded(Result<Arc<Embedding>, RequestError>),
    /// A member has searched some of the shards it was asked for.
    Hits {
        /// For which leg.
        side: Side,
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
        /// For which leg.
        side: Side,
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

/// What a search is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What is asked. Its bounds were checked.
    pub search: Search,
    /// Until when the answer is of use.
    pub deadline: Millis,
    /// How many shards there are.
    pub shards: u16,
    /// Who has a replica of each shard and is reachable, in the order of the shards.
    pub routes: Vec<(ShardId, Route)>,
    /// The namespace's.
    pub model: ModelId,
    /// The namespace's.
    pub language: TextLanguage,
}

/// One search. See the module.
#[derive(Debug)]
pub struct SearchMachine {
    search: Search,
    model: ModelId,
    language: TextLanguage,
    /// Until when answers may be waited for at most.
    last: Millis,
    legs: Vec<Leg>,
    /// What was read of candidates, and of which version they were. None: it is gone.
    verified: BTreeMap<Key, (Ballot, Option<Entry>)>,
    verifying: bool,
    done: bool,
}

impl SearchMachine {
    /// Begins a search.
    pub fn new(now: Millis, setup: Setup, out: &mut Vec<Effect>) -> SearchMachine {
        let Setup {
            search,
            deadline,
            shards,
            routes,
            model,
            language,
        } = setup;
        let k = first_k(search.top_k, search.mode);
        let leg = |kind: Option<QueryKind>| {
            let side = match &kind {
                None | Some(QueryKind::Semantic { .. }) => Side::Meaning,
                Some(QueryKind::Text { .. }) => Side::Words,
            };
            Leg {
                side,
                kind,
                k,
                plan: Plan::new(shards, &routes, side),
                candidates: BTreeMap::new(),
                more: false,
                asked_at: now,
                until: now,
            }
        };
        let words = |mode| {
            let words = search.query.clone();
            Some(QueryKind::Text { words, mode })
        };
        let legs = match search.mode {
            SearchMode::Semantic => vec![leg(None)],
            SearchMode::AllWords => vec![leg(words(WordsMode::All))],
            SearchMode::AnyWords => vec![leg(words(WordsMode::Any))],
            SearchMode::Expression => vec![leg(words(WordsMode::Expression))],
            SearchMode::Similar => vec![leg(words(WordsMode::Similar))],
            SearchMode::Hybrid => {
                vec![leg(None), leg(words(WordsMode::Most(HYBRID_WORDS_PERCENT)))]
            }
        };
        // Time is left to read the hits.
        let last = Millis(deadline.0 - deadline.since(now) / READING_PART);
        let mut machine = SearchMachine {
            search,
            model,
            language,
            last,
            legs,
            verified: BTreeMap::new(),
            verifying: false,
            done: false,
        };
        if machine.legs.iter().any(|leg| leg.side == Side::Meaning) {
            let (text, model) = (machine.search.query.clone(), machine.model.clone());
            out.push(Effect::Embed { text, model });
        }
        machine.ask(now, out);
        machine.proceed(now, out);
        machine
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        if self.done {
            return;
        }
        match event {
            Event::Embedded(Ok(vector)) => self.take_vector(&vector),
            Event::Embedded(Err(error)) => return self.finish(Err(error), out),
            Event::Hits {
                side,
                member,
                shards,
                result,
            } => {
                if let Err(refusal) = self.take_hits(side, member, &shards, result) {
                    return self.finish(Err(refusal), out);
                }
            }
            Event::MemberDown(member) => {
                let plans = self.legs.iter_mut().map(|leg| &mut leg.plan);
                plans.for_each(|plan| plan.fail_member(member));
            }
            Event::Verified(found) => self.take_verified(found),
            Event::Timer => self.time_passed(now),
        }
        self.ask(now, out);
        self.proceed(now, out);
    }

    fn hedge_ms(&self) -> u64 {
        if self.search.fresh {
            FRESH_HEDGE_MS
        } else {
            HEDGE_MS
        }
    }

    fn time_passed(&mut self, now: Millis) {
        let hedge_ms = self.hedge_ms();
        for leg in self.legs.iter_mut().filter(|leg| leg.kind.is_some()) {
            if now >= leg.until {
                leg.plan.give_up();
            } else if now.since(leg.asked_at) >= hedge_ms {
                leg.plan.hedge();
            }
        }
    }

    fn take_vector(&mut self, vector: &Arc<Embedding>) {
        for leg in self.legs.iter_mut().filter(|leg| leg.kind.is_none()) {
            leg.kind = Some(QueryKind::Semantic {
                vector: vector.as_ref().clone(),
                model: self.model.clone(),
                threshold: self.search.threshold,
            });
        }
    }

    /// Asks for every shard that nobody has been asked for.
    fn ask(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let prefix = Some(&self.search.prefix).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.map(|prefix| Blob::from(prefix.as_slice()));
        let hedge_ms = self.hedge_ms();
        let wait_ms = if self.search.fresh {
            u64::MAX
        } else {
            GIVE_UP_MS
        };
        for leg in &mut self.legs {
            let Some(kind) = &leg.kind else { continue };
            let asked = leg.plan.assign();
            if asked.is_empty() {
                continue;
            }
            leg.until = self.last.min(now.plus(wait_ms)).max(leg.until);
            let fresh_ms = u32::try_from(leg.until.since(now)).unwrap_or(u32::MAX);
            for (member, shards) in asked {
                let query = PartitionQuery {
                    namespace: self.search.namespace,
                    shards,
                    kind: kind.clone(),
                    k: leg.k,
                    prefix: prefix.clone(),
                    tags: self.search.tags.clone(),
                    fresh_ms: self.search.fresh.then_some(fresh_ms),
                };
                let side = leg.side;
                out.push(Effect::Ask {
                    side,
                    member,
                    query,
                });
            }
            leg.asked_at = now;
            out.push(Effect::SetTimer(now.plus(hedge_ms)));
            out.push(Effect::SetTimer(leg.until));
        }
    }

    fn take_hits(
        &mut self,
        side: Side,
        member: MemberId,
        shards: &[ShardId],
        result: Result<PartitionHits, PartitionError>,
    ) -> Result<(), RequestError> {
        let single = self.legs.len() == 1;
        let Some(leg) = self.legs.iter_mut().find(|leg| leg.side == side) else {
            return Ok(());
        };
        match result {
            Ok(found) => {
                let answered: BTreeSet<ShardId> = found.shards_answered.iter().copied().collect();
                let news = shards.iter().any(|shard| leg.plan.is_open(*shard));
                for shard in shards {
                    if answered.contains(shard) {
                        leg.plan.answered(*shard);
                    } else {
                        leg.plan.fail(*shard, member);
                    }
                }
                if news {
                    let threshold = self.search.threshold;
                    leg.take(found, threshold.filter(|_| single || side == Side::Meaning));
                }
            }
            Err(PartitionError::Invalid(reason)) => return Err(RequestError::Invalid(reason)),
            Err(_) => shards
                .iter()
                .for_each(|shard| leg.plan.fail(*shard, member)),
        }
        Ok(())
    }

    /// Goes on when all shards have answered or have nobody left to ask.
    fn proceed(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.done || self.verifying || self.legs.iter().any(Leg::is_waiting) {
            return;
        }
        let top_k = usize::try_from(self.search.top_k).unwrap_or(TOP_K_MAX);
        let mut live = Vec::new();
        let mut unverified = Vec::new();
        for found in self.ranked().into_iter().take(top_k) {
            match self.verified.get(found.key) {
                Some((of, Some(entry))) if *of == found.vtag => live.push(SearchHit {
                    key: found.key.clone(),
                    entry: entry.clone(),
                    score: found.score,
                    explanation: found.explanation,
                    snippet: None,
                }),
                _ => unverified.push(RecordKey {
                    namespace: self.search.namespace,
                    key: found.key.clone(),
                }),
            }
        }
        if !unverified.is_empty() {
            self.verifying = true;
            return out.push(Effect::Verify(unverified));
        }
        if live.len() < top_k && self.widen() {
            return self.ask(now, out);
        }
        self.reply(live, out);
    }

    /// Asks the partitions that had more for more; tells whether there were any.
    fn widen(&mut self) -> bool {
        let most = u32::try_from(SEARCH_CANDIDATES_MAX).unwrap_or(u32::MAX);
        let mut wider = false;
        for leg in self.legs.iter_mut().filter(|leg| leg.more && leg.k < most) {
            leg.k = leg.k.saturating_mul(WIDEN).min(most);
            leg.more = false;
            leg.plan.restart();
            wider = true;
        }
        wider
    }

    fn take_verified(&mut self, found: Vec<(Key, Option<Entry>)>) {
        self.verifying = false;
        let known: Vec<(Key, (Ballot, Option<Entry>))> = found
            .into_iter()
            .filter_map(|(key, entry)| {
                let vtag = self.newest(&key)?;
                Some((key, (vtag, entry.filter(|entry| entry.version == vtag))))
            })
            .collect();
        self.verified.extend(known);
    }

    fn reply(&mut self, mut hits: Vec<SearchHit>, out: &mut Vec<Effect>) {
        if self.search.snippets {
            let highlighter = Highlighter::new(&self.search, self.language);
            for hit in &mut hits {
                hit.snippet = Some(highlighter.snippet(&hit.key, &hit.entry));
            }
        }
        if !self.search.with_values {
            // They may have been read for the snippets.
            hits.iter_mut()
                .for_each(|hit| hit.entry.value = Blob::default());
        }
        let small = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let reply = SearchReply {
            hits,
            shards_answered: small(self.covered()),
            shards_total: small(self.total()),
        };
        self.finish(Ok(reply), out);
    }

    fn finish(&mut self, result: Result<SearchReply, RequestError>, out: &mut Vec<Effect>) {
        self.done = true;
        out.push(Effect::Done(result));
    }
}

/// How many candidates are asked for at first: more than hits, since some may be gone by now; and of
/// each list of a hybrid search twice as many, for what stands in both lists is to come first.
fn first_k(top_k: u32, mode: SearchMode) -> u32 {
    match mode {
        SearchMode::Hybrid => top_k.saturating_add(OVER_FETCH).saturating_mul(2),
        _ => top_k.saturating_add(top_k / 4).saturating_add(OVER_FETCH),
    }
}
