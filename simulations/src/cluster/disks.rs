//! What happens on simulated disks: appends queue up, syncs make groups of them durable, reads
//! take their time.

use engram_actors::env::{AppendDone, Job, ReadDone, ReadOutcome, ReadQuery, StoreError};
use engram_core::types::Lsn;

use super::state::{Happening, State};
use super::{Mutant, node::Damage};
use crate::disk::Queued;

/// Completions to be called, and with what, once the lock is released.
pub(super) type Answered = Vec<(AppendDone, Result<Lsn, StoreError>)>;

impl State {
    /// Queues a batch on a node's disk.
    pub(super) fn append(&mut self, node: usize, queued: Queued, done: AppendDone) {
        let it = self.node_mut(node);
        it.disk.append(queued);
        it.appends.push_back(done);
        self.begin_sync(node);
    }

    fn begin_sync(&mut self, node: usize) {
        if !self.node_mut(node).disk.begin_sync() {
            return;
        }
        let slow = !self.healed && self.disks.chance(self.profile.slow_sync);
        let longest_us = if slow {
            self.profile.slow_sync_us
        } else {
            self.profile.sync_us
        };
        let mut sync_us = 50 + self.disks.below(longest_us);
        if self.node(node).slow_until_us > self.now_us() {
            sync_us += self.node(node).slow_sync_us;
        }
        let life = self.node(node).life;
        let at_us = self.leaves_us(node) + sync_us;
        self.at(at_us, Happening::Synced { node, life });
    }

    /// A sync has ended: what it wrote is durable, unless the disk is full.
    pub(super) fn synced(&mut self, node: usize) -> Answered {
        if self.mutant == Some(Mutant::LyingSync) {
            return self.lie(node);
        }
        if self.node(node).full_until_us > self.now_us() {
            return self.refuse_sync(node);
        }
        let done = self.node_mut(node).disk.finish_sync();
        if done.iter().any(|queued| !queued.batch.is_empty()) {
            self.node_mut(node).lsn.0 += 1;
        }
        for queued in &done {
            self.became_durable(node, queued);
        }
        let lsn = self.node(node).lsn;
        let waiting = self.node_mut(node).appends.drain(..done.len());
        let answered = waiting.map(|done| (done, Ok(lsn))).collect();
        self.counters.syncs += 1;
        self.begin_sync(node);
        answered
    }

    /// The planted fault: a batch is reported durable long before it is.
    fn lie(&mut self, node: usize) -> Answered {
        let it = self.node_mut(node);
        let lsn = it.lsn;
        let answered: Answered = it.appends.drain(..).map(|done| (done, Ok(lsn))).collect();
        if it.disk.queued() < 200 {
            // Left in the queue: reads see it, a crash may lose it.
            it.disk.abandon_sync();
            return answered;
        }
        for queued in it.disk.finish_sync() {
            self.became_durable(node, &queued);
        }
        answered
    }

    fn refuse_sync(&mut self, node: usize) -> Answered {
        let it = self.node_mut(node);
        let refused = it.disk.refuse_sync();
        let lsn = it.lsn;
        let full = StoreError::DiskFull {
            free_bytes: 4096,
            needed_bytes: engram_core::limits::STORE_FREE_BYTES_KEPT,
        };
        let waiting = it.appends.drain(..refused.len());
        let answered = waiting
            .zip(&refused)
            .map(|(done, queued)| {
                // A barrier asks for what was committed before, and that is durable.
                let result = if queued.batch.is_empty() {
                    Ok(lsn)
                } else {
                    Err(full.clone())
                };
                (done, result)
            })
            .collect();
        self.counters.refused_syncs += 1;
        self.begin_sync(node);
        answered
    }

    /// Queues a read.
    pub(super) fn look_up(&mut self, node: usize, query: ReadQuery, done: ReadDone) {
        let read_us = 10 + self.disks.below(self.profile.read_us);
        let at_us = self.leaves_us(node) + read_us;
        let it = self.node_mut(node);
        let (read, life) = (it.next_read, it.life);
        it.next_read += 1;
        it.reads.insert(read, (query, done));
        self.at(at_us, Happening::Looked { node, life, read });
    }

    /// A node does something in the background. How long it takes depends on nothing that is drawn.
    pub(super) fn work_later(&mut self, node: usize, work: Job) {
        let at_us = self.leaves_us(node);
        let it = self.node_mut(node);
        let (job, life) = (it.next_job, it.life);
        it.next_job += 1;
        it.jobs.insert(job, work);
        let takes_us = 100 + job * 7_919 % 200_000;
        self.at(at_us + takes_us, Happening::Worked { node, life, job });
    }

    /// A read has its answer.
    pub(super) fn looked(&mut self, node: usize, read: u64) -> Option<(ReadDone, ReadOutcome)> {
        let dirty = self.dirty(node);
        let it = self.node_mut(node);
        let (query, done) = it.reads.remove(&read)?;
        let outcome = match query {
            ReadQuery::Get { keyspace, key } => {
                ReadOutcome::Value(it.disk.get(keyspace, &key, dirty))
            }
            ReadQuery::Range(range) => ReadOutcome::Page(it.disk.range(&range, dirty)),
        };
        Some((done, outcome))
    }

    fn dirty(&mut self, node: usize) -> usize {
        if self.mutant == Some(Mutant::LyingSync) {
            return self.node(node).disk.queued();
        }
        if !self.profile.dirty_reads {
            return 0;
        }
        let queued = self.node(node).disk.queued() as u64;
        usize::try_from(self.disks.below(queued + 1)).unwrap_or(0)
    }

    pub(super) fn became_durable(&mut self, node: usize, queued: &Queued) {
        if self.node(node).damage.is_some_and(Damage::excludes) {
            return;
        }
        let (now_us, member) = (self.now_us(), self.node(node).member);
        let result = self.judge.durable(now_us, member, &queued.batch);
        self.check(result);
    }
}
