//! The connection of a process to a cluster: one endpoint, shared by the clients of the process.
//!
//! ```text
//! call ── route ── attempt ── judge ──► result
//!           ▲                    │
//!           └── wait, refresh ◄──┘
//! ```
//!
//! [`routes`] says whom to ask, [`progress`] what an attempt's end means; both are pure. This
//! module does what they say. A request costs no task and no timer: one task sweeps overdue
//! attempts of all of them.

mod clock;
mod opening;
mod progress;
mod routes;
mod sharing;
mod switchboard;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use engram_core::limits::{CLIENT_SEEDS_MAX, MEMBERS_MAX};
use engram_core::placement::shard_of;
use engram_core::protocol::link::limits::DIAL_TARGETS_MAX;
use engram_core::protocol::random::Random;
use engram_core::types::{ClusterConfig, LogicalTime, MemberId, Millis, RequestId, ShardId};
use engram_core::wire::{ClientReply, ClientRequest, Frame, GetConfig, RequestEnvelope};
use engram_remote::{Endpoint, EndpointError, PeerHandle};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout_at};

use self::progress::{End, Progress, Verdict};
use self::sharing::Share;
use self::switchboard::Switchboard;
pub(crate) use self::switchboard::lock;
use crate::ClientError;
use crate::cache::Caches;

/// How often overdue attempts are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(25);
/// How often the configuration is fetched unasked, so that a client outlives the nodes it knew.
const REFRESH_INTERVAL: Duration = Duration::from_secs(20);

const _: () = assert!(CLIENT_SEEDS_MAX + MEMBERS_MAX <= DIAL_TARGETS_MAX);

/// How long a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// With all retries.
    pub(crate) until: Instant,
    /// At one node.
    pub(crate) attempt: Duration,
}

impl Patience {
    /// From now on.
    pub(crate) fn new(request: Duration, attempt: Duration) -> Patience {
        Patience {
            until: Instant::now() + request,
            attempt,
        }
    }
}

/// See the module.
pub(crate) struct Connection {
    switchboard: Arc<Switchboard>,
    endpoint: Endpoint,
    share: Share,
    seeds: Mutex<Vec<String>>,
    in_flight: Semaphore,
    next_request: AtomicU64,
    jitter: Mutex<Random>,
    /// Clients that are open.
    users: AtomicUsize,
    is_closed: AtomicBool,
    caches: Caches,
    runtime: Handle,
}

impl Connection {
    /// The latest configuration known.
    pub(crate) fn config(&self) -> Option<Arc<ClusterConfig>> {
        self.switchboard.routes(|routes| routes.config().cloned())
    }

    /// The members that are connected.
    pub(crate) fn connected(&self) -> Vec<MemberId> {
        self.switchboard
            .routes(|routes| routes.connected().collect())
    }

    /// The cluster's wall clock, as estimated here.
    pub(crate) fn now(&self) -> Millis {
        self.switchboard.now()
    }

    /// The client's logical time.
    pub(crate) fn logical_time(&self) -> LogicalTime {
        self.switchboard.logical_time()
    }

    /// The semantic caches that are used over it.
    pub(crate) fn caches(&self) -> &Caches {
        &self.caches
    }

    /// A delay with jitter: between half of it and all of it.
    pub(crate) fn jittered(&self, delay_ms: u64) -> Duration {
        let half = delay_ms / 2;
        let more = lock(&self.jitter).below(delay_ms - half + 1);
        Duration::from_millis(half + more)
    }

    /// Takes a configuration, and dials its members.
    pub(crate) fn adopt(&self, config: ClusterConfig) {
        if self
            .switchboard
            .change_routes(|routes| routes.adopt(config))
            && let Err(error) = self.dial()
        {
            tracing::debug!(%error, "the members of the new configuration are not dialled");
        }
    }

    /// Dials the members and the seeds: those that have no link yet, and whenever they lose it.
    fn dial(&self) -> Result<(), EndpointError> {
        let config = self.config();
        let members = config.iter().flat_map(|config| &config.members);
        let mut targets: Vec<String> = members.map(|member| member.address.clone()).collect();
        targets.extend(lock(&self.seeds).iter().cloned());
        targets.sort();
        targets.dedup();
        self.endpoint.set_dial_targets(targets)
    }

