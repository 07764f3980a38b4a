//! Searches: by meaning at once, by words through the full-text index.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    IndexOptionsLookup, NamespaceIndexing, PartitionError, PartitionHit, PartitionHits,
    PartitionQuery, QueryKind, ShardLag, TextExpression, TextHit, TextQuery, WordsMode,
};
use super::shard::ShardState;
use super::space::SpaceQuery;
use super::{Effect, IndexPartition, QueryTicket};
use crate::limits::{QUERY_BYTES_MAX, SEARCH_FETCH_MAX, SHARDS_MAX, TAGS_MAX};
use crate::types::{Millis, ShardId, TextLanguage};

/// Searches that wait for the full-text index: which shards they answer for, and how many hits.
pub(super) type OpenQueries = BTreeMap<QueryTicket, OpenQuery>;

/// See [`OpenQueries`].
#[derive(Debug)]
pub(super) struct OpenQuery {
    shards: BTreeSet<ShardId>,
    k: usize,
}

/// What the check of a query has found out.
#[derive(Debug)]
pub(super) struct Checked {
    /// Where to search.
    pub(super) shards: BTreeSet<ShardId>,
    /// Those of them that the answer may count as searched in full.
    pub(super) answered: BTreeSet<ShardId>,
    /// How many hits.
    pub(super) k: usize,
}

impl IndexPartition {
    pub(super) fn query(
        &mut self,
        now: Millis,
        ticket: QueryTicket,
        query: PartitionQuery,
        lookup: &dyn IndexOptionsLookup,
        out: &mut Vec<Effect>,
    ) {
        match (self.check(&query, lookup), query.fresh_ms) {
            (Err(error), _) => {
                let result = Err(error);
                out.push(Effect::Reply { ticket, result });
            }
            (Ok((shards, _)), Some(fresh_ms)) => {
                self.begin_fresh(now, ticket, query, shards, fresh_ms, out);
            }
            (Ok((shards, k)), None) => {
                let answered = shards.clone();
                let checked = Checked {
                    shards,
                    answered,
                    k,
                };
                self.search(now, ticket, query, checked, lookup, out);
            }
        }
    }

    /// Carries out a search that was checked.
    pub(super) fn search(
        &mut self,
        now: Millis,
        ticket: QueryTicket,
        query: PartitionQuery,
        checked: Checked,
        lookup: &dyn IndexOptionsLookup,
        out: &mut Vec<Effect>,
    ) {
        let QueryKind::Text { words, mode } = query.kind else {
            let result = self.by_meaning(now, &query, &checked);
            return out.push(Effect::Reply { ticket, result });
        };
        let Checked {
            shards,
            answered,
            k,
        } = checked;
        let open = OpenQuery {
            shards: answered,
            k,
        };
        self.queries.insert(ticket, open);
        let language = match lookup.indexing(query.namespace) {
            NamespaceIndexing::Indexed(options) => options.language,
            // Nothing of it is indexed.
            _ => TextLanguage::default(),
        };
        let query = TextQuery {
            namespace: query.namespace,
            shards,
            language,
            words,
            mode,
            k,
            prefix: query.prefix,
            tags: query.tags,
        };
        out.push(Effect::SearchText { ticket, query });
    }

