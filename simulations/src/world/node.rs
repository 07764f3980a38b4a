//! One node: a disk, a clock, and the state machines of one replica.

use std::collections::BTreeSet;

use engram_core::protocol::register::acceptor::{Acceptor, Event as AcceptorEvent};
use engram_core::protocol::register::proposer::{Event as ProposerEvent, Proposer};
use engram_core::protocol::register::{acceptor, proposer};
use engram_core::storage::format::{Record, open};
use engram_core::storage::{Keyspace, WriteOp, keys};
use engram_core::types::{Epoch, Incarnation, MemberId, Millis};

use super::{EPOCH_MS, Happening, LocalEvent, Message, SHARD, World};
use crate::checkers::answers::Answers;
use crate::checkers::index::Follower;
use crate::disk::{Disk, Queued};
use crate::mutant::{Misdeed, Mutant};

/// How often a node notices which peers are reachable, in microseconds.
const GOSSIP_US: u64 = 200_000;

/// How often records are checked for damage, in milliseconds.
const SCRUB_EVERY_MS: u64 = 3_000;

/// A node and what it runs.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) member: MemberId,
    pub(super) up: bool,
    pub(super) paused_until_us: Option<u64>,
    /// How far its clock is ahead of the slowest one allowed.
    pub(super) ahead_ms: u64,
    pub(super) incarnation: Incarnation,
    /// Grows with every respawn and restart; fences what belongs to an earlier life.
    pub(super) life: u64,
    pub(super) disk: Disk,
    pub(super) machines: Option<Machines>,
    /// Peers it believes reachable.
    pub(super) view: BTreeSet<usize>,
    pub(super) index: Follower,
    /// Until when answers may be late: the node was paused or its clock jumped.
    pub(super) excused_until_us: u64,
    /// Whether this boot's disk was witnessed by another replica.
    pub(super) witnessed: bool,
    next_boot: u32,
}

/// The state machines of one life.
#[derive(Debug)]
pub(super) struct Machines {
    pub(super) acceptor: Acceptor,
    pub(super) proposer: Proposer,
    pub(super) answers: Answers,
    /// When the proposer's timer is due, in virtual microseconds.
    pub(super) timer_us: Option<u64>,
    pub(super) index_asking: bool,
    pub(super) index_target: u64,
}

impl Node {
    pub(super) fn new(number: usize) -> Node {
        Node {
            member: MemberId(number as u64 + 1),
            up: false,
            paused_until_us: None,
            ahead_ms: 0,
            incarnation: Incarnation::default(),
            life: 0,
            disk: Disk::default(),
            machines: None,
            view: BTreeSet::new(),
            index: Follower::default(),
            excused_until_us: 0,
            witnessed: false,
            next_boot: 1,
        }
    }
}

impl World {
    /// A node's clock.
    pub(super) fn clock(&self, node: usize) -> Millis {
        Millis(EPOCH_MS - self.profile.skew_ms + self.now_us / 1000 + self.node(node).ahead_ms)
    }

    /// When a node's clock will show a time, in virtual microseconds from now.
    pub(super) fn until_clock_us(&self, node: usize, at: Millis) -> u64 {
        let Millis(now) = self.clock(node);
        (at.0.saturating_sub(now)).saturating_mul(1000)
    }

    pub(super) fn set_skew(&mut self, node: usize) {
        let ahead_ms = self.random.below(2 * self.profile.skew_ms + 1);
        self.node_mut(node).ahead_ms = ahead_ms;
    }

    /// Starts a node for the first time or again.
    pub(super) fn boot(&mut self, node: usize) {
        let raise = !self.does(Misdeed::SameIncarnation);
        let it = self.node_mut(node);
        it.incarnation = Incarnation {
            boot: it.next_boot,
            respawn: 0,
        };
        if raise {
            it.next_boot += 1;
        }
        it.up = true;
        it.witnessed = false;
        it.paused_until_us = None;
        self.spawn(node);
        let delay_us = self.random.below(GOSSIP_US);
        self.after(delay_us, Happening::Gossip { node });
    }

