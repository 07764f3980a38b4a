//! Tests with real node processes on loopback: killed, paused, cut off, fed nonsense.
//!
//! | part | what it does |
//! |---|---|
//! | [`ports`] | finds ports that nobody else takes while a node is down |
//! | [`command`] | runs a command that is expected to end by itself |
//! | [`endpoint`] | an embeddings endpoint that answers rightly, wrongly, late or not at all |
//! | [`failing_disk`] | a disk that fails when it is told to |
//! | [`node`] | one node process: start, kill, stop, continue, its log and memory |
//! | [`cluster`] | several of them with temporary data; their logs are printed if a test fails |
//! | [`waiting`] | waits for a condition, with a deadline that names it |
//! | [`recorder`] | what clients asked and were told |
//! | [`workload`] | concurrent clients that put, compare-and-set, delete and get |
//! | [`verdict`] | whether what was recorded can be explained |
//!
//! There is one test file for each subject, and one process for each file: clients of one process
//! share the process-wide registries of the actor runtime.

pub mod cluster;
pub mod command;
pub mod endpoint;
pub mod failing_disk;
pub mod node;
pub mod ports;
pub mod recorder;
pub mod verdict;
pub mod waiting;
pub mod workload;
