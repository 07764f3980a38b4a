//! The machine in a small world: shards with change logs, a disk, a full-text index, an embedder.

mod failing;
mod fresh;
mod purges;
mod queries;
mod random;
mod rules;
mod world;
