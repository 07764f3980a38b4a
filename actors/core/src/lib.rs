//! The pure core of Engram: what is stored, what is said between nodes, and every decision.
//!
//! Nothing here does I/O, awaits, reads a clock or draws entropy: time and randomness arrive as
//! arguments, effects leave as values. See `ARCHITECTURE.md` for the map.

pub mod index;
pub mod limits;
pub mod placement;
pub mod planted;
pub mod protocol;
pub mod storage;
pub mod types;
pub mod wire;