    /// Replaces a node's actors; its disk, and what is queued there, stays.
    pub(super) fn respawn(&mut self, node: usize) {
        if !self.does(Misdeed::SameIncarnation) {
            self.node_mut(node).incarnation.respawn += 1;
        }
        self.spawn(node);
    }

    fn spawn(&mut self, node: usize) {
        let members = self.members();
        let planted = self.mutant.map(Mutant::planted).unwrap_or_default();
        let seed = self.random.next_u64();
        let (cache_bytes, purge_after_ms) = (self.profile.cache_bytes, self.profile.purge_after_ms);
        let it = self.node_mut(node);
        it.life += 1;
        it.view.clear();
        it.machines = Some(Machines {
            acceptor: Acceptor::new(acceptor::Options {
                members: members.clone(),
                cache_bytes,
                purge_after_ms,
                scrub_every_ms: SCRUB_EVERY_MS,
                indexed: true,
                planted,
                ..acceptor::Options::new(SHARD, it.member, it.incarnation)
            }),
            proposer: Proposer::new(proposer::Options {
                shard: SHARD,
                member: it.member,
                incarnation: it.incarnation,
                epoch: Epoch(1),
                members,
                seed,
                planted,
            }),
            answers: Answers::default(),
            timer_us: None,
            index_asking: false,
            index_target: 0,
        });
        let indexed = it.index.durable();
        let (life, witnessed, incarnation) = (it.life, it.witnessed, it.incarnation);
        self.trace.note(
            self.now_us,
            format_args!("spawn {node} life {life} {incarnation:?}"),
        );
        self.soon(node, LocalEvent::Acceptor(AcceptorEvent::Start));
        if witnessed {
            self.soon(node, LocalEvent::Acceptor(AcceptorEvent::Witnessed));
        }
        self.soon(node, LocalEvent::Acceptor(AcceptorEvent::Indexed(indexed)));
        self.soon(node, LocalEvent::IndexCommits);
        let tick_us = self.random.below(acceptor::TICK_MS * 1000);
        self.later(node, tick_us, LocalEvent::Tick);
    }

    /// Power is cut.
    pub(super) fn crash(&mut self, node: usize) {
        let Some(it) = self.nodes.get_mut(node) else {
            return;
        };
        it.up = false;
        it.life += 1;
        it.machines = None;
        let kept = it.disk.crash(&mut self.random);
        if self.profile.index_survives {
            it.index.crash();
        } else {
            it.index = Follower::default();
        }
        self.counters.crashes += 1;
        self.trace.note(
            self.now_us,
            format_args!("crash {node} keeps {}", kept.len()),
        );
        for queued in kept {
            self.became_durable(node, &queued);
        }
    }

    pub(super) fn restart(&mut self, node: usize) {
        if self.node(node).up {
            return;
        }
        if self.does(Misdeed::Amnesia) {
            self.node_mut(node).disk.wipe();
        }
        self.boot(node);
    }

    /// Hands an event to a node's current life, a moment from now.
    pub(super) fn soon(&mut self, node: usize, event: LocalEvent) {
        self.later(node, 5, event);
    }

    /// Hands an event to a node's current life, unless that has ended by then.
    pub(super) fn later(&mut self, node: usize, delay_us: u64, event: LocalEvent) {
        let life = self.node(node).life;
        self.after(delay_us, Happening::Local { node, life, event });
    }

    /// Queues a batch on a node's disk.
    pub(super) fn append(&mut self, node: usize, queued: Queued) {
        if self.does(Misdeed::LyingSync) {
            let durable = LocalEvent::Acceptor(AcceptorEvent::Durable(queued.io));
            self.later(node, 50, durable);
        }
        self.node_mut(node).disk.append(queued);
        self.begin_sync(node);
    }

