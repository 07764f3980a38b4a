//! A state of a small world, and what may happen next.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use engram_core::protocol::register::proposer::Origin;
use engram_core::protocol::register::{acceptor, proposer};
use engram_core::storage::format::{Record, open};
use engram_core::storage::{Keyspace, WriteOp};
use engram_core::types::{Ballot, Key, MemberId, Millis, NamespaceId, RecordKey, Register};
use engram_core::wire::register::{RegisterReply, RegisterRequest, RequestBody};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};
use xxhash_rust::xxh3::xxh3_64;

use super::SmallWorld;
use super::cell::{Cell, answer};
use super::node::{Node, Wish};
use crate::checkers::at_most_once;
use crate::disk::Queued;

/// A message under way.
#[derive(Clone, Debug)]
enum Message {
    Request(RegisterRequest),
    Reply(RegisterReply),
}

/// Something that may happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// A client asks its question of a proposer.
    Ask(usize, usize),
    /// A message arrives.
    Deliver(u64),
    /// A disk syncs no more: its node will crash.
    Hang(usize),
    /// Such a node crashes.
    Crash(usize),
}

/// A state.
#[derive(Clone, Debug)]
pub(super) struct State {
    nodes: Vec<Arc<Node>>,
    /// Receivers and messages, by what they amount to.
    under_way: BTreeMap<u64, (usize, Arc<Message>)>,
    /// Questions, and whom they were put to.
    asked: BTreeSet<(usize, usize)>,
    answered: BTreeSet<usize>,
    /// How many disks have hung so far, and those whose nodes have not crashed yet.
    hangs: u32,
    hung: BTreeSet<usize>,
    history: LinearizabilityTester<usize, Cell>,
    /// What was durably accepted at each ballot, and by whom.
    accepted: BTreeMap<Ballot, (Arc<Register>, BTreeSet<usize>)>,
    pub(super) agrees: bool,
    pub(super) is_linearizable: bool,
}

impl PartialEq for State {
    fn eq(&self, other: &State) -> bool {
        let holders = |state: &State| -> Vec<(Ballot, BTreeSet<usize>)> {
            let all = state.accepted.iter();
            all.map(|(ballot, (_, members))| (*ballot, members.clone()))
                .collect()
        };
        self.nodes == other.nodes
            && self.under_way.keys().eq(other.under_way.keys())
            && (&self.asked, self.hangs) == (&other.asked, other.hangs)
            && self.hung == other.hung
            && self.history == other.history
            && holders(self) == holders(other)
            && (self.agrees, self.is_linearizable) == (other.agrees, other.is_linearizable)
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nodes.hash(state);
        for message in self.under_way.keys() {
            state.write_u64(*message);
        }
        self.asked.hash(state);
        self.hangs.hash(state);
        self.hung.hash(state);
        self.history.hash(state);
        for (ballot, (_, members)) in &self.accepted {
            (ballot, members).hash(state);
        }
        (self.agrees, self.is_linearizable).hash(state);
    }
}

fn key() -> RecordKey {
    RecordKey {
        namespace: NamespaceId(1),
        key: Key::new("k").expect("short and not empty"),
    }
}

fn number(member: MemberId) -> usize {
    usize::try_from(member.0 - 1).unwrap_or(usize::MAX)
}

impl State {
    pub(super) fn new(world: &SmallWorld) -> State {
        let proposers: BTreeSet<usize> = world
            .asked
            .iter()
            .flat_map(|(_, proposers)| proposers.iter().copied())
            .collect();
        let node = |number| {
            let proposes = proposers.contains(&number);
            Arc::new(Node::new(number, world.acceptors, proposes, world.planted))
        };
        let mut state = State {
            nodes: (0..world.acceptors).map(node).collect(),
            under_way: BTreeMap::new(),
            asked: BTreeSet::new(),
            answered: BTreeSet::new(),
            hangs: 0,
            hung: BTreeSet::new(),
            history: LinearizabilityTester::new(Cell::default()),
            accepted: BTreeMap::new(),
            agrees: true,
            is_linearizable: true,
        };
        state.settle();
        state
    }

