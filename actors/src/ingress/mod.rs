//! Ingress: where frames from other processes are decoded, checked and handed to the local actor
//! that they are addressed to.

use std::sync::Arc;

use engram_core::index::PartitionQuery;
use engram_core::limits::{
    CLIENT_AHEAD_MS_MAX, NAMESPACES_MAX, PAGE_BYTES_MAX, REQUEST_TIMEOUT_MS_MAX, SCAN_LIMIT_MAX,
    STORE_FREE_BYTES_KEPT, TAG_BYTES_MAX, TAGS_MAX, TOP_K_MAX, TTL_MS_MAX, VALUE_BYTES_MAX,
};
use engram_core::protocol::register::proposer::Operation;
use engram_core::protocol::search::Held;
use engram_core::types::{
    Change, LogicalClock, LogicalTime, MemberId, Millis, NamespaceId, RequestId, SessionId,
    ShardId, Write,
};
use engram_core::wire::register::{HitRead, ReplyBody};
use engram_core::wire::{
    ClientReply, ClientRequest, ClientResponse, Frame, RequestEnvelope, RequestError,
    ReturnAddress, Watch,
};
use tracing::debug;

use crate::coordinator::CoordinatorMessage;
use crate::directory::Directory;
use crate::env::Env;
use crate::gossip::GossipActorMessage;
use crate::index_partition::NodeQueryDone;
use crate::replicator::ReplicatorMessage;
use crate::shard::{ShardMessage, read_hits};
use crate::watcher::{WatcherMessage, not_watching};

/// Requests of this node's own coordinator come back to it under this session.
pub const COORDINATOR_SESSION: SessionId = SessionId(0);

/// Who is at the other end of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// A member of the cluster.
    Member(MemberId),
    /// A client.
    Client(SessionId),
}

/// Decodes and routes what arrives.
#[derive(Clone)]
pub struct Router {
    directory: Arc<Directory>,
    env: Env,
}

impl Router {
    /// A router for one node.
    pub fn new(directory: Arc<Directory>, env: Env) -> Router {
        Router { directory, env }
    }

    /// Takes one frame. What does not decode, or may not come from this sender, is dropped.
    pub fn frame(&self, from: Sender, bytes: &[u8]) {
        match (from, Frame::decode(bytes)) {
            (_, Err(error)) => debug!(?from, %error, "dropped a frame"),
            (Sender::Client(session), Ok(Frame::Request(envelope))) => {
                let via = self.directory.me.id;
                let to = ReturnAddress {
                    via,
                    session,
                    request: envelope.request,
                };
                self.request(to, envelope, true);
            }
            (Sender::Client(session), Ok(_)) => {
                debug!(?session, "dropped a member's frame from a client");
            }
            (Sender::Member(member), Ok(frame)) => self.member_frame(member, frame),
        }
    }

    fn member_frame(&self, from: MemberId, frame: Frame) {
        match frame {
            Frame::Register(request) => {
                if request.reply_to.member == from
                    && let Some(local) = self.directory.shard(request.shard)
                {
                    match local.acceptor.answer(&request) {
                        Some(reply) => {
                            let frame = Frame::RegisterReply(reply);
                            self.env.transport.send(from, &frame);
                        }
                        None => drop(local.shard.cast(ShardMessage::Request(request))),
                    }
                }
            }
            Frame::RegisterReply(reply) => {
                let Some(local) = self.directory.shard(reply.shard) else {
                    return;
                };
                if reply.from != from {
                    return;
                }
                // Questions about logs are the acceptor's, all others the proposer's.
                if matches!(
                    reply.body,
                    ReplyBody::Changes { .. } | ReplyBody::Records { .. }
                ) {
                    let _ = local.shard.cast(ShardMessage::Reply(reply));
                } else {
                    let _ = local.replicator.cast(ReplicatorMessage::Reply(reply));
                }
            }
            Frame::Gossip(message) => {
                if message.from == from
                    && let Some(gossip) = self.directory.gossip()
                {
                    let _ = gossip.cast(GossipActorMessage::Gossip(message));
                }
            }
            Frame::Forward(to, envelope) => {
                if to.via == from {
                    self.request(to, envelope, false);
                }
            }
            Frame::ForwardReply(to, response) => {
                if to.via == self.directory.me.id {
                    answer(&self.directory, &self.env, to, response);
                }
            }
            Frame::PartitionQuery(request, query) => self.partition_query(from, request, &query),
            Frame::PartitionHits(request, shards, result) => {
                if let Some(coordinator) = self.directory.coordinator() {
                    let answer = CoordinatorMessage::PartitionAnswered {
                        from,
                        request,
                        shards,
                        result,
                    };
                    let _ = coordinator.cast(answer);
                }
            }
            Frame::VectorShip(ship) => {
                if let Some(index) = self.directory.index() {
                    index.shipped(ship);
                }
            }
            Frame::VectorWant(want) => {
                if let Some(index) = self.directory.index() {
                    index.wanted(from, want);
                }
            }
            Frame::HitReads(request, reads) => self.hit_reads(from, request, reads),
            Frame::HitsHeld(request, ballots) => {
                if let Some(coordinator) = self.directory.coordinator() {
                    let held = |accepted| Held {
                        accepted,
                        register: None,
                    };
                    let answer = CoordinatorMessage::HitsHeld {
                        from,
                        request,
                        held: ballots.into_iter().map(|it| it.map(held)).collect(),
                    };
                    let _ = coordinator.cast(answer);
                }
            }
            Frame::Request(_) | Frame::Response(..) => {
                debug!(%from, "dropped a client's frame from a member");
            }
        }
    }

