//! Whatever the order of things, failures and crashes: at rest the index equals the store.

use proptest::prelude::*;

use super::world::*;
use crate::index::partition::*;
use crate::index::{HashEmbedder, VectorShip};
use crate::types::{MemberId, ShardId};

#[derive(Clone, Debug)]
enum Action {
    Write {
        name: u8,
        by_me: bool,
        value: Option<u8>,
        shipped: bool,
    },
    /// An identity round: the same version at a later place of the log.
    Again(u8),
    /// The key is forgotten, if it was deleted and the index said that it may be.
    Purge(u8),
    /// Carries out any one effect; it may fail.
    CarryOut(prop::sample::Index, bool),
    /// Loses a page on its way.
    LosePage(prop::sample::Index),
    Pass(u16),
    Crash,
    /// Whether what cannot be read is damaged.
    Damage(bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0_u8..6, any::<bool>(), proptest::option::of(0_u8..5), any::<bool>()).prop_map(
            |(name, by_me, value, shipped)| Action::Write { name, by_me, value, shipped }
        ),
        1 => (0_u8..6).prop_map(Action::Again),
        2 => (0_u8..6).prop_map(Action::Purge),
        8 => (any::<prop::sample::Index>(), proptest::bool::weighted(0.2))
            .prop_map(|(index, fault)| Action::CarryOut(index, fault)),
        1 => any::<prop::sample::Index>().prop_map(Action::LosePage),
        2 => (0_u16..3_000).prop_map(Action::Pass),
        1 => Just(Action::Crash),
        1 => any::<bool>().prop_map(Action::Damage),
    ]
}

/// Where a key of that name lives.
fn shard(name: u8) -> ShardId {
    ShardId(if name.is_multiple_of(2) { 0 } else { 4 })
}

fn write(world: &mut World, n: u64, name: u8, by: MemberId, value: Option<u8>, shipped: bool) {
    let shard = shard(name);
    let namespace = if name == 5 { LATER } else { DOCS };
    let key = key(namespace, &name.to_string());
    let text = value.map(|value| format!("text {value}"));
    let ship = text
        .as_ref()
        .filter(|_| shipped && by == OTHER)
        .map(|text| VectorShip {
            shard,
            key: key.clone(),
            vtag: ballot(n, by),
            model: HashEmbedder::id(),
            vectors: vector(text).into(),
        });
    if let Some(ship) = ship {
        world.step(Event::Shipped(ship));
    }
    world.learn(shard, &key, ballot(n, by), text.as_deref());
}

fn again(world: &mut World, name: u8) {
    let name = name.to_string();
    let entries = world
        .log
        .iter()
        .flat_map(|(shard, log)| log.values().map(|e| (*shard, e)));
    let same = entries
        .into_iter()
        .find(|(_, entry)| entry.key.key.as_bytes() == name.as_bytes());
    if let Some((shard, entry)) = same.map(|(shard, entry)| (shard, entry.clone())) {
        let value = entry
            .value
            .map(|value| String::from_utf8_lossy(value.as_ref()).into_owned());
        world.learn(shard, &entry.key, entry.vtag, value.as_deref());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn at_rest_the_index_equals_the_store(actions in proptest::collection::vec(action(), 0..80)) {
        let mut world = World::started();
        for (n, action) in (1..).zip(actions) {
            match action {
                Action::Write { name, by_me, value, shipped } => {
                    write(&mut world, n, name, if by_me { ME } else { OTHER }, value, shipped);
                }
                Action::Again(name) => again(&mut world, name),
                Action::Purge(name) => {
                    world.purge(shard(name), name.to_string().as_bytes());
                }
                Action::CarryOut(index, fault) if !world.todo.is_empty() => {
                    let effect = world.take(index.index(world.todo.len()));
                    world.carry_out(effect, fault);
                }
                Action::LosePage(index) if !world.todo.is_empty() => {
                    let place = index.index(world.todo.len());
                    if matches!(world.todo[place], Effect::RequestFeed { .. }) {
                        world.todo.remove(place);
                    }
                }
                Action::CarryOut(..) | Action::LosePage(_) => {}
                Action::Pass(milliseconds) => {
                    let end = world.now.plus(u64::from(milliseconds));
                    if let Some(at) = world.timer.filter(|at| *at <= end) {
                        world.now = world.now.max(at);
                        world.fire();
                    }
                    world.now = end;
                }
                Action::Crash => world.start(),
                Action::Damage(damaged) => world.disk_is_damaged = damaged,
            }
        }
        world.later_is_known = true;
        world.pass(2 * EMBED_RETRY_MS_MAX);
        prop_assert_eq!(world.stats().pending_embeddings, 0);
        prop_assert_eq!(world.stats().lag_changes, 0);
        // What could not be written is made up for by the next life.
        world.start();
        world.pass(2 * EMBED_RETRY_MS_MAX);
        world.assert_index_equals_store();
        world.start();
        let embedded = world.embedded.len();
        world.pass(TEXT_MARK_COMMIT_MS);
        prop_assert_eq!(world.embedded.len(), embedded, "nothing is embedded twice");
        world.assert_index_equals_store();
    }
}
