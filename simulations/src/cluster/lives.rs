//! The lives of a node's processes: how each begins, how it ends, and whether it may end by itself.

use std::collections::{BTreeMap, VecDeque};

use engram_actors::env::{AppendDone, Job, ReadDone, ReadQuery};
use engram_actors::supervisor::Stopped;
use engram_core::storage::format::Condemned;
use engram_core::storage::{Keyspace, keys};

use super::Misdeed;
use super::node::{Damage, Process};
use super::state::{Happening, State};
use crate::checkers::Property;

impl State {
    /// A process begins; none if one runs already.
    pub(super) fn begin_life(&mut self, node: usize) -> Option<u64> {
        if self.node(node).up || self.node(node).process.is_some() {
            return None;
        }
        let keeps_boot = self.does(Misdeed::SameIncarnation);
        self.plant(node);
        let now_us = self.now_us();
        let it = self.node_mut(node);
        it.life += 1;
        if !keeps_boot || it.boot == 0 {
            it.boot += 1;
        }
        it.up = true;
        it.paused = None;
        it.stopped = None;
        it.starting_us = Some(now_us);
        let (life, boot, lsn) = (it.life, it.boot, it.lsn);
        self.recorder.end(now_us, "down", node);
        self.note(
            "boot",
            Some(node),
            format_args!("{boot} life {life} at {lsn:?}"),
        );
        Some(life)
    }

    /// The supervisor of a process has ended: nothing it does counts from now on.
    pub(super) fn ends(&mut self, node: usize, life: u64, why: Stopped) {
        if self.lives(node, life) {
            let it = self.node_mut(node);
            it.up = false;
            it.stopped = Some(why);
            self.after(0, Happening::Stopped { node, life });
        }
    }

    /// Takes a process apart.
    pub(super) fn end_life(&mut self, node: usize) -> Remains {
        let now_us = self.now_us();
        let it = self.nodes.get_mut(node).expect("nodes are numbered from 0");
        it.up = false;
        it.life += 1;
        it.paused = None;
        it.starting_us = None;
        let remains = Remains {
            process: it.process.take(),
            _appends: std::mem::take(&mut it.appends),
            _reads: std::mem::take(&mut it.reads),
            _jobs: std::mem::take(&mut it.jobs),
        };
        let kept = it.disk.crash(&mut self.disks);
        if kept.iter().any(|queued| !queued.batch.is_empty()) {
            it.lsn.0 += 1;
        }
        for queued in &kept {
            self.became_durable(node, queued);
        }
        self.recorder.begin(now_us, "down", node);
        let count = kept.len();
        self.note("end", Some(node), format_args!("keeps {count}"));
        remains
    }

    /// Whether a node does not even start, for its disk is marked as one that lost writes.
    pub(super) fn refuses(&mut self, node: usize) -> bool {
        let mark = self
            .node(node)
            .disk
            .get(Keyspace::Meta, &keys::condemned(), 0);
        let Some(reason) = Condemned::found(mark.as_deref()) else {
            return false;
        };
        self.note("refuses", Some(node), format_args!("{reason}"));
        if self.node(node).damage != Some(Damage::LostWrites) {
            self.violate(
                Property::Panic,
                format!("node {node} takes its disk for lost: {reason}"),
            );
        }
        true
    }

    /// Whether the end of a process by itself is explained by its faults; starts it again.
    pub(super) fn judge_end(&mut self, node: usize, reason: &str) {
        self.note("fatal", Some(node), format_args!("{reason}"));
        self.counters.ended += 1;
        if self.node(node).damage == Some(Damage::LostWrites) {
            // It must refuse to serve, and each time that somebody starts it again.
            self.counters.refused_disks += 1;
            let is_told = reason.contains("must not vote again");
            let is_full = self.node(node).full_until_us > self.now_us();
            self.node_mut(node).is_found_out |= is_told && !is_full;
        } else if self.node(node).excused_until_us < self.now_us() {
            let story = format!("node {node} ended by itself: {reason}");
            return self.violate(Property::Panic, story);
        }
        let delay_us = 200_000 + self.choices.below(800_000);
        self.after(delay_us, Happening::Restart { node });
    }
}

/// What is left of a process.
pub(super) struct Remains {
    pub(super) process: Option<Process>,
    _appends: VecDeque<AppendDone>,
    _jobs: BTreeMap<u64, Job>,
    _reads: BTreeMap<u64, (ReadQuery, ReadDone)>,
}