    fn hit_reads(&self, from: MemberId, request: RequestId, reads: Vec<HitRead>) {
        if reads.len() > TOP_K_MAX {
            return debug!(%from, hits = reads.len(), "dropped too many reads of hits");
        }
        let transport = self.env.transport.clone();
        let done = move |held: Vec<Option<Held>>| {
            let ballots = held.into_iter().map(|held| Some(held?.accepted)).collect();
            transport.send(from, &Frame::HitsHeld(request, ballots));
        };
        if let Some(held) = read_hits(&self.directory, reads, false, Box::new(done.clone())) {
            done(held);
        }
    }

    fn partition_query(&self, from: MemberId, request: RequestId, query: &PartitionQuery) {
        let Some(index) = self.directory.index() else {
            return;
        };
        let transport = self.env.transport.clone();
        let done: NodeQueryDone = Arc::new(move |shards, result| {
            transport.send(from, &Frame::PartitionHits(request, shards, result));
        });
        index.query(query, &done);
    }

    /// Carries out a request here, or passes it on to a replica, once.
    pub fn request(&self, to: ReturnAddress, envelope: RequestEnvelope, may_forward: bool) {
        if let Err(error) = self.dispatch(to, envelope, may_forward) {
            let mut clock = LogicalClock::default();
            let time = clock.tick(self.env.clock.now());
            let response = ClientResponse {
                time,
                result: Err(error),
            };
            answer(&self.directory, &self.env, to, response);
        }
    }

    fn dispatch(
        &self,
        to: ReturnAddress,
        envelope: RequestEnvelope,
        may_forward: bool,
    ) -> Result<(), RequestError> {
        let now = self.env.clock.now();
        let timeout_ms = u64::from(envelope.timeout_ms).clamp(1, REQUEST_TIMEOUT_MS_MAX);
        let deadline = now.plus(timeout_ms);
        check(&envelope.body, now)?;
        if let ClientRequest::Watch(watch) = &envelope.body {
            let watch = watch.clone();
            return self.watch(to, deadline, watch, envelope, may_forward);
        }
        let (shard, operation) = match &envelope.body {
            ClientRequest::Get(get) => {
                let key = get.key.clone();
                let operation = Operation::Get {
                    key,
                    with_value: get.with_value,
                };
                (self.shard_of(&get.key, to)?, operation)
            }
            ClientRequest::Put(put) => {
                let (key, write) = (put.key.clone(), put.write.clone());
                (self.shard_of(&put.key, to)?, Operation::Put { key, write })
            }
            ClientRequest::ScanShard(scan) => (scan.shard, Operation::Scan(scan.scan.clone())),
            _ => return self.coordinate(to, deadline, envelope),
        };
        // Any replica can read. Hits of a search are many keys in many shards: no hop is spent on them.
        let is_hit = to.via == self.directory.me.id
            && to.session == COORDINATOR_SESSION
            && matches!(envelope.body, ClientRequest::Get(_));
        if !is_hit || !self.directory.has_shard(shard) {
            let replica = self.replica(shard)?;
            if replica != self.directory.me.id {
                return self.pass_on(replica, to, envelope, may_forward);
            }
        }
        if matches!(envelope.body, ClientRequest::Put(_)) && !self.env.store.admits_writes() {
            return Err(self.read_only());
        }
        let respawning = || unavailable(shard, "its actors are being respawned");
        let local = self.directory.shard(shard).ok_or_else(respawning)?;
        let ask = ReplicatorMessage::Ask {
            to,
            deadline,
            operation,
        };
        local.replicator.cast(ask).map_err(|_| respawning())
    }

