//! The thread that owns the writer of one index.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::Receiver;
use engram_actors::index_partition::{TextIndexError, TextIndexStatus, TextStatusDone};
use engram_core::index::TextChange;
use engram_core::types::Blob;
use tantivy::TantivyError;

use super::directory::{self, Opened};
use super::schema::Fields;
use super::{Shared, payload};

/// What the writer thread is told, in order.
pub(super) enum Command {
    /// Open the index as last committed.
    Open(TextStatusDone),
    /// Make changes.
    Apply(Vec<TextChange>),
    /// Forget everything.
    Clear,
    /// Commit with this watermark.
    Commit(Blob, TextStatusDone),
}

pub(super) struct Writer {
    folder: PathBuf,
    fields: Fields,
    shared: Arc<Shared>,
    opened: Option<Opened>,
    /// Why it was closed; told once, to the next commit.
    failure: Option<TextIndexError>,
}

impl Writer {
    pub(super) fn new(folder: PathBuf, shared: Arc<Shared>) -> Writer {
        let fields = Fields::new();
        Writer {
            folder,
            fields,
            shared,
            opened: None,
            failure: None,
        }
    }

    /// Works until nobody holds the index any more.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        for command in commands {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open(done) => {
                self.close();
                self.failure = None;
                self.shared.overflowed.store(false, Ordering::SeqCst);
                let result = self.guarded(Writer::open);
                done(result);
            }
            Command::Commit(watermark, done) => {
                if self.shared.overflowed.load(Ordering::SeqCst) {
                    self.fail("changes were lost because too many waited");
                }
                let result = match self.failure.take() {
                    Some(error) => Err(error),
                    None => self.guarded(|writer| writer.commit(&watermark)),
                };
                // The caller was told; what is left is that the index is closed.
                self.failure = None;
                done(result);
            }
            Command::Apply(changes) => drop(self.guarded(|writer| writer.apply(&changes))),
            Command::Clear => drop(self.guarded(Writer::clear)),
        }
    }

    /// Runs one piece of work. If it fails, the index is closed until it is opened again.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T, WriteError>,
    ) -> Result<T, TextIndexError> {
        let outcome = catch_unwind(AssertUnwindSafe(|| work(self)));
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(WriteError::NotOpen)) => Err(TextIndexError::NotOpen),
            Ok(Err(WriteError::Tantivy(error))) => {
                if is_damage(&error) {
                    self.shared.discard.store(true, Ordering::SeqCst);
                }
                Err(self.fail(&error.to_string()))
            }
            Err(panic) => {
                self.shared.discard.store(true, Ordering::SeqCst);
                Err(self.fail(&format!("it panicked: {}", panic_text(panic.as_ref()))))
            }
        }
    }

    fn fail(&mut self, reason: &str) -> TextIndexError {
        tracing::warn!(folder = %self.folder.display(), reason, "full-text index failed");
        self.close();
        let error = TextIndexError::Failed(reason.into());
        self.failure = Some(error.clone());
        error
    }

    fn close(&mut self) {
        self.shared.set_reader(None);
        // Dropping the writer gives up what was not committed, and the lock of the folder.
        self.opened = None;
    }

    fn opened(&mut self) -> Result<&mut Opened, WriteError> {
        self.opened.as_mut().ok_or(WriteError::NotOpen)
    }

    fn open(&mut self) -> Result<TextIndexStatus, WriteError> {
        let discard = self.shared.discard.load(Ordering::SeqCst);
        let mut opened = directory::open(&self.folder, &self.fields, discard)?;
        let watermark = opened
            .payload
            .take()
            .map(|payload| payload::decode(&payload));
        if watermark == Some(None) {
            // Not written by this code, whatever else looks right.
            drop(opened);
            opened = directory::open(&self.folder, &self.fields, true)?;
        }
        self.shared.discard.store(false, Ordering::SeqCst);
        let documents = opened.reader.searcher().num_docs();
        self.shared.set_reader(Some(opened.reader.clone()));
        self.opened = Some(opened);
        Ok(TextIndexStatus {
            watermark: watermark.flatten(),
            documents,
        })
    }

    fn apply(&mut self, changes: &[TextChange]) -> Result<(), WriteError> {
        let opened = self.opened.as_mut().ok_or(WriteError::NotOpen)?;
        for change in changes {
            match change {
                TextChange::Upsert(entry) => {
                    opened.writer.delete_term(self.fields.id_term(&entry.key));
                    let document = self.fields.document(entry);
                    opened.writer.add_document(document)?;
                }
                TextChange::Delete(key) => {
                    opened.writer.delete_term(self.fields.id_term(key));
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<(), WriteError> {
        self.opened()?.writer.delete_all_documents()?;
        Ok(())
    }

    fn commit(&mut self, watermark: &Blob) -> Result<TextIndexStatus, WriteError> {
        let opened = self.opened()?;
        let mut prepared = opened.writer.prepare_commit()?;
        prepared.set_payload(&payload::encode(watermark));
        prepared.commit()?;
        opened.reader.reload()?;
        let documents = opened.reader.searcher().num_docs();
        Ok(TextIndexStatus {
            watermark: Some(watermark.clone()),
            documents,
        })
    }
}

/// Why a piece of work was not done.
enum WriteError {
    NotOpen,
    Tantivy(TantivyError),
}

impl<E: Into<TantivyError>> From<E> for WriteError {
    fn from(error: E) -> WriteError {
        WriteError::Tantivy(error.into())
    }
}

/// Whether an error says that the files are no good, rather than that the disk is full or the
/// like. Then opening them again is in vain.
pub(super) fn is_damage(error: &TantivyError) -> bool {
    matches!(
        error,
        TantivyError::DataCorruption(_)
            | TantivyError::OpenReadError(_)
            | TantivyError::IncompatibleIndex(_)
            | TantivyError::DeserializeError(_)
            | TantivyError::InternalError(_)
            | TantivyError::SchemaError(_)
    )
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no reason given")
}
