//! The simulated network: frames are lost, late, doubled, and overtake each other, and none
//! outlives its link.

use bytes::Bytes;
use engram_core::protocol::random::Random;
use engram_core::types::{MemberId, SessionId};
use engram_core::wire::Frame;
use engram_core::wire::register::{ReplyBody, RequestBody};
use xxhash_rust::xxh3::xxh3_64;

use super::profile::Profile;
use super::state::{Happening, State};
use super::watchers;

impl State {
    /// A node sends a frame to members.
    pub(super) fn send(&mut self, from: usize, to: &[MemberId], frame: &Frame) {
        self.inspect(from, frame);
        let bytes = Bytes::from(frame.encode());
        let spared = self.spared(to.len(), frame);
        for (position, member) in to.iter().enumerate() {
            let Some(peer) = self.node_of(*member) else {
                continue;
            };
            if Some(position) == spared {
                self.counters.buggified += 1;
                continue;
            }
            self.send_bytes(from, peer, frame, bytes.clone());
        }
    }

    /// Which of several receivers a frame does not reach, if this seed likes smallest quorums.
    fn spared(&mut self, receivers: usize, frame: &Frame) -> Option<usize> {
        let Frame::Register(request) = frame else {
            return None;
        };
        let voting = matches!(
            request.body,
            RequestBody::Prepare { .. } | RequestBody::Accept { .. }
        );
        if self.healed || !voting || receivers < 2 {
            return None;
        }
        let chosen = self.network.chance(self.profile.smallest_quorum);
        let position = self.network.below(receivers as u64);
        usize::try_from(position).ok().filter(|_| chosen)
    }

    fn send_bytes(&mut self, from: usize, to: usize, frame: &Frame, bytes: Bytes) {
        let Some(link) = self.link_of(from, to) else {
            self.counters.unlinked += 1;
            return;
        };
        if self.is_lost(from, to, frame) {
            self.counters.lost += 1;
            return;
        }
        let durable = self.node(from).lsn;
        let doubled = self.may_be_doubled(frame) && self.network.chance(self.profile.copy);
        for _ in 0..=u32::from(doubled) {
            let at_us = self.leaves_us(from) + self.delay_us();
            let bytes = bytes.clone();
            let happening = Happening::Frame {
                from,
                to,
                link,
                bytes,
                durable,
            };
            self.at(at_us, happening);
        }
        self.counters.copies += u64::from(doubled);
        self.note(
            "send",
            Some(from),
            format_args!("to {to} {} {:016x}", name(frame), xxh3_64(&bytes)),
        );
    }

    fn is_lost(&mut self, from: usize, to: usize, frame: &Frame) -> bool {
        if self.is_blocked(from, to) {
            return true;
        }
        if self.healed {
            return false;
        }
        let learn = matches!(frame, Frame::Register(request) if matches!(request.body, RequestBody::Learn { .. }));
        if learn && self.network.chance(self.profile.omit_learn) {
            self.counters.buggified += 1;
            return true;
        }
        self.network.chance(self.profile.lose)
    }

    /// Links never double a frame; the register protocol would bear it, so it must.
    fn may_be_doubled(&self, frame: &Frame) -> bool {
        !self.healed && matches!(frame, Frame::Register(_) | Frame::RegisterReply(_))
    }

    pub(super) fn delay_us(&mut self) -> u64 {
        delay_us(&mut self.network, &self.profile, self.healed)
    }

    /// The delay of what a watcher sends or is sent.
    pub(super) fn watch_delay_us(&mut self) -> u64 {
        delay_us(&mut self.watching, &self.profile, self.healed)
    }

    /// What the checkers must know of a frame before it leaves, and the fault that a promise may
    /// bring upon its sender.
    fn inspect(&mut self, from: usize, frame: &Frame) {
        let member = self.node(from).member;
        let result = match frame {
            Frame::Register(request) => self.judge.asks(request),
            Frame::RegisterReply(reply) => {
                let lost = self
                    .node(from)
                    .damage
                    .is_some_and(super::node::Damage::excludes);
                self.judge.replies(member, lost, reply)
            }
            _ => Ok(()),
        };
        self.check(result);
        let promised = matches!(frame, Frame::RegisterReply(reply) if matches!(reply.body, ReplyBody::Promise { .. }));
        if promised && !self.healed && self.network.chance(self.profile.crash_after_promise) {
            self.counters.buggified += 1;
            let life = self.node(from).life;
            let down_us = 5_000 + self.network.below(500_000);
            let power_off = Happening::PowerOff {
                node: from,
                life,
                down_us,
            };
            self.after(5, power_off);
        }
    }

    /// A node answers a client.
    pub(super) fn respond(&mut self, node: usize, to: SessionId, frame: &Frame) {
        let Some(client) = usize::try_from(to.0).ok().and_then(|id| id.checked_sub(1)) else {
            return;
        };
        if let Frame::Response(request, response) = frame {
            self.answered(node, client, *request, response);
        }
        let watches = watchers::number(client).is_some();
        let random = if watches {
            &mut self.watching
        } else {
            &mut self.network
        };
        if !self.healed && random.chance(self.profile.lose) {
            self.counters.lost += 1;
            return;
        }
        let bytes = Bytes::from(frame.encode());
        self.note(
            "answer",
            Some(node),
            format_args!("client {client} {:016x}", xxh3_64(&bytes)),
        );
        let delay_us = if watches {
            self.watch_delay_us()
        } else {
            self.delay_us()
        };
        let at_us = self.leaves_us(node) + delay_us;
        self.at(at_us, Happening::Response { client, bytes });
    }
}

fn delay_us(random: &mut Random, profile: &Profile, healed: bool) -> u64 {
    let usual = 50 + random.below(profile.delay_us);
    if !healed && random.chance(profile.tail) {
        usual + random.below(profile.tail_us)
    } else {
        usual
    }
}

/// What a frame is, for the trace.
pub(super) fn name(frame: &Frame) -> &'static str {
    match frame {
        Frame::Request(_) => "request",
        Frame::Response(..) => "response",
        Frame::Forward(..) => "forward",
        Frame::ForwardReply(..) => "forward-reply",
        Frame::Gossip(_) => "gossip",
        Frame::PartitionQuery(..) => "partition-query",
        Frame::PartitionHits(..) => "partition-hits",
        Frame::VectorShip(_) => "vector-ship",
        Frame::VectorWant(_) => "vector-want",
        Frame::HitReads(..) => "hit-reads",
        Frame::HitsHeld(..) => "hits-held",
        Frame::Register(request) => match request.body {
            RequestBody::Read { .. } => "read",
            RequestBody::Prepare { .. } => "prepare",
            RequestBody::Accept { .. } => "accept",
            RequestBody::Learn { .. } => "learn",
            RequestBody::Purge { .. } => "purge",
            RequestBody::PullSince { .. } => "pull-since",
            RequestBody::Fetch { .. } => "fetch",
            RequestBody::Scan { .. } => "scan",
        },
        Frame::RegisterReply(reply) => match reply.body {
            ReplyBody::Read { .. } => "read-reply",
            ReplyBody::Promise { .. } => "promise",
            ReplyBody::Accepted { .. } => "accepted",
            ReplyBody::Nack { .. } => "nack",
            ReplyBody::StaleEpoch { .. } => "stale-epoch",
            ReplyBody::NotVoting => "not-voting",
            ReplyBody::Busy => "busy",
            ReplyBody::Changes { .. } => "changes",
            ReplyBody::Records { .. } => "records",
            ReplyBody::Scanned { .. } => "scanned",
        },
    }
}