    /// Any replica of a shard may be watched: whoever asked one goes on there.
    fn watch(
        &self,
        to: ReturnAddress,
        deadline: Millis,
        watch: Watch,
        envelope: RequestEnvelope,
        may_forward: bool,
    ) -> Result<(), RequestError> {
        let replica = self.replica(watch.shard)?;
        if replica != self.directory.me.id {
            return self.pass_on(replica, to, envelope, may_forward);
        }
        let watcher = self.directory.watcher().ok_or_else(not_watching)?;
        let ask = WatcherMessage::Ask {
            to,
            deadline,
            watch,
        };
        watcher.cast(ask).map_err(|_| not_watching())
    }

    /// The first replica of a shard that can be reached.
    fn replica(&self, shard: ShardId) -> Result<MemberId, RequestError> {
        let replica = self.directory.route(shard);
        replica.ok_or_else(|| unavailable(shard, "no replica of it is reachable from this node"))
    }

    /// Forwards a request, unless that was done before: then the sender's configuration differs.
    fn pass_on(
        &self,
        replica: MemberId,
        to: ReturnAddress,
        envelope: RequestEnvelope,
        may_forward: bool,
    ) -> Result<(), RequestError> {
        if !may_forward {
            let version = self.directory.config().map_or(0, |config| config.version);
            return Err(RequestError::StaleConfig { version });
        }
        let frame = Frame::Forward(to, envelope);
        self.env.transport.send(replica, &frame);
        Ok(())
    }

    fn coordinate(
        &self,
        to: ReturnAddress,
        deadline: Millis,
        envelope: RequestEnvelope,
    ) -> Result<(), RequestError> {
        let coordinator = self
            .directory
            .coordinator()
            .ok_or_else(|| self.not_serving())?;
        coordinator
            .cast(CoordinatorMessage::Ask {
                to,
                deadline,
                request: envelope.body,
            })
            .map_err(|_| self.not_serving())
    }

    fn shard_of(
        &self,
        key: &engram_core::types::RecordKey,
        to: ReturnAddress,
    ) -> Result<ShardId, RequestError> {
        let own = to.session == COORDINATOR_SESSION;
        if key.namespace == NamespaceId::SYSTEM && !own {
            return Err(RequestError::Unauthorized(
                "the system namespace is not for clients".into(),
            ));
        }
        self.directory
            .shard_of(key)
            .ok_or_else(|| self.not_serving())
    }

    fn not_serving(&self) -> RequestError {
        let reason = self.directory.waiting_for();
        RequestError::NotApplied(reason.unwrap_or_else(|| "this node is starting".into()))
    }

    /// Why storage takes no writes now.
    fn read_only(&self) -> RequestError {
        match self.env.store.free_bytes() {
            Some(free_bytes) if free_bytes < STORE_FREE_BYTES_KEPT => {
                RequestError::NotApplied(format!(
                    "node {} is read-only: its data disk has {free_bytes} bytes left, \
                     {STORE_FREE_BYTES_KEPT} are kept free",
                    self.directory.me.name
                ))
            }
            _ => RequestError::Overloaded { retry_after_ms: 50 },
        }
    }
}

/// Brings an answer to whoever asked: a client of this node, another node, or the coordinator.
pub fn answer(directory: &Directory, env: &Env, to: ReturnAddress, response: ClientResponse) {
    if to.via != directory.me.id {
        env.transport
            .send(to.via, &Frame::ForwardReply(to, response));
    } else if to.session == COORDINATOR_SESSION {
        if let Some(coordinator) = directory.coordinator() {
            let _ = coordinator.cast(CoordinatorMessage::Answered(to.request, response));
        }
    } else {
        env.transport
            .respond(to.session, &Frame::Response(to.request, response));
    }
}

