//! `engram export` and `engram import`: a namespace as lines of JSON.

mod export;
mod import;
mod lines;

pub(super) use self::export::{ExportArguments, run as export};
pub(super) use self::import::{ImportArguments, run as import};
pub(super) use self::lines::{Line, Lines};
