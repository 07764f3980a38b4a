//! Child processes with one endpoint each, driven by lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Longest wait for anything; far more than anything takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running `engram-link-peer`.
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Every line so far.
    pub(crate) seen: Vec<String>,
    /// Where it listens; empty for clients.
    pub(crate) address: String,
    /// Frames sent to it so far, by anybody.
    pub(crate) due: u64,
}

impl Process {
    /// Starts one with these arguments and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Process {
        let mut process = Process::launch(arguments);
        let first = process
            .await_line(|line| line.starts_with("listening ") || line.starts_with("started"));
        process.address = first
            .strip_prefix("listening ")
            .unwrap_or_default()
            .to_owned();
        process
    }

    /// Starts a member that listens on a free port.
    pub(crate) fn member(node: &str, member: u64, more: &[&str]) -> Process {
        let (node, member) = (format!("node={node}"), format!("member={member}"));
        let arguments: Vec<&str> = [node.as_str(), member.as_str()]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        Process::start(&arguments)
    }

    /// Starts one with these arguments.
    pub(crate) fn launch(arguments: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_engram-link-peer"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer binary starts");
        let input = child.stdin.take().expect("its input is piped");
        let output = child.stdout.take().expect("its output is piped");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Process {
            child,
            input,
            lines,
            seen: Vec::new(),
            address: String::new(),
            due: 0,
        }
    }

    /// Gives it a command.
    pub(crate) fn say(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the process reads its input");
    }

    /// The next line that fits.
    pub(crate) fn await_line(&mut self, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if fits(&line) {
                        return line;
                    }
                }
                Err(error) => panic!("no such line ({error}), but {:#?}", self.seen),
            }
        }
    }

    /// The next line that begins so.
    pub(crate) fn expect(&mut self, start: &str) -> String {
        self.await_line(|line| line.starts_with(start))
    }

    /// The next line with this text in it.
    pub(crate) fn expect_text(&mut self, text: &str) -> String {
        self.await_line(|line| line.contains(text))
    }

    /// Gives a command and returns its answer.
    pub(crate) fn ask(&mut self, command: &str, answer: &str) -> String {
        self.say(command);
        self.expect(answer)
    }

    /// Sends frames to a peer; all must be taken.
    pub(crate) fn send(&mut self, name: &str, count: u64, bytes: usize) {
        let answer = self.ask(&format!("send {name} {count} {bytes}"), "sent ");
        assert_eq!(answer, format!("sent {count} refused 0"));
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .expect("there is a kill command");
        assert!(status.success());
    }

    /// Kills it without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("it has memory");
        let number = line
            .split_whitespace()
            .nth(1)
            .expect("a number in kilobytes");
        number.parse::<u64>().expect("a number in kilobytes") * 1024
    }

    /// Asserts that nothing of this kind was ever said.
    pub(crate) fn never_said(&self, start: &str) {
        let said: Vec<&String> = self
            .seen
            .iter()
            .filter(|line| line.starts_with(start))
            .collect();
        assert!(said.is_empty(), "{said:?} in {:#?}", self.seen);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
