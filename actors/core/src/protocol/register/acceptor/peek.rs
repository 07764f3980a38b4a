//! Reads that are answered at once, without an event: what is in memory, and durable.
//!
//! The answer is that to a [`RequestBody::Read`] which comes at this moment. Whatever else it would take,
//! a load, a wait for an append or a refusal, is left to such a request.

use std::sync::Arc;

use super::Acceptor;
use crate::planted::Bug;
use crate::protocol::register::cache::Slot;
use crate::types::{Ballot, Epoch, RecordKey, Register};
use crate::wire::register::{RegisterReply, RegisterRequest, ReplyBody, RequestBody};

impl Acceptor {
    /// Answers a read at once; none if it takes [`Acceptor::step`] to do so, or it is no read.
    pub fn answer(&mut self, request: &RegisterRequest) -> Option<RegisterReply> {
        let RequestBody::Read { key, with_register } = &request.body else {
            return None;
        };
        let (accepted, register) = self.peek(request.epoch, key, *with_register)?;
        Some(RegisterReply {
            shard: self.options.shard,
            reply_to: request.reply_to,
            from: self.options.member,
            body: ReplyBody::Read { accepted, register },
        })
    }

    /// At which ballot a key is held, zero if at none, and its register if that is wanted; none if
    /// it takes a request to find out.
    pub fn peek(
        &mut self,
        epoch: Epoch,
        key: &RecordKey,
        with_register: bool,
    ) -> Option<(Ballot, Option<Arc<Register>>)> {
        if !self.is_serving() || epoch != self.options.epoch {
            return None;
        }
        let durable = self.durable;
        match self.cache.get(key)? {
            (_, written) if written > durable && !self.options.planted.is(Bug::PeekNotSynced) => {
                None
            }
            (Slot::Absent, _) => Some((Ballot::ZERO, None)),
            (Slot::Present(record), _) => {
                let register = with_register.then(|| record.register.clone());
                Some((record.accepted, register))
            }
            (Slot::Corrupt, _) => None,
        }
    }
}
