//! Where an index lies on disk, and how it is opened or begun anew.

use std::path::Path;
use std::{fs, io};

use tantivy::directory::MmapDirectory;
use tantivy::indexer::IndexWriterOptions;
use tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyError};

use super::schema::Fields;

/// Names the format: what the fields hold, how it is encoded, and how texts fall into words. Raise
/// the number when that changes; an index of another format is rebuilt.
const FORMAT: &str = "engram full-text index, format 2\n";
/// The file that holds [`FORMAT`].
const FORMAT_FILE: &str = "engram-format";

/// Memory that the writer fills before it starts a segment: the least that tantivy accepts.
const WRITER_HEAP_BYTES: usize = 15_000_000;
/// Stored documents are a key and a version: small blocks make single ones cheap to read.
const STORE_BLOCK_BYTES: usize = 4096;

/// An open index.
pub(super) struct Opened {
    pub(super) writer: IndexWriter,
    pub(super) reader: IndexReader,
    /// What the last commit left.
    pub(super) payload: Option<String>,
}

/// Opens the index in a folder. If what is there is no index of this format, or cannot be read,
/// it is removed and an empty one made: everything in it can be rebuilt from the store.
///
/// # Errors
/// What tantivy or the file system reports, if not even an empty index can be made.
pub(super) fn open(folder: &Path, fields: &Fields, discard: bool) -> Result<Opened, TantivyError> {
    if !discard && has_format(folder) {
        match open_existing(folder, fields) {
            Ok(opened) => return Ok(opened),
            // Somebody else writes to it: that is no damage.
            Err(error @ TantivyError::LockFailure(..)) => return Err(error),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "full-text index is rebuilt");
            }
        }
    }
    remove(folder)?;
    fs::create_dir_all(folder)?;
    let opened = open_existing(folder, fields)?;
    // Last, so that an index that was not made completely is not taken for one.
    fs::write(folder.join(FORMAT_FILE), FORMAT)?;
    Ok(opened)
}

fn has_format(folder: &Path) -> bool {
    fs::read(folder.join(FORMAT_FILE)).is_ok_and(|bytes| bytes == FORMAT.as_bytes())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_existing(folder: &Path, fields: &Fields) -> Result<Opened, TantivyError> {
    let directory = MmapDirectory::open(folder)?;
    let settings = IndexSettings {
        docstore_blocksize: STORE_BLOCK_BYTES,
        ..IndexSettings::default()
    };
    let index = Index::builder()
        .schema(fields.schema.clone())
        .settings(settings)
        .open_or_create(directory)?;
    let payload = index.load_metas()?.payload;
    let options = IndexWriterOptions::builder()
        .memory_budget_per_thread(WRITER_HEAP_BYTES)
        .num_worker_threads(1)
        .num_merge_threads(1)
        .build();
    let writer = index.writer_with_options(options)?;
    let reader = index
        .reader_builder()
        .reload_policy(ReloadPolicy::Manual)
        .try_into()?;
    Ok(Opened {
        writer,
        reader,
        payload,
    })
}
