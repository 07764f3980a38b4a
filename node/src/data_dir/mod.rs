//! The data directory of a node: whose it is, that nobody else uses it, and what is in it.
//!
//! | entry | what |
//! |---|---|
//! | `LOCK` | empty; locked while a process has the directory open, released when it dies |
//! | `IDENTITY` | whose data this is and how often it was booted ([`identity`]) |
//! | `store/` | the database ([`crate::store`]) |
//!
//! A member that forgets what it promised must not vote, so a directory must notice when its
//! database is lost or older than it should be. The boot count is therefore kept twice: first it is
//! committed in the database (the *stamp*), then it is written to `IDENTITY`. The stamp may be ahead,
//! after a crash between the two; if it is behind, commits that were durable are gone.
//!
//! | `IDENTITY` | `store/` | meaning |
//! |---|---|---|
//! | none | none | a new directory: it becomes one of the expected cluster and node |
//! | none | there | refused, [`DataDirError::IdentityMissing`] |
//! | being made | none, or without stamp | a crash while it was made: it is made again |
//! | ready | none, or without stamp | refused, [`DataDirError::StoreMissing`] |
//! | ready | stamp of another member | refused, [`DataDirError::StoreOfAnotherMember`] |
//! | ready | stamp behind | refused, [`DataDirError::RolledBack`] |

mod error;
pub mod identity;
mod lock;
mod stamp;

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engram_actors::env::Entropy;
use engram_actors::storage::{Engine, LSN_KEY};
use engram_core::limits::{NAME_BYTES_MAX, SHARDS_MAX, SHARDS_MIN};
use engram_core::storage::Keyspace;
use engram_core::types::{Lsn, MemberId};

pub use error::DataDirError;
pub use identity::Identity;
pub(crate) use lock::DirLock;

use crate::store::{FjallEngine, FjallOptions};
use error::io_error;
use identity::{IdentityFile, Stage};
use stamp::{STAMP_KEY, Stamp};

const IDENTITY_NAME: &str = "IDENTITY";
const IDENTITY_TEMPORARY: &str = "IDENTITY.tmp";
const STORE_NAME: &str = "store";

/// Whose data a node expects in its directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node.
    pub node: String,
    /// Shards of the cluster.
    pub shards: u16,
}

/// An open data directory. It stays locked until both this and the engine are dropped.
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    boot: u32,
    recovered_lsn: Lsn,
    engine: Arc<FjallEngine>,
}

impl DataDir {
    /// Opens a node's directory, or makes it, and counts this boot durably. `entropy` names the
    /// member of a new directory.
    ///
    /// # Errors
    /// [`DataDirError`] says what is wrong with the directory; nothing in it was changed then,
    /// unless the disk failed on the way.
    pub fn open(
        path: &Path,
        expected: &Expected,
        options: &FjallOptions,
        entropy: &dyn Entropy,
    ) -> Result<DataDir, DataDirError> {
        check_expected(expected)?;
        make_directory(path)?;
        let lock = DirLock::acquire(path)?;
        let file = match read_identity(path)? {
            Some(file) => {
                file.identity.check_expected(path, expected)?;
                file
            }
            None if path.join(STORE_NAME).exists() => {
                return Err(DataDirError::IdentityMissing {
                    path: path.to_owned(),
                });
            }
            None => {
                let file = new_identity(expected, entropy);
                write_identity(path, &file)?;
                file
            }
        };
        let engine = open_store(lock, path, &file, options)?;
        let stamp = compare(path, &file, &engine)?;
        let recovered_lsn = engine.last_lsn().map_err(|source| DataDirError::Store {
            path: path.join(STORE_NAME),
            source,
        })?;
        let boot = count_boot(path, file.clone(), stamp, &engine)?;
        let engine = Arc::new(engine);
        Ok(DataDir {
            path: path.to_owned(),
            identity: file.identity,
            boot,
            recovered_lsn,
            engine,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose data it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How often it was opened, this time included: the boot count of an incarnation.
    pub fn boot(&self) -> u32 {
        self.boot
    }

    /// Where the database ended when it was opened, before this boot was counted in it.
    pub fn recovered_lsn(&self) -> Lsn {
        self.recovered_lsn
    }

    /// The database in it.
    pub fn engine(&self) -> &Arc<FjallEngine> {
        &self.engine
    }
}

/// Opens a directory as it is, without counting a boot and without making anything.
pub(crate) fn open_for_check(
    path: &Path,
    options: &FjallOptions,
) -> Result<(Identity, FjallEngine), DataDirError> {
    check_is_directory(path)?;
    if !path.join(IDENTITY_NAME).exists() && !path.join(STORE_NAME).exists() {
        return Err(DataDirError::NotADataDirectory {
            path: path.to_owned(),
        });
    }
    let lock = DirLock::acquire(path)?;
    let Some(file) = read_identity(path)? else {
        return Err(DataDirError::IdentityMissing {
            path: path.to_owned(),
        });
    };
    if !path.join(STORE_NAME).exists() {
        return Err(DataDirError::StoreMissing {
            path: path.to_owned(),
        });
    }
    let engine = open_store(lock, path, &file, options)?;
    Ok((file.identity, engine))
}

/// Whether the database is the one that the identity was written with.
pub(crate) fn compare_stamp(path: &Path, engine: &FjallEngine) -> Result<(), DataDirError> {
    match read_identity(path)? {
        None => Err(DataDirError::IdentityMissing {
            path: path.to_owned(),
        }),
        Some(file) => compare(path, &file, engine).map(drop),
    }
}

/// Whether the storage layer wrote this record for itself.
pub(crate) fn is_own_record(keyspace: Keyspace, key: &[u8]) -> bool {
    keyspace == Keyspace::Meta && (key == LSN_KEY || key == STAMP_KEY)
}

fn check_expected(expected: &Expected) -> Result<(), DataDirError> {
    for name in [&expected.cluster, &expected.node] {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(DataDirError::InvalidName { name: name.clone() });
        }
    }
    if !(SHARDS_MIN..=SHARDS_MAX).contains(&expected.shards) {
        return Err(DataDirError::InvalidShards {
            shards: expected.shards,
        });
    }
    Ok(())
}

fn check_is_directory(path: &Path) -> Result<(), DataDirError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(DataDirError::NotADirectory {
            path: path.to_owned(),
        }),
        Err(error) => Err(io_error(path, error)),
    }
}

