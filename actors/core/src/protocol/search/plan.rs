//! Whom to ask for which shard.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{MemberId, ShardId};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nobody is being asked.
    Open,
    /// This member is.
    Asked(MemberId),
    Answered,
    /// Nobody is left to ask.
    Lost,
}

#[derive(Debug)]
struct Shard {
    routes: Vec<MemberId>,
    tried: BTreeSet<MemberId>,
    state: State,
}

/// The shards of a search and how far each is.
#[derive(Debug)]
pub(super) struct Plan {
    shards: BTreeMap<ShardId, Shard>,
}

impl Plan {
    pub(super) fn new(routes: BTreeMap<ShardId, Vec<MemberId>>) -> Plan {
        let shards = routes
            .into_iter()
            .map(|(shard, routes)| {
                (
                    shard,
                    Shard {
                        routes,
                        tried: BTreeSet::new(),
                        state: State::Open,
                    },
                )
            })
            .collect();
        Plan { shards }
    }

    /// Gives every open shard to a member: always the one that can take the most of them, so that
    /// few are asked. Ties go to the member that more shards prefer.
    pub(super) fn assign(&mut self) -> Vec<(MemberId, Vec<ShardId>)> {
        let mut asked = Vec::new();
        loop {
            let mut able: BTreeMap<MemberId, (usize, usize)> = BTreeMap::new();
            for shard in self
                .shards
                .values_mut()
                .filter(|shard| shard.state == State::Open)
            {
                let left = shard
                    .routes
                    .iter()
                    .filter(|member| !shard.tried.contains(member));
                for (rank, member) in left.enumerate() {
                    let count = able.entry(*member).or_default();
                    count.0 += 1;
                    count.1 += usize::from(rank == 0);
                }
            }
            let best = able
                .into_iter()
                .max_by_key(|(member, count)| (*count, std::cmp::Reverse(*member)));
            let Some((member, _)) = best else { break };
            let mut taken = Vec::new();
            for (id, shard) in &mut self.shards {
                let can = shard.routes.contains(&member) && !shard.tried.contains(&member);
                if shard.state == State::Open && can {
                    shard.tried.insert(member);
                    shard.state = State::Asked(member);
                    taken.push(*id);
                }
            }
            asked.push((member, taken));
        }
        for shard in self
            .shards
            .values_mut()
            .filter(|shard| shard.state == State::Open)
        {
            shard.state = State::Lost;
        }
        asked
    }

    /// Whether an answer for the shard is still of use.
    pub(super) fn is_open(&self, shard: ShardId) -> bool {
        self.shards
            .get(&shard)
            .is_some_and(|shard| shard.state != State::Answered)
    }

    pub(super) fn answered(&mut self, shard: ShardId) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.state = State::Answered;
        }
    }

    /// A member did not answer for a shard.
    pub(super) fn fail(&mut self, shard: ShardId, member: MemberId) {
        if let Some(shard) = self.shards.get_mut(&shard)
            && shard.state == State::Asked(member)
        {
            shard.state = State::Open;
        }
    }

    /// A member is gone.
    pub(super) fn fail_member(&mut self, member: MemberId) {
        for shard in self.shards.values_mut() {
            shard.tried.insert(member);
            if shard.state == State::Asked(member) {
                shard.state = State::Open;
            }
        }
    }

    /// Everybody who was asked has been silent for too long.
    pub(super) fn fail_silent(&mut self) {
        for shard in self.shards.values_mut() {
            if matches!(shard.state, State::Asked(_)) {
                shard.state = State::Open;
            }
        }
    }

    /// Whether answers may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.shards
            .values()
            .any(|shard| matches!(shard.state, State::Open | State::Asked(_)))
    }

    /// Asks everybody anew.
    pub(super) fn restart(&mut self) {
        for shard in self.shards.values_mut() {
            shard.tried.clear();
            shard.state = State::Open;
        }
    }

    /// How many shards have answered, of how many.
    pub(super) fn coverage(&self) -> (u16, u16) {
        let answered = self
            .shards
            .values()
            .filter(|shard| shard.state == State::Answered)
            .count();
        let small = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        (small(answered), small(self.shards.len()))
    }
}
