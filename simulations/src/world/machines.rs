//! Steps the state machines of a node, and carries out what they want done.

use engram_core::protocol::register::acceptor::{self, Effect as AcceptorEffect};
use engram_core::protocol::register::proposer::{self, Effect as ProposerEffect, Origin};
use engram_core::types::{Ballot, MemberId, Millis, RecordKey};
use engram_core::wire::register::{RegisterReply, ReplyBody, RequestBody};

use super::{LocalEvent, Message, World};
use crate::checkers::{Property, acknowledged, durable_replies};
use crate::disk::Queued;
use crate::profile::Planted;

impl World {
    /// A message arrives at a node that is up.
    pub(super) fn arrive(&mut self, node: usize, message: Message) {
        self.counters.delivered += 1;
        match message {
            Message::Request(request) => {
                self.step_acceptor(node, acceptor::Event::Request(request));
            }
            Message::Reply(reply) => self.reply_arrives(node, reply),
            Message::Ask { ask } => self.ask_arrives(node, ask),
            Message::HighestSeen(n) => self.step_proposer(node, proposer::Event::HighestSeen(n)),
        }
    }

    /// Refusals do not say whether they answer a round or a catch-up: both look at them.
    fn reply_arrives(&mut self, node: usize, reply: RegisterReply) {
        let (to_acceptor, to_proposer) = match &reply.body {
            ReplyBody::Changes { .. } | ReplyBody::Records { .. } => (true, false),
            ReplyBody::StaleEpoch { .. } | ReplyBody::NotVoting | ReplyBody::Busy => (true, true),
            _ => (false, true),
        };
        if to_acceptor {
            self.step_acceptor(node, acceptor::Event::Reply(reply.clone()));
        }
        if to_proposer {
            if self.planted == Some(Planted::EarlyPurge)
                && let ReplyBody::Accepted { ballot } = reply.body
                && let Some(key) = self.asked_about.get(&reply.reply_to).cloned()
            {
                self.purge_early(node, reply.from, &key, ballot);
            }
            self.step_proposer(node, proposer::Event::Reply(reply));
        }
    }

    /// A local event happens to the life for which it was meant.
    pub(super) fn local(&mut self, node: usize, event: LocalEvent) {
        match event {
            LocalEvent::Acceptor(event) => self.step_acceptor(node, event),
            LocalEvent::Proposer(event) => self.step_proposer(node, event),
            LocalEvent::Load(io, keyspace, key) => {
                let dirty = self.dirty(node);
                let found = self.node(node).disk.get(keyspace, &key, dirty);
                let back_us = self.random.below(self.profile.read_us);
                let event = LocalEvent::Acceptor(acceptor::Event::Loaded(io, found));
                self.later(node, back_us, event);
            }
            LocalEvent::Range(io, query) => {
                let dirty = self.dirty(node);
                let page = self.node(node).disk.range(&query, dirty);
                let back_us = self.random.below(self.profile.read_us);
                let event = LocalEvent::Acceptor(acceptor::Event::Ranged(io, page));
                self.later(node, back_us, event);
            }
            LocalEvent::Tick => {
                let rank = self.node(node).view.iter().filter(|peer| **peer < node);
                let rank = rank.count();
                self.step_acceptor(node, acceptor::Event::Tick { rank });
                self.later(node, acceptor::TICK_MS * 1000, LocalEvent::Tick);
            }
            LocalEvent::Timer { due_us } => self.timer(node, due_us),
            LocalEvent::IndexAsks => self.index_asks(node),
            LocalEvent::IndexCommits => self.index_commits(node),
            LocalEvent::IndexFed(page) => self.index_fed(node, &page),
        }
    }

    fn step_acceptor(&mut self, node: usize, event: acceptor::Event) {
        let now = self.clock(node);
        self.trace
            .note(self.now_us, format_args!("{node} {}", Acceptors(&event)));
        if let acceptor::Event::Reply(RegisterReply {
            body: ReplyBody::Records { records },
            ..
        }) = &event
        {
            self.counters.fetched += records.len() as u64;
        }
        let mut effects = Vec::new();
        if let Some(machines) = &mut self.node_mut(node).machines {
            machines.acceptor.step(now, event, &mut effects);
        }
        for effect in effects {
            self.acceptor_effect(node, effect);
        }
    }

