//! Exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed for another reason than those below |
//! | 2 | the command line, a file or a value is wrong |
//! | 3 | there is no such key |
//! | 4 | a condition did not hold |
//! | 5 | the cluster cannot be reached, or too few replicas answer |
//! | 6 | the outcome is unknown: the write may have been applied |

use std::fmt;

/// A command that failed: what to print, and how to exit.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What to print; nothing if empty.
    pub message: String,
}

impl Failure {
    /// For reasons that have no code of their own.
    pub fn other(message: impl fmt::Display) -> Failure {
        Failure {
            code: 1,
            message: message.to_string(),
        }
    }

    /// Something the user gave is wrong.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure {
            code: 2,
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
