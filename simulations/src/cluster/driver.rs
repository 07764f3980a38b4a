//! The driver: one task that works off what is due, in the order of time, and lets the actors run
//! in between. It also starts and ends the processes of nodes (see `lives`).

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_actors::directory::Directory;
use engram_actors::embedder::{Embedder, HashModel, InlineEmbedder};
use engram_actors::index_partition::NodeIndex;
use engram_actors::ingress::{Router, Sender};
use engram_actors::supervisor::{NodeArguments, NodeOptions, NodeSupervisor, Stopped};
use engram_core::protocol::membership::Identity;
use engram_core::storage::format::{StoredConfig, open};
use engram_core::storage::{Keyspace, keys};
use engram_core::types::{ClusterConfig, Member};
use ractor::Actor;

use super::node::{Process, family};
use super::panics;
use super::seams;
use super::state::{Happening, State, World};
use super::{CLUSTER, Mutant};
use crate::checkers::Property;

/// What the driver does next.
enum Next {
    Over(bool),
    Happens(Happening),
    Sleeps(tokio::time::Instant),
}

/// Drives a world; see the module.
pub(super) struct Driver {
    pub(super) world: Arc<World>,
}

impl Driver {
    /// Lets things happen until `done` says so, a property is violated, or virtual time is up;
    /// tells whether it was done.
    pub(super) async fn run(&self, limit_us: u64, done: impl Fn(&State) -> bool) -> bool {
        loop {
            match self.next(limit_us, &done) {
                Next::Over(is_done) => return is_done,
                Next::Happens(happening) => {
                    self.happen(happening).await;
                    tokio::task::yield_now().await;
                }
                Next::Sleeps(until) => {
                    // Whichever comes first: both mean to look again.
                    let _ = tokio::time::timeout_at(until, self.world.bell.notified()).await;
                    self.world.lock().sleeping_until_us = 0;
                }
            }
        }
    }

    fn next(&self, limit_us: u64, done: &impl Fn(&State) -> bool) -> Next {
        let mut state = self.world.lock();
        if let Some(story) = panics::unplanned() {
            state.violate(Property::Panic, story);
        }
        if state.is_spinning() {
            let report = super::report::who_waits(&state);
            let story = format!("time stands still: events follow events without end\n{report}");
            state.violate(Property::Progress, story);
        }
        if !state.violations.is_empty() {
            return Next::Over(false);
        }
        if done(&state) {
            return Next::Over(true);
        }
        if state.now_us() >= limit_us {
            return Next::Over(false);
        }
        if let Some(happening) = state.pop_due() {
            return Next::Happens(happening);
        }
        let until_us = state.first_us().unwrap_or(limit_us).min(limit_us);
        // A time within this millisecond is past for the runtime.
        let until_us = until_us.max((state.now_us() / 1000 + 1) * 1000);
        state.sleeping_until_us = until_us;
        Next::Sleeps(state.instant(until_us))
    }

    /// Lets things happen for a while.
    pub(super) async fn pass(&self, duration_us: u64) {
        let limit_us = self.world.lock().now_us() + duration_us;
        self.run(limit_us, |_| false).await;
    }