    fn acceptor_effect(&mut self, node: usize, effect: AcceptorEffect) {
        let read_us = self.profile.read_us;
        match effect {
            AcceptorEffect::Append(io, batch) => {
                let life = self.node(node).life;
                self.append(node, Queued { life, io, batch });
            }
            AcceptorEffect::Load(io, keyspace, key) => {
                let delay_us = self.random.below(read_us);
                self.later(node, delay_us, LocalEvent::Load(io, keyspace, key));
            }
            AcceptorEffect::Range(io, query) => {
                let delay_us = self.random.below(read_us);
                self.later(node, delay_us, LocalEvent::Range(io, query));
            }
            AcceptorEffect::Reply(reply) => self.reply_leaves(node, reply),
            AcceptorEffect::Send(to, request) => {
                let to = self.number(to);
                self.send(node, to, Message::Request(request));
            }
            AcceptorEffect::Advance(below) => self.index_hears(node, below),
            // Nobody watches here.
            AcceptorEffect::Watched(_) => {}
            AcceptorEffect::Feed(page) => self.soon(node, LocalEvent::IndexFed(page)),
            // Only an index asks for it.
            AcceptorEffect::Freshened { .. } => {}
            AcceptorEffect::Settle(key) => {
                self.soon(node, LocalEvent::Proposer(proposer::Event::Settle(key)));
            }
            AcceptorEffect::Purge(key) => {
                self.soon(node, LocalEvent::Proposer(proposer::Event::Purge(key)));
            }
            AcceptorEffect::Serving => self.trace.note(self.now_us, format_args!("{node} serves")),
            AcceptorEffect::Corrupt(key, error) => {
                self.trace
                    .note(self.now_us, format_args!("{node} {key:?}: {error}"));
            }
            AcceptorEffect::Rebuild(key, abstention) => {
                let event = proposer::Event::Rebuild(key, abstention);
                self.soon(node, LocalEvent::Proposer(event));
            }
            AcceptorEffect::Broken(io) => {
                self.violate(Property::Answered, format!("{node} cannot read {io:?}"));
            }
            AcceptorEffect::Whole(key) => {
                self.counters.rebuilt += 1;
                self.trace
                    .note(self.now_us, format_args!("{node} rebuilt {key:?}"));
            }
        }
    }

    fn reply_leaves(&mut self, node: usize, reply: RegisterReply) {
        let member = self.node(node).member;
        if let Some(key) = self.asked_about.get(&reply.reply_to) {
            let result = durable_replies::check(&self.disks, member, key, &reply.body);
            self.check(result);
        }
        let to = self.number(reply.reply_to.member);
        self.send(node, to, Message::Reply(reply));
    }

    pub(super) fn step_proposer(&mut self, node: usize, event: proposer::Event) {
        let now = self.clock(node);
        self.trace
            .note(self.now_us, format_args!("{node} {}", Proposers(&event)));
        let mut effects = Vec::new();
        if let Some(machines) = &mut self.node_mut(node).machines {
            machines.proposer.step(now, event, &mut effects);
        }
        for effect in effects {
            self.proposer_effect(node, effect);
        }
    }

    fn proposer_effect(&mut self, node: usize, effect: ProposerEffect) {
        match effect {
            ProposerEffect::Send(to, request) => {
                match &request.body {
                    RequestBody::Prepare { key, .. } | RequestBody::Read { key, .. } => {
                        self.asked_about.insert(request.reply_to, key.clone());
                    }
                    RequestBody::Accept {
                        key,
                        ballot,
                        register,
                        next,
                    } => {
                        self.asked_about.insert(request.reply_to, key.clone());
                        self.saw_register(key, *ballot, register);
                        // Only a purge reserves nothing.
                        if register.value.is_none() && next.is_zero() {
                            let purge = (key.clone(), *ballot);
                            self.purging.entry(purge).or_default();
                        }
                    }
                    _ => {}
                }
                let to = self.number(to);
                self.send(node, to, Message::Request(request));
            }
            ProposerEffect::Answer {
                origin,
                time,
                result,
            } => {
                if let Origin::Local(ask) = origin {
                    self.answer_leaves(node, ask, time, result);
                }
            }
            ProposerEffect::Rebuilt {
                key,
                abstention,
                ballot,
                register,
            } => {
                let event = acceptor::Event::Rebuilt {
                    key,
                    abstention,
                    ballot,
                    register,
                };
                self.soon(node, LocalEvent::Acceptor(event));
            }
            ProposerEffect::SetTimer(at) => self.set_timer(node, at),
        }
    }

