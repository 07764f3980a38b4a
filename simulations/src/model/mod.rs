//! Every schedule of a small world: the real acceptor and proposer, explored exhaustively with
//! `stateright`.
//!
//! | what happens | how |
//! |---|---|
//! | a client asks a proposer | at any time, perhaps two proposers for the same write |
//! | a message arrives | at any time, in any order, or never: so losses need no event of their own |
//! | a disk hangs | at any time: what is written from then on is lost, and what waits for it is never released |
//! | such a node crashes | at any time after that; it is back at once, in a new life |
//!
//! A node hears itself at once, and a disk syncs at once until it hangs: what is released later is as if it
//! were under way for longer. Time stands still: rounds that wait for a timer wait for ever, which no
//! property minds. Messages that their receiver would ignore are dropped, and loads from disk are answered
//! at once.
//!
//! Two properties must always hold: *agreement* (one register for a ballot, and the chosen registers
//! of the key are one chain) and *linearizable*. A third, *all are answered*, must be reached at least
//! once, or the world shows nothing.

mod cell;
mod node;
mod state;

use std::time::{Duration, Instant};

use engram_core::planted::Planted;
use stateright::{Checker, Expectation, Model, Property};

pub use self::cell::Ask;
use self::state::{Action, State};

/// A small world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmallWorld {
    /// What it is called.
    pub name: &'static str,
    /// How many acceptors there are; the first ones have a proposer each.
    pub acceptors: usize,
    /// What clients ask, and which proposers may be asked.
    pub asked: Vec<(Ask, Vec<usize>)>,
    /// How often a node may crash, in all.
    pub crashes: u32,
    /// A bug planted on purpose.
    pub planted: Planted,
}

impl SmallWorld {
    fn new(name: &'static str, asked: Vec<(Ask, Vec<usize>)>, crashes: u32) -> SmallWorld {
        SmallWorld {
            name,
            acceptors: 3,
            asked,
            crashes,
            planted: Planted::default(),
        }
    }

    /// The worlds that are small enough to be explored whenever tests run.
    pub fn small() -> Vec<SmallWorld> {
        let write_and_read = || vec![(Ask::Put(1), vec![0]), (Ask::Get, vec![1])];
        vec![
            SmallWorld::new("writer-and-reader", write_and_read(), 0),
            SmallWorld::new("crash", write_and_read(), 1),
        ]
    }

    /// Larger ones, which take minutes to hours, or do not end.
    pub fn large() -> Vec<SmallWorld> {
        let two_writers = vec![(Ask::Put(1), vec![0]), (Ask::Put(2), vec![1])];
        let retry = vec![(Ask::PutAbsent(1), vec![0, 1])];
        vec![
            SmallWorld::new("two-writers", two_writers, 0),
            SmallWorld::new("retry", retry, 0),
            SmallWorld::new(
                "compare-and-read",
                vec![
                    (Ask::PutAbsent(1), vec![0]),
                    (Ask::PutAbsent(2), vec![1]),
                    (Ask::Get, vec![1]),
                ],
                0,
            ),
        ]
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<SmallWorld> {
        let mut all = SmallWorld::small().into_iter().chain(SmallWorld::large());
        all.find(|world| world.name == name)
    }
}

/// What came of an exploration.
#[derive(Clone, PartialEq, Debug)]
pub struct Explored {
    /// States that differ.
    pub states: usize,
    /// States reached, each time counted.
    pub reached: usize,
    /// The longest way to a state.
    pub depth: usize,
    /// Whether every state was reached, or some were left out.
    pub is_whole: bool,
    /// Whether some state answers every question.
    pub answers_all: bool,
    /// The property that does not hold, and how a state comes to be in which it does not.
    pub violation: Option<(&'static str, Vec<String>)>,
    /// How long it took.
    pub took: Duration,
}

/// Explores a world, by `threads` at a time, until all states are known, a property fails, there are
/// more states than `states_max`, or `timeout` is over.
#[expect(clippy::disallowed_methods, reason = "how long it took is real time")]
pub fn explore(
    world: &SmallWorld,
    threads: usize,
    states_max: usize,
    timeout: Duration,
) -> Explored {
    let begun = Instant::now();
    let bounded = Bounded {
        world: world.clone(),
        until: begun + timeout,
    };
    let builder = bounded.checker().threads(threads);
    let builder = builder.target_state_count(states_max);
    if SmallWorld::small()
        .iter()
        .any(|small| small.name == world.name)
    {
        // The shortest way to a violation.
        explored(&builder.spawn_bfs().join(), states_max, begun, timeout)
    } else {
        // Only the states of one way are in memory.
        explored(&builder.spawn_dfs().join(), states_max, begun, timeout)
    }
}

fn explored(
    checker: &impl Checker<Bounded>,
    states_max: usize,
    begun: Instant,
    timeout: Duration,
) -> Explored {
    let violated = [AGREEMENT, LINEARIZABLE].into_iter();
    let violation = violated
        .filter_map(|name| Some((name, checker.discovery(name)?)))
        .map(|(name, path)| {
            let steps = path.into_vec();
            let stories = steps
                .iter()
                .filter_map(|(state, action)| Some(state.story(action.as_ref()?)));
            (name, stories.collect())
        })
        .next();
    Explored {
        states: checker.unique_state_count(),
        reached: checker.state_count(),
        depth: checker.max_depth(),
        is_whole: checker.state_count() < states_max && begun.elapsed() < timeout,
        answers_all: checker.discovery(ANSWERED).is_some(),
        violation,
        took: begun.elapsed(),
    }
}

const AGREEMENT: &str = "agreement";
const LINEARIZABLE: &str = "linearizable";
const ANSWERED: &str = "all are answered";

/// A world that ends when the time is up: a single thread would go on.
#[derive(Clone, Debug)]
struct Bounded {
    world: SmallWorld,
    until: Instant,
}

impl Model for Bounded {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.world)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.world, actions);
    }

    #[expect(clippy::disallowed_methods, reason = "the time is real")]
    fn within_boundary(&self, _: &State) -> bool {
        Instant::now() < self.until
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(state.after(&self.world, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let property = |expectation, name, condition| Property {
            expectation,
            name,
            condition,
        };
        vec![
            property(Expectation::Always, AGREEMENT, |_, state: &State| {
                state.agrees
            }),
            property(Expectation::Always, LINEARIZABLE, |_, state: &State| {
                state.is_linearizable
            }),
            property(
                Expectation::Sometimes,
                ANSWERED,
                |bounded: &Bounded, state: &State| state.answered() == bounded.world.asked.len(),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn small_worlds_hold_in_every_state() {
        for world in SmallWorld::small() {
            let explored = explore(&world, 2, 3_000_000, LONG);
            println!("{}: {explored:?}", world.name);
            assert_eq!(explored.violation, None, "{}", world.name);
            assert!(explored.is_whole && explored.answers_all, "{}", world.name);
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_planted_bug_is_found() {
        use engram_core::planted::Bug;
        let world = SmallWorld {
            planted: Planted::bug(Bug::ReadFromOne),
            ..SmallWorld::named("writer-and-reader").expect("it is known")
        };
        let explored = explore(&world, 2, 3_000_000, LONG);
        assert_eq!(
            explored.violation.map(|(property, _)| property),
            Some(LINEARIZABLE)
        );
    }
}
