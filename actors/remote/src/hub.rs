//! What the actors of an endpoint share: who is who, and the performance of link effects.
//!
//! Locks, in this order: a link's machine, the registry, the peers; never two machines at once,
//! and neither registry nor peers during a call to the handler.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engram_core::protocol::link::limits::EARLY_HELLOS_MAX;
use engram_core::protocol::link::{
    DownReason, Hello, Link, LinkEffect, LinkEvent, PeerHello, Reappearance, Refusal, Window,
    compare_identities, judge_reappearance,
};
use engram_core::types::{Lsn, SessionId};
use ractor::ActorRef;

use crate::connections::ConnectionsMessage;
use crate::handler::{Handler, PeerHandle, PeerId, SendError};
use crate::link::{Broken, LiveLink};
use crate::packet::{Body, Packet};
use crate::random::Random;
use crate::status::{Counters, EndpointStatus, TargetStatus, count};
use crate::sync::{lock, read, write};

/// Scope of the process groups of ingresses. The same for all clusters, so that a process of the
/// wrong cluster can be told so; the group is that of the one process.
const GROUP_SCOPE: &str = "engram";

/// Every link by what it may be looked up by.
#[derive(Default)]
struct Registry {
    by_session: BTreeMap<SessionId, Arc<LiveLink>>,
    by_process: BTreeMap<String, Arc<LiveLink>>,
    /// Hellos of processes whose session is not ready here yet: it becomes so at the two ends at
    /// different times.
    early: BTreeMap<String, Hello>,
}

impl Registry {
    fn keep_early(&mut self, hello: Hello) {
        if self.early.len() >= EARLY_HELLOS_MAX && !self.early.contains_key(&hello.process) {
            self.early.pop_first();
        }
        self.early.insert(hello.process.clone(), hello);
    }
}

/// The shared part of an endpoint.
pub(crate) struct Hub {
    /// Name of this process.
    pub(crate) process: String,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) random: Random,
    pub(crate) counters: Counters,
    /// Kept by the connections actor.
    pub(crate) targets: Mutex<Vec<TargetStatus>>,
    window: Window,
    started: Instant,
    registry: Mutex<Registry>,
    /// The links that are up.
    peers: RwLock<BTreeMap<PeerId, Arc<LiveLink>>>,
    connections: OnceLock<ActorRef<ConnectionsMessage>>,
}

impl Hub {
    pub(crate) fn new(
        process: String,
        handler: Arc<dyn Handler>,
        random: Random,
        window: Window,
    ) -> Hub {
        Hub {
            process,
            handler,
            random,
            counters: Counters::default(),
            targets: Mutex::new(Vec::new()),
            window,
            started: Instant::now(),
            registry: Mutex::new(Registry::default()),
            peers: RwLock::new(BTreeMap::new()),
            connections: OnceLock::new(),
        }
    }

    /// Names the actor to be told of links that come and go.
    pub(crate) fn set_connections(&self, connections: ActorRef<ConnectionsMessage>) {
        let _ = self.connections.set(connections);
    }

    /// Scope and name of the process group that this process' ingress joins.
    pub(crate) fn own_group(&self) -> (String, String) {
        Self::group_of(&self.process)
    }

