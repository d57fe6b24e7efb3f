//! What was found about each claim, kept in `docs/verdicts.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::claim::{Finding, Verdict};
use crate::lab::Outcome;

const FILE: &str = "docs/verdicts.json";

/// A finding, and on which version and machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub finding: Finding,
    pub measured: String,
}

/// All records by the number of their claim.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Records(BTreeMap<u32, Record>);

impl Record {
    pub fn new(finding: Finding) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let threads = rayon::current_num_threads();
        Record {
            finding,
            measured: format!("version {version}, {threads} threads, {}", quadrivium::instruction_set()),
        }
    }
}

impl Records {
    /// Those in the repository at `root`; none where there is no file yet.
    pub fn load(root: &Path) -> Outcome<Self> {
        match std::fs::read_to_string(root.join(FILE)) {
            Ok(text) => Ok(serde_json::from_str(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    pub fn save(&self, root: &Path) -> Outcome<()> {
        Ok(std::fs::write(root.join(FILE), format!("{}\n", serde_json::to_string_pretty(self)?))?)
    }

    pub fn get(&self, number: u32) -> Option<&Record> {
        self.0.get(&number)
    }

    pub fn verdict(&self, number: u32) -> Option<Verdict> {
        self.get(number).map(|record| record.finding.verdict())
    }

    pub fn insert(&mut self, number: u32, record: Record) {
        self.0.insert(number, record);
    }
}
