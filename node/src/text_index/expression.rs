//! Expressions as tantivy understands them.

use std::ops::Bound;

use engram_core::index::{TextAnalyzer, TextExpression, TextField};
use engram_core::types::NamespaceId;
use tantivy::Term;
use tantivy::query::{
    BooleanQuery, ConstScoreQuery, Occur, PhraseQuery, Query, RangeQuery, TermQuery,
};
use tantivy::schema::IndexRecordOption;
use tantivy::tokenizer::Token;

use super::schema::Fields;
use super::words::Analysed;

/// Score of what a prefix finds: it says nothing about how well.
const PREFIX_SCORE: f32 = 1.0;

/// Makes queries of expressions of one namespace.
pub(super) struct Builder<'a> {
    fields: &'a Fields,
    analyzer: &'a TextAnalyzer,
    namespace: NamespaceId,
}

impl Builder<'_> {
    pub(super) fn new<'a>(
        fields: &'a Fields,
        analyzer: &'a TextAnalyzer,
        namespace: NamespaceId,
    ) -> Builder<'a> {
        Builder {
            fields,
            analyzer,
            namespace,
        }
    }

    /// The query. None: its words say nothing, such as "the".
    pub(super) fn query(&self, expression: &TextExpression) -> Option<Box<dyn Query>> {
        match expression {
            TextExpression::All(parts) => self.all(parts),
            TextExpression::Any(parts) => {
                let parts: Vec<_> = parts.iter().filter_map(|part| self.query(part)).collect();
                (!parts.is_empty()).then(|| Box::new(BooleanQuery::union(parts)) as _)
            }
            // Alone it finds nothing.
            TextExpression::Not(_) => None,
            TextExpression::Words(field, text) => {
                let tokens = self.analysed(text).stems.tokens;
                let terms = tokens.iter().map(|token| self.word(*field, token));
                let terms: Vec<_> = terms.map(term).collect();
                (!terms.is_empty()).then(|| Box::new(BooleanQuery::intersection(terms)) as _)
            }
            TextExpression::Phrase(field, text) => self.phrase(*field, text),
            TextExpression::Prefix(text) => self.prefix(text),
            TextExpression::KeyPrefix(text) => {
                Some(key_prefix(self.fields, self.namespace, text.as_bytes()))
            }
            TextExpression::Tag(tag) => Some(tagged(self.fields, self.namespace, tag)),
        }
    }

    fn all(&self, parts: &[TextExpression]) -> Option<Box<dyn Query>> {
        let mut clauses = Vec::new();
        for part in parts {
            let (occur, part) = match part {
                TextExpression::Not(part) => (Occur::MustNot, part.as_ref()),
                part => (Occur::Must, part),
            };
            clauses.extend(self.query(part).map(|query| (occur, query)));
        }
        let finds = clauses.iter().any(|(occur, _)| *occur == Occur::Must);
        finds.then(|| Box::new(BooleanQuery::new(clauses)) as _)
    }

    fn analysed(&self, text: &str) -> Analysed {
        Analysed::of(self.namespace, self.analyzer, text)
    }

    fn word(&self, field: TextField, token: &Token) -> Term {
        self.fields.word_term(field, &token.text)
    }

    /// Words side by side. Words that say nothing leave gaps.
    fn phrase(&self, field: TextField, text: &str) -> Option<Box<dyn Query>> {
        let tokens = self.analysed(text).stems.tokens;
        match tokens.as_slice() {
            [] => None,
            [only] => Some(term(self.word(field, only))),
            several => {
                let places = several.iter();
                let places = places.map(|token| (token.position, self.word(field, token)));
                Some(Box::new(PhraseQuery::new_with_offset(places.collect())))
            }
        }
    }

    /// A word that begins so, and all words before it.
    fn prefix(&self, text: &str) -> Option<Box<dyn Query>> {
        let tokens = self.analysed(text).exact.tokens;
        let (beginning, whole) = tokens.split_last()?;
        let from = self.fields.exact_term(&beginning.text);
        let to = self
            .fields
            .exact_term(&format!("{}{}", beginning.text, char::MAX));
        let range = RangeQuery::new(Bound::Included(from), Bound::Excluded(to));
        let mut parts: Vec<Box<dyn Query>> = whole
            .iter()
            .map(|token| restriction(term(self.fields.exact_term(&token.text))))
            .collect();
        parts.push(Box::new(ConstScoreQuery::new(
            Box::new(range),
            PREFIX_SCORE,
        )));
        Some(Box::new(BooleanQuery::intersection(parts)))
    }
}

/// Entries that have a term.
pub(super) fn term(term: Term) -> Box<dyn Query> {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

/// Entries that have a tag. It only restricts.
pub(super) fn tagged(fields: &Fields, namespace: NamespaceId, tag: &str) -> Box<dyn Query> {
    let term = fields.tag_term(namespace, tag);
    restriction(Box::new(TermQuery::new(term, IndexRecordOption::Basic)))
}

/// Entries whose key begins so. It only restricts.
pub(super) fn key_prefix(fields: &Fields, namespace: NamespaceId, prefix: &[u8]) -> Box<dyn Query> {
    let from = Bound::Included(fields.id_term_of(namespace, prefix));
    let to = fields.id_term_after(namespace, prefix);
    let range = RangeQuery::new(from, to.map_or(Bound::Unbounded, Bound::Excluded));
    restriction(Box::new(range))
}

fn restriction(query: Box<dyn Query>) -> Box<dyn Query> {
    Box::new(ConstScoreQuery::new(query, 0.0))
}
