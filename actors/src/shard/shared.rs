//! A replica's acceptor, shared by its actor, which alone votes, with those on its node that read.
//!
//! Most reads are of records in memory, and a search reads many: to wake an actor for each costs more
//! than to look. A reader never waits: while the actor is at work it is sent the read as a message.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engram_core::protocol::register::acceptor::Acceptor;
use engram_core::protocol::search::Held;
use engram_core::wire::register::{HitRead, RegisterReply, RegisterRequest};

use crate::buggify::{Buggify, Point};

/// See the module. What an actor that has ended leaves behind is what its disk held then, and stays so
/// until its successor is in its place.
#[derive(Clone)]
pub struct SharedAcceptor {
    acceptor: Arc<Mutex<Acceptor>>,
    buggify: Buggify,
}

impl fmt::Debug for SharedAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAcceptor").finish_non_exhaustive()
    }
}

impl SharedAcceptor {
    /// Shares an acceptor.
    pub fn new(acceptor: Acceptor, buggify: Buggify) -> SharedAcceptor {
        SharedAcceptor {
            acceptor: Arc::new(Mutex::new(acceptor)),
            buggify,
        }
    }

    /// The acceptor, for its actor.
    pub(super) fn lock(&self) -> MutexGuard<'_, Acceptor> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a read at once; none if that takes the actor, or it is no read.
    pub fn answer(&self, request: &RegisterRequest) -> Option<RegisterReply> {
        self.read()?.answer(request)
    }

    /// The same for a hit of a search.
    pub(super) fn held(&self, read: &HitRead, with_register: bool) -> Option<Held> {
        let mut acceptor = self.read()?;
        let (accepted, register) = acceptor.peek(read.epoch, &read.key, with_register)?;
        Some(Held { accepted, register })
    }

    fn read(&self) -> Option<MutexGuard<'_, Acceptor>> {
        if self.buggify.at(Point::ActorAtWork) {
            return None;
        }
        // A step that failed in the middle has left nothing that could be relied on.
        self.acceptor.try_lock().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use engram_core::protocol::register::acceptor::{Effect, Event, Options};
    use engram_core::storage::RangePage;
    use engram_core::types::{Ballot, Incarnation, MemberId, Millis, RequestId};
    use engram_core::wire::register::{ReplyTo, RequestBody};

    use super::super::hits::tests::read;
    use super::*;

    /// Takes an event; the disk is empty and answers at once.
    fn step(acceptor: &mut Acceptor, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            acceptor.step(Millis(1), event, &mut effects);
            events.extend(effects.into_iter().filter_map(|effect| match effect {
                Effect::Append(io, _) => Some(Event::Durable(io)),
                Effect::Load(io, ..) => Some(Event::Loaded(io, None)),
                Effect::Range(io, _) => Some(Event::Ranged(io, RangePage::default())),
                _ => None,
            }));
        }
    }

    #[test]
    fn reads_are_answered_unless_the_actor_is_at_work_or_has_failed() {
        let read = read();
        let member = MemberId(1);
        let options = Options::new(read.shard, member, Incarnation::default());
        let shared = SharedAcceptor::new(Acceptor::new(options), Buggify::default());
        step(&mut shared.lock(), Event::Start);
        assert!(shared.lock().is_serving());
        assert_eq!(shared.held(&read, true), None, "it is not in memory");
        let request = RegisterRequest {
            shard: read.shard,
            epoch: read.epoch,
            reply_to: ReplyTo {
                member,
                incarnation: Incarnation::default(),
                request: RequestId(1),
            },
            body: RequestBody::Read {
                key: read.key.clone(),
                with_register: true,
            },
        };
        assert_eq!(shared.answer(&request), None, "it is not in memory");
        step(&mut shared.lock(), Event::Request(request.clone()));
        let absent = Held {
            accepted: Ballot::ZERO,
            register: None,
        };
        assert_eq!(shared.held(&read, true), Some(absent));
        let answer = shared.answer(&request).expect("it is in memory");
        assert_eq!((answer.reply_to, answer.from), (request.reply_to, member));

        let at_work = shared.lock();
        assert_eq!(shared.held(&read, true), None);
        drop(at_work);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            let _at_work = shared.lock();
            panic!("a step fails");
        }));
        assert!(failed.is_err());
        assert_eq!(shared.held(&read, true), None);
    }
}
