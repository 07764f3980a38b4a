//! The world: everything that happens, in virtual time, decided by one seed.
//!
//! A run has three phases: a storm, in which clients work while faults happen; rest after healing,
//! in which all replicas must converge; and last reads of every key through every node.

mod clients;
mod faults;
mod machines;
mod node;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engram_core::protocol::random::Random;
use engram_core::protocol::register::{acceptor, proposer};
use engram_core::storage::{Keyspace, RangeQuery};
use engram_core::types::{IoId, Key, MemberId, NamespaceId, RecordKey, Register, ShardId};
use engram_core::wire::register::{RegisterReply, RegisterRequest, ReplyTo};
use engram_core::wire::{ClientReply, RequestError};

use self::clients::Client;
use self::node::Node;
use crate::checkers::monotone::Monotone;
use crate::checkers::one_register::OneRegister;
use crate::checkers::{Property, Violation};
use crate::history::Operation;
use crate::ledger::Ledger;
use crate::mutant::{Misdeed, Mutant};
use crate::profile::Profile;
use crate::trace::Trace;

/// The shard that everything happens in.
const SHARD: ShardId = ShardId(0);
/// The nodes' clocks at virtual time 0, in milliseconds.
pub const EPOCH_MS: u64 = 1_000_000;
/// The storm ends at the latest after so long.
const STORM_US: u64 = 60_000_000;
/// After healing, replicas have so long to converge.
const REST_US: u64 = 90_000_000;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Operations that clients began.
    pub operations: u64,
    /// Of these, those that ended without a known outcome.
    pub unknown: u64,
    /// Copies of requests and messages that were delivered beyond the first.
    pub copies: u64,
    /// Messages lost.
    pub lost: u64,
    /// Messages delivered.
    pub delivered: u64,
    /// Crashes of nodes.
    pub crashes: u64,
    /// Respawns of actors.
    pub respawns: u64,
    /// Partitions.
    pub partitions: u64,
    /// Pauses of nodes.
    pub pauses: u64,
    /// Records purged.
    pub purges: u64,
    /// Records installed by catch-up.
    pub fetched: u64,
    /// Scan pages answered.
    pub scans: u64,
    /// Failed conditions.
    pub conflicts: u64,
    /// Entries that the index was fed.
    pub fed: u64,
    /// Records that were damaged on a disk.
    pub rotten: u64,
    /// Damaged records that were rebuilt.
    pub rebuilt: u64,
}

/// Something that is going to happen.
#[derive(Debug)]
enum Happening {
    /// A local event for one life of a node's actors.
    Local {
        node: usize,
        life: u64,
        event: LocalEvent,
    },
    /// A message for whatever life a node is in.
    Arrive { node: usize, message: Message },
    /// A node's disk has finished a sync.
    Synced { node: usize, boot: u32 },
    /// A node's heartbeat: notices which peers are reachable.
    Gossip { node: usize },
    /// A node comes back.
    Restart { node: usize },
    /// A client does something next.
    Client { client: usize, token: u64 },
    /// An answer reaches a client.
    Answered {
        ask: u64,
        time: engram_core::types::LogicalTime,
        result: Result<ClientReply, RequestError>,
    },
    /// The next fault of a kind.
    Fault(faults::Fault),
    /// A partition ends.
    Unblock(BTreeSet<(usize, usize)>),
}

#[derive(Debug)]
enum LocalEvent {
    Acceptor(acceptor::Event),
    Proposer(proposer::Event),
    /// The disk looks at a key.
    Load(IoId, Keyspace, bytes::Bytes),
    /// The disk looks at a range.
    Range(IoId, RangeQuery),
    Tick,
    /// The proposer's timer, unless an earlier one replaced it.
    Timer {
        due_us: u64,
    },
    /// The index asks for the next page.
    IndexAsks,
    IndexCommits,
    IndexFed(acceptor::FeedPage),
}

