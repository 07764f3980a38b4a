//! Seed files: a run written down, so that it can be run again, by hand made smaller, or sent.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Setup;
use super::fault::{self, Planned};
use super::profile::Profile;
use super::trace::Record;
use crate::mutant::Mutant;

/// Raised whenever the same file would give another run.
pub const VERSION: u32 = 2;

/// A run of a cluster as a file. What is left out is drawn from the seed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// Which simulator can run it.
    pub version: u32,
    /// Decides everything else.
    pub seed: u64,
    /// A fault planted on purpose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutant: Option<Mutant>,
    /// What was found, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What the cluster is like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// What goes wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<Vec<Planned>>,
}

/// A seed file that cannot be used.
#[derive(Debug)]
pub enum SeedFileError {
    /// It cannot be read or written.
    Io(std::io::Error),
    /// It is not a seed file.
    Syntax(String),
    /// It is of another version of the simulator.
    Version(u32),
    /// It asks for what no simulated cluster can be.
    Invalid(String),
}

impl std::fmt::Display for SeedFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SeedFileError::Io(error) => write!(f, "{error}"),
            SeedFileError::Syntax(error) => write!(f, "this is not a seed file: {error}"),
            SeedFileError::Version(version) => write!(
                f,
                "the seed file is of version {version}, this simulator runs version {VERSION}: \
                 check out the commit that wrote it"
            ),
            SeedFileError::Invalid(reason) => write!(f, "the seed file makes no sense: {reason}"),
        }
    }
}

impl std::error::Error for SeedFileError {}

impl SeedFile {
    /// Writes a run down in full.
    pub fn of(setup: &Setup, found: Option<String>) -> SeedFile {
        SeedFile {
            version: VERSION,
            seed: setup.seed,
            mutant: setup.mutant,
            found,
            profile: Some(setup.profile.clone()),
            faults: Some(setup.faults.clone()),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`SeedFileError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<SeedFile, SeedFileError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let syntax = |error: toml::de::Error| SeedFileError::Syntax(error.to_string());
        // The version first: fields of another version are not this one's to judge.
        let head: Head = toml::from_str(text).map_err(syntax)?;
        if head.version != VERSION {
            return Err(SeedFileError::Version(head.version));
        }
        let file: SeedFile = toml::from_str(text).map_err(syntax)?;
        file.check()?;
        Ok(file)
    }

    fn check(&self) -> Result<(), SeedFileError> {
        let invalid = |reason: &str| Err(SeedFileError::Invalid(reason.into()));
        let Some(profile) = &self.profile else {
            return Ok(());
        };
        if !(1..=9).contains(&profile.nodes) || profile.nodes == 2 {
            return invalid("a cluster has 1 or 3 to 9 nodes");
        }
        if profile.shards == 0 || profile.partitions == 0 || profile.keys == 0 {
            return invalid("there is at least one shard, index partition and key");
        }
        if profile.clients == 0 || profile.think_ms > 60_000 {
            return invalid("there is at least one client, and it thinks for a minute at most");
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`SeedFileError`] says what is wrong with it.
    pub fn read(path: &Path) -> Result<SeedFile, SeedFileError> {
        SeedFile::parse(&std::fs::read_to_string(path).map_err(SeedFileError::Io)?)
    }

    /// The file's text.
    ///
    /// # Errors
    /// If a number is too large for the format.
    pub fn text(&self) -> Result<String, SeedFileError> {
        toml::to_string(self).map_err(|error| SeedFileError::Syntax(error.to_string()))
    }

    /// The run.
    pub fn setup(&self) -> Setup {
        let profile = self.profile.clone();
        let profile = profile.unwrap_or_else(|| Profile::draw(self.seed));
        let faults = self.faults.clone();
        Setup {
            seed: self.seed,
            faults: faults.unwrap_or_else(|| fault::draw(self.seed, &profile)),
            profile,
            mutant: self.mutant,
            clients_only: false,
            recovers_ms: None,
            record: Record::Hash,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_survives_the_round_trip() {
        for seed in 0..50 {
            let setup = Setup::draw(seed);
            let text = SeedFile::of(&setup, None).text().expect("it fits");
            let read = SeedFile::parse(&text).expect("just written");
            assert_eq!(read.setup(), setup);
        }
    }

    #[test]
    fn what_is_left_out_is_drawn() {
        let file = SeedFile::parse(&format!("version = {VERSION}\nseed = 7")).expect("enough");
        assert_eq!(file.setup(), Setup::draw(7));
    }

    #[test]
    fn files_from_before_there_were_watchers_have_none() {
        let mut setup = Setup::draw(1);
        setup.profile.watchers = 7;
        let text = SeedFile::of(&setup, None).text().expect("it fits");
        let without = text.replace("watchers = 7\n", "");
        assert!(without.len() < text.len());
        let file = SeedFile::parse(&without).expect("it is left out");
        assert_eq!(file.setup().profile.watchers, 0);
    }

    #[test]
    fn other_versions_and_nonsense_are_refused() {
        let refused = |text: &str| SeedFile::parse(text).map(|_| ()).map_err(|e| e.to_string());
        let version = refused("version = 99\nseed = 1\nnew_field = 3");
        assert!(version.is_err_and(|error| error.contains("version 99")));
        assert!(refused("hello").is_err());
        let unknown = format!("version = {VERSION}\nseed = 1\nhello = 2");
        assert!(refused(&unknown).is_err());
        let mut setup = Setup::draw(1);
        setup.profile.nodes = 0;
        let text = SeedFile::of(&setup, None).text().expect("it fits");
        assert!(refused(&text).is_err_and(|error| error.contains("no sense")));
    }
}