    /// Only the earliest timer counts.
    fn set_timer(&mut self, node: usize, at: Millis) {
        let delay_us = self.until_clock_us(node, at);
        let due_us = self.now_us + delay_us;
        let Some(machines) = &mut self.node_mut(node).machines else {
            return;
        };
        if machines.timer_us.is_none_or(|armed_us| due_us < armed_us) {
            machines.timer_us = Some(due_us);
            self.later(node, delay_us, LocalEvent::Timer { due_us });
        }
    }

    fn timer(&mut self, node: usize, due_us: u64) {
        let machines = self.node_mut(node).machines.as_mut();
        if let Some(machines) = machines.filter(|machines| machines.timer_us == Some(due_us)) {
            machines.timer_us = None;
            self.step_proposer(node, proposer::Event::Timer);
        }
    }

    fn answer_leaves(
        &mut self,
        node: usize,
        ask: u64,
        time: engram_core::types::LogicalTime,
        result: Result<engram_core::wire::ClientReply, engram_core::wire::RequestError>,
    ) {
        let now = self.clock(node);
        let excused = self.node(node).excused_until_us >= self.now_us;
        let late_ms = if excused { u64::MAX } else { 20 };
        if let Some(machines) = &mut self.node_mut(node).machines {
            let result = machines.answers.answered(ask, now, late_ms);
            self.check(result);
        }
        if let Ok(engram_core::wire::ClientReply::Written(written)) = &result
            && let Some(key) = self.asks.get(&ask).and_then(|ask| ask.key.clone())
        {
            let members = self.members();
            let result = acknowledged::check(&self.disks, &members, &key, written.version);
            self.check(result);
        }
        self.trace
            .note(self.now_us, format_args!("{node} answers {ask} {result:?}"));
        self.answer_travels(ask, time, result);
    }

    pub(super) fn number(&self, member: MemberId) -> usize {
        let found = self.nodes.iter().position(|node| node.member == member);
        found.expect("messages go to members")
    }

    /// The index hears that there is more to read.
    fn index_hears(&mut self, node: usize, below: engram_core::types::Lseq) {
        let Some(machines) = &mut self.node_mut(node).machines else {
            return;
        };
        machines.index_target = machines.index_target.max(below.0);
        if !machines.index_asking {
            machines.index_asking = true;
            let delay_us = self.random.below(300_000);
            self.later(node, delay_us, LocalEvent::IndexAsks);
        }
    }

    fn index_asks(&mut self, node: usize) {
        let limit = 1 + usize::try_from(self.random.below(4)).unwrap_or(0);
        let after = self.node(node).index.seen;
        let event = acceptor::Event::Feed {
            token: 7,
            after,
            limit,
        };
        self.step_acceptor(node, event);
    }

    fn index_fed(&mut self, node: usize, page: &acceptor::FeedPage) {
        self.counters.fed += page.entries.len() as u64;
        let Some(it) = self.nodes.get_mut(node) else {
            return;
        };
        let ledger = &self.ledger;
        let result = it
            .index
            .page(page, |key, register| ledger.was_chosen(key, register));
        let seen = it.index.seen;
        if let Some(machines) = &mut it.machines {
            machines.index_asking = machines.index_target > seen.0.saturating_add(1);
            if machines.index_asking {
                self.soon(node, LocalEvent::IndexAsks);
            }
        }
        if self.planted == Some(Planted::EagerIndex) {
            let indexed = acceptor::Event::Indexed(seen);
            self.soon(node, LocalEvent::Acceptor(indexed));
        }
        let delay_us = self.random.below(self.profile.index_commit_ms * 1000);
        self.later(node, delay_us, LocalEvent::IndexCommits);
        self.check(result);
    }

