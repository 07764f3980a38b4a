//! A commit that a power cut tore, at the end of the journal.
//!
//! fjall drops a last batch that it cannot decode, but refuses the whole journal if a batch decodes
//! and its checksum is wrong. A power cut may leave just that: pages of one commit reach the disk
//! in any order, so zeros may stand in the middle of a value while the end of the batch is there.
//! Such a batch was never acknowledged, and a node must come back from a power cut.
//!
//! Cutting the last byte off the journal makes its last batch one that fjall drops. If the journal
//! opens then, the last batch was the wrong one. If it does not, an earlier one is, which no power
//! cut does: the byte is put back, and the journal is refused.
//!
//! Damage to a last batch that *was* acknowledged looks the same, here and to fjall. That is why
//! each commit leaves its lsn, which other members remember before this one may vote.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The last byte of a journal, cut off, with all that is needed to put it back.
pub(super) struct TornTail {
    journal: PathBuf,
    length: u64,
    end: u64,
    last_byte: u8,
}

impl TornTail {
    /// Cuts the last byte off the journal that was written to last. Nothing if there is none, or
    /// nothing in it. A journal is allocated ahead: zeros at its end are not part of it, and no
    /// batch ends with one.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn cut(store: &Path) -> io::Result<Option<TornTail>> {
        let Some(journal) = last_journal(store)? else {
            return Ok(None);
        };
        let bytes = fs::read(&journal)?;
        let last = bytes.iter().enumerate().rfind(|(_, byte)| **byte != 0);
        let Some((end, last_byte)) = last else {
            return Ok(None);
        };
        let tail = TornTail {
            length: bytes.len() as u64,
            end: end as u64,
            last_byte: *last_byte,
            journal,
        };
        let file = tail.open()?;
        file.set_len(tail.end)?;
        file.sync_all()?;
        Ok(Some(tail))
    }

    /// Puts the byte back.
    ///
    /// # Errors
    /// If the disk fails.
    pub(super) fn restore(self) -> io::Result<()> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(&[self.last_byte])?;
        file.set_len(self.length)?;
        file.sync_all()
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new().write(true).open(&self.journal)
    }
}

/// The journal with the highest number.
fn last_journal(store: &Path) -> io::Result<Option<PathBuf>> {
    let mut last: Option<(u64, PathBuf)> = None;
    for entry in fs::read_dir(store)? {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let Some(number) = stem
            .filter(|_| is_journal)
            .and_then(|stem| stem.parse().ok())
        else {
            continue;
        };
        if last.as_ref().is_none_or(|(highest, _)| number > *highest) {
            last = Some((number, path));
        }
    }
    Ok(last.map(|(_, path)| path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_journal_is_cut_and_it_can_be_restored() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        assert!(TornTail::cut(dir.path()).expect("readable").is_none());
        for (name, bytes) in [
            ("9.jnl", &b"old"[..]),
            ("10.jnl", b"new\0\0"),
            ("lock", b"x"),
            ("11.txt", b"x"),
        ] {
            fs::write(dir.path().join(name), bytes).expect("writable");
        }
        let tail = TornTail::cut(dir.path())
            .expect("readable")
            .expect("there is one");
        let read = |name| fs::read(dir.path().join(name)).expect("readable");
        assert_eq!(
            (read("9.jnl"), read("10.jnl")),
            (b"old".to_vec(), b"ne".to_vec())
        );
        tail.restore().expect("writable");
        assert_eq!(read("10.jnl"), b"new\0\0");
    }

    #[test]
    fn an_empty_journal_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("0.jnl"), [0; 9]).expect("writable");
        assert!(TornTail::cut(dir.path()).expect("readable").is_none());
        assert_eq!(
            fs::read(dir.path().join("0.jnl")).expect("readable"),
            [0; 9]
        );
    }
}