    async fn happen(&self, happening: Happening) {
        let world = &self.world;
        let paused = happening
            .node()
            .and_then(|node| world.lock().paused_until_us(node));
        if let Some(until_us) = paused {
            // All that happens to a paused node happens when it goes on, in the same order.
            return world.lock().at(until_us, happening);
        }
        match happening {
            Happening::Frame {
                from,
                to,
                link,
                bytes,
                durable,
            } => self.frame_arrives(from, to, link, &bytes, durable),
            Happening::Request {
                client,
                node,
                bytes,
            } => self.request_arrives(client, node, &bytes),
            Happening::Response { client, bytes } => world.lock().client_hears(client, &bytes),
            Happening::Unreachable { client, request } => {
                world.lock().unreachable(client, request);
            }
            Happening::Synced { node, life } => {
                let answered = {
                    let mut state = world.lock();
                    if !state.lives(node, life) {
                        return;
                    }
                    state.synced(node)
                };
                for (done, result) in answered {
                    done(result);
                }
            }
            Happening::Looked { node, life, read } => {
                let found = {
                    let mut state = world.lock();
                    if !state.lives(node, life) {
                        return;
                    }
                    state.looked(node, read)
                };
                if let Some((done, outcome)) = found {
                    done(Ok(outcome));
                }
            }
            Happening::Worked { node, life, job } => {
                let work = {
                    let mut state = world.lock();
                    if !state.lives(node, life) {
                        return;
                    }
                    state.node_mut(node).jobs.remove(&job)
                };
                if let Some(work) = work {
                    work();
                }
            }
            Happening::Link { low, high } => {
                let mut state = world.lock();
                state.look_at_link(low, high);
                state.see_who_serves();
            }
            Happening::Notice {
                node,
                life,
                peer,
                member,
                link,
                up,
            } => {
                let told = {
                    let mut state = world.lock();
                    if !state.lives(node, life) {
                        return;
                    }
                    state.noticed(node, (peer, member), link, up)
                };
                if let Some((process, message)) = told
                    && let Some(gossip) = process.directory.gossip()
                {
                    let _ = gossip.cast(message);
                }
            }
            Happening::Restart { node } => self.restart(node).await,
            Happening::PowerOff {
                node,
                life,
                down_us,
            } => self.power_off(node, life, down_us),
            Happening::Stopped { node, life } => self.stopped(node, life),
            Happening::Client { client, token } => world.lock().client_wakes(client, token),
            Happening::Watcher {
                watcher,
                shard,
                token,
            } => world.lock().watcher_wakes(watcher, shard, token),
            Happening::Fault(number) => self.fault(number),
            Happening::Step(number, step) => self.step(number, step),
        }
    }

    fn frame_arrives(
        &self,
        from: usize,
        to: usize,
        link: u64,
        bytes: &[u8],
        durable: engram_core::types::Lsn,
    ) {
        let (process, member) = {
            let mut state = self.world.lock();
            if !state.hears(from, to, link) || state.is_blocked(from, to) {
                state.counters.lost += 1;
                return;
            }
            state.counters.delivered += 1;
            let Some(process) = state.node(to).process.clone() else {
                return;
            };
            (process, state.node(from).member)
        };
        process.directory.saw_lsn(member, durable);
        process.router.frame(Sender::Member(member), bytes);
    }

    fn request_arrives(&self, client: usize, node: usize, bytes: &[u8]) {
        let process = {
            let mut state = self.world.lock();
            let it = state.node(node);
            match it.process.clone().filter(|_| it.up) {
                Some(process) => process,
                None => {
                    if let Ok(engram_core::wire::Frame::Request(envelope)) =
                        engram_core::wire::Frame::decode(bytes)
                    {
                        let request = envelope.request.0;
                        state.after(500, Happening::Unreachable { client, request });
                    }
                    return;
                }
            }
        };
        process
            .router
            .frame(Sender::Client(State::session(client)), bytes);
    }

    /// Starts the process of a node that is down.
    pub(super) async fn restart(&self, node: usize) {
        if self.world.with(|state| state.refuses(node)) {
            return;
        }
        let Some(life) = self.world.lock().begin_life(node) else {
            return;
        };
        let (env, arguments) = self.arguments(node, life);
        let (directory, identity) = (arguments.directory.clone(), arguments.identity.clone());
        let Ok((supervisor, _)) = Actor::spawn(None, NodeSupervisor, arguments).await else {
            let story = format!("the actors of node {node} did not start");
            return self.world.lock().violate(Property::Panic, story);
        };
        let mut own = supervisor.get_children();
        own.sort_by_key(|child| child.get_id().pid());
        let router = Router::new(directory.clone(), env);
        let mut state = self.world.lock();
        if state.node(node).life == life {
            state.node_mut(node).process = Some(Process {
                directory,
                router,
                supervisor,
                identity,
                own,
            });
        }
    }