#[derive(Clone, Debug)]
enum Message {
    Request(RegisterRequest),
    Reply(RegisterReply),
    Ask { ask: u64 },
    HighestSeen(u64),
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What happened, hashed.
    pub hash: u64,
    /// How many events.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// What was counted.
    pub counters: Counters,
    /// Violated properties.
    pub violations: Vec<Violation>,
}

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Decides everything.
    pub seed: u64,
    /// What the world is like.
    pub profile: Profile,
    /// A bug planted on purpose, if any.
    pub mutant: Option<Mutant>,
    /// Whether only what clients can notice counts as a violation.
    pub clients_only: bool,
    /// Whether the trace is printed.
    pub print: bool,
}

/// A world under way.
#[derive(Debug)]
pub struct World {
    profile: Profile,
    mutant: Option<Mutant>,
    clients_only: bool,
    random: Random,
    now_us: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    sequence: u64,
    nodes: Vec<Node>,
    /// Directed links that carry nothing.
    blocked: BTreeSet<(usize, usize)>,
    clients: Vec<Client>,
    asks: BTreeMap<u64, clients::Ask>,
    last_answer: Option<(u64, Result<ClientReply, RequestError>)>,
    /// No fault happens any more.
    healed: bool,
    asked_about: BTreeMap<ReplyTo, RecordKey>,
    ledger: Ledger,
    disks: Monotone,
    one_register: OneRegister,
    history: Vec<Operation>,
    violations: Vec<Violation>,
    counters: Counters,
    trace: Trace,
}

impl World {
    /// A world at its beginning.
    pub fn new(setup: &Setup) -> World {
        let profile = setup.profile.clone();
        let majority = profile.replicas / 2 + 1;
        let mut world = World {
            mutant: setup.mutant,
            clients_only: setup.clients_only,
            random: Random::new(setup.seed),
            now_us: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            nodes: (0..profile.replicas).map(Node::new).collect(),
            blocked: BTreeSet::new(),
            clients: Vec::new(),
            asks: BTreeMap::new(),
            last_answer: None,
            healed: false,
            asked_about: BTreeMap::new(),
            ledger: Ledger::new(majority),
            disks: Monotone::default(),
            one_register: OneRegister::default(),
            history: Vec::new(),
            violations: Vec::new(),
            counters: Counters::default(),
            trace: Trace::new(setup.print),
            profile,
        };
        world.trace.note(0, format_args!("{:?}", world.profile));
        for node in 0..world.nodes.len() {
            world.set_skew(node);
            world.boot(node);
        }
        world.begin_clients();
        world.begin_faults();
        world
    }

    /// Runs a seed's world to its end.
    pub fn run(setup: &Setup) -> Outcome {
        let mut world = World::new(setup);
        world.storm();
        world.heal();
        world.rest();
        world.last_reads();
        world.judge();
        Outcome {
            seed: setup.seed,
            hash: world.trace.hash(),
            events: world.trace.events(),
            virtual_us: world.now_us,
            counters: world.counters,
            violations: world.violations,
        }
    }

    /// Whether the world is to break this promise.
    fn does(&self, misdeed: Misdeed) -> bool {
        self.mutant == Some(Mutant::World(misdeed))
    }

    fn storm(&mut self) {
        while self.now_us < STORM_US && !self.clients_done() && self.next() {}
    }

    /// Lets things happen for a while.
    fn pass(&mut self, duration_us: u64) {
        let until = self.now_us + duration_us;
        while self.queue.keys().next().is_some_and(|(at, _)| *at <= until) && self.next() {}
        self.now_us = until;
    }

