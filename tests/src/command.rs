//! Commands that are expected to end by themselves.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub output: String,
    /// What it logged, and its complaints.
    pub complaints: String,
}

impl Ended {
    /// Checks that the command failed in an orderly way, and named every one of `words`.
    ///
    /// # Errors
    /// If it did not, with all that it said.
    pub fn refused_with(&self, words: &[&str]) -> Result<()> {
        if matches!(self.code, Some(0) | None) {
            bail!("it ended with {:?}: {self:?}", self.code);
        }
        if self.complaints.contains("panicked") {
            bail!("it panicked: {}", self.complaints);
        }
        for word in words {
            if !self.complaints.contains(word) {
                bail!("{word:?} is not in what it said: {}", self.complaints);
            }
        }
        Ok(())
    }
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be run, or does not end in time. It is killed then.
pub async fn run(binary: &str, arguments: &[String], deadline: Duration) -> Result<Ended> {
    let child = Command::new(binary)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("running {binary}"))?;
    // `wait_with_output` closes standard input, which ends a node: so the pipe is kept open here.
    let mut child = child;
    let _input = child.stdin.take();
    let Ok(ended) = tokio::time::timeout(deadline, child.wait_with_output()).await else {
        bail!("{binary} {arguments:?} did not end within {deadline:?}");
    };
    let ended = ended?;
    Ok(Ended {
        code: ended.status.code(),
        output: String::from_utf8_lossy(&ended.stdout).into_owned(),
        complaints: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, deadline: Duration) -> Result<Ended> {
        run("sh", &["-c".into(), script.into()], deadline).await
    }

    #[tokio::test]
    async fn refusals_hangs_panics_and_successes_are_told_apart() {
        let long = Duration::from_secs(30);
        let refused = shell("echo the limit is 3 >&2; exit 2", long).await;
        let refused = refused.expect("it ends");
        refused.refused_with(&["limit", "3"]).expect("it named both");
        assert!(refused.refused_with(&["4"]).is_err());
        for script in ["exit 0", "echo panicked >&2; exit 1", "kill -9 $$"] {
            let ended = shell(script, long).await.expect("it ends");
            assert!(ended.refused_with(&[]).is_err(), "{script}");
        }
        assert!(shell("exec sleep 60", Duration::from_millis(50)).await.is_err());
    }
}