    /// How many questions were answered.
    pub(super) fn answered(&self) -> usize {
        self.answered.len()
    }

    pub(super) fn actions(&self, world: &SmallWorld, actions: &mut Vec<Action>) {
        for (question, (_, proposers)) in world.asked.iter().enumerate() {
            let free = |proposer: &&usize| !self.asked.contains(&(question, **proposer));
            let asks = proposers.iter().filter(free);
            actions.extend(asks.map(|proposer| Action::Ask(question, *proposer)));
        }
        for id in self.under_way.keys() {
            actions.push(Action::Deliver(*id));
        }
        for number in 0..self.nodes.len() {
            if self.hung.contains(&number) {
                actions.push(Action::Crash(number));
            } else if self.hangs < world.crashes {
                actions.push(Action::Hang(number));
            }
        }
    }

    pub(super) fn after(&self, world: &SmallWorld, action: Action) -> State {
        let mut next = self.clone();
        match action {
            Action::Ask(question, proposer) => next.ask(world, question, proposer),
            Action::Deliver(id) => next.deliver(id),
            Action::Hang(number) => {
                next.hangs += 1;
                next.hung.insert(number);
            }
            Action::Crash(number) => {
                next.hung.remove(&number);
                next.node(number).crash(world.planted);
            }
        }
        next.settle();
        next
    }

    /// What happens at once: a node hears itself, and disks sync that do not hang.
    fn settle(&mut self) {
        loop {
            let mut own = self.under_way.iter();
            let own = own.find(|(_, (to, message))| message.sender() == *to);
            if let Some((id, _)) = own {
                let id = *id;
                self.deliver(id);
                continue;
            }
            let mut nodes = self.nodes.iter().enumerate();
            let dirty = nodes.find(|(number, node)| node.is_dirty() && !self.hung.contains(number));
            match dirty.map(|(number, _)| number) {
                Some(number) => self.sync(number),
                None => break,
            }
        }
        self.forget_ignored();
        for number in 0..self.nodes.len() {
            if self.nodes.get(number).is_some_and(|node| node.is_stale()) {
                self.node(number).print();
            }
        }
    }

    /// What an action is, in words.
    pub(super) fn story(&self, action: &Action) -> String {
        match action {
            Action::Ask(question, proposer) => format!("question {question} is put to {proposer}"),
            Action::Hang(node) => format!("the disk of {node} hangs"),
            Action::Crash(node) => format!("{node} crashes"),
            Action::Deliver(id) => match self.under_way.get(id) {
                Some((to, message)) => message.story(*to),
                None => "a message arrives".into(),
            },
        }
    }

    fn node(&mut self, number: usize) -> &mut Node {
        let node = self.nodes.get_mut(number);
        Arc::make_mut(node.expect("nodes are numbered from 0"))
    }

    fn ask(&mut self, world: &SmallWorld, question: usize, proposer: usize) {
        let Some((ask, _)) = world.asked.get(question) else {
            return;
        };
        if !self.asked.iter().any(|(asked, _)| *asked == question) {
            self.history
                .on_invoke(question, *ask)
                .expect("each question is asked once");
        }
        self.asked.insert((question, proposer));
        let event = proposer::Event::Ask {
            origin: Origin::Local(question as u64),
            deadline: Millis(u64::MAX),
            operation: ask.operation(key(), question),
        };
        let mut wishes = Vec::new();
        self.node(proposer).step_proposer(event, &mut wishes);
        self.grant(proposer, wishes);
    }

