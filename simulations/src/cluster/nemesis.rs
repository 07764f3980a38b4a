//! Faults as they happen.

use engram_actors::replicator::ReplicatorMessage;
use engram_actors::shard::ShardMessage;
use engram_core::storage::{Keyspace, keys};
use engram_core::types::{Lsn, MemberId, ShardId};

use super::Misdeed;
use super::driver::Driver;
use super::fault::{Fault, Victim};
use super::node::{Damage, Image, Process, empty_texts};
use super::panics;
use super::state::{Happening, State};
use crate::disk::Disk;

/// For so long a fault explains that a process ends by itself: restarts are counted by the minute.
const EXCUSE_US: u64 = 75_000_000;

impl Driver {
    /// A planned fault is due.
    pub(super) fn fault(&self, number: usize) {
        let Some(fault) = self.world.with(|state| state.begin_fault(number)) else {
            return;
        };
        match fault {
            Fault::Crash { node, down_ms } => self.crash_for(node, down_ms),
            Fault::PowerCut { down_ms } => {
                let count = self.world.lock().nodes.len();
                for node in 0..count {
                    self.crash_for(node, down_ms);
                }
            }
            Fault::Panic {
                node,
                victim,
                number,
            } => self.panic(node, victim, number),
            Fault::RollBack {
                node,
                after_ms,
                down_ms,
            } => {
                self.crash_for(node, down_ms);
                self.world.with(|state| {
                    state.take_image(node);
                    state.after(after_ms * 1000, Happening::Step(number, 0));
                });
            }
            Fault::Wipe { node, down_ms } => {
                self.crash_for(node, down_ms);
                self.world.with(|state| state.wipe(node));
            }
            Fault::BitRot {
                node,
                record,
                down_ms,
            } => {
                self.crash_for(node, down_ms);
                self.world.with(|state| state.rot(node, &[record]));
            }
            Fault::Misdirected {
                node,
                record,
                other,
                down_ms,
            } => {
                self.crash_for(node, down_ms);
                self.world.with(|state| state.rot(node, &[record, other]));
            }
            _ => self.world.with(|state| state.apply(number, &fault)),
        }
    }

    /// A later step of a fault is due.
    pub(super) fn step(&self, number: usize, step: u32) {
        let Some(fault) = self.world.lock().planned(number) else {
            return;
        };
        match fault {
            Fault::LostSync { node, down_ms, .. } | Fault::RollBack { node, down_ms, .. } => {
                if self.world.with(|state| state.may_lose(node)) {
                    self.crash(node);
                    self.world.with(|state| {
                        state.restore_image(node);
                        state.after(down_ms * 1000, Happening::Restart { node });
                    });
                }
            }
            _ => self.world.with(|state| state.apply_step(&fault, step)),
        }
    }

    fn crash_for(&self, node: usize, down_ms: u64) {
        if !self.world.lock().node(node).up {
            return;
        }
        self.world.lock().counters.crashes += 1;
        self.crash(node);
        self.world
            .with(|state| state.after(down_ms * 1000, Happening::Restart { node }));
    }

    fn panic(&self, node: usize, victim: Victim, number: u16) {
        let (process, partitions, shards) = {
            let mut state = self.world.lock();
            let until_us = state.now_us() + EXCUSE_US;
            state.counters.panics += 1;
            let it = state.node_mut(node);
            it.excused_until_us = until_us;
            let process = it.process.clone().filter(|_| it.up);
            (process, state.profile.partitions, state.profile.shards)
        };
        let Some(process) = process else { return };
        let shard = ShardId(number % (shards + 1));
        let shard = if shard.0 == shards {
            ShardId::SYSTEM
        } else {
            shard
        };
        let own = |at: usize| {
            if let Some(cell) = process.own.get(at) {
                cell.kill();
            }
        };
        match victim {
            Victim::Shard => {
                if let Some(local) = process.directory.shard(shard) {
                    let look = Box::new(|_: &_| panic!("{}", panics::PLANNED));
                    let _ = local.shard.cast(ShardMessage::Inspect(look));
                }
            }
            Victim::Replicator => {
                if let Some(local) = process.directory.shard(shard) {
                    let look = Box::new(|_: &_| panic!("{}", panics::PLANNED));
                    let _ = local.replicator.cast(ReplicatorMessage::Inspect(look));
                }
            }
            Victim::Partition => own(usize::from(number) % partitions.max(1)),
            Victim::Coordinator => own(partitions),
            Victim::Gossip => own(partitions + 1),
        }
    }
}

