//! Engram.

pub mod embedder;
pub mod text_index;