    /// Scope and name of the process group of a process' ingress.
    pub(crate) fn group_of(process: &str) -> (String, String) {
        (GROUP_SCOPE.to_owned(), process.to_owned())
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    pub(crate) fn send(&self, to: PeerId, frame: Bytes) -> Result<(), SendError> {
        let link = read(&self.peers).get(&to).cloned();
        let link = link.ok_or(SendError::NotConnected(to))?;
        PeerHandle::new(to, link).send(frame)
    }

    pub(crate) fn peer(&self, id: PeerId) -> Option<PeerHandle> {
        let link = read(&self.peers).get(&id).cloned()?;
        Some(PeerHandle::new(id, link))
    }

    pub(crate) fn status(&self) -> EndpointStatus {
        let links: Vec<Arc<LiveLink>> = read(&self.peers).values().cloned().collect();
        EndpointStatus {
            process: self.process.clone(),
            targets: lock(&self.targets).clone(),
            links: links.iter().filter_map(|link| link.status()).collect(),
            traffic: self.counters.snapshot(),
        }
    }

    /// Registers a link whose actor runs, and greets the peer.
    pub(crate) fn begin(&self, link: &Arc<LiveLink>) {
        let (old, early) = {
            let mut registry = lock(&self.registry);
            registry.by_session.insert(link.parts.session, link.clone());
            let process = link.parts.process.clone();
            let early = registry.early.remove(&process);
            (registry.by_process.insert(process, link.clone()), early)
        };
        if let Some(old) = old {
            self.step(&old, LinkEvent::Close(DownReason::Superseded));
        }
        let hello = Hello {
            identity: self.handler.hello(),
            process: self.process.clone(),
            session: link.parts.session,
        };
        if self.send_control(link, Body::Hello(hello)).is_err() {
            self.step(link, LinkEvent::Close(DownReason::ConnectionLost));
        }
        if let Some(early) = early {
            self.receive_hello(early);
        }
    }

    /// Takes one packet from anybody.
    pub(crate) fn receive(&self, bytes: Bytes) {
        count(&self.counters.packets_received);
        let packet = match Packet::decode(bytes) {
            Ok(packet) => packet,
            Err(error) => {
                count(&self.counters.packets_malformed);
                tracing::debug!(%error, "dropped a malformed packet");
                return;
            }
        };
        if let Body::Hello(hello) = packet.body {
            self.receive_hello(hello);
            return;
        }
        let link = lock(&self.registry)
            .by_session
            .get(&packet.header.session)
            .cloned();
        match link {
            Some(link) => self.receive_on(&link, packet),
            None => count(&self.counters.packets_unknown_session),
        }
    }

    fn receive_on(&self, link: &Arc<LiveLink>, packet: Packet) {
        let Packet { header, body } = packet;
        let mut machine = lock(&link.machine);
        self.step_locked(link, &mut machine, LinkEvent::Heard);
        if !link.acknowledge(header.credit) {
            count(&self.counters.packets_unexpected);
        }
        if machine.is_up()
            && let Some(up) = link.peer()
            && let PeerId::Member(member) = up.id
            && link.raises_lsn(header.durable_lsn)
        {
            self.handler.saw_lsn(member, header.durable_lsn);
        }
        match body {
            Body::Frames(frames) => self.deliver(link, &machine, frames),
            Body::Accept(accept) => {
                self.step_locked(link, &mut machine, LinkEvent::Accept(accept));
            }
            Body::Refuse(refusal) => {
                self.step_locked(link, &mut machine, LinkEvent::Refuse(refusal));
            }
            Body::Heartbeat(token) => {
                // A broken link is noticed by its own heartbeat.
                let _ = self.send_control(link, Body::HeartbeatReply(token));
            }
            Body::HeartbeatReply(token) => {
                let sent = Duration::from_micros(token);
                link.set_round_trip(self.started.elapsed().saturating_sub(sent));
            }
            Body::Goodbye => self.step_locked(link, &mut machine, LinkEvent::Goodbye),
            Body::Hello(_) => count(&self.counters.packets_unexpected),
        }
    }

    fn deliver(&self, link: &Arc<LiveLink>, machine: &MutexGuard<'_, Link>, frames: Vec<Bytes>) {
        if frames.is_empty() {
            return;
        }
        let Some(up) = link.peer().filter(|_| machine.is_up()) else {
            count(&self.counters.packets_unexpected);
            return;
        };
        let (number, bytes) = (frames.len(), frames.iter().map(Bytes::len).sum());
        self.handler.frames(up.id, frames);
        link.processed(number, bytes);
    }

    /// Brings a hello to the link of its process, or keeps it until there is one. A link that the
    /// hello itself ends leaves it to its successor.
    fn receive_hello(&self, hello: Hello) {
        let Some(link) = self.link_for(&hello) else {
            return;
        };
        let was_up = lock(&link.machine).is_up();
        let verdict = if was_up {
            Ok(Lsn(0))
        } else {
            self.judge(&link, &hello)
        };
        let mut machine = lock(&link.machine);
        let was_closed = machine.is_closed();
        self.step_locked(
            &link,
            &mut machine,
            LinkEvent::Hello {
                hello: hello.clone(),
                verdict,
            },
        );
        let left_over = was_closed || (was_up && machine.is_closed());
        drop(machine);
        if left_over {
            lock(&self.registry).keep_early(hello);
        }
    }

    fn link_for(&self, hello: &Hello) -> Option<Arc<LiveLink>> {
        let mut registry = lock(&self.registry);
        let link = registry.by_process.get(&hello.process).cloned();
        if link.is_none() {
            registry.keep_early(hello.clone());
        }
        link
    }

    /// This process' opinion of a greeting. May close the dead link of a restarted member.
    fn judge(&self, link: &Arc<LiveLink>, hello: &Hello) -> Result<Lsn, Refusal> {
        let ours = self.handler.hello();
        compare_identities(&ours, &hello.identity)?;
        let Some(theirs) = hello.identity.member() else {
            self.handler.check(&hello.identity)?;
            return Ok(Lsn(0));
        };
        let copied = |address: &str| Refusal::CopiedData {
            member: theirs.member,
            address: address.to_owned(),
        };
        if let Some(me) = ours.member()
            && me.member == theirs.member
        {
            return Err(copied(&me.address));
        }
        self.handler.check(&hello.identity)?;
        let other = read(&self.peers)
            .get(&PeerId::Member(theirs.member))
            .cloned();
        if let Some(other) = other
            && !Arc::ptr_eq(&other, link)
            && let Some(connected) = other.peer().and_then(|up| up.hello.identity.member())
        {
            if other.parts.process == hello.process {
                self.step(&other, LinkEvent::Close(DownReason::Superseded));
            } else if judge_reappearance(connected, theirs) == Reappearance::Restarted {
                self.step(&other, LinkEvent::Close(DownReason::Replaced));
            } else {
                return Err(copied(&connected.address));
            }
        }
        Ok(self.handler.seen_lsn(theirs.member))
    }

    /// Takes an event to a link and does what it calls for.
    pub(crate) fn step(&self, link: &Arc<LiveLink>, event: LinkEvent) {
        let mut machine = lock(&link.machine);
        self.step_locked(link, &mut machine, event);
    }

    fn step_locked(
        &self,
        link: &Arc<LiveLink>,
        machine: &mut MutexGuard<'_, Link>,
        event: LinkEvent,
    ) {
        let mut effects = Vec::new();
        machine.step(event, &mut effects);
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            if let Err(reason) = self.perform(link, effect) {
                let mut more = Vec::new();
                machine.step(LinkEvent::Close(reason), &mut more);
                effects.extend(more);
            }
        }
    }

