//! The full-text index of a partition, on disk, by tantivy.
//!
//! One thread owns the writer, another searches: a search never waits for a commit. Changes
//! become visible when they are committed. The index is derived data: whatever is wrong with its
//! files, it is emptied when it is next opened, and its owner fills it again from the store.

mod collector;
mod directory;
mod expression;
mod payload;
mod schema;
mod search;
mod words;
mod writer;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use engram_actors::index_partition::{TextIndex, TextIndexError, TextSearchDone, TextStatusDone};
use engram_core::index::{TextChange, TextHit, TextQuery};
use engram_core::limits::{INDEX_QUERIES_MAX, TEXT_INDEX_QUEUE_MAX};
use engram_core::types::Blob;
use tantivy::IndexReader;

use collector::SegmentShards;
use schema::Fields;
use writer::{Command, Writer, is_damage, panic_text};

/// A [`TextIndex`] in a folder of its own. It outlives the actor that uses it, which opens it anew
/// each time it starts; its threads end when it is dropped.
pub struct TantivyTextIndex {
    commands: Sender<Command>,
    searches: Sender<Search>,
    shared: Arc<Shared>,
}

struct Search {
    query: TextQuery,
    done: TextSearchDone,
}

/// What the two threads share.
#[derive(Default)]
struct Shared {
    reader: Mutex<Option<IndexReader>>,
    /// The files are damaged: do not open them again.
    discard: AtomicBool,
    /// A change was dropped because the queue was full.
    overflowed: AtomicBool,
}

impl Shared {
    fn reader(&self) -> Option<IndexReader> {
        self.reader
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_reader(&self, reader: Option<IndexReader>) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
    }
}

impl TantivyTextIndex {
    /// An index in this folder, not open yet. Nothing is read or written before
    /// [`TextIndex::open`]; `name` is for the names of its threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(folder: &Path, name: &str) -> io::Result<TantivyTextIndex> {
        let shared = Arc::new(Shared::default());
        let (commands, orders) = bounded(TEXT_INDEX_QUEUE_MAX);
        let (searches, questions) = bounded(INDEX_QUERIES_MAX);
        let writer = Writer::new(folder.to_owned(), shared.clone());
        let thread = |kind: &str| std::thread::Builder::new().name(format!("text-{kind}-{name}"));
        thread("write").spawn(move || writer.run(&orders))?;
        let seen = shared.clone();
        thread("search").spawn(move || run_searches(&questions, &seen))?;
        Ok(TantivyTextIndex {
            commands,
            searches,
            shared,
        })
    }

    fn send(&self, command: Command) {
        let refused = match self.commands.try_send(command) {
            Ok(()) => return,
            Err(TrySendError::Full(command)) => command,
            Err(TrySendError::Disconnected(command)) => command,
        };
        match refused {
            Command::Open(done) | Command::Commit(_, done) => done(Err(TextIndexError::Overloaded)),
            // The next commit must not claim that this was done.
            Command::Apply(_) | Command::Clear => {
                self.shared.overflowed.store(true, Ordering::SeqCst);
            }
        }
    }
}

impl TextIndex for TantivyTextIndex {
    fn open(&self, done: TextStatusDone) {
        self.send(Command::Open(done));
    }

    fn apply(&self, changes: Vec<TextChange>) {
        self.send(Command::Apply(changes));
    }

    fn clear(&self) {
        self.send(Command::Clear);
    }

    fn commit(&self, watermark: Blob, done: TextStatusDone) {
        self.send(Command::Commit(watermark, done));
    }

    fn search(&self, query: TextQuery, done: TextSearchDone) {
        if let Err(refused) = self.searches.try_send(Search { query, done }) {
            (refused.into_inner().done)(Err(TextIndexError::Overloaded));
        }
    }
}

fn run_searches(questions: &Receiver<Search>, shared: &Shared) {
    let fields = Fields::new();
    let mut segments = SegmentShards::new();
    for Search { query, done } in questions {
        done(answer(shared, &fields, &mut segments, &query));
    }
}

fn answer(
    shared: &Shared,
    fields: &Fields,
    segments: &mut SegmentShards,
    query: &TextQuery,
) -> Result<Vec<TextHit>, TextIndexError> {
    let reader = shared.reader().ok_or(TextIndexError::NotOpen)?;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        search::search(&reader.searcher(), fields, segments, query)
    }));
    let reason = match outcome {
        Ok(Ok(hits)) => return Ok(hits),
        Ok(Err(error)) => {
            if is_damage(&error) {
                shared.discard.store(true, Ordering::SeqCst);
            }
            error.to_string()
        }
        Err(panic) => {
            shared.discard.store(true, Ordering::SeqCst);
            format!("a search panicked: {}", panic_text(panic.as_ref()))
        }
    };
    Err(TextIndexError::Failed(reason.into()))
}

#[cfg(test)]
mod tests;
