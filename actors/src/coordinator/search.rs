//! Searches: the shell of [`SearchMachine`].

use std::collections::{BTreeMap, BTreeSet};

use engram_core::index::{
    ModelId, NamespaceIndexing, PartitionError, PartitionHits, PartitionQuery, ReadyVectors,
    TextExpression,
};
use engram_core::limits::{FAILURES_LIMIT_MAX, QUERY_BYTES_MAX, TAGS_MAX, TOP_K_MAX};
use engram_core::protocol::search::{
    Effect, Event, HitReads, Route, SearchMachine, Setup, Side, order,
};
use engram_core::types::{ClusterConfig, MemberId, Millis, RequestId, ShardId};
use engram_core::wire::{
    ClientReply, Frame, ListEmbedFailures, RequestError, ReturnAddress, Search, SearchMode,
};
use std::sync::Arc;

use super::{CoordinatorMessage, CoordinatorState, Work};
use crate::embedder::{EmbedError, EmbedPriority};
use crate::ingress::respond;

/// When to ask again after too many queries waited for the embedder, in milliseconds.
const OVERLOADED_RETRY_MS: u64 = 100;
/// Most that one list of a hybrid search counts.
const WEIGHT_MAX: f32 = 1000.0;

/// A search under way.
pub(super) struct SearchWork {
    pub(super) machine: SearchMachine,
    search: Search,
    /// The reads of its hits, and when whoever is silent is not waited for any more.
    pub(super) reads: Option<(HitReads, Millis)>,
    /// When the machine wants to be woken.
    timers: BTreeSet<Millis>,
}

impl SearchWork {
    /// Whether the values of its hits are wanted.
    pub(super) fn with_values(&self) -> bool {
        self.search.with_values || self.search.snippets
    }

    /// Takes the timers that are due; tells whether there were any.
    fn take_due(&mut self, now: Millis) -> bool {
        let before = self.timers.len();
        self.timers.retain(|at| *at > now);
        self.timers.len() < before
    }
}

impl CoordinatorState {
    pub(super) fn begin_search(&mut self, to: ReturnAddress, deadline: Millis, search: Search) {
        match self.prepare_search(&search, deadline) {
            Err(error) => respond(&self.directory, &self.env, to, Err(error)),
            Ok((machine, effects)) => {
                let work = SearchWork {
                    machine,
                    search,
                    reads: None,
                    timers: BTreeSet::new(),
                };
                let id = self.operation(to, deadline, Work::Search(Box::new(work)));
                self.run_search(id, effects);
            }
        }
    }

    fn prepare_search(
        &self,
        search: &Search,
        deadline: Millis,
    ) -> Result<(SearchMachine, Vec<Effect>), RequestError> {
        check_search(search)?;
        let config = self.directory.config().ok_or_else(|| self.not_serving())?;
        let index = self
            .directory
            .index()
            .ok_or_else(|| RequestError::NotApplied("this node has no search index".into()))?;
        let options = match index.lookup().indexing(search.namespace) {
            NamespaceIndexing::Indexed(options) => options,
            // The configuration that has it is on its way.
            NamespaceIndexing::NotYetKnown => {
                let reason = "this node has not heard of the namespace yet";
                return Err(RequestError::NotApplied(reason.into()));
            }
            NamespaceIndexing::Skipped => {
                return Err(RequestError::Invalid("there is no such namespace".into()));
            }
        };
        let (semantic, text) = match search.mode {
            SearchMode::Semantic => (true, false),
            SearchMode::Hybrid => (true, true),
            SearchMode::AllWords
            | SearchMode::AnyWords
            | SearchMode::Expression
            | SearchMode::Similar => (false, true),
        };
        if semantic && !options.semantic || text && !options.text {
            let how = if semantic && !options.semantic {
                "meaning"
            } else {
                "words"
            };
            return Err(RequestError::Invalid(format!(
                "the namespace is not indexed by {how}"
            )));
        }
        if search.mode == SearchMode::Hybrid && ReadyVectors::of(&options.model).is_some() {
            let reason = "its entries bring vectors, so a query is a vector or words, not both";
            return Err(RequestError::Invalid(reason.into()));
        }
        if semantic && let Some(namespace) = config.namespace_by_id(search.namespace) {
            let checked = index.catalog().check(&namespace.options);
            checked.map_err(|error| RequestError::Embedder {
                embedder: namespace.options.embedder.clone(),
                reason: error.to_string(),
            })?;
        }
        let mut effects = Vec::new();
        let setup = Setup {
            search: search.clone(),
            deadline,
            shards: config.shard_count(),
            routes: self.search_routes(&config),
            model: options.model,
            language: options.language,
        };
        let machine = SearchMachine::new(self.env.clock.now(), setup, &mut effects);
        Ok((machine, effects))
    }

