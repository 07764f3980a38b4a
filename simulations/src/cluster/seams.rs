//! The seams of `engram_actors::env` as one life of one simulated node has them. All of them are
//! fenced: what belongs to a life that has ended reaches nothing.

use std::sync::{Arc, Mutex, PoisonError};

use engram_actors::buggify::Buggify;
use engram_actors::env::{
    AppendDone, Background, BackgroundFull, Clock, Entropy, Env, Job, ReadDone, ReadQuery, Store,
    StoreError, Transport,
};
use engram_actors::index_partition::SegmentOptions;
use engram_core::index::vectors::SegmentLimits;
use engram_core::limits::{STORE_APPEND_BYTES_MAX, STORE_APPENDS_MAX, STORE_READS_MAX};
use engram_core::protocol::random::Random;
use engram_core::storage::WriteBatch;
use engram_core::types::{IoId, Lsn, MemberId, Millis, SessionId};
use engram_core::wire::Frame;
use engram_segments::HoraBuilder;

use super::state::World;
use crate::disk::Queued;

/// One life of one node, as a holder of seams.
#[derive(Clone)]
struct Holder {
    world: Arc<World>,
    node: usize,
    life: u64,
}

/// The world as the actors of one life of a node see it.
pub(super) fn env(world: &Arc<World>, node: usize, life: u64, seed: u64) -> Env {
    let holder = Holder {
        world: world.clone(),
        node,
        life,
    };
    Env {
        store: Arc::new(SimStore(holder.clone())),
        transport: Arc::new(SimTransport(holder.clone())),
        buggify: buggify(&holder),
        clock: Arc::new(SimClock(holder.clone())),
        background: Arc::new(SimBackground(holder)),
        entropy: Arc::new(SimEntropy(Mutex::new(Random::new(seed)))),
    }
}

#[cfg(debug_assertions)]
fn buggify(holder: &Holder) -> Buggify {
    let Holder { world, node, life } = holder.clone();
    Buggify::new(move |point| world.lock().buggify(node, life, point))
}

#[cfg(not(debug_assertions))]
fn buggify(_: &Holder) -> Buggify {
    Buggify::default()
}

/// Segments of vectors are merged early, so that the few keys of a world are enough for it.
pub(super) fn segments() -> SegmentOptions {
    SegmentOptions {
        builder: Arc::new(HoraBuilder),
        limits: SegmentLimits {
            seal_rows: 2,
            flat_rows: 4,
            settled_rows: 3,
            graph_rows_max: 16,
            settle_ms: 500,
        },
        vector_bytes_max: usize::MAX,
    }
}

struct SimClock(Holder);

impl Clock for SimClock {
    fn now(&self) -> Millis {
        self.0.world.lock().clock(self.0.node)
    }
}

struct SimEntropy(Mutex<Random>);

impl Entropy for SimEntropy {
    fn next_u64(&self) -> u64 {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        random.next_u64()
    }
}

struct SimBackground(Holder);

impl Background for SimBackground {
    fn run(&self, job: Job) -> Result<(), BackgroundFull> {
        let Holder { world, node, life } = &self.0;
        world.with(|state| {
            if state.lives(*node, *life) {
                state.work_later(*node, job);
            }
        });
        Ok(())
    }
}

struct SimTransport(Holder);

impl Transport for SimTransport {
    fn send(&self, to: MemberId, frame: &Frame) {
        self.broadcast(&[to], frame);
    }

    fn broadcast(&self, to: &[MemberId], frame: &Frame) {
        let Holder { world, node, life } = &self.0;
        world.with(|state| {
            if state.lives(*node, *life) {
                state.send(*node, to, frame);
            }
        });
    }

    fn respond(&self, to: SessionId, frame: &Frame) {
        let Holder { world, node, life } = &self.0;
        world.with(|state| {
            if state.lives(*node, *life) {
                state.respond(*node, to, frame);
            }
        });
    }
}

struct SimStore(Holder);

impl Store for SimStore {
    fn append(&self, batch: WriteBatch, done: AppendDone) {
        let Holder { world, node, life } = &self.0;
        let bytes = batch.byte_len();
        // What is refused is answered after the lock is released: the callback may come back.
        let refused = world.with(|state| {
            if !state.lives(*node, *life) {
                return Some((done, StoreError::Closed));
            }
            let queued = state.node(*node).appends.len();
            state.judge.bounds.appends(*node, queued + 1);
            if queued >= STORE_APPENDS_MAX || bytes > STORE_APPEND_BYTES_MAX {
                let error = StoreError::Overloaded {
                    queued,
                    queued_bytes: bytes,
                };
                return Some((done, error));
            }
            let queued = Queued {
                life: *life,
                io: IoId(0),
                batch,
            };
            state.append(*node, queued, done);
            None
        });
        if let Some((done, error)) = refused {
            done(Err(error));
        }
    }

    fn read(&self, query: ReadQuery, done: ReadDone) {
        let Holder { world, node, life } = &self.0;
        let refused = world.with(|state| {
            if !state.lives(*node, *life) {
                return Some((done, StoreError::Closed));
            }
            let queued = state.node(*node).reads.len();
            state.judge.bounds.reads(*node, queued + 1);
            if queued >= STORE_READS_MAX {
                let error = StoreError::Overloaded {
                    queued,
                    queued_bytes: 0,
                };
                return Some((done, error));
            }
            state.look_up(*node, query, done);
            None
        });
        if let Some((done, error)) = refused {
            done(Err(error));
        }
    }

    fn durable_lsn(&self) -> Lsn {
        self.0.world.lock().node(self.0.node).lsn
    }

    fn admits_writes(&self) -> bool {
        let state = self.0.world.lock();
        let node = state.node(self.0.node);
        state.lives(self.0.node, self.0.life)
            && node.full_until_us <= state.now_us()
            && node.appends.len() < STORE_APPENDS_MAX / 2
    }

    fn free_bytes(&self) -> Option<u64> {
        let state = self.0.world.lock();
        let is_full = state.node(self.0.node).full_until_us > state.now_us();
        Some(if is_full { 4096 } else { 1 << 40 })
    }
}
