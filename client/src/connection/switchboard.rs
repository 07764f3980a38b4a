//! The switchboard: takes what the links bring, and knows who waits for which answer.
//!
//! It is the [`Handler`] of the client's endpoint, so it is called while a link is locked. Its own
//! locks are never held while something is sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use engram_core::types::{LogicalTime, Lsn, MemberId, Millis, RequestId};
use engram_core::wire::Frame;
use engram_remote::{
    DownReason, Handler, HelloIdentity, PeerHandle, PeerHello, PeerId, Refusal, Role,
};
use tokio::sync::{oneshot, watch};

use super::clock::ClientClock;
use super::progress::End;
use super::routes::Routes;

/// See the module.
pub(crate) struct Switchboard {
    cluster: String,
    name: String,
    started: Instant,
    clock: Mutex<ClientClock>,
    routes: RwLock<Routes<PeerHandle>>,
    waiting: Mutex<HashMap<RequestId, Waiting>>,
    /// Changes when a link comes up, and when the connection is closed.
    changes: watch::Sender<u64>,
}

struct Waiting {
    member: MemberId,
    overdue_at: Instant,
    answer: oneshot::Sender<End>,
}

/// A claim to an answer. Dropping it gives the claim up.
pub(crate) struct Claim<'a> {
    switchboard: &'a Switchboard,
    request: RequestId,
    answer: oneshot::Receiver<End>,
    is_settled: bool,
}

