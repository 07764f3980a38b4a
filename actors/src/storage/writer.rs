//! The writer thread: drains the queue, commits once, answers in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::Receiver;
use engram_core::storage::WriteBatch;
use engram_core::types::Lsn;

use super::completion::Completion;
use super::engine::{Engine, EngineError};
use super::failure::panic_text;
use super::group_commit::Shared;
use super::space::SpaceGauge;
use crate::env::StoreError;

/// What the queue of the writer holds. Sender: the store. No job is lost while the writer runs;
/// one that is dropped answers `Closed` by itself.
pub(super) enum AppendJob {
    /// Commit this, and answer its completion.
    Append(Append),
    /// Wake up: the store was closed.
    Close,
}

/// One batch on its way to disk.
pub(super) struct Append {
    pub(super) batch: WriteBatch,
    /// As [`WriteBatch::byte_len`] says.
    pub(super) bytes: usize,
    pub(super) completion: Completion<Lsn>,
}

/// State of the writer thread. The vectors are kept from group to group, to spare allocations.
pub(super) struct Writer<E> {
    shared: Arc<Shared<E>>,
    jobs: Receiver<AppendJob>,
    space: SpaceGauge,
    batches: Vec<WriteBatch>,
    /// In order of their queueing: whether it writes anything, and whom to answer.
    waiting: Vec<(bool, Completion<Lsn>)>,
    group_bytes: usize,
}

impl<E: Engine> Writer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, jobs: Receiver<AppendJob>) -> Writer<E> {
        let config = &shared.config;
        let space = SpaceGauge::new(config.free_bytes_kept, config.free_check_interval);
        Writer {
            shared,
            jobs,
            space,
            batches: Vec::new(),
            waiting: Vec::new(),
            group_bytes: 0,
        }
    }

    /// Works until the store closes. A panic poisons the store, and the rest of the queue is
    /// still answered; each one uses up at least one job, so this ends.
    pub(super) fn run(mut self) {
        while let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.work())) {
            let text = panic_text(payload.as_ref());
            self.shared
                .failure
                .fail(format!("the storage writer panicked: {text}"));
            self.end_group();
        }
    }

    fn work(&mut self) {
        while !self.shared.is_closed() {
            let Ok(job) = self.jobs.recv() else { return };
            self.take(job);
            self.work_through_queue();
        }
        while let Ok(job) = self.jobs.try_recv() {
            self.take(job);
            self.work_through_queue();
        }
    }

    /// Adds what else waits, up to the bounds of one commit, and commits it.
    fn work_through_queue(&mut self) {
        let (appends_max, bytes_max) = (
            self.shared.config.group_appends_max,
            self.shared.config.group_bytes_max,
        );
        while self.waiting.len() < appends_max && self.group_bytes < bytes_max {
            let Ok(job) = self.jobs.try_recv() else { break };
            self.take(job);
        }
        self.commit_group();
    }

    fn take(&mut self, job: AppendJob) {
        let AppendJob::Append(Append {
            batch,
            bytes,
            completion,
        }) = job
        else {
            return;
        };
        self.group_bytes += bytes;
        self.waiting.push((!batch.is_empty(), completion));
        if !batch.is_empty() {
            self.batches.push(batch);
        }
    }

    fn commit_group(&mut self) {
        let outcome = self.try_commit();
        let durable = Lsn(self.shared.durable.load(Ordering::Relaxed));
        for (is_write, completion) in self.waiting.drain(..) {
            completion.finish(match &outcome {
                Ok(()) => Ok(durable),
                // A barrier asks for what was committed before, and that is durable.
                Err(StoreError::DiskFull { .. }) if !is_write => Ok(durable),
                Err(error) => Err(error.clone()),
            });
        }
        self.end_group();
    }

    fn end_group(&mut self) {
        self.shared
            .queued_bytes
            .fetch_sub(self.group_bytes, Ordering::Relaxed);
        self.shared.commit_began.store(0, Ordering::Release);
        self.group_bytes = 0;
        self.batches.clear();
        self.waiting.clear();
    }

    fn try_commit(&mut self) -> Result<(), StoreError> {
        let shared = &self.shared;
        if let Some(error) = shared.failure.error() {
            return Err(error);
        }
        if self.batches.is_empty() {
            return Ok(());
        }
        let began = Instant::now();
        let space = self
            .space
            .admit(self.group_bytes, began, || shared.engine.free_bytes());
        shared.counters.free_bytes(self.space.free_bytes());
        if let Err(error) = space {
            self.batches
                .iter()
                .for_each(|_| shared.counters.refused_disk_full());
            return Err(error);
        }

        let lsn = Lsn(shared.durable.load(Ordering::Relaxed) + 1);
        shared
            .commit_began
            .store(micros_since(shared.started, began) + 1, Ordering::Release);
        let committed = catch_unwind(AssertUnwindSafe(|| {
            shared.engine.commit(&self.batches, lsn)
        }))
        .unwrap_or_else(|payload| Err(EngineError::Panicked(panic_text(payload.as_ref()))));
        shared.commit_began.store(0, Ordering::Release);
        match committed {
            Ok(()) => {
                shared.durable.store(lsn.0, Ordering::Release);
                let appends = self.batches.len() as u64;
                shared
                    .counters
                    .committed(appends, self.group_bytes, began.elapsed());
                Ok(())
            }
            Err(error) => {
                shared.failure.fail(format!(
                    "the commit of lsn {} failed: {}",
                    lsn.0,
                    error.chain()
                ));
                Err(shared.failure.error().unwrap_or(StoreError::Closed))
            }
        }
    }
}

/// Microseconds from `started` to `at`.
pub(super) fn micros_since(started: Instant, at: Instant) -> u64 {
    u64::try_from(at.duration_since(started).as_micros()).unwrap_or(u64::MAX - 1)
}