    /// Who has a replica of each shard, is reachable, and how far its index is behind.
    fn search_routes(&self, config: &ClusterConfig) -> Vec<(ShardId, Route)> {
        let (me, seed) = (self.directory.me.id, self.env.entropy.next_u64());
        let live: BTreeMap<MemberId, u64> = self
            .directory
            .live()
            .iter()
            // Clients ask one node after the other: so the load is spread, and no hop is spent.
            .map(|member| {
                (
                    *member,
                    if *member == me {
                        0
                    } else {
                        order(seed, *member)
                    },
                )
            })
            .collect();
        let mut routes = Vec::with_capacity(usize::from(config.shard_count()) * live.len());
        self.directory.with_index_lags(|lags| {
            for shard in (0..config.shard_count()).map(ShardId) {
                let lags = lags.get(&shard);
                let members = config.shard(shard).map_or(&[][..], |found| &found.members);
                for member in members {
                    let Some(order) = live.get(member).copied() else {
                        continue;
                    };
                    let index = lags.and_then(|lags| lags.get(member)).copied();
                    let member = *member;
                    routes.push((
                        shard,
                        Route {
                            member,
                            index,
                            order,
                        },
                    ));
                }
            }
        });
        routes
    }

    pub(super) fn search_event(&mut self, id: u64, event: Event) {
        let now = self.env.clock.now();
        let Some(work) = self.search(id) else { return };
        let mut effects = Vec::new();
        work.machine.step(now, event, &mut effects);
        self.run_search(id, effects);
    }

    pub(super) fn search(&mut self, id: u64) -> Option<&mut SearchWork> {
        match &mut self.operations.get_mut(&id)?.work {
            Work::Search(work) => Some(work),
            _ => None,
        }
    }

    fn run_search(&mut self, id: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Embed { text, model } => self.embed_query(id, &text, model),
                Effect::Ask {
                    side,
                    member,
                    query,
                } => self.ask_partitions(id, side, member, query),
                Effect::Verify(keys) => self.verify(id, keys),
                Effect::SetTimer(at) => {
                    if let Some(work) = self.search(id) {
                        work.timers.insert(at);
                    }
                }
                Effect::Done(result) => self.finish(id, result.map(ClientReply::Found)),
            }
        }
    }

    /// Answers with what this node could not embed of a namespace.
    pub(super) fn list_failures(&mut self, to: ReturnAddress, list: ListEmbedFailures) {
        let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
        let (directory, env) = (self.directory.clone(), self.env.clone());
        if !(1..=FAILURES_LIMIT_MAX).contains(&limit) {
            let reason = format!("a list has 1 to {FAILURES_LIMIT_MAX} entries, not {limit}");
            return respond(&directory, &env, to, Err(RequestError::Invalid(reason)));
        }
        let Some(index) = self.directory.index() else {
            let reply = ClientReply::EmbedFailures(Vec::new());
            return respond(&directory, &env, to, Ok(reply));
        };
        index.failures(list.namespace, limit, move |found| {
            respond(&directory, &env, to, Ok(ClientReply::EmbedFailures(found)));
        });
    }

    fn embed_query(&mut self, id: u64, text: &str, model: ModelId) {
        let name = self.search(id).map(|work| work.search.namespace);
        let name = self.directory.config().zip(name).and_then(|(config, id)| {
            let found = config.namespace_by_id(id)?;
            Some(found.options.embedder.clone())
        });
        let name = name.unwrap_or_else(|| model.to_string());
        let myself = self.myself.clone();
        let answer = move |result: Result<_, EmbedError>| {
            let result = result.map_err(|error| query_error(name, error));
            // Without a coordinator nobody waits for it.
            let _ = myself.cast(CoordinatorMessage::Embedded(id, result));
        };
        let index = self.directory.index();
        match index
            .as_ref()
            .and_then(|index| index.embedders().get(&model))
        {
            Some(embedder) => embedder.embed(text, EmbedPriority::Query, Box::new(answer)),
            None => answer(Err(EmbedError::NoModel(model))),
        }
    }

    fn ask_partitions(&mut self, id: u64, side: Side, member: MemberId, query: PartitionQuery) {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked_partitions.insert(request, (id, side, member));
        if member == self.directory.me.id {
            let Some(index) = self.directory.index() else {
                return;
            };
            let myself = self.myself.clone();
            let done = move |shards, result| {
                let answer = CoordinatorMessage::PartitionAnswered {
                    from: member,
                    request,
                    shards,
                    result,
                };
                let _ = myself.cast(answer);
            };
            let done: crate::index_partition::NodeQueryDone = Arc::new(done);
            index.query(&query, &done);
        } else {
            self.env
                .transport
                .send(member, &Frame::PartitionQuery(request, query));
        }
    }

    pub(super) fn partition_answered(
        &mut self,
        from: MemberId,
        request: RequestId,
        shards: Vec<ShardId>,
        result: Result<PartitionHits, PartitionError>,
    ) {
        match self.asked_partitions.get(&request) {
            Some((id, side, asked)) if *asked == from => {
                let (id, side) = (*id, *side);
                self.search_event(
                    id,
                    Event::Hits {
                        side,
                        member: from,
                        shards,
                        result,
                    },
                );
            }
            _ => {}
        }
    }

    /// Wakes the searches whose timers are due.
    pub(super) fn search_timers(&mut self) {
        let now = self.env.clock.now();
        let due: Vec<u64> = self
            .operations
            .iter_mut()
            .filter_map(|(id, operation)| match &mut operation.work {
                Work::Search(work) => work.take_due(now).then_some(*id),
                _ => None,
            })
            .collect();
        for id in due {
            self.search_event(id, Event::Timer);
        }
    }

    /// A member is gone: searches ask its shards elsewhere.
    pub(super) fn member_down(&mut self, member: MemberId) {
        let searches: Vec<u64> = self
            .operations
            .iter()
            .filter(|(_, operation)| matches!(operation.work, Work::Search(_)))
            .map(|(id, _)| *id)
            .collect();
        for id in searches {
            self.search_event(id, Event::MemberDown(member));
        }
    }
}

