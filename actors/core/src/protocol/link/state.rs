//! The life of one link: greeting, up, closed. See the module above for messages and invariants.

use super::hello::{Accept, Hello, PeerHello, Refusal};
use super::limits::{GREETING_TICKS_MAX, HEARTBEATS_MISSED_MAX};
use crate::types::{Lsn, SessionId};

/// Why a link ended, or never came up.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DownReason {
    /// Nothing was heard for [`HEARTBEATS_MISSED_MAX`] heartbeats.
    #[error("no word from the peer for {HEARTBEATS_MISSED_MAX} heartbeats")]
    HeartbeatLost,
    /// The peer took leave.
    #[error("the peer shut down")]
    Goodbye,
    /// The connection ended.
    #[error("the connection was lost")]
    ConnectionLost,
    /// Another connection to the same process took over.
    #[error("another connection to the same process took over")]
    Superseded,
    /// The peer began the link anew on the same connection.
    #[error("the peer began the link anew")]
    Renewed,
    /// The same member is back after a restart.
    #[error("the member is back after a restart")]
    Replaced,
    /// Two links to one member came up at once; the other stays.
    #[error("another link to the same member came up")]
    Duplicate,
    /// The peer did not want the link.
    #[error("the peer refuses: {0}")]
    RefusedByPeer(Refusal),
    /// This process did not want the link.
    #[error("the peer was refused: {0}")]
    RefusedByUs(Refusal),
    /// The greetings took too long.
    #[error("the greetings took too long")]
    GreetingTimeout,
    /// This process shuts down.
    #[error("this process shuts down")]
    Shutdown,
    /// An actor of the link failed.
    #[error("an actor of the link failed")]
    Fault,
}

impl DownReason {
    /// Whether the connection must be cut with the link. It stays where another link may use it, or
    /// where a last packet must still reach the peer, which then closes.
    pub fn cuts_connection(&self) -> bool {
        !matches!(
            self,
            DownReason::Superseded
                | DownReason::Renewed
                | DownReason::Shutdown
                | DownReason::RefusedByUs(_)
        )
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEvent {
    /// The peer's hello came. `verdict` is this process' opinion: what it saw of the peer's log, or
    /// why it does not want the peer.
    Hello {
        /// The greeting.
        hello: Hello,
        /// Welcome or not.
        verdict: Result<Lsn, Refusal>,
    },
    /// The peer took our hello.
    Accept(Accept),
    /// The peer does not want us.
    Refuse(Refusal),
    /// Any packet with our session id came.
    Heard,
    /// The peer takes leave.
    Goodbye,
    /// A heartbeat is due.
    Tick,
    /// Something outside ends the link.
    Close(DownReason),
}

/// What to do. To be done in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkEffect {
    /// Stamp this session id on everything sent from now on.
    Stamp(SessionId),
    /// Send an acceptance.
    Accept(Accept),
    /// Send a refusal.
    Refuse(Refusal),
    /// Send a heartbeat.
    Heartbeat,
    /// Frames may flow.
    Up(PeerHello),
    /// No frame flows any more. Only after [`LinkEffect::Up`].
    Down(DownReason),
    /// The link is over; comes once.
    Close(DownReason),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Greeting,
    Up,
    Closed,
}

/// One link.
#[derive(Clone, Debug)]
pub struct Link {
    /// What the peer must stamp.
    session: SessionId,
    phase: Phase,
    hello: Option<Hello>,
    accept: Option<Accept>,
    heard: bool,
    /// Ticks without a word; in the greeting phase, all ticks.
    silent_ticks: u32,
}

impl Link {
    /// A link whose hello, with this session id, is on its way.
    pub fn new(session: SessionId) -> Link {
        Link {
            session,
            phase: Phase::Greeting,
            hello: None,
            accept: None,
            heard: false,
            silent_ticks: 0,
        }
    }

    /// Whether frames flow.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// Whether the link is over.
    pub fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Takes one event and appends what it calls for.
    pub fn step(&mut self, event: LinkEvent, out: &mut Vec<LinkEffect>) {
        if self.is_closed() {
            return;
        }
        match event {
            LinkEvent::Hello { hello, verdict } => self.on_hello(hello, verdict, out),
            LinkEvent::Accept(accept) => {
                if self.phase == Phase::Greeting {
                    self.accept = Some(accept);
                    self.come_up(out);
                }
            }
            LinkEvent::Refuse(refusal) => self.close(DownReason::RefusedByPeer(refusal), out),
            LinkEvent::Heard => self.heard = true,
            LinkEvent::Goodbye => self.close(DownReason::Goodbye, out),
            LinkEvent::Tick => self.on_tick(out),
            LinkEvent::Close(reason) => self.close(reason, out),
        }
    }

