//! The shared part of a cluster world: virtual time, the queue of what is going to happen, disks,
//! links, and what the checkers must know. The seams write into it, the driver works it off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
#[cfg(debug_assertions)]
use engram_actors::buggify::Point;
use engram_core::protocol::random::Random;
use engram_core::types::{Lsn, MemberId, Millis, RecordKey, WriteId};
use engram_core::wire::{ClientReply, RequestError};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clients::Client;
use super::fault::Planned;
use super::judge::Judge;
use super::links::Link;
use super::node::Node;
use super::profile::Profile;
use super::trace::Recorder;
use super::watchers::Watcher;
use super::{Counters, Misdeed, Mutant, Recoveries, Setup};
use crate::checkers::{Property, Violation};

/// The nodes' clocks at virtual time 0, in milliseconds.
pub(super) const EPOCH_MS: u64 = 1_000_000;

/// Most events at one microsecond.
const AT_ONCE_MAX: u64 = 1_000_000;

/// Something that is going to happen.
pub(super) enum Happening {
    /// A frame reaches a node, if its link still is the one it was sent on.
    Frame {
        from: usize,
        to: usize,
        link: u64,
        bytes: Bytes,
        durable: Lsn,
    },
    /// A copy of a client's request reaches a node.
    Request {
        client: usize,
        node: usize,
        bytes: Bytes,
    },
    /// An answer reaches a client.
    Response { client: usize, bytes: Bytes },
    /// A client's request met a node that is down.
    Unreachable { client: usize, request: u64 },
    /// A node's disk has finished a sync.
    Synced { node: usize, life: u64 },
    /// A node's disk has looked something up.
    Looked { node: usize, life: u64, read: u64 },
    /// A node has done a background job.
    Worked { node: usize, life: u64, job: u64 },
    /// Time to see whether two nodes reach each other.
    Link { low: usize, high: usize },
    /// A node notices that a link is up, or down.
    Notice {
        node: usize,
        life: u64,
        peer: usize,
        member: MemberId,
        link: u64,
        up: bool,
    },
    /// A node comes back.
    Restart { node: usize },
    /// A node loses power, and comes back after so long.
    PowerOff {
        node: usize,
        life: u64,
        down_us: u64,
    },
    /// A node's supervisor has ended.
    Stopped { node: usize, life: u64 },
    /// A client does something next.
    Client { client: usize, token: u64 },
    /// A watcher asks on, or stops waiting.
    Watcher {
        watcher: usize,
        shard: u16,
        token: u64,
    },
    /// A planned fault.
    Fault(usize),
    /// A later step of a planned fault.
    Step(usize, u32),
}

/// An answer to a client's request.
pub(super) type Answer = Result<ClientReply, RequestError>;

