//! The trace of a cluster run: every event is hashed; lines and the spans of faults are kept if
//! wanted.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::trace::Trace;

/// How much of a run is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Record {
    /// Its hash only.
    #[default]
    Hash,
    /// Spans and points for a picture.
    Picture,
    /// Every line, too.
    Lines,
}

/// One line of a trace.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Line {
    /// Virtual microseconds.
    pub at_us: u64,
    /// What kind of event.
    pub kind: &'static str,
    /// The node it concerns most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<usize>,
    /// What happened.
    pub text: String,
}

/// A stretch of time in which something was wrong with a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Span {
    /// What.
    pub kind: &'static str,
    /// Whose.
    pub node: usize,
    /// From when, in virtual microseconds.
    pub from_us: u64,
    /// Until when; the end of the run if it never ended.
    pub until_us: Option<u64>,
}

/// A moment worth seeing: a fault of a node, or, of none, the beginning of a phase.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mark {
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// Whose.
    pub node: Option<usize>,
    /// What.
    pub text: String,
}

/// Hashes and, if wanted, keeps what happens.
#[derive(Debug)]
pub(super) struct Recorder {
    trace: Trace,
    record: Record,
    pub(super) lines: Vec<Line>,
    pub(super) spans: Vec<Span>,
    pub(super) marks: Vec<Mark>,
    text: String,
}

impl Recorder {
    pub(super) fn new(record: Record) -> Recorder {
        Recorder {
            trace: Trace::new(false),
            record,
            lines: Vec::new(),
            spans: Vec::new(),
            marks: Vec::new(),
            text: String::new(),
        }
    }

    pub(super) fn note(
        &mut self,
        at_us: u64,
        kind: &'static str,
        node: Option<usize>,
        text: fmt::Arguments<'_>,
    ) {
        self.text.clear();
        // Writing to a string fails only if a `Debug` implementation does; the start still counts.
        let _ = write!(self.text, "{text}");
        self.trace
            .note(at_us, format_args!("{kind} {node:?} {}", self.text));
        if self.record == Record::Lines {
            let text = self.text.clone();
            self.lines.push(Line {
                at_us,
                kind,
                node,
                text,
            });
        }
    }

    pub(super) fn begin(&mut self, at_us: u64, kind: &'static str, node: usize) {
        if self.record != Record::Hash {
            self.spans.push(Span {
                kind,
                node,
                from_us: at_us,
                until_us: None,
            });
        }
    }

    pub(super) fn end(&mut self, at_us: u64, kind: &'static str, node: usize) {
        let mut open = self.spans.iter_mut().rev();
        if let Some(span) =
            open.find(|span| span.kind == kind && span.node == node && span.until_us.is_none())
        {
            span.until_us = Some(at_us);
        }
    }

    pub(super) fn mark(&mut self, at_us: u64, node: Option<usize>, text: &str) {
        if self.record != Record::Hash {
            let text = text.to_owned();
            self.marks.push(Mark { at_us, node, text });
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.trace.hash()
    }

    pub(super) fn events(&self) -> u64 {
        self.trace.events()
    }
}
