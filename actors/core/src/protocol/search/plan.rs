//! Whom to ask for which shard.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Route, Side};
use crate::types::{MemberId, ShardId};

/// Some of the offers for a shard, a bit each, by their places.
type Offers = u64;

#[derive(Debug)]
struct Shard {
    id: ShardId,
    /// Who has a replica: places in the plan's offers.
    offers: Range<usize>,
    tried: Offers,
    /// Those who were asked and have not answered.
    asked: Offers,
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
    fn offers<'a>(&self, all: &'a [Offer]) -> impl Iterator<Item = (Offers, &'a Offer)> {
        let offers = all.get(self.offers.clone()).unwrap_or_default();
        offers
            .iter()
            .enumerate()
            .map(|(place, offer)| (1 << place, offer))
    }

    fn untried<'a>(&self, all: &'a [Offer]) -> impl Iterator<Item = (Offers, &'a Offer)> {
        let tried = self.tried;
        self.offers(all).filter(move |(bit, _)| tried & bit == 0)
    }

    /// The offer of a member, if it made one.
    fn offer_of(&self, all: &[Offer], member: MemberId) -> Offers {
        let mut offers = self.offers(all);
        let found = offers.find(|(_, offer)| offer.member == member);
        found.map_or(0, |(bit, _)| bit)
    }

    fn wants(&self) -> bool {
        !self.answered && (self.asked == 0 || self.hedging)
    }

    /// The best of those who are left to ask.
    fn best<'a>(&self, all: &'a [Offer]) -> impl Iterator<Item = (Offers, &'a Offer)> {
        let best = self.untried(all).map(|(_, offer)| offer.tier).min();
        self.untried(all)
            .filter(move |(_, offer)| Some(offer.tier) == best)
    }
}

/// The shards of a search and how far each is. It is made for every search, so it keeps what it knows
/// of all shards in two lists.
#[derive(Debug)]
pub(super) struct Plan {
    /// In rising order.
    shards: Vec<Shard>,
    /// Shard by shard.
    offers: Vec<Offer>,
}

impl Plan {
    /// A plan for shards 0 to `shards`; see [`super::Setup::routes`].
    pub(super) fn new(shards: u16, routes: &[(ShardId, Route)], side: Side) -> Plan {
        debug_assert!(routes.is_sorted_by_key(|(shard, _)| *shard));
        let mut plan = Plan {
            shards: Vec::with_capacity(usize::from(shards)),
            offers: Vec::with_capacity(routes.len()),
        };
        let mut routes = routes.iter().peekable();
        for id in (0..shards).map(ShardId) {
            let start = plan.offers.len();
            while let Some((_, route)) = routes.next_if(|(shard, _)| *shard == id) {
                if plan.offers.len() - start < Offers::BITS as usize {
                    plan.offers.push(Offer {
                        member: route.member,
                        tier: route.tier(side),
                        order: route.order,
                    });
                }
            }
            plan.shards.push(Shard {
                id,
                offers: start..plan.offers.len(),
                tried: 0,
                asked: 0,
                hedging: false,
                answered: false,
            });
        }
        plan
    }

    /// Gives every shard that wants it to one of the best members for it: always to the one that
    /// can take the most, so that few are asked; among equals to the first in order.
    pub(super) fn assign(&mut self) -> Vec<(MemberId, Vec<ShardId>)> {
        let Plan { shards, offers } = self;
        let mut asked = Vec::new();
        loop {
            let mut able: BTreeMap<(u64, MemberId), usize> = BTreeMap::new();
            for shard in shards.iter().filter(|shard| shard.wants()) {
                for (_, offer) in shard.best(offers) {
                    *able.entry((offer.order, offer.member)).or_default() += 1;
                }
            }
            let best = able
                .into_iter()
                .max_by_key(|(place, count)| (*count, std::cmp::Reverse(*place)));
            let Some(((_, member), count)) = best else {
                break;
            };
            let mut taken = Vec::with_capacity(count);
            for shard in shards.iter_mut().filter(|shard| shard.wants()) {
                let offer = shard.best(offers).find(|(_, it)| it.member == member);
                let offer = offer.map(|(bit, _)| bit);
                if let Some(offer) = offer {
                    shard.tried |= offer;
                    shard.asked |= offer;
                    shard.hedging = false;
                    taken.push(shard.id);
                }
            }
            asked.push((member, taken));
        }
        asked
    }

    fn shard(&mut self, id: ShardId) -> Option<&mut Shard> {
        self.shards.get_mut(usize::from(id.0))
    }

    /// Whether an answer for the shard is still of use.
    pub(super) fn is_open(&self, shard: ShardId) -> bool {
        let shard = self.shards.get(usize::from(shard.0));
        shard.is_some_and(|shard| !shard.answered)
    }

    pub(super) fn answered(&mut self, shard: ShardId) {
        if let Some(shard) = self.shard(shard) {
            shard.answered = true;
        }
    }

    /// A member did not answer for a shard.
    pub(super) fn fail(&mut self, shard: ShardId, member: MemberId) {
        let Plan { shards, offers } = self;
        if let Some(shard) = shards.get_mut(usize::from(shard.0)) {
            shard.asked &= !shard.offer_of(offers, member);
        }
    }

    /// A member is gone.
    pub(super) fn fail_member(&mut self, member: MemberId) {
        let Plan { shards, offers } = self;
        for shard in shards {
            let offer = shard.offer_of(offers, member);
            shard.tried |= offer;
            shard.asked &= !offer;
        }
    }

    /// Everybody who was asked has been silent for too long: others are to be asked as well.
    pub(super) fn hedge(&mut self) {
        for shard in &mut self.shards {
            shard.hedging |= shard.asked != 0;
        }
    }

    /// Nobody is waited for any more.
    pub(super) fn give_up(&mut self) {
        for shard in &mut self.shards {
            shard.asked = 0;
            shard.tried = Offers::MAX;
        }
    }

    /// Whether answers may still come.
    pub(super) fn is_waiting(&self) -> bool {
        self.shards.iter().any(|shard| {
            let untried = || shard.untried(&self.offers).next().is_some();
            !shard.answered && (shard.asked != 0 || untried())
        })
    }

    /// Asks everybody anew.
    pub(super) fn restart(&mut self) {
        for shard in &mut self.shards {
            shard.tried = 0;
            shard.asked = 0;
            shard.hedging = false;
            shard.answered = false;
        }
    }

    /// The shards that have answered.
    pub(super) fn answered_shards(&self) -> impl Iterator<Item = ShardId> {
        let answered = self.shards.iter().filter(|shard| shard.answered);
        answered.map(|shard| shard.id)
    }

    /// How many shards there are.
    pub(super) fn len(&self) -> usize {
        self.shards.len()
    }
}