    /// Sends a request to whoever can carry it out, again and again until there is a final
    /// result or the time is up. `is_own`: a write was made for this call, by [`crate::Client`].
    ///
    /// # Errors
    /// The last error; `Unknown` for a write of which any attempt may have had effect.
    pub(crate) async fn call(
        &self,
        request: ClientRequest,
        is_own: bool,
        patience: Patience,
    ) -> Result<ClientReply, ClientError> {
        let shard = self.shard_of(&request);
        let mut progress = Progress::new(&request, shard.map(|shard| shard.0), is_own);
        let Some(_permit) = self.permit(patience).await else {
            return Err(progress.give_up("too many requests of this client are in flight"));
        };
        let mut frame = self.frame(request);
        let mut avoid = None;
        loop {
            if self.is_closed() {
                return Err(progress.close());
            }
            let Some((member, handle)) = self.route(shard, avoid, patience).await else {
                return Err(progress.give_up("no node is connected"));
            };
            if progress.may_renew_since() {
                self.renew_since(&mut frame);
            }
            let end = self.attempt(&mut frame, member, &handle, patience).await;
            let again = match progress.judge(end) {
                Verdict::Done(result) => return result,
                Verdict::Again(again) => again,
            };
            avoid = again.elsewhere.then_some(member);
            if let Some(version) = again.config_version {
                self.refresh_to(version, patience).await;
            }
            let pause = Instant::now() + self.jittered(again.delay_ms);
            if pause >= patience.until {
                return Err(progress.give_up("the time is up"));
            }
            if again.delay_ms > 0 {
                sleep_until(pause.into()).await;
            }
        }
    }

    /// Sends a request to one member, once.
    ///
    /// # Errors
    /// As [`Connection::call`]; `Unavailable` at once if the member is not connected.
    pub(crate) async fn call_member(
        &self,
        member: MemberId,
        request: ClientRequest,
        patience: Patience,
    ) -> Result<ClientReply, ClientError> {
        let shard = self.shard_of(&request);
        let mut progress = Progress::new(&request, shard.map(|shard| shard.0), false);
        if self.is_closed() {
            return Err(ClientError::Closed);
        }
        let Some(_permit) = self.permit(patience).await else {
            return Err(progress.give_up("too many requests of this client are in flight"));
        };
        let Some(handle) = self.switchboard.routes(|routes| routes.handle(member)) else {
            return Err(progress.give_up(&format!("member {member} is not connected")));
        };
        let mut frame = self.frame(request);
        let end = self.attempt(&mut frame, member, &handle, patience).await;
        match progress.judge(end) {
            Verdict::Done(result) => result,
            Verdict::Again(_) => Err(progress.give_up("the time is up")),
        }
    }

    fn shard_of(&self, request: &ClientRequest) -> Option<ShardId> {
        let key = match request {
            ClientRequest::Get(get) => &get.key,
            ClientRequest::Put(put) => &put.key,
            ClientRequest::ScanShard(scan) => return Some(scan.shard),
            ClientRequest::Watch(watch) => return Some(watch.shard),
            _ => return None,
        };
        let shards = self
            .switchboard
            .routes(|routes| routes.config().map(|config| config.shard_count()))?;
        Some(shard_of(key, shards))
    }

    fn frame(&self, body: ClientRequest) -> Frame {
        Frame::Request(RequestEnvelope {
            request: RequestId(0),
            time: LogicalTime::default(),
            timeout_ms: 0,
            body,
        })
    }

    fn renew_since(&self, frame: &mut Frame) {
        if let Frame::Request(envelope) = frame
            && let ClientRequest::Put(put) = &mut envelope.body
        {
            put.write.since = self.switchboard.logical_time();
        }
    }

