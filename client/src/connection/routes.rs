//! Whom to ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram_core::types::{ClusterConfig, MemberId, ShardId};

/// How long a member that let a request time out is asked only if no other is there.
const SUSPICION: Duration = Duration::from_secs(1);

/// The members that are connected, and which of them replicate what. Generic over the handle
/// that leads to a member.
pub(crate) struct Routes<Handle> {
    config: Option<Arc<ClusterConfig>>,
    peers: BTreeMap<MemberId, Peer<Handle>>,
}

struct Peer<Handle> {
    handle: Handle,
    suspected_until: Option<Instant>,
}

impl<Handle> Default for Routes<Handle> {
    fn default() -> Self {
        Routes {
            config: None,
            peers: BTreeMap::new(),
        }
    }
}

impl<Handle: Clone> Routes<Handle> {
    /// The configuration, once there is one.
    pub(crate) fn config(&self) -> Option<&Arc<ClusterConfig>> {
        self.config.as_ref()
    }

    /// Takes a configuration, if it is a newer one of the same cluster.
    pub(crate) fn adopt(&mut self, config: ClusterConfig) -> bool {
        let is_news = self.config.as_ref().is_none_or(|known| {
            known.cluster_id == config.cluster_id && known.version < config.version
        });
        if is_news {
            self.config = Some(Arc::new(config));
        }
        is_news
    }

    /// A member is connected.
    pub(crate) fn connect(&mut self, member: MemberId, handle: Handle) {
        let peer = Peer {
            handle,
            suspected_until: None,
        };
        self.peers.insert(member, peer);
    }

    /// A member is connected no more.
    pub(crate) fn disconnect(&mut self, member: MemberId) {
        self.peers.remove(&member);
    }

    /// A member did not answer in time.
    pub(crate) fn suspect(&mut self, member: MemberId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.suspected_until = Some(now + SUSPICION);
        }
    }

    /// The handle of one member.
    pub(crate) fn handle(&self, member: MemberId) -> Option<Handle> {
        self.peers.get(&member).map(|peer| peer.handle.clone())
    }

    /// Everybody who is connected.
    pub(crate) fn connected(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.peers.keys().copied()
    }

    /// Whom to ask: a replica of the shard in routing order, else anybody, who will pass it on.
    /// `avoid` and members under suspicion come last; `turn` spreads what anybody can do.
    pub(crate) fn choose(
        &self,
        shard: Option<ShardId>,
        avoid: Option<MemberId>,
        turn: u64,
        now: Instant,
    ) -> Option<(MemberId, Handle)> {
        let replicas = shard
            .zip(self.config.as_ref())
            .and_then(|(shard, config)| config.shard(shard))
            .map_or(&[][..], |shard| shard.members.as_slice());
        let trusted = |member: MemberId, peer: &Peer<Handle>| {
            avoid != Some(member) && peer.suspected_until.is_none_or(|until| until <= now)
        };
        let connected = |member: &MemberId| self.peers.get(member).map(|peer| (*member, peer));
        let found = replicas
            .iter()
            .filter_map(connected)
            .find(|(member, peer)| trusted(*member, peer))
            .or_else(|| {
                self.rotated(turn)
                    .find(|(member, peer)| trusted(*member, peer))
            })
            .or_else(|| {
                let all = || {
                    replicas
                        .iter()
                        .filter_map(connected)
                        .chain(self.rotated(turn))
                };
                let other = all().find(|(member, _)| avoid != Some(*member));
                other.or_else(|| all().next())
            });
        found.map(|(member, peer)| (member, peer.handle.clone()))
    }

    fn rotated(&self, turn: u64) -> impl Iterator<Item = (MemberId, &Peer<Handle>)> {
        let length = self.peers.len().max(1);
        let first = usize::try_from(turn % length as u64).unwrap_or(0);
        let (early, late) = (self.peers.iter().take(first), self.peers.iter().skip(first));
        late.chain(early).map(|(member, peer)| (*member, peer))
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::{Epoch, ShardConfig};

    use super::*;

    const SHARD: Option<ShardId> = Some(ShardId(0));

    fn config(version: u64) -> ClusterConfig {
        let shard = ShardConfig {
            epoch: Epoch(1),
            members: [3, 1, 2].map(MemberId).to_vec(),
        };
        ClusterConfig {
            version,
            cluster: "c".into(),
            cluster_id: 1,
            members: vec![],
            shards: vec![shard.clone()],
            system: shard,
            namespaces: vec![],
        }
    }

    /// Members 1 to 3 replicate the shard in the order 3, 1, 2; member 4 does not.
    fn routes(connected: &[u64]) -> Routes<u64> {
        let mut routes = Routes::default();
        routes.adopt(config(1));
        for member in connected {
            routes.connect(MemberId(*member), *member);
        }
        routes
    }

    #[test]
    fn the_first_replica_in_order_is_asked_then_anybody() {
        let now = Instant::now();
        let cases: [(&[u64], Option<u64>, Option<u64>); 8] = [
            (&[1, 2, 3, 4], None, Some(3)),
            (&[1, 2, 4], None, Some(1)),
            (&[2, 4], None, Some(2)),
            (&[4], None, Some(4)),
            (&[], None, None),
            (&[1, 2, 3, 4], Some(3), Some(1)),
            (&[3, 4], Some(3), Some(4)),
            (&[3], Some(3), Some(3)),
        ];
        for (connected, avoid, expected) in cases {
            let chosen = routes(connected).choose(SHARD, avoid.map(MemberId), 0, now);
            assert_eq!(
                chosen.map(|(_, handle)| handle),
                expected,
                "{connected:?} without {avoid:?}"
            );
        }
    }

    #[test]
    fn a_silent_member_is_asked_last_for_a_while() {
        let now = Instant::now();
        let mut routes = routes(&[3, 4]);
        routes.suspect(MemberId(3), now);
        let chosen = |routes: &Routes<u64>, now| {
            let (member, _) = routes.choose(SHARD, None, 0, now).expect("connected");
            member.0
        };
        assert_eq!(chosen(&routes, now), 4);
        assert_eq!(chosen(&routes, now + SUSPICION), 3);
        routes.disconnect(MemberId(4));
        assert_eq!(chosen(&routes, now), 3, "better than nobody");
    }

    #[test]
    fn what_anybody_can_do_is_spread() {
        let routes = routes(&[1, 2, 3]);
        let now = Instant::now();
        let asked: Vec<u64> = (0..4)
            .filter_map(|turn| routes.choose(None, None, turn, now))
            .map(|(member, _)| member.0)
            .collect();
        assert_eq!(asked, [1, 2, 3, 1]);
    }

    #[test]
    fn only_a_newer_configuration_of_the_same_cluster_is_taken() {
        let mut routes = routes(&[]);
        assert!(!routes.adopt(config(1)));
        assert!(routes.adopt(config(3)));
        assert!(!routes.adopt(config(2)));
        let other = ClusterConfig {
            cluster_id: 2,
            ..config(9)
        };
        assert!(!routes.adopt(other));
        assert_eq!(routes.config().map(|config| config.version), Some(3));
    }
}
