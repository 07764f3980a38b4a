//! A replica's acceptor, shared by its actor, which alone changes it, with those on its node that read.
//!
//! Most reads are of records in memory, and a search reads many: to wake an actor for each costs more
//! than to look. A reader never waits: while the actor is at work it is sent the read as a message.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engram_core::protocol::register::acceptor::Acceptor;
use engram_core::protocol::search::Held;
use engram_core::types::{Ballot, Epoch, MemberId, RecordKey, Register};
use engram_core::wire::register::{
    HitRead, RegisterReply, RegisterRequest, ReplyBody, RequestBody,
};

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
    pub fn answer(&self, me: MemberId, request: &RegisterRequest) -> Option<RegisterReply> {
        let RequestBody::Read { key, with_register } = &request.body else {
            return None;
        };
        let (accepted, register) = self.peek(request.epoch, key, *with_register)?;
        Some(RegisterReply {
            shard: request.shard,
            reply_to: request.reply_to,
            from: me,
            body: ReplyBody::Read { accepted, register },
        })
    }

    /// The same for a hit of a search.
    pub(super) fn held(&self, read: &HitRead, with_register: bool) -> Option<Held> {
        let (accepted, register) = self.peek(read.epoch, &read.key, with_register)?;
        Some(Held { accepted, register })
    }

    fn peek(
        &self,
        epoch: Epoch,
        key: &RecordKey,
        with_register: bool,
    ) -> Option<(Ballot, Option<Arc<Register>>)> {
        if self.buggify.at(Point::ActorAtWork) {
            return None;
        }
        // A step that failed in the middle has left nothing that could be relied on.
        let mut acceptor = self.acceptor.try_lock().ok()?;
        acceptor.peek(epoch, key, with_register)
    }
}
