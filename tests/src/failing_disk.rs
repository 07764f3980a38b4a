//! A disk that fails when it is told to: a small library, preloaded into a node's process, stands
//! between it and the system calls that write and sync.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a disk can be told to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// What was written cannot be synced: EIO.
    Sync,
    /// Nothing more can be written: ENOSPC.
    Full,
}

/// The disk of one node. Its library and its switches lie in a directory of the test.
#[derive(Debug)]
pub struct FailingDisk {
    library: PathBuf,
    switches: PathBuf,
}

impl FailingDisk {
    /// A disk without faults. `directory` must be there, and be used for nothing else.
    ///
    /// # Errors
    /// If there is no C compiler, `cc`.
    pub fn build(directory: &Path) -> Result<FailingDisk> {
        let (library, source) = (directory.join("disk.so"), directory.join("disk.c"));
        fs::write(&source, include_str!("failing_disk.c"))?;
        let status = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .status()
            .context("running the C compiler, cc")?;
        ensure!(status.success(), "cc failed: {status}");
        let switches = directory.to_owned();
        Ok(FailingDisk { library, switches })
    }

    /// The environment of a process that has this disk.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", &self.library),
            ("ENGRAM_FAULTS", &self.switches),
        ]
        .map(|(name, path)| (name.into(), path.display().to_string()))
        .into()
    }

    /// Lets it fail from now on.
    ///
    /// # Errors
    /// If the switch cannot be written.
    pub fn fail(&self, fault: Fault) -> Result<()> {
        fs::write(self.switch(fault), "").context("switching a fault on")
    }

    /// Lets it work again.
    ///
    /// # Errors
    /// If the fault is not on.
    pub fn heal(&self, fault: Fault) -> Result<()> {
        fs::remove_file(self.switch(fault)).context("switching a fault off")
    }

    fn switch(&self, fault: Fault) -> PathBuf {
        self.switches.join(match fault {
            Fault::Sync => "sync",
            Fault::Full => "full",
        })
    }
}
