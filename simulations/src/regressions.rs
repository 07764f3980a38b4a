//! The bugs that simulation has found, and what runs again because of them.

use serde::Deserialize;

use crate::campaign;
use crate::checkers::Violation;
use crate::cluster::scenario::Scenario;
use crate::cluster::seed_file::SeedFile;
use crate::cluster::{self, Setup};
use crate::mutant::Mutant;

/// A bug that was found.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regression {
    /// What it is called.
    pub name: String,
    /// Where it was found.
    pub found: String,
    /// What it was, and what was done about it.
    pub story: String,
    /// The same bug, planted.
    pub mutant: Option<Mutant>,
    /// Seeds of level 1 that run again.
    #[serde(default)]
    pub seeds_1: Vec<u64>,
    /// Seeds of level 2 that run again.
    #[serde(default)]
    pub seeds_2: Vec<u64>,
    /// Seed files that run again, as text.
    #[serde(default)]
    pub files: Vec<String>,
    /// Scenarios that run again.
    #[serde(default)]
    pub scenarios: Vec<String>,
}

/// Something that runs again.
#[derive(Clone, PartialEq, Debug)]
pub enum Again {
    /// A seed of the state machines alone.
    Pure(u64),
    /// A cluster, and what it is called.
    Cluster(String, Box<Setup>),
}

impl Again {
    /// What it is called.
    pub fn name(&self) -> String {
        match self {
            Again::Pure(seed) => format!("level 1, seed {seed}"),
            Again::Cluster(name, _) => name.clone(),
        }
    }

    /// Runs it.
    pub fn run(&self) -> Vec<Violation> {
        match self {
            Again::Pure(seed) => campaign::run_seed(*seed, false).violations,
            Again::Cluster(_, setup) => cluster::run(setup).violations,
        }
    }
}

/// The files that entries name.
const FILES: [(&str, &str); 0] = [];

impl Regression {
    /// All of them.
    ///
    /// # Errors
    /// If the list that comes with this program cannot be read.
    pub fn all() -> Result<Vec<Regression>, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct List {
            regression: Vec<Regression>,
        }
        let text = include_str!("../regressions.toml");
        let list: List = toml::from_str(text).map_err(|error| error.to_string())?;
        Ok(list.regression)
    }

    /// What runs again because of it.
    ///
    /// # Errors
    /// If it names a scenario or a file that there is not, or a file of another version.
    pub fn again(&self) -> Result<Vec<Again>, String> {
        let mut again: Vec<Again> = self.seeds_1.iter().map(|seed| Again::Pure(*seed)).collect();
        for seed in &self.seeds_2 {
            let name = format!("level 2, seed {seed}");
            again.push(Again::Cluster(name, Box::new(Setup::draw(*seed))));
        }
        for name in &self.files {
            let file = FILES.iter().find(|(known, _)| known == name);
            let (_, text) = file.ok_or_else(|| format!("there is no seed file {name}"))?;
            let file = SeedFile::parse(text).map_err(|error| format!("{name}: {error}"))?;
            again.push(Again::Cluster(name.clone(), Box::new(file.setup())));
        }
        for name in &self.scenarios {
            let scenario = Scenario::named(name);
            let scenario = scenario.ok_or_else(|| format!("there is no scenario {name}"))?;
            let setup = Box::new(scenario.setup(1));
            again.push(Again::Cluster(format!("scenario {name}"), setup));
        }
        Ok(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_story_and_something_that_runs() {
        for regression in Regression::all().expect("the list is fine") {
            assert!(regression.story.len() > 50, "{}", regression.name);
            let again = regression.again().expect("what it names exists");
            assert!(!again.is_empty(), "{}", regression.name);
        }
    }
}