/// What a client is told when its query could not be embedded.
fn query_error(embedder: String, error: EmbedError) -> RequestError {
    match error {
        EmbedError::Overloaded => RequestError::Overloaded {
            retry_after_ms: OVERLOADED_RETRY_MS,
        },
        EmbedError::Rejected(reason) => {
            RequestError::Invalid(format!("embedder {embedder} refuses the query: {reason}"))
        }
        EmbedError::Failed(_)
        | EmbedError::Unavailable(_)
        | EmbedError::NoModel(_)
        | EmbedError::Closed => {
            let reason = error.to_string();
            RequestError::Embedder { embedder, reason }
        }
    }
}

fn check_search(search: &Search) -> Result<(), RequestError> {
    let most = u32::try_from(TOP_K_MAX).unwrap_or(u32::MAX);
    if !(1..=most).contains(&search.top_k) {
        let found = search.top_k;
        return Err(RequestError::Invalid(format!(
            "top-k is 1 to {most}, not {found}"
        )));
    }
    if search.query.trim().is_empty() {
        return Err(RequestError::Invalid("a search needs a query".into()));
    }
    if search.query.len() > QUERY_BYTES_MAX {
        return Err(RequestError::TooLarge {
            what: "a query, in bytes,".into(),
            limit: QUERY_BYTES_MAX as u64,
            actual: search.query.len() as u64,
        });
    }
    if search.tags.len() > TAGS_MAX {
        return Err(RequestError::TooLarge {
            what: "the number of tags".into(),
            limit: TAGS_MAX as u64,
            actual: search.tags.len() as u64,
        });
    }
    if search
        .threshold
        .is_some_and(|threshold| !threshold.is_finite())
    {
        return Err(RequestError::Invalid(
            "a threshold is a finite number".into(),
        ));
    }
    let weights = [search.weights.meaning, search.weights.words];
    let sensible = weights
        .iter()
        .all(|weight| (0.0..=WEIGHT_MAX).contains(weight));
    if !sensible || weights.iter().sum::<f32>() == 0.0 {
        return Err(RequestError::Invalid(format!(
            "weights are 0 to {WEIGHT_MAX}, and not both 0"
        )));
    }
    if search.mode == SearchMode::Expression {
        let parsed = TextExpression::parse(&search.query);
        parsed.map_err(|error| RequestError::Invalid(error.to_string()))?;
    }
    Ok(())
}
