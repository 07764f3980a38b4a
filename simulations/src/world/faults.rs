//! Faults: when they come, whom they meet, and when they end.

use std::collections::BTreeSet;

use engram_core::storage::Keyspace;

use super::{Happening, World};

/// The node whose disk rots.
const ROTTING: usize = 0;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// A node, seldom all, loses power and comes back later.
    Crash,
    /// A node's actors are replaced.
    Respawn,
    /// Links carry nothing for a while, one way or both.
    Partition,
    /// A node stands still for a while, then goes on as if nothing had been.
    Pause,
    /// A node's clock is set.
    Jump,
    /// A byte of a record changes on a disk, always the same one: two damaged copies of one key are
    /// a lost majority.
    Rot,
}

impl World {
    pub(super) fn begin_faults(&mut self) {
        for fault in [
            Fault::Crash,
            Fault::Respawn,
            Fault::Partition,
            Fault::Pause,
            Fault::Jump,
            Fault::Rot,
        ] {
            self.schedule(fault);
        }
    }

    fn schedule(&mut self, fault: Fault) {
        let profile = &self.profile;
        let every_ms = match fault {
            Fault::Crash => profile.crash_every_ms,
            Fault::Respawn => profile.respawn_every_ms,
            Fault::Partition => profile.partition_every_ms,
            Fault::Pause => profile.pause_every_ms,
            Fault::Jump => profile.jump_every_ms,
            Fault::Rot if profile.replicas < 3 => 0,
            Fault::Rot => profile.rot_every_ms,
        };
        if every_ms > 0 {
            let delay_us = self.random.below(2 * every_ms * 1000);
            self.after(delay_us, Happening::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.healed {
            return;
        }
        let node = self.any_node();
        match fault {
            Fault::Crash if self.random.chance(100) => {
                for node in 0..self.nodes.len() {
                    self.cut_power(node);
                }
            }
            Fault::Crash => self.cut_power(node),
            Fault::Respawn if self.node(node).up => {
                self.counters.respawns += 1;
                self.respawn(node);
            }
            Fault::Respawn => {}
            Fault::Partition => self.partition(node),
            Fault::Pause => self.pause(node),
            Fault::Rot => self.rot(),
            Fault::Jump => {
                self.set_skew(node);
                let until_us = self.now_us + 4_000 * (self.profile.skew_ms + 1_000);
                self.excuse(node, until_us);
                let ahead_ms = self.node(node).ahead_ms;
                self.trace
                    .note(self.now_us, format_args!("clock of {node} +{ahead_ms}"));
            }
        }
        self.schedule(fault);
    }

    fn cut_power(&mut self, node: usize) {
        if !self.node(node).up {
            return;
        }
        self.crash(node);
        // Some come back at once, some only when all faults end.
        let longest_us = match self.random.below(10) {
            0..3 => 20_000,
            3..9 => 4_000_000,
            _ => return,
        };
        let down_us = 1_000 + self.random.below(longest_us);
        self.after(down_us, Happening::Restart { node });
    }

    fn partition(&mut self, node: usize) {
        let kind = self.random.below(3);
        let other = self.any_node();
        let mut links = BTreeSet::new();
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            match kind {
                // The node is cut off.
                0 => links.extend([(node, peer), (peer, node)]),
                // The node hears, but is not heard; or the other way round.
                1 if other > node => links.extend([(node, peer)]),
                1 => links.extend([(peer, node)]),
                // One link is cut.
                _ if peer == other => links.extend([(node, peer), (peer, node)]),
                _ => {}
            }
        }
        self.counters.partitions += 1;
        self.trace
            .note(self.now_us, format_args!("block {links:?}"));
        self.blocked.extend(&links);
        if self.random.chance(50) {
            return;
        }
        let lasts_us = 100_000 + self.random.below(4_000_000);
        self.after(lasts_us, Happening::Unblock(links));
    }

    fn pause(&mut self, node: usize) {
        if !self.node(node).up || self.node(node).paused_until_us.is_some() {
            return;
        }
        let lasts_us = 50_000 + self.random.below(4_000_000);
        let until_us = self.now_us + lasts_us;
        self.counters.pauses += 1;
        self.node_mut(node).paused_until_us = Some(until_us);
        self.excuse(node, until_us + 1_000_000);
        self.trace
            .note(self.now_us, format_args!("pause {node} until {until_us}"));
    }

    fn rot(&mut self) {
        let disk = &mut self.node_mut(ROTTING).disk;
        let records: Vec<_> = disk.durable(Keyspace::Records).collect();
        let count = records.len() as u64;
        let keys: Vec<_> = records.into_iter().map(|(key, _)| key.clone()).collect();
        if count == 0 {
            return;
        }
        let at = usize::try_from(self.random.below(count)).unwrap_or(0);
        if let Some(key) = keys.get(at)
            && self.node_mut(ROTTING).disk.rot(Keyspace::Records, key)
        {
            self.counters.rotten += 1;
            self.trace.note(self.now_us, format_args!("rot of {key:?}"));
        }
    }

    fn excuse(&mut self, node: usize, until_us: u64) {
        let it = self.node_mut(node);
        it.excused_until_us = it.excused_until_us.max(until_us);
    }
}