impl State {
    fn planned(&self, number: usize) -> Option<Fault> {
        if self.healed {
            return None;
        }
        self.faults.get(number).map(|planned| planned.fault.clone())
    }

    /// What a planned fault is, unless the atlas leaves it out.
    fn begin_fault(&mut self, number: usize) -> Option<Fault> {
        let fault = self.planned(number)?;
        let hits: Vec<usize> = match &fault {
            Fault::Crash { node, .. }
            | Fault::RollBack { node, .. }
            | Fault::Wipe { node, .. }
            | Fault::BitRot { node, .. }
            | Fault::Misdirected { node, .. }
            | Fault::TornWrite { node, .. }
            | Fault::Panic {
                node,
                victim: Victim::Gossip,
                ..
            } => vec![*node],
            Fault::PowerCut { .. } => (0..self.nodes.len()).collect(),
            _ => Vec::new(),
        };
        if hits.into_iter().any(|node| self.is_protected(node)) {
            self.counters.skipped_faults += 1;
            return None;
        }
        self.counters.faults += 1;
        let kind = fault.kind();
        self.note("fault", None, format_args!("{fault:?}"));
        let now_us = self.now_us();
        for node in fault.nodes(self.nodes.len()) {
            self.recorder.mark(now_us, Some(node), &fault.story());
        }
        self.recovering.push((kind, now_us));
        Some(fault)
    }

    /// Whether the memory of a node must not be lost now: another disk has lost writes, and as long as
    /// its node does not know, only its peers' memory can tell.
    pub(super) fn is_protected(&self, node: usize) -> bool {
        self.nodes.iter().enumerate().any(|(other, it)| {
            other != node && it.damage == Some(Damage::LostWrites) && !it.is_found_out
        })
    }

    fn apply(&mut self, number: usize, fault: &Fault) {
        let now_us = self.now_us();
        match fault {
            Fault::Pause { node, for_ms }
                if self.node(*node).up && self.paused_until_us(*node).is_none() =>
            {
                let until_us = now_us + for_ms * 1000;
                self.node_mut(*node).paused = Some((now_us, until_us));
                self.counters.pauses += 1;
                self.span("paused", *node, for_ms * 1000);
            }
            Fault::Pause { .. } => {}
            Fault::Clock { node, ahead_ms } => {
                let ahead_ms = ahead_ms % (2 * self.profile.skew_ms + 1);
                self.node_mut(*node).ahead_ms = ahead_ms;
            }
            Fault::Partition { side, for_ms } => {
                self.counters.partitions += 1;
                self.cut(side, true);
                self.after(for_ms * 1000, Happening::Step(number, 0));
            }
            Fault::OneWay { from, to, for_ms } => {
                self.counters.partitions += 1;
                self.block(*from, *to, true);
                self.after(for_ms * 1000, Happening::Step(number, 0));
            }
            Fault::Clog { nodes, every_ms } => {
                self.counters.partitions += 1;
                for step in 0..2 * nodes.len() as u64 {
                    let number_of_step = u32::try_from(step).unwrap_or(0);
                    let happening = Happening::Step(number, number_of_step);
                    self.after(step * every_ms * 1000, happening);
                }
            }
            Fault::SlowDisk {
                node,
                for_ms,
                sync_ms,
            } => {
                let it = self.node_mut(*node);
                it.slow_until_us = now_us + for_ms * 1000;
                it.slow_sync_us = sync_ms * 1000;
                self.span("slow disk", *node, for_ms * 1000);
            }
            Fault::FullDisk { node, for_ms } => {
                let it = self.node_mut(*node);
                it.full_until_us = now_us + for_ms * 1000;
                it.excused_until_us = now_us + for_ms * 1000 + EXCUSE_US;
                self.span("full disk", *node, for_ms * 1000);
            }
            Fault::TornWrite { node, down_ms } => {
                self.node_mut(*node).tears_us = Some(down_ms * 1000);
            }
            Fault::LostSync { node, after_ms, .. } => {
                self.take_image(*node);
                self.after(after_ms * 1000, Happening::Step(number, 0));
            }
            _ => {}
        }
    }

    fn apply_step(&mut self, fault: &Fault, step: u32) {
        match fault {
            Fault::Partition { side, .. } => self.cut(side, false),
            Fault::OneWay { from, to, .. } => self.block(*from, *to, false),
            Fault::Clog { nodes, .. } => {
                let step = usize::try_from(step).unwrap_or(0);
                let blocks = step < nodes.len();
                if let Some(node) = nodes.get(step % nodes.len().max(1)) {
                    self.cut(&[*node], blocks);
                }
            }
            _ => {}
        }
    }