    fn begin_sync(&mut self, node: usize) {
        if !self.node_mut(node).disk.begin_sync() {
            return;
        }
        let slow = !self.healed && self.random.chance(self.profile.slow_sync);
        let longest_us = if slow {
            self.profile.slow_sync_us
        } else {
            self.profile.sync_us
        };
        let sync_us = 50 + self.random.below(longest_us);
        let boot = self.node(node).incarnation.boot;
        self.after(sync_us, Happening::Synced { node, boot });
    }

    pub(super) fn synced(&mut self, node: usize) {
        let done = self.node_mut(node).disk.finish_sync();
        let life = self.node(node).life;
        for queued in done {
            self.became_durable(node, &queued);
            if queued.life == life && !self.does(Misdeed::LyingSync) {
                let event = LocalEvent::Acceptor(AcceptorEvent::Durable(queued.io));
                self.soon(node, event);
            }
        }
        self.begin_sync(node);
    }

    fn became_durable(&mut self, node: usize, queued: &Queued) {
        let member = self.node(node).member;
        let result = self.disks.applied(member, &queued.batch);
        self.check(result);
        for op in &queued.batch.ops {
            match op {
                WriteOp::Put {
                    keyspace: Keyspace::Records,
                    key,
                    value,
                } => {
                    if let Some((_, key)) = keys::parse_record(key)
                        && let Ok(record) = open::<Record>(value)
                    {
                        self.saw_register(&key, record.accepted, &record.register);
                        let accepted = record.accepted;
                        let (now_us, register) = (self.now_us, &record.register);
                        self.ledger
                            .accepted(now_us, member, &key, accepted, register);
                    }
                }
                WriteOp::Remove {
                    keyspace: Keyspace::Records,
                    key,
                } => {
                    self.counters.purges += 1;
                    if let Some((_, key)) = keys::parse_record(key) {
                        let result = self.node(node).index.purged(&key);
                        self.check(result);
                    }
                }
                _ => {}
            }
        }
    }

    /// How many queued batches a read sees.
    pub(super) fn dirty(&mut self, node: usize) -> usize {
        if !self.profile.dirty_reads {
            return 0;
        }
        let queued = self.node(node).disk.queued() as u64;
        usize::try_from(self.random.below(queued + 1)).unwrap_or(0)
    }

    /// A heartbeat: what a node notices of its peers.
    pub(super) fn gossip(&mut self, node: usize) {
        if !self.node(node).up {
            return;
        }
        for peer in 0..self.nodes.len() {
            if peer == node {
                continue;
            }
            let linked = self.node(peer).up
                && !self.blocked.contains(&(node, peer))
                && !self.blocked.contains(&(peer, node));
            self.notice(node, peer, linked);
            if linked && self.random.chance(300) {
                let highest = self.node(peer).machines.as_ref();
                let n = highest.map_or(0, |machines| machines.proposer.highest_n());
                self.send(peer, node, Message::HighestSeen(n));
            }
        }
        let alone = self.nodes.len() == 1;
        if !self.node(node).witnessed && (alone || !self.node(node).view.is_empty()) {
            self.node_mut(node).witnessed = true;
            self.soon(node, LocalEvent::Acceptor(AcceptorEvent::Witnessed));
        }
        let jitter_us = self.random.below(GOSSIP_US);
        self.after(GOSSIP_US / 2 + jitter_us, Happening::Gossip { node });
    }

    fn notice(&mut self, node: usize, peer: usize, linked: bool) {
        let member = self.node(peer).member;
        let view = &mut self.node_mut(node).view;
        if linked && view.insert(peer) {
            self.soon(node, LocalEvent::Proposer(ProposerEvent::PeerUp(member)));
            self.soon(node, LocalEvent::Acceptor(AcceptorEvent::PeerUp(member)));
        } else if !linked && view.remove(&peer) {
            self.soon(node, LocalEvent::Proposer(ProposerEvent::PeerDown(member)));
        }
    }
}
