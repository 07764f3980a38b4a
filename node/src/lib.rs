//! Engram.

pub mod embedder;
