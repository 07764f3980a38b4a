//! Where logs go: to standard error, as the environment variable `RUST_LOG` says.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What an operator wants to know.
const DEFAULT: &str =
    "info,ractor=error,ractor_cluster=error,tantivy=warn,fjall=warn,lsm_tree=warn";

/// Begins to log as a node does: unless told otherwise, what an operator wants to know.
pub(super) fn begin(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // It would say on the same channel that the channel is closed, and panic.
        .log_internal_errors(false);
    // A second subscriber cannot be set; the first one stays.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
}

/// Begins to log only if `RUST_LOG` is set: the output of a client command is its result.
pub(super) fn begin_if_wanted() {
    if std::env::var_os("RUST_LOG").is_some() {
        begin(false);
    }
}
