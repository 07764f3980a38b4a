//! Searching a committed state.

use std::cmp::Ordering;

use engram_core::index::{
    SoughtWords, TextAnalyzer, TextExpression, TextField, TextHit, TextQuery, WordsMode,
};
use engram_core::limits::SIMILAR_WORDS_MAX;
use tantivy::query::{BooleanQuery, Occur, Query};
use tantivy::{Searcher, TantivyDocument, TantivyError};

use super::collector::{SegmentShards, best_of};
use super::expression::{Builder, key_prefix, tagged, term};
use super::schema::Fields;
use super::words::{counts, scoped};

/// The best hits of a query, ties in key order.
///
/// # Errors
/// What tantivy reports: a damaged file, or one that cannot be read.
pub(super) fn search(
    searcher: &Searcher,
    fields: &Fields,
    segments: &mut SegmentShards,
    query: &TextQuery,
) -> Result<Vec<TextHit>, TantivyError> {
    if query.k == 0 || query.shards.is_empty() {
        return Ok(Vec::new());
    }
    let analyzer = TextAnalyzer::new(query.language);
    let scored = match query.mode {
        WordsMode::All | WordsMode::Any | WordsMode::Most(_) => {
            plain_words(fields, &analyzer, query)
        }
        WordsMode::Similar => similar(searcher, fields, &analyzer, query)?,
        WordsMode::Expression => match TextExpression::parse(&query.words) {
            Ok(expression) => Builder::new(fields, &analyzer, query.namespace).query(&expression),
            // The partition has refused it before it could come here.
            Err(_) => None,
        },
    };
    let Some(scored) = scored else {
        return Ok(Vec::new());
    };
    let wanted = restricted(fields, query, scored);
    let collector = best_of(searcher, segments, &query.shards, query.k)?;
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

/// All, most or any of some words. None: the query has no words.
fn plain_words(
    fields: &Fields,
    analyzer: &TextAnalyzer,
    query: &TextQuery,
) -> Option<Box<dyn Query>> {
    let sought = SoughtWords::of(query.mode, &query.words, analyzer);
    let word = |stem: &String| {
        let word = scoped(query.namespace, stem);
        term(fields.word_term(TextField::Everything, &word))
    };
    let mut terms: Vec<Box<dyn Query>> = sought.stems().iter().map(word).collect();
    let (words, needed) = (terms.len(), query.mode.needed(terms.len()));
    if words <= 1 {
        terms.pop()
    } else if needed == words {
        Some(Box::new(BooleanQuery::intersection(terms)))
    } else {
        let terms = terms.into_iter().map(|term| (Occur::Should, term));
        let query = BooleanQuery::with_minimum_required_clauses(terms.collect(), needed);
        Some(Box::new(query))
    }
}

/// Any of the words that say most about a text: often in it, and rare elsewhere.
fn similar(
    searcher: &Searcher,
    fields: &Fields,
    analyzer: &TextAnalyzer,
    query: &TextQuery,
) -> Result<Option<Box<dyn Query>>, TantivyError> {
    let documents = searcher.num_docs();
    let mut weighted = Vec::new();
    for (word, count) in counts(query.namespace, analyzer, &query.words) {
        let term = fields.word_term(TextField::Everything, &word);
        let having = searcher.doc_freq(&term)?;
        if having > 0 {
            weighted.push((f64::from(count) * rarity(having, documents), term));
        }
    }
    weighted.sort_by(|left, right| right.0.total_cmp(&left.0));
    weighted.truncate(SIMILAR_WORDS_MAX);
    let terms: Vec<Box<dyn Query>> = weighted.into_iter().map(|(_, word)| term(word)).collect();
    Ok((!terms.is_empty()).then(|| Box::new(BooleanQuery::union(terms)) as Box<dyn Query>))
}

/// Inverse document frequency (Robertson and Zaragoza 2009), never negative.
fn rarity(having: u64, documents: u64) -> f64 {
    let number = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let without = documents.saturating_sub(having);
    (1.0 + (number(without) + 0.5) / (number(having) + 0.5)).ln()
}

/// A query within its prefix and tags, which only restrict.
fn restricted(fields: &Fields, query: &TextQuery, scored: Box<dyn Query>) -> Box<dyn Query> {
    let mut clauses = Vec::new();
    for tag in &query.tags {
        clauses.push((Occur::Must, tagged(fields, query.namespace, tag)));
    }
    if let Some(prefix) = query.prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
        let prefixed = key_prefix(fields, query.namespace, prefix.as_ref());
        clauses.push((Occur::Must, prefixed));
    }
    if clauses.is_empty() {
        return scored;
    }
    clauses.push((Occur::Must, scored));
    Box::new(BooleanQuery::new(clauses))
}
