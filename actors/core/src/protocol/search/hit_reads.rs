//! How the hits of a search are read: all at once, as far as that goes.
//!
//! A hit is read as any key is: this node's replica, and as many others as make up a majority with it,
//! say at which ballot they hold the key, and if all say the same, that is the chosen register. A get
//! goes to the key's proposer, and from there to the acceptors. Hits are many keys in many shards: here
//! each member is asked once for all of them. What does not come of that is read by a get: replicas
//! differ, one is silent for long, a value has ended, or this node has no replica.
//!
//! | event | answers | if it never comes |
//! |---|---|---|
//! | `Held` | `Ask` | `Overdue` has the hits read by gets |
//! | `Got` | `Get` | the caller's deadline ends the search |

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::planted::{Bug, Planted};
use crate::protocol::register::proposer::entry;
use crate::types::{Ballot, Epoch, Key, MemberId, Millis, RecordKey, Register, ShardId};
use crate::wire::Entry;
use crate::wire::register::HitRead;

/// How long all members may take to answer, in milliseconds, and a millisecond more for so many hits:
/// their records may have to be read from disk.
const PATIENCE_MS: u64 = 25;
const HITS_PER_MS: usize = 4;

/// A hit to be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Its key.
    pub key: RecordKey,
    /// Where that is.
    pub shard: ShardId,
    /// The shard's.
    pub epoch: Epoch,
    /// Who is to be asked beside this node, none twice. None: it is to be read by a get.
    pub others: Option<Vec<MemberId>>,
}

/// What a replica has accepted of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// At which ballot; zero if nothing.
    pub accepted: Ballot,
    /// The register, if it is this node's replica and there is one.
    pub register: Option<Arc<Register>>,
}

/// What happens to the reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HitReadsEvent {
    /// A member has answered, in the order asked. None: it cannot tell.
    Held(MemberId, Vec<Option<Held>>),
    /// A get has read the hit at this place.
    Got(usize, Option<Entry>),
    /// A member is not reachable any more.
    MemberDown(MemberId),
    /// [`HitReads::patience_ms`] have passed.
    Overdue,
}

/// What the reads want done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HitReadsEffect {
    /// Ask a member, this node among them, what it holds of these keys. Once for each member.
    Ask(MemberId, Vec<HitRead>),
    /// Read the hit at this place by a get.
    Get(usize, ShardId, RecordKey),
    /// All is read, in the order of the hits.
    Done(Vec<(Key, Option<Entry>)>),
}

/// The reads of some hits. See the module.
#[derive(Debug)]
pub struct HitReads {
    me: MemberId,
    with_values: bool,
    planted: Planted,
    hits: Vec<(Hit, Reading)>,
    /// Who has not answered yet, and for which hits.
    asked: BTreeMap<MemberId, Vec<usize>>,
}

/// How far the read of one hit is.
#[derive(Debug)]
enum Reading {
    /// So many have answered, all with this ballot. The register is this node's.
    Asked {
        answers: usize,
        accepted: Ballot,
        register: Option<Arc<Register>>,
    },
    ByGet,
    Read(Option<Entry>),
}

impl HitReads {
    /// Begins to read hits. Adds what it wants done to `out`.
    pub fn new(
        me: MemberId,
        hits: Vec<Hit>,
        with_values: bool,
        planted: Planted,
        out: &mut Vec<HitReadsEffect>,
    ) -> HitReads {
        let mut reads = HitReads {
            me,
            with_values,
            planted,
            hits: Vec::with_capacity(hits.len()),
            asked: BTreeMap::new(),
        };
        let mut wanted: BTreeMap<MemberId, Vec<HitRead>> = BTreeMap::new();
        for (place, hit) in hits.into_iter().enumerate() {
            let others = hit.others.iter().flatten();
            for member in others.chain(hit.others.as_ref().map(|_| &me)) {
                reads.asked.entry(*member).or_default().push(place);
                wanted.entry(*member).or_default().push(HitRead {
                    shard: hit.shard,
                    epoch: hit.epoch,
                    key: hit.key.clone(),
                });
            }
            let asked = Reading::Asked {
                answers: 0,
                accepted: Ballot::ZERO,
                register: None,
            };
            reads.hits.push((hit, asked));
        }
        let asks = wanted.into_iter();
        out.extend(asks.map(|(member, reads)| HitReadsEffect::Ask(member, reads)));
        for place in 0..reads.hits.len() {
            if reads
                .hits
                .get(place)
                .is_some_and(|(hit, _)| hit.others.is_none())
            {
                reads.by_get(place, out);
            }
        }
        reads
    }

