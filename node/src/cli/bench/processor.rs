//! Processor time of processes, as Linux counts it under `/proc`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::cli::exit::Failure;

/// Length of the ticks in `/proc/PID/stat`: Linux shows user space 100 of them a second on every
/// architecture that Rust's standard library supports.
const TICK: Duration = Duration::from_millis(10);

/// Time that processes have spent on processors, in user and system mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ProcessorTime(Duration);

impl ProcessorTime {
    /// Of several processes together.
    ///
    /// # Errors
    /// [`Failure`] names the process that cannot be measured.
    pub(super) fn of(pids: &[u32]) -> Result<ProcessorTime, Failure> {
        let mut sum = Duration::ZERO;
        for pid in pids {
            let time = read(&pid.to_string()).ok_or_else(|| {
                Failure::usage(format_args!(
                    "cannot read the processor time of process {pid}"
                ))
            })?;
            sum += time;
        }
        Ok(ProcessorTime(sum))
    }

    /// Of this process, where it can be measured.
    pub(super) fn of_self() -> Option<ProcessorTime> {
        read("self").map(ProcessorTime)
    }

    /// What was added since an earlier measurement.
    pub(super) fn since(self, earlier: ProcessorTime) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

fn read(process: &str) -> Option<Duration> {
    let text = fs::read_to_string(Path::new("/proc").join(process).join("stat")).ok()?;
    parse(&text)
}

/// The process's name stands in brackets and may hold anything, brackets and blanks included; the
/// 12th and 13th fields after it are the ticks in user and system mode.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(system)?)
}

/// The processes on this machine that were started as nodes of this cluster.
///
/// # Errors
/// [`Failure`] if there are none.
pub(super) fn nodes_of(cluster: &str) -> Result<Vec<u32>, Failure> {
    let processes = fs::read_dir("/proc")
        .map_err(|error| Failure::usage(format_args!("cannot list processes: {error}")))?;
    let nodes: Vec<u32> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            is_node_of(&line, cluster)
        })
        .collect();
    if nodes.is_empty() {
        return Err(Failure::usage(format_args!(
            "no node of cluster {cluster} was started on this machine with --cluster {cluster}; \
             give the processes with --pids"
        )));
    }
    Ok(nodes)
}

/// Whether a command line, its arguments ended by zero bytes, is `engram start --cluster NAME`.
fn is_node_of(line: &[u8], cluster: &str) -> bool {
    let text = String::from_utf8_lossy(line);
    let arguments: Vec<&str> = text.split('\0').collect();
    let is_engram = arguments
        .first()
        .and_then(|program| Path::new(program).file_name())
        .is_some_and(|name| name.to_string_lossy().starts_with("engram"));
    let is_start = arguments.get(1) == Some(&"start");
    let joined = format!("--cluster={cluster}");
    let is_cluster = arguments.contains(&joined.as_str())
        || arguments
            .windows(2)
            .any(|pair| pair == ["--cluster", cluster]);
    is_engram && is_start && is_cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
        for bad in ["", "7 (a) S 1", "7 (a) S 1 2 3 4 5 6 7 8 9 10 x y"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_has_used_some_time() {
        let before = ProcessorTime::of(&[std::process::id()]).expect("it runs");
        let after = ProcessorTime::of_self().expect("it runs");
        assert!(after.since(before) < Duration::from_secs(3600));
        assert_eq!(
            ProcessorTime::of(&[u32::MAX])
                .expect_err("no such process")
                .code,
            2
        );
    }

    #[test]
    fn only_nodes_of_the_cluster_are_found() {
        let cases = [
            ("/x/engram\0start\0--cluster\0demo\0--node-id\0a\0", true),
            ("engram\0start\0--cluster=demo\0", true),
            ("engram\0start\0--cluster\0other\0--node-id\0demo\0", false),
            ("engram\0get\0--cluster\0demo\0k\0", false),
            ("/x/etcd\0start\0--cluster\0demo\0", false),
            ("", false),
        ];
        for (line, expected) in cases {
            assert_eq!(is_node_of(line.as_bytes(), "demo"), expected, "{line:?}");
        }
    }
}