/// See the module. Behind one lock, which is never held while anything of a node runs.
pub(super) struct State {
    pub(super) profile: Profile,
    pub(super) mutant: Option<Mutant>,
    pub(super) clients_only: bool,
    pub(super) recovers_ms: Option<u64>,
    began: Instant,
    at_us: u64,
    /// How many events happened at this microsecond.
    at_once: u64,
    pub(super) sleeping_until_us: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    pub(super) network: Random,
    pub(super) disks: Random,
    pub(super) choices: Random,
    #[cfg(debug_assertions)]
    mischief: Random,
    pub(super) watching: Random,
    pub(super) nodes: Vec<Node>,
    /// Directed links that carry nothing, and how many faults say so.
    pub(super) blocked: BTreeMap<(usize, usize), u32>,
    pub(super) links: BTreeMap<(usize, usize), Link>,
    pub(super) next_link: u64,
    pub(super) clients: Vec<Client>,
    pub(super) watchers: Vec<Watcher>,
    /// No fault happens: not yet, or not any more.
    pub(super) healed: bool,
    pub(super) faults: Vec<Planned>,
    /// Faults after which no operation has succeeded yet, and their time.
    pub(super) recovering: Vec<(&'static str, u64)>,
    pub(super) recoveries: Recoveries,
    /// Answers to questions that are asked by the world itself.
    pub(super) probes: BTreeMap<u64, Answer>,
    pub(super) next_probe: u64,
    /// Which write put what each key holds at rest.
    pub(super) last_reads: Vec<(RecordKey, Option<WriteId>)>,
    pub(super) judge: Judge,
    pub(super) recorder: Recorder,
    pub(super) counters: Counters,
    pub(super) violations: Vec<Violation>,
}

/// The state and the bell that wakes its driver.
pub(super) struct World {
    state: Mutex<State>,
    pub(super) bell: Notify,
}

impl World {
    pub(super) fn new(setup: &Setup) -> Arc<World> {
        let profile = setup.profile.clone();
        let stream = |salt: u64| Random::new(setup.seed ^ (salt << 48) ^ salt);
        let mut choices = stream(3);
        let nodes = (0..profile.nodes)
            .map(|number| {
                let ahead_ms = choices.below(2 * profile.skew_ms + 1);
                Node::new(number, profile.partitions, ahead_ms)
            })
            .collect();
        let state = State {
            mutant: setup.mutant,
            clients_only: setup.clients_only,
            recovers_ms: setup.recovers_ms,
            began: Instant::now(),
            at_us: 0,
            at_once: 0,
            sleeping_until_us: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            network: stream(1),
            disks: stream(2),
            choices,
            #[cfg(debug_assertions)]
            mischief: stream(4),
            watching: stream(5),
            nodes,
            blocked: BTreeMap::new(),
            links: BTreeMap::new(),
            next_link: 1,
            clients: Vec::new(),
            watchers: Vec::new(),
            healed: true,
            faults: setup.faults.clone(),
            recovering: Vec::new(),
            recoveries: Recoveries::default(),
            probes: BTreeMap::new(),
            next_probe: 1,
            last_reads: Vec::new(),
            judge: Judge::new(profile.majority()),
            recorder: Recorder::new(setup.record),
            counters: Counters::default(),
            violations: Vec::new(),
            profile,
        };
        Arc::new(World {
            state: Mutex::new(state),
            bell: Notify::new(),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the driver if something now happens earlier than it thinks.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let earlier = state
            .first_us()
            .is_some_and(|at| at < state.sleeping_until_us);
        drop(state);
        if earlier {
            self.bell.notify_one();
        }
        result
    }
}

impl State {
    /// Whether the world is to break this promise.
    pub(super) fn does(&self, misdeed: Misdeed) -> bool {
        self.mutant == Some(Mutant::World(misdeed))
    }

    /// Virtual time. The runtime's timers know milliseconds; between two of them the queue's own
    /// times go on.
    pub(super) fn now_us(&self) -> u64 {
        let runtime = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.at_us.max(runtime)
    }

    /// The runtime's time at which something due at `at_us` is worked off.
    pub(super) fn instant(&self, at_us: u64) -> Instant {
        self.began + std::time::Duration::from_millis(at_us / 1000)
    }

    pub(super) fn first_us(&self) -> Option<u64> {
        self.queue.keys().next().map(|(at_us, _)| *at_us)
    }

    /// Whether more happens at one moment than any world has reason for.
    pub(super) fn is_spinning(&self) -> bool {
        self.at_once > AT_ONCE_MAX
    }

    /// Makes it so.
    #[cfg(test)]
    pub(super) fn spin(&mut self) {
        self.at_once = AT_ONCE_MAX + 1;
    }

    /// What is due, if the runtime's clock has come to its millisecond.
    pub(super) fn pop_due(&mut self) -> Option<Happening> {
        let at_us = self.first_us()?;
        if at_us / 1000 > self.now_us() / 1000 {
            return None;
        }
        let at_us = self.now_us().max(at_us);
        self.at_once = if at_us == self.at_us {
            self.at_once + 1
        } else {
            0
        };
        self.at_us = at_us;
        self.queue.pop_first().map(|(_, happening)| happening)
    }

    pub(super) fn after(&mut self, delay_us: u64, happening: Happening) {
        let at_us = self.now_us().saturating_add(delay_us);
        self.at(at_us, happening);
    }

    pub(super) fn at(&mut self, at_us: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at_us, self.sequence), happening);
    }