    fn deliver(&mut self, id: u64) {
        let Some((to, message)) = self.under_way.remove(&id) else {
            return;
        };
        let mut wishes = Vec::new();
        match &*message {
            Message::Request(request) => {
                let event = acceptor::Event::Request(request.clone());
                self.node(to).step_acceptor(event, &mut wishes);
            }
            Message::Reply(reply) => {
                let event = proposer::Event::Reply(reply.clone());
                self.node(to).step_proposer(event, &mut wishes);
            }
        }
        self.grant(to, wishes);
    }

    fn sync(&mut self, number: usize) {
        let (mut wishes, mut durable) = (Vec::new(), Vec::new());
        self.node(number)
            .sync(&mut wishes, |queued| durable.push(queued.clone()));
        for queued in &durable {
            self.became_durable(number, queued);
        }
        self.grant(number, wishes);
    }

    fn became_durable(&mut self, number: usize, queued: &Queued) {
        for op in &queued.batch.ops {
            if let WriteOp::Put {
                keyspace: Keyspace::Records,
                value,
                ..
            } = op
                && let Ok(record) = open::<Record>(value)
                && !record.accepted.is_zero()
            {
                let held = self.accepted.entry(record.accepted);
                let (register, members) =
                    held.or_insert_with(|| (record.register.clone(), BTreeSet::new()));
                self.agrees &= *register == record.register;
                members.insert(number);
            }
        }
        let majority = self.nodes.len() / 2 + 1;
        let chosen = self
            .accepted
            .iter()
            .filter(|(_, (_, members))| members.len() >= majority)
            .map(|(ballot, (register, _))| (*ballot, &**register));
        self.agrees &= at_most_once::check(&key(), chosen).is_ok();
    }

    /// Carries out what a node wants of the world.
    fn grant(&mut self, from: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Acceptor(acceptor::Effect::Reply(reply)) => {
                    self.post(number(reply.reply_to.member), Message::Reply(reply));
                }
                Wish::Proposer(proposer::Effect::Send(to, request)) => {
                    // What was learned is told after a while: here, never.
                    if !matches!(request.body, RequestBody::Learn { .. }) {
                        self.post(number(to), Message::Request(request));
                    }
                }
                Wish::Proposer(proposer::Effect::Answer {
                    origin: Origin::Local(question),
                    result,
                    ..
                }) => self.hear(usize::try_from(question).unwrap_or(from), answer(&result)),
                // Timers never come, nobody follows the log, and nothing is settled.
                Wish::Acceptor(_) | Wish::Proposer(_) => {}
            }
        }
    }

    fn post(&mut self, to: usize, message: Message) {
        let id = xxh3_64(format!("{to} {message:?}").as_bytes());
        self.under_way.insert(id, (to, Arc::new(message)));
    }

    /// A client hears the answer; only the first one to a question counts.
    fn hear(&mut self, question: usize, answer: Option<super::cell::Answer>) {
        let Some(answer) = answer else { return };
        if self.answered.insert(question) {
            self.history
                .on_return(question, answer)
                .expect("each question is answered once");
            self.is_linearizable &= self.history.is_consistent();
        }
    }

    /// Drops messages that their receivers would not notice: a state with them is no other state.
    fn forget_ignored(&mut self) {
        let nodes = &self.nodes;
        self.under_way.retain(|_, (to, message)| match &**message {
            Message::Request(_) => true,
            Message::Reply(reply) => nodes
                .get(*to)
                .and_then(|node| node.proposer.as_ref())
                .is_some_and(|proposer| proposer.awaits(&reply.reply_to)),
        });
    }
}

impl Message {
    fn sender(&self) -> usize {
        number(match self {
            Message::Request(request) => request.reply_to.member,
            Message::Reply(reply) => reply.from,
        })
    }

    fn story(&self, to: usize) -> String {
        let what = match self {
            Message::Request(request) => format!("{:?}", request.body),
            Message::Reply(reply) => format!("{:?}", reply.body),
        };
        let name: String = what.chars().take_while(|c| c.is_alphanumeric()).collect();
        format!("{name} of {} reaches {to}", self.sender())
    }
}