    fn perform(&self, link: &Arc<LiveLink>, effect: LinkEffect) -> Result<(), DownReason> {
        let sent = |result: Result<(), Broken>| result.map_err(|_| DownReason::ConnectionLost);
        match effect {
            LinkEffect::Stamp(session) => {
                link.set_stamp(session);
                Ok(())
            }
            LinkEffect::Accept(accept) => sent(self.send_control(link, Body::Accept(accept))),
            LinkEffect::Refuse(refusal) => sent(self.send_control(link, Body::Refuse(refusal))),
            LinkEffect::Heartbeat => {
                let token = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
                sent(self.send_control(link, Body::Heartbeat(token)))
            }
            LinkEffect::Up(hello) => self.bring_up(link, hello),
            LinkEffect::Down(reason) => {
                self.take_down(link, reason);
                Ok(())
            }
            LinkEffect::Close(reason) => {
                self.forget(link, reason);
                Ok(())
            }
        }
    }

    fn bring_up(&self, link: &Arc<LiveLink>, hello: PeerHello) -> Result<(), DownReason> {
        let id = match hello.identity.member() {
            Some(member) => PeerId::Member(member.member),
            None => PeerId::Client(link.parts.session),
        };
        {
            let mut peers = write(&self.peers);
            if peers.contains_key(&id) {
                return Err(DownReason::Duplicate);
            }
            link.set_peer(id, hello.clone());
            peers.insert(id, link.clone());
        }
        tracing::info!(peer = %id, process = %hello.process, "link up");
        let advertised = hello.identity.member().map(|member| member.address.clone());
        self.tell(ConnectionsMessage::LinkUp {
            connection: link.parts.connection,
            peer: id,
            advertised,
        });
        self.handler.up(&PeerHandle::new(id, link.clone()), &hello);
        Ok(())
    }

    fn take_down(&self, link: &Arc<LiveLink>, reason: DownReason) {
        let Some(up) = link.peer() else {
            return;
        };
        {
            let mut peers = write(&self.peers);
            match peers.get(&up.id) {
                Some(current) if Arc::ptr_eq(current, link) => peers.remove(&up.id),
                _ => return,
            };
        }
        tracing::info!(peer = %up.id, process = %up.hello.process, %reason, "link down");
        self.handler.down(up.id, reason);
    }

    fn forget(&self, link: &Arc<LiveLink>, reason: DownReason) {
        {
            let mut registry = lock(&self.registry);
            registry.by_session.remove(&link.parts.session);
            let process = &link.parts.process;
            if registry
                .by_process
                .get(process)
                .is_some_and(|held| Arc::ptr_eq(held, link))
            {
                registry.by_process.remove(process);
            }
        }
        link.close();
        self.tell(ConnectionsMessage::LinkClosed {
            connection: link.parts.connection,
            reason,
        });
    }

    fn tell(&self, message: ConnectionsMessage) {
        if let Some(connections) = self.connections.get() {
            // Without the connections actor the endpoint is over anyway.
            let _ = connections.cast(message);
        }
    }

    fn send_control(&self, link: &LiveLink, body: Body) -> Result<(), Broken> {
        count(&self.counters.packets_sent);
        link.send_control(body, self.handler.durable_lsn())
    }

    /// Sends one packet of queued frames; `false` if there are none.
    pub(crate) fn send_parcel(&self, link: &LiveLink) -> Result<bool, Broken> {
        let sent = link.send_parcel(self.handler.durable_lsn())?;
        if sent {
            count(&self.counters.packets_sent);
        }
        Ok(sent)
    }

    /// Takes leave of every peer: sends what is queued and says goodbye. The peers close.
    pub(crate) fn say_goodbye(&self) {
        let links: Vec<Arc<LiveLink>> = lock(&self.registry).by_session.values().cloned().collect();
        for link in links {
            while let Ok(true) = self.send_parcel(&link) {}
            let _ = self.send_control(&link, Body::Goodbye);
            self.step(&link, LinkEvent::Close(DownReason::Shutdown));
        }
    }
}