    /// How long members are waited for, in milliseconds.
    pub fn patience_ms(&self) -> u64 {
        PATIENCE_MS + (self.hits.len() / HITS_PER_MS) as u64
    }

    /// Takes one event; adds what it wants done to `out`.
    pub fn step(&mut self, now: Millis, event: HitReadsEvent, out: &mut Vec<HitReadsEffect>) {
        match event {
            HitReadsEvent::Held(from, held) => self.answered(now, from, held, out),
            HitReadsEvent::MemberDown(member) => self.answered(now, member, Vec::new(), out),
            HitReadsEvent::Got(place, entry) => {
                if let Some((_, reading @ Reading::ByGet)) = self.hits.get_mut(place) {
                    *reading = Reading::Read(entry);
                }
            }
            HitReadsEvent::Overdue => {
                self.asked.clear();
                (0..self.hits.len()).for_each(|place| self.by_get(place, out));
            }
        }
        if self
            .hits
            .iter()
            .all(|(_, it)| matches!(it, Reading::Read(_)))
        {
            let hits = std::mem::take(&mut self.hits).into_iter();
            let read = hits.map(|(hit, reading)| match reading {
                Reading::Read(entry) => (hit.key.key, entry),
                Reading::Asked { .. } | Reading::ByGet => (hit.key.key, None),
            });
            out.push(HitReadsEffect::Done(read.collect()));
        }
    }

    /// A member has told what it holds of the hits that it was asked for; of the last ones perhaps not.
    fn answered(
        &mut self,
        now: Millis,
        from: MemberId,
        held: Vec<Option<Held>>,
        out: &mut Vec<HitReadsEffect>,
    ) {
        let places = self.asked.remove(&from).unwrap_or_default();
        let mut held = held.into_iter();
        for place in places {
            match held.next().flatten() {
                Some(held) => self.held(now, place, from, held, out),
                None => self.by_get(place, out),
            }
        }
    }

    fn held(
        &mut self,
        now: Millis,
        place: usize,
        from: MemberId,
        held: Held,
        out: &mut Vec<HitReadsEffect>,
    ) {
        let Some((hit, reading)) = self.hits.get_mut(place) else {
            return;
        };
        let Reading::Asked {
            answers,
            accepted,
            register,
        } = reading
        else {
            return;
        };
        if *answers > 0 && *accepted != held.accepted {
            return self.by_get(place, out);
        }
        *answers += 1;
        *accepted = held.accepted;
        if from == self.me {
            *register = held.register;
        }
        let wanted = 1 + hit.others.as_ref().map_or(0, Vec::len);
        let from_one = from == self.me && self.planted.is(Bug::HitReadFromOne);
        if *answers < wanted && !from_one {
            return;
        }
        match register {
            // An ended value must be seen to end by everybody: a round makes it a tombstone.
            Some(register) if register.is_expired(now) => self.by_get(place, out),
            Some(register) => *reading = Reading::Read(entry(register, self.with_values)),
            None => *reading = Reading::Read(None),
        }
    }

    /// Has a hit read by a get, unless it is read or being read so.
    fn by_get(&mut self, place: usize, out: &mut Vec<HitReadsEffect>) {
        if let Some((hit, reading @ Reading::Asked { .. })) = self.hits.get_mut(place) {
            *reading = Reading::ByGet;
            out.push(HitReadsEffect::Get(place, hit.shard, hit.key.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