impl Switchboard {
    pub(crate) fn new(cluster: String, name: String) -> Switchboard {
        Switchboard {
            cluster,
            name,
            started: Instant::now(),
            clock: Mutex::default(),
            routes: RwLock::default(),
            waiting: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Reads who is there.
    pub(crate) fn routes<T>(&self, read: impl FnOnce(&Routes<PeerHandle>) -> T) -> T {
        read(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes who is there.
    pub(crate) fn change_routes<T>(&self, change: impl FnOnce(&mut Routes<PeerHandle>) -> T) -> T {
        change(&mut self.routes.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells of links that come up, from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Wakes all who wait for a link.
    pub(crate) fn wake(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// The cluster's wall clock, as estimated here.
    pub(crate) fn now(&self) -> Millis {
        let elapsed_ms = self.elapsed_ms();
        lock(&self.clock).now(elapsed_ms)
    }

    /// The client's logical time.
    pub(crate) fn logical_time(&self) -> LogicalTime {
        let elapsed_ms = self.elapsed_ms();
        lock(&self.clock).logical(elapsed_ms)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Lays claim to the answer of a member; to be done before the request is sent.
    pub(crate) fn claim(
        &self,
        request: RequestId,
        member: MemberId,
        overdue_at: Instant,
    ) -> Claim<'_> {
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting {
            member,
            overdue_at,
            answer,
        };
        lock(&self.waiting).insert(request, waiting);
        Claim {
            switchboard: self,
            request,
            answer: receiver,
            is_settled: false,
        }
    }

    /// Ends the claims whose time is up.
    pub(crate) fn sweep(&self, now: Instant) {
        let overdue = self.take_waiting(|waiting| waiting.overdue_at <= now);
        if overdue.is_empty() {
            return;
        }
        self.change_routes(|routes| {
            for waiting in &overdue {
                routes.suspect(waiting.member, now);
            }
        });
        for waiting in overdue {
            let _ = waiting.answer.send(End::TimedOut);
        }
    }

    /// Ends all claims.
    pub(crate) fn hang_up(&self) {
        for waiting in self.take_waiting(|_| true) {
            let _ = waiting.answer.send(End::LinkLost);
        }
        self.wake();
    }

    fn take_waiting(&self, is_wanted: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let mut all = lock(&self.waiting);
        all.extract_if(|_, waiting| is_wanted(waiting))
            .map(|(_, waiting)| waiting)
            .collect()
    }
}

impl Claim<'_> {
    /// Waits for the end of the attempt. Cancel safe: the claim is given up when dropped.
    pub(crate) async fn end(mut self) -> End {
        let end = (&mut self.answer).await;
        self.is_settled = true;
        end.unwrap_or(End::LinkLost)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            lock(&self.switchboard.waiting).remove(&self.request);
        }
    }
}

impl Handler for Switchboard {
    fn hello(&self) -> HelloIdentity {
        HelloIdentity {
            cluster: self.cluster.clone(),
            role: Role::Client {
                name: self.name.clone(),
            },
            payload: Vec::new(),
        }
    }

    fn check(&self, peer: &HelloIdentity) -> Result<(), Refusal> {
        let Some(member) = peer.member() else {
            return Err(Refusal::policy("clients talk to nodes only"));
        };
        let known = self.routes(|routes| routes.config().map(|config| config.cluster_id));
        match (known, member.cluster_id) {
            (Some(ours), Some(yours)) if ours != yours => Err(Refusal::ClusterId { ours, yours }),
            _ => Ok(()),
        }
    }

    fn up(&self, peer: &PeerHandle, _hello: &PeerHello) {
        if let PeerId::Member(member) = peer.id() {
            self.change_routes(|routes| routes.connect(member, peer.clone()));
            self.wake();
        }
    }

    fn down(&self, peer: PeerId, _reason: DownReason) {
        let PeerId::Member(member) = peer else {
            return;
        };
        self.change_routes(|routes| routes.disconnect(member));
        for waiting in self.take_waiting(|waiting| waiting.member == member) {
            let _ = waiting.answer.send(End::LinkLost);
        }
    }

    fn frames(&self, peer: PeerId, frames: Vec<Bytes>) {
        let mut newest = LogicalTime::default();
        let mut results = Vec::with_capacity(frames.len());
        for frame in frames {
            match Frame::decode(&frame) {
                Ok(Frame::Response(request, response)) => {
                    newest = newest.max(response.time);
                    results.push((request, response.result));
                }
                Ok(_) => tracing::debug!(%peer, "dropped a frame that is no answer"),
                Err(error) => tracing::debug!(%peer, %error, "dropped a frame"),
            }
        }
        let elapsed_ms = self.elapsed_ms();
        lock(&self.clock).merge(newest, elapsed_ms);
        let answered: Vec<_> = {
            let mut all = lock(&self.waiting);
            results
                .into_iter()
                .filter_map(|(request, result)| Some((all.remove(&request)?, result)))
                .collect()
        };
        for (waiting, result) in answered {
            let _ = waiting.answer.send(End::Answered(result));
        }
    }

    fn seen_lsn(&self, _of: MemberId) -> Lsn {
        Lsn(0)
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(0)
    }

    fn saw_lsn(&self, _of: MemberId, _lsn: Lsn) {}
}

/// Locks. No critical section of this crate can panic half-way, so the data behind is good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engram_core::wire::{ClientReply, ClientResponse};

    use super::*;

    const MEMBER: MemberId = MemberId(1);

    fn board() -> Switchboard {
        Switchboard::new("c".into(), "test".into())
    }

    fn response(request: u64, time: u64) -> Bytes {
        let response = ClientResponse {
            time: LogicalTime::from_millis(Millis(time)),
            result: Ok(ClientReply::Entry(None)),
        };
        Frame::Response(RequestId(request), response)
            .encode()
            .into()
    }

    #[tokio::test]
    async fn answers_find_who_asked_and_bring_the_time() {
        let board = board();
        let later = Instant::now() + Duration::from_secs(60);
        let (one, two) = (
            board.claim(RequestId(1), MEMBER, later),
            board.claim(RequestId(2), MEMBER, later),
        );
        let garbage = Bytes::from_static(b"\xff garbage");
        let frames = vec![
            response(2, 5_000),
            garbage,
            response(9, 1),
            response(1, 4_000),
        ];
        board.frames(PeerId::Member(MEMBER), frames);
        assert!(matches!(one.end().await, End::Answered(Ok(_))));
        assert!(matches!(two.end().await, End::Answered(Ok(_))));
        assert!(board.logical_time() >= LogicalTime::from_millis(Millis(5_000)));
        assert!(lock(&board.waiting).is_empty());
    }

    #[tokio::test]
    async fn claims_end_with_the_link_the_time_or_their_owner() {
        let board = board();
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let lost = board.claim(RequestId(1), MEMBER, later);
        let kept = board.claim(RequestId(2), MemberId(2), later);
        let overdue = board.claim(RequestId(3), MemberId(3), now);
        drop(board.claim(RequestId(4), MEMBER, later));
        board.down(PeerId::Member(MEMBER), DownReason::ConnectionLost);
        board.sweep(now);
        assert!(matches!(lost.end().await, End::LinkLost));
        assert!(matches!(overdue.end().await, End::TimedOut));
        assert_eq!(lock(&board.waiting).len(), 1);
        board.hang_up();
        assert!(matches!(kept.end().await, End::LinkLost));
    }

    #[test]
    fn only_nodes_of_the_right_cluster_are_welcome() {
        let board = board();
        assert!(board.check(&board.hello()).is_err(), "another client");
    }
}
