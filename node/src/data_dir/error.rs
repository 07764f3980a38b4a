//! What can be wrong with a data directory.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use engram_actors::storage::EngineError;
use engram_core::limits::{NAME_BYTES_MAX, SHARDS_MAX, SHARDS_MIN};
use engram_core::types::MemberId;

use super::identity::IdentityError;

/// Why a data directory was not opened.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// There is something, but no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// Where.
        path: PathBuf,
    },
    /// There is a directory, or nothing, but no node's data.
    #[error("{} holds no data of a node", path.display())]
    NotADataDirectory {
        /// Where.
        path: PathBuf,
    },
    /// This user may not use it.
    #[error("no permission to use {}", path.display())]
    Permission {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another process", path.display())]
    Locked {
        /// Where.
        path: PathBuf,
    },
    /// It belongs to another cluster.
    #[error("{} belongs to the cluster {found:?}, not to {expected:?}", path.display())]
    OtherCluster {
        /// Where.
        path: PathBuf,
        /// The cluster that was asked for.
        expected: String,
        /// The cluster it belongs to.
        found: String,
    },
    /// It belongs to another node.
    #[error("{} belongs to the node {found:?}, not to {expected:?}", path.display())]
    OtherNode {
        /// Where.
        path: PathBuf,
        /// The node that was asked for.
        expected: String,
        /// The node it belongs to.
        found: String,
    },
    /// It was made for another number of shards, which never changes.
    #[error("{} has {found} shards, not {expected}", path.display())]
    OtherShards {
        /// Where.
        path: PathBuf,
        /// The number that was asked for.
        expected: u16,
        /// The number it was made with.
        found: u16,
    },
    /// Its identity cannot be read: it is damaged, or a newer version of this program wrote it.
    #[error("{} cannot be read", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IdentityError,
    },
    /// There is a database without an identity.
    #[error("{} holds a database, but not whose it is: its identity is lost", path.display())]
    IdentityMissing {
        /// Where.
        path: PathBuf,
    },
    /// There is an identity without its database.
    #[error(
        "the database in {} is lost: this member must not vote again. Bring the database back, or leave \
         the node down: the cluster goes on without it, but takes no new member in its place yet",
        path.display()
    )]
    StoreMissing {
        /// Where.
        path: PathBuf,
    },
    /// The database was put there from another directory.
    #[error("the database in {} is that of member {found}, not of {expected}", path.display())]
    StoreOfAnotherMember {
        /// Where.
        path: PathBuf,
        /// The member that the identity names.
        expected: MemberId,
        /// The member that the database names.
        found: MemberId,
    },
    /// The database is an older one: durable commits are gone.
    #[error(
        "the database in {} went back to boot {found_boot}, after boot {expected_boot} was durable: \
         this member must not vote again. Bring the later one back, or leave the node down: the \
         cluster goes on without it, but takes no new member in its place yet",
        path.display()
    )]
    RolledBack {
        /// Where.
        path: PathBuf,
        /// The last boot that the identity knows.
        expected_boot: u32,
        /// The last boot that the database knows.
        found_boot: u32,
    },
    /// The database does not open, or does not hold what it should.
    #[error(
        "the database in {} cannot be used; `engram check` says more",
        path.display()
    )]
    Store {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        source: EngineError,
    },
    /// It was opened as often as can be counted.
    #[error("{} cannot be opened any more: its boots cannot be counted", path.display())]
    BootsExhausted {
        /// Where.
        path: PathBuf,
    },
    /// The name of a cluster or node is empty or too long.
    #[error("{name:?} is no name: it must have 1 to {NAME_BYTES_MAX} bytes")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// No cluster has this number of shards.
    #[error("a cluster has {SHARDS_MIN} to {SHARDS_MAX} shards, not {shards}")]
    InvalidShards {
        /// The number.
        shards: u16,
    },
    /// The operating system reported another error.
    #[error("{} cannot be used", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Sorts an error of the operating system by what can be done about it.
pub(super) fn io_error(path: &Path, source: io::Error) -> DataDirError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            DataDirError::Permission { path, source }
        }
        ErrorKind::NotADirectory => DataDirError::NotADirectory { path },
        _ => DataDirError::Io { path, source },
    }
}