    fn on_hello(&mut self, hello: Hello, verdict: Result<Lsn, Refusal>, out: &mut Vec<LinkEffect>) {
        let known = self.hello.as_ref().map(|known| known.session) == Some(hello.session);
        match (self.phase, verdict) {
            (Phase::Up, _) if known => {}
            (Phase::Up, _) => self.close(DownReason::Renewed, out),
            (_, Ok(seen_lsn)) => {
                out.push(LinkEffect::Stamp(hello.session));
                out.push(LinkEffect::Accept(Accept {
                    session: self.session,
                    seen_lsn,
                }));
                self.hello = Some(hello);
                self.come_up(out);
            }
            (_, Err(refusal)) => {
                out.push(LinkEffect::Stamp(hello.session));
                out.push(LinkEffect::Refuse(refusal.clone()));
                self.close(DownReason::RefusedByUs(refusal), out);
            }
        }
    }

    /// Up needs a hello that was welcome and an acceptance that vouches for that very hello.
    fn come_up(&mut self, out: &mut Vec<LinkEffect>) {
        let (Some(hello), Some(accept)) = (&self.hello, &self.accept) else {
            return;
        };
        if hello.session != accept.session {
            return;
        }
        out.push(LinkEffect::Up(PeerHello {
            identity: hello.identity.clone(),
            process: hello.process.clone(),
            seen_lsn: accept.seen_lsn,
        }));
        self.phase = Phase::Up;
        self.heard = true;
        self.silent_ticks = 0;
    }

    fn on_tick(&mut self, out: &mut Vec<LinkEffect>) {
        let heard = std::mem::replace(&mut self.heard, false);
        match self.phase {
            Phase::Greeting => {
                self.silent_ticks = self.silent_ticks.saturating_add(1);
                if self.silent_ticks > GREETING_TICKS_MAX {
                    self.close(DownReason::GreetingTimeout, out);
                }
            }
            Phase::Up => {
                self.silent_ticks = if heard {
                    0
                } else {
                    self.silent_ticks.saturating_add(1)
                };
                if self.silent_ticks >= HEARTBEATS_MISSED_MAX {
                    self.close(DownReason::HeartbeatLost, out);
                } else {
                    out.push(LinkEffect::Heartbeat);
                }
            }
            Phase::Closed => {}
        }
    }

