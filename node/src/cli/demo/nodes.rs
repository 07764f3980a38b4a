//! The demo's nodes: child processes of this binary.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::exit::Failure;

/// Name of the demo's cluster.
pub(super) const CLUSTER: &str = "demo";
/// How long a node may take until it listens.
const LISTEN_WITHIN: Duration = Duration::from_secs(20);
/// What a node prints when it listens.
const LISTENING: &str = "listening on ";
/// Bytes of a log that are shown when a node does not start.
const LOG_BYTES_SHOWN: usize = 2000;

/// All nodes. What runs is killed when this is dropped, unless it is to be kept.
pub(super) struct Nodes {
    directory: PathBuf,
    program: PathBuf,
    keep: bool,
    config: Option<PathBuf>,
    nodes: Vec<Node>,
}

/// One node, running or not.
pub(super) struct Node {
    /// Its name.
    pub(super) name: String,
    /// Where it listens; fixed after the first start.
    pub(super) address: String,
    child: Option<Child>,
}

impl Node {
    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Nodes {
    /// Starts `count` nodes that form a cluster, with their data below `directory`.
    ///
    /// # Errors
    /// [`Failure`] with the end of the log of the node that does not start.
    pub(super) async fn start(
        directory: &Path,
        count: usize,
        keep: bool,
        config: Option<PathBuf>,
    ) -> Result<Nodes, Failure> {
        let mut nodes = Nodes {
            directory: directory.into(),
            program: std::env::current_exe().map_err(Failure::other)?,
            keep,
            config,
            nodes: Vec::new(),
        };
        for number in 1..=count {
            let node = Node {
                name: format!("n{number}"),
                // The operating system chooses a free port. The other nodes are told which.
                address: "127.0.0.1:0".into(),
                child: None,
            };
            nodes.nodes.push(node);
            nodes.run(number - 1, count).await?;
        }
        Ok(nodes)
    }

    /// Starts a node that does not run, and waits until it listens.
    async fn run(&mut self, index: usize, expected: usize) -> Result<(), Failure> {
        let others: Vec<String> = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, node)| node.address.clone())
            .collect();
        let (directory, program, keep) = (&self.directory, &self.program, self.keep);
        let Some(node) = self.nodes.get_mut(index) else {
            return Err(Failure::other("there is no such node"));
        };
        let log = directory.join(format!("{}.log", node.name));
        let unwritable = |error| Failure::other(format_args!("{}: {error}", log.display()));
        let errors: File = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(unwritable)?;
        let mut command = Command::new(program);
        command
            .args(["start", "--cluster", CLUSTER, "--node-id", &node.name])
            .args(["--listen", &node.address])
            .arg("--data")
            .arg(directory.join(&node.name))
            .args(["--bootstrap-expect", &expected.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors);
        if let Some(config) = &self.config {
            command.arg("--config").arg(config);
        }
        if !others.is_empty() {
            command.args(["--join", &others.join(",")]);
        }
        // Settings meant for other commands must not reach the demo's nodes.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ENGRAM_") {
                command.env_remove(name);
            }
        }
        if keep {
            // An interrupt at the terminal is for whatever runs there then.
            command.process_group(0);
        }
        let mut child = command
            .spawn()
            .map_err(|error| Failure::other(format_args!("cannot start a node: {error}")))?;
        let printed = child.stdout.take();
        node.child = Some(child);
        match listening(printed).await {
            Some(address) => {
                node.address = address;
                Ok(())
            }
            None => Err(Failure::other(format_args!(
                "node {} does not start; its log ends with:\n{}",
                node.name,
                end_of(&log)
            ))),
        }
    }

    /// Starts a node again after [`Nodes::kill`].
    ///
    /// # Errors
    /// [`Failure`] with the end of its log if it does not start.
    pub(super) async fn restart(&mut self, index: usize) -> Result<(), Failure> {
        self.run(index, self.nodes.len()).await
    }

    /// Kills a node with SIGKILL. It has no chance to write anything any more.
    pub(super) fn kill(&mut self, index: usize) -> Result<(), Failure> {
        if let Some(mut child) = self.nodes.get_mut(index).and_then(|node| node.child.take()) {
            child.kill().map_err(Failure::other)?;
            child.wait().map_err(Failure::other)?;
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// Where they listen.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.clone()).collect()
    }

    /// The processes that run.
    pub(super) fn pids(&self) -> Vec<String> {
        self.nodes
            .iter()
            .filter_map(Node::pid)
            .map(|pid| pid.to_string())
            .collect()
    }

    /// What programs are told about them.
    pub(super) fn document(&self) -> Value {
        let nodes: Vec<Value> = self
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "name": node.name,
                    "address": node.address,
                    "pid": node.pid().filter(|_| self.keep),
                })
            })
            .collect();
        json!({
            "name": CLUSTER,
            "running": self.keep,
            "directory": self.keep.then(|| self.directory.display().to_string()),
            "nodes": nodes,
        })
    }

    /// From now on they are not killed when this is dropped.
    pub(super) fn let_go(mut self) {
        self.nodes.clear();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child {
                // If it has ended already, that is as good.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// The address that a node prints when it listens; none if it ends before, or takes too long.
async fn listening(printed: Option<ChildStdout>) -> Option<String> {
    let printed = printed?;
    // The thread ends when the line is there, or the process is killed.
    let line = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(printed).read_line(&mut line).map(|_| line)
    });
    let line = tokio::time::timeout(LISTEN_WITHIN, line)
        .await
        .ok()?
        .ok()?
        .ok()?;
    line.trim().strip_prefix(LISTENING).map(str::to_owned)
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let from = text.len().saturating_sub(LOG_BYTES_SHOWN);
    String::from_utf8_lossy(text.get(from..).unwrap_or_default())
        .trim()
        .to_owned()
}
