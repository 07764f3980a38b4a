//! Exit codes.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed for another reason than those below |
//! | 2 | the command line, a file or a value is wrong |
//! | 3 | there is no such key or namespace |
//! | 4 | a condition did not hold |
//! | 5 | the cluster cannot be reached, too few replicas answer, or an embedder fails |
//! | 6 | the outcome is unknown: the write may have been applied |
//! | 7 | a check found damage |

use std::error::Error;
use std::fmt;
use std::io;

use engram_client::{ClientError, ConnectError};

/// The exit codes, as `--help` shows them.
pub(super) const HELP: &str = "\
Exit codes:
  0  done
  1  failed for another reason than those below
  2  the command line, a file or a value is wrong
  3  there is no such key or namespace
  4  a condition did not hold
  5  the cluster cannot be reached, too few replicas answer, or an embedder fails
  6  the outcome is unknown: the write may have been applied
  7  a check found damage";

/// A command that failed: what to print, and how to exit.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What to print; nothing if empty.
    pub message: String,
}

impl Failure {
    fn new(code: u8, message: impl fmt::Display) -> Failure {
        let message = message.to_string();
        Failure { code, message }
    }

    /// For reasons that have no code of their own.
    pub fn other(message: impl fmt::Display) -> Failure {
        Failure::new(1, message)
    }

    /// Something the user gave is wrong.
    pub fn usage(message: impl fmt::Display) -> Failure {
        Failure::new(2, message)
    }

    /// An error without a code of its own, with everything that led to it.
    pub(super) fn caused(error: &dyn Error) -> Failure {
        Failure::other(with_causes(error))
    }

    /// There is no such key.
    pub(super) fn no_such_key(key: &[u8]) -> Failure {
        Failure::new(3, format_args!("no such key: {}", key.escape_ascii()))
    }

    /// There is no such namespace.
    pub(super) fn no_such_namespace(name: &str) -> Failure {
        Failure::new(
            3,
            format_args!("no such namespace: {name} (a first put or `namespace create` makes it)"),
        )
    }

    /// A check found damage; what it found is printed already.
    pub(super) fn damage(message: impl fmt::Display) -> Failure {
        Failure::new(7, message)
    }

    /// Standard output cannot be written. Whoever read it may have seen enough: a closed pipe is
    /// a quiet success.
    pub(super) fn output(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::new(0, "")
        } else {
            Failure::other(format_args!("cannot write to standard output: {error}"))
        }
    }
}

/// An error and its causes, each of which adds to the one before.
pub(super) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        // Some errors repeat their cause in their own words.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match error {
            ClientError::Connect(error) => return error.into(),
            ClientError::TooLarge { .. }
            | ClientError::Invalid(_)
            | ClientError::Expression(_)
            | ClientError::Value(_) => 2,
            ClientError::Conflict { .. } => 4,
            ClientError::NotApplied { .. }
            | ClientError::Embedder { .. }
            | ClientError::Overloaded { .. }
            | ClientError::Unavailable { .. } => 5,
            ClientError::Unknown { .. } => 6,
            ClientError::Unauthorized(_) | ClientError::Closed => 1,
        };
        Failure::new(code, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Failure {
        let code = match error {
            ConnectError::Invalid(_) => 2,
            ConnectError::NoLink { .. } | ConnectError::NotServing { .. } => 5,
            _ => 1,
        };
        if error.is_wrong_cookie() {
            let hint = "give the cluster's own with --cookie-file FILE or ENGRAM_COOKIE";
            return Failure::new(code, format_args!("{error} ({hint})"));
        }
        Failure::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_help() {
        let cases = [
            Failure::other(""),
            Failure::usage(""),
            Failure::no_such_key(b"k"),
            ClientError::Conflict { current: None }.into(),
            ClientError::NotApplied {
                reason: String::new(),
            }
            .into(),
            ClientError::Unknown {
                write_id: Default::default(),
                reason: String::new(),
            }
            .into(),
            Failure::damage(""),
        ];
        for (expected, failure) in (1..).zip(&cases) {
            assert_eq!(failure.code, expected);
            assert!(HELP.contains(&format!("\n  {expected}  ")));
        }
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner;
        #[derive(Debug, thiserror::Error)]
        #[error("repeats: {0}")]
        struct Repeats(#[source] Inner);
        assert_eq!(with_causes(&Outer(Inner)), "outer: inner");
        assert_eq!(with_causes(&Repeats(Inner)), "repeats: inner");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let failure = Failure::output(io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.code, failure.message.as_str()), (0, ""));
        assert_eq!(Failure::output(io::ErrorKind::StorageFull.into()).code, 1);
    }
}
