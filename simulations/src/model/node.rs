//! One node of a small world: a disk, an acceptor, and perhaps a proposer.

use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::Hasher;

use engram_core::planted::Planted;
use engram_core::protocol::register::acceptor::{self, Acceptor};
use engram_core::protocol::register::proposer::{self, Proposer};
use engram_core::types::{Epoch, Incarnation, IoId, MemberId, Millis, ShardId};
use xxhash_rust::xxh3::Xxh3;

use crate::disk::{Disk, Queued};

/// What every clock shows.
pub(super) const NOW: Millis = Millis(1_000_000);

/// Nothing is printed as this.
const STALE: u64 = 0;

/// What a step of a node wants of the world.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// From the acceptor.
    Acceptor(acceptor::Effect),
    /// From the proposer.
    Proposer(proposer::Effect),
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    member: MemberId,
    members: Vec<MemberId>,
    boot: u32,
    pub(super) disk: Disk,
    waiting: VecDeque<IoId>,
    acceptor: Acceptor,
    pub(super) proposer: Option<Proposer>,
    /// What everything above amounts to.
    print: u64,
}

/// The disk of that number.
pub(super) fn member(number: usize) -> MemberId {
    MemberId(number as u64 + 1)
}

impl Node {
    pub(super) fn new(number: usize, count: usize, proposes: bool, planted: Planted) -> Node {
        let (member, members) = (member(number), (0..count).map(member).collect::<Vec<_>>());
        let boot = 0;
        let mut node = Node {
            acceptor: Acceptor::new(acceptor_options(member, &members, boot, planted)),
            proposer: proposes.then(|| new_proposer(member, &members, boot, planted)),
            member,
            members,
            boot,
            disk: Disk::default(),
            waiting: VecDeque::new(),
            print: STALE,
        };
        node.begin();
        node
    }

    /// The machines begin a life, up to where the acceptor serves.
    fn begin(&mut self) {
        let mut wishes = Vec::new();
        self.step_acceptor(acceptor::Event::Start, &mut wishes);
        self.step_acceptor(acceptor::Event::Witnessed, &mut wishes);
        // The barrier writes nothing: what a life begins with is on disk.
        self.sync(&mut wishes, |_| {});
        assert!(self.acceptor.is_serving(), "nothing keeps it from serving");
        let (me, members) = (self.member, self.members.clone());
        for peer in members.into_iter().filter(|peer| *peer != me) {
            self.step_proposer(proposer::Event::PeerUp(peer), &mut wishes);
        }
    }

    /// Power fails, and comes back.
    pub(super) fn crash(&mut self, planted: Planted) {
        self.boot += 1;
        self.disk.abandon_queue();
        self.waiting.clear();
        let options = acceptor_options(self.member, &self.members, self.boot, planted);
        self.acceptor = Acceptor::new(options);
        if self.proposer.is_some() {
            let proposer = new_proposer(self.member, &self.members, self.boot, planted);
            self.proposer = Some(proposer);
        }
        self.begin();
    }

    /// Whether something waits for a sync.
    pub(super) fn is_dirty(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Everything written becomes durable; `durable` hears of each batch before anything leaves.
    pub(super) fn sync(&mut self, wishes: &mut Vec<Wish>, mut durable: impl FnMut(&Queued)) {
        self.disk.begin_sync();
        for queued in self.disk.finish_sync() {
            durable(&queued);
        }
        let done: Vec<IoId> = self.waiting.drain(..).collect();
        for io in done {
            self.step_acceptor(acceptor::Event::Durable(io), wishes);
        }
    }

    pub(super) fn step_acceptor(&mut self, event: acceptor::Event, wishes: &mut Vec<Wish>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.acceptor.step(NOW, event, &mut effects);
            for effect in effects {
                match effect {
                    acceptor::Effect::Append(io, batch) => {
                        self.disk.append(Queued { life: 0, io, batch });
                        self.waiting.push_back(io);
                    }
                    acceptor::Effect::Load(io, keyspace, key) => {
                        let found = self.disk.get(keyspace, &key, 0);
                        events.push_back(acceptor::Event::Loaded(io, found));
                    }
                    acceptor::Effect::Range(io, query) => {
                        let page = self.disk.range(&query, 0);
                        events.push_back(acceptor::Event::Ranged(io, page));
                    }
                    other => wishes.push(Wish::Acceptor(other)),
                }
            }
        }
        self.print = STALE;
    }

    pub(super) fn step_proposer(&mut self, event: proposer::Event, wishes: &mut Vec<Wish>) {
        let Some(proposer) = &mut self.proposer else {
            return;
        };
        let mut effects = Vec::new();
        proposer.step(NOW, event, &mut effects);
        wishes.extend(effects.into_iter().map(Wish::Proposer));
        self.print = STALE;
    }

    /// Whether it has changed since it was printed.
    pub(super) fn is_stale(&self) -> bool {
        self.print == STALE
    }

    /// The machines have no hashes of their own: what they would print decides.
    pub(super) fn print(&mut self) {
        struct Hashing(Xxh3);
        impl Write for Hashing {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.update(text.as_bytes());
                Ok(())
            }
        }
        let mut hashing = Hashing(Xxh3::new());
        let (acceptor, proposer) = (&self.acceptor, &self.proposer);
        let (boot, disk, waiting) = (self.boot, &self.disk, &self.waiting);
        write!(
            hashing,
            "{boot} {disk:?} {waiting:?} {acceptor:?} {proposer:?}"
        )
        .expect("hashing does not fail");
        self.print = hashing.0.digest().max(STALE + 1);
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Node) -> bool {
        self.print == other.print
    }
}

impl std::hash::Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.print);
    }
}

const SHARD: ShardId = ShardId(0);

fn incarnation(boot: u32) -> Incarnation {
    Incarnation { boot, respawn: 0 }
}

fn acceptor_options(
    member: MemberId,
    members: &[MemberId],
    boot: u32,
    planted: Planted,
) -> acceptor::Options {
    acceptor::Options {
        members: members.to_vec(),
        planted,
        ..acceptor::Options::new(SHARD, member, incarnation(boot))
    }
}

fn new_proposer(member: MemberId, members: &[MemberId], boot: u32, planted: Planted) -> Proposer {
    Proposer::new(proposer::Options {
        shard: SHARD,
        member,
        incarnation: incarnation(boot),
        epoch: Epoch(1),
        members: members.to_vec(),
        seed: 1,
        planted,
    })
}
