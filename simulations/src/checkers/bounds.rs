//! Queues stay within the bounds that `limits.rs` sets.

use std::collections::BTreeMap;

use engram_core::limits::{
    COORDINATOR_OPERATIONS_MAX, REPLICATOR_OPERATIONS_MAX, STORE_APPENDS_MAX, STORE_READS_MAX,
};

use super::{Property, Violation};

/// The longest that each queue of each node ever was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    longest: BTreeMap<(&'static str, usize), usize>,
}

impl Bounds {
    /// So many appends wait in a node's store.
    pub fn appends(&mut self, node: usize, waiting: usize) {
        self.saw("appends", node, waiting);
    }

    /// So many reads wait in a node's store.
    pub fn reads(&mut self, node: usize, waiting: usize) {
        self.saw("reads", node, waiting);
    }

    /// So many operations are in flight in one of a node's proposers.
    pub fn proposer(&mut self, node: usize, in_flight: usize) {
        self.saw("proposer", node, in_flight);
    }

    /// So many operations and questions are open in a node's coordinator.
    pub fn coordinator(&mut self, node: usize, open: usize) {
        self.saw("coordinator", node, open);
    }

    fn saw(&mut self, queue: &'static str, node: usize, length: usize) {
        let longest = self.longest.entry((queue, node)).or_default();
        *longest = length.max(*longest);
    }

    /// The longest that a queue ever was on any node.
    pub fn longest(&self, queue: &str) -> usize {
        let lengths = self.longest.iter().filter(|((name, _), _)| *name == queue);
        lengths.map(|(_, length)| *length).max().unwrap_or(0)
    }

    /// Checks all of them.
    ///
    /// # Errors
    /// If a queue was longer than its bound.
    pub fn check(&self) -> Result<(), Violation> {
        for ((queue, node), length) in &self.longest {
            let most = match *queue {
                "appends" => STORE_APPENDS_MAX,
                "reads" => STORE_READS_MAX,
                "proposer" => REPLICATOR_OPERATIONS_MAX,
                _ => COORDINATOR_OPERATIONS_MAX,
            };
            if *length > most {
                let story = format!("{length} {queue} waited on node {node}, at most {most} may");
                return Err(Violation::new(Property::Bounded, story));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_beyond_its_bound_is_caught_though_it_shrank_again() {
        let mut bounds = Bounds::default();
        bounds.appends(1, STORE_APPENDS_MAX);
        bounds.reads(1, 3);
        assert_eq!(bounds.check(), Ok(()));
        assert_eq!(bounds.longest("reads"), 3);
        bounds.proposer(2, REPLICATOR_OPERATIONS_MAX + 1);
        bounds.proposer(2, 0);
        let error = bounds.check().map_err(|violation| violation.property);
        assert_eq!(error, Err(Property::Bounded));
    }
}
