//! The reader threads: answer reads from committed state while the writer commits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use engram_core::limits::STORE_READ_DRAIN_MAX;

use super::completion::Completion;
use super::engine::{Engine, EngineError};
use super::failure::panic_text;
use super::group_commit::Shared;
use crate::env::{ReadOutcome, ReadQuery, StoreError};

/// What the queue of the readers holds. Sender: the store. A job that is dropped answers `Closed`
/// by itself.
pub(super) enum ReadJob {
    /// Answer this.
    Read {
        query: ReadQuery,
        completion: Completion<ReadOutcome>,
    },
    /// Wake up: the store was closed. Whoever takes it ends, and passes it on.
    Close,
}

/// Works until the store closes, then wakes the next reader so that it ends too. A completion that
/// panics poisons the store: somebody would wait for ever.
pub(super) fn run<E: Engine>(
    shared: &Shared<E>,
    jobs: &Receiver<ReadJob>,
    wake_next: &Sender<ReadJob>,
) {
    while let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(shared, jobs))) {
        let text = panic_text(payload.as_ref());
        shared
            .failure
            .fail(format!("a storage reader panicked: {text}"));
    }
    // If there is no room, there are jobs, and whoever takes one of them sees that it must end.
    let _ = wake_next.try_send(ReadJob::Close);
}

fn work<E: Engine>(shared: &Shared<E>, jobs: &Receiver<ReadJob>) {
    while !shared.is_closed() {
        let Ok(first) = jobs.recv() else { return };
        // A few at a time, so that a burst does not wake the thread for each, and yet the other
        // readers get their part of it.
        let more = jobs.try_iter().take(STORE_READ_DRAIN_MAX - 1);
        std::iter::once(first)
            .chain(more)
            .for_each(|job| serve(shared, job));
    }
    jobs.try_iter().for_each(|job| serve(shared, job));
}

fn serve<E: Engine>(shared: &Shared<E>, job: ReadJob) {
    let ReadJob::Read { query, completion } = job else {
        return;
    };
    let outcome = answer(shared.engine.as_ref(), &query);
    shared.counters.read(outcome.is_ok());
    completion.finish(outcome);
}

fn answer<E: Engine>(engine: &E, query: &ReadQuery) -> Result<ReadOutcome, StoreError> {
    let outcome = catch_unwind(AssertUnwindSafe(|| match query {
        ReadQuery::Get { keyspace, key } => engine.get(*keyspace, key).map(ReadOutcome::Value),
        ReadQuery::Range(range) => engine.range(range).map(ReadOutcome::Page),
    }))
    .unwrap_or_else(|payload| Err(EngineError::Panicked(panic_text(payload.as_ref()))));
    outcome.map_err(|error| {
        let text = Arc::from(error.chain());
        match error {
            EngineError::Corrupt(_) => StoreError::Corrupt(text),
            _ => StoreError::Engine(text),
        }
    })
}
