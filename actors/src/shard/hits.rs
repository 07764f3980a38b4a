//! Reads for the hits of searches: many keys in many shards of a node, with one answer for all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use engram_core::protocol::search::Held;
use engram_core::types::{Incarnation, MemberId, RequestId};
use engram_core::wire::register::{
    HitRead, RegisterReply, RegisterRequest, ReplyBody, ReplyTo, RequestBody,
};

use super::ShardMessage;
use crate::directory::Directory;

/// Called with what this node's replicas hold, in the order asked. None: one could not tell. Must not
/// block.
pub type HitsDone = Box<dyn FnOnce(Vec<Option<Held>>) + Send>;

/// Reads keys at this node's replicas. Gives back what they hold if all can be read at once; else
/// `done` is called once all have answered or are gone.
pub fn read_hits(
    directory: &Directory,
    reads: Vec<HitRead>,
    with_registers: bool,
    done: HitsDone,
) -> Option<Vec<Option<Held>>> {
    let held: Vec<Option<Held>> = directory.with_shards(|shards| {
        let hold = |read: &HitRead| {
            let local = shards.get(&read.shard)?;
            local.acceptor.held(read, with_registers)
        };
        reads.iter().map(hold).collect()
    });
    let mut asked = reads.into_iter().enumerate().collect::<Vec<_>>();
    asked.retain(|(place, _)| held.get(*place).is_some_and(Option::is_none));
    if asked.is_empty() {
        return Some(held);
    }
    let batch = Arc::new(Batch {
        held: Mutex::new(held),
        done: Mutex::new(Some(done)),
    });
    for (place, read) in asked {
        if let Some(local) = directory.shard(read.shard) {
            let batch = batch.clone();
            // An actor that has ended drops it, as it drops what waits in its mailbox.
            let _ = local.shard.cast(ShardMessage::ReadHit {
                read,
                with_register: with_registers,
                slot: HitSlot { place, batch },
            });
        }
    }
    None
}

/// What the reads of one batch have found. It answers when the last slot is dropped, so that nobody
/// waits for an actor that has ended.
struct Batch {
    held: Mutex<Vec<Option<Held>>>,
    done: Mutex<Option<HitsDone>>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let held = self.held.get_mut().unwrap_or_else(PoisonError::into_inner);
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(done) = done.take() {
            done(std::mem::take(held));
        }
    }
}

/// Where the answer to one read goes. Dropped without one, it says that there is none.
pub struct HitSlot {
    place: usize,
    batch: Arc<Batch>,
}

impl HitSlot {
    fn fill(self, found: Held) {
        let mut held = self
            .batch
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = held.get_mut(self.place) {
            *place = Some(found);
        }
    }
}

/// The reads that a shard's acceptor has not answered yet. It answers each.
#[derive(Default)]
pub(super) struct OpenHits {
    next: u64,
    open: BTreeMap<RequestId, HitSlot>,
}

impl OpenHits {
    /// Under which no replicator asks: boots are counted from 1.
    const INCARNATION: Incarnation = Incarnation {
        boot: 0,
        respawn: 0,
    };

    /// What the acceptor is asked for a read.
    pub(super) fn begin(
        &mut self,
        me: MemberId,
        read: HitRead,
        with_register: bool,
        slot: HitSlot,
    ) -> RegisterRequest {
        let request = RequestId(self.next);
        self.next += 1;
        self.open.insert(request, slot);
        RegisterRequest {
            shard: read.shard,
            epoch: read.epoch,
            reply_to: ReplyTo {
                member: me,
                incarnation: Self::INCARNATION,
                request,
            },
            body: RequestBody::Read {
                key: read.key,
                with_register,
            },
        }
    }

    /// Takes the acceptor's answer to a read; gives back what is none.
    pub(super) fn take(&mut self, me: MemberId, reply: RegisterReply) -> Option<RegisterReply> {
        let to = reply.reply_to;
        if to.member != me || to.incarnation != Self::INCARNATION {
            return Some(reply);
        }
        if let Some(slot) = self.open.remove(&to.request)
            && let ReplyBody::Read { accepted, register } = reply.body
        {
            slot.fill(Held { accepted, register });
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use engram_core::types::{Ballot, Epoch, Key, NamespaceId, RecordKey, ShardId};

    use super::*;

    const ME: MemberId = MemberId(1);

    /// What a batch has answered, if it has.
    type Answer = Arc<Mutex<Option<Vec<Option<Held>>>>>;

    fn slots(count: usize) -> (Vec<HitSlot>, Answer) {
        let answer = Answer::default();
        let to = answer.clone();
        let done = move |held| *to.lock().expect("once") = Some(held);
        let batch = Arc::new(Batch {
            held: Mutex::new(vec![None; count]),
            done: Mutex::new(Some(Box::new(done))),
        });
        let slots = (0..count).map(|place| HitSlot {
            place,
            batch: batch.clone(),
        });
        (slots.collect(), answer)
    }

    fn held(n: u64) -> Held {
        Held {
            accepted: Ballot { n, ..Ballot::ZERO },
            register: None,
        }
    }

    /// A read of some key.
    pub(in crate::shard) fn read() -> HitRead {
        HitRead {
            shard: ShardId(2),
            epoch: Epoch(1),
            key: RecordKey {
                namespace: NamespaceId(1),
                key: Key::new("a").expect("short"),
            },
        }
    }

    #[test]
    fn the_last_answer_or_loss_answers_for_all() {
        let (mut slots, found) = slots(3);
        slots.remove(2).fill(held(7));
        drop(slots.remove(0));
        assert_eq!(*found.lock().expect("unlocked"), None);
        slots.remove(0).fill(held(5));
        let expected = Some(vec![None, Some(held(5)), Some(held(7))]);
        assert_eq!(*found.lock().expect("unlocked"), expected);
    }

    #[test]
    fn who_cannot_tell_answers_none() {
        let (mut slots, found) = slots(1);
        let mut open = OpenHits::default();
        let request = open.begin(ME, read(), false, slots.remove(0));
        let reply = RegisterReply {
            shard: ShardId(2),
            reply_to: request.reply_to,
            from: ME,
            body: ReplyBody::NotVoting,
        };
        assert!(open.take(ME, reply).is_none());
        assert_eq!(*found.lock().expect("unlocked"), Some(vec![None]));
    }

    #[test]
    fn answers_go_to_their_reads_and_those_of_others_on() {
        let (mut slots, found) = slots(1);
        let mut open = OpenHits::default();
        let request = open.begin(ME, read(), false, slots.remove(0));
        let reply = |reply_to| RegisterReply {
            shard: ShardId(2),
            reply_to,
            from: ME,
            body: ReplyBody::Read {
                accepted: held(3).accepted,
                register: None,
            },
        };
        let of_replicator = ReplyTo {
            incarnation: Incarnation {
                boot: 1,
                respawn: 0,
            },
            ..request.reply_to
        };
        assert!(open.take(ME, reply(of_replicator)).is_some());
        assert!(open.take(ME, reply(request.reply_to)).is_none());
        assert_eq!(*found.lock().expect("unlocked"), Some(vec![Some(held(3))]));
        assert!(open.take(ME, reply(request.reply_to)).is_none(), "once");
    }
}
