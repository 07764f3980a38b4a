//! A node of an Engram cluster: configuration, disk, network, command line.

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod embedder;
mod memory;
pub mod node;
pub mod store;
pub mod text_index;
pub mod transport;
pub mod world;
