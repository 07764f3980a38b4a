//! A node of an Engram cluster: configuration, disk, network, command line.

pub mod cli;
pub mod config;
pub mod data_dir;
pub mod node;
pub mod store;
pub mod transport;
pub mod world;