    /// Lets the next thing happen; false if a property is violated, or nothing is left.
    fn next(&mut self) -> bool {
        // One violation leads to others: the first one tells the story.
        if !self.violations.is_empty() {
            return false;
        }
        let Some(((at, sequence), happening)) = self.queue.pop_first() else {
            return false;
        };
        self.now_us = self.now_us.max(at);
        if let Some(node) = happening.node()
            && let Some(paused_until) = self.node(node).paused_until_us
        {
            if paused_until > self.now_us {
                // All that happens to a paused node happens when it goes on, in the same order.
                self.queue.insert((paused_until, sequence), happening);
                return true;
            }
            self.node_mut(node).paused_until_us = None;
        }
        self.happen(happening);
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Local { node, life, event } => {
                if self.node(node).life == life && self.node(node).up {
                    self.local(node, event);
                }
            }
            Happening::Arrive { node, message } => {
                if self.node(node).up {
                    self.arrive(node, message);
                }
            }
            Happening::Synced { node, boot } => {
                if self.node(node).incarnation.boot == boot && self.node(node).up {
                    self.synced(node);
                }
            }
            Happening::Gossip { node } => self.gossip(node),
            Happening::Restart { node } => self.restart(node),
            Happening::Client { client, token } => self.client_wakes(client, token),
            Happening::Answered { ask, time, result } => self.client_answered(ask, time, result),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Unblock(links) => {
                self.trace
                    .note(self.now_us, format_args!("unblock {links:?}"));
                for link in links {
                    self.blocked.remove(&link);
                }
            }
        }
    }

    fn after(&mut self, delay_us: u64, happening: Happening) {
        self.sequence += 1;
        let at = self.now_us.saturating_add(delay_us);
        self.queue.insert((at, self.sequence), happening);
    }

    fn node(&self, node: usize) -> &Node {
        self.nodes.get(node).expect("nodes are numbered from 0")
    }

    fn node_mut(&mut self, node: usize) -> &mut Node {
        self.nodes.get_mut(node).expect("nodes are numbered from 0")
    }

    fn members(&self) -> Vec<MemberId> {
        self.nodes.iter().map(|node| node.member).collect()
    }

    fn check(&mut self, result: Result<(), Violation>) {
        if let Err(violation) = result
            && (!self.clients_only || violation.property.seen_by_clients())
        {
            self.trace
                .note(self.now_us, format_args!("VIOLATION {violation}"));
            self.violations.push(violation);
        }
    }

    fn violate(&mut self, property: Property, story: String) {
        self.check(Err(Violation::new(property, story)));
    }

    /// Sends a message from node to node: it may be lost, late, or come twice.
    fn send(&mut self, from: usize, to: usize, message: Message) {
        if from == to {
            // Actors of one node have mailboxes: nothing is lost or overtaken.
            return self.after(5, Happening::Arrive { node: to, message });
        }
        let lossy = !self.healed;
        if self.blocked.contains(&(from, to)) || (lossy && self.random.chance(self.profile.lose)) {
            self.counters.lost += 1;
            return;
        }
        if lossy && self.random.chance(self.profile.copy) {
            self.counters.copies += 1;
            let delay_us = self.delay_us();
            let message = message.clone();
            self.after(delay_us, Happening::Arrive { node: to, message });
        }
        let delay_us = self.delay_us();
        self.after(delay_us, Happening::Arrive { node: to, message });
    }

    fn delay_us(&mut self) -> u64 {
        let usual = 50 + self.random.below(self.profile.delay_us);
        if !self.healed && self.random.chance(self.profile.tail) {
            usual + self.random.below(self.profile.tail_us)
        } else {
            usual
        }
    }

    /// A register is about to be proposed, or was accepted.
    fn saw_register(
        &mut self,
        key: &RecordKey,
        ballot: engram_core::types::Ballot,
        register: &Arc<Register>,
    ) {
        let result = self.one_register.observe(key, ballot, register);
        self.check(result);
    }
}

impl Happening {
    /// The node whose process it needs.
    fn node(&self) -> Option<usize> {
        match self {
            Happening::Local { node, .. }
            | Happening::Arrive { node, .. }
            | Happening::Synced { node, .. }
            | Happening::Gossip { node } => Some(*node),
            _ => None,
        }
    }
}

/// The key of that number.
fn key(number: u64) -> RecordKey {
    RecordKey {
        namespace: NamespaceId(1),
        key: Key::new(format!("key{number}")).expect("short and not empty"),
    }
}
