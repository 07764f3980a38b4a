//! Searching a committed state.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use engram_core::index::{TextHit, TextQuery, WordsMode};
use engram_core::types::ShardId;
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::query::{BooleanQuery, ConstScoreQuery, Occur, Query, RangeQuery, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{Searcher, TantivyDocument, TantivyError};

use super::schema::Fields;
use super::words::Words;

/// The best hits of a query, ties in key order.
///
/// # Errors
/// What tantivy reports: a damaged file, or one that cannot be read.
pub(super) fn search(
    searcher: &Searcher,
    fields: &Fields,
    words: &mut Words,
    query: &TextQuery,
) -> Result<Vec<TextHit>, TantivyError> {
    let terms = words.of_query(query.namespace, &query.words);
    if terms.is_empty() || query.k == 0 || query.shards.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = wanted(fields, query, terms);
    let shards: BTreeSet<ShardId> = query.shards.clone();
    let collector = FilterCollector::new(
        fields.shard_name.to_owned(),
        move |shard: u64| Fields::is_shard(shard, &shards),
        TopDocs::with_limit(query.k).order_by_score(),
    );
    let mut hits = Vec::new();
    for (score, address) in searcher.search(&wanted, &collector)? {
        let document: TantivyDocument = searcher.doc(address)?;
        if let Some((key, vtag)) = fields.head(&document) {
            hits.push(TextHit { key, vtag, score });
        }
    }
    hits.sort_by(|left, right| match right.score.total_cmp(&left.score) {
        Ordering::Equal => left.key.cmp(&right.key),
        unequal => unequal,
    });
    Ok(hits)
}

/// The query as tantivy understands it. Words make the score, the rest only restricts.
fn wanted(fields: &Fields, query: &TextQuery, terms: BTreeSet<String>) -> BooleanQuery {
    let words = terms.into_iter().map(|word| {
        let term = fields.word_term(&word);
        Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>
    });
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = match query.mode {
        WordsMode::All => words.map(|word| (Occur::Must, word)).collect(),
        WordsMode::Any => vec![(Occur::Must, Box::new(BooleanQuery::union(words.collect())))],
    };
    for tag in &query.tags {
        let term = fields.tag_term(query.namespace, tag);
        clauses.push(unscored(Box::new(TermQuery::new(
            term,
            IndexRecordOption::Basic,
        ))));
    }
    if let Some(prefix) = query.prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
        let from = Bound::Included(fields.id_term_of(query.namespace, prefix.as_ref()));
        let to = fields.id_term_after(query.namespace, prefix.as_ref());
        let range = RangeQuery::new(from, to.map_or(Bound::Unbounded, Bound::Excluded));
        clauses.push(unscored(Box::new(range)));
    }
    BooleanQuery::new(clauses)
}

fn unscored(query: Box<dyn Query>) -> (Occur, Box<dyn Query>) {
    (Occur::Must, Box::new(ConstScoreQuery::new(query, 0.0)))
}
