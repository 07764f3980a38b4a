//! One node process.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::waiting;

/// How long a node may take to listen, on a machine that is busy.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// How long a message may take to come to a log.
const LOG_DEADLINE: Duration = Duration::from_secs(30);
/// How much of a log is shown.
const LOG_TAIL_LINES: usize = 150;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node.
    pub name: String,
    /// Its port on loopback.
    pub port: u16,
    /// Ports of the nodes to look for.
    pub join: Vec<u16>,
    /// Its data directory.
    pub data: PathBuf,
    /// How many nodes form a new cluster.
    pub expect: Option<usize>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
}

impl Settings {
    /// The arguments of `engram` that start this node.
    pub fn command_line(&self) -> Vec<String> {
        let join: Vec<String> = self.join.iter().map(|port| address(*port)).collect();
        let mut line: Vec<String> = ["start", "--cluster", &self.cluster].map(Into::into).into();
        line.extend(["--node-id".into(), self.name.clone()]);
        line.extend(["--listen".into(), address(self.port)]);
        line.extend(["--data".into(), self.data.display().to_string()]);
        if !join.is_empty() {
            line.extend(["--join".into(), join.join(",")]);
        }
        if let Some(expect) = self.expect {
            line.extend(["--bootstrap-expect".into(), expect.to_string()]);
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}

/// The address of a port on loopback.
pub fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// A node process that may run, or be down. It is killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// What it is started with, from the next start on.
    pub settings: Settings,
    binary: String,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Hooks go here; the node ends when it is closed.
    input: ChildStdin,
}

impl Node {
    /// A node that is down. Its log is kept in `log`, over all its lives.
    pub fn new(binary: &str, settings: Settings, log: PathBuf) -> Node {
        Node {
            settings,
            binary: binary.into(),
            log,
            running: None,
        }
    }

    /// Starts the process, and waits until it listens.
    ///
    /// # Errors
    /// If it does not come to listen: names the end of its log.
    pub async fn start(&mut self) -> Result<()> {
        if self.running.is_some() {
            bail!("{} runs already", self.settings.name);
        }
        let log = self.open_log()?;
        let mut child = Command::new(&self.binary)
            .args(self.settings.command_line())
            .env_remove("ENGRAM_COOKIE")
            .envs(self.settings.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.binary))?;
        let input = child.stdin.take().context("standard input is piped")?;
        let output = child.stdout.take().context("standard output is piped")?;
        let mut lines = BufReader::new(output).lines();
        let listening = tokio::time::timeout(START_DEADLINE, lines.next_line()).await;
        let expected = format!("listening on {}", address(self.settings.port));
        match listening {
            Ok(Ok(Some(line))) if line == expected => {
                self.running = Some(Running { child, input });
                Ok(())
            }
            other => bail!(
                "{} does not listen: {other:?}\n{}",
                self.settings.name,
                self.log_tail()
            ),
        }
    }

    fn open_log(&self) -> Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("opening {}", self.log.display()))
    }

    /// Whether a process was started and not ended by a test.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Ends the process at once (SIGKILL).
    ///
    /// # Errors
    /// If it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let mut running = self.running.take().context("it does not run")?;
        running.child.kill().await.context("killing a node")
    }

    /// Sends SIGKILL without waiting for the end, so that several can be hit at once.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_at_once(&mut self) -> Result<()> {
        let running = self.running.as_mut().context("it does not run")?;
        running.child.start_kill().context("killing a node")
    }

    /// Asks the process to end (SIGTERM), and waits for it.
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal("TERM").await?;
        self.ended().await
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// If it does not run, or does not end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let mut running = self.running.take().context("it does not run")?;
        match tokio::time::timeout(STOP_DEADLINE, running.child.wait()).await {
            Ok(status) => status.context("waiting for a node"),
            Err(_) => bail!(
                "{} did not end within {STOP_DEADLINE:?}\n{}",
                self.settings.name,
                self.log_tail()
            ),
        }
    }

    /// Stops the process where it is (SIGSTOP), and waits until it stands still.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn pause(&mut self) -> Result<()> {
        self.signal("STOP").await?;
        let pid = self.pid()?;
        waiting::until("a stopped node", STOP_DEADLINE, || async move {
            let state = status_field(pid, "State:").map_err(|error| error.to_string())?;
            if state.starts_with('T') {
                return Ok(());
            }
            Err(format!("its state is {state}"))
        })
        .await
    }

    /// Lets a stopped process go on (SIGCONT).
    ///
    /// # Errors
    /// If it does not run.
    pub async fn resume(&mut self) -> Result<()> {
        self.signal("CONT").await
    }

    /// The standard library knows SIGKILL only, and calling the operating system directly is
    /// unsafe code: so the shell's own `kill` sends the others. The process is this one's child
    /// and not yet waited for, hence its id cannot belong to anybody else.
    async fn signal(&mut self, signal: &str) -> Result<()> {
        let script = format!("kill -{signal} {}", self.pid()?);
        let status = Command::new("sh").args(["-c", &script]).status().await?;
        if !status.success() {
            bail!("{script} failed: {status}");
        }
        Ok(())
    }

    fn pid(&self) -> Result<u32> {
        let running = self.running.as_ref().context("it does not run")?;
        running.child.id().context("it has ended")
    }

    /// Sends a line to the fault hooks of `engram-test-node`.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn hook(&mut self, line: &str) -> Result<()> {
        let running = self.running.as_mut().context("it does not run")?;
        running
            .input
            .write_all(format!("{line}\n").as_bytes())
            .await?;
        running.input.flush().await.context("sending to a hook")
    }

    /// Memory that the process holds, in bytes.
    ///
    /// # Errors
    /// If it does not run.
    pub fn resident_bytes(&self) -> Result<u64> {
        let field = status_field(self.pid()?, "VmRSS:")?;
        let kib = field.split_whitespace().next().context("no figure")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// All that the node ever logged.
    pub fn log(&self) -> String {
        read_log(&self.log)
    }

    /// Waits until the log has a line with all of these words.
    ///
    /// # Errors
    /// If no such line comes.
    pub async fn until_logged(&self, words: &[&str]) -> Result<()> {
        let what = format!("{words:?} in the log of {}", self.settings.name);
        waiting::until(&what, LOG_DEADLINE, || async {
            let log = self.log();
            let mut lines = log.lines();
            let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
            found.then_some(()).ok_or_else(|| self.log_tail())
        })
        .await
    }

    /// The end of the log.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(LOG_TAIL_LINES);
        let tail = lines.into_iter().skip(skipped);
        tail.map(|line| format!("  {line}\n")).collect()
    }
}

fn read_log(path: &Path) -> String {
    // A log may end within a character where the process was killed.
    let bytes = std::fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status_field(pid: u32, name: &str) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.with_context(|| format!("no {name}"))?.trim().into())
}
