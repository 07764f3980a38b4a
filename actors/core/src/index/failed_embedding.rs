//! Entries that are not found by meaning, as people see them.

use std::fmt;

use bincode::{Decode, Encode};

use crate::types::{Ballot, Key};

/// When a text that could not be embedded is tried again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
pub enum EmbedOutlook {
    /// Soon: it waits for its next attempt.
    Soon,
    /// Later, or when the model works again: it failed often, or the model fails altogether.
    Later,
    /// When the node is started with the model: it does not have it now.
    NextStart,
    /// Never: the model does not take this text.
    Never,
}

impl fmt::Display for EmbedOutlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EmbedOutlook::Soon => "soon",
            EmbedOutlook::Later => "later",
            EmbedOutlook::NextStart => "next start",
            EmbedOutlook::Never => "never",
        })
    }
}

/// A version of an entry that has no vector on one node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct FailedEmbedding {
    /// The key, in the namespace that was asked for.
    pub key: Key,
    /// The version.
    pub version: Ballot,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong last.
    pub reason: String,
    /// When it is tried again.
    pub outlook: EmbedOutlook,
}
