//! The check of a stopped node's data: reads everything, and says what it found.

use std::path::Path;

use engram_actors::storage::Engine;
use engram_core::limits::STORE_PROBLEMS_MAX;
use engram_core::storage::Keyspace;
use engram_core::types::Lsn;

use super::{FjallEngine, FjallOptions};
use crate::data_dir::{self, DataDirError, Identity};

/// What a check found in one keyspace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyspaceReport {
    /// Which.
    pub keyspace: Keyspace,
    /// Entries read.
    pub entries: u64,
    /// Bytes of their keys.
    pub key_bytes: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckReport {
    /// Whose data it is.
    pub identity: Identity,
    /// The last commit; nothing if that is not readable.
    pub last_lsn: Option<Lsn>,
    /// One for each keyspace, in the order of [`Keyspace::ALL`].
    pub keyspaces: Vec<KeyspaceReport>,
    /// The first [`STORE_PROBLEMS_MAX`] problems, in words.
    pub problems: Vec<String>,
    /// How many problems there are.
    pub problems_total: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems_total == 0
    }

    fn add_problem(&mut self, problem: String) {
        self.problems_total += 1;
        if self.problems.len() < STORE_PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// Reads everything in the data directory of a node that does not run. The directory is locked
/// meanwhile and its boot count stays as it is; but like any opening it drops an incomplete commit
/// at the end of the journal. `verify` is called with each entry, and says what is wrong with it.
///
/// # Errors
/// If there is no data directory, it is in use, or what is there cannot be opened at all.
pub fn check(
    path: &Path,
    options: &FjallOptions,
    mut verify: impl FnMut(Keyspace, &[u8], &[u8]) -> Result<(), String>,
) -> Result<CheckReport, DataDirError> {
    let (identity, engine) = data_dir::open_for_check(path, options)?;
    let mut report = CheckReport {
        identity,
        last_lsn: None,
        keyspaces: Vec::new(),
        problems: Vec::new(),
        problems_total: 0,
    };
    if let Err(error) = data_dir::compare_stamp(path, &engine) {
        report.add_problem(error.to_string());
    }
    match engine.last_lsn() {
        Ok(lsn) => report.last_lsn = Some(lsn),
        Err(error) => report.add_problem(format!("meta: the last lsn: {}", error.chain())),
    }
    for keyspace in Keyspace::ALL {
        check_keyspace(&engine, keyspace, &mut report, &mut verify);
    }
    Ok(report)
}

fn check_keyspace(
    engine: &FjallEngine,
    keyspace: Keyspace,
    report: &mut CheckReport,
    verify: &mut impl FnMut(Keyspace, &[u8], &[u8]) -> Result<(), String>,
) {
    let (mut key_bytes, mut value_bytes) = (0, 0);
    let (entries, outcome) = engine.visit_all(keyspace, |key, value| {
        key_bytes += key.len() as u64;
        value_bytes += value.len() as u64;
        if data_dir::is_own_record(keyspace, key) {
            return;
        }
        if let Err(problem) = verify(keyspace, key, value) {
            report.add_problem(format!(
                "{}: key {}: {problem}",
                keyspace.name(),
                key.escape_ascii()
            ));
        }
    });
    if let Err(error) = outcome {
        let text = error.chain();
        report.add_problem(format!(
            "{}: after {entries} entries: {text}",
            keyspace.name()
        ));
    }
    report.keyspaces.push(KeyspaceReport {
        keyspace,
        entries,
        key_bytes,
        value_bytes,
    });
}
