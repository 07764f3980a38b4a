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

#[cfg(test)]
mod tests {
    use super::super::state::World;
    use super::super::{Outcome, Setup, drive, profile::Profile};
    use crate::checkers::Property;

    fn ends(prepare: impl FnOnce(&mut super::State)) -> Outcome {
        let setup = Setup::new(1, Profile::calm(), Vec::new());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O needs nothing from the system");
        runtime.block_on(async {
            let world = World::new(&setup);
            world.with(prepare);
            drive(setup.seed, world).await
        })
    }

    #[test]
    fn a_world_that_cannot_get_on_says_who_waits_for_whom() {
        let outcome = ends(|state| {
            for from in 0..3 {
                for to in (0..3).filter(|to| *to != from) {
                    state.blocked.insert((from, to), 1);
                }
            }
        });
        let violation = outcome.violations.first().expect("nothing can form");
        assert_eq!(violation.property, Property::Progress);
        for part in ["does not form", "node 0", "node 2", "blocked: [((0, 1), 1)"] {
            assert!(
                violation.story.contains(part),
                "{part}: {}",
                violation.story
            );
        }
    }

    #[test]
    fn a_world_in_which_time_stands_still_ends() {
        let outcome = ends(|state| state.spin());
        let story = outcome.violations.first().map(|found| found.story.as_str());
        assert!(story.is_some_and(|story| story.contains("time stands still")));
    }
}