    /// How much is queued.
    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn node(&self, node: usize) -> &Node {
        self.nodes.get(node).expect("nodes are numbered from 0")
    }

    pub(super) fn node_mut(&mut self, node: usize) -> &mut Node {
        self.nodes.get_mut(node).expect("nodes are numbered from 0")
    }

    /// The node that has a disk, if it is not lost.
    pub(super) fn node_of(&self, member: MemberId) -> Option<usize> {
        self.nodes.iter().position(|node| node.member == member)
    }

    /// What a node's clock shows. It stands still while the node does.
    pub(super) fn clock(&self, node: usize) -> Millis {
        let it = self.node(node);
        let now_us = match it.paused {
            Some((since_us, until_us)) if until_us > self.now_us() => since_us,
            _ => self.now_us(),
        };
        Millis(EPOCH_MS - self.profile.skew_ms + now_us / 1000 + it.ahead_ms)
    }

    /// Whether something rare, but allowed, happens at a point of a node's actors.
    #[cfg(debug_assertions)]
    pub(super) fn buggify(&mut self, node: usize, life: u64, point: Point) -> bool {
        let place = Point::ALL.iter().position(|known| *known == point);
        let is_drawn = place.is_some_and(|place| self.profile.buggify_points & (1 << place) != 0);
        if self.healed || !is_drawn || !self.lives(node, life) {
            return false;
        }
        let happens = self.mischief.chance(self.profile.buggify);
        if happens {
            self.counters.buggified += 1;
            self.note("buggify", Some(node), format_args!("{point:?}"));
        }
        happens
    }

    /// When something that a node does now leaves it, in virtual microseconds.
    pub(super) fn leaves_us(&self, node: usize) -> u64 {
        let now_us = self.now_us();
        self.node(node)
            .paused
            .map_or(now_us, |(_, until_us)| until_us.max(now_us))
    }

    /// Until when a node stands still, if it does.
    pub(super) fn paused_until_us(&self, node: usize) -> Option<u64> {
        let now_us = self.now_us();
        self.node(node)
            .paused
            .map(|(_, until_us)| until_us)
            .filter(|until_us| *until_us > now_us)
    }

    pub(super) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked
            .get(&(from, to))
            .is_some_and(|faults| *faults > 0)
    }

    /// Whether a node still lives the life that something belongs to.
    pub(super) fn lives(&self, node: usize, life: u64) -> bool {
        let it = self.node(node);
        it.up && it.life == life
    }

    pub(super) fn any_node(&mut self) -> usize {
        let count = self.nodes.len() as u64;
        usize::try_from(self.choices.below(count)).unwrap_or(0)
    }

    pub(super) fn live_nodes(&self) -> BTreeSet<usize> {
        let live = self.nodes.iter().enumerate();
        live.filter(|(_, node)| node.up && node.damage.is_none_or(|damage| !damage.excludes()))
            .map(|(number, _)| number)
            .collect()
    }

    pub(super) fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && (!self.clients_only || violation.property.seen_by_clients())
        {
            self.note("violation", None, format_args!("{violation}"));
            self.violations.push(violation);
        }
    }

    pub(super) fn violate(&mut self, property: Property, story: String) {
        self.check(Err(Violation::new(property, story)));
    }

    /// A phase of the run begins.
    pub(super) fn begin_phase(&mut self, phase: &'static str) {
        let now_us = self.now_us();
        self.recorder.mark(now_us, None, phase);
        self.note("phase", None, format_args!("{phase}"));
    }

    pub(super) fn note(
        &mut self,
        kind: &'static str,
        node: Option<usize>,
        text: std::fmt::Arguments<'_>,
    ) {
        let now_us = self.now_us();
        self.recorder.note(now_us, kind, node, text);
    }
}
