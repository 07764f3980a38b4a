//! The machine in a small world: shards with change logs, a disk, a full-text index, an embedder.

mod chunks;
mod failing;
mod filters;
mod fresh;
mod purges;
mod queries;
mod random;
mod rules;
mod seams;
mod sharing;
mod stored_vectors;
mod world;