/// Makes the directory if it is not there, so that no power cut takes it away again.
fn make_directory(path: &Path) -> Result<(), DataDirError> {
    let path = std::path::absolute(path).map_err(|error| io_error(path, error))?;
    let is_missing = |path: &&Path| !path.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => DataDirError::NotADirectory { path: path.clone() },
        _ => io_error(&path, error),
    })?;
    missing
        .into_iter()
        .filter_map(Path::parent)
        .try_for_each(sync_directory)
}

fn new_identity(expected: &Expected, entropy: &dyn Entropy) -> IdentityFile {
    // 0 is never a member.
    let member = MemberId(entropy.next_u64().max(1));
    let Expected {
        cluster,
        node,
        shards,
    } = expected.clone();
    let identity = Identity {
        cluster,
        node,
        member,
        shards,
    };
    IdentityFile {
        identity,
        stage: Stage::Making,
        boot: 0,
    }
}

fn open_store(
    lock: DirLock,
    path: &Path,
    file: &IdentityFile,
    options: &FjallOptions,
) -> Result<FjallEngine, DataDirError> {
    let store = path.join(STORE_NAME);
    if file.stage == Stage::Ready && !store.exists() {
        return Err(DataDirError::StoreMissing {
            path: path.to_owned(),
        });
    }
    FjallEngine::open_under(Some(lock), &store, options).map_err(|source| DataDirError::Store {
        path: store,
        source,
    })
}

/// The stamp of the database, if the identity may go with it.
fn compare(
    path: &Path,
    file: &IdentityFile,
    engine: &FjallEngine,
) -> Result<Option<Stamp>, DataDirError> {
    let expected = file.identity.member;
    let stamp = Stamp::read(path, engine)?;
    let path = path.to_owned();
    match stamp {
        None if file.stage == Stage::Ready => Err(DataDirError::StoreMissing { path }),
        Some(Stamp { member: found, .. }) if found != expected => {
            Err(DataDirError::StoreOfAnotherMember {
                path,
                expected,
                found,
            })
        }
        Some(Stamp { boot, .. }) if boot < file.boot => Err(DataDirError::RolledBack {
            path,
            expected_boot: file.boot,
            found_boot: boot,
        }),
        stamp => Ok(stamp),
    }
}

/// Raises the boot count, first in the database, then in the identity.
fn count_boot(
    path: &Path,
    file: IdentityFile,
    stamp: Option<Stamp>,
    engine: &FjallEngine,
) -> Result<u32, DataDirError> {
    let last = stamp.map_or(0, |stamp| stamp.boot).max(file.boot);
    let Some(boot) = last.checked_add(1) else {
        return Err(DataDirError::BootsExhausted {
            path: path.to_owned(),
        });
    };
    let store_error = |source| DataDirError::Store {
        path: path.join(STORE_NAME),
        source,
    };
    let lsn = Lsn(engine.last_lsn().map_err(store_error)?.0 + 1);
    let batch = Stamp {
        member: file.identity.member,
        boot,
    }
    .to_batch();
    engine.commit(&[batch], lsn).map_err(store_error)?;
    write_identity(
        path,
        &IdentityFile {
            stage: Stage::Ready,
            boot,
            ..file
        },
    )?;
    Ok(boot)
}

fn read_identity(path: &Path) -> Result<Option<IdentityFile>, DataDirError> {
    let file = path.join(IDENTITY_NAME);
    match fs::read(&file) {
        Ok(bytes) => IdentityFile::decode(&bytes)
            .map(Some)
            .map_err(|source| DataDirError::Identity { path: file, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(&file, error)),
    }
}

/// Replaces the identity, so that a crash leaves the old one or the new one.
fn write_identity(path: &Path, file: &IdentityFile) -> Result<(), DataDirError> {
    let temporary = path.join(IDENTITY_TEMPORARY);
    let write = || {
        let mut to = File::create(&temporary)?;
        to.write_all(&file.encode())?;
        to.sync_all()?;
        fs::rename(&temporary, path.join(IDENTITY_NAME))
    };
    write().map_err(|error| io_error(&temporary, error))?;
    sync_directory(path)
}

fn sync_directory(path: &Path) -> Result<(), DataDirError> {
    let sync = || File::open(path)?.sync_all();
    sync().map_err(|error| io_error(path, error))
}

#[cfg(test)]
mod tests;