    /// Checks the bounds of a query, which came over the wire, and finds the shards that can be
    /// answered for.
    pub(super) fn check(
        &self,
        query: &PartitionQuery,
        lookup: &dyn IndexOptionsLookup,
    ) -> Result<(BTreeSet<ShardId>, usize), PartitionError> {
        let invalid = |reason: &str| Err(PartitionError::Invalid(reason.to_owned()));
        let k = usize::try_from(query.k).unwrap_or(usize::MAX);
        if !(1..=SEARCH_FETCH_MAX).contains(&k) {
            return invalid("the number of hits is out of bounds");
        }
        if query.shards.len() > usize::from(SHARDS_MAX) || query.tags.len() > TAGS_MAX {
            return invalid("too many shards or tags");
        }
        let by_meaning = match &query.kind {
            QueryKind::Text { words, .. } if words.len() > QUERY_BYTES_MAX => {
                return invalid("the text is too long");
            }
            QueryKind::Text {
                words,
                mode: WordsMode::Expression,
            } => {
                let parsed = TextExpression::parse(words);
                parsed.map_err(|error| PartitionError::Invalid(error.to_string()))?;
                false
            }
            QueryKind::Text { .. } => false,
            QueryKind::Semantic { model: asked, .. } => match lookup.indexing(query.namespace) {
                NamespaceIndexing::Indexed(options) if options.model != *asked => {
                    let (indexed, asked) = (options.model, asked.clone());
                    return Err(PartitionError::Model { indexed, asked });
                }
                // Versions made here have no vector then: silence would pass for a full answer.
                _ if !lookup.provides(asked) => {
                    return Err(PartitionError::NoModel(asked.clone()));
                }
                _ => true,
            },
        };
        let hosted = query
            .shards
            .iter()
            .filter_map(|shard| Some((shard, self.shards.get(shard)?)));
        let mut hosted = hosted.peekable();
        let any_hosted = hosted.peek().is_some();
        let ready: BTreeSet<ShardId> = hosted
            .filter(|(_, state)| state.feeding || (by_meaning && state.loading.is_none()))
            .map(|(shard, _)| *shard)
            .collect();
        if any_hosted && ready.is_empty() {
            return Err(PartitionError::NotReady);
        }
        Ok((ready, k))
    }

    fn by_meaning(
        &self,
        now: Millis,
        query: &PartitionQuery,
        checked: &Checked,
    ) -> Result<PartitionHits, PartitionError> {
        let QueryKind::Semantic {
            vector,
            model,
            threshold,
        } = &query.kind
        else {
            return Err(PartitionError::Invalid(
                "not a search by meaning".to_owned(),
            ));
        };
        let wanted = SpaceQuery {
            namespace: query.namespace,
            model,
            vector,
            threshold: *threshold,
            k: checked.k,
            shards: &checked.shards,
            prefix: query.prefix.as_ref(),
            tags: &query.tags,
        };
        let found = self.spaces.search(&wanted);
        let found = found.map_err(|error| PartitionError::Invalid(error.to_string()))?;
        let hits = found
            .into_iter()
            .map(|hit| PartitionHit {
                key: hit.key.key,
                vtag: hit.vtag,
                score: hit.score,
            })
            .collect();
        Ok(self.answer(now, hits, &checked.answered, checked.k, true))
    }

    pub(super) fn text_found(
        &mut self,
        now: Millis,
        ticket: QueryTicket,
        result: Result<Vec<TextHit>, PartitionError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(OpenQuery { shards, k }) = self.queries.remove(&ticket) else {
            return;
        };
        let result = result.map(|found| {
            let hits = found
                .into_iter()
                .map(|hit| PartitionHit {
                    key: hit.key.key,
                    vtag: hit.vtag,
                    score: hit.score,
                })
                .collect();
            self.answer(now, hits, &shards, k, false)
        });
        out.push(Effect::Reply { ticket, result });
    }

    fn answer(
        &self,
        now: Millis,
        hits: Vec<PartitionHit>,
        shards: &BTreeSet<ShardId>,
        k: usize,
        by_meaning: bool,
    ) -> PartitionHits {
        let lag: Vec<ShardLag> = shards
            .iter()
            .filter_map(|shard| {
                let state = self.shards.get(shard)?;
                let lag = if by_meaning {
                    ShardState::vector_lag
                } else {
                    ShardState::text_lag
                };
                Some(lag(state, *shard, now))
            })
            .collect();
        let more = hits.len() >= k;
        PartitionHits {
            hits,
            shards_answered: shards.iter().copied().collect(),
            lag,
            more,
        }
    }
}
