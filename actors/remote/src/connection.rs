//! One TCP connection to a process, from the preface to its end.

use std::fmt;
use std::sync::Arc;

use engram_core::protocol::link::limits::CONNECTION_TIMEOUT_MS;
use engram_core::protocol::link::{DownReason, dials_first};
use ractor::{ActorId, ActorRef};
use ractor_cluster::{NodeId, NodeSessionMessage};

use crate::dial::DialError;
use crate::handler::PeerId;
use crate::link::LiveLink;
use crate::stream::Cut;
use crate::targets::Attempt;

/// Time between two looks at the connections, in milliseconds.
pub(crate) const TICK_MS: u64 = 250;
/// Ticks that a connection may take until its link is up.
const PATIENCE_TICKS: u64 = CONNECTION_TIMEOUT_MS / TICK_MS;
/// Ticks that a connection without further use is left open, so that a last packet can arrive.
const LINGER_TICKS: u64 = 2;
/// Ticks after which a connection that was cut is taken for gone.
const GONE_TICKS: u64 = 8;

const LABEL: &str = "connection-";

/// Names one connection within this process; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// The text that ractor_cluster carries as the peer's address.
    pub(crate) fn label(self) -> String {
        format!("{LABEL}{}", self.0)
    }

    /// Reads a [`ConnectionId::label`].
    pub(crate) fn from_label(label: &str) -> Option<ConnectionId> {
        label.strip_prefix(LABEL)?.parse().ok().map(ConnectionId)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ractor_cluster session of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) actor: ActorRef<NodeSessionMessage>,
    pub(crate) node_id: NodeId,
    pub(crate) ready: bool,
}

/// What a tick says about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Overdue {
    /// Nothing to do.
    No,
    /// To be cut.
    Cut,
    /// Was cut, and no word of its end came.
    Gone,
}

/// One connection.
pub(crate) struct Connection {
    /// The process at the other end, as it said in the preface; the session must confirm it.
    pub(crate) process: String,
    /// Whether this process dialled.
    pub(crate) dialled: bool,
    /// The dial that made it, unless it was accepted.
    pub(crate) attempt: Option<Attempt>,
    pub(crate) cut: Option<Cut>,
    pub(crate) session: Option<Session>,
    pub(crate) authenticated: bool,
    pub(crate) link: Option<(Arc<LiveLink>, ActorId)>,
    /// The peer, while the link is up.
    pub(crate) up: Option<PeerId>,
    pub(crate) was_up: bool,
    /// Why the link ended, if the connection is to end with it.
    pub(crate) ending: Option<DownReason>,
    /// Ticks not up; from its end on, ticks since.
    ticks: u64,
    was_cut: bool,
}

impl Connection {
    pub(crate) fn new(process: String, attempt: Option<Attempt>) -> Connection {
        Connection {
            process,
            dialled: attempt.is_some(),
            attempt,
            cut: None,
            session: None,
            authenticated: false,
            link: None,
            up: None,
            was_up: false,
            ending: None,
            ticks: 0,
            was_cut: false,
        }
    }

    /// Whether this connection makes another one to the same process pointless, dialled by this
    /// process or not.
    pub(crate) fn outranks(&self, us: &str, dialled: bool) -> bool {
        if self.ending.is_some() {
            return false;
        }
        let preferred = self.dialled == dials_first(us, &self.process);
        self.up.is_some() || self.dialled == dialled || preferred
    }

    /// Whether a link could begin on it.
    pub(crate) fn can_bear_link(&self) -> bool {
        let ready = self.session.as_ref().is_some_and(|session| session.ready);
        ready && self.link.is_none() && self.ending.is_none()
    }

    /// Notes the end of its link.
    pub(crate) fn link_ended(&mut self, reason: DownReason) {
        self.link = None;
        self.up = None;
        self.ticks = 0;
        if !matches!(reason, DownReason::Renewed | DownReason::Superseded) {
            self.ending.get_or_insert(reason);
        }
    }

    /// Ends it; its session tells when it is gone.
    pub(crate) fn cut(&mut self, reason: DownReason) {
        self.ending.get_or_insert(reason);
        if !self.was_cut {
            self.was_cut = true;
            self.ticks = 0;
        }
        if let Some(cut) = &self.cut {
            cut.cut();
        }
        if let Some(session) = &self.session {
            session.actor.stop(Some("cut".to_owned()));
        }
    }