    fn close(&mut self, reason: DownReason, out: &mut Vec<LinkEffect>) {
        if self.phase == Phase::Up {
            out.push(LinkEffect::Down(reason.clone()));
        }
        self.phase = Phase::Closed;
        out.push(LinkEffect::Close(reason));
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::{HelloIdentity, Role};
    use super::*;

    const OURS: SessionId = SessionId(1);
    const THEIRS: SessionId = SessionId(2);

    fn hello(session: SessionId) -> Hello {
        Hello {
            identity: HelloIdentity {
                cluster: "x".into(),
                role: Role::Client { name: "c".into() },
                payload: vec![9],
            },
            process: "client-1".into(),
            session,
        }
    }

    fn welcome(session: SessionId) -> LinkEvent {
        LinkEvent::Hello {
            hello: hello(session),
            verdict: Ok(Lsn(5)),
        }
    }

    fn accept(session: SessionId) -> LinkEvent {
        LinkEvent::Accept(Accept {
            session,
            seen_lsn: Lsn(8),
        })
    }

    fn up() -> LinkEffect {
        let Hello {
            identity, process, ..
        } = hello(THEIRS);
        LinkEffect::Up(PeerHello {
            identity,
            process,
            seen_lsn: Lsn(8),
        })
    }

    fn run(link: &mut Link, events: impl IntoIterator<Item = LinkEvent>) -> Vec<LinkEffect> {
        let mut out = Vec::new();
        for event in events {
            link.step(event, &mut out);
        }
        out
    }

    fn link_up() -> Link {
        let mut link = Link::new(OURS);
        run(&mut link, [welcome(THEIRS), accept(THEIRS)]);
        assert!(link.is_up());
        link
    }

    #[test]
    fn a_link_comes_up_when_both_hellos_are_taken_in_either_order() {
        let taken = [
            LinkEffect::Stamp(THEIRS),
            LinkEffect::Accept(Accept {
                session: OURS,
                seen_lsn: Lsn(5),
            }),
        ];
        let mut link = Link::new(OURS);
        assert_eq!(run(&mut link, [welcome(THEIRS)]), taken);
        assert!(!link.is_up());
        assert_eq!(run(&mut link, [accept(THEIRS)]), [up()]);

        let mut link = Link::new(OURS);
        assert_eq!(run(&mut link, [accept(THEIRS)]), []);
        let [stamp, reply] = taken;
        assert_eq!(run(&mut link, [welcome(THEIRS)]), [stamp, reply, up()]);
    }

    #[test]
    fn an_acceptance_that_vouches_for_another_hello_does_not_count() {
        let mut link = Link::new(OURS);
        run(&mut link, [welcome(SessionId(66)), accept(THEIRS)]);
        assert!(
            !link.is_up(),
            "the hello held is not the one that the peer sent"
        );
        run(&mut link, [welcome(THEIRS)]);
        assert!(link.is_up(), "the genuine hello heals it");
    }

    #[test]
    fn an_unwelcome_hello_is_refused_and_the_connection_left_for_the_refusal() {
        let mut link = Link::new(OURS);
        let event = LinkEvent::Hello {
            hello: hello(THEIRS),
            verdict: Err(Refusal::Busy),
        };
        let reason = DownReason::RefusedByUs(Refusal::Busy);
        assert!(!reason.cuts_connection());
        assert_eq!(
            run(&mut link, [event, accept(THEIRS)]),
            [
                LinkEffect::Stamp(THEIRS),
                LinkEffect::Refuse(Refusal::Busy),
                LinkEffect::Close(reason),
            ]
        );
    }

    #[test]
    fn the_refused_side_cuts_the_connection() {
        let mut link = Link::new(OURS);
        let reason = DownReason::RefusedByPeer(Refusal::Busy);
        assert!(reason.cuts_connection());
        assert_eq!(
            run(&mut link, [LinkEvent::Refuse(Refusal::Busy)]),
            [LinkEffect::Close(reason)]
        );
    }

    #[test]
    fn silence_kills_and_any_word_saves() {
        let mut link = link_up();
        let tick = || LinkEvent::Tick;
        for _ in 0..10 {
            assert_eq!(
                run(&mut link, [LinkEvent::Heard, tick()]),
                [LinkEffect::Heartbeat]
            );
        }
        for _ in 1..HEARTBEATS_MISSED_MAX {
            assert_eq!(run(&mut link, [tick()]), [LinkEffect::Heartbeat]);
        }
        let lost = DownReason::HeartbeatLost;
        assert_eq!(
            run(&mut link, [tick(), tick()]),
            [LinkEffect::Down(lost.clone()), LinkEffect::Close(lost)]
        );
    }

    #[test]
    fn greetings_do_not_wait_for_ever() {
        let mut link = Link::new(OURS);
        let ticks = (0..=GREETING_TICKS_MAX).flat_map(|_| [LinkEvent::Heard, LinkEvent::Tick]);
        assert_eq!(
            run(&mut link, ticks),
            [LinkEffect::Close(DownReason::GreetingTimeout)]
        );
    }

    #[test]
    fn a_repeated_hello_is_ignored_and_a_new_one_renews_the_link() {
        let mut link = link_up();
        assert_eq!(run(&mut link, [welcome(THEIRS)]), []);
        assert_eq!(
            run(&mut link, [welcome(SessionId(3))]),
            [
                LinkEffect::Down(DownReason::Renewed),
                LinkEffect::Close(DownReason::Renewed)
            ]
        );
    }

    #[test]
    fn down_is_reported_once_and_only_after_up() {
        let causes = [
            LinkEvent::Goodbye,
            LinkEvent::Refuse(Refusal::Busy),
            LinkEvent::Close(DownReason::ConnectionLost),
        ];
        for cause in causes {
            let after_up = run(
                &mut link_up(),
                [cause.clone(), LinkEvent::Goodbye, LinkEvent::Tick],
            );
            assert!(
                matches!(
                    after_up.as_slice(),
                    [LinkEffect::Down(_), LinkEffect::Close(_)]
                ),
                "{after_up:?}"
            );
            let before = run(
                &mut Link::new(OURS),
                [cause, LinkEvent::Goodbye, LinkEvent::Tick],
            );
            assert!(
                matches!(before.as_slice(), [LinkEffect::Close(_)]),
                "{before:?}"
            );
        }
    }
}
