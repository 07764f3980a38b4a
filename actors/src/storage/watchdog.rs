//! Notices a commit that never returns, and space that has come back.
//!
//! An engine may hold a commit back until its background work has caught up. Should that work have
//! died, the commit would wait for ever, and the node would look alive while no write returns. A
//! node that ends instead is replaced or restarted.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::engine::Engine;
use super::group_commit::Shared;
use super::writer::micros_since;

/// Looks this often within the longest time that a commit may take.
const LOOKS: u32 = 4;
const LOOK_MIN: Duration = Duration::from_millis(1);

/// Watches until `stop` closes. Once a commit takes too long it poisons the store and ends.
pub(super) fn run<E: Engine>(shared: &Shared<E>, stop: &Receiver<()>) {
    let stall_max = shared.config.commit_stall_max;
    let pause = (stall_max / LOOKS)
        .min(shared.config.free_check_interval)
        .max(LOOK_MIN);
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(pause) {
        // A full store is sent no appends that would make it look at the disk again.
        if shared
            .counters
            .last_free_bytes()
            .is_some_and(|free| free < shared.config.free_bytes_kept)
        {
            shared.counters.free_bytes(shared.engine.free_bytes());
        }
        let began = shared.commit_began.load(Ordering::Acquire);
        if began == 0 {
            continue;
        }
        let now = micros_since(shared.started, Instant::now());
        let taken = Duration::from_micros(now.saturating_sub(began - 1));
        if taken > stall_max {
            let seconds = taken.as_secs_f32();
            let reason = format!("a commit has not returned for {seconds:.1} seconds");
            shared.is_stalled.store(true, Ordering::Release);
            shared.failure.fail(reason);
            return;
        }
    }
}
