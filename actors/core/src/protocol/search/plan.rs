//! Whom to ask for which shard.

use std::collections::{BTreeMap, BTreeSet};

use super::{Route, Side};
use crate::types::{MemberId, ShardId};

#[derive(Debug, Default)]
struct Shard {
    /// Who has a replica.
    routes: Vec<Offer>,
    tried: BTreeSet<MemberId>,
    /// Those who were asked and have not answered.
    asked: BTreeSet<MemberId>,
    /// They have been silent for long: somebody else is to be asked as well.
    hedging: bool,
    answered: bool,
}

/// One who has a replica.
#[derive(Clone, Copy, Debug)]
struct Offer {
    member: MemberId,
    tier: u8,
    order: u64,
}

impl Shard {
    fn untried(&self) -> impl Iterator<Item = &Offer> {
        self.routes
            .iter()
            .filter(|offer| !self.tried.contains(&offer.member))
    }

    fn wants(&self) -> bool {
        !self.answered && (self.asked.is_empty() || self.hedging)
    }

    /// The best of those who are left to ask.
    fn best(&self) -> impl Iterator<Item = &Offer> {
        let best = self.untried().map(|offer| offer.tier).min();
        self.untried().filter(move |offer| Some(offer.tier) == best)
    }
}

/// The shards of a search and how far each is.
#[derive(Debug)]
pub(super) struct Plan {
    shards: BTreeMap<ShardId, Shard>,
}

impl Plan {
    pub(super) fn new(routes: &BTreeMap<ShardId, Vec<Route>>, side: Side) -> Plan {
        let offer = |route: &Route| Offer {
            member: route.member,
            tier: route.tier(side),
            order: route.order,
        };
        let shards = routes.iter().map(|(shard, routes)| {
            let routes = routes.iter().map(offer).collect();
            let shard_state = Shard {
                routes,
                ..Shard::default()
            };
            (*shard, shard_state)
        });
        Plan {
            shards: shards.collect(),
        }
    }

    /// Gives every shard that wants it to one of the best members for it: always to the one that
    /// can take the most, so that few are asked; among equals to the first in order.
    pub(super) fn assign(&mut self) -> Vec<(MemberId, Vec<ShardId>)> {
        let mut asked = Vec::new();
        loop {
            let mut able: BTreeMap<(u64, MemberId), usize> = BTreeMap::new();
            for shard in self.shards.values().filter(|shard| shard.wants()) {
                for offer in shard.best() {
                    *able.entry((offer.order, offer.member)).or_default() += 1;
                }
            }
            let best = able
                .into_iter()
                .max_by_key(|(place, count)| (*count, std::cmp::Reverse(*place)));
            let Some(((_, member), _)) = best else { break };
            let mut taken = Vec::new();
            for (id, shard) in &mut self.shards {
                let can = shard.wants() && shard.best().any(|offer| offer.member == member);
                if can {
                    shard.tried.insert(member);
                    shard.asked.insert(member);
                    shard.hedging = false;
                    taken.push(*id);
                }
            }
            asked.push((member, taken));
        }
        asked
    }

    /// Whether an answer for the shard is still of use.
    pub(super) fn is_open(&self, shard: ShardId) -> bool {
        self.shards.get(&shard).is_some_and(|shard| !shard.answered)
    }

    pub(super) fn answered(&mut self, shard: ShardId) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.answered = true;
        }
    }

    /// A member did not answer for a shard.
    pub(super) fn fail(&mut self, shard: ShardId, member: MemberId) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.asked.remove(&member);
        }
    }

    /// A member is gone.
    pub(super) fn fail_member(&mut self, member: MemberId) {
        for shard in self.shards.values_mut() {
            shard.tried.insert(member);
            shard.asked.remove(&member);
        }
    }

    /// Everybody who was asked has been silent for too long: others are to be asked as well.
    pub(super) fn hedge(&mut self) {
        for shard in self.shards.values_mut() {
            shard.hedging |= !shard.asked.is_empty();
        }
    }

    /// Nobody is waited for any more.
    pub(super) fn give_up(&mut self) {
        for shard in self.shards.values_mut() {
            shard.asked.clear();
            shard
                .tried
                .extend(shard.routes.iter().map(|offer| offer.member));
        }
    }

    /// Whether answers may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.shards.values().any(|shard| {
            !shard.answered && (!shard.asked.is_empty() || shard.untried().next().is_some())
        })
    }

    /// Asks everybody anew.
    pub(super) fn restart(&mut self) {
        for shard in self.shards.values_mut() {
            shard.tried.clear();
            shard.asked.clear();
            shard.hedging = false;
            shard.answered = false;
        }
    }

    /// The shards that have answered.
    pub(super) fn answered_shards(&self) -> impl Iterator<Item = ShardId> {
        self.shards
            .iter()
            .filter(|(_, shard)| shard.answered)
            .map(|(id, _)| *id)
    }

    /// How many shards there are.
    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }
}