    fn cut(&mut self, side: &[usize], blocks: bool) {
        for near in side {
            for far in (0..self.nodes.len()).filter(|far| !side.contains(far)) {
                self.block(*near, far, blocks);
                self.block(far, *near, blocks);
            }
        }
    }

    fn block(&mut self, from: usize, to: usize, blocks: bool) {
        let now_us = self.now_us();
        let faults = self.blocked.entry((from, to)).or_default();
        if blocks {
            *faults += 1;
            self.recorder.begin(now_us, "cut off", from);
        } else {
            *faults = faults.saturating_sub(1);
            self.recorder.end(now_us, "cut off", from);
        }
    }

    fn span(&mut self, kind: &'static str, node: usize, for_us: u64) {
        let now_us = self.now_us();
        self.recorder.begin(now_us, kind, node);
        self.recorder.end(now_us + for_us, kind, node);
    }

    fn take_image(&mut self, node: usize) {
        let it = self.node_mut(node);
        it.image = Some(Image {
            disk: it.disk.clone(),
            lsn: it.lsn,
            boot: it.boot,
        });
    }

    /// Whether a disk may lose what it wrote since its image: only if every other node knows.
    fn may_lose(&mut self, node: usize) -> bool {
        let it = self.node(node);
        let (member, image) = (it.member, it.image.as_ref().map(|image| image.lsn));
        let is_whole = it.damage.is_none();
        let known = image.is_some_and(|image| self.all_saw_beyond(node, member, image));
        let may = known && is_whole && !self.is_protected(node);
        if !may {
            self.counters.skipped_faults += 1;
        }
        may
    }

    fn all_saw_beyond(&self, node: usize, member: MemberId, lsn: Lsn) -> bool {
        let others = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != node);
        others.map(|(_, it)| it).all(|it| {
            let saw = |process: &Process| process.directory.seen_lsn(member) > lsn;
            it.up && it.process.as_ref().is_some_and(saw)
        })
    }

    fn restore_image(&mut self, node: usize) {
        let it = self.node_mut(node);
        if let Some(image) = it.image.take() {
            it.disk = image.disk;
            // What was on its way when the image was made is not part of it.
            it.disk.abandon_queue();
            it.lsn = image.lsn;
            it.boot = image.boot;
            it.damage = Some(Damage::LostWrites);
            self.note("restore", Some(node), format_args!("{:?}", image.lsn));
        }
    }

    fn wipe(&mut self, node: usize) {
        let fresh = MemberId(self.choices.next_u64());
        let partitions = self.profile.partitions;
        let it = self.node_mut(node);
        it.member = fresh;
        it.disk = Disk::default();
        (it.lsn, it.boot) = (Lsn(0), 0);
        it.texts = empty_texts(partitions);
        it.damage = Some(Damage::Wiped);
    }

    fn rot(&mut self, node: usize, records: &[u64]) {
        let until_us = self.now_us() + EXCUSE_US;
        let it = self.node_mut(node);
        let all: Vec<bytes::Bytes> = it
            .disk
            .durable(Keyspace::Records)
            .map(|(key, _)| key.clone())
            .collect();
        for record in records {
            let at = usize::try_from(*record).ok();
            let at = at.and_then(|record| record.checked_rem(all.len()));
            if let Some(key) = at.and_then(|at| all.get(at))
                && let Some((_, name)) = keys::parse_record(key)
                && it.rotten.insert(name)
            {
                it.disk.rot(Keyspace::Records, key);
                it.damage = Some(Damage::Rotten);
                it.excused_until_us = until_us;
            }
        }
    }

    /// What the world does to a disk before its node starts again, if it is to.
    pub(super) fn plant(&mut self, node: usize) {
        if !self.does(Misdeed::Amnesia) {
            return;
        }
        let disk = &self.node(node).disk;
        let lost: Vec<(Keyspace, bytes::Bytes)> =
            [Keyspace::Records, Keyspace::Changes, Keyspace::Meta]
                .into_iter()
                .flat_map(|keyspace| {
                    let all = disk.durable(keyspace);
                    all.map(move |(key, _)| (keyspace, key.clone()))
                })
                .filter(|(_, key)| *key != keys::config())
                .collect();
        let it = self.node_mut(node);
        for (keyspace, key) in lost {
            it.disk.lose(keyspace, &key);
        }
    }
}
