//! Engram.

pub mod data_dir;
pub mod store;