    fn arguments(&self, node: usize, life: u64) -> (engram_actors::env::Env, NodeArguments) {
        let mut state = self.world.lock();
        let (seed, number) = (state.choices.next_u64(), state.choices.next_u64());
        let now = state.clock(node);
        let planted = state.mutant.map(Mutant::planted).unwrap_or_default();
        let (profile, it) = (state.profile.clone(), state.node(node));
        let stored = stored_config(it.disk.get(Keyspace::Meta, &keys::config(), 0));
        let member = Member {
            id: it.member,
            name: it.name.clone(),
            address: format!("{}:1", it.name),
            zone: None,
        };
        let identity = Identity {
            cluster: CLUSTER.into(),
            member: member.clone(),
            boot: it.boot,
            life: number,
            shards: profile.shards,
            cluster_id: stored.as_ref().map_or(0, |(config, _)| config.cluster_id),
            config_version: stored.as_ref().map_or(0, |(config, _)| config.version),
        };
        let (boot, boot_lsn, texts) = (it.boot, it.lsn, it.texts.clone());
        drop(state);
        let env = seams::env(&self.world, node, life, seed);
        let directory = Arc::new(Directory::new(member, boot, now));
        if let Some((config, _)) = &stored {
            directory.set_config(Arc::new(config.clone()));
        }
        let hash: Arc<dyn Embedder> = Arc::new(InlineEmbedder::new(Box::new(HashModel)));
        let models = BTreeMap::from([("builtin".to_owned(), hash)]);
        let index = NodeIndex::inline(
            texts,
            models,
            seams::segments(),
            directory.clone(),
            env.clone(),
        );
        directory.set_index(Arc::new(index));
        let world = self.world.clone();
        let arguments = NodeArguments {
            options: NodeOptions {
                expected: Some(profile.nodes),
                cache_bytes: profile.cache_bytes,
                purge_after_ms: profile.purge_after_ms,
                planted,
            },
            directory,
            env: env.clone(),
            identity,
            boot_lsn,
            stored,
            on_stopped: Arc::new(move |why: Stopped| {
                world.with(|state| state.ends(node, life, why));
            }),
        };
        (env, arguments)
    }

    /// Ends the process of a node at once: nothing of it happens any more, and of what it had not
    /// synced a random part is kept.
    pub(super) fn crash(&self, node: usize) {
        let remains = self.world.with(|state| state.end_life(node));
        for cell in remains
            .process
            .iter()
            .flat_map(|process| family(&process.supervisor))
        {
            cell.kill();
        }
        // What nobody waits for any more is let go here, without the lock.
        drop(remains);
    }

    fn power_off(&self, node: usize, life: u64, down_us: u64) {
        {
            let mut state = self.world.lock();
            if !state.lives(node, life) || state.healed || state.is_protected(node) {
                return;
            }
            state.counters.crashes += 1;
        }
        self.crash(node);
        self.world
            .with(|state| state.after(down_us, Happening::Restart { node }));
    }

    /// A node's supervisor has ended by itself, and the process with it.
    fn stopped(&self, node: usize, life: u64) {
        let why = {
            let mut state = self.world.lock();
            let it = state.node_mut(node);
            if it.life != life {
                return;
            }
            it.stopped.take()
        };
        self.crash(node);
        let reason = match why {
            Some(Stopped::Fatal(reason)) => reason,
            _ => "it was asked to".into(),
        };
        self.world.with(|state| state.judge_end(node, &reason));
    }

    /// Ends all processes, so that nothing of this world is left in the runtime.
    pub(super) async fn end(&self) {
        let count = self.world.lock().nodes.len();
        for node in 0..count {
            self.crash(node);
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn stored_config(bytes: Option<bytes::Bytes>) -> Option<(ClusterConfig, bool)> {
    let stored = open::<StoredConfig>(&bytes?).ok()?;
    Some((stored.config, stored.formed))
}

impl Happening {
    /// The node whose process it needs.
    fn node(&self) -> Option<usize> {
        match self {
            Happening::Frame { to: node, .. }
            | Happening::Request { node, .. }
            | Happening::Synced { node, .. }
            | Happening::Looked { node, .. }
            | Happening::Worked { node, .. }
            | Happening::Notice { node, .. } => Some(*node),
            _ => None,
        }
    }
}
