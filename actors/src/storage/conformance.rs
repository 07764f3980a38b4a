//! What every storage engine must do, as one suite for the tests of all of them.
//!
//! [`run`] checks the promises of [`Engine`] and of the store above it one by one; [`follow`]
//! compares an engine with a plain map over any sequence of [`Step`]s, which [`steps`] draws.

mod cases;
mod model;

pub use model::{Op, Step, follow, steps};

use super::engine::Engine;

/// Storage that outlives the engine opened on it.
pub trait Disk {
    /// The engine under test.
    type Engine: Engine;

    /// New storage with nothing on it.
    fn blank() -> Self;

    /// Opens the storage. The engine that was opened before has been dropped.
    fn open(&self) -> Self::Engine;
}

/// Runs every case on storage of its own.
///
/// # Panics
/// If the engine breaks a promise; the message says which.
pub fn run<D: Disk>() {
    cases::a_blank_engine_is_empty::<D>();
    cases::a_commit_is_seen_whole_and_survives::<D>();
    cases::later_operations_win::<D>();
    cases::an_empty_value_is_not_a_missing_one::<D>();
    cases::keyspaces_are_apart::<D>();
    cases::a_commit_without_operations_keeps_its_lsn::<D>();
    cases::large_keys_and_values_survive::<D>();
    cases::ranges_are_half_open_ascending_and_bounded::<D>();
    cases::pages_of_a_range_join_up::<D>();
    cases::readers_see_whole_commits::<D>();
    cases::the_store_acknowledges_in_order_what_survives::<D>();
}