    /// What the index was fed is durable.
    fn index_commits(&mut self, node: usize) {
        let index = &mut self.node_mut(node).index;
        index.commit();
        let indexed = acceptor::Event::Indexed(index.durable());
        self.step_acceptor(node, indexed);
    }

    /// The planted bug: a purge is ordered as soon as two replicas have accepted the tombstone.
    fn purge_early(&mut self, node: usize, from: MemberId, key: &RecordKey, ballot: Ballot) {
        let Some(accepted) = self.purging.get_mut(&(key.clone(), ballot)) else {
            return;
        };
        if accepted.insert(from) && accepted.len() == 2 {
            for to in 0..self.nodes.len() {
                self.forge_purge(node, to, key, ballot);
            }
        }
    }

    fn forge_purge(&mut self, from: usize, to: usize, key: &RecordKey, ballot: Ballot) {
        let it = self.node(from);
        let reply_to = engram_core::wire::register::ReplyTo {
            member: it.member,
            incarnation: it.incarnation,
            request: engram_core::types::RequestId(0),
        };
        let request = engram_core::wire::register::RegisterRequest {
            shard: super::SHARD,
            epoch: engram_core::types::Epoch(1),
            reply_to,
            body: RequestBody::Purge {
                key: key.clone(),
                ballot,
            },
        };
        self.send(from, to, Message::Request(request));
    }
}

/// A short form of an event, for the trace.
struct Acceptors<'a>(&'a acceptor::Event);
struct Proposers<'a>(&'a proposer::Event);

impl std::fmt::Display for Acceptors<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            acceptor::Event::Request(request) => {
                let (from, id) = (request.reply_to.member, request.reply_to.request.0);
                write!(f, "<- {from} #{id} ")?;
                match &request.body {
                    RequestBody::Accept {
                        key, ballot, next, ..
                    } => write!(f, "Accept {:?} {ballot} next {next}", key.key),
                    RequestBody::Prepare { key, ballot, .. } => {
                        write!(f, "Prepare {:?} {ballot}", key.key)
                    }
                    RequestBody::Read { key, .. } => write!(f, "Read {:?}", key.key),
                    RequestBody::Learn { chosen } => write!(f, "Learn {chosen:?}"),
                    other => write!(f, "{other:?}"),
                }
            }
            acceptor::Event::Reply(reply) => {
                write!(f, "=> {} #{} ", reply.from, reply.reply_to.request.0)?;
                body(&reply.body, f)
            }
            acceptor::Event::Loaded(io, bytes) => {
                write!(
                    f,
                    "loaded {} {}",
                    io.0,
                    bytes.as_ref().map_or(0, bytes::Bytes::len)
                )
            }
            acceptor::Event::Ranged(io, page) => {
                write!(f, "ranged {} {} {}", io.0, page.entries.len(), page.more)
            }
            acceptor::Event::Durable(io) => write!(f, "durable {}", io.0),
            other => write!(f, "{other:?}"),
        }
    }
}

fn body(body: &ReplyBody, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    match body {
        ReplyBody::Promise {
            ballot, accepted, ..
        } => write!(f, "Promise {ballot} has {accepted}"),
        ReplyBody::Read { accepted, .. } => write!(f, "Read {accepted}"),
        ReplyBody::Scanned { entries, more } => {
            write!(f, "Scanned {more}")?;
            entries
                .iter()
                .try_for_each(|(key, ballot, _)| write!(f, " {key:?}@{ballot}"))
        }
        ReplyBody::Records { records } => {
            write!(f, "Records")?;
            records.iter().try_for_each(|(key, fetched)| match fetched {
                engram_core::wire::register::Fetched::Newer(record) => {
                    write!(f, " {:?}@{}", key.key, record.accepted)
                }
                other => write!(f, " {:?} {other:?}", key.key),
            })
        }
        other => write!(f, "{other:?}"),
    }
}

impl std::fmt::Display for Proposers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            proposer::Event::Reply(reply) => {
                write!(f, "-> {} #{} ", reply.from, reply.reply_to.request.0)?;
                body(&reply.body, f)
            }
            other => write!(f, "{other:?}"),
        }
    }
}