/// An answer that was made here.
pub(crate) fn respond(
    directory: &Directory,
    env: &Env,
    to: ReturnAddress,
    result: Result<ClientReply, RequestError>,
) {
    let time = LogicalClock::default().tick(env.clock.now());
    answer(directory, env, to, ClientResponse { time, result });
}

/// Checks a request against the bounds.
fn check(request: &ClientRequest, now: Millis) -> Result<(), RequestError> {
    match request {
        ClientRequest::Get(get) => check_namespace(get.key.namespace),
        ClientRequest::Put(put) => {
            check_namespace(put.key.namespace)?;
            check_time(put.write.since, now)?;
            check_write(&put.write, now)
        }
        ClientRequest::Watch(watch) => {
            check_namespace(watch.namespace)?;
            if watch.namespace == NamespaceId::SYSTEM || watch.shard.is_system() {
                let reason = "the system namespace is not for clients";
                return Err(RequestError::Unauthorized(reason.into()));
            }
            Ok(())
        }
        ClientRequest::Scan(scan) => check_limit(scan.limit),
        ClientRequest::ScanShard(scan) => check_limit(scan.scan.limit),
        _ => Ok(()),
    }
}

/// Ids are given out one by one, so most nonsense can be told without the configuration.
fn check_namespace(namespace: NamespaceId) -> Result<(), RequestError> {
    let most = u32::try_from(NAMESPACES_MAX).unwrap_or(u32::MAX);
    if namespace.0 > most {
        let id = namespace.0;
        return Err(RequestError::Invalid(format!(
            "there is no namespace with the id {id}"
        )));
    }
    Ok(())
}

/// A time from the far future would drag the cluster's logical clocks along.
fn check_time(since: LogicalTime, now: Millis) -> Result<(), RequestError> {
    if since.millis() > now.plus(CLIENT_AHEAD_MS_MAX) {
        return Err(RequestError::Invalid(format!(
            "the time of the request is more than {CLIENT_AHEAD_MS_MAX} ms ahead of this node's"
        )));
    }
    Ok(())
}

fn check_limit(limit: u32) -> Result<(), RequestError> {
    let most = u32::try_from(SCAN_LIMIT_MAX).unwrap_or(u32::MAX);
    if (1..=most).contains(&limit) {
        Ok(())
    } else {
        Err(RequestError::Invalid(format!(
            "the limit of a scan is 1 to {most}, not {limit}"
        )))
    }
}

fn check_write(write: &Write, now: Millis) -> Result<(), RequestError> {
    let too_large = |what: &str, limit: usize, actual: usize| RequestError::TooLarge {
        what: what.into(),
        limit: limit as u64,
        actual: actual as u64,
    };
    let expires_at = match &write.change {
        Change::Put {
            value,
            tags,
            expires_at,
        } => {
            if value.len() > VALUE_BYTES_MAX {
                return Err(too_large(
                    "a value, in bytes,",
                    VALUE_BYTES_MAX,
                    value.len(),
                ));
            }
            if tags.len() > TAGS_MAX {
                return Err(too_large("the number of tags", TAGS_MAX, tags.len()));
            }
            if let Some(tag) = tags.iter().find(|tag| tag.len() > TAG_BYTES_MAX) {
                return Err(too_large("a tag, in bytes,", TAG_BYTES_MAX, tag.len()));
            }
            if tags.iter().any(String::is_empty) {
                return Err(RequestError::Invalid("a tag must not be empty".into()));
            }
            *expires_at
        }
        Change::SetExpiry { expires_at } => *expires_at,
        Change::Delete => None,
    };
    match expires_at {
        Some(at) if at > now.plus(TTL_MS_MAX) => Err(RequestError::Invalid(format!(
            "a time to live is {TTL_MS_MAX} ms at most"
        ))),
        _ => Ok(()),
    }
}

const _: () = assert!(PAGE_BYTES_MAX + VALUE_BYTES_MAX < engram_core::limits::PACKET_BYTES_MAX);

fn unavailable(shard: ShardId, reason: &str) -> RequestError {
    RequestError::Unavailable {
        shard: shard.0,
        reason: reason.into(),
    }
}