    async fn permit(&self, patience: Patience) -> Option<SemaphorePermit<'_>> {
        match self.in_flight.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) => timeout_at(patience.until.into(), self.in_flight.acquire())
                .await
                .ok()?
                .ok(),
        }
    }

    /// Whom to ask; waits until somebody is connected, or the time is up.
    async fn route(
        &self,
        shard: Option<ShardId>,
        avoid: Option<MemberId>,
        patience: Patience,
    ) -> Option<(MemberId, PeerHandle)> {
        let turn = self.next_request.load(Ordering::Relaxed);
        let choose = || {
            let now = Instant::now();
            self.switchboard
                .routes(|routes| routes.choose(shard, avoid, turn, now))
        };
        if let Some(found) = choose() {
            return Some(found);
        }
        let mut changes = self.switchboard.changes();
        loop {
            if let Some(found) = choose() {
                return Some(found);
            }
            if self.is_closed() {
                return None;
            }
            timeout_at(patience.until.into(), changes.changed())
                .await
                .ok()?
                .ok()?;
        }
    }

    async fn attempt(
        &self,
        frame: &mut Frame,
        member: MemberId,
        handle: &PeerHandle,
        patience: Patience,
    ) -> End {
        let now = Instant::now();
        let overdue_at = patience.until.min(now + patience.attempt);
        let request = RequestId(self.next_request.fetch_add(1, Ordering::Relaxed));
        if let Frame::Request(envelope) = frame {
            let left_ms = overdue_at.saturating_duration_since(now).as_millis();
            envelope.request = request;
            envelope.time = self.switchboard.logical_time();
            envelope.timeout_ms = u32::try_from(left_ms).unwrap_or(u32::MAX).max(1);
        }
        let claim = self.switchboard.claim(request, member, overdue_at);
        match handle.send(frame.encode().into()) {
            Ok(()) => claim.end().await,
            Err(error) => End::NotSent(error),
        }
    }

    /// Fetches the configuration if it is known to have reached that version.
    async fn refresh_to(&self, version: u64, patience: Patience) {
        let known = self.config().map_or(0, |config| config.version);
        if known < version {
            self.refresh(patience).await;
        }
    }

    /// Asks one node for the configuration.
    async fn refresh(&self, patience: Patience) {
        let turn = self.next_request.load(Ordering::Relaxed);
        let now = Instant::now();
        let chosen = self
            .switchboard
            .routes(|routes| routes.choose(None, None, turn, now));
        let Some((member, handle)) = chosen else {
            return;
        };
        let mut frame = self.frame(ClientRequest::GetConfig(GetConfig));
        match self.attempt(&mut frame, member, &handle, patience).await {
            End::Answered(Ok(ClientReply::Config(config))) => self.adopt(config),
            end => tracing::debug!(%member, ?end, "the configuration was not fetched"),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// One client less. The last one closes the connection, and gets it back to wait for that.
    pub(crate) fn leave(&self) -> bool {
        let was_last = self.share.leave(&self.users);
        if was_last {
            self.is_closed.store(true, Ordering::Release);
            self.switchboard.hang_up();
        }
        was_last
    }

    /// Takes leave of the nodes and waits until that is done.
    pub(crate) async fn shut_down(&self) {
        self.endpoint.shutdown().await;
    }

    /// As [`Connection::shut_down`], without waiting.
    pub(crate) fn shut_down_later(&self) {
        let endpoint = self.endpoint.clone();
        self.runtime.spawn(async move { endpoint.shutdown().await });
    }
}

/// Sweeps overdue attempts and refreshes the configuration, as long as there is a connection.
async fn keep(connection: Weak<Connection>, attempt: Duration) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refresh_at = Instant::now() + REFRESH_INTERVAL;
    loop {
        ticks.tick().await;
        let Some(connection) = connection.upgrade() else {
            return;
        };
        if connection.is_closed() {
            return;
        }
        let now = Instant::now();
        connection.switchboard.sweep(now);
        if refresh_at <= now {
            refresh_at = now + REFRESH_INTERVAL;
            let patience = Patience::new(attempt, attempt);
            tokio::spawn(async move { connection.refresh(patience).await });
        }
    }
}