    /// Some time passed.
    pub(crate) fn tick(&mut self) -> Overdue {
        if self.up.is_some() {
            self.ticks = 0;
            return Overdue::No;
        }
        self.ticks = self.ticks.saturating_add(1);
        let patience = if self.ending.is_some() {
            LINGER_TICKS
        } else {
            PATIENCE_TICKS
        };
        if self.was_cut {
            if self.ticks > GONE_TICKS {
                Overdue::Gone
            } else {
                Overdue::No
            }
        } else if self.ticks > patience {
            Overdue::Cut
        } else {
            Overdue::No
        }
    }

    /// What to tell of its end. `None` where another connection to the same process took over
    /// before this one got anywhere.
    pub(crate) fn error(&self, has_sibling: bool) -> Option<DialError> {
        match &self.ending {
            Some(reason) => Some(DialError::from_down(reason.clone())),
            None if self.was_up => Some(DialError::Lost(DownReason::ConnectionLost)),
            None if has_sibling => None,
            None if !self.authenticated => Some(DialError::SuspectedWrongCookie),
            None => Some(DialError::Lost(DownReason::ConnectionLost)),
        }
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::MemberId;

    use super::*;

    fn connection(process: &str, dialled: bool) -> Connection {
        let attempt = Attempt {
            address: "h:1".into(),
            generation: 1,
        };
        Connection::new(process.into(), dialled.then_some(attempt))
    }

    #[test]
    fn labels_come_back() {
        let id = ConnectionId(17);
        assert_eq!(ConnectionId::from_label(&id.label()), Some(id));
        for strange in ["", "127.0.0.1:80", "connection-", "connection-x"] {
            assert_eq!(ConnectionId::from_label(strange), None);
        }
    }

    #[test]
    fn of_two_directions_the_one_dialled_by_the_later_name_stays_at_both_ends() {
        // (us, them, existing dialled by us, new dialled by us, existing stays)
        let cases = [
            ("b", "a", true, false, true),
            ("a", "b", false, true, true),
            ("b", "a", false, true, false),
            ("a", "b", true, false, false),
            ("a", "b", true, true, true),
            ("b", "a", false, false, true),
        ];
        for (us, them, existing, new, stays) in cases {
            let held = connection(them, existing);
            assert_eq!(
                held.outranks(us, new),
                stays,
                "{us} {them} {existing} {new}"
            );
        }
    }

    #[test]
    fn a_connection_that_is_up_stays_and_one_that_ends_does_not() {
        let mut held = connection("b", true);
        held.up = Some(PeerId::Member(MemberId(1)));
        assert!(held.outranks("a", false));
        held.link_ended(DownReason::HeartbeatLost);
        assert!(!held.outranks("a", false) && !held.outranks("a", true));
    }

    #[test]
    fn patience_ends_then_it_is_cut_then_it_is_gone() {
        let mut slow = connection("b", true);
        let ticks = (0..).take_while(|_| slow.tick() == Overdue::No).count() as u64;
        assert_eq!(ticks, PATIENCE_TICKS);
        slow.cut(DownReason::GreetingTimeout);
        let ticks = (0..).take_while(|_| slow.tick() == Overdue::No).count() as u64;
        assert_eq!(ticks, GONE_TICKS);
        assert_eq!(slow.tick(), Overdue::Gone);
    }

    #[test]
    fn an_end_before_authentication_is_suspected_to_be_the_cookie() {
        let mut ended = connection("b", true);
        assert!(matches!(
            ended.error(false),
            Some(DialError::SuspectedWrongCookie)
        ));
        assert!(ended.error(true).is_none(), "a duplicate lost the election");
        ended.authenticated = true;
        assert!(matches!(
            ended.error(false),
            Some(DialError::Lost(DownReason::ConnectionLost))
        ));
        ended.link_ended(DownReason::Renewed);
        assert!(
            ended.ending.is_none(),
            "a renewed link keeps its connection"
        );
        ended.link_ended(DownReason::Goodbye);
        assert!(matches!(
            ended.error(true),
            Some(DialError::Lost(DownReason::Goodbye))
        ));
    }
}
