//! Who waits for whom, in words.

use std::fmt::Write;

use super::state::State;

/// The state of every node and link of a world that does not get on.
pub(super) fn who_waits(state: &State) -> String {
    let mut text = String::new();
    for (number, node) in state.nodes.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "  node {number} ({}): {}, boot {}, log at {}, {} appends and {} reads wait",
            node.member,
            if node.up { "up" } else { "down" },
            node.boot,
            node.lsn.0,
            node.appends.len(),
            node.reads.len(),
        );
        if let Some(damage) = node.damage {
            let _ = write!(text, ", disk {damage:?}");
        }
        if let Some(process) = &node.process {
            let directory = &process.directory;
            let waits = directory.waiting_for();
            let _ = write!(text, ", {}", waits.as_deref().unwrap_or("is a member"));
            for (shard, report) in directory.shard_reports() {
                let status = &report.status;
                if status.state != "serving" || directory.shard(shard).is_none() {
                    let restarts = status.restarts;
                    let _ = write!(
                        text,
                        "; shard {shard} is {}, {restarts} restarts",
                        status.state
                    );
                }
                if status.unlearned > 0 || status.behind > 0 {
                    let (unlearned, behind) = (status.unlearned, status.behind);
                    let _ = write!(
                        text,
                        "; shard {shard}: {unlearned} unlearned, {behind} behind"
                    );
                }
            }
        }
        text.push('\n');
    }
    for ((low, high), link) in &state.links {
        let _ = writeln!(text, "  link {low}-{high}: {link:?}");
    }
    let blocked: Vec<_> = state
        .blocked
        .iter()
        .filter(|(_, faults)| **faults > 0)
        .collect();
    let _ = write!(
        text,
        "  blocked: {blocked:?}; {} events are due",
        state.queued()
    );
    text
}
